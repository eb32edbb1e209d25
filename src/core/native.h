/*
 * The native engine: runs actions that are C functions. One per manager.
 *
 * Provides: rsci_native_*
 * Uses:     call
 * Threads:  as the engine seam says
 */
#ifndef RSCI_NATIVE_H
#define RSCI_NATIVE_H

#include <rsca/call.h>

#include "engine.h"
#include "registry.h"

/* Returned (+1); NULL: out of memory. */
rsci_engine *rsci_native_create(rsci_runner *runner);

/* An action for it; NULL: out of memory, and `user` stays the caller's. */
rsci_action *rsci_native_action(rsci_engine *engine, const char *name, const char *help, rsca_action_fn fn, void *user,
                                void (*free_user)(void *user));

/* For an engine that passes on to native ones: as its forget. */
void rsci_native_forget(rsci_engine *engine, rsci_action *action);

/* For an action that never was registered: leaves `user` alone. */
void rsci_native_action_free(rsci_action *action);

/* rsca_call_finish, but for whether anybody steps. */
HRESULT rsci_native_finish(rsca_call *call, HRESULT status, const void *bytes, size_t size);

#endif
