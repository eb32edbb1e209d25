/*
 * The relay: takes what workers log, and the errors that nobody else hears of, to a state that shows them to its own
 * hooks, rsca.on_log and rsca.on_error.
 *
 * Provides: rscl_relay
 * Uses:     state, error
 * Threads:  any, but for rscl_relay_open: the worker's
 */
#ifndef RSCL_RELAY_H
#define RSCL_RELAY_H

#include "state.h"

typedef struct rscl_relay rscl_relay;

/* To that state, whose engine it holds. With one reference; NULL: out of memory. */
rscl_relay *rscl_relay_create(rscl_state *state);
void rscl_relay_hold(rscl_relay *relay);
void rscl_relay_release(rscl_relay *relay);

/* Sets the hooks of the module table on top, of a worker's state. [-0, +0, m] */
void rscl_relay_open(lua_State *L, rscl_relay *relay);

/* For on_error. */
void rscl_relay_error(rscl_relay *relay, HRESULT status, const char *message);

#endif
