#include "host.h"

#include <stdint.h>

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>

#include "script.h"

typedef struct opening {
  cli_host *host;
  lua_CFunction main;
  void *data;
} opening;

/* (opening): nothing, or what is wrong */
static int open_main(lua_State *L) {
  const opening *what = lua_touserdata(L, 1);
  luaL_openlibs(L);
  if (FAILED(rsca_lua_open(L, what->host->manager)))
    return luaL_error(L, "not enough memory");
  lua_pushcfunction(L, what->main);
  lua_pushlightuserdata(L, what->data);
  lua_call(L, 1, 1);
  return 1;
}

const char *cli_host_start(cli_host *host, lua_CFunction main, void *data) {
  *host = (cli_host){0};
  if (FAILED(rsca_manager_create(NULL, &host->manager)))
    return "not enough memory";
  if (rsca_manager_fd(host->manager) < 0)
    return "there is no file descriptor left";
  host->L = luaL_newstate();
  if (!host->L)
    return "not enough memory";
  opening what = {host, main, data};
  lua_pushcfunction(host->L, open_main);
  lua_pushlightuserdata(host->L, &what);
  (void)lua_pcall(host->L, 1, 1, 0);
  return lua_tostring(host->L, -1);
}

/* (name of the script) */
static int script_main(lua_State *L) {
  const char *script = lua_touserdata(L, 1);
  if (luaL_loadbufferx(L, (const char *)cli_embedded_script, sizeof cli_embedded_script, "=rsca", "t") != LUA_OK)
    return lua_error(L);
  lua_pushstring(L, script);
  lua_call(L, 1, 1);
  return 1;
}

const char *cli_host_open(cli_host *host, const char *script) {
  return cli_host_start(host, script_main, (void *)(uintptr_t)script);
}

void cli_host_close(cli_host *host) {
  if (!host->manager)
    return;
  (void)rsca_manager_shutdown(host->manager, true);
  if (host->L)
    lua_close(host->L);
  (void)rsca_manager_release(host->manager);
  *host = (cli_host){0};
}
