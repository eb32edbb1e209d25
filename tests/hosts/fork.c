/*
 * Forks, for tests in Lua: require "fork" gives fork() -> 0 in the child, join(child) -> its exit status, and
 * quit(status), which ends the process at once.
 */
#include <lauxlib.h>
#include <lua.h>

#include "support/child.h"

int luaopen_fork(lua_State *L);

static int fork_fork(lua_State *L) {
  (void)fflush(NULL);
  pid_t child = fork();
  if (child < 0)
    return luaL_error(L, "no process can be had");
  lua_pushinteger(L, child);
  return 1;
}

static int fork_join(lua_State *L) {
  lua_pushinteger(L, child_status((pid_t)luaL_checkinteger(L, 1)));
  return 1;
}

static int fork_quit(lua_State *L) {
  (void)fflush(NULL);
  _exit((int)luaL_checkinteger(L, 1));
}

__attribute__((visibility("default"))) int luaopen_fork(lua_State *L) {
  static const luaL_Reg functions[] = {{"fork", fork_fork}, {"join", fork_join}, {"quit", fork_quit}, {NULL, NULL}};
  luaL_newlib(L, functions);
  return 1;
}
