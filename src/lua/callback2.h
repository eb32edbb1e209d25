/*
 * Native callbacks for registrations, ICustomAction2ResultCallbacks, as Lua objects.
 *
 * Provides: rscl_callback2_*
 * Uses:     native_proxy, handler, core/sinks
 * Threads:  the state's own; such a callback itself hears of its registration wherever that reports
 */
#ifndef RSCL_CALLBACK2_H
#define RSCL_CALLBACK2_H

#include <stdbool.h>

#include "object.h"
#include "text_args.h"

/* What RegisterCustomActionCallback takes: a handler or a native callback of this kind. Raises on anything else, and if
 * it was released. [-0, +0, v] */
void rscl_check_callback2(lua_State *L, int arg);

/* Whether the value at `index` is such a native callback, released or not. [-0, +0, -] */
bool rscl_is_callback2(lua_State *L, int index);

/* Registers the native callback at `callback` as it is, in the default session of the manager whose proxy is at
 * `proxy`, or with a manager that somebody else implemented. [-0, +0, v] */
HRESULT rscl_callback2_register(lua_State *L, int proxy, rscl_text name, rscl_text args, int callback);
HRESULT rscl_callback2_register_foreign(lua_State *L, int proxy, rscl_text name, rscl_text args, int callback);

extern const rscl_type rscl_callback2_type;

#endif
