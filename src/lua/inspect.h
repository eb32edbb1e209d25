/*
 * Where the calls of a state are just now: asked from another thread, answered on the state's own.
 *
 * Provides: rscl_inspect_*, m:running
 * Uses:     state, fiber, core/inspect
 * Threads:  as each says
 */
#ifndef RSCL_INSPECT_H
#define RSCL_INSPECT_H

#include "core/inspect.h"
#include "state.h"

/* For the engine: has the state look at a call. Any thread. */
void rscl_inspect(rscl_state *state, rsci_inspected *inspected);

/* In the hook: what runs is being looked at, if anybody wants to. */
void rscl_inspect_running(lua_State *L, rscl_state *state);

/* m:running(): a list of calls, of the manager at `proxy`. */
int rscl_running_calls(lua_State *L, rscl_state *state, int proxy);

/* Pushes a list of what a shutdown of the manager at `proxy` cut. [-0, +1, m] */
void rscl_push_cut_calls(lua_State *L, int proxy);

#endif
