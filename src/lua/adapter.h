/*
 * The adapter: how a wait waits on a coroutine of the host's own, where the host has an event loop.
 *
 * Provides: rscl_adapter_mode, rscl_adapt, rscl_adapter_tell, set_adapter
 * Uses:     fiber, object
 * Threads:  the state's own
 *
 * A wait there runs its function a second time, on a fiber, where it can yield; meanwhile the coroutine waits in the
 * host's way, which is Lua: see lua/rsca/adapter.lua.
 */
#ifndef RSCL_ADAPTER_H
#define RSCL_ADAPTER_H

#include "fiber.h"
#include "object.h"

/* What the adapter says of a wait on L: RSCL_ADAPT or RSCL_BLOCK. Raises where it says that nothing may wait here. Only
 * with state->adapted. [-0, +0, e] */
rscl_mode rscl_adapter_mode(lua_State *L);

/* For RSCL_ADAPT: runs the running function again, with the values at 1 to `nargs` as its arguments, as the adapter
 * does. To be returned from the function. */
int rscl_adapt(lua_State *L, int nargs);

/* A script has begun something that is pending until a later step: the adapter hears of it where it was told before
 * that nothing is. On the script's own stack. [-0, +0, -] */
void rscl_adapter_tell(lua_State *L, rscl_state *state);

/* set_adapter([adapter]): none where that is nil. */
int rscl_set_adapter(lua_State *L);

#endif
