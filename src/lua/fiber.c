#include "fiber.h"

#include <stdlib.h>
#include <string.h>

#include "action.h"
#include "adapter.h"
#include "error.h"
#include "handler.h"
#include "request.h"
#include "hanging.h"
#include "memory.h"
#include "subscription.h"

#if LUA_VERSION_RELEASE_NUM >= 50406
#define reset_coroutine(co, from) lua_closethread(co, from)
#else
#define reset_coroutine(co, from) lua_resetthread(co)
#endif

static const rsci_task_ops fiber_ops;

/* ---- Life ---- */

static void enlist(rscl_fiber *fiber) {
  rscl_state *state = fiber->state;
  fiber->previous = NULL;
  fiber->next = state->fibers;
  if (state->fibers)
    state->fibers->previous = fiber;
  state->fibers = fiber;
  state->fiber_count++;
}

static void delist(rscl_fiber *fiber) {
  rscl_state *state = fiber->state;
  if (fiber->previous)
    fiber->previous->next = fiber->next;
  else
    state->fibers = fiber->next;
  if (fiber->next)
    fiber->next->previous = fiber->previous;
  state->fiber_count--;
}

/* A fiber for `co`, not in a slot yet; NULL: out of memory. */
static rscl_fiber *try_make(lua_State *co, rscl_state *state, rscl_fiber_kind kind, rsca_call *call) {
  rscl_fiber *fiber = state->free_fibers;
  if (fiber)
    state->free_fibers = fiber->next;
  else if (!(fiber = malloc(sizeof *fiber)))
    return NULL;
  *fiber = (rscl_fiber){.state = state, .co = co, .kind = kind, .call = call, .forks = rsci_forks()};
  fiber->task.ops = &fiber_ops;
  fiber->task.engine = &state->engine;
  fiber->alarm.task = &fiber->task;
  enlist(fiber);
  return fiber;
}

/* Raises only for lack of memory. */
static rscl_fiber *make(lua_State *L, lua_State *co, rscl_state *state, rscl_fiber_kind kind, rsca_call *call) {
  rscl_fiber *fiber = try_make(co, state, kind, call);
  if (!fiber)
    (void)rscl_memory_raise(L);
  return fiber;
}

/* Whether its coroutine may run something else: nobody else can have it, and no task of it is on the way. Its stack is
 * empty, as what its function returned was all that was there. */
static bool is_spare(const rscl_fiber *fiber, bool queued) {
  const rscl_state *state = fiber->state;
  return fiber->returned && !fiber->exposed && !fiber->hangs_on && !queued && state->guarded &&
         state->spare_count < RSCL_MOST_SPARES;
}

/* Keeps it, in its slot, under another ticket. */
static void save(rscl_fiber *fiber) {
  rscl_state *state = fiber->state;
  state->slots.entries[fiber->slot].generation++;
  fiber->next = state->spares;
  state->spares = fiber;
  state->spare_count++;
}

/* One that was saved. What it may have been left with by the function that returned is as in a new one again. */
static rscl_fiber *take_spare(rscl_state *state, rscl_fiber_kind kind, rsca_call *call) {
  rscl_fiber *fiber = state->spares;
  state->spares = fiber->next;
  state->spare_count--;
  fiber->kind = kind;
  fiber->call = call;
  fiber->returned = fiber->hosted = fiber->forked = false;
  fiber->forks = rsci_forks();
  enlist(fiber);
  return fiber;
}

rscl_fiber *rscl_fiber_create(lua_State *L, int slots, rscl_state *state, rscl_fiber_kind kind, rsca_call *call) {
  if (state->spares)
    return take_spare(state, kind, call);
  lua_State *co = lua_newthread(L);
  rscl_slots_reserve(L, slots, &state->slots); /* after what may run finalizers: they take slots too */
  rscl_fiber *fiber = make(L, co, state, kind, call);
  fiber->slot = rscl_slots_put(L, slots, &state->slots, fiber);
  return fiber;
}

rscl_fiber *rscl_fiber_create_hanging(lua_State *L, int proxy, rscl_state *state, rsca_call *call) {
  proxy = lua_absindex(L, proxy);
  lua_State *co = lua_newthread(L);
  rscl_slot slot = rscl_hang(L, state, RSCL_TURN_HANGING, proxy, NULL);
  const rsca_manager *manager = rsci_manager_of_call(call);
  rscl_fiber *fiber = try_make(co, state, RSCL_ACTION, call);
  if (!fiber) {
    rscl_unhang(L, state, manager, slot);
    (void)rscl_memory_raise(L);
  }
  fiber->slot = slot;
  fiber->hangs_on = manager;
  state->hanging.entries[slot].owner = fiber;
  return fiber;
}

uint64_t rscl_fiber_ticket(const rscl_fiber *fiber) {
  const rscl_state *state = fiber->state;
  return rscl_slots_ticket(fiber->hangs_on ? &state->hanging : &state->slots, fiber->slot);
}

static void recycle(rscl_fiber *fiber) {
  fiber->next = fiber->state->free_fibers;
  fiber->state->free_fibers = fiber;
}

static bool is_queued(const rscl_fiber *fiber) {
  return fiber->queued || (fiber->has_alarm && fiber->alarm.timer.place == 0);
}

/* Its coroutine is done. In a turn, or after its error. */
static void retire(rscl_fiber *fiber, lua_State *L, int slots_table) {
  rscl_state *state = fiber->state;
  bool queued = is_queued(fiber);
  bool spare = is_spare(fiber, queued);
  if (fiber->hangs_on)
    rscl_unhang(L, state, fiber->hangs_on, fiber->slot);
  else if (!spare)
    rscl_slots_clear(L, slots_table, &state->slots, fiber->slot);
  delist(fiber);
  rscl_fiber_unwait(fiber);
  rscl_waiters_wake(&fiber->room);
  if (fiber->request) {
    rscl_request_release(fiber->request);
    fiber->request = NULL;
  }
  if (!queued && fiber->has_alarm) {
    rsci_runner_clear_alarm(state->engine.runner, &fiber->alarm);
    fiber->has_alarm = false;
  }
  if (spare) {
    save(fiber);
    return;
  }
  fiber->co = NULL;
  /* A task that has been posted can't be taken back: it finds the fiber ended, and recycles it. */
  if (!queued)
    recycle(fiber);
}

static void free_list(rscl_fiber *fiber) {
  while (fiber) {
    rscl_fiber *next = fiber->next;
    free(fiber);
    fiber = next;
  }
}

void rscl_fibers_fini(rscl_state *state) {
  free_list(state->free_fibers);
  free_list(state->spares);
}

/* ---- Outcomes ---- */

/* Takes the call from the fiber: that is none of the call's any more. */
static rsca_call *take_call(rscl_fiber *fiber) {
  rsca_call *call = fiber->call;
  fiber->call = NULL;
  if (call && fiber->kind == RSCL_ACTION)
    call->fiber = NULL;
  return call;
}

/* Memory ran out while the turn looked at the fiber's outcome: the fiber ends all the same. */
static void undo_outcome(rscl_state *state, void *subject, lua_State *L, int status) {
  (void)state;
  (void)status;
  rscl_fiber *fiber = subject;
  rsca_call *call = take_call(fiber);
  rscl_fiber_kind kind = fiber->kind;
  rscl_subscription *subscription = fiber->subscription;
  fiber->subscription = NULL;
  (void)rscl_push_box(L);
  lua_getiuservalue(L, -1, RSCL_UV_SLOTS);
  if (fiber->co)
    retire(fiber, L, lua_gettop(L));
  lua_pop(L, 2);
  if (subscription)
    rscl_subscription_broken_off(subscription);
  if (!call)
    return;
  if (kind == RSCL_HANDLER) {
    rscl_handler_done(call, E_FAIL);
    return;
  }
  size_t size = 0;
  const char *message = lua_type(L, -1) == LUA_TSTRING ? lua_tolstring(L, -1, &size) : NULL;
  rsci_call_finish(call, E_OUTOFMEMORY, message, size);
}

/* Whether the coroutine is suspended, new or dead: else somebody else has resumed it, and it is on the C stack. */
static bool is_at_rest(lua_State *co) {
  lua_Debug frame;
  return lua_status(co) != LUA_OK || lua_getstack(co, 0, &frame) == 0;
}

static rsca_call *action_call(const rscl_fiber *fiber) {
  return fiber->kind == RSCL_ACTION ? fiber->call : NULL;
}

/* Runs the pending <close> variables. What they raise goes to on_error: the outcome stands already. */
static void close_coroutine(rscl_fiber *fiber) {
  rscl_state *state = fiber->state;
  rscl_fiber *current = state->current;
  lua_State *L = state->turn;
  if (!is_at_rest(fiber->co)) /* it closes the state itself, with os.exit; or is in somebody else's hands */
    return;
  bool failed = lua_status(fiber->co) > LUA_YIELD;
  rscl_run run;
  state->current = fiber;
  fiber->closing = true;
  rscl_stop_enter(state, &run, fiber->co, action_call(fiber), true);
  int status = reset_coroutine(fiber->co, L);
  (void)rscl_stop_leave(state, &run);
  state->current = current;
  if (status == LUA_OK || failed) /* one that has failed answers with its failure again */
    return;
  luaL_checkstack(L, 1, NULL);
  lua_xmove(fiber->co, L, 1);
  if (rscl_stop_is_error(L, -1)) {
    lua_pop(L, 1);
    return;
  }
  HRESULT code = rscl_raised_text(L, state, action_call(fiber), fiber->co, status);
  rscl_report(L, state, code, fiber->call ? fiber->call->action->name : NULL);
}

static void spawned_raised(rscl_fiber *fiber, int status) {
  rscl_state *state = fiber->state;
  lua_State *L = state->turn;
  lua_xmove(fiber->co, L, 1);
  HRESULT code = rscl_raised_text(L, state, NULL, fiber->co, status);
  close_coroutine(fiber);
  rscl_report(L, state, code, NULL);
}

/* Ends the fiber and gives its call away: from here on neither is touched. */
static rsca_call *let_go(rscl_fiber *fiber) {
  rsca_call *call = take_call(fiber);
  retire(fiber, fiber->state->turn, RSCL_TURN_SLOTS);
  rscl_guard_clear(fiber->state);
  return call;
}

static void handler_done(rscl_fiber *fiber, HRESULT answer) {
  rscl_subscription *subscription = fiber->subscription;
  fiber->subscription = NULL;
  rsca_call *call = let_go(fiber);
  if (subscription)
    rscl_subscription_handled(subscription, answer);
  rscl_handler_done(call, answer);
}

static bool tells_of_timeout(const char *where) {
  return where && strncmp(where, rsci_timed_out, strlen(rsci_timed_out)) == 0;
}

static void finish_stopped(rscl_fiber *fiber) {
  rsca_call *call = let_go(fiber);
  const char *where = atomic_load(&call->where), *why = atomic_load(&call->cancelled);
  const char *message = where ? where : why ? why : "stopped";
  /* By the time limit of its worker, where its manager has none. */
  HRESULT status = !why && tells_of_timeout(where) ? RSCA_E_TIMEOUT : rsci_call_stop_status(call);
  rsci_call_finish(call, status, message, strlen(message));
}

/* Its outcome, if that was not stopped while it was made: a __tostring may have been part of that. */
static void finish(rscl_fiber *fiber, HRESULT status, const void *bytes, size_t size) {
  if (atomic_load(&fiber->call->stop))
    finish_stopped(fiber);
  else
    rsci_call_finish(let_go(fiber), status, bytes, size);
}

static void returned(rscl_fiber *fiber, int nresults) {
  rscl_state *state = fiber->state;
  lua_State *L = state->turn, *co = fiber->co;
  if (nresults > RSCL_MOST_RESULTS) {
    lua_pop(co, nresults - RSCL_MOST_RESULTS);
    nresults = RSCL_MOST_RESULTS;
  }
  int first = lua_gettop(L) + 1;
  if (nresults > 0)
    lua_xmove(co, L, nresults); /* a turn's stack has room */
  if (fiber->kind == RSCL_ACTION) {
    rscl_outcome outcome = {S_OK, NULL, 0, 0};
    rscl_action_returned(L, state, fiber->call, first, nresults, &outcome);
    if (outcome.index) {
      rscl_slots_reserve(L, RSCL_TURN_SLOTS, &state->slots); /* for a handler of this state, which takes it as it is */
      state->answer = (rscl_answer){outcome.bytes, outcome.index};
    }
    finish(fiber, outcome.status, outcome.bytes, outcome.size);
    state->answer.bytes = NULL;
  } else if (fiber->kind == RSCL_HANDLER) {
    HRESULT answer = nresults > 0 ? rscl_handler_returned(L, first) : S_OK;
    handler_done(fiber, answer);
  } else {
    (void)let_go(fiber);
  }
}

static void raised(rscl_fiber *fiber, int status) {
  rscl_state *state = fiber->state;
  lua_State *L = state->turn;
  luaL_checkstack(L, 8, NULL);
  if (fiber->kind == RSCL_SPAWNED) {
    spawned_raised(fiber, status);
    (void)let_go(fiber);
    return;
  }
  lua_xmove(fiber->co, L, 1);
  HRESULT code = rscl_raised_text(L, state, action_call(fiber), fiber->co, status);
  close_coroutine(fiber);
  if (fiber->kind == RSCL_ACTION) {
    size_t size;
    const char *text = lua_tolstring(L, -1, &size);
    finish(fiber, code, text, size);
  } else {
    rscl_report(L, state, code, fiber->call ? fiber->call->action->name : NULL);
    handler_done(fiber, E_FAIL);
  }
}

/* It was made to raise, whatever came of that. */
static void stopped(rscl_fiber *fiber) {
  rscl_state *state = fiber->state;
  close_coroutine(fiber);
  if (fiber->kind == RSCL_ACTION) {
    finish_stopped(fiber);
    return;
  }
  const char *where = rscl_stop_where(state);
  if (tells_of_timeout(where)) {
    lua_pushstring(state->turn, where);
    rscl_report(state->turn, state, RSCA_E_TIMEOUT, NULL);
  }
  rscl_stop_forget_where(state);
  if (fiber->kind == RSCL_HANDLER)
    handler_done(fiber, E_FAIL);
  else
    (void)let_go(fiber);
}

/* ---- Running ---- */

static void post(rscl_fiber *fiber) {
  fiber->queued = true;
  rsci_runner_post_here(fiber->state->engine.runner, &fiber->task);
}

static void resume(rscl_fiber *fiber, int nargs) {
  rscl_state *state = fiber->state;
  fiber->wait = RSCL_NO_WAIT;
  if (fiber->has_alarm) { /* of a wait that ended otherwise */
    rsci_runner_clear_alarm(state->engine.runner, &fiber->alarm);
    fiber->has_alarm = false;
  }
  rscl_fiber *outer = state->current;
  int nresults = 0;
  rsca_call *call = action_call(fiber);
  bool limited = call && call->stretch_ns;
  if (limited)
    atomic_store(&call->due_ns, rsci_now_ns() + call->stretch_ns);
  rscl_run run;
  state->current = fiber;
  rscl_stop_enter(state, &run, fiber->co, call, false);
  int status = lua_resume(fiber->co, state->turn, nargs, &nresults);
  bool was_stopped = rscl_stop_leave(state, &run);
  state->current = outer;
  if (was_stopped) {
    rscl_guard_set(state, undo_outcome, fiber);
    stopped(fiber);
    return;
  }
  if (status == LUA_YIELD) {
    if (limited)
      atomic_store(&call->due_ns, UINT64_MAX);
    state->suspended = true;
    if (fiber->wait == RSCL_NO_WAIT) {
      /* A yield of the script's own: it gives way until the next step, and nobody takes what it passed. */
      lua_pop(fiber->co, nresults);
      post(fiber);
    }
    return;
  }
  rscl_guard_set(state, undo_outcome, fiber);
  fiber->returned = status == LUA_OK;
  if (status == LUA_OK)
    returned(fiber, nresults);
  else
    raised(fiber, status);
}

void rscl_fiber_run(rscl_fiber *fiber, int nargs) {
  lua_State *L = fiber->state->turn;
  rscl_guard_clear(fiber->state);
  lua_xmove(L, fiber->co, nargs + 1);
  resume(fiber, nargs);
}

bool rscl_fiber_post(rscl_fiber *fiber, lua_State *L, int slots, int nargs) {
  if (!lua_checkstack(fiber->co, nargs + 1)) {
    retire(fiber, L, slots);
    return false;
  }
  lua_xmove(L, fiber->co, nargs + 1);
  fiber->nargs = nargs;
  post(fiber);
  return true;
}

static rscl_fiber *fiber_of_task(rsci_task *task) {
  return (rscl_fiber *)((char *)task - offsetof(rscl_fiber, task));
}

static void fiber_task_run(rsci_task *task) {
  rscl_fiber *fiber = fiber_of_task(task);
  if (!fiber->co) {
    recycle(fiber);
    return;
  }
  int nargs = fiber->nargs;
  rsca_call *call = action_call(fiber);
  fiber->nargs = 0;
  fiber->queued = false;
  fiber->has_alarm = false;
  if (fiber->close_why)
    rscl_fiber_close(fiber, fiber->close_status, fiber->close_why);
  else if (fiber->given_up)
    rscl_fiber_close(fiber, RSCA_E_CANCELLED, "nobody waits for it any more");
  else if (call && rsci_call_why_stop(call)) /* its cancel is on the way, from another thread */
    rscl_action_cancel(task->engine, call);
  else if (is_at_rest(fiber->co))
    resume(fiber, nargs);
  else
    post(fiber); /* until they are done with it */
}

static void fiber_task_drop(rsci_task *task) {
  recycle(fiber_of_task(task)); /* the state has closed, and its fibers before it */
}

static const rsci_task_ops fiber_ops = {fiber_task_run, fiber_task_drop};

void rscl_fiber_wake(rscl_fiber *fiber) {
  if (is_queued(fiber))
    return;
  rsci_runner_clear_alarm(fiber->state->engine.runner, &fiber->alarm);
  fiber->has_alarm = false;
  post(fiber);
}

void rscl_fiber_unwait(rscl_fiber *fiber) {
  if (!fiber->waiter_link)
    return;
  *fiber->waiter_link = fiber->next_waiter;
  if (fiber->next_waiter)
    fiber->next_waiter->waiter_link = fiber->waiter_link;
  fiber->waiter_link = NULL;
}

void rscl_fiber_wait_on(rscl_fiber *fiber, rscl_waiters *waiters, rscl_wait wait) {
  rscl_fiber_unwait(fiber); /* where somebody else took an earlier wait */
  fiber->next_waiter = waiters->first;
  if (fiber->next_waiter)
    fiber->next_waiter->waiter_link = &fiber->next_waiter;
  fiber->waiter_link = &waiters->first;
  waiters->first = fiber;
  fiber->wait = wait;
}

void rscl_waiters_wake(rscl_waiters *waiters) {
  while (waiters->first) {
    rscl_fiber *fiber = waiters->first;
    rscl_fiber_unwait(fiber);
    rscl_fiber_wake(fiber);
  }
}

void rscl_fiber_give_up(rscl_fiber *fiber) {
  fiber->given_up = true;
  rscl_fiber_wake(fiber);
}

void rscl_fiber_abandon(rscl_fiber *fiber, HRESULT status, const char *why) {
  rscl_state *state = fiber->state;
  lua_State *L = state->service;
  rscl_fiber_kind kind = fiber->kind;
  rsca_call *call = take_call(fiber);
  rscl_subscription *subscription = fiber->subscription;
  fiber->subscription = NULL;
  (void)rscl_push_box(L);
  lua_getiuservalue(L, -1, RSCL_UV_SLOTS);
  retire(fiber, L, lua_gettop(L));
  lua_pop(L, 2);
  if (subscription)
    rscl_subscription_handled(subscription, S_OK);
  if (kind == RSCL_ACTION)
    rsci_call_finish(call, status, why, strlen(why));
  else
    rscl_handler_done(call, S_OK);
}

typedef struct closing {
  rscl_fiber *fiber;
  HRESULT status;
  const char *why;
  bool begun;
} closing;

static void close_work(rscl_state *state, void *data) {
  closing *what = data;
  rscl_fiber *fiber = what->fiber;
  what->begun = true;
  rscl_guard_set(state, undo_outcome, fiber);
  close_coroutine(fiber);
  if (fiber->kind == RSCL_ACTION)
    finish(fiber, what->status, what->why, strlen(what->why));
  else
    handler_done(fiber, S_OK);
}

void rscl_fiber_close(rscl_fiber *fiber, HRESULT status, const char *why) {
  closing what = {fiber, status, why, false};
  rscl_state_protect(fiber->state, close_work, &what);
  if (what.begun)
    return;
  fiber->close_status = status;
  fiber->close_why = why;
  rscl_fiber_wake(fiber);
}

/* ---- Waiting ---- */

rscl_mode rscl_wait_mode(lua_State *L, rscl_state *state) {
  rscl_fiber *fiber = state->current;
  if (fiber && (fiber->closing || rscl_stop_is_due(state)))
    return RSCL_CLOSING;
  if (fiber && fiber->co == L && fiber->forked)
    return RSCL_CLOSING;
  if (fiber && fiber->co == L && lua_isyieldable(L))
    return RSCL_YIELD;
  bool outside = !state->turn && !rsci_runner_is_stepping(state->engine.runner);
  if (outside && state->worker)
    return (rscl_mode)luaL_error(L, "can't wait here: the script of a pool is being loaded, or closed");
  if (outside)
    return state->adapted ? rscl_adapter_mode(L) : RSCL_BLOCK;
  return (rscl_mode)luaL_error(L, fiber && fiber->co != L
                                      ? "can't wait here: this coroutine is not one that rsca resumes"
                                      : "can't wait here: inside a step, where this function can't yield");
}

int rscl_push_closing(lua_State *L) {
  rscl_state *state = rscl_check_state(L);
  rscl_fiber *fiber = state->current;
  if (fiber && (fiber->closing || rscl_stop_is_due(state)))
    return rscl_fail(L, RSCA_E_CANCELLED, "can't wait any more: the action is being closed", NULL);
  if (fiber)
    fiber->forked = false;
  return rscl_fail(L, RSCA_E_CANCELLED, rsci_forked, NULL);
}

rscl_fiber *rscl_resumed(lua_State *L, rscl_state *state) {
  rscl_fiber *fiber = state->current;
  if (!fiber || fiber->co != L)
    luaL_error(L, "this coroutine was waiting for rsca, but somebody else resumed it");
  return fiber;
}

uint64_t rscl_check_ns(lua_State *L, int arg) {
  lua_Number seconds = luaL_checknumber(L, arg);
  luaL_argcheck(L, seconds >= 0, arg, "seconds expected, a number not below 0"); /* NaN fails as well */
  if (seconds >= 1e9)
    return UINT64_MAX;
  lua_Number ns = seconds * 1e9;
  uint64_t whole_ns = (uint64_t)ns;
  return whole_ns + ((lua_Number)whole_ns < ns); /* rounded up: never early */
}

static int slept(lua_State *L, int status, lua_KContext context) {
  (void)status;
  (void)context;
  if (rscl_resumed(L, rscl_check_state(L))->forked)
    return rscl_push_closing(L);
  lua_pushboolean(L, 1);
  return 1;
}

int rscl_sleep(lua_State *L, rscl_state *state, int seconds_arg) {
  uint64_t duration_ns = rscl_check_ns(L, seconds_arg);
  rscl_mode mode = rscl_wait_mode(L, state);
  if (mode == RSCL_CLOSING)
    return rscl_push_closing(L);
  if (mode == RSCL_ADAPT)
    return rscl_adapt(L, seconds_arg);
  uint64_t now_ns = rsci_now_ns();
  uint64_t due_ns = duration_ns > UINT64_MAX - now_ns ? UINT64_MAX : now_ns + duration_ns;
  if (mode == RSCL_YIELD) {
    rscl_fiber *fiber = state->current;
    rscl_fiber_unwait(fiber);
    if (!rsci_runner_set_alarm(state->engine.runner, &fiber->alarm, due_ns))
      return rscl_fail(L, E_OUTOFMEMORY, NULL, NULL);
    fiber->has_alarm = true;
    fiber->wait = RSCL_WAIT_TIME;
    return lua_yieldk(L, 0, 0, slept);
  }
  unsigned forks = rsci_forks();
  do
    (void)rscl_block(L, state, due_ns);
  while (rsci_now_ns() < due_ns && forks == rsci_forks());
  if (forks != rsci_forks()) /* an action has forked, and this is the child */
    return rscl_push_closing(L);
  lua_pushboolean(L, 1);
  return 1;
}

static int nothing(lua_State *L) {
  (void)L;
  return 0;
}

/* A step of ours that the host's loop knows nothing of: where it leaves alarms, the loop is told to look again. */
static size_t step(rscl_state *state) {
  rsci_runner *runner = state->engine.runner;
  size_t ran;
  (void)rsci_runner_step(runner, 0, &ran);
  if (state->adapted && rsci_runner_timeout_ns(runner) != UINT64_MAX)
    rsci_notifier_raise(&runner->notifier);
  return ran;
}

size_t rscl_block(lua_State *L, rscl_state *state, uint64_t due_ns) {
  size_t ran = step(state);
  uint64_t now_ns = rsci_now_ns();
  if (ran > 0 || due_ns <= now_ns)
    return ran;
  if (!rsci_runner_wait(state->engine.runner, due_ns == UINT64_MAX ? UINT64_MAX : due_ns - now_ns)) {
    /* A signal: where its handler has set a hook, as lua5.4 does for Ctrl-C, any call lets it speak. */
    lua_pushcfunction(L, nothing);
    lua_call(L, 0, 0);
  }
  return step(state);
}
