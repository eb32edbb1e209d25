/*
 * The manager's IPmCustomActions.
 *
 * Provides: rsci_custom_actions_vtbl
 * Uses:     manager, text
 */
#ifndef RSCI_CUSTOM_ACTIONS_H
#define RSCI_CUSTOM_ACTIONS_H

#include <Wpframework.h>

extern const IPmCustomActionsVtbl rsci_custom_actions_vtbl;

#endif
