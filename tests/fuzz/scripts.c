#include "scripts.h"

#include <stdlib.h>
#include <string.h>

#include <lauxlib.h>
#include <lualib.h>
#include <rsca/lua.h>

#include "actions.h"
#include "callbacks.h"
#include "clients.h"
#include "hosts.h"
#include "memory.h"

/* What the functions of `fuzz` belong to. */
typedef struct script {
  life *of;
  chance luck;
} script;

static script *script_of(lua_State *L) {
  return lua_touserdata(L, lua_upvalueindex(1));
}

/* ---- For actions ---- */

/* started(args): number, parameter */
static int fuzz_started(lua_State *L) {
  size_t size;
  const char *args = luaL_checklstring(L, 1, &size);
  char *rest;
  unsigned long number = strtoul(args, &rest, 10), parameter = strtoul(rest, NULL, 10);
  if (number > 0) {
    call *self = call_of_args(args, size);
    if (self->of != script_of(L)->of || !self->lua)
      model_broken(self, "another manager's action runs for it");
    call_starts(self);
  }
  lua_pushinteger(L, (lua_Integer)number);
  lua_pushinteger(L, (lua_Integer)parameter);
  return 2;
}

/* reported(number): one response was taken */
static int fuzz_reported(lua_State *L) {
  lua_Integer number = luaL_checkinteger(L, 1);
  if (number > 0)
    call_reports(call_of((unsigned)number));
  return 0;
}

/* gate(args): blocks, as a C function may */
static int fuzz_gate(lua_State *L) {
  unsigned long number = strtoul(luaL_checkstring(L, 1), NULL, 10);
  if (number > 0)
    actions_wait_at_gate(call_of((unsigned)number));
  return 0;
}

/* broken(text) */
static int fuzz_broken(lua_State *L) {
  luaL_traceback(L, L, luaL_checkstring(L, 1), 1);
  model_broken_life(script_of(L)->of, "%s", lua_tostring(L, -1));
}

static const luaL_Reg action_functions[] = {
    {"started", fuzz_started}, {"reported", fuzz_reported}, {"gate", fuzz_gate}, {"broken", fuzz_broken}, {NULL, NULL}};

/* ---- For the driver ---- */

/* random(count): from 0 to count - 1 */
static int fuzz_random(lua_State *L) {
  lua_pushinteger(L, (lua_Integer)chance_below(&script_of(L)->luck, (unsigned)luaL_checkinteger(L, 1)));
  return 1;
}

/* memory_fails(): whether it has, in this round */
static int fuzz_memory_fails(lua_State *L) {
  lua_pushboolean(L, memory_has_failed());
  return 1;
}

/* accepted(): a call that has no record */
static int fuzz_accepted(lua_State *L) {
  (void)L;
  model_count_accepted(1);
  return 0;
}

/* ended(status): such a call */
static int fuzz_ended(lua_State *L) {
  model_count_end((HRESULT)(uint32_t)luaL_checkinteger(L, 1));
  return 0;
}

/* another(): a pool's manager, which stays its host's; nil */
static int fuzz_another(lua_State *L) {
  life *of = hosts_borrow(chance_below(&script_of(L)->luck, hosts_count()));
  if (!of)
    return 0;
  atomic_store(&of->unrecorded, true);
  HRESULT status = life_is_pool(of) ? rsca_lua_push_manager(L, of->manager) : S_FALSE;
  (void)rsca_manager_release(of->manager);
  return status == S_OK;
}

/* What native() is about: some C that may raise. */
typedef struct native_call {
  call *one;
  const char *name, *args;
  HRESULT status;
} native_call;

/* (native_call, callback) */
static int native_main(lua_State *L) {
  native_call *what = lua_touserdata(L, 1);
  lua_getglobal(L, "require");
  lua_pushliteral(L, "rsca");
  lua_call(L, 1, 1);
  lua_getfield(L, -1, "own_manager");
  lua_call(L, 0, 1);
  lua_getfield(L, -1, "RunCustomAction");
  lua_insert(L, -2);
  lua_pushstring(L, what->name);
  lua_pushstring(L, what->args);
  lua_pushvalue(L, 2);
  lua_call(L, 4, 1);
  what->status = (HRESULT)(uint32_t)lua_tointeger(L, -1);
  return 0;
}

/* native(): asks the own manager with a callback of the model's, which knows what must come of it */
static int fuzz_native(lua_State *L) {
  script *self = script_of(L);
  char name[16], args[CALL_ARGS];
  call *one = clients_prepare(&self->luck, self->of, RUN_OBJECT);
  if (!one)
    return 0;
  one->proxied = true;
  (void)call_args(one, args);
  native_call what = {one, clients_action_name(one, name), args, E_OUTOFMEMORY};
  (void)call_asks(one);
  lua_pushcfunction(L, native_main);
  lua_pushlightuserdata(L, &what);
  if (rsca_lua_push_callback(L, &one->callback) == S_OK && lua_pcall(L, 2, 0, 0) != LUA_OK && !memory_has_failed())
    model_broken(one, "asking for it in Lua raised: %s", lua_tostring(L, -1));
  call_answered(one, what.status);
  clients_note(one);
  return 0;
}

/* elsewhere(handler): whether another host's manager has accepted a call with it */
static int fuzz_elsewhere(lua_State *L) {
  static const WCHAR name[] = u"n.echo", args[] = u"0 1 elsewhere";
  ICustomActionResultCallback *callback;
  life *of = hosts_borrow(chance_below(&script_of(L)->luck, hosts_count()));
  if (!of)
    return 0;
  atomic_store(&of->unrecorded, true);
  HRESULT status = rsca_lua_to_callback(L, 1, &callback);
  if (SUCCEEDED(status)) {
    IPmCustomActions *actions = rsca_manager_custom_actions(of->manager);
    status = actions->lpVtbl->RunCustomAction(actions, name, args, callback);
    (void)actions->lpVtbl->Release(actions);
    (void)callback->lpVtbl->Release(callback);
  }
  (void)rsca_manager_release(of->manager);
  if (SUCCEEDED(status))
    model_count_accepted(1);
  lua_pushboolean(L, SUCCEEDED(status));
  return 1;
}

static const luaL_Reg driver_functions[] = {{"random", fuzz_random},       {"memory_fails", fuzz_memory_fails},
                                            {"accepted", fuzz_accepted},   {"ended", fuzz_ended},
                                            {"another", fuzz_another},     {"native", fuzz_native},
                                            {"elsewhere", fuzz_elsewhere}, {NULL, NULL}};

/* ---- States ---- */

/* The global `fuzz`. [-0, +0, m] */
static void open_fuzz(lua_State *L, life *of, uint64_t seed) {
  lua_newtable(L);
  script *self = lua_newuserdatauv(L, sizeof *self, 0);
  *self = (script){of, {seed}};
  lua_pushvalue(L, -1);
  lua_insert(L, -3);
  luaL_setfuncs(L, action_functions, 1);
  lua_insert(L, -2);
  luaL_setfuncs(L, driver_functions, 1);
  lua_setglobal(L, "fuzz");
}

static int open_worker(lua_State *L, void *user) {
  life *of = user;
  open_fuzz(L, of, of->number);
  lua_getglobal(L, "fuzz");
  lua_pushboolean(L, 1);
  lua_setfield(L, -2, "guarded");
  return 0;
}

static void free_life(void *user) {
  life *of = user;
  (void)atomic_fetch_add(&of->freed, 1);
}

HRESULT scripts_load(life *of) {
  char message[1024];
  const rsca_lua_script source = {
      .path = FUZZ_DIR "/actions.lua", .open_state = open_worker, .user = of, .free_user = free_life};
  (void)atomic_fetch_add(&of->registered, 1);
  HRESULT status = rsca_lua_load_script(of->manager, &source, message, sizeof message);
  if (FAILED(status) && status != RSCA_E_TIMEOUT) /* then it is freed all the same, later */
    (void)atomic_fetch_sub(&of->registered, 1);
  if (FAILED(status) && !memory_has_failed() && !of->limit_ms)
    model_broken_life(of, "its script can't be loaded: %s", message);
  return status;
}

typedef struct opening {
  life *of;
  uint64_t seed;
} opening;

static void run_file(lua_State *L, const char *path) {
  if (luaL_loadfile(L, path) != LUA_OK)
    (void)lua_error(L);
  lua_call(L, 0, 0);
}

static int open_main(lua_State *L) {
  const opening *what = lua_touserdata(L, 1);
  luaL_openlibs(L);
  if (FAILED(rsca_lua_open(L, what->of->manager)))
    return luaL_error(L, "not enough memory to open rsca");
  open_fuzz(L, what->of, what->seed);
  run_file(L, FUZZ_DIR "/actions.lua");
  run_file(L, FUZZ_DIR "/driver.lua");
  return 0;
}

lua_State *scripts_open(chance *luck, life *of) {
  opening what = {of, chance_next(luck)};
  bool calm = !chance_one_in(luck, 3);
  for (;; calm = true) {
    if (calm)
      memory_calm();
    lua_State *L = lua_newstate(memory_allocate_for_lua, NULL);
    bool opened = false;
    if (L) {
      lua_pushcfunction(L, open_main);
      lua_pushlightuserdata(L, &what);
      opened = lua_pcall(L, 1, 0, 0) == LUA_OK;
      if (!opened && !memory_has_failed())
        model_broken_life(of, "its state can't be opened: %s", lua_tostring(L, -1));
      if (!opened)
        lua_close(L);
    }
    if (calm)
      memory_uncalm();
    if (opened)
      return L;
  }
}

static int call_global(lua_State *L) {
  lua_getglobal(L, lua_touserdata(L, 1));
  lua_call(L, 0, 0);
  return 0;
}

static void run(lua_State *L, const char *name) {
  lua_pushcfunction(L, call_global);
  lua_pushlightuserdata(L, (void *)(uintptr_t)name);
  if (lua_pcall(L, 1, 0, 0) != LUA_OK && !memory_has_failed())
    model_broken(NULL, "%s() raised: %s", name, lua_tostring(L, -1));
  lua_settop(L, 0);
}

void scripts_drive(lua_State *L, chance *luck) {
  (void)luck;
  run(L, "drive");
}

void scripts_end(lua_State *L) {
  if (!memory_has_failed())
    run(L, "check");
}
