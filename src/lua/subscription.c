#include "subscription.h"

#include <stdlib.h>
#include <string.h>

#include "error.h"
#include "fiber.h"
#include "handler.h"
#include "manager_proxy.h"
#include "utf16.h"

struct rscl_subscription {
  rsci_refs refs;                     /* the object's, the sink's, the delivery's, and one while a handler runs */
  rscl_state *state;                  /* held */
  rscl_subscription *next, *previous; /* of those with a delivery */
  rsci_stream *stream;                /* held */
  const void *owner;                  /* finds the proxy; never dereferenced */
  uint64_t id;
  rscl_slot slot;          /* of the handler; 0: an iterator takes */
  rsci_response *response; /* taken, but not given to the handler yet */
  rsci_taken taken;        /* what that is */
  HRESULT status;
  IPmCustomActions2 *foreign; /* whose action it is, if not one of our managers'; borrowed from the proxy */
  rscl_slot anchor;           /* of that proxy, in the strong table, while there is a delivery */
  bool delivering;            /* has a delivery: the final has not been given */
  bool busy;                  /* a handler runs */
  bool pumping;
  bool closed;     /* by the script: only the final is given */
  bool queued;     /* its task has been posted */
  rsci_task task;  /* goes on with the delivery */
  uint64_t waiter; /* the ticket of the fiber that waits in an iterator; 0: none */
  bool waiter_hangs;
};

enum { MOST_AT_ONCE = 64 }; /* responses handed over before others have their turn */

/* ---- What hangs on a proxy ---- */

rscl_slot rscl_hang(lua_State *L, rscl_state *state, int hanging, int proxy, void *owner) {
  luaL_checkstack(L, 3, NULL);
  hanging = lua_absindex(L, hanging);
  proxy = proxy > LUA_REGISTRYINDEX ? lua_absindex(L, proxy) : proxy;
  if (lua_getiuservalue(L, proxy, 2) != LUA_TTABLE) {
    lua_pop(L, 1);
    lua_newtable(L);
    lua_pushvalue(L, -1);
    lua_setiuservalue(L, proxy, 2);
  }
  rscl_slots_reserve(L, hanging, &state->hanging);
  lua_pushvalue(L, -2);
  lua_rawseti(L, -2, (lua_Integer)state->hanging.free);
  lua_pop(L, 1);
  return rscl_slots_put(L, hanging, &state->hanging, owner);
}

/* Leaves the table of what hangs on the owner's proxy, or did, on top; the box, at `box`, was there. */
static bool push_hanging_of(lua_State *L, int box, const void *owner) {
  static const int caches[] = {RSCL_UV_MANAGERS, RSCL_UV_NATIVES};
  for (size_t i = 0; i < sizeof caches / sizeof *caches; i++) {
    lua_getiuservalue(L, box, caches[i]);
    bool found = lua_rawgetp(L, -1, owner) == LUA_TUSERDATA && lua_getiuservalue(L, -1, 2) == LUA_TTABLE;
    if (found)
      return true;
    lua_settop(L, box);
  }
  lua_getiuservalue(L, box, RSCL_UV_ANCHORS);
  lua_rawgetp(L, -1, owner);
  return lua_istable(L, -1);
}

void rscl_unhang(lua_State *L, rscl_state *state, const void *owner, rscl_slot slot) {
  luaL_checkstack(L, 6, NULL);
  (void)rscl_push_box(L);
  int box = lua_gettop(L);
  if (push_hanging_of(L, box, owner)) {
    lua_pushnil(L);
    lua_rawseti(L, -2, (lua_Integer)slot);
  }
  lua_getiuservalue(L, box, RSCL_UV_HANGING);
  rscl_slots_clear(L, -1, &state->hanging, slot);
  lua_settop(L, box - 1);
}

void rscl_keep_hanging(lua_State *L, int box, int proxy, const rsca_manager *manager) {
  if (lua_getiuservalue(L, proxy, 2) == LUA_TTABLE) {
    lua_pushnil(L);
    if (lua_next(L, -2)) {
      lua_pop(L, 2);
      lua_getiuservalue(L, box, RSCL_UV_ANCHORS);
      lua_insert(L, -2);
      lua_rawsetp(L, -2, manager);
    }
  }
  lua_pop(L, 1);
}

/* ---- Life ---- */

static const rsci_task_ops arrived_ops, pump_ops;

/* `owner`: the manager, or the foreign object. */
static rscl_subscription *subscription_create(rscl_state *state, const void *owner, size_t limit, size_t limit_bytes) {
  rscl_subscription *sub = calloc(1, sizeof *sub);
  if (!sub)
    return NULL;
  sub->stream = rsci_stream_create(&state->engine, &arrived_ops, limit, limit_bytes);
  if (!sub->stream) {
    free(sub);
    return NULL;
  }
  sub->stream->user = sub;
  rsci_refs_init(&sub->refs);
  rsci_engine_hold(&state->engine);
  sub->state = state;
  sub->owner = owner;
  sub->task.ops = &pump_ops;
  return sub;
}

static void subscription_release(rscl_subscription *sub) {
  if (rsci_refs_drop(&sub->refs) > 0)
    return;
  free(sub->response);
  rsci_stream_release(sub->stream);
  rsci_engine_release(&sub->state->engine);
  free(sub);
}

/* The call was accepted: from here on there is a delivery. */
static void begin_delivery(rscl_subscription *sub) {
  rscl_state *state = sub->state;
  (void)rsci_refs_add(&sub->refs);
  sub->delivering = true;
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
static void end_delivery(rscl_subscription *sub, lua_State *L) {
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
  subscription_release(sub);
}

void rscl_subscriptions_close(rscl_state *state) {
  while (state->subscriptions)
    end_delivery(state->subscriptions, NULL);
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
  HRESULT status = rsci_stream_put(sub->stream, bytes, size, call->forced || ended);
  if (status == RSCA_E_CANCELLED && !ended)
    rsci_call_refuse(call);
  return status;
}

static rsci_stream *sink_stream(rsca_call *call) {
  return ((rscl_subscription *)call->sink.object)->stream;
}

static void sink_ended(rsca_call *call) {
  rscl_subscription *sub = call->sink.object;
  rsci_stream_finish(sub->stream, call->status, call->bytes, call->size);
  rsci_call_leave(call);
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
  if (sub->queued)
    return;
  (void)rsci_refs_add(&sub->refs);
  sub->queued = rsci_engine_post_here(&sub->state->engine, &sub->task);
  if (!sub->queued)
    subscription_release(sub);
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
    lua_pop(L, 1);
    fiber->subscription = sub;
    (void)rsci_refs_add(&sub->refs);
    sub->busy = true;
  }
  free(sub->response);
  sub->response = NULL;
  sub->taken = RSCI_TAKEN_NOTHING;
  if (final)
    end_delivery(sub, L);
  if (fiber)
    rscl_fiber_run(fiber, nargs);
  lua_settop(L, top);
}

static void pump(rscl_subscription *sub) {
  rscl_state *state = sub->state;
  if (sub->pumping || sub->busy)
    return;
  sub->pumping = true;
  (void)rsci_refs_add(&sub->refs);
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
  subscription_release(sub);
}

static void pump_drop(rsci_task *task) {
  subscription_release((rscl_subscription *)((char *)task - offsetof(rscl_subscription, task)));
}

static const rsci_task_ops pump_ops = {pump_run, pump_drop};

/* The manager, if its proxy is still there. Borrowed. [-0, +0, -] */
static rsca_manager *find_manager(lua_State *L, const rsca_manager *key) {
  (void)rscl_push_box(L);
  lua_getiuservalue(L, -1, RSCL_UV_MANAGERS);
  rsca_manager *manager = lua_rawgetp(L, -1, key) == LUA_TUSERDATA ? rscl_manager_test(L, -1) : NULL;
  lua_pop(L, 3);
  return manager;
}

void rscl_subscription_handled(rscl_subscription *sub, HRESULT answer) {
  sub->busy = false;
  if (FAILED(answer) && sub->delivering) {
    rsca_manager *manager = sub->foreign ? NULL : find_manager(sub->state->turn, sub->owner);
    if (manager)
      rsci_manager_refuse(manager, sub->id);
    else if (sub->foreign)
      rsci_stream_refuse(sub->stream); /* its next report hears of it */
    sub->closed = true;                /* what had come already is not wanted either */
  }
  if (!sub->pumping && sub->delivering)
    post_pump(sub);
  subscription_release(sub);
}

/* It may have been closed meanwhile. */
static void wake_waiter(rscl_subscription *sub) {
  rscl_state *state = sub->state;
  rscl_fiber *fiber = rscl_slots_owner(sub->waiter_hangs ? &state->hanging : &state->slots, sub->waiter);
  sub->waiter = 0;
  if (fiber && fiber->wait == RSCL_WAIT_STREAM)
    rscl_fiber_wake(fiber);
}

static void arrived_run(rsci_task *task) {
  rsci_stream *stream = rsci_stream_of_arrived(task);
  rsci_stream_arrived(stream);
  rscl_subscription *sub = stream->user;
  if (sub && sub->slot)
    pump(sub);
  else if (sub && sub->waiter)
    wake_waiter(sub);
  rsci_stream_release(stream);
}

static void arrived_drop(rsci_task *task) {
  rsci_stream_release(rsci_stream_of_arrived(task));
}

static const rsci_task_ops arrived_ops = {arrived_run, arrived_drop};

/* ---- The object ---- */

typedef struct subscription_object {
  rscl_owned owned;
  rscl_subscription *subscription; /* NULL: finalized, or never started */
} subscription_object;

static void drop_object(rscl_owned *owned) {
  subscription_object *object = (subscription_object *)owned;
  rscl_subscription *sub = object->subscription;
  object->subscription = NULL;
  rscl_disown(owned);
  if (sub)
    subscription_release(sub);
}

/* User values: the proxy of its manager, for close; a foreign registration's name. */
static subscription_object *push_object(lua_State *L, int proxy) {
  subscription_object *object = lua_newuserdatauv(L, sizeof *object, 2);
  *object = (subscription_object){.subscription = NULL};
  rscl_object_set_type(L, &rscl_subscription_type);
  rscl_own(&((rscl_box *)lua_touserdata(L, RSCL_BOX))->owned, &object->owned, drop_object);
  lua_pushvalue(L, proxy);
  lua_setiuservalue(L, -2, 1);
  return object;
}

static rscl_subscription *check_subscription(lua_State *L, int arg) {
  subscription_object *object = rscl_object_check(L, arg, &rscl_subscription_type);
  if (!object->subscription)
    luaL_error(L, "this subscription has been finalized");
  return object->subscription;
}

/* The name, in UTF-16, is the second user value. */
static bool unregister_foreign(lua_State *L, rscl_subscription *sub, int index) {
  lua_getiuservalue(L, index, 2);
  PCWSTR name = lua_touserdata(L, -1);
  HRESULT status = sub->foreign->lpVtbl->UnregisterCustomActionCallback(sub->foreign, name);
  lua_pop(L, 1);
  if (!sub->slot)
    end_delivery(sub, L);
  return SUCCEEDED(status);
}

/* Ends the registration; the final is still to come to a handler. True: it was open. */
static bool close_subscription(lua_State *L, rscl_subscription *sub, int index) {
  if (sub->closed || !sub->delivering)
    return false;
  sub->closed = true;
  if (sub->foreign)
    return unregister_foreign(L, sub, index);
  lua_getiuservalue(L, index, 1);
  rsca_manager *manager = rscl_manager_test(L, -1);
  lua_pop(L, 1);
  bool open = manager && rsca_manager_unsubscribe(manager, sub->id) == S_OK;
  if (!sub->slot)
    end_delivery(sub, L); /* an iterator: nobody asks for its final */
  return open;
}

static int subscription_close(lua_State *L) {
  lua_pushboolean(L, close_subscription(L, check_subscription(L, 1), 1));
  return 1;
}

static int subscription_gc(lua_State *L) {
  subscription_object *object = rscl_object_check(L, 1, &rscl_subscription_type);
  rscl_subscription *sub = object->subscription;
  if (sub && !sub->slot && ((rscl_box *)lua_touserdata(L, RSCL_BOX))->state)
    (void)close_subscription(L, sub, 1);
  drop_object(&object->owned);
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
                     rscl_text args) {
  const rsci_sink sink = {.ops = &subscription_sink, .object = sub, .hangs = true};
  begin_delivery(sub); /* first: an action elsewhere may answer at once */
  HRESULT status = rsci_manager_run(manager, session, name.data, name.size, args.data, args.size, &sink, &sub->id);
  return status;
}

/* Starts one whose handler, if any, is at `handler`; after a failure it has no delivery. The object owns it. */
static HRESULT start_for(lua_State *L, rscl_state *state, subscription_object *object, rsca_manager *manager,
                         rsci_session *session, int proxy, rscl_text name, rscl_text args, int handler) {
  rscl_subscription *sub = object->subscription =
      subscription_create(state, manager, manager->config.stream_limit, manager->config.stream_bytes);
  if (!sub)
    return E_OUTOFMEMORY;
  if (handler) {
    lua_getiuservalue(L, RSCL_BOX, RSCL_UV_HANGING);
    lua_pushvalue(L, handler);
    sub->slot = rscl_hang(L, state, -2, proxy, NULL);
    lua_pop(L, 1);
  }
  HRESULT status = start(sub, manager, session, name, args);
  if (FAILED(status))
    end_delivery(sub, L);
  return status;
}

int rscl_subscribe(lua_State *L, rscl_state *state, rsca_manager *manager, int proxy, rscl_text name, rscl_text args,
                   int handler) {
  rscl_check_handler(L, handler);
  subscription_object *object = push_object(L, proxy);
  HRESULT status = start_for(L, state, object, manager, NULL, proxy, name, args, handler);
  return FAILED(status) ? rscl_refused(L, status, name.data) : 1;
}

HRESULT rscl_register_callback(lua_State *L, rscl_state *state, rsca_manager *manager, int proxy, rscl_text name,
                               rscl_text args, int handler) {
  rscl_check_handler(L, handler);
  subscription_object *object = push_object(L, proxy);
  return start_for(L, state, object, manager, &manager->default_session, proxy, name, args, handler);
}

/* ---- Registrations with a manager that somebody else implemented ---- */

/* What such a manager is given: puts what it reports into the stream, from whatever thread. */
typedef struct foreign_callback {
  ICustomAction2ResultCallback iface;
  rsci_refs refs;
  rsci_stream *stream; /* held */
  atomic_bool finished;
} foreign_callback;

static ULONG foreign_AddRef(ICustomAction2ResultCallback *iface) {
  return rsci_refs_add(&((foreign_callback *)iface)->refs);
}

/* Once. */
static void finish_foreign(foreign_callback *self, HRESULT status, const void *bytes, size_t size) {
  if (!atomic_exchange(&self->finished, true))
    rsci_stream_finish(self->stream, status, bytes, size);
}

static ULONG foreign_Release(ICustomAction2ResultCallback *iface) {
  foreign_callback *self = (foreign_callback *)iface;
  uint32_t count = rsci_refs_drop(&self->refs);
  if (count == 0) {
    static const char text[] = "the manager let go of the registration without a final report";
    finish_foreign(self, RPC_E_DISCONNECTED, text, sizeof text - 1);
    rsci_stream_release(self->stream);
    free(self);
  }
  return count;
}

static HRESULT report_foreign(foreign_callback *self, HRESULT status, bool final, const void *bytes, size_t size) {
  if (!bytes && size > 0)
    return E_INVALIDARG;
  if (atomic_load(&self->finished))
    return RSCA_E_CANCELLED; /* late: dropped */
  if (final) {
    finish_foreign(self, status, bytes, size);
    return S_OK;
  }
  HRESULT put = rsci_stream_put(self->stream, bytes, size, false);
  if (put == RSCA_E_CANCELLED)
    finish_foreign(self, put, rsci_refused, strlen(rsci_refused));
  if (put == RSCA_E_BUSY) {
    static const char text[] = "the script lags too far behind the responses";
    finish_foreign(self, RSCA_E_BUSY, text, sizeof text - 1);
  }
  return put;
}

#if RSCA_SDK_REPORTRESULT
static HRESULT foreign_ReportResult(ICustomAction2ResultCallback *iface, HRESULT hrStatus, BOOL fFinalResponse,
                                    PBYTE pbResponse, DWORD cbResponse) {
  return report_foreign((foreign_callback *)iface, hrStatus, fFinalResponse != 0, pbResponse, cbResponse);
}
#else
static HRESULT foreign_ReportResult(ICustomAction2ResultCallback *iface, HRESULT hrStatus, PBYTE pbResponse,
                                    DWORD cbResponse) {
  return report_foreign((foreign_callback *)iface, hrStatus, hrStatus != S_OK, pbResponse, cbResponse);
}
#endif

static const ICustomAction2ResultCallbackVtbl foreign_vtbl = {foreign_AddRef, foreign_Release, foreign_ReportResult};

enum { FOREIGN_LIMIT = 4096, FOREIGN_LIMIT_BYTES = 16 << 20 }; /* it can't be made to wait: more room than ours has */

/* Registers; `handler` 0: for an iterator. The object, on top, owns the subscription. [-0, +0, m] */
static HRESULT start_foreign(lua_State *L, rscl_state *state, subscription_object *object, IPmCustomActions2 *actions,
                             int proxy, rscl_text name, rscl_text args, int handler) {
  int index = lua_gettop(L);
  luaL_checkstack(L, 6, NULL);
  PCWSTR name16 = rscl_push_utf16(L, name);
  lua_pushvalue(L, -1);
  lua_setiuservalue(L, index, 2);
  PCWSTR args16 = rscl_push_utf16(L, args);
  rscl_subscription *sub = object->subscription =
      subscription_create(state, actions, FOREIGN_LIMIT, FOREIGN_LIMIT_BYTES);
  if (!sub)
    return E_OUTOFMEMORY;
  sub->foreign = actions;
  lua_getiuservalue(L, RSCL_BOX, RSCL_UV_HANGING);
  lua_getiuservalue(L, RSCL_BOX, RSCL_UV_SLOTS);
  if (handler) {
    lua_pushvalue(L, handler);
    sub->slot = rscl_hang(L, state, -3, proxy, NULL);
  }
  rscl_slots_reserve(L, -1, &state->slots);
  foreign_callback *callback = malloc(sizeof *callback);
  if (!callback)
    return E_OUTOFMEMORY;
  *callback = (foreign_callback){.iface = {&foreign_vtbl}, .stream = sub->stream};
  rsci_refs_init(&callback->refs);
  atomic_init(&callback->finished, false);
  rsci_stream_hold(sub->stream);
  lua_pushvalue(L, proxy);
  sub->anchor = rscl_slots_put(L, -2, &state->slots, NULL);
  begin_delivery(sub);
  HRESULT status = actions->lpVtbl->RegisterCustomActionCallback(actions, name16, args16, &callback->iface);
  if (FAILED(status)) {
    atomic_store(&callback->finished, true);
    end_delivery(sub, L);
  }
  (void)foreign_Release(&callback->iface);
  lua_settop(L, index);
  return status;
}

int rscl_subscribe_foreign(lua_State *L, rscl_state *state, IPmCustomActions2 *actions, int proxy, rscl_text name,
                           rscl_text args, int handler) {
  subscription_object *object = push_object(L, proxy);
  HRESULT status = start_foreign(L, state, object, actions, proxy, name, args, handler);
  return FAILED(status) ? rscl_refused(L, status, name.data) : 1;
}

HRESULT rscl_register_foreign(lua_State *L, rscl_state *state, IPmCustomActions2 *actions, int proxy, rscl_text name,
                              rscl_text args, int handler) {
  subscription_object *object = push_object(L, proxy);
  return start_foreign(L, state, object, actions, proxy, name, args, handler);
}

/* ---- Iterating ---- */

static int next_response(lua_State *L);

static int next_arrived(lua_State *L, int status, lua_KContext context) {
  (void)status;
  (void)context;
  (void)rscl_resumed(L, rscl_check_state(L));
  return next_response(L);
}

/* The iterator: upvalues are the box, the subscription and the action's name. */
static int next_response(lua_State *L) {
  rscl_state *state = rscl_check_state(L);
  int object = lua_upvalueindex(2);
  rscl_subscription *sub = ((subscription_object *)lua_touserdata(L, object))->subscription;
  if (sub)
    sub->waiter = 0;
  while (sub && sub->delivering) {
    if (sub->taken == RSCI_TAKEN_NOTHING)
      sub->taken = rsci_stream_take(sub->stream, &sub->response, &sub->status);
    if (sub->taken == RSCI_TAKEN_NOTHING) {
      rscl_mode mode = rscl_wait_mode(L, state);
      if (mode == RSCL_CLOSING)
        return 0;
      if (mode == RSCL_YIELD) {
        sub->waiter = rscl_fiber_ticket(state->current);
        sub->waiter_hangs = state->current->hangs_on != NULL;
        state->current->wait = RSCL_WAIT_STREAM;
        return lua_yieldk(L, 0, 0, next_arrived);
      }
      (void)rscl_block(L, state, UINT64_MAX);
      continue;
    }
    const char *bytes = sub->response ? sub->response->bytes : "";
    size_t size = sub->response ? sub->response->size : 0;
    bool failed = FAILED(sub->status), final = sub->taken == RSCI_TAKEN_FINAL;
    if (failed)
      rscl_push_error(L, sub->status, bytes, size, lua_tostring(L, lua_upvalueindex(3)));
    else
      lua_pushlstring(L, bytes, size);
    free(sub->response);
    sub->response = NULL;
    sub->taken = RSCI_TAKEN_NOTHING;
    if (final)
      end_delivery(sub, L);
    if (failed)
      return lua_error(L);
    return final ? 0 : 1;
  }
  return 0;
}

/* What a generic for needs: the iterator, nil, nil, and the subscription, on top, to be closed when the loop is left.
 */
static int push_iterator(lua_State *L, HRESULT status, rscl_text name) {
  if (FAILED(status)) {
    (void)rscl_refused(L, status, name.data);
    return lua_error(L);
  }
  int subscription = lua_gettop(L);
  lua_pushvalue(L, RSCL_BOX);
  lua_pushvalue(L, subscription);
  lua_pushlstring(L, name.data, name.size);
  lua_pushcclosure(L, next_response, 3);
  lua_pushnil(L);
  lua_pushnil(L);
  lua_pushvalue(L, subscription);
  return 4;
}

int rscl_responses(lua_State *L, rscl_state *state, rsca_manager *manager, int proxy, rscl_text name, rscl_text args) {
  subscription_object *object = push_object(L, proxy);
  HRESULT status = start_for(L, state, object, manager, NULL, proxy, name, args, 0);
  return push_iterator(L, status, name);
}

int rscl_responses_foreign(lua_State *L, rscl_state *state, IPmCustomActions2 *actions, int proxy, rscl_text name,
                           rscl_text args) {
  subscription_object *object = push_object(L, proxy);
  HRESULT status = start_foreign(L, state, object, actions, proxy, name, args, 0);
  return push_iterator(L, status, name);
}
