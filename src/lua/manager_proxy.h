/*
 * Managers as Lua objects: their proxies.
 *
 * Provides: rscl_manager_*
 * Uses:     proxy_watch, hanging, object
 * Threads:  the state's own
 *
 * A proxy owns one reference to its manager. What a script gives it (action functions) hangs on its user value, so
 * that a manager and closures that name it are collected together. While something outside the script can still need
 * that (a reference beside the proxy's own, a call in flight), the state anchors the proxy.
 */
#ifndef RSCL_MANAGER_PROXY_H
#define RSCL_MANAGER_PROXY_H

#include "object.h"
#include "state.h"

/* Pushes the one proxy of `manager` in this state. `box`: index of the box. Held by the proxy. [-0, +1, m] */
void rscl_manager_push(lua_State *L, int box, rscl_state *state, rsca_manager *manager);

/* The manager of the proxy at `arg`; raises where it is something else, or closed. Borrowed. [-0, +0, v] */
rsca_manager *rscl_manager_check(lua_State *L, int arg);

/* The manager whose proxy is at `index`, or NULL; NULL too where it is closed. Borrowed. [-0, +0, -] */
rsca_manager *rscl_manager_test(lua_State *L, int index);

/* The same in two steps, for those who look again later: the object at `index`, which is to stay where it is; NULL: it
 * is something else. Its manager, or NULL. [-0, +0, -] */
const rscl_owner *rscl_manager_object(lua_State *L, int index);
rsca_manager *rscl_manager_of(const rscl_owner *object);

/* Anchors the proxy at `index` if something outside needs it, and lets go of it if nothing does. [-0, +0, m] */
void rscl_manager_settle(lua_State *L, int box, int index);

/* rsca.manager{...} */
int rscl_manager_new(lua_State *L);

/* What a proxy does with its reference: methods and metamethods. */
int rscl_manager_AddRef(lua_State *L);
int rscl_manager_Release(lua_State *L);
int rscl_manager_close(lua_State *L);
int rscl_manager_gc(lua_State *L);
int rscl_manager_tostring(lua_State *L);

extern const rscl_type rscl_manager_type; /* in manager_methods.c */

#endif
