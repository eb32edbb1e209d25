/*
 * What the prompt asks of objects that somebody else made, and its listening to their subscriptions.
 *
 * Provides: rscl_tap, rscl_kind, rscl_registration
 * Uses:     hanging, manager_proxy, request, subscription
 */
#ifndef RSCL_TAP_H
#define RSCL_TAP_H

#include "state.h"

/* kind(value): "request", "subscription", "manager" (one that is open), or nothing */
int rscl_kind(lua_State *L);

/* registration(manager, name): the number of the registration that stands under that name; 0: none */
int rscl_registration(lua_State *L);

/* tap(subscription, wrap): wrap(handler) is the handler from now on. Whether there was one to put it in place of. */
int rscl_tap(lua_State *L);

#endif
