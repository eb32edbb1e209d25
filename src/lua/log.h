/*
 * What scripts log: to the hook rsca.on_log, or where there is none to the host's.
 *
 * Provides: rsca.log, rscl_log_deliver
 * Uses:     state
 * Threads:  the state's own
 */
#ifndef RSCL_LOG_H
#define RSCL_LOG_H

#include "state.h"

/* rsca.log(level, message) */
int rscl_log(lua_State *L);

/* Hands on what another state has logged, with a NUL after it. `module`: index of the module table. The hook can't
 * wait. [-0, +0, e] */
void rscl_log_deliver(lua_State *L, rscl_state *state, int module, const char *level, const char *text, size_t size);

#endif
