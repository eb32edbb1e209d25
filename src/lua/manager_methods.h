/*
 * What a manager can do in Lua: each as a method, and, for the state's own, as a function of the module.
 *
 * Provides: rscl_manager_functions, rscl_manager_type, rscl_manager_cancel
 * Uses:     manager_proxy, action, request, handler, subscription, responses
 * Threads:  the state's own
 */
#ifndef RSCL_MANAGER_METHODS_H
#define RSCL_MANAGER_METHODS_H

#include <lauxlib.h>
#include <lua.h>
#include <stdint.h>

/* Cancels a call of the manager whose proxy is at `index`, with the seconds at `grace`: pushes true, or nil, err.
 * [-0, +1 or 2, v] */
int rscl_manager_cancel(lua_State *L, int index, uint64_t id, int grace);

/* The functions of the module that speak to the state's own manager: upvalues are the box and its proxy. */
extern const luaL_Reg rscl_manager_functions[];

#endif
