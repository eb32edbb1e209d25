#include "handler.h"

#include "callback.h"
#include "callback2.h"
#include "core/sinks.h"
#include "error.h"
#include "fiber.h"

/* ---- Delivering the result of a call ---- */

static rsca_call *call_of_delivery(rsci_task *task) {
  return (rsca_call *)((char *)task - offsetof(rsca_call, delivery));
}

/* Out of memory before the handler was called: the next step tries again, nothing is lost. */
static void undo_delivery(rscl_state *state, void *subject, lua_State *L, int status) {
  (void)L;
  (void)status;
  rsca_call *call = subject;
  rsci_runner_post_here(state->engine.runner, &call->delivery);
}

/* A result that is kept in Lua does not count any more. */
static void discharge(rsca_call *call) {
  if (call->result_slot)
    rsci_call_discharge(call, call->size);
}

static void clear_slots(rscl_state *state, rsca_call *call) {
  rscl_slots_clear(state->turn, RSCL_TURN_SLOTS, &state->slots, (rscl_slot)call->sink.slot);
  if (call->result_slot)
    rscl_slots_clear(state->turn, RSCL_TURN_SLOTS, &state->slots, (rscl_slot)call->result_slot);
  discharge(call);
}

static void delivery_run(rsci_task *task) {
  rsca_call *call = call_of_delivery(task);
  rscl_state *state = call->sink.object;
  lua_State *L = state->turn;
  if (rsci_runner_drops(state->engine.runner, call->forks)) {
    clear_slots(state, call);
    state->expected--;
    rsci_call_leave(call);
    rscl_handler_done(call, S_OK);
    return;
  }
  rscl_guard_set(state, undo_delivery, call);
  lua_rawgeti(L, RSCL_TURN_SLOTS, (lua_Integer)call->sink.slot);
  int nargs = 3 + rscl_push_invocation(L);
  rscl_push_status(L, call->status);
  if (call->result_slot)
    lua_rawgeti(L, RSCL_TURN_SLOTS, (lua_Integer)call->result_slot);
  else
    lua_pushlstring(L, call->bytes ? call->bytes : "", call->size);
  lua_pushboolean(L, 1);
  rscl_fiber *fiber = rscl_fiber_create(L, RSCL_TURN_SLOTS, state, RSCL_HANDLER, call);
  clear_slots(state, call);
  state->expected--;
  rsci_call_leave(call);
  rscl_fiber_run(fiber, nargs);
}

/* The state has closed, and its handlers went with it. */
static void delivery_drop(rsci_task *task) {
  rsca_call *call = call_of_delivery(task);
  discharge(call);
  rsci_call_leave(call);
  rscl_handler_done(call, S_OK);
}

static const rsci_task_ops delivery_ops = {delivery_run, delivery_drop};

static void sink_hold(void *object) {
  rsci_engine_hold(&((rscl_state *)object)->engine);
}

static void sink_release(void *object) {
  rsci_engine_release(&((rscl_state *)object)->engine);
}

/* Keeps the Lua string that an action of the same state has answered with: none of its bytes are copied. 0: it is none,
 * or another's, or beyond what may wait. */
static rscl_slot keep_answer(rscl_state *state, rsca_call *call) {
  if (!call->bytes || call->bytes != state->answer.bytes || !state->slots.free || !rsci_call_charge(call, call->size))
    return 0;
  lua_pushvalue(state->turn, state->answer.index);
  return rscl_slots_put(state->turn, RSCL_TURN_SLOTS, &state->slots, NULL);
}

static void sink_ended(rsca_call *call) {
  rscl_state *state = call->sink.object;
  bool here = rscl_is_here(state);
  call->result_slot = here ? keep_answer(state, call) : 0;
  if (!call->result_slot)
    (void)rsci_call_keep_bytes(call);
  call->delivery.ops = &delivery_ops;
  bool posted =
      here ? rsci_engine_post_here(&state->engine, &call->delivery) : rsci_engine_post(&state->engine, &call->delivery);
  if (!posted)
    delivery_drop(&call->delivery);
}

static const rsci_sink_ops handler_sink = {sink_hold, sink_release, NULL, NULL, sink_ended};

static void check_table(lua_State *L, int arg) {
  int type = lua_getfield(L, arg, "ReportResult");
  bool callable = type == LUA_TFUNCTION || luaL_getmetafield(L, -1, "__call") != LUA_TNIL;
  luaL_argcheck(L, callable, arg, "table with a ReportResult method expected");
  lua_pop(L, type == LUA_TFUNCTION ? 1 : 2);
}

void rscl_check_handler(lua_State *L, int arg) {
  luaL_argcheck(L, !rscl_is_callback2(L, arg), arg, "a native callback is for RegisterCustomActionCallback");
  if (lua_istable(L, arg))
    check_table(L, arg);
  else if (!lua_isfunction(L, arg))
    luaL_typeerror(L, arg, "handler (a function, or a table with ReportResult)");
}

void rscl_check_callback(lua_State *L, int arg) {
  if (lua_istable(L, arg))
    check_table(L, arg);
  else if (!lua_isfunction(L, arg) && !rscl_callback_test(L, arg))
    luaL_typeerror(L, arg, "callback (a function, a table with ReportResult, or a native callback)");
}

rsci_sink rscl_check_sink(lua_State *L, rscl_state *state, int arg) {
  ICustomActionResultCallback *native = NULL;
  if (!lua_isfunction(L, arg)) {
    rscl_check_callback(L, arg);
    native = rscl_callback_test(L, arg);
  }
  if (native)
    return (rsci_sink){.ops = &rsci_callback_sink, .object = native};
  lua_getiuservalue(L, RSCL_BOX, RSCL_UV_SLOTS);
  rscl_slots_reserve(L, -1, &state->slots);
  lua_pushvalue(L, arg);
  rscl_slot slot = rscl_slots_put(L, -2, &state->slots, NULL);
  lua_pop(L, 1);
  return (rsci_sink){.ops = &handler_sink, .object = state, .slot = slot};
}

void rscl_sink_undo(lua_State *L, rscl_state *state, const rsci_sink *sink) {
  if (sink->ops != &handler_sink)
    return;
  lua_getiuservalue(L, RSCL_BOX, RSCL_UV_SLOTS);
  rscl_slots_clear(L, -1, &state->slots, (rscl_slot)sink->slot);
  lua_pop(L, 1);
}

void rscl_sink_accepted(rscl_state *state, const rsci_sink *sink) {
  if (sink->ops == &handler_sink)
    state->expected++;
}

/* ---- Calling ---- */

static int method_done(lua_State *L, int status, lua_KContext base) {
  (void)status;
  return lua_gettop(L) - (int)base;
}

/* handler, ... -> handler:ReportResult(...). On the fiber, so that looking the method up may run Lua too. */
static int call_method(lua_State *L) {
  lua_getfield(L, 1, "ReportResult");
  lua_insert(L, 1);
  lua_callk(L, lua_gettop(L) - 1, LUA_MULTRET, 0, method_done);
  return method_done(L, LUA_OK, 0);
}

int rscl_push_invocation(lua_State *L) {
  if (lua_isfunction(L, -1))
    return 0;
  lua_pushcfunction(L, call_method);
  lua_insert(L, -2);
  return 1;
}

HRESULT rscl_handler_returned(lua_State *L, int first) {
  HRESULT answer;
  return rscl_to_status(L, first, &answer) ? answer : S_OK;
}

void rscl_handler_done(rsca_call *call, HRESULT answer) {
  if (!call)
    return;
  rscl_state *state = call->sink.object;
  rsci_call_count_answer(call, answer);
  rsci_call_delivered(call);
  rsci_engine_release(&state->engine);
}
