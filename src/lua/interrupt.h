/*
 * Stopping Lua code from a signal handler.
 *
 * Provides: rscl_guard_state, rscl_interrupt_over
 * Uses:     fiber
 * Threads:  the state's own; rsca_lua_interrupt also in a signal handler there
 */
#ifndef RSCL_INTERRUPT_H
#define RSCL_INTERRUPT_H

#include "state.h"

/* Replaces what could hide running code from an interrupt: coroutine.resume, wrap and close, and xpcall. Harmless when
 * said again. [-0, +0, m] */
void rscl_guard_state(lua_State *L, rscl_state *state);

/* What was to be interrupted has ended. */
void rscl_interrupt_over(void);

#endif
