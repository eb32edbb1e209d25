/*
 * Errors as Lua sees them: the err of `nil, err`, and the on_error hook.
 *
 * Provides: rscl_push_error, rscl_error_status, rscl_report
 * Uses:     state
 */
#ifndef RSCL_ERROR_H
#define RSCL_ERROR_H

#include "state.h"

/* Pushes { status, name, message, action, traceback }. `message` NULL: what the status means. `action` may be NULL. A
 * message that carries a traceback (see rscl_raised_text) is taken apart. [-0, +1, m] */
void rscl_push_error(lua_State *L, HRESULT status, const char *message, size_t size, const char *action);

/* Pushes nil and that error: the answer of a function that failed at run time. Returns 2. [-0, +2, m] */
int rscl_fail(lua_State *L, HRESULT status, const char *message, const char *action);

/* The same for a call of `action` that was not accepted, or an action that is not there. [-0, +2, m] */
int rscl_refused(lua_State *L, HRESULT status, const char *action);

/* Whether the value is one of these errors. [-0, +0, -] */
bool rscl_is_error(lua_State *L, int index);

/* Pushes a field of an error, whatever a script has done to its metatable; returns its type. [-0, +1, m] */
int rscl_push_error_field(lua_State *L, int index, const char *name);

/* The status an action chose with the value at `index`: fallback where it is not there (nil) or no failure.
 * [-0, +0, -] */
HRESULT rscl_failure_status(lua_State *L, int index, HRESULT fallback);

/* A status from Lua: an integer or integral float, signed or unsigned 32 bit. False: it is not one. [-0, +0, -] */
bool rscl_to_status(lua_State *L, int index, HRESULT *status);
void rscl_push_status(lua_State *L, HRESULT status);

/* Replaces the raised value on top by its text (a string): its message and the traceback of `co`. Returns the status
 * it carries, or E_FAIL. `call`: as for rscl_make_text. [-1, +1, m] */
HRESULT rscl_raised_text(lua_State *L, rscl_state *state, struct rsca_call *call, lua_State *co, int lua_status);

/* Replaces the value on top by its text, whatever its __tostring does. That is stopped with `call`, where it is not
 * NULL. [-1, +1, m] */
void rscl_make_text(lua_State *L, rscl_state *state, struct rsca_call *call);

/* Tells the on_error hook of a failure that nobody else hears of. In a turn or on the script's own stack; the
 * message, a string as rscl_raised_text makes it, is on top and is popped. Never raises but for memory. [-1, +0, m] */
void rscl_report(lua_State *L, rscl_state *state, HRESULT status, const char *action);

/* Adds the statuses and their functions to the module table on top. [-0, +0, m] */
void rscl_open_errors(lua_State *L);

#endif
