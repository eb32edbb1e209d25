#include "stop.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include <lauxlib.h>
#include <rsca/lua.h>

#include "core/stop_signal.h"
#include "inspect.h"
#include "state.h"
#include "worker.h"

#ifndef RSCA_STOP_POLLING
#define RSCA_STOP_POLLING 0
#endif

enum { POLLED_INSTRUCTIONS = 1000 };

static const char stop_error;                          /* its address is what the hook raises */
static _Thread_local rscl_state *state_of_this_thread; /* what runs here; innermost */

static bool is_due(rscl_state *state, const rsca_call *call) {
  if (atomic_load_explicit(&state->stop.interrupted, memory_order_relaxed) || (call && atomic_load(&call->stop)))
    return true;
  return state->stop.polled_due_ns && rsci_now_ns() >= state->stop.polled_due_ns;
}

/* Whether the hook stays, to look again. */
static bool is_polled(const rscl_state *state) {
  return RSCA_STOP_POLLING || state->stop.polled_due_ns;
}

bool rscl_stop_is_due(const rscl_state *state) {
  return is_due((rscl_state *)(uintptr_t)state, atomic_load(&state->engine.running));
}

bool rscl_stop_is_error(lua_State *L, int index) {
  return lua_touserdata(L, index) == &stop_error;
}

static void hook(lua_State *L, lua_Debug *unused);

static void set_hook(lua_State *co, int instructions) {
  lua_sethook(co, hook, LUA_MASKCOUNT, instructions);
}

static void clear_hook(lua_State *co) {
  if (lua_gethook(co) == hook)
    lua_sethook(co, NULL, 0, 0);
}

/* All that runs or waits for it. Async-signal-safe. */
static void arm(rscl_state *state, int instructions) {
  for (rscl_running *running = state->stop.running; running; running = running->outer)
    set_hook(running->co, instructions);
}

static const char *reason(const rscl_state *state, const rsca_call *call) {
  const char *why = call ? atomic_load(&call->cancelled) : NULL;
  if (why)
    return why;
  return atomic_load(&state->stop.interrupted) ? "interrupted" : rsci_timed_out;
}

/* Pushes why `co` is stopped and where it is, from the innermost coroutine outwards. [-0, +1, m] */
static void push_where(lua_State *L, lua_State *co, rscl_state *state, const rsca_call *call) {
  luaL_checkstack(L, 8, NULL);
  lua_Debug ar;
  lua_pushstring(L, reason(state, call));
  if (!lua_getstack(co, co == L, &ar)) /* it has come to its end meanwhile */
    return;
  lua_pushliteral(L, "\n");
  luaL_traceback(L, co, NULL, co == L); /* without the function that asks */
  lua_concat(L, 3);
  for (rscl_running *running = state->stop.running; running; running = running->outer) {
    if (running->co == co)
      continue;
    lua_pushliteral(L, "\n(resumed by)\n");
    luaL_traceback(L, running->co, NULL, 0);
    lua_concat(L, 3);
  }
}

/* Each has its time; where the whole worker goes, there is that once for all of them. */
static uint64_t clean_up_end(rscl_state *state) {
  uint64_t end_ns = rsci_now_ns() + state->own->config.clean_up_ms * RSCI_NS_PER_MS;
  if (state->worker && !state->stop.last_ns && (state->closing || atomic_load(&state->own->calls.cut)))
    state->stop.last_ns = end_ns;
  return state->stop.last_ns && state->stop.last_ns < end_ns ? state->stop.last_ns : end_ns;
}

const char *rscl_stop_where(const rscl_state *state) {
  return state->stop.where;
}

void rscl_stop_forget_where(rscl_state *state) {
  free(state->stop.where);
  state->stop.where = NULL;
}

static int where_main(lua_State *L) {
  rscl_state *state = lua_touserdata(L, 1);
  rsca_call *call = atomic_load(&state->engine.running);
  push_where(L, lua_touserdata(L, 2), state, call);
  const char *text = lua_tostring(L, -1);
  if (call) {
    rsci_call_note_where(call, text);
    return 0;
  }
  rscl_stop_forget_where(state);
  size_t size = strlen(text) + 1;
  state->stop.where = malloc(size);
  if (state->stop.where)
    memcpy(state->stop.where, text, size);
  return 0;
}

/* Tells where `co` was: the first time only, afterwards the frames are gone. An error must not come out of a hook, so
 * where there is no memory nobody will know. */
static void note_where(lua_State *L, lua_State *co, rscl_state *state) {
  rsca_call *call = atomic_load(&state->engine.running);
  if (call)
    atomic_store(&call->ends, true); /* first of all: this takes its time where the stack is deep */
  else
    rscl_stop_forget_where(state);
  if ((call && atomic_load(&call->where)) || !lua_checkstack(L, 4))
    return;
  size_t before = rscl_worker_set_reserve(state, RSCL_MEMORY_RESERVE);
  lua_pushcfunction(L, where_main);
  lua_pushlightuserdata(L, state);
  lua_pushlightuserdata(L, co);
  if (lua_pcall(L, 2, 0, 0) != LUA_OK)
    lua_pop(L, 1);
  (void)rscl_worker_set_reserve(state, before);
}

/* Stops what runs on L. A coroutine that can yield does, from the hook even, and is not resumed any more: nothing
 * catches that. Another is made to raise; what catches that, or is a clean-up itself, has its time. Returns where that
 * is not over, and in a hook that yields. */
static void stop_here(lua_State *L, rscl_state *state) {
  rscl_stop *stop = &state->stop;
  bool first = !stop->raised;
  if (first) {
    stop->raised = true;
    stop->clean_up_ns = clean_up_end(state);
    note_where(L, L, state);
  }
  if (!stop->closing && lua_isyieldable(L)) {
    stop->yielded = L;
    (void)lua_yield(L, 0);
    return;
  }
  bool patient = first ? stop->closing : rsci_now_ns() < stop->clean_up_ns;
  arm(state, patient || first ? POLLED_INSTRUCTIONS : 1);
  if (patient)
    return;
  set_hook(L, first ? POLLED_INSTRUCTIONS : 1);
  lua_pushlightuserdata(L, (void *)(uintptr_t)&stop_error);
  (void)lua_error(L);
}

static void hook(lua_State *L, lua_Debug *unused) {
  (void)unused;
  rscl_state *state = state_of_this_thread;
  if (state)
    rscl_inspect_running(L, state);
  if (state && is_due(state, atomic_load(&state->engine.running))) {
    stop_here(L, state);
  } else if (!state || !is_polled(state)) {
    clear_hook(L); /* it was for somebody else */
    if (state && is_due(state, atomic_load(&state->engine.running)))
      set_hook(L, 1); /* the signal came just before that */
  }
}

/* ---- The signal ---- */

static bool take_signal(rscl_state *state) {
  if (atomic_load(&state->stop.signals) == 0)
    return false;
  (void)atomic_fetch_sub(&state->stop.signals, 1);
  return true;
}

/* In the handler, on the thread of the state that runs, and of those that it runs inside of: a signal does not say for
 * which of them it is, nor does it matter, as long as each counts once. */
static void signalled(void *user) {
  bool taken = false;
  for (rscl_state *state = user; state; state = state->stop.outer) {
    taken = taken || take_signal(state);
    if (is_due(state, atomic_load(&state->engine.running)) || atomic_load(&state->stop.inspected))
      arm(state, 1);
  }
}

void rscl_stop_interrupt(rscl_state *state, const rsca_call *call) {
  rscl_stop *stop = &state->stop;
  if (RSCA_STOP_POLLING)
    return;
  /* The thread does not leave what it runs while a signal is on its way: none ever hits the host's own code. */
  (void)atomic_fetch_add(&stop->senders, 1);
  if (call && atomic_load(&state->engine.running) == call) {
    (void)atomic_fetch_add(&stop->signals, 1);
    if (!rsci_stop_send(stop->thread))
      (void)atomic_fetch_sub(&stop->signals, 1);
  }
  (void)atomic_fetch_sub(&stop->senders, 1);
}

void rsca_lua_interrupt(void) {
  rscl_state *state = state_of_this_thread;
  if (!state || !state->stop.running)
    return;
  atomic_store_explicit(&state->stop.interrupted, true, memory_order_relaxed);
  arm(state, 1);
}

/* ---- What runs ---- */

static uintptr_t stack_here(void) {
  return (uintptr_t)__builtin_frame_address(0);
}

size_t rscl_stop_stack_used(const rscl_state *state) {
  uintptr_t here = stack_here(), outermost = state->stop.running ? state->stop.stack : here;
  return here < outermost ? outermost - here : here - outermost;
}

/* Whether it is one of a manager that a worker's script has made: then the worker's own limit holds as well. */
static bool is_elsewhere(const rscl_state *state, const rsca_call *call) {
  return state->worker && call && rsci_manager_of_call(call) != state->own;
}

static void listen(rscl_state *state) {
  state_of_this_thread = state;
  if (!RSCA_STOP_POLLING)
    (void)rsci_stop_set_target((rsci_stop_target){state ? signalled : NULL, state});
}

rscl_state *rscl_stop_take_thread(rscl_state *state) {
  rscl_state *outer = state_of_this_thread;
  if (!state->stop.running)
    state->stop.outer = outer;
  state->stop.thread = rsci_thread_self();
  listen(state);
  return outer;
}

void rscl_stop_give_thread(rscl_state *outer) {
  listen(outer);
}

/* Who sends a signal looks there: nothing is to be said where that changes nothing, as for a handler. */
static void set_running(rscl_state *state, rsca_call *call) {
  if (atomic_load_explicit(&state->engine.running, memory_order_relaxed) == call)
    return;
  if (state->worker)
    atomic_store_explicit(&state->engine.elsewhere, is_elsewhere(state, call), memory_order_relaxed);
  atomic_store(&state->engine.running, call);
}

void rscl_stop_enter(rscl_state *state, rscl_run *run, lua_State *co, rsca_call *call, bool closing) {
  rscl_stop *stop = &state->stop;
  run->running = (rscl_running){co, stop->running};
  run->outer_call = atomic_load_explicit(&state->engine.running, memory_order_relaxed);
  run->outer_raised = stop->raised;
  run->outer_polled_due_ns = stop->polled_due_ns;
  run->outer_closing = stop->closing;
  run->took_thread = !state->turn;
  if (run->took_thread)
    run->outer_state = rscl_stop_take_thread(state);
  stop->closing = closing;
  stop->polled_due_ns = 0;
  bool limited = state->worker && (!call || is_elsewhere(state, call));
  if (limited && state->own->limit_ns != UINT64_MAX)
    stop->polled_due_ns = closing ? clean_up_end(state) : rsci_now_ns() + state->own->limit_ns;
  /* What is closed because it was stopped has what is left of its time. */
  stop->raised = closing && is_due(state, call);
  if (stop->raised && stop->clean_up_ns < rsci_now_ns())
    stop->clean_up_ns = clean_up_end(state);
  if (!stop->running)
    stop->stack = stack_here();
  atomic_signal_fence(memory_order_seq_cst);
  stop->running = &run->running;
  set_running(state, call);
  bool due = is_due(state, call);
  if (!due && !is_polled(state)) {
    clear_hook(co);            /* it may have been made while another was stopped */
    due = is_due(state, call); /* the signal may have come just before that */
  }
  if (due && !closing)
    set_hook(co, 1);
  else if (due || is_polled(state))
    set_hook(co, POLLED_INSTRUCTIONS);
  if (stop->raised && call)
    note_where(state->turn, co, state); /* it waited */
}

void rscl_stop_mark(rscl_state *state, rscl_run *run) {
  const rscl_stop *stop = &state->stop;
  *run = (rscl_run){.running = {NULL, stop->running},
                    .outer_call = atomic_load(&state->engine.running),
                    .outer_polled_due_ns = stop->polled_due_ns,
                    .outer_closing = stop->closing,
                    .outer_raised = stop->raised};
}

bool rscl_stop_leave(rscl_state *state, rscl_run *run) {
  rscl_stop *stop = &state->stop;
  bool stopped = stop->raised || is_due(state, atomic_load_explicit(&state->engine.running, memory_order_relaxed));
  if (stopped && !stop->closing && stop->polled_due_ns && rsci_now_ns() >= stop->polled_due_ns)
    rscl_worker_overran(state);
  set_running(state, run->outer_call);
  while (atomic_load(&stop->senders) > 0 || atomic_load(&stop->signals) > 0) {
    rsci_stop_take_blocked();
    (void)sched_yield();
  }
  stop->running = run->running.outer;
  if (run->took_thread)
    rscl_stop_give_thread(run->outer_state);
  stop->raised = run->outer_raised;
  stop->closing = run->outer_closing;
  stop->yielded = NULL;
  stop->polled_due_ns = run->outer_polled_due_ns;
  if (!stop->running)
    atomic_store_explicit(&stop->interrupted, false, memory_order_relaxed);
  else if (is_due(state, run->outer_call))
    arm(state, 1); /* nobody sends a signal for what does not run just then */
  return stopped;
}

int rscl_stop_pcall(lua_State *L, rscl_state *state, rsca_call *call, int nargs, int nresults) {
  rscl_run run;
  rscl_stop_enter(state, &run, L, call, !call);
  int status = lua_pcall(L, nargs, nresults, 0);
  clear_hook(L); /* first: what is left to is armed again */
  (void)rscl_stop_leave(state, &run);
  rscl_stop_forget_where(state);
  return status;
}

void rscl_stop_nest(lua_State *L, rscl_state *state, rscl_running *running, lua_State *co) {
  if (rscl_stop_is_due(state))
    stop_here(L, state);
  if (is_polled(state) || rscl_stop_is_due(state))
    set_hook(co, POLLED_INSTRUCTIONS);
  else
    clear_hook(co);
  *running = (rscl_running){co, state->stop.running};
  if (!state->stop.running)
    state->stop.stack = stack_here();
  atomic_signal_fence(memory_order_seq_cst);
  state->stop.running = running;
  if (rscl_stop_is_due(state)) /* since it was asked */
    set_hook(co, 1);
}

bool rscl_stop_unnest(rscl_state *state, rscl_running *running) {
  rscl_stop *stop = &state->stop;
  stop->running = running->outer;
  bool stopped = stop->yielded == running->co;
  if (stopped)
    stop->yielded = NULL;
  return stopped;
}

void rscl_stop_pass_on(lua_State *L, rscl_state *state) {
  if (rscl_stop_is_due(state))
    stop_here(L, state);
}

bool rscl_stop_set_closing(rscl_state *state, bool closing) {
  bool before = state->stop.closing;
  state->stop.closing = closing;
  return before;
}
