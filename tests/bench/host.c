/*
 * A Lua host with rsca in it, as a C program would be one: runs a script with the modules bench.* preloaded.
 * usage: rsca_bench FILE [ARG]...
 */
#include "bench.h"

#include <stdio.h>
#include <stdlib.h>

#include <lualib.h>

#include <rsca/lua.h>

const luaL_Reg bench_modules[] = {{"bench.core", bench_open_core},           {"bench.process", bench_open_process},
                                  {"bench.path", bench_open_path},

                                  {"bench.footprint", bench_open_footprint}, {"bench.uv", bench_open_uv},
                                  {"bench.workers", bench_open_workers},     {NULL, NULL}};

static int traceback(lua_State *L) {
  luaL_traceback(L, L, luaL_tolstring(L, 1, NULL), 1);
  return 1;
}

static void set_arg(lua_State *L, int argc, char **argv) {
  lua_createtable(L, argc, 1);
  for (int i = 0; i < argc; i++) {
    lua_pushstring(L, argv[i]);
    lua_rawseti(L, -2, i - 1);
  }
  lua_setglobal(L, "arg");
}

static int run(lua_State *L) {
  int argc = (int)lua_tointeger(L, 1);
  char **argv = lua_touserdata(L, 2);
  lua_settop(L, 0);
  luaL_openlibs(L);
  if (FAILED(rsca_lua_open(L, NULL)))
    return luaL_error(L, "rsca can't be opened");
  luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
  luaL_setfuncs(L, bench_modules, 0);
  set_arg(L, argc, argv);
  lua_pushcfunction(L, traceback);
  if (luaL_loadfile(L, argv[1]) != LUA_OK)
    return lua_error(L);
  for (int i = 2; i < argc; i++)
    lua_pushstring(L, argv[i]);
  if (lua_pcall(L, argc - 2, 0, 2) != LUA_OK)
    return lua_error(L);
  return 0;
}

int main(int argc, char **argv) {
  if (argc < 2) {
    fprintf(stderr, "usage: %s FILE [ARG]...\n", argv[0]);
    return 2;
  }
  lua_State *L = luaL_newstate();
  if (!L) {
    fprintf(stderr, "%s: not enough memory\n", argv[0]);
    return EXIT_FAILURE;
  }
  lua_pushcfunction(L, run);
  lua_pushinteger(L, argc);
  lua_pushlightuserdata(L, argv);
  int status = lua_pcall(L, 2, 0, 0);
  if (status != LUA_OK)
    fprintf(stderr, "%s: %s\n", argv[1], lua_tostring(L, -1));
  lua_close(L);
  return status == LUA_OK ? EXIT_SUCCESS : EXIT_FAILURE;
}
