#include "request.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "adapter.h"
#include "callback.h"
#include "error.h"
#include "fiber.h"
#include "foreign.h"
#include "manager_methods.h"
#include "manager_proxy.h"
#include "native_proxy.h"
#include "utf16.h"
#include "worker.h"

/* ---- The request itself ---- */

static rscl_request *request_create(rscl_state *state) {
  rscl_request *request = calloc(1, sizeof *request);
  if (request) {
    rsci_refs_init(&request->refs);
    rsci_engine_hold(&state->engine);
    request->state = state;
  }
  return request;
}

void rscl_request_release(rscl_request *request) {
  if (rsci_refs_drop(&request->refs) > 0)
    return;
  if (request->charged)
    rscl_worker_discharge(request->state, request->charged); /* this is its thread: only its own objects are left */
  free(request->buffer.data);
  rsci_engine_release(&request->state->engine);
  free(request);
}

/* The result is there. */
static void wake_waiters(rscl_request *request) {
  request->done = true;
  request->state->expected--;
  rscl_waiters_wake(&request->waiters);
}

void rscl_request_complete(rscl_request *request, HRESULT status, const void *bytes, size_t size) {
  request->status = status;
  if (rsci_buffer_append(&request->buffer, bytes, size)) {
    request->bytes = request->buffer.data;
    request->size = size;
  } else {
    request->status = E_OUTOFMEMORY;
  }
  wake_waiters(request);
}

/* The result is the request's, without a copy, if there is room for it. */
static void take_result(rscl_request *request, rsca_call *call) {
  if (!rscl_worker_charge(request->state, call->result.capacity)) {
    static const char text[] = "not enough memory";
    request->status = E_OUTOFMEMORY;
    request->bytes = text;
    request->size = sizeof text - 1;
    return;
  }
  request->charged = call->result.capacity;
  request->buffer = rsci_call_take_result(call);
}

/* Gives the call's result to the request; on the state's thread. */
static void complete(rsca_call *call) {
  rscl_request *request = call->sink.object;
  request->status = call->status;
  request->bytes = call->bytes;
  request->size = call->size;
  if (rsci_runner_drops(request->state->engine.runner, call->forks)) {
    /* Its result is the parent's of a fork; who waits here hears that. */
    request->status = RSCA_E_CANCELLED;
    request->bytes = rsci_forked;
    request->size = strlen(rsci_forked);
  } else if (call->size > 0 && call->bytes == call->result.data) {
    take_result(request, call);
  }
  rsci_call_leave(call);
  wake_waiters(request);
  rscl_request_release(request);
  rsci_call_delivered(call);
}

static rsca_call *call_of_delivery(rsci_task *task) {
  return (rsca_call *)((char *)task - offsetof(rsca_call, delivery));
}

static void delivery_run(rsci_task *task) {
  rsca_call *call = call_of_delivery(task);
  const rscl_request *request = call->sink.object;
  if (!rscl_worker_has_room(request->state, call->result.capacity))
    lua_gc(request->state->turn, LUA_GCCOLLECT);
  complete(call);
}

/* The state has closed: nobody waits any more. */
static void delivery_drop(rsci_task *task) {
  rsca_call *call = call_of_delivery(task);
  rsci_call_leave(call);
  rscl_request_release(call->sink.object);
  rsci_call_delivered(call);
}

static const rsci_task_ops delivery_ops = {delivery_run, delivery_drop};

static void sink_hold(void *object) {
  rscl_request *request = object;
  (void)rsci_refs_add(&request->refs);
}

static void sink_release(void *object) {
  rscl_request_release(object);
}

static void sink_ended(rsca_call *call) {
  rscl_request *request = call->sink.object;
  rscl_state *state = request->state;
  (void)rsci_call_keep_bytes(call);
  if (rscl_is_here(state) && !rsci_engine_is_closed(&state->engine) &&
      rscl_worker_has_room(state, call->result.capacity)) {
    complete(call);
    return;
  }
  call->delivery.ops = &delivery_ops;
  if (!rsci_engine_post(&state->engine, &call->delivery))
    delivery_drop(&call->delivery);
}

static const rsci_sink_ops request_sink = {sink_hold, sink_release, NULL, NULL, sink_ended};

static HRESULT start_foreign(lua_State *L, rscl_request *request, int proxy, rscl_text name, rscl_text args) {
  luaL_checkstack(L, 2, NULL);
  PCWSTR name16 = rscl_push_utf16(L, name), args16 = rscl_push_utf16(L, args);
  IPmCustomActions *actions = rscl_native_hold(L, proxy, &rscl_custom_actions_type);
  ICustomActionResultCallback *callback = rscl_callback_for_request(request->state, request);
  if (!callback) {
    (void)actions->lpVtbl->Release(actions);
    return E_OUTOFMEMORY;
  }
  request->state->expected++; /* first: it may report before the call has returned */
  HRESULT status = actions->lpVtbl->RunCustomAction(actions, name16, args16, callback);
  if (FAILED(status)) {
    request->state->expected--;
    rscl_callback_disarm(callback);
  }
  (void)callback->lpVtbl->Release(callback);
  (void)actions->lpVtbl->Release(actions);
  lua_pop(L, 2);
  return status;
}

/* [-0, +0, m] */
static HRESULT start(lua_State *L, rscl_request *request, rscl_target target, rscl_text name, rscl_text args) {
  if (target.foreign)
    return start_foreign(L, request, target.proxy, name, args);
  rsca_manager *manager = rscl_manager_test(L, target.proxy);
  if (!manager)
    return RSCA_E_SHUTDOWN_IN_PROGRESS;
  const rsci_sink sink = {.ops = &request_sink, .object = request, .limit_ns = target.limit_ns};
  HRESULT status = rsci_manager_run(manager, NULL, name.data, name.size, args.data, args.size, &sink, &request->id);
  if (SUCCEEDED(status))
    request->state->expected++;
  return status;
}

/* [-0, +1 or 2, m] */
static int push_result(lua_State *L, const rscl_request *request, const char *action) {
  if (FAILED(request->status)) {
    lua_pushnil(L);
    rscl_push_error(L, request->status, request->bytes ? request->bytes : "", request->size, action);
    return 2;
  }
  lua_pushlstring(L, request->bytes ? request->bytes : "", request->size);
  if (request->status == S_OK)
    return 1;
  rscl_push_status(L, request->status);
  return 2;
}

/* ---- The object ---- */

/* User values: its manager's proxy, the action's name. */
enum { UV_MANAGER = 1, UV_NAME, UV_COUNT = UV_NAME };

static void drop_request(rscl_owned *owned) {
  rscl_request_release((rscl_request *)((char *)owned - offsetof(rscl_request, owned)));
}

static rscl_request *check_request(lua_State *L, int arg) {
  rscl_owned *owned = rscl_owned_by(rscl_object_check(L, arg, &rscl_request_type));
  if (!owned)
    luaL_error(L, "this request has been finalized");
  return (rscl_request *)((char *)owned - offsetof(rscl_request, owned));
}

/* Pushes an object with a fresh request; NULL, and nil, err pushed, when out of memory. */
static rscl_request *push_object(lua_State *L, rscl_state *state, int proxy, rscl_text name) {
  proxy = lua_absindex(L, proxy);
  rscl_owned_list *list = rscl_owned_of_box(L, RSCL_BOX);
  rscl_owner *owner = rscl_owner_push(L, list, UV_COUNT, &rscl_request_type);
  lua_pushvalue(L, proxy);
  lua_setiuservalue(L, -2, UV_MANAGER);
  lua_pushlstring(L, name.data, name.size);
  lua_setiuservalue(L, -2, UV_NAME);
  rscl_request *request = request_create(state);
  if (request)
    rscl_own(list, owner, &request->owned, drop_request);
  else
    (void)rscl_fail(L, E_OUTOFMEMORY, NULL, name.data);
  return request;
}

static void settle(lua_State *L, rscl_target target) {
  if (!target.foreign)
    rscl_manager_settle(L, RSCL_BOX, target.proxy);
}

int rscl_request_run(lua_State *L, rscl_state *state, rscl_target target, rscl_text name, rscl_text args) {
  rscl_worker_collect(L, state);
  rscl_request *request = push_object(L, state, target.proxy, name);
  if (!request)
    return 2;
  HRESULT status = start(L, request, target, name, args);
  if (FAILED(status))
    return rscl_refused(L, status, name.data);
  rscl_adapter_tell(L, state);
  return 1;
}

static int request_gc(lua_State *L) {
  rscl_disown(rscl_object_check(L, 1, &rscl_request_type));
  return 0;
}

static int request_tostring(lua_State *L) {
  rscl_request *request = check_request(L, 1);
  lua_getiuservalue(L, 1, UV_NAME);
  lua_pushfstring(L, "rsca.request: call %I of '%s'%s", (LUAI_UACINT)request->id, lua_tostring(L, -1),
                  request->done ? ", ended" : "");
  return 1;
}

static int request_index(lua_State *L) {
  rscl_request *request = check_request(L, 1);
  if (lua_type(L, 2) == LUA_TSTRING && strcmp(lua_tostring(L, 2), "id") == 0) {
    lua_pushinteger(L, (lua_Integer)request->id);
    return 1;
  }
  lua_pushvalue(L, 2);
  lua_rawget(L, lua_upvalueindex(2));
  return 1;
}

static int request_cancel(lua_State *L) {
  rscl_request *request = check_request(L, 1);
  lua_settop(L, 2);
  lua_getiuservalue(L, 1, UV_MANAGER);
  return rscl_manager_cancel(L, 3, request->id, 2);
}

/* ---- Waiting ---- */

/* Sets up the fiber's wait for a request that is not done. */
static void await_on(rscl_fiber *fiber, rscl_request *request) {
  (void)rsci_refs_add(&request->refs);
  rscl_fiber_wait_on(fiber, &request->waiters, RSCL_WAIT_REQUEST);
  if (fiber->request)
    rscl_request_release(fiber->request);
  fiber->request = request;
}

/* The request that the fiber awaited, done or not; its reference stays with the fiber until the next wait. */
static rscl_request *awaited(lua_State *L, rscl_state *state) {
  rscl_fiber *fiber = rscl_resumed(L, state);
  rscl_fiber_unwait(fiber);
  return fiber->request;
}

static int push_awaited(lua_State *L, const rscl_request *request, const char *action) {
  if (request->done)
    return push_result(L, request, action);
  return rscl_fail(L, RSCA_WAIT_TIMEOUT, NULL, action);
}

static int await_done(lua_State *L, int status, lua_KContext context_value) {
  (void)status;
  (void)context_value;
  rscl_request *request = awaited(L, rscl_check_state(L));
  lua_getiuservalue(L, 1, UV_NAME);
  return push_awaited(L, request, lua_tostring(L, -1));
}

static int request_await(lua_State *L) {
  rscl_state *state = rscl_check_state(L);
  rscl_request *request = check_request(L, 1);
  uint64_t limit_ns = lua_isnoneornil(L, 2) ? UINT64_MAX : rscl_check_ns(L, 2);
  lua_settop(L, 2);
  lua_getiuservalue(L, 1, UV_NAME);
  const char *action = lua_tostring(L, 3);
  if (request->done)
    return push_result(L, request, action);
  rscl_mode mode = rscl_wait_mode(L, state);
  if (mode == RSCL_CLOSING)
    return rscl_push_closing(L);
  if (mode == RSCL_ADAPT)
    return rscl_adapt(L, 2);
  uint64_t now_ns = rsci_now_ns();
  uint64_t due_ns = limit_ns > UINT64_MAX - now_ns ? UINT64_MAX : now_ns + limit_ns;
  if (mode == RSCL_YIELD) {
    rscl_fiber *fiber = state->current;
    if (due_ns != UINT64_MAX) {
      if (!rsci_runner_set_alarm(state->engine.runner, &fiber->alarm, due_ns))
        return rscl_fail(L, E_OUTOFMEMORY, NULL, action);
      fiber->has_alarm = true;
    }
    await_on(fiber, request);
    return lua_yieldk(L, 0, 0, await_done);
  }
  do
    (void)rscl_block(L, state, due_ns);
  while (!request->done && rsci_now_ns() < due_ns);
  return push_awaited(L, request, action);
}

static int call_done(lua_State *L, int status, lua_KContext name_index) {
  (void)status;
  rscl_request *request = awaited(L, rscl_check_state(L));
  return push_result(L, request, lua_tostring(L, (int)name_index));
}

int rscl_request_call(lua_State *L, rscl_state *state, rscl_target target, int name_index, rscl_text args) {
  rscl_text name;
  name.data = lua_tolstring(L, name_index, &name.size);
  rscl_mode mode = rscl_wait_mode(L, state);
  if (mode == RSCL_CLOSING)
    return rscl_push_closing(L);
  if (mode == RSCL_ADAPT)
    return rscl_adapt(L, lua_gettop(L));
  if (mode == RSCL_YIELD) {
    /* Calling somebody else's manager may raise on the way: then an object owns the request. */
    rscl_request *request = target.foreign ? push_object(L, state, target.proxy, name) : request_create(state);
    HRESULT status = request ? start(L, request, target, name, args) : E_OUTOFMEMORY;
    if (SUCCEEDED(status)) {
      await_on(state->current, request);
      settle(L, target);
    }
    if (request && !target.foreign)
      rscl_request_release(request);
    if (FAILED(status))
      return rscl_refused(L, status, name.data);
    return lua_yieldk(L, 0, name_index, call_done);
  }
  /* The object owns the request, should a hook raise while this blocks. */
  rscl_request *request = push_object(L, state, target.proxy, name);
  if (!request)
    return 2;
  HRESULT status = start(L, request, target, name, args);
  if (FAILED(status))
    return rscl_refused(L, status, name.data);
  settle(L, target);
  while (!request->done)
    (void)rscl_block(L, state, UINT64_MAX);
  settle(L, target);
  return push_result(L, request, name.data);
}

static const luaL_Reg request_methods[] = {{"await", request_await}, {"cancel", request_cancel}, {NULL, NULL}};
static const luaL_Reg request_meta[] = {{"__gc", request_gc}, {"__tostring", request_tostring}, {NULL, NULL}};
const rscl_type rscl_request_type = {"rsca.request", request_meta, request_methods, request_index};
