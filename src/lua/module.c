/*
 * The module rsca.core: what it is made of, and delivery for any loop (step, wait, loop, fd, timeout).
 *
 * Provides: luaopen_rsca_core, rscl_module_open, rscl_make_types
 * Uses:     all of this folder
 */
#include "module.h"

#include <string.h>

#include <rsca/lua.h>
#include <rsca/version.h>

#include "action.h"
#include "adapter.h"
#include "callback.h"
#include "callback2.h"
#include "console.h"
#include "error.h"
#include "fiber.h"
#include "foreign.h"
#include "inherit.h"
#include "inspect.h"
#include "log.h"
#include "manager_methods.h"
#include "manager_proxy.h"
#include "nesting.h"
#include "request.h"
#include "shared.h"
#include "subscription.h"

#ifdef RSCA_MODULE
#include <dlfcn.h>

/* Threads of ours, and native code that holds our objects, may outlive the Lua state: the code must stay. The linker
 * is asked for the same; not every build passes its flags. */
static void pin_module(void) {
  static const char here;
  Dl_info self;
  if (dladdr(&here, &self) && self.dli_fname)
    (void)dlopen(self.dli_fname, RTLD_NOW | RTLD_NOLOAD | RTLD_NODELETE);
}
#else
static void pin_module(void) {
}
#endif

/* Outside any step, in a state that is stepped from outside, or an error. */
static rscl_state *check_outside(lua_State *L) {
  rscl_state *state = rscl_check_state(L);
  if (state->turn || rsci_runner_is_stepping(state->engine.runner))
    luaL_error(L, "can't wait here: inside a step");
  if (state->worker)
    luaL_error(L, "can't wait here: a worker of a pool steps by itself");
  return state;
}

/* step([budget]): how many pieces of work were run */
static int module_step(lua_State *L) {
  rscl_state *state = check_outside(L);
  lua_Integer budget = luaL_optinteger(L, 1, 0);
  luaL_argcheck(L, budget >= 0, 1, "budget expected, an integer not below 0");
  size_t ran;
  (void)rsci_runner_step(state->engine.runner, (size_t)budget, &ran);
  lua_pushinteger(L, (lua_Integer)ran);
  return 1;
}

static uint64_t check_due_ns(lua_State *L, int arg) {
  if (lua_isnoneornil(L, arg))
    return UINT64_MAX;
  uint64_t limit_ns = rscl_check_ns(L, arg);
  uint64_t now_ns = rsci_now_ns();
  return limit_ns > UINT64_MAX - now_ns ? UINT64_MAX : now_ns + limit_ns;
}

/* wait([seconds]): blocks until there is something, then steps; how many pieces of work were run */
static int module_wait(lua_State *L) {
  rscl_state *state = check_outside(L);
  lua_pushinteger(L, (lua_Integer)rscl_block(L, state, check_due_ns(L, 1)));
  return 1;
}

static bool is_pending(rscl_state *state) {
  return state->fiber_count > 0 || state->expected > 0 || rsci_runner_timeout_ns(state->engine.runner) == 0;
}

/* loop([seconds]): true once nothing is pending, false when the time is over */
static int module_loop(lua_State *L) {
  rscl_state *state = check_outside(L);
  uint64_t due_ns = check_due_ns(L, 1);
  while (is_pending(state) && (due_ns == UINT64_MAX || rsci_now_ns() < due_ns))
    (void)rscl_block(L, state, due_ns);
  state->idle = !is_pending(state);
  lua_pushboolean(L, state->idle);
  return 1;
}

static int module_fd(lua_State *L) {
  rscl_state *state = rscl_check_state(L);
  int fd = rsci_runner_fd(state->engine.runner);
  if (fd < 0)
    return rscl_fail(L, E_FAIL, "the process has no file descriptor left", NULL);
  lua_pushinteger(L, fd);
  return 1;
}

static int module_timeout(lua_State *L) {
  rscl_state *state = rscl_check_state(L);
  uint64_t timeout_ns = rsci_runner_timeout_ns(state->engine.runner);
  if (timeout_ns == UINT64_MAX)
    lua_pushnil(L);
  else
    lua_pushnumber(L, (lua_Number)timeout_ns / 1e9);
  return 1;
}

static int module_sleep(lua_State *L) {
  return rscl_sleep(L, rscl_check_state(L), 1);
}

/* spawn(f, ...): runs it on a coroutine of its own, from the next step on */
static int module_spawn(lua_State *L) {
  rscl_state *state = rscl_check_state(L);
  luaL_checktype(L, 1, LUA_TFUNCTION);
  int nargs = lua_gettop(L) - 1;
  lua_getiuservalue(L, RSCL_BOX, RSCL_UV_SLOTS);
  lua_insert(L, 1);
  rscl_fiber *fiber = rscl_fiber_create(L, 1, state, RSCL_SPAWNED, NULL);
  if (!rscl_fiber_post(fiber, L, 1, nargs))
    luaL_error(L, "too many arguments to spawn with");
  rscl_adapter_tell(L, state);
  return 0;
}

static int repl_left(lua_State *L, int status, lua_KContext unused) {
  (void)status;
  (void)unused;
  return lua_gettop(L);
}

/* repl([options]): opens a prompt on standard input and standard output; whether all went well */
static int module_repl(lua_State *L) {
  lua_settop(L, 1);
  lua_getglobal(L, "require");
  lua_pushliteral(L, "rsca.repl");
  lua_call(L, 1, 1);
  lua_getfield(L, -1, "run");
  lua_replace(L, -2);
  lua_insert(L, 1);
  lua_callk(L, 1, LUA_MULTRET, 0, repl_left);
  return repl_left(L, LUA_OK, 0);
}

static const luaL_Reg functions[] = {{"manager", rscl_manager_new},
                                     {"step", module_step},
                                     {"wait", module_wait},
                                     {"loop", module_loop},
                                     {"fd", module_fd},
                                     {"timeout", module_timeout},
                                     {"sleep", module_sleep},
                                     {"spawn", module_spawn},
                                     {"guard", rscl_guard_state},
                                     {"set_adapter", rscl_set_adapter},
                                     {"after_fork", rscl_after_fork},
                                     {"log", rscl_log},
                                     {"repl", module_repl},
                                     {NULL, NULL}};

int rscl_make_types(lua_State *L) {
  static const rscl_type *const types[] = {&rscl_manager_type,   &rscl_request_type,        &rscl_context_type,
                                           &rscl_callback_type,  &rscl_subscription_type,   &rscl_shared_type,
                                           &rscl_callback2_type, &rscl_custom_actions_type, &rscl_custom_actions2_type};
  for (size_t i = 0; i < sizeof types / sizeof *types; i++)
    rscl_object_make_methods(L, types[i], RSCL_BOX);
  lua_getiuservalue(L, RSCL_BOX, RSCL_UV_MODULE);
  if (lua_getfield(L, -1, "status") == LUA_TTABLE)
    (void)lua_getfield(L, -1, "S_OK"); /* makes all of them */
  return 0;
}

/* Fills the module table on top; the box is at `box`. [-0, +0, m] */
static void fill_module(lua_State *L, int box, rscl_state *state) {
  rscl_object_open(L, &rscl_manager_type, box);
  lua_pushvalue(L, box);
  luaL_setfuncs(L, functions, 1);
  lua_pushvalue(L, box);
  rscl_manager_push(L, box, state, state->own);
  luaL_setfuncs(L, rscl_manager_functions, 2);
  rscl_open_shared(L, box, state);
  rscl_open_errors(L);
  lua_pushliteral(L, "rsca " RSCA_VERSION);
  lua_setfield(L, -2, "_VERSION");
}

HRESULT rscl_module_open(lua_State *L, rsca_manager *manager, struct rscl_worker *worker) {
  luaL_checkstack(L, 12, NULL);
  rscl_state *state = rscl_push_box(L);
  if (state) {
    if (manager && manager != state->own)
      return RSCA_E_ALREADY_EXISTS;
  } else {
    lua_pop(L, 1);
    pin_module();
    HRESULT status = rscl_state_create(L, manager, worker);
    if (FAILED(status))
      return status;
    int box = lua_gettop(L);
    state = ((rscl_box *)lua_touserdata(L, box))->state;
    lua_getiuservalue(L, box, RSCL_UV_MODULE);
    fill_module(L, box, state);
    lua_pop(L, 1);
    rscl_console_preload(L);
    rscl_state_publish(L);
  }
  lua_getiuservalue(L, -1, RSCL_UV_MODULE);
  lua_replace(L, -2);
  return S_OK;
}

int luaopen_rsca_core(lua_State *L) {
  HRESULT status = rscl_module_open(L, NULL, NULL);
  if (FAILED(status))
    return luaL_error(L, "not enough memory to open rsca");
  return 1;
}
