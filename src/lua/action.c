#include "action.h"

#include <stdlib.h>
#include <string.h>

#include "adapter.h"
#include "error.h"
#include "fiber.h"
#include "manager_proxy.h"
#include "memory.h"
#include "options.h"
#include "subscription.h"
#include "text_args.h"
#include "worker.h"

/* What an rsci_action of this engine has in `data`. The function itself hangs on its manager's proxy; the weak
 * functions table leads to it in one step. */
typedef struct lua_action {
  rsci_task task; /* forgetting it, on the state's thread */
  rscl_slot slot;
  bool wants_context;          /* the function looks at a second argument */
  const rsca_manager *manager; /* finds the proxy; never dereferenced */
} lua_action;

/* ---- ctx ---- */

typedef struct context {
  uint64_t ticket; /* of the fiber's slot */
  bool hangs;      /* that is one of those that hang on a proxy */
  uint64_t id;
} context;

static rscl_fiber *context_fiber(rscl_state *state, const context *ctx) {
  rscl_fiber *fiber = rscl_slots_owner(ctx->hangs ? &state->hanging : &state->slots, ctx->ticket);
  return fiber && fiber->call ? fiber : NULL;
}

static rsca_call *check_call(lua_State *L, rscl_state *state) {
  context *ctx = rscl_object_check(L, 1, &rscl_context_type);
  rscl_fiber *fiber = context_fiber(state, ctx);
  if (!fiber)
    luaL_error(L, "the call of this ctx has ended");
  return fiber->call;
}

static int context_report(lua_State *L);

static int room_again(lua_State *L, int status, lua_KContext unused) {
  (void)status;
  (void)unused;
  (void)rscl_resumed(L, rscl_check_state(L));
  return context_report(L);
}

/* ctx:report(bytes). Where a consumer lags this waits for room. */
static int context_report(lua_State *L) {
  rscl_state *state = rscl_check_state(L);
  rsca_call *call = check_call(L, state);
  if (!lua_isstring(L, 2))
    luaL_typeerror(L, 2, "response (a string)");
  size_t size;
  const char *bytes = lua_tolstring(L, 2, &size);
  HRESULT status;
  while ((status = rsca_call_report(call, bytes, size)) == RSCA_E_BUSY) {
    rscl_mode mode = rscl_wait_mode(L, state);
    if (mode == RSCL_CLOSING)
      return rscl_push_closing(L);
    if (mode == RSCL_ADAPT)
      return rscl_adapt(L, 2);
    if (mode == RSCL_BLOCK) {
      (void)rscl_block(L, state, UINT64_MAX);
      call = check_call(L, state);
    } else if (rsci_call_await_room(call)) {
      rscl_fiber_wait_on(state->current, &((rscl_fiber *)call->fiber)->room, RSCL_WAIT_ROOM);
      return lua_yieldk(L, 0, 0, room_again);
    }
  }
  if (FAILED(status))
    return rscl_fail(L, status, status == E_OUTOFMEMORY ? atomic_load(&call->spoilt) : NULL, call->action->name);
  lua_pushboolean(L, 1);
  return 1;
}

static int context_sleep(lua_State *L) {
  rscl_state *state = rscl_check_state(L);
  (void)check_call(L, state);
  return rscl_sleep(L, state, 2);
}

static int context_cancelled(lua_State *L) {
  rscl_state *state = rscl_check_state(L);
  lua_pushboolean(L, rsca_call_cancelled(check_call(L, state)));
  return 1;
}

static int context_index(lua_State *L) {
  context *ctx = rscl_object_check(L, 1, &rscl_context_type);
  const char *key = lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : "";
  if (strcmp(key, "id") == 0) {
    lua_pushinteger(L, (lua_Integer)ctx->id);
    return 1;
  }
  bool name = strcmp(key, "name") == 0;
  if (name || strcmp(key, "args") == 0) {
    rsca_call *call = check_call(L, rscl_check_state(L));
    if (name)
      lua_pushlstring(L, call->action->name, call->action->name_size);
    else
      lua_pushlstring(L, call->args.data, call->args.size);
    return 1;
  }
  lua_pushvalue(L, 2);
  lua_rawget(L, lua_upvalueindex(2));
  return 1;
}

static int context_tostring(lua_State *L) {
  context *ctx = rscl_object_check(L, 1, &rscl_context_type);
  lua_pushfstring(L, "rsca.ctx: call %I", (LUAI_UACINT)ctx->id);
  return 1;
}

static const luaL_Reg context_methods[] = {
    {"report", context_report}, {"sleep", context_sleep}, {"cancelled", context_cancelled}, {NULL, NULL}};
static const luaL_Reg context_meta[] = {{"__tostring", context_tostring}, {NULL, NULL}};
const rscl_type rscl_context_type = {"rsca.ctx", context_meta, context_methods, context_index};

/* ---- Running ---- */

/* An error before a fiber had it: out of memory, whoever says so. */
static void undo_start(rscl_state *state, void *subject, lua_State *L, int status) {
  (void)state;
  (void)status;
  size_t size = 0;
  const char *message = lua_type(L, -1) == LUA_TSTRING ? lua_tolstring(L, -1, &size) : NULL;
  rsci_call_finish(subject, E_OUTOFMEMORY, message, size);
}

/* [-0, +0, m] */
static rscl_fiber *create_fiber(lua_State *L, rscl_state *state, rsca_call *call) {
  if (call->sink.hangs && rscl_subscription_hangs(state, call)) {
    lua_getiuservalue(L, RSCL_TURN_BOX, RSCL_UV_MANAGERS);
    if (lua_rawgetp(L, -1, rsci_manager_of_call(call)) == LUA_TUSERDATA) {
      rscl_fiber *fiber = rscl_fiber_create_hanging(L, -1, state, call);
      lua_pop(L, 2);
      return fiber;
    }
    lua_pop(L, 2);
  }
  return rscl_fiber_create(L, RSCL_TURN_SLOTS, state, RSCL_ACTION, call);
}

/* In a worker the actions of the script have numbers, and each state a function for them. */
static rscl_worker_action find_action(const rscl_state *state, const rsci_action *action) {
  const rscl_worker *worker = state->worker;
  if (action->engine == &state->engine) {
    const lua_action *data = action->data;
    return (rscl_worker_action){data->slot, data->wants_context};
  }
  if (worker && action->slot < worker->action_count)
    return worker->actions[action->slot];
  return (rscl_worker_action){0};
}

void rscl_action_start(rsci_engine *engine, rsca_call *call) {
  rscl_state *state = (rscl_state *)engine;
  const rscl_worker_action action = find_action(state, call->action);
  lua_State *L = state->turn;
  rscl_guard_set(state, undo_start, call);
  if (state->worker)
    rscl_worker_collect(L, state);
  int nargs = 1;
  if (lua_rawgeti(L, RSCL_TURN_FUNCTIONS, (lua_Integer)action.slot) != LUA_TFUNCTION) {
    static const char text[] = "the manager of this action has been collected";
    rscl_guard_clear(state);
    rsci_call_finish(call, RPC_E_DISCONNECTED, text, sizeof text - 1);
    return;
  }
  lua_pushlstring(L, call->args.data, call->args.size);
  context *ctx = NULL;
  if (action.wants_context) {
    ctx = lua_newuserdatauv(L, sizeof *ctx, 0);
    rscl_object_set_type(L, &rscl_context_type);
    nargs = 2;
  }
  rscl_fiber *fiber = create_fiber(L, state, call);
  if (ctx)
    *ctx = (context){.ticket = rscl_fiber_ticket(fiber), .hangs = fiber->hangs_on != NULL, .id = call->id};
  call->fiber = fiber;
  rscl_fiber_run(fiber, nargs);
}

void rscl_action_cancel(rsci_engine *engine, rsca_call *call) {
  (void)engine;
  rscl_fiber *fiber = call->fiber;
  if (!fiber)
    return;
  if (rsci_call_is_dropped(call))
    rscl_fiber_abandon(fiber, RSCA_E_CANCELLED, rsci_call_why_stop(call));
  else
    rscl_fiber_close(fiber, rsci_call_stop_status(call), rsci_call_why_stop(call));
}

void rscl_action_room(rsci_engine *engine, rsca_call *call) {
  (void)engine;
  rscl_fiber *fiber = call->fiber;
  if (fiber)
    rscl_waiters_wake(&fiber->room);
}

static void wrong_result(lua_State *L, rsca_call *call, const char *what, rscl_outcome *outcome) {
  const char *text = lua_pushfstring(L, "%s: action '%s' returned %s", call->action->place, call->action->name, what);
  *outcome = (rscl_outcome){E_FAIL, text, strlen(text), 0};
}

/* return nil, message [, status]  or  return nil, err */
static void failed_result(lua_State *L, rscl_state *state, rsca_call *call, int first, rscl_outcome *outcome) {
  outcome->status = E_FAIL;
  if (rscl_is_error(L, first + 1)) {
    (void)rscl_push_error_field(L, first + 1, "status");
    outcome->status = rscl_failure_status(L, -1, E_FAIL);
    (void)rscl_push_error_field(L, first + 1, "message");
  } else {
    outcome->status = rscl_failure_status(L, first + 2, E_FAIL);
    if (lua_isnoneornil(L, first + 1))
      return; /* a status says enough */
    lua_pushvalue(L, first + 1);
  }
  rscl_make_text(L, state, call);
  outcome->bytes = lua_tolstring(L, -1, &outcome->size);
}

/* What it reported comes first: a run hears it all in one. */
static void join_reports(rsca_call *call, rscl_outcome *outcome) {
  HRESULT status = rsca_call_report(call, outcome->bytes, outcome->size);
  outcome->bytes = call->report.data;
  outcome->size = call->report.size;
  outcome->index = 0;
  if (status == E_OUTOFMEMORY && !atomic_load(&call->spoilt)) { /* otherwise its end says that */
    static const char text[] = "not enough memory";
    *outcome = (rscl_outcome){E_OUTOFMEMORY, text, sizeof text - 1, 0};
  }
}

void rscl_action_returned(lua_State *L, rscl_state *state, rsca_call *call, int first, int nresults,
                          rscl_outcome *outcome) {
  int type = lua_type(L, first);
  if (type <= LUA_TNIL && (!lua_isnoneornil(L, first + 1) || FAILED(rscl_failure_status(L, first + 2, S_OK)))) {
    failed_result(L, state, call, first, outcome);
    return;
  }
  if (type == LUA_TSTRING || type == LUA_TNUMBER) {
    outcome->bytes = lua_tolstring(L, first, &outcome->size);
    outcome->index = first;
  } else if (type > LUA_TNIL) {
    wrong_result(L, call,
                 lua_pushfstring(L, "a %s; a string, a number or nothing was expected", luaL_typename(L, first)),
                 outcome);
    return;
  }
  if (nresults > 1 && !lua_isnil(L, first + 1) && !rscl_to_status(L, first + 1, &outcome->status)) {
    wrong_result(
        L, call,
        lua_pushfstring(L, "a %s as its status; an integer of 32 bits was expected", luaL_typename(L, first + 1)),
        outcome);
    return;
  }
  if (SUCCEEDED(outcome->status) && !call->sink.ops->report && call->report.size > 0)
    join_reports(call, outcome);
}

/* ---- Forgetting ---- */

static void forget_run(rsci_task *task) {
  lua_action *action = (lua_action *)task;
  rscl_state *state = (rscl_state *)task->engine;
  lua_State *L = state->turn;
  lua_getiuservalue(L, RSCL_TURN_BOX, RSCL_UV_MANAGERS);
  if (lua_rawgetp(L, -1, action->manager) == LUA_TUSERDATA && lua_getiuservalue(L, -1, 1) == LUA_TTABLE) {
    lua_pushnil(L);
    lua_rawseti(L, -2, (lua_Integer)action->slot);
  }
  rscl_slots_clear(L, RSCL_TURN_FUNCTIONS, &state->functions, action->slot);
  free(action);
}

static void forget_drop(rsci_task *task) {
  free(task);
}

static const rsci_task_ops forget_ops = {forget_run, forget_drop};

void rscl_action_forget(rsci_engine *engine, rsci_action *action) {
  lua_action *data = action->data;
  if (!rsci_engine_post(engine, &data->task))
    free(data);
}

/* ---- Registering ---- */

typedef struct registration {
  rscl_text name;
  const char *help;
  bool replace;
  uint64_t limit_ns; /* 0: not given */
  int function;      /* index */
  bool wants_context;
} registration;

static void check_option(lua_State *L, int options, registration *reg) {
  /* key at -2, value at -1 */
  const char *key = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : "?";
  if (strcmp(key, "help") == 0) {
    if (lua_type(L, -1) != LUA_TSTRING)
      luaL_argerror(L, options, "option 'help' must be a string");
    rscl_text help;
    help.data = lua_tolstring(L, -1, &help.size);
    if (rscl_text_status(help) != S_OK)
      luaL_argerror(L, options, "option 'help' must be UTF-8 without a NUL byte");
    reg->help = help.data;
  } else if (strcmp(key, "replace") == 0) {
    if (!lua_isboolean(L, -1))
      luaL_argerror(L, options, "option 'replace' must be a boolean");
    reg->replace = lua_toboolean(L, -1);
  } else if (strcmp(key, "time_limit") == 0) {
    reg->limit_ns = rscl_check_limit_option(L, options, -1);
  } else {
    luaL_argerror(L, options, lua_pushfstring(L, "unknown option '%s' (help, replace, time_limit)", key));
  }
}

/* [-0, +0, v] */
static registration check_registration(lua_State *L, int first) {
  registration reg = {.help = "", .function = first + 1};
  reg.name = rscl_check_name(L, first);
  if (lua_istable(L, first + 1)) {
    reg.function = first + 2;
    lua_pushnil(L);
    while (lua_next(L, first + 1)) {
      check_option(L, first + 1, &reg);
      lua_pop(L, 1); /* the options table still holds the help text */
    }
  }
  if (!lua_isfunction(L, reg.function))
    luaL_typeerror(L, reg.function, "function");
  lua_Debug ar;
  lua_pushvalue(L, reg.function);
  (void)lua_getinfo(L, ">u", &ar);
  reg.wants_context = ar.isvararg || ar.nparams > 1;
  return reg;
}

/* "FILE:LINE" of the function at `index`. [-0, +1, m] */
static const char *push_place(lua_State *L, int index) {
  lua_Debug ar;
  lua_pushvalue(L, index);
  (void)lua_getinfo(L, ">S", &ar);
  if (*ar.what == 'C')
    return lua_pushliteral(L, "[C]");
  return lua_pushfstring(L, "%s:%d", *ar.source == '@' || *ar.source == '=' ? ar.source + 1 : ar.short_src,
                         ar.linedefined);
}

static bool same_source(const char *a, const char *b) {
  const char *a_end = strrchr(a, ':'), *b_end = strrchr(b, ':');
  if (!a_end || !b_end)
    return strcmp(a, b) == 0;
  return a_end - a == b_end - b && memcmp(a, b, (size_t)(a_end - a)) == 0;
}

/* (action, the one that is there): says why it is refused. */
static int describe_taken(lua_State *L) {
  const rsci_action *action = lua_touserdata(L, 1), *there = lua_touserdata(L, 2);
  luaL_where(L, 2);
  lua_pushfstring(L, "action '%s' is registered already, at %s; this one is at %s (replace = true replaces it)",
                  action->name, there->place, action->place);
  lua_concat(L, 2);
  return 1;
}

/* Puts it in place of what may be there. Raises, without holding anything, where that came from somewhere else. */
static HRESULT put_action(lua_State *L, rsca_manager *manager, rsci_action *action, bool replace) {
  HRESULT status;
  do {
    rsci_action *expected = rsci_manager_find(manager, action->name, action->name_size);
    if (expected && !replace && !rsci_engine_is_closed(expected->engine) &&
        !(expected->engine == action->engine && same_source(expected->place, action->place))) {
      lua_pushcfunction(L, describe_taken);
      lua_pushlightuserdata(L, action);
      lua_pushlightuserdata(L, expected);
      (void)lua_pcall(L, 2, 1, 0); /* it may raise, while the action is held */
      rsci_manager_drop_action(manager, expected);
      lua_error(L);
    }
    status = rsci_manager_put(manager, action, expected);
    if (expected)
      rsci_manager_drop_action(manager, expected);
  } while (status == RSCA_E_ALREADY_EXISTS); /* another thread was faster */
  return status;
}

/* Owned by an object until it is registered: put_action may raise. */
typedef struct unregistered {
  rscl_owned owned;
  rsci_action *action; /* NULL: not made yet, or registered */
} unregistered;

static void drop_unregistered(rscl_owned *owned) {
  unregistered *self = (unregistered *)owned;
  if (self->action)
    rsci_action_forget(self->action);
  free(self);
}

static const luaL_Reg unregistered_meta[] = {{"__gc", rscl_owner_gc}, {NULL, NULL}};
static const rscl_type unregistered_type = {"rsca.unregistered", unregistered_meta, NULL, NULL};

/* [-0, +1, m] */
static unregistered *push_unregistered(lua_State *L) {
  return rscl_push_owned(L, rscl_owned_of_box(L, RSCL_BOX), 0, &unregistered_type, sizeof(unregistered),
                         drop_unregistered);
}

/* ---- In a worker ---- */

/* Makes what its pool's manager knows of the action: the first time that the script is run. */
static HRESULT publish(lua_State *L, rscl_state *state, const registration *reg, size_t number) {
  rsca_manager *manager = state->own;
  unregistered *owner = push_unregistered(L);
  rsci_action *action = rsci_action_create(rsci_pool_script(manager->pool), reg->name.data, reg->help,
                                           push_place(L, reg->function), rscl_worker_account(state));
  if (!action)
    return E_OUTOFMEMORY;
  action->slot = number;
  action->limit_ns = reg->limit_ns;
  owner->action = action;
  HRESULT status = put_action(L, manager, action, reg->replace);
  if (SUCCEEDED(status))
    owner->action = NULL;
  return status;
}

/* A script of a pool registers an action. */
static int register_in_worker(lua_State *L, rscl_state *state, int proxy, int first) {
  rscl_worker *worker = state->worker;
  registration reg = check_registration(L, first);
  if (!worker->loading)
    luaL_error(L, "the actions of a pool are registered while its script is loaded, not later");
  lua_getiuservalue(L, RSCL_BOX, RSCL_UV_FUNCTIONS);
  int functions = lua_gettop(L);
  if (lua_getiuservalue(L, proxy, 1) != LUA_TTABLE) {
    lua_newtable(L);
    lua_pushvalue(L, -1);
    lua_setiuservalue(L, proxy, 1);
  }
  int held = lua_gettop(L);
  size_t number;
  bool known;
  if (!rscl_worker_number(worker, reg.name.data, &number, &known)) {
    if (known)
      return rscl_fail(L, E_OUTOFMEMORY, NULL, reg.name.data);
    luaL_error(L, "the script registers '%s' now, but did not when it was loaded first", reg.name.data);
  }
  rscl_slots_reserve(L, functions, &state->functions);
  lua_pushvalue(L, reg.function);
  lua_rawseti(L, held, (lua_Integer)state->functions.free);
  lua_pushvalue(L, reg.function);
  rscl_worker_action action = {rscl_slots_put(L, functions, &state->functions, NULL), reg.wants_context};
  HRESULT status = rscl_worker_put(worker, number, action) ? S_OK : E_OUTOFMEMORY;
  if (SUCCEEDED(status) && rscl_worker_is_first(worker))
    status = publish(L, state, &reg, number);
  if (FAILED(status))
    return rscl_fail(L, status, NULL, reg.name.data);
  lua_pushboolean(L, 1);
  return 1;
}

/* ---- Here ---- */

int rscl_action_register(lua_State *L, rscl_state *state, int proxy, int first) {
  luaL_checkstack(L, 14, NULL);
  if (state->worker && rscl_manager_test(L, proxy) == state->own)
    return register_in_worker(L, state, proxy, first);
  registration reg = check_registration(L, first);
  const char *place = push_place(L, reg.function);
  lua_getiuservalue(L, RSCL_BOX, RSCL_UV_FUNCTIONS);
  int functions = lua_gettop(L);
  unregistered *owner = push_unregistered(L);
  lua_newtable(L); /* made before it is looked whether one is there: a finalizer may register too, or close */
  if (lua_getiuservalue(L, proxy, 1) != LUA_TTABLE) {
    lua_pop(L, 1);
    lua_pushvalue(L, -1);
    lua_setiuservalue(L, proxy, 1);
  }
  int held = lua_gettop(L);
  rsca_manager *manager = rscl_manager_test(L, proxy);
  if (!manager)
    return rscl_fail(L, RSCA_E_SHUTDOWN_IN_PROGRESS, NULL, reg.name.data);
  rscl_slots_reserve(L, functions, &state->functions);
  lua_pushvalue(L, reg.function);
  lua_rawseti(L, held, (lua_Integer)state->functions.free);

  lua_action *data = malloc(sizeof *data);
  rsci_action *action =
      data ? rsci_action_create(&state->engine, reg.name.data, reg.help, place, rscl_worker_account(state)) : NULL;
  if (!action) {
    free(data);
    return rscl_fail(L, E_OUTOFMEMORY, NULL, NULL);
  }
  lua_pushvalue(L, reg.function);
  *data = (lua_action){.wants_context = reg.wants_context, .manager = manager};
  data->task.ops = &forget_ops;
  data->slot = rscl_slots_put(L, functions, &state->functions, NULL);
  action->data = data;
  action->limit_ns = reg.limit_ns;
  owner->action = action;
  HRESULT status = put_action(L, manager, action, reg.replace);
  if (FAILED(status))
    return rscl_fail(L, status, NULL, reg.name.data);
  owner->action = NULL;
  lua_pushboolean(L, 1);
  return 1;
}
