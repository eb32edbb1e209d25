#include "subscription.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "adapter.h"
#include "error.h"
#include "fiber.h"
#include "handler.h"
#include "foreign_registration.h"
#include "hanging.h"
#include "manager_proxy.h"
#include "worker.h"

enum { MOST_AT_ONCE = 64 }; /* responses handed over before others have their turn */

/* ---- Life ---- */

static const rsci_task_ops arrived_ops, pump_ops;

/* What one takes beside its responses, of the worker whose script has made it. */
#define SUBSCRIPTION_BYTES (sizeof(rscl_subscription) + sizeof(rsci_stream))

static void free_subscription(rscl_subscription *sub) {
  rsci_budget_discharge(sub->account, SUBSCRIPTION_BYTES);
  rsci_budget_release(sub->account);
  free(sub);
}

static void subscription_release(rscl_subscription *sub) {
  if (rsci_refs_drop(&sub->refs) > 0)
    return;
  free(sub->response);
  free(sub->foreign_name);
  rsci_stream_release(sub->stream);
  rsci_engine_release(&sub->state->engine);
  free_subscription(sub);
}

static rscl_subscription *subscription_of_owned(rscl_owned *owned) {
  return owned ? (rscl_subscription *)((char *)owned - offsetof(rscl_subscription, owned)) : NULL;
}

static void drop_subscription(rscl_owned *owned) {
  subscription_release(subscription_of_owned(owned));
}

rscl_subscription *rscl_subscription_of(const rscl_owner *object) {
  return subscription_of_owned(rscl_owned_by(object));
}

rscl_subscription *rscl_subscription_create(lua_State *L, rscl_owner *object, rscl_state *state, const void *owner,
                                            rsci_stream_limits limits) {
  if (!rscl_worker_charge(state, SUBSCRIPTION_BYTES))
    return NULL;
  rscl_subscription *sub = calloc(1, sizeof *sub);
  if (!sub) {
    rscl_worker_discharge(state, SUBSCRIPTION_BYTES);
    return NULL;
  }
  sub->account = rscl_worker_account(state);
  rsci_budget_hold(sub->account);
  sub->stream = rsci_stream_create(&state->engine, &arrived_ops, limits);
  if (!sub->stream) {
    free_subscription(sub);
    return NULL;
  }
  sub->stream->user = sub;
  rsci_refs_init(&sub->refs);
  rsci_engine_hold(&state->engine);
  sub->state = state;
  sub->owner = owner;
  sub->task.ops = &pump_ops;
  rscl_own(rscl_owned_of_box(L, RSCL_BOX), object, &sub->owned, drop_subscription);
  return sub;
}

/* The call was accepted: from here on there is a delivery. */
void rscl_subscription_begin(rscl_subscription *sub) {
  rscl_state *state = sub->state;
  (void)rsci_refs_add(&sub->refs);
  if (sub->manager)
    rsci_manager_keep(sub->manager); /* so that no other manager takes its address */
  sub->delivering = true;
  sub->forks = rsci_forks();
  sub->next = state->subscriptions;
  if (sub->next)
    sub->next->previous = sub;
  state->subscriptions = sub;
  state->expected++;
}

static void clear_anchor(lua_State *L, rscl_subscription *sub) {
  (void)rscl_push_box(L);
  lua_getiuservalue(L, -1, RSCL_UV_SLOTS);
  rscl_slots_clear(L, -1, &sub->state->slots, sub->anchor);
  lua_pop(L, 2);
}

/* Nothing is delivered any more. The handler is let go where there is a Lua state to do it in. */
void rscl_subscription_end(rscl_subscription *sub, lua_State *L) {
  if (!sub->delivering)
    return;
  rscl_state *state = sub->state;
  sub->delivering = false;
  sub->stream->user = NULL;
  rsci_stream_abandon(sub->stream);
  if (sub->previous)
    sub->previous->next = sub->next;
  else
    state->subscriptions = sub->next;
  if (sub->next)
    sub->next->previous = sub->previous;
  state->expected--;
  if (sub->slot && L)
    rscl_unhang(L, state, sub->owner, sub->slot);
  if (sub->anchor && L)
    clear_anchor(L, sub);
  sub->slot = sub->anchor = 0;
  rscl_waiters_wake(&sub->waiters);
  if (sub->manager)
    rsci_calls_unkeep(&sub->manager->calls);
  subscription_release(sub);
}

void rscl_subscriptions_close(rscl_state *state) {
  while (state->subscriptions)
    rscl_subscription_end(state->subscriptions, NULL);
}

/* ---- The sink ---- */

static void sink_hold(void *object) {
  (void)rsci_refs_add(&((rscl_subscription *)object)->refs);
}

static void sink_release(void *object) {
  subscription_release(object);
}

static HRESULT sink_report(rsca_call *call, const void *bytes, size_t size) {
  rscl_subscription *sub = call->sink.object;
  bool ended = atomic_load(&call->phase) == RSCI_CALL_ENDED;
  HRESULT status = rsci_stream_put(sub->stream, bytes, size, ended);
  if (status == RSCA_E_CANCELLED && !ended)
    rsci_call_refuse(call);
  return status;
}

static rsci_stream *sink_stream(rsca_call *call) {
  return ((rscl_subscription *)call->sink.object)->stream;
}

static void sink_ended(rsca_call *call) {
  rscl_subscription *sub = call->sink.object;
  rsci_call_leave(call); /* first: whoever hears the end, on its own thread, may hand in the next call */
  rsci_stream_finish(sub->stream, call->status, call->bytes, call->size);
  subscription_release(sub);
  rsci_call_delivered(call);
}

static const rsci_sink_ops subscription_sink = {sink_hold, sink_release, sink_report, sink_stream, sink_ended};

bool rscl_subscription_hangs(const rscl_state *state, const rsca_call *call) {
  return call->sink.ops == &subscription_sink && ((rscl_subscription *)call->sink.object)->state == state &&
         call->sink.hangs;
}

/* ---- Delivery to a handler ---- */

static void post_pump(rscl_subscription *sub) {
  if (sub->queued || !rsci_engine_post_here(&sub->state->engine, &sub->task))
    return;
  sub->queued = true;
  (void)rsci_refs_add(&sub->refs); /* the task's, which this thread runs later */
}

/* Out of memory on the way to the handler: what was taken is kept, and the next step tries again. */
static void undo_pump(rscl_state *state, void *subject, lua_State *L, int status) {
  (void)state;
  (void)L;
  (void)status;
  rscl_subscription *sub = subject;
  sub->pumping = false;
  sub->busy = false;
  post_pump(sub);
  subscription_release(sub); /* the pump's */
}

/* Gives what was taken to the handler. [-0, +0, m] */
static void give(rscl_subscription *sub, lua_State *L) {
  rscl_state *state = sub->state;
  bool final = sub->taken == RSCI_TAKEN_FINAL;
  int top = lua_gettop(L);
  lua_rawgeti(L, RSCL_TURN_HANGING, (lua_Integer)sub->slot);
  bool reachable = lua_isfunction(L, -1) || lua_istable(L, -1);
  rscl_fiber *fiber = NULL;
  int nargs = 0;
  if (reachable && !(sub->closed && !final)) {
    nargs = 3 + rscl_push_invocation(L);
    rscl_push_status(L, sub->status);
    lua_pushlstring(L, sub->response ? sub->response->bytes : "", sub->response ? sub->response->size : 0);
    lua_pushboolean(L, final);
    fiber = rscl_fiber_create(L, RSCL_TURN_SLOTS, state, RSCL_HANDLER, NULL);
    fiber->subscription = sub;
    (void)rsci_refs_add(&sub->refs);
    sub->busy = true;
  }
  free(sub->response);
  sub->response = NULL;
  sub->taken = RSCI_TAKEN_NOTHING;
  if (final)
    rscl_subscription_end(sub, L);
  if (fiber)
    rscl_fiber_run(fiber, nargs);
  lua_settop(L, top);
}

/* Takes over a reference: an error takes the way round. */
static void pump(rscl_subscription *sub) {
  rscl_state *state = sub->state;
  if (sub->pumping || sub->busy) {
    subscription_release(sub);
    return;
  }
  sub->pumping = true;
  int given = 0;
  while (sub->delivering && !sub->busy && given++ < MOST_AT_ONCE) {
    if (sub->taken == RSCI_TAKEN_NOTHING)
      sub->taken = rsci_stream_take(sub->stream, &sub->response, &sub->status);
    if (sub->taken == RSCI_TAKEN_NOTHING)
      break;
    rscl_guard_set(state, undo_pump, sub);
    give(sub, state->turn);
  }
  rscl_guard_clear(state);
  sub->pumping = false;
  if (sub->delivering && !sub->busy && given > MOST_AT_ONCE)
    post_pump(sub);
  subscription_release(sub);
}

static void pump_run(rsci_task *task) {
  rscl_subscription *sub = (rscl_subscription *)((char *)task - offsetof(rscl_subscription, task));
  sub->queued = false;
  pump(sub);
}

static void pump_drop(rsci_task *task) {
  subscription_release((rscl_subscription *)((char *)task - offsetof(rscl_subscription, task)));
}

static const rsci_task_ops pump_ops = {pump_run, pump_drop};

void rscl_subscription_handled(rscl_subscription *sub, HRESULT answer) {
  sub->busy = false;
  if (FAILED(answer) && sub->delivering) {
    if (sub->manager)
      rsci_manager_refuse(sub->manager, sub->id);
    else
      rscl_foreign_refuse(sub->state->turn, sub);
    sub->closed = true; /* what had come already is not wanted either */
  }
  if (!sub->pumping && sub->delivering)
    post_pump(sub);
  subscription_release(sub);
}

void rscl_subscription_broken_off(rscl_subscription *sub) {
  if (sub->pumping)
    (void)rsci_refs_drop(&sub->refs); /* the pump's; the handler's is there still */
  sub->pumping = false;
  rscl_subscription_handled(sub, E_FAIL);
}

static void arrived_run(rsci_task *task) {
  rsci_stream *stream = rsci_stream_of_arrived(task);
  rsci_stream_arrived(stream);
  rscl_subscription *sub = stream->user;
  if (sub)
    (void)rsci_refs_add(&sub->refs);
  rsci_stream_release(stream);
  if (sub && sub->slot) {
    pump(sub);
  } else if (sub) {
    rscl_waiters_wake(&sub->waiters);
    subscription_release(sub);
  }
}

static void arrived_drop(rsci_task *task) {
  rsci_stream_release(rsci_stream_of_arrived(task));
}

static const rsci_task_ops arrived_ops = {arrived_run, arrived_drop};

/* ---- The object ---- */

/* User values: the proxy of its manager, for close; a foreign registration's name. */
rscl_owner *rscl_subscription_push(lua_State *L, int proxy) {
  rscl_owner *object = rscl_owner_push(L, rscl_owned_of_box(L, RSCL_BOX), 2, &rscl_subscription_type);
  lua_pushvalue(L, proxy);
  lua_setiuservalue(L, -2, 1);
  return object;
}

static rscl_subscription *check_subscription(lua_State *L, int arg) {
  rscl_subscription *sub = rscl_subscription_of(rscl_object_check(L, arg, &rscl_subscription_type));
  if (!sub)
    luaL_error(L, "this subscription has been finalized");
  return sub;
}

/* Ends the registration; the final is still to come to a handler. True: it was open. */
static bool close_subscription(lua_State *L, rscl_subscription *sub, int index) {
  if (sub->closed || !sub->delivering)
    return false;
  sub->closed = true;
  if (sub->foreign)
    return rscl_foreign_close(L, sub);
  lua_getiuservalue(L, index, 1);
  rsca_manager *manager = rscl_manager_test(L, -1);
  lua_pop(L, 1);
  bool open = manager && rsca_manager_unsubscribe(manager, sub->id) == S_OK;
  if (!sub->slot)
    rscl_subscription_end(sub, L); /* an iterator: nobody asks for its final */
  return open;
}

static int subscription_close(lua_State *L) {
  lua_pushboolean(L, close_subscription(L, check_subscription(L, 1), 1));
  return 1;
}

static int subscription_gc(lua_State *L) {
  rscl_owner *object = rscl_object_check(L, 1, &rscl_subscription_type);
  rscl_subscription *sub = rscl_subscription_of(object);
  if (sub && !sub->slot && ((rscl_box *)lua_touserdata(L, RSCL_BOX))->state)
    (void)close_subscription(L, sub, 1);
  rscl_disown(object);
  return 0;
}

static int subscription_index(lua_State *L) {
  rscl_subscription *sub = check_subscription(L, 1);
  if (lua_type(L, 2) == LUA_TSTRING && strcmp(lua_tostring(L, 2), "id") == 0) {
    lua_pushinteger(L, (lua_Integer)sub->id);
    return 1;
  }
  lua_pushvalue(L, 2);
  lua_rawget(L, lua_upvalueindex(2));
  return 1;
}

static int subscription_tostring(lua_State *L) {
  rscl_subscription *sub = check_subscription(L, 1);
  lua_pushfstring(L, "rsca.subscription: call %I%s", (LUAI_UACINT)sub->id, sub->delivering ? "" : ", ended");
  return 1;
}

static const luaL_Reg subscription_methods[] = {{"close", subscription_close}, {NULL, NULL}};
static const luaL_Reg subscription_meta[] = {
    {"__gc", subscription_gc}, {"__tostring", subscription_tostring}, {"__close", subscription_close}, {NULL, NULL}};
const rscl_type rscl_subscription_type = {"rsca.subscription", subscription_meta, subscription_methods,
                                          subscription_index};

/* ---- Starting ---- */

static HRESULT start(rscl_subscription *sub, rsca_manager *manager, rsci_session *session, rscl_text name,
                     rscl_text args, uint64_t limit_ns) {
  const rsci_sink sink = {.ops = &subscription_sink, .object = sub, .hangs = true, .limit_ns = limit_ns};
  sub->manager = manager;
  rscl_subscription_begin(sub); /* first: an action elsewhere may answer at once */
  HRESULT status = rsci_manager_run(manager, session, name.data, name.size, args.data, args.size, &sink, &sub->id);
  return status;
}

/* Starts one whose handler, if any, is at `handler`; after a failure it has no delivery. The object owns it. */
HRESULT rscl_subscription_start(lua_State *L, rscl_state *state, rscl_owner *object, bool documented, int proxy,
                                rscl_text name, rscl_text args, int handler, uint64_t limit_ns) {
  rscl_worker_collect(L, state);
  rsca_manager *manager = rscl_manager_test(L, proxy); /* a finalizer may have closed it */
  if (!manager)
    return RSCA_E_SHUTDOWN_IN_PROGRESS;
  /* In a worker it is the worker's own memory: nobody else's streams wait for what it does not take. */
  rsci_budget *account = rscl_worker_account(state);
  const rsci_stream_limits limits = {manager->config.stream_limit, manager->config.stream_bytes,
                                     account ? account : manager->budget};
  rscl_subscription *sub = rscl_subscription_create(L, object, state, manager, limits);
  if (!sub)
    return E_OUTOFMEMORY;
  if (handler) {
    lua_getiuservalue(L, RSCL_BOX, RSCL_UV_HANGING);
    lua_pushvalue(L, handler);
    sub->slot = rscl_hang(L, state, -2, proxy, NULL);
    lua_pop(L, 1);
  }
  manager = rscl_manager_test(L, proxy);
  HRESULT status = RSCA_E_SHUTDOWN_IN_PROGRESS;
  if (manager)
    status = start(sub, manager, documented ? &manager->default_session : NULL, name, args, limit_ns);
  if (FAILED(status) && !sub->delivering && sub->slot)
    rscl_unhang(L, state, sub->owner, sub->slot);
  if (FAILED(status))
    rscl_subscription_end(sub, L);
  rscl_manager_settle(L, RSCL_BOX, proxy);
  rscl_adapter_tell(L, state);
  return status;
}

int rscl_subscribe(lua_State *L, rscl_state *state, int proxy, rscl_text name, rscl_text args, int handler,
                   uint64_t limit_ns) {
  rscl_check_handler(L, handler);
  rscl_owner *object = rscl_subscription_push(L, proxy);
  HRESULT status = rscl_subscription_start(L, state, object, false, proxy, name, args, handler, limit_ns);
  return FAILED(status) ? rscl_refused(L, status, name.data) : 1;
}

HRESULT rscl_register_callback(lua_State *L, rscl_state *state, int proxy, rscl_text name, rscl_text args,
                               int handler) {
  rscl_check_handler(L, handler);
  rscl_owner *object = rscl_subscription_push(L, proxy);
  return rscl_subscription_start(L, state, object, true, proxy, name, args, handler, 0);
}
