#include "options.h"

#include <sched.h>
#include <string.h>

#include <lauxlib.h>

#include "core/manager.h"

uint64_t rscl_check_limit_option(lua_State *L, int arg, int index) {
  lua_Number seconds = lua_tonumber(L, index);
  if (lua_type(L, index) != LUA_TNUMBER || !(seconds > 0))
    luaL_argerror(L, arg, "option 'time_limit' must be seconds, a number above 0 (math.huge: no limit)");
  if (seconds >= 1e9)
    return UINT64_MAX;
  uint64_t ns = (uint64_t)(seconds * 1e9);
  return ns ? ns : 1;
}

uint64_t rscl_check_call_options(lua_State *L, int arg) {
  if (lua_isnoneornil(L, arg))
    return 0;
  if (!lua_istable(L, arg))
    luaL_typeerror(L, arg, "table of options");
  uint64_t limit_ns = 0;
  lua_pushnil(L);
  while (lua_next(L, arg)) {
    const char *key = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : "?";
    if (strcmp(key, "time_limit") != 0)
      luaL_argerror(L, arg, lua_pushfstring(L, "unknown option '%s' (time_limit)", key));
    limit_ns = rscl_check_limit_option(L, arg, -1);
    lua_pop(L, 1);
  }
  return limit_ns;
}

/* ---- rsca.manager ---- */

static lua_Integer check_count(lua_State *L, int arg, const char *key, lua_Integer most) {
  int is_integer;
  lua_Integer value = lua_tointegerx(L, -1, &is_integer);
  if (lua_type(L, -1) != LUA_TNUMBER || !is_integer || value < 1 || value > most)
    luaL_argerror(L, arg, lua_pushfstring(L, "option '%s' must be an integer from 1 to %I", key, (LUAI_UACINT)most));
  return value;
}

static uint32_t check_ms(lua_State *L, int arg, const char *key) {
  lua_Number seconds = lua_tonumber(L, -1);
  if (lua_type(L, -1) != LUA_TNUMBER || !(seconds > 0))
    luaL_argerror(L, arg, lua_pushfstring(L, "option '%s' must be seconds, a number above 0", key));
  lua_Number ms = seconds * 1e3;
  if (ms >= (lua_Number)RSCA_NO_LIMIT)
    return RSCA_NO_LIMIT;
  return ms < 1 ? 1 : (uint32_t)ms;
}

static const char *check_text(lua_State *L, int arg, const char *key, size_t *size) {
  if (lua_type(L, -1) != LUA_TSTRING)
    luaL_argerror(L, arg, lua_pushfstring(L, "option '%s' must be a string", key));
  return lua_tolstring(L, -1, size);
}

/* The value is on top; the table keeps it. */
static void check_option(lua_State *L, int arg, const char *key, rscl_manager_options *options) {
  rsca_config *config = &options->config;
  if (strcmp(key, "queue_limit") == 0)
    config->queue_limit = (uint32_t)check_count(L, arg, key, INT32_MAX);
  else if (strcmp(key, "queue_bytes") == 0)
    config->queue_bytes = (size_t)check_count(L, arg, key, INT32_MAX);
  else if (strcmp(key, "response_limit") == 0)
    config->response_limit = (size_t)check_count(L, arg, key, UINT32_MAX);
  else if (strcmp(key, "response_bytes") == 0)
    config->response_bytes = (size_t)check_count(L, arg, key, PTRDIFF_MAX);
  else if (strcmp(key, "memory_limit") == 0)
    config->memory_limit = (size_t)check_count(L, arg, key, PTRDIFF_MAX);
  else if (strcmp(key, "shared_bytes") == 0)
    config->shared_bytes = (size_t)check_count(L, arg, key, PTRDIFF_MAX);
  else if (strcmp(key, "workers") == 0)
    config->workers = (uint32_t)check_count(L, arg, key, RSCI_MOST_WORKERS);
  else if (strcmp(key, "time_limit") == 0)
    config->time_limit_ms = check_ms(L, arg, key);
  else if (strcmp(key, "drain") == 0)
    config->drain_ms = check_ms(L, arg, key);
  else if (strcmp(key, "script") == 0)
    options->script = check_text(L, arg, key, NULL);
  else if (strcmp(key, "chunk") == 0)
    options->chunk = check_text(L, arg, key, &options->chunk_size);
  else
    luaL_argerror(L, arg,
                  lua_pushfstring(L,
                                  "unknown option '%s' (script, chunk, workers, time_limit, memory_limit, queue_limit, "
                                  "queue_bytes, response_limit, response_bytes, shared_bytes, drain)",
                                  key));
}

/* Processors that this process may use. */
static uint32_t count_processors(void) {
  cpu_set_t set;
  int count = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
  return count > 0 ? (uint32_t)count : 1;
}

rscl_manager_options rscl_check_manager_options(lua_State *L, int arg) {
  rscl_manager_options options = {0};
  if (lua_isnoneornil(L, arg))
    return options;
  luaL_checktype(L, arg, LUA_TTABLE);
  lua_pushnil(L);
  while (lua_next(L, arg)) {
    check_option(L, arg, lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : "?", &options);
    lua_pop(L, 1);
  }
  bool pool = options.script || options.chunk;
  luaL_argcheck(L, !(options.script && options.chunk), arg,
                "one of the options 'script' and 'chunk' expected, not both");
  luaL_argcheck(L, pool || options.config.workers == 0, arg, "option 'workers' needs a 'script' for them");
  luaL_argcheck(L, pool || options.config.memory_limit == 0, arg,
                "option 'memory_limit' is for the states of workers: it needs a 'script'");
  if (pool && options.config.workers == 0)
    options.config.workers = count_processors();
  return options;
}
