/*
 * What hangs on a manager's proxy, besides its actions: the handlers of a script's registrations, and the coroutines
 * that answer them. The proxy's second user value holds it, slot -> value; a weak table of the state leads to it in one
 * step.
 *
 * Provides: rscl_hang and its kin
 * Uses:     state
 */
#ifndef RSCL_HANGING_H
#define RSCL_HANGING_H

#include "state.h"

/* Puts the value on top into a slot of the weak table, and into the proxy. `hanging`: index of the weak table.
 * [-1, +0, m] */
rscl_slot rscl_hang(lua_State *L, rscl_state *state, int hanging, int proxy, void *owner);

/* Never fails. [-0, +0, -] */
void rscl_unhang(lua_State *L, rscl_state *state, const void *owner, rscl_slot slot);

/* The proxy goes: what is still hanging on it stays for those who will close it. [-0, +0, -] */
void rscl_keep_hanging(lua_State *L, int box, int proxy, const rsca_manager *manager);

#endif
