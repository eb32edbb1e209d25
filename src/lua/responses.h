/*
 * Responses as a generic for takes them.
 *
 * Provides: rscl_responses
 * Uses:     subscription, foreign_registration
 * Threads:  the state's own
 */
#ifndef RSCL_RESPONSES_H
#define RSCL_RESPONSES_H

#include "subscription.h"

/* responses(name, args): pushes what a generic for needs; raises the err where it is refused. */
int rscl_responses(lua_State *L, rscl_state *state, int proxy, rscl_text name, rscl_text args, uint64_t limit_ns);

/* The same with a manager that somebody else implemented. */
int rscl_responses_foreign(lua_State *L, rscl_state *state, IPmCustomActions2 *actions, int proxy, rscl_text name,
                           rscl_text args);

#endif
