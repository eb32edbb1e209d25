/*
 * What the prompt (lua/rsca/repl.lua) needs of the system: signals, waiting for input and for work at once, lines of
 * input, and standard output that can be held back while something else is on the screen.
 *
 * Provides: rscl_console_preload
 * Uses:     fiber, stop, tap
 * Threads:  one prompt in a process, on the thread of its state
 */
#ifndef RSCL_CONSOLE_H
#define RSCL_CONSOLE_H

#include "state.h"

/* Makes require "rsca.repl.console" find it. [-0, +0, m] */
void rscl_console_preload(lua_State *L);

#endif
