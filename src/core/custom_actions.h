/*
 * The manager's IPmCustomActions and IPmCustomActions2, and the sessions it hands out.
 *
 * Provides: rsci_custom_actions_vtbl, rsci_custom_actions2_vtbl, rsca_manager_create_session
 * Uses:     manager, text
 */
#ifndef RSCI_CUSTOM_ACTIONS_H
#define RSCI_CUSTOM_ACTIONS_H

#include <Wpframework.h>

extern const IPmCustomActionsVtbl rsci_custom_actions_vtbl;
extern const IPmCustomActions2Vtbl rsci_custom_actions2_vtbl; /* of the default session */

#endif
