/*
 * bench.footprint: making and ending managers and states, and what they hold.
 */
#include "bench.h"

#include <stdlib.h>
#include <string.h>

#include <lualib.h>

#include <rsca/lua.h>
#include <rsca/manager.h>

/* managers(n): creates and releases one after the other */
static int footprint_managers(lua_State *L) {
  for (uint64_t count = bench_check_count(L, 1); count > 0; count--) {
    rsca_manager *manager;
    if (FAILED(rsca_manager_create(NULL, &manager)))
      return luaL_error(L, "not enough memory");
    (void)rsca_manager_release(manager);
  }
  return 0;
}

/* ---- Managers that are kept ---- */

static const char managers_type[] = "bench.managers";

typedef struct kept_managers {
  size_t count;
  rsca_manager *managers[];
} kept_managers;

static int kept_gc(lua_State *L) {
  kept_managers *self = luaL_checkudata(L, 1, managers_type);
  while (self->count > 0)
    (void)rsca_manager_release(self->managers[--self->count]);
  return 0;
}

static const luaL_Reg kept_meta[] = {{"__gc", kept_gc}, {"__close", kept_gc}, {NULL, NULL}};

/* keep(n): so many managers at once, to be closed */
static int footprint_keep(lua_State *L) {
  size_t count = (size_t)bench_check_count(L, 1);
  kept_managers *self = lua_newuserdatauv(L, sizeof *self + count * sizeof self->managers[0], 0);
  self->count = 0;
  luaL_setmetatable(L, managers_type);
  while (self->count < count) {
    if (FAILED(rsca_manager_create(NULL, &self->managers[self->count])))
      return luaL_error(L, "not enough memory");
    self->count++;
  }
  return 1;
}

/* ---- States ---- */

static const char script[] = "return function(args) return args end";
static const char rsca_script[] = "local rsca = require 'rsca'\n"
                                  "rsca.register('echo', function(args) return args end)";

static void on_result(void *user, HRESULT status, const void *response, size_t size, bool final) {
  (void) final;
  if (status == S_OK && size == 5 && memcmp(response, "first", 5) == 0)
    ++*(int *)user;
}

/* A state, its script, and the first result. NULL: something failed. */
static lua_State *first_plain(void) {
  lua_State *L = luaL_newstate();
  if (!L)
    return NULL;
  luaL_openlibs(L);
  if (luaL_dostring(L, script) == LUA_OK && lua_pushliteral(L, "first") && lua_pcall(L, 1, 1, 0) == LUA_OK &&
      lua_isstring(L, -1))
    return L;
  lua_close(L);
  return NULL;
}

static lua_State *first_rsca(void) {
  lua_State *L = luaL_newstate();
  if (!L)
    return NULL;
  luaL_openlibs(L);
  rsca_manager *manager = NULL;
  int heard = 0;
  if (SUCCEEDED(rsca_lua_open(L, NULL)) && luaL_dostring(L, rsca_script) == LUA_OK &&
      SUCCEEDED(rsca_lua_own_manager(L, &manager)) &&
      SUCCEEDED(rsca_manager_run(manager, "echo", "first", on_result, &heard, NULL))) {
    while (heard == 0 && rsca_manager_step(manager, 0) == S_OK)
      ;
  }
  if (manager)
    (void)rsca_manager_release(manager);
  if (heard == 1)
    return L;
  lua_close(L);
  return NULL;
}

static int repeat(lua_State *L, lua_State *(*first)(void)) {
  for (uint64_t count = bench_check_count(L, 1); count > 0; count--) {
    lua_State *state = first();
    if (!state)
      return luaL_error(L, "no first result");
    lua_close(state);
  }
  return 0;
}

/* plain_states(n): a new state, its libraries and a script, a pcall of its function, lua_close */
static int footprint_plain_states(lua_State *L) {
  return repeat(L, first_plain);
}

/* rsca_states(n): the same with rsca, and a call of its action */
static int footprint_rsca_states(lua_State *L) {
  return repeat(L, first_rsca);
}

static const char state_type[] = "bench.state";

static int state_gc(lua_State *L) {
  lua_State **state = luaL_checkudata(L, 1, state_type);
  if (*state)
    lua_close(*state);
  *state = NULL;
  return 0;
}

/* state:of_lua(): bytes that its collector counts, after it has collected */
static int state_of_lua(lua_State *L) {
  lua_State **state = luaL_checkudata(L, 1, state_type);
  luaL_argcheck(L, *state, 1, "it is closed");
  (void)lua_gc(*state, LUA_GCCOLLECT);
  (void)lua_gc(*state, LUA_GCCOLLECT);
  lua_pushinteger(L, (lua_Integer)lua_gc(*state, LUA_GCCOUNT) * 1024 + lua_gc(*state, LUA_GCCOUNTB));
  return 1;
}

static const luaL_Reg state_meta[] = {
    {"__gc", state_gc}, {"__close", state_gc}, {"of_lua", state_of_lua}, {NULL, NULL}};

/* state(rsca): one that has given its first result, to be closed */
static int footprint_state(lua_State *L) {
  lua_State **state = lua_newuserdatauv(L, sizeof(lua_State *), 0);
  *state = NULL;
  luaL_setmetatable(L, state_type);
  *state = lua_toboolean(L, 1) ? first_rsca() : first_plain();
  return *state ? 1 : luaL_error(L, "no first result");
}

static void new_type(lua_State *L, const char *name, const luaL_Reg *meta) {
  if (luaL_newmetatable(L, name)) {
    luaL_setfuncs(L, meta, 0);
    lua_pushvalue(L, -1);
    lua_setfield(L, -2, "__index");
  }
  lua_pop(L, 1);
}

static const luaL_Reg functions[] = {
    {"managers", footprint_managers},       {"keep", footprint_keep},   {"plain_states", footprint_plain_states},
    {"rsca_states", footprint_rsca_states}, {"state", footprint_state}, {NULL, NULL}};

int bench_open_footprint(lua_State *L) {
  new_type(L, managers_type, kept_meta);
  new_type(L, state_type, state_meta);
  luaL_newlib(L, functions);
  return 1;
}
