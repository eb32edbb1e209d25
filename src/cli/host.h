/*
 * A manager with a Lua state that has run the script of the command.
 *
 * Provides: cli_host, cli_host_open, cli_host_start, cli_host_close
 * Uses:     failure.h, script.lua
 */
#ifndef CLI_HOST_H
#define CLI_HOST_H

#include <stdbool.h>

#include <lua.h>

#include <rsca/lua.h>
#include <rsca/manager.h>

typedef struct cli_host {
  rsca_manager *manager;
  lua_State *L;
} cli_host;

/* NULL, or what is wrong, in one line; good until cli_host_close, which is called in any case. */
const char *cli_host_open(cli_host *host, const char *script);

/* The same without a script: calls `main`, with `data` as a light userdata, in a state with all libraries and rsca.
 * What it returns, or raises, is what is wrong; nothing if all is well. */
const char *cli_host_start(cli_host *host, lua_CFunction main, void *data);

/* Ends what is in flight. */
void cli_host_close(cli_host *host);

#endif
