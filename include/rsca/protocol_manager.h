/*
 * A manager as a protocol manager: the documented way in for a host that knows Wpframework.h alone.
 *
 *   IProtocolManager *protocol = rsca_manager_protocol_manager(manager);
 *   IPmCustomActions *actions;
 *   protocol->lpVtbl->GetPmInterface(protocol, PM_CUSTOM_ACTIONS_ID, (PVOID *)&actions);
 *
 * What it hands out:
 *
 *   GetPmInterface      PM_CUSTOM_ACTIONS_ID                     IPmCustomActions
 *                       PM_HEALTH_AND_IDLE_MONITOR_ID            IPmHealthAndIdleMonitor
 *   GetCustomInterface  RSCA_CUSTOM_INTERFACE_CUSTOM_ACTIONS2    IPmCustomActions2, the default session
 *                       RSCA_CUSTOM_INTERFACE_SESSION            IPmCustomActions2, a new session each time
 *                       RSCA_CUSTOM_INTERFACE_MANAGER            rsca_manager, for rsca/manager.h
 *
 * Under every other number there is nothing. Words and threads: as in rsca/manager.h.
 */
#ifndef RSCA_PROTOCOL_MANAGER_H
#define RSCA_PROTOCOL_MANAGER_H

#include <Wpframework.h>
#include <rsca/export.h>
#include <rsca/manager.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Numbers for IProtocolManager::GetCustomInterface. They are ours, "RSC1" and so on in ASCII: no published value hands
 * out an IPmCustomActions2. */
#define RSCA_CUSTOM_INTERFACE_CUSTOM_ACTIONS2 0x52534331u /* as rsca_manager_custom_actions2 */
#define RSCA_CUSTOM_INTERFACE_SESSION 0x52534332u         /* as rsca_manager_create_session */
#define RSCA_CUSTOM_INTERFACE_MANAGER 0x52534333u         /* no interface: for rsca_manager_release to give back */

/* The manager as an IProtocolManager, whose count is the manager's. Returned (+1). */
RSCA_API IProtocolManager *rsca_manager_protocol_manager(rsca_manager *manager);

/* The manager as an IPmHealthAndIdleMonitor, whose count is the manager's. Returned (+1). */
RSCA_API IPmHealthAndIdleMonitor *rsca_manager_health_monitor(rsca_manager *manager);

/*
 * The entry point of a protocol manager, under its documented name: makes a manager with the default configuration.
 * RSCA_CUSTOM_INTERFACE_MANAGER is how actions get into it, and how it is stepped. A protocol manager that brings
 * actions of its own defines this function itself.
 *
 *   framework  Borrowed for the call and not used; may be NULL
 *   out        Returned (+1), NULL on failure
 *
 * S_OK, E_INVALIDARG (out is NULL), E_OUTOFMEMORY.
 */
RSCA_API HRESULT GetProtocolManager(IWorkerProcessFramework *framework, IProtocolManager **out);

#ifdef __cplusplus
}
#endif

#endif
