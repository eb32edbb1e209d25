/*
 * Managers as Lua objects.
 *
 * Provides: rscl_manager, its methods, and the same as functions of the module
 * Uses:     action, request, handler, callback, object
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

/* The manager whose proxy is at `index`, or NULL; NULL too where it is closed. Borrowed. [-0, +0, -] */
rsca_manager *rscl_manager_test(lua_State *L, int index);

/* Anchors the proxy at `index` if something outside needs it, and lets go of it if nothing does. [-0, +0, m] */
void rscl_manager_settle(lua_State *L, int box, int index);

/* Cancels a call of the manager whose proxy is at `index`: pushes true, or nil, err. [-0, +1 or 2, m] */
int rscl_manager_cancel(lua_State *L, int index, uint64_t id);

/* rsca.manager{...} */
int rscl_manager_new(lua_State *L);

/* The functions of the module that speak to the state's own manager: upvalues are the box and its proxy. */
extern const luaL_Reg rscl_manager_functions[];

extern const rscl_type rscl_manager_type;

#endif
