/*
 * Native objects of others as Lua objects: what their proxies have in common.
 *
 * Provides: rscl_native_*
 * Uses:     object
 * Threads:  the state's own
 *
 * A proxy owns one reference to its object; the same object gives the same proxy within a state.
 */
#ifndef RSCL_NATIVE_PROXY_H
#define RSCL_NATIVE_PROXY_H

#include "object.h"
#include "state.h"

/* Pushes the one proxy of `object` in this state. `box`: index of the box. Held by the proxy. [-0, +1, m] */
void rscl_native_push(lua_State *L, int box, const rscl_type *type, IWpfReferencedObject *object);

/* The object that the value at `index` is a proxy of that type of, or NULL. Raises if it was released. [-0, +0, v] */
void *rscl_native_test(lua_State *L, int index, const rscl_type *type);

/* The same, but NULL too where it was released. [-0, +0, -] */
void *rscl_native_peek(lua_State *L, int index, const rscl_type *type);

/* The same, raising where it is something else. [-0, +0, v] */
void *rscl_native_check(lua_State *L, int arg, const rscl_type *type);

/* The same, Returned (+1): while a method of it runs, the script may close the proxy. After all that may raise.
 * [-0, +0, v] */
void *rscl_native_hold(lua_State *L, int arg, const rscl_type *type);

/* What every such type has. Their methods: */
int rscl_native_AddRef(lua_State *L);
int rscl_native_Release(lua_State *L);
int rscl_native_close(lua_State *L);
/* Their metamethods, all of them: */
extern const luaL_Reg rscl_native_meta[];

#endif
