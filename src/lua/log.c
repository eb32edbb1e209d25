#include "log.h"

#include <string.h>

static void check_level(lua_State *L) {
  static const char *const levels[] = {"error", "warning", "info", "debug"};
  bool is_string = lua_type(L, 1) == LUA_TSTRING;
  const char *level = is_string ? lua_tostring(L, 1) : luaL_typename(L, 1);
  for (size_t i = 0; is_string && i < sizeof levels / sizeof *levels; i++)
    if (lua_rawlen(L, 1) == strlen(levels[i]) && strcmp(level, levels[i]) == 0)
      return;
  luaL_error(L, "bad argument #1 to 'log' ('error', 'warning', 'info' or 'debug' expected, got %s%s%s)",
             is_string ? "\"" : "", level, is_string ? "\"" : "");
}

static int logged(lua_State *L, int status, lua_KContext context) {
  (void)L;
  (void)status;
  (void)context;
  return 0;
}

int rscl_log(lua_State *L) {
  check_level(L);
  lua_settop(L, 2);
  lua_getiuservalue(L, RSCL_BOX, RSCL_UV_MODULE);
  if (lua_getfield(L, -1, "on_log") != LUA_TNIL) {
    lua_pushvalue(L, 1);
    (void)luaL_tolstring(L, 2, NULL);
    lua_callk(L, 2, 0, 0, logged); /* the hook may wait */
    return 0;
  }
  const rscl_state *state = ((rscl_box *)lua_touserdata(L, RSCL_BOX))->state;
  if (state && state->hooks.on_log) {
    size_t size;
    const char *text = luaL_tolstring(L, 2, &size);
    state->hooks.on_log(state->hooks.user, lua_tostring(L, 1), text, size);
  }
  return 0;
}

void rscl_log_deliver(lua_State *L, rscl_state *state, int module, const char *level, const char *text, size_t size) {
  if (lua_getfield(L, module, "on_log") != LUA_TNIL) {
    lua_pushstring(L, level);
    lua_pushlstring(L, text, size);
    lua_call(L, 2, 0);
    return;
  }
  lua_pop(L, 1);
  if (state->hooks.on_log)
    state->hooks.on_log(state->hooks.user, level, text, size);
}
