/*
 * The manager's IProtocolManager.
 *
 * Provides: rsci_protocol_manager_vtbl, rsca_manager_protocol_manager
 * Uses:     manager
 * Threads:  any
 */
#ifndef RSCI_PROTOCOL_MANAGER_H
#define RSCI_PROTOCOL_MANAGER_H

#include <Wpframework.h>

extern const IProtocolManagerVtbl rsci_protocol_manager_vtbl;

#endif
