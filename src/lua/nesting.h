/*
 * Nested coroutines: the functions of Lua's coroutine library, and xpcall, so that a stop reaches whatever runs however
 * deep.
 *
 * Provides: rscl_nesting_open
 * Uses:     stop
 */
#ifndef RSCL_NESTING_H
#define RSCL_NESTING_H

#include <stdbool.h>

#include <lua.h>

/* Puts them in place of Lua's own; rsca is open in this state. `closed`: also takes away what would undo a stop. [-0,
 * +0, m] */
void rscl_nesting_open(lua_State *L, bool closed);

/* rsca.guard() */
int rscl_guard_state(lua_State *L);

#endif
