/*
 * What a Lua state does in the child of a fork: functions that were spawned and have not begun, and handlers of
 * registrations, are the parent's and go; coroutines that sleep hear of it. Actions end with their calls.
 *
 * Provides: rscl_state_inherit, after_fork
 * Uses:     fiber, subscription
 * Threads:  the state's own
 */
#ifndef RSCL_INHERIT_H
#define RSCL_INHERIT_H

#include "state.h"

/* For a state's heir. */
void rscl_state_inherit(rsci_heir *heir, bool keep);

/* after_fork([options]): true; false: there was nothing to inherit; nil, err: it is too late to keep it */
int rscl_after_fork(lua_State *L);

#endif
