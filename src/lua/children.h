/*
 * Children of workers: os.execute and io.popen whose processes get the host's signal mask. A worker blocks nearly all
 * signals, and what it starts would do so for good.
 *
 * Provides: rscl_children_open
 * Uses:     Lua only
 */
#ifndef RSCL_CHILDREN_H
#define RSCL_CHILDREN_H

#include <signal.h>

#include <lua.h>

/* Puts them in place of Lua's own, in a state with its libraries. `mask`: Copied. [-0, +0, m] */
void rscl_children_open(lua_State *L, const sigset_t *mask);

#endif
