/*
 * Children. Of workers: os.execute and io.popen whose processes get the host's signal mask. A worker blocks nearly all
 * signals, and what it starts would do so for good. Of the program and its prompt: an os.execute that Ctrl-C gets past.
 *
 * Provides: rscl_children_open, rscl_children_interruptible
 * Uses:     Lua only
 */
#ifndef RSCL_CHILDREN_H
#define RSCL_CHILDREN_H

#include <signal.h>

#include <lua.h>

/* Puts them in place of Lua's own, in a state with its libraries. `mask`: Borrowed, until that
 * is closed. [-0, +0, m] */
void rscl_children_open(lua_State *L, const sigset_t *mask);

/* interruptible(): from here on os.execute raises SIGINT again where its command was ended by that. This process
 * ignores it meanwhile, so that a loop of such commands would go on. Harmless when said again. */
int rscl_children_interruptible(lua_State *L);

#endif
