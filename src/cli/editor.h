/*
 * The line editor of `rsca repl`: GNU readline as a terminal for lua/rsca/repl.lua, whose lines.lua says what one is.
 *
 * Provides: cli_editor_preload
 * Uses:     GNU readline, which nothing but the program is linked with
 * Threads:  main
 */
#ifndef CLI_EDITOR_H
#define CLI_EDITOR_H

#include <lua.h>

/* Makes require "rsca.repl.editor" find it. [-0, +0, m] */
void cli_editor_preload(lua_State *L);

#endif
