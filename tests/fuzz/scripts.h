/*
 * The Lua states: those of pools, and those that a host steps, whose scripts are clients too.
 *
 * Provides: scripts_*
 * Uses:     model, actions, clients, hosts, actions.lua, driver.lua
 * Threads:  a state's own
 */
#ifndef SCRIPTS_H
#define SCRIPTS_H

#include <lua.h>

#include "model.h"

/* Gives a pool its script. A failure: for lack of memory. */
HRESULT scripts_load(life *of);

/* A state whose manager this is, with the actions in Lua. */
lua_State *scripts_open(chance *luck, life *of);

/* Has its script do something; outside any step. */
void scripts_drive(lua_State *L, chance *luck);

/* Its manager was shut down: waits until all handlers have been told, and checks that they were. */
void scripts_end(lua_State *L);

#endif
