#include "protocol_manager.h"

#include <stddef.h>

#include <rsca/protocol_manager.h>

#include "manager.h"

static rsca_manager *manager_of(IProtocolManager *iface) {
  return (rsca_manager *)((char *)iface - offsetof(rsca_manager, protocol_manager));
}

static ULONG RSCA_METHOD protocol_manager_AddRef(IProtocolManager *iface) {
  return rsca_manager_add_ref(manager_of(iface));
}

static ULONG RSCA_METHOD protocol_manager_Release(IProtocolManager *iface) {
  return rsca_manager_release(manager_of(iface));
}

static HRESULT RSCA_METHOD protocol_manager_GetPmInterface(IProtocolManager *iface, PM_INTERFACE_ID_ENUM PmInterfaceId,
                                                           PVOID *ppInterface) {
  if (!ppInterface)
    return E_INVALIDARG;
  *ppInterface = NULL;
  switch (PmInterfaceId) {
  case PM_CUSTOM_ACTIONS_ID:
    *ppInterface = rsca_manager_custom_actions(manager_of(iface));
    return S_OK;
  case PM_HEALTH_AND_IDLE_MONITOR_ID:
    *ppInterface = rsca_manager_health_monitor(manager_of(iface));
    return S_OK;
  default:
    return RSCA_E_NOT_FOUND;
  }
}

static HRESULT get_session(rsca_manager *manager, PVOID *out) {
  IPmCustomActions2 *session;
  HRESULT status = rsca_manager_create_session(manager, &session);
  *out = session;
  return status;
}

static HRESULT RSCA_METHOD protocol_manager_GetCustomInterface(IProtocolManager *iface, DWORD InterfaceId,
                                                               PVOID *ppInterface) {
  if (!ppInterface)
    return E_INVALIDARG;
  *ppInterface = NULL;
  rsca_manager *manager = manager_of(iface);
  switch (InterfaceId) {
  case RSCA_CUSTOM_INTERFACE_CUSTOM_ACTIONS2:
    *ppInterface = rsca_manager_custom_actions2(manager);
    return S_OK;
  case RSCA_CUSTOM_INTERFACE_SESSION:
    return get_session(manager, ppInterface);
  case RSCA_CUSTOM_INTERFACE_MANAGER:
    (void)rsca_manager_add_ref(manager);
    *ppInterface = manager;
    return S_OK;
  default:
    return RSCA_E_NOT_FOUND;
  }
}

static HRESULT RSCA_METHOD protocol_manager_Shutdown(IProtocolManager *iface, BOOL fImmediate) {
  return rsca_manager_shutdown(manager_of(iface), fImmediate != FALSE);
}

const IProtocolManagerVtbl rsci_protocol_manager_vtbl = {
    protocol_manager_AddRef,         protocol_manager_Release,
    protocol_manager_GetPmInterface, protocol_manager_GetCustomInterface,
    protocol_manager_Shutdown,
};

IProtocolManager *rsca_manager_protocol_manager(rsca_manager *manager) {
  if (!manager)
    return NULL;
  (void)rsca_manager_add_ref(manager);
  return &manager->protocol_manager;
}
