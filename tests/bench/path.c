/*
 * bench.path: callers and callbacks in C, and what a call costs without rsca.
 *
 * Every response is looked at: one that failed or has another length is an error, so that nothing is measured that
 * does not work.
 */
#include "bench.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <rsca/lua.h>
#include <rsca/manager.h>

enum { TEXT_SIZE = 16 };

static const char same_text[] = "sixteen letters!";

/* ---- Texts ---- */

/* Counts up in place: the next of 10^16 texts. */
static void next_text(char *text) {
  for (char *digit = text + TEXT_SIZE - 1; digit >= text; digit--) {
    if (*digit != '9') {
      ++*digit;
      return;
    }
    *digit = '0';
  }
}

static char text_a[] = "0000000000000000", text_b[] = "5000000000000000";

/* ---- The bare limit: a protected call of a referenced function ---- */

static void check_answer(lua_State *L) {
  size_t size;
  if (!lua_tolstring(L, -1, &size) || size != TEXT_SIZE)
    luaL_error(L, "the function returned something else");
  lua_pop(L, 1);
}

static void call(lua_State *L, int reference, const char *a, const char *b) {
  lua_rawgeti(L, LUA_REGISTRYINDEX, reference);
  lua_pushlstring(L, a, TEXT_SIZE);
  if (b)
    lua_pushlstring(L, b, TEXT_SIZE);
  if (lua_pcall(L, b ? 2 : 1, 1, 0) != LUA_OK)
    lua_error(L);
  check_answer(L);
}

/* bare(n, f): f(text, text) */
static int path_bare(lua_State *L) {
  uint64_t count = bench_check_count(L, 1);
  lua_settop(L, 2);
  int reference = luaL_ref(L, LUA_REGISTRYINDEX);
  while (count-- > 0)
    call(L, reference, same_text, same_text);
  luaL_unref(L, LUA_REGISTRYINDEX, reference);
  return 0;
}

/* bare_one(n, f): f(text), which is what an action is given */
static int path_bare_one(lua_State *L) {
  uint64_t count = bench_check_count(L, 1);
  lua_settop(L, 2);
  int reference = luaL_ref(L, LUA_REGISTRYINDEX);
  while (count-- > 0)
    call(L, reference, same_text, NULL);
  luaL_unref(L, LUA_REGISTRYINDEX, reference);
  return 0;
}

/* bare_distinct(n, f): two texts that have not been seen before */
static int path_bare_distinct(lua_State *L) {
  uint64_t count = bench_check_count(L, 1);
  lua_settop(L, 2);
  int reference = luaL_ref(L, LUA_REGISTRYINDEX);
  while (count-- > 0) {
    next_text(text_a);
    next_text(text_b);
    call(L, reference, text_a, text_b);
  }
  luaL_unref(L, LUA_REGISTRYINDEX, reference);
  return 0;
}

/* ---- The limit of a response: pcalls of its action and of its handler, and one copy in between ---- */

/* bare_response(n, action, size [, handler]): action() returns `size` bytes; handler(status, response, final) */
static int path_bare_response(lua_State *L) {
  uint64_t count = bench_check_count(L, 1), expected = bench_check_count(L, 3);
  lua_settop(L, 4);
  while (count-- > 0) {
    lua_pushvalue(L, 2);
    if (lua_pcall(L, 0, 1, 0) != LUA_OK)
      return lua_error(L);
    size_t size;
    const char *bytes = lua_tolstring(L, -1, &size);
    if (!bytes || size != expected)
      return luaL_error(L, "the function returned something else");
    if (!lua_isnil(L, 4)) {
      lua_pushvalue(L, 4);
      lua_pushinteger(L, 0);
      lua_pushlstring(L, bytes, size);
      lua_pushboolean(L, 1);
      if (lua_pcall(L, 3, 0, 0) != LUA_OK)
        return lua_error(L);
    }
    lua_pop(L, 1);
  }
  return 0;
}

/* ---- Callers ---- */

/* Calls of one sample, and what has come back. */
typedef struct flight {
  size_t size; /* of every response */
  uint64_t ended;
  bool wrong, final;
} flight;

static void on_result(void *user, HRESULT status, const void *response, size_t size, bool final) {
  flight *self = user;
  self->wrong |= status != S_OK || !response || size != self->size || !final;
  self->ended++;
}

typedef struct callback {
  ICustomActionResultCallback iface; /* first */
  ULONG refs;
  flight *flight;
} callback;

static ULONG callback_AddRef(ICustomActionResultCallback *iface) {
  return ++((callback *)iface)->refs;
}

static ULONG callback_Release(ICustomActionResultCallback *iface) {
  return --((callback *)iface)->refs;
}

static HRESULT callback_ReportResult(ICustomActionResultCallback *iface, HRESULT hrStatus, PBYTE pbResponse,
                                     DWORD cbResponse) {
  on_result(((callback *)iface)->flight, hrStatus, pbResponse, cbResponse, true);
  return S_OK;
}

static const ICustomActionResultCallbackVtbl callback_vtbl = {callback_AddRef, callback_Release, callback_ReportResult};

/* Who submits one call. */
typedef struct caller {
  rsca_manager *manager;
  rsca_manager *own; /* of the state where actions in Lua are stepped */
  IPmCustomActions *actions;
  const char *name;
  bool distinct;
  callback callback;
  flight flight;
} caller;

static HRESULT submit_by_function(caller *self) {
  if (self->distinct)
    next_text(text_a);
  return rsca_manager_run(self->manager, self->name, self->distinct ? text_a : same_text, on_result, &self->flight,
                          NULL);
}

static HRESULT submit_by_interface(caller *self) {
  static const WCHAR name[] = {'e', 'c', 'h', 'o', 0};
  static const WCHAR text[] = {'s', 'i', 'x', 't', 'e', 'e', 'n', ' ', 'l', 'e', 't', 't', 'e', 'r', 's', '!', 0};
  return self->actions->lpVtbl->RunCustomAction(self->actions, name, text, &self->callback.iface);
}

/* Calls `count` times, at most `in_flight` of them at once. */
static HRESULT fly(caller *self, HRESULT (*submit)(caller *self), uint64_t count, uint64_t in_flight) {
  for (uint64_t submitted = 0; submitted < count;) {
    for (uint64_t i = 0; i < in_flight && submitted < count; i++, submitted++) {
      HRESULT status = submit(self);
      if (FAILED(status))
        return status;
    }
    while (self->flight.ended < submitted) {
      HRESULT status = rsca_manager_step(self->own, 0);
      if (status != S_OK)
        return status;
    }
  }
  return self->flight.wrong ? E_FAIL : S_OK;
}

static int run(lua_State *L, HRESULT (*submit)(caller *self), bool distinct) {
  uint64_t count = bench_check_count(L, 1), in_flight = bench_check_count(L, 2);
  size_t size = (size_t)luaL_optinteger(L, 4, TEXT_SIZE);
  caller self = {.name = luaL_optstring(L, 3, "echo"),
                 .distinct = distinct,
                 .flight = {.size = size},
                 .callback = {{&callback_vtbl}, 1, NULL}};
  self.callback.flight = &self.flight;
  if (FAILED(rsca_lua_own_manager(L, &self.own)))
    return luaL_error(L, "this state has no manager");
  self.manager = self.own;
  (void)rsca_manager_add_ref(self.manager);
  if (!lua_isnoneornil(L, 5)) {
    (void)rsca_manager_release(self.manager);
    if (FAILED(rsca_lua_to_manager(L, 5, &self.manager))) {
      (void)rsca_manager_release(self.own);
      return luaL_argerror(L, 5, "a manager expected");
    }
  }
  self.actions = rsca_manager_custom_actions(self.manager);
  HRESULT status = fly(&self, submit, count, in_flight);
  (void)self.actions->lpVtbl->Release(self.actions);
  (void)rsca_manager_release(self.manager);
  (void)rsca_manager_release(self.own);
  if (status != S_OK || self.callback.refs != 1)
    return luaL_error(L, "a call failed: 0x%s", rsca_status_find(status) ? rsca_status_find(status)->name : "?");
  return 0;
}

/* run(n, in_flight [, name [, size [, manager]]]): C caller -> action -> C callback, through queue and step */
static int path_run(lua_State *L) {
  return run(L, submit_by_function, false);
}

/* run_distinct(n, in_flight): arguments that have not been seen before */
static int path_run_distinct(lua_State *L) {
  return run(L, submit_by_function, true);
}

/* run_interface(n, in_flight): by the documented method, in UTF-16; the action is "echo" */
static int path_run_interface(lua_State *L) {
  return run(L, submit_by_interface, false);
}

/* manager(time_limit_ms): a new one, whose calls have so long */
static int path_manager(lua_State *L) {
  const rsca_config config = {.time_limit_ms = (uint32_t)bench_check_count(L, 1)};
  rsca_manager *manager;
  HRESULT status = rsca_manager_create(&config, &manager);
  if (SUCCEEDED(status)) {
    status = rsca_lua_push_manager(L, manager);
    (void)rsca_manager_release(manager);
  }
  return SUCCEEDED(status) ? 1 : luaL_error(L, "a manager can't be made");
}

/* ---- Streams ---- */

static void on_response(void *user, HRESULT status, const void *response, size_t size, bool final) {
  flight *self = user;
  if (final)
    self->wrong |= status != S_FALSE;
  else
    self->wrong |= status != S_OK || !response || size != self->size;
  self->ended += !final;
  self->final |= final;
}

/* follow(n, name, args): a C callback hears the n responses of an action */
static int path_follow(lua_State *L) {
  uint64_t count = bench_check_count(L, 1);
  const char *name = luaL_checkstring(L, 2), *args = luaL_checkstring(L, 3);
  flight self = {.size = TEXT_SIZE};
  rsca_manager *manager;
  if (FAILED(rsca_lua_own_manager(L, &manager)))
    return luaL_error(L, "this state has no manager");
  HRESULT status = rsca_manager_subscribe(manager, name, args, on_response, &self, NULL);
  while (status == S_OK && !self.final)
    status = rsca_manager_step(manager, 0);
  (void)rsca_manager_release(manager);
  if (status != S_OK || self.wrong || self.ended != count)
    return luaL_error(L, "the registration of %s failed", name);
  return 0;
}

/* ---- Actions in C ---- */

typedef struct answer {
  size_t size;
  char bytes[];
} answer;

static HRESULT echo(void *user, rsca_call *call_of, const char *args, size_t size) {
  (void)user;
  return rsca_call_report(call_of, args, size);
}

static HRESULT count(void *user, rsca_call *call_of, const char *args, size_t size) {
  (void)user;
  (void)size;
  HRESULT status = S_OK;
  for (unsigned long long left = strtoull(args, NULL, 10); left > 0 && SUCCEEDED(status); left--)
    status = rsca_call_report(call_of, same_text, TEXT_SIZE);
  return status;
}

static HRESULT respond(void *user, rsca_call *call_of, const char *args, size_t size) {
  const answer *self = user;
  (void)args;
  (void)size;
  return rsca_call_report(call_of, self->bytes, self->size);
}

static HRESULT register_answer(rsca_manager *manager, const char *name, const char *bytes, size_t size) {
  answer *self = malloc(sizeof *self + size);
  if (!self)
    return E_OUTOFMEMORY;
  self->size = size;
  memcpy(self->bytes, bytes, size);
  HRESULT status = rsca_manager_register(manager, name, NULL, respond, self, free);
  if (FAILED(status))
    free(self);
  return status;
}

/* register_native(name [, response]): an action in C that answers so, or else with its arguments */
static int path_register_native(lua_State *L) {
  size_t size;
  const char *name = luaL_checkstring(L, 1), *bytes = luaL_optlstring(L, 2, NULL, &size);
  rsca_manager *manager;
  if (FAILED(rsca_lua_own_manager(L, &manager)))
    return luaL_error(L, "this state has no manager");
  HRESULT status = bytes ? register_answer(manager, name, bytes, size)
                         : rsca_manager_register(manager, name, NULL, echo, NULL, NULL);
  (void)rsca_manager_release(manager);
  return SUCCEEDED(status) ? 0 : luaL_error(L, "%s can't be registered", name);
}

/* register_stream(name): an action in C that responds as many times as its arguments say */
static int path_register_stream(lua_State *L) {
  rsca_manager *manager;
  const char *name = luaL_checkstring(L, 1);
  if (FAILED(rsca_lua_own_manager(L, &manager)))
    return luaL_error(L, "this state has no manager");
  HRESULT status = rsca_manager_register(manager, name, NULL, count, NULL, NULL);
  (void)rsca_manager_release(manager);
  return SUCCEEDED(status) ? 0 : luaL_error(L, "%s can't be registered", name);
}

static const luaL_Reg functions[] = {{"bare", path_bare},
                                     {"bare_one", path_bare_one},
                                     {"bare_distinct", path_bare_distinct},
                                     {"bare_response", path_bare_response},
                                     {"manager", path_manager},
                                     {"run", path_run},
                                     {"run_distinct", path_run_distinct},
                                     {"run_interface", path_run_interface},
                                     {"follow", path_follow},
                                     {"register_stream", path_register_stream},
                                     {"register_native", path_register_native},
                                     {NULL, NULL}};

int bench_open_path(lua_State *L) {
  luaL_newlib(L, functions);
  lua_pushlstring(L, same_text, TEXT_SIZE);
  lua_setfield(L, -2, "text");
  return 1;
}
