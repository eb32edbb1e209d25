/*
 * Registrations with a manager that somebody else implemented.
 *
 * Provides: rscl_subscribe_foreign, rscl_register_foreign
 * Uses:     subscription
 * Threads:  the state's own; such a manager may report from any
 */
#ifndef RSCL_FOREIGN_REGISTRATION_H
#define RSCL_FOREIGN_REGISTRATION_H

#include "subscription.h"

/* The same with a manager that somebody else implemented; `proxy`: index of its. */
int rscl_subscribe_foreign(lua_State *L, rscl_state *state, IPmCustomActions2 *actions, int proxy, rscl_text name,
                           rscl_text args, int handler);
HRESULT rscl_register_foreign(lua_State *L, rscl_state *state, IPmCustomActions2 *actions, int proxy, rscl_text name,
                              rscl_text args, int handler);

/* The same for an iterator (`handler` 0) too: the object, on top, owns the subscription. [-0, +0, m] */
HRESULT rscl_foreign_start(lua_State *L, rscl_state *state, rscl_owner *object, IPmCustomActions2 *actions, int proxy,
                           rscl_text name, rscl_text args, int handler);

/* Ends the registration; its final is still to come to a handler. True: it was open. */
bool rscl_foreign_close(lua_State *L, rscl_subscription *subscription);

/* Its handler has failed: it ends as cancelled. */
void rscl_foreign_refuse(lua_State *L, rscl_subscription *subscription);

#endif
