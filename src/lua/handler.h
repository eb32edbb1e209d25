/*
 * Handlers: Lua functions and tables that results are delivered to.
 *
 * Provides: rscl_handler_*
 * Uses:     fiber, error
 * Threads:  the state's own; the sink's functions and drop: any
 */
#ifndef RSCL_HANDLER_H
#define RSCL_HANDLER_H

#include "state.h"

/* A handler: a function, or a table with a ReportResult method. Raises on anything else. [-0, +0, v] */
void rscl_check_handler(lua_State *L, int arg);

/* A callback: a handler or a native callback object. Likewise. */
void rscl_check_callback(lua_State *L, int arg);

/* The sink for the callback at `arg`: a handler, which is kept in a slot until the result has come, or a native
 * callback object. Raises on anything else. To be undone with rscl_sink_undo if the call is refused. [-0, +0, v] */
rsci_sink rscl_check_sink(lua_State *L, rscl_state *state, int arg);
void rscl_sink_undo(lua_State *L, rscl_state *state, const rsci_sink *sink);

/* After the call was accepted. */
void rscl_sink_accepted(rscl_state *state, const rsci_sink *sink);

/* Replaces the handler on top by what is to be called, with it below where that is a method: pushes 0 or 1 more
 * values, which is returned. [-1, +1 or 2, -] */
int rscl_push_invocation(lua_State *L);

/* What a handler's first result, at `first`, answers. [-0, +0, -] */
HRESULT rscl_handler_returned(lua_State *L, int first);

/* The handler has ended, and its fiber with it. `call` may be NULL: a handler that foreign code called. */
void rscl_handler_done(rsca_call *call, HRESULT answer);

#endif
