/*
 * Callbacks across the border: native ICustomActionResultCallbacks as Lua objects, and Lua handlers as native ones.
 *
 * Provides: rscl_callback_*
 * Uses:     handler, fiber, object
 * Threads:  the state's own; the native side of a Lua handler: any
 */
#ifndef RSCL_CALLBACK_H
#define RSCL_CALLBACK_H

#include "object.h"
#include "state.h"

/* The native callback that the value at `index` is a proxy of, or NULL. Raises if it was released. [-0, +0, v] */
ICustomActionResultCallback *rscl_callback_test(lua_State *L, int index);

/* Pushes the one proxy of `callback` in this state. `box`: index of the box. Held by the proxy. [-0, +1, m] */
void rscl_callback_push(lua_State *L, int box, ICustomActionResultCallback *callback);

/* A native callback, Returned (+1), for the handler at `index`: a function, a table with ReportResult, or the proxy of
 * a native callback, which gives that. NULL: out of memory. The value is of one of these types. [-0, +0, m] */
ICustomActionResultCallback *rscl_callback_create(lua_State *L, rscl_state *state, int box, int index);

extern const rscl_type rscl_callback_type;

#endif
