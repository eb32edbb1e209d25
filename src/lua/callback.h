/*
 * Callbacks across the border: native ICustomActionResultCallbacks as Lua objects, and Lua handlers as native ones.
 *
 * Provides: rscl_callback_*
 * Uses:     native_proxy, request, handler, fiber
 * Threads:  the state's own; the native side of a Lua handler: any
 */
#ifndef RSCL_CALLBACK_H
#define RSCL_CALLBACK_H

#include "object.h"
#include "state.h"

struct rscl_request;

/* The native callback that the value at `index` is a proxy of, or NULL. Raises if it was released. [-0, +0, v] */
ICustomActionResultCallback *rscl_callback_test(lua_State *L, int index);

/* A native callback, Returned (+1), for the handler at `index`: a function, a table with ReportResult, or the proxy of
 * a native callback, which gives that. NULL: out of memory. The value is of one of these types. [-0, +0, m] */
ICustomActionResultCallback *rscl_callback_create(lua_State *L, rscl_state *state, int box, int index);

/* For a call of a foreign manager: a callback, Returned (+1), that is told once, whatever the manager does. For the
 * handler at `index`, or for a request. NULL: out of memory. */
ICustomActionResultCallback *rscl_callback_for_call(lua_State *L, rscl_state *state, int index);
ICustomActionResultCallback *rscl_callback_for_request(rscl_state *state, struct rscl_request *request);

/* The call was refused: such a callback is owed nothing. */
void rscl_callback_disarm(ICustomActionResultCallback *callback);

extern const rscl_type rscl_callback_type;

#endif
