#include "error.h"

#include <stdio.h>
#include <string.h>

#include <rsca/status.h>

#include "text_args.h"
#include "worker.h"

static const char error_key; /* its address names the metatable of errors in the registry */
static const char traceback_mark[] = "\nstack traceback:\n";

void rscl_push_status(lua_State *L, HRESULT status) {
  lua_pushinteger(L, (lua_Integer)(uint32_t)status);
}

bool rscl_to_status(lua_State *L, int index, HRESULT *status) {
  int is_integer;
  lua_Integer value = lua_type(L, index) == LUA_TNUMBER ? lua_tointegerx(L, index, &is_integer) : (is_integer = 0);
  if (!is_integer || value < INT32_MIN || value > (lua_Integer)UINT32_MAX)
    return false;
  *status = (HRESULT)(uint32_t)value;
  return true;
}

HRESULT rscl_failure_status(lua_State *L, int index, HRESULT fallback) {
  HRESULT status;
  return rscl_to_status(L, index, &status) && FAILED(status) ? status : fallback;
}

static const char *find(const char *text, size_t size, const char *what, size_t what_size) {
  for (const char *at = text; size >= what_size; at++, size--)
    if (memcmp(at, what, what_size) == 0)
      return at;
  return NULL;
}

void rscl_push_error(lua_State *L, HRESULT status, const char *message, size_t size, const char *action) {
  const rsca_status_entry *entry = rsca_status_find(status);
  luaL_checkstack(L, 4, NULL);
  lua_createtable(L, 0, 5);
  rscl_push_status(L, status);
  lua_setfield(L, -2, "status");
  if (entry)
    lua_pushstring(L, entry->name);
  else
    lua_pushfstring(L, "0x%s", rscl_hex(status).digits);
  lua_setfield(L, -2, "name");
  if (!message) {
    message = entry ? entry->meaning : "failed";
    size = strlen(message);
  }
  const char *mark = find(message, size, traceback_mark, sizeof traceback_mark - 1);
  if (mark) {
    const char *traceback = mark + 1;
    lua_pushlstring(L, traceback, (size_t)(message + size - traceback));
    lua_setfield(L, -2, "traceback");
    size = (size_t)(mark - message);
  }
  lua_pushlstring(L, message, size);
  lua_setfield(L, -2, "message");
  if (action) {
    lua_pushstring(L, action);
    lua_setfield(L, -2, "action");
  }
  lua_rawgetp(L, LUA_REGISTRYINDEX, &error_key);
  lua_setmetatable(L, -2);
}

int rscl_fail(lua_State *L, HRESULT status, const char *message, const char *action) {
  lua_pushnil(L);
  rscl_push_error(L, status, message, message ? strlen(message) : 0, action);
  return 2;
}

int rscl_refused(lua_State *L, HRESULT status, const char *action) {
  const char *message = NULL;
  if (status == RSCA_E_NOT_FOUND)
    message = lua_pushfstring(L, "no action is registered under the name '%s'", action);
  return rscl_fail(L, status, message, action);
}

bool rscl_is_error(lua_State *L, int index) {
  if (lua_type(L, index) != LUA_TTABLE || !lua_checkstack(L, 2) || !lua_getmetatable(L, index))
    return false;
  lua_rawgetp(L, LUA_REGISTRYINDEX, &error_key);
  bool same = lua_rawequal(L, -1, -2);
  lua_pop(L, 2);
  return same;
}

int rscl_push_error_field(lua_State *L, int index, const char *name) {
  index = lua_absindex(L, index);
  lua_pushstring(L, name);
  return lua_rawget(L, index);
}

/* err.message (err.name) */
static int error_tostring(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 1);
  if (lua_getfield(L, 1, "message") != LUA_TSTRING || lua_rawlen(L, -1) == 0) {
    lua_pop(L, 1);
    lua_pushliteral(L, "failed without a message");
  }
  lua_pushliteral(L, " (");
  if (lua_getfield(L, 1, "name") != LUA_TSTRING) {
    lua_pop(L, 1);
    lua_pushliteral(L, "no status");
  }
  lua_pushliteral(L, ")");
  lua_concat(L, 4);
  return 1;
}

static int to_text(lua_State *L) {
  (void)luaL_tolstring(L, 1, NULL);
  return 1;
}

void rscl_make_text(lua_State *L, rscl_state *state, struct rsca_call *call) {
  if (lua_type(L, -1) == LUA_TSTRING)
    return;
  const char *type = luaL_typename(L, -1);
  lua_pushcfunction(L, to_text);
  lua_insert(L, -2);
  if (rscl_stop_pcall(L, state, call, 1, 1) != LUA_OK) {
    lua_pop(L, 1);
    lua_pushfstring(L, "(a %s without a text)", type);
  }
}

HRESULT rscl_raised_text(lua_State *L, rscl_state *state, struct rsca_call *call, lua_State *co, int lua_status) {
  HRESULT status = lua_status == LUA_ERRMEM ? E_OUTOFMEMORY : E_FAIL;
  luaL_checkstack(L, 4, NULL);
  if (rscl_is_error(L, -1)) {
    (void)rscl_push_error_field(L, -1, "status");
    status = rscl_failure_status(L, -1, E_FAIL);
    lua_pop(L, 1);
    if (rscl_push_error_field(L, -1, "message") == LUA_TSTRING)
      lua_replace(L, -2);
    else
      lua_pop(L, 1);
  }
  size_t before = rscl_worker_set_reserve(state, RSCL_MEMORY_RESERVE);
  rscl_make_text(L, state, call);
  luaL_traceback(L, co, NULL, 0);
  if (lua_rawlen(L, -1) > sizeof traceback_mark - 2) {
    lua_pushliteral(L, "\n");
    lua_insert(L, -2);
    lua_concat(L, 3);
  } else {
    lua_pop(L, 1); /* no level left to tell of */
  }
  (void)rscl_worker_set_reserve(state, before);
  return status;
}

/* The default hook: one line to stderr. */
static int print_error(lua_State *L) {
  size_t size;
  const char *text = luaL_tolstring(L, 1, &size);
  const char *end = memchr(text, '\n', size);
  fprintf(stderr, "rsca: %.*s\n", (int)(end ? end - text : (ptrdiff_t)size), text);
  return 0;
}

/* Tells the host's hook: of an error all that is in it, of any other value its text. */
static void tell_host(lua_State *L, const rscl_state *state) {
  HRESULT status = E_FAIL;
  const char *action = NULL;
  lua_settop(L, 1);
  if (rscl_is_error(L, 1)) {
    (void)rscl_push_error_field(L, 1, "status");
    status = rscl_failure_status(L, -1, E_FAIL);
    if (rscl_push_error_field(L, 1, "action") == LUA_TSTRING)
      action = lua_tostring(L, -1);
    if (rscl_push_error_field(L, 1, "message") != LUA_TSTRING)
      (void)luaL_tolstring(L, 1, NULL);
    lua_pushliteral(L, "\n");
    if (rscl_push_error_field(L, 1, "traceback") == LUA_TSTRING)
      lua_concat(L, 3);
    else
      lua_pop(L, 2);
  }
  size_t size;
  const char *message = luaL_tolstring(L, -1, &size);
  state->hooks.on_error(state->hooks.user, status, action, message, size);
}

/* What rsca.on_error is at first. */
static int default_on_error(lua_State *L) {
  luaL_checkany(L, 1);
  const rscl_state *state = rscl_push_box(L);
  lua_pop(L, 1);
  if (!state || !state->hooks.on_error)
    return print_error(L);
  tell_host(L, state);
  return 0;
}

static int call_hook(lua_State *L) {
  const rscl_state *state = lua_touserdata(L, 3);
  if (lua_getfield(L, 2, "on_error") == LUA_TNIL) {
    if (!state->hooks.on_error)
      return 0;
    lua_pushcfunction(L, default_on_error);
  }
  lua_pushvalue(L, 1);
  lua_call(L, 1, 0);
  return 0;
}

void rscl_report(lua_State *L, rscl_state *state, HRESULT status, const char *action) {
  luaL_checkstack(L, 7, NULL);
  size_t size;
  const char *message = lua_tolstring(L, -1, &size);
  rscl_push_error(L, status, message, size, action);
  lua_replace(L, -2);
  lua_pushcfunction(L, call_hook);
  lua_insert(L, -2);
  (void)rscl_push_box(L);
  lua_getiuservalue(L, -1, RSCL_UV_MODULE);
  lua_replace(L, -2);
  lua_pushlightuserdata(L, state);
  if (rscl_stop_pcall(L, state, NULL, 3, 0) != LUA_OK) {
    /* The hook itself failed: the last resort, which can't fail. */
    if (rscl_stop_is_error(L, -1)) {
      lua_pop(L, 1);
      lua_pushliteral(L, "rsca.on_error did not return in time");
    }
    lua_pushcfunction(L, default_on_error);
    lua_insert(L, -2);
    if (lua_pcall(L, 1, 0, 0) != LUA_OK)
      lua_pop(L, 1);
  }
}

/* ---- rsca.status, rsca.describe, rsca.failed ---- */

static HRESULT check_status(lua_State *L, int arg) {
  HRESULT status = S_OK;
  if (!rscl_to_status(L, arg, &status))
    luaL_typeerror(L, arg, "status (an integer of 32 bits)");
  return status;
}

static int module_describe(lua_State *L) {
  HRESULT status = check_status(L, 1);
  const rsca_status_entry *entry = rsca_status_find(status);
  if (entry)
    lua_pushfstring(L, "%s (0x%s): %s", entry->name, rscl_hex(status).digits, entry->meaning);
  else
    lua_pushfstring(L, "0x%s: %s", rscl_hex(status).digits,
                    FAILED(status) ? "a failure that rsca has no name for" : "a success that rsca has no name for");
  return 1;
}

static int module_failed(lua_State *L) {
  lua_pushboolean(L, FAILED(check_status(L, 1)));
  return 1;
}

/* Makes the table at 1 what it is said to be: the statuses by name. Most scripts ask for none. [-0, +0, m] */
static void fill_status(lua_State *L) {
  size_t count;
  const rsca_status_entry *table = rsca_status_table(&count);
  for (size_t i = 0; i < count; i++) {
    lua_pushstring(L, table[i].name);
    rscl_push_status(L, table[i].status);
    lua_rawset(L, 1);
  }
  lua_pushnil(L);
  lua_setmetatable(L, 1);
}

/* rsca.status[name], the first time */
static int status_index(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 2);
  fill_status(L);
  lua_rawget(L, 1);
  return 1;
}

static int status_next(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 2);
  return lua_next(L, 1) ? 2 : 0;
}

/* pairs(rsca.status), where that comes first */
static int status_pairs(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  fill_status(L);
  lua_pushcfunction(L, status_next);
  lua_pushvalue(L, 1);
  return 2;
}

static void push_status_table(lua_State *L) {
  lua_newtable(L);
  lua_createtable(L, 0, 2);
  lua_pushcfunction(L, status_index);
  lua_setfield(L, -2, "__index");
  lua_pushcfunction(L, status_pairs);
  lua_setfield(L, -2, "__pairs");
  lua_setmetatable(L, -2);
}

void rscl_open_errors(lua_State *L) {
  lua_createtable(L, 0, 3);
  lua_pushcfunction(L, error_tostring);
  lua_setfield(L, -2, "__tostring");
  lua_pushliteral(L, "rsca.error");
  lua_setfield(L, -2, "__name");
  lua_rawsetp(L, LUA_REGISTRYINDEX, &error_key);

  push_status_table(L);
  lua_setfield(L, -2, "status");
  lua_pushcfunction(L, module_describe);
  lua_setfield(L, -2, "describe");
  lua_pushcfunction(L, module_failed);
  lua_setfield(L, -2, "failed");
  lua_pushcfunction(L, default_on_error);
  lua_setfield(L, -2, "on_error");
}
