#include "call.h"

#include <stdlib.h>
#include <string.h>

/* ---- Buffers ---- */

/* What a buffer takes of the budget: the small ones are bounded by the number of calls. */
static size_t charge_of(size_t capacity) {
  return capacity > RSCI_KEPT_BYTES ? capacity : 0;
}

/* Large ones go back to the allocator: one giant response should not stay for good. */
static void buffer_empty(rsci_buffer *buffer, rsci_budget *budget) {
  buffer->size = 0;
  if (buffer->capacity > RSCI_KEPT_BYTES) {
    rsci_budget_discharge(budget, buffer->capacity);
    free(buffer->data);
    *buffer = (rsci_buffer){0};
  }
}

bool rsci_call_append(rsca_call *call, rsci_buffer *buffer, const void *bytes, size_t size) {
  if (size > SIZE_MAX - buffer->size)
    return false;
  rsci_budget *budget = call->calls->budget;
  size_t before = charge_of(buffer->capacity);
  size_t after = charge_of(rsci_buffer_capacity(buffer, buffer->size + size));
  if (after > before && !rsci_budget_charge(budget, after - before)) {
    atomic_store(&call->spoilt, rsci_over_budget);
    return false;
  }
  if (rsci_buffer_append(buffer, bytes, size))
    return true;
  rsci_budget_discharge(budget, after - before);
  return false;
}

bool rsci_call_charge(rsca_call *call, size_t size) {
  return rsci_budget_charge(call->calls->budget, charge_of(size));
}

void rsci_call_discharge(rsca_call *call, size_t size) {
  rsci_budget_discharge(call->calls->budget, charge_of(size));
}

rsci_buffer rsci_call_take_result(rsca_call *call) {
  rsci_buffer taken = call->result;
  rsci_call_discharge(call, taken.capacity);
  call->result = (rsci_buffer){0};
  return taken;
}

void rsci_call_note_where(rsca_call *call, const char *text) {
  if (atomic_load(&call->where))
    return;
  size_t size = strlen(text) + 1;
  char *where = rsci_budget_allocate(call->calls->budget, charge_of(size), size);
  if (where)
    atomic_store(&call->where, memcpy(where, text, size));
}

static void forget_where(rsca_call *call) {
  char *where = atomic_load_explicit(&call->where, memory_order_relaxed);
  if (!where)
    return;
  atomic_store_explicit(&call->where, NULL, memory_order_relaxed);
  rsci_call_discharge(call, strlen(where) + 1);
  free(where);
}

/* ---- The table ---- */

void rsci_calls_init(rsci_calls *calls, rsci_lock *lock, void (*quiet)(rsci_calls *calls),
                     void (*gone)(rsci_calls *calls)) {
  *calls = (rsci_calls){.lock = lock, .kept = 1, .quiet = quiet, .gone = gone};
  atomic_init(&calls->watched, false);
}

void rsci_calls_keep(rsci_calls *calls) {
  calls->kept++;
}

void rsci_calls_unkeep(rsci_calls *calls) {
  rsci_lock_take(calls->lock);
  bool gone = --calls->kept == 0;
  rsci_lock_leave(calls->lock);
  if (gone)
    calls->gone(calls);
}

void rsci_calls_fini(rsci_calls *calls) {
  while (calls->free) {
    rsca_call *call = calls->free;
    calls->free = call->pool_next;
    free(call->args.data);
    free(call->report.data);
    free(call->result.data);
    rsci_budget_discharge(calls->account, RSCI_CALL_BYTES);
    free(call);
  }
  free(calls->table);
  calls->table = NULL;
}

/* Kept at most half full, so that the next free id is near. */
static bool reserve_place(rsci_calls *calls) {
  size_t size = calls->table ? calls->mask + 1 : 0;
  if (2 * (calls->live + 1) <= size)
    return true;
  size_t grown_size = size ? 2 * size : 16;
  rsca_call **grown = calloc(grown_size, sizeof *grown);
  if (!grown)
    return false;
  for (size_t i = 0; i < size; i++)
    if (calls->table[i])
      grown[calls->table[i]->id & (grown_size - 1)] = calls->table[i];
  free(calls->table);
  calls->table = grown;
  calls->mask = grown_size - 1;
  return true;
}

static const rsci_task_ops start_ops, cancel_ops;

static rsca_call *make_call(rsci_calls *calls) {
  rsca_call *call = rsci_budget_allocate(calls->account, RSCI_CALL_BYTES, sizeof *call);
  if (!call)
    return NULL;
  memset(call, 0, sizeof *call);
  call->calls = calls;
  call->cancel_task.ops = &cancel_ops;
  call->room_task.ops = &rsci_room_ops;
  call->late_task.ops = &rsci_late_ops;
  return call;
}

static rsca_call *take_call(rsci_calls *calls) {
  rsca_call *call = calls->free;
  if (!call)
    return make_call(calls);
  calls->free = call->pool_next;
  return call;
}

static void give_back(rsci_calls *calls, rsca_call *call) {
  call->pool_next = calls->free;
  calls->free = call;
}

rsca_call *rsci_calls_accept(rsci_calls *calls, rsci_action *action, const char *args, size_t args_size, char *big_args,
                             const rsci_sink *sink, bool inner) {
  if (!reserve_place(calls))
    return NULL;
  rsca_call *call = take_call(calls);
  if (!call)
    return NULL;
  if (big_args) {
    if (!rsci_budget_charge(calls->account, args_size + 1)) {
      give_back(calls, call);
      return NULL;
    }
    free(call->args.data);
    call->args = (rsci_buffer){.data = big_args, .size = args_size, .capacity = args_size + 1};
  } else {
    if (!rsci_buffer_reserve(&call->args, args_size + 1)) {
      give_back(calls, call);
      return NULL;
    }
    memcpy(call->args.data, args, args_size);
    call->args.data[args_size] = '\0';
    call->args.size = args_size;
  }
  call->task.ops = &start_ops;
  call->action = action;
  atomic_store_explicit(&call->engine, action->engine, memory_order_relaxed);
  action->refs++;
  rsci_refs_init(&call->refs);
  call->forks = rsci_forks();
  atomic_store_explicit(&call->phase, RSCI_CALL_NEW, memory_order_relaxed);
  atomic_store_explicit(&call->telling, RSCI_TELLING_NOTHING, memory_order_relaxed);
  call->watch = RSCI_WATCH;
  atomic_store_explicit(&call->stop, false, memory_order_relaxed);
  atomic_store_explicit(&call->ends, false, memory_order_relaxed);
  call->pooled = call->late_posted = call->awaits_room = false;
  call->inner = inner;
  atomic_store_explicit(&call->cancelled, NULL, memory_order_relaxed);
  atomic_store_explicit(&call->spoilt, NULL, memory_order_relaxed);
  call->accepted_ns = rsci_coarse_ns();
  atomic_store_explicit(&call->due_ns, UINT64_MAX, memory_order_relaxed);
  call->stretch_ns = 0;
  call->sink = *sink;
  call->fiber = NULL;
  do
    calls->last_id++;
  while (calls->table[calls->last_id & calls->mask]);
  call->id = calls->last_id;
  calls->table[call->id & calls->mask] = call;
  calls->live++;
  calls->hanging += sink->hangs;
  calls->kept++;
  calls->bytes += args_size;
  if (inner) {
    calls->inner++;
    calls->inner_bytes += args_size;
  }
  calls->accepted++;
  return call;
}

rsca_call *rsci_calls_next(const rsci_calls *calls, size_t *place) {
  while (calls->table && *place <= calls->mask) {
    rsca_call *call = calls->table[(*place)++];
    if (call)
      return call;
  }
  return NULL;
}

rsca_call *rsci_calls_find(const rsci_calls *calls, uint64_t id) {
  rsca_call *call = calls->table ? calls->table[id & calls->mask] : NULL;
  return call && call->id == id && atomic_load(&call->phase) != RSCI_CALL_ENDED ? call : NULL;
}

/* Lock held. */
static void leave_table(rsca_call *call) {
  rsci_calls *calls = call->calls;
  calls->table[call->id & calls->mask] = NULL;
  calls->live--;
  calls->hanging -= call->sink.hangs;
  calls->bytes -= call->args.size;
  if (call->inner) {
    calls->inner--;
    calls->inner_bytes -= call->args.size;
  }
  calls->ended++;
}

/* Gives back one hold; the last one gives the call back to its table. */
void rsci_call_let_go(rsca_call *call) {
  if (rsci_refs_drop(&call->refs) > 0)
    return;
  rsci_calls *calls = call->calls;
  rsci_action *action = call->action;
  rsci_call_drop_late(call);
  buffer_empty(&call->args, calls->account);
  buffer_empty(&call->report, calls->budget);
  buffer_empty(&call->result, calls->budget);
  forget_where(call);
  rsci_lock_take(calls->lock);
  rsci_engine *engine = atomic_load_explicit(&call->engine, memory_order_relaxed);
  bool taken = engine != action->engine; /* by a worker, and its engine held */
  if (--action->refs == 0) {
    rsci_lock_leave(calls->lock);
    rsci_action_forget(action);
    rsci_lock_take(calls->lock);
  }
  give_back(calls, call);
  bool gone = --calls->kept == 0;
  rsci_lock_leave(calls->lock);
  if (taken)
    rsci_engine_release(engine);
  if (gone)
    calls->gone(calls);
}

/* Moves to ended. True for exactly one caller: the one who reports. */
static bool claim(rsca_call *call) {
  return atomic_exchange(&call->phase, RSCI_CALL_ENDED) != RSCI_CALL_ENDED;
}

void rsci_call_leave_session(rsca_call *call) {
  if (!call->session)
    return;
  rsca_call **place = &call->session->calls;
  while (*place != call)
    place = &(*place)->session_next;
  *place = call->session_next;
  call->session = NULL;
}

/* The name of a registration is free again before its final is delivered. */
static void leave_session(rsca_call *call) {
  rsci_lock_take(call->calls->lock);
  rsci_call_leave_session(call);
  rsci_lock_leave(call->calls->lock);
}

/* The start. */

bool rsci_call_post(rsca_call *call) {
  /* Only now may it end: whoever ends it gives back what the sink holds. */
  call->sink.ops->hold(call->sink.object);
  atomic_store_explicit(&call->phase, RSCI_CALL_QUEUED, memory_order_release);
  rsci_engine *engine = call->action->engine;
  if (engine->ops->submit ? engine->ops->submit(engine, call) : rsci_engine_post(engine, &call->task))
    return true;
  bool mine = claim(call);
  if (mine) {
    leave_session(call);
    rsci_lock_take(call->calls->lock);
    leave_table(call);
    call->calls->accepted--;
    call->calls->ended--;
    bool quiet = call->calls->live == call->calls->hanging;
    rsci_lock_leave(call->calls->lock);
    call->sink.ops->release(call->sink.object);
    if (quiet)
      call->calls->quiet(call->calls);
  }
  rsci_call_let_go(call);
  /* Else a shutdown ended it before it could be taken back: it was accepted, and its callback has been told. */
  return !mine;
}

const char *rsci_call_why_stop(const rsca_call *call) {
  const char *why = atomic_load(&call->cancelled);
  return why ? why : atomic_load(&call->calls->cut);
}

static HRESULT ended_by(const char *why) {
  if (why == rsci_lost)
    return E_OUTOFMEMORY;
  return why == rsci_timed_out ? RSCA_E_TIMEOUT : RSCA_E_CANCELLED;
}

HRESULT rsci_call_stop_status(const rsca_call *call) {
  return ended_by(rsci_call_why_stop(call));
}

bool rsci_call_begin(rsca_call *call) {
  int queued = RSCI_CALL_QUEUED;
  if (atomic_compare_exchange_strong(&call->phase, &queued, RSCI_CALL_RUNNING))
    return true;
  rsci_call_let_go(call);
  return false;
}

static rsca_call *call_of_task(rsci_task *task) {
  return (rsca_call *)((char *)task - offsetof(rsca_call, task));
}

static void start_run(rsci_task *task) {
  rsca_call *call = call_of_task(task);
  if (!rsci_call_begin(call))
    return;
  const char *why = rsci_call_why_stop(call);
  if (why) /* while it was new, or while its cancel or a shutdown was on the way */
    rsci_call_finish(call, ended_by(why), why, strlen(why));
  else
    task->engine->ops->start(task->engine, call);
}

static const char closed_text[] = "the Lua state that owns the action is closed";

static void start_drop(rsci_task *task) {
  rsci_call_finish(call_of_task(task), RPC_E_DISCONNECTED, closed_text, sizeof closed_text - 1);
}

static const rsci_task_ops start_ops = {start_run, start_drop};

/* The end. */

const char rsci_oversize[] = "the response is larger than the response limit";
const char rsci_over_budget[] = "too many bytes of responses are in flight";

const char rsci_unregistered[] = "unregistered";
const char rsci_refused[] = "its callback refused a response";
const char rsci_cancelled[] = "cancelled";
const char rsci_timed_out[] = "the time limit is over";
const char rsci_lost[] = "out of memory: a response was lost";

/* What the end of a registration's action means: a response of its own, if it returned one, and the final. */
static HRESULT conclude_registration(rsca_call *call, HRESULT status, const void **bytes, size_t *size) {
  const char *why = rsci_call_why_stop(call);
  HRESULT last = S_OK;
  if (SUCCEEDED(status) && *size > 0 && !why)
    last = call->sink.ops->report(call, *bytes, *size);
  if (last == E_OUTOFMEMORY)
    rsci_call_lose(call);
  if (FAILED(last))
    why = atomic_load(&call->cancelled);
  *bytes = NULL;
  *size = 0;
  if (why == rsci_unregistered || !why)
    return S_FALSE;
  const char *where = atomic_load(&call->where);
  *bytes = where ? where : why;
  *size = strlen(*bytes);
  return ended_by(why);
}

/* Claimed, and status and bytes are set. Whoever is telling a response on another thread tells this as well. */
static void tell_final(rsca_call *call) {
  int telling = RSCI_TELLING_NOTHING;
  if (!call->sink.ops->report || atomic_compare_exchange_strong(&call->telling, &telling, RSCI_TELLING_FINAL)) {
    call->sink.ops->ended(call);
    return;
  }
  (void)rsci_call_keep_bytes(call);
  if (atomic_compare_exchange_strong(&call->telling, &telling, RSCI_TELLING_DUE))
    return;
  atomic_store(&call->telling, RSCI_TELLING_FINAL);
  call->sink.ops->ended(call);
}

int rsci_call_tell_begin(rsca_call *call) {
  int telling = RSCI_TELLING_NOTHING;
  (void)atomic_compare_exchange_strong(&call->telling, &telling, RSCI_TELLING_RESPONSE);
  return telling;
}

void rsci_call_tell_end(rsca_call *call) {
  int telling = RSCI_TELLING_RESPONSE;
  if (atomic_compare_exchange_strong(&call->telling, &telling, RSCI_TELLING_NOTHING))
    return;
  atomic_store(&call->telling, RSCI_TELLING_FINAL);
  call->sink.ops->ended(call);
}

/* Claimed. */
static void report(rsca_call *call, HRESULT status, const void *bytes, size_t size) {
  const char *spoilt = atomic_load(&call->spoilt);
  if (size > call->calls->response_limit)
    spoilt = rsci_oversize;
  if (SUCCEEDED(status) && spoilt) {
    status = E_OUTOFMEMORY;
    bytes = spoilt;
    size = strlen(spoilt);
  }
  if (size > UINT32_MAX) /* a length at the interfaces has 32 bits */
    size = UINT32_MAX;
  if (call->sink.ops->report) {
    leave_session(call);
    rsci_call_flush_late(call);
    if (SUCCEEDED(status) || rsca_call_cancelled(call))
      status = conclude_registration(call, status, &bytes, &size);
  }
  call->status = status;
  call->bytes = size ? bytes : NULL;
  call->size = size;
  rsci_calls *calls = call->calls;
  bool watched = atomic_load(&calls->watched);
  if (watched) {
    rsci_lock_take(calls->lock);
    rsci_calls_keep(calls);
    rsci_lock_leave(calls->lock);
  }
  tell_final(call); /* from here on neither is ours */
  if (watched) {
    calls->quiet(calls);
    rsci_calls_unkeep(calls);
  }
}

void rsci_call_finish(rsca_call *call, HRESULT status, const void *bytes, size_t size) {
  if (claim(call))
    report(call, status, bytes, size); /* the engine's hold becomes the ending's */
  else
    rsci_call_let_go(call);
}

bool rsci_call_is_dropped(const rsca_call *call) {
  return rsci_runner_drops(call->action->engine->runner, call->forks);
}

bool rsci_call_keep_bytes(rsca_call *call) {
  if (call->size == 0 || call->bytes == call->result.data)
    return true;
  if (call->bytes == call->report.data) { /* the engine has finished with it */
    rsci_buffer report = call->report;
    call->report = call->result;
    call->result = report;
    return true;
  }
  call->result.size = 0;
  if (!rsci_call_append(call, &call->result, call->bytes, call->size)) {
    const char *spoilt = atomic_load(&call->spoilt);
    call->status = E_OUTOFMEMORY;
    call->bytes = spoilt ? spoilt : "out of memory while the result was copied";
    call->size = strlen(call->bytes);
    return false;
  }
  call->bytes = call->result.data;
  return true;
}

void rsci_call_leave(rsca_call *call) {
  rsci_calls *calls = call->calls;
  rsci_lock_take(calls->lock);
  leave_table(call);
  bool quiet = calls->live == calls->hanging;
  rsci_lock_leave(calls->lock);
  if (quiet)
    calls->quiet(calls);
}

void rsci_call_count_answer(rsca_call *call, HRESULT answer) {
  if (SUCCEEDED(answer))
    return;
  rsci_lock_take(call->calls->lock);
  call->calls->failed_callbacks++;
  rsci_lock_leave(call->calls->lock);
}

void rsci_call_delivered(rsca_call *call) {
  rsci_call_let_go(call);
}

/* Cancelling. */

bool rsci_call_mark_cancelled(rsca_call *call, const char *why) {
  if (atomic_load(&call->cancelled) || atomic_load(&call->phase) == RSCI_CALL_ENDED)
    return false;
  atomic_store(&call->cancelled, why);
  (void)rsci_refs_add(&call->refs);
  return true;
}

static void stop_registration(rsca_call *call, const char *why) {
  rsci_lock_take(call->calls->lock);
  bool marked = rsci_call_mark_cancelled(call, why);
  rsci_lock_leave(call->calls->lock);
  if (marked)
    rsci_call_post_cancel(call);
  else if (!atomic_load(&call->cancelled)) /* it has ended: its final is about to be told */
    atomic_store(&call->cancelled, why);
}

void rsci_call_refuse(rsca_call *call) {
  stop_registration(call, rsci_refused);
}

void rsci_call_lose(rsca_call *call) {
  stop_registration(call, rsci_lost);
}

/* Claimed, and the claim holds nothing yet. */
static void report_cancelled(rsca_call *call) {
  const char *why = rsci_call_why_stop(call), *where = atomic_load(&call->where);
  (void)rsci_refs_add(&call->refs);
  report(call, ended_by(why), where ? where : why, strlen(where ? where : why));
}

void rsci_call_end_cancelled(rsca_call *call) {
  if (claim(call))
    report_cancelled(call);
}

void rsci_call_end(rsca_call *call, HRESULT status, const char *text) {
  if (!claim(call))
    return;
  (void)rsci_refs_add(&call->refs);
  report(call, status, text, strlen(text));
}

bool rsci_call_end_queued(rsca_call *call) {
  int phase = RSCI_CALL_QUEUED;
  if (!atomic_compare_exchange_strong(&call->phase, &phase, RSCI_CALL_ENDED))
    return phase == RSCI_CALL_ENDED;
  rsci_engine *engine = call->action->engine;
  if (engine->ops->withdraw && engine->ops->withdraw(engine, call))
    rsci_call_let_go(call); /* the queue's hold; never the last */
  report_cancelled(call);
  return true;
}

/* A call that is new is ended by whoever posts it, at its start. One that was answered without its engine may still
 * have something there that waits. */
static void cancel_on(rsci_engine *engine, rsca_call *call) {
  (void)rsci_call_end_queued(call);
  if (atomic_load(&call->phase) != RSCI_CALL_NEW && engine->ops->cancel)
    engine->ops->cancel(engine, call);
}

void rsci_call_cancel_here(rsca_call *call) {
  cancel_on(atomic_load(&call->engine), call);
  rsci_call_let_go(call);
}

static void cancel_run(rsci_task *task) {
  rsca_call *call = (rsca_call *)((char *)task - offsetof(rsca_call, cancel_task));
  (void)rsci_call_end_queued(call);
  rsci_engine *engine = atomic_load(&call->engine);
  if (engine != task->engine) {
    rsci_call_post_cancel(call); /* a worker has taken it meanwhile */
    return;
  }
  cancel_on(engine, call);
  rsci_call_let_go(call);
}

static void cancel_drop(rsci_task *task) {
  /* The engine has closed, which ends all its calls. */
  rsci_call_let_go((rsca_call *)((char *)task - offsetof(rsca_call, cancel_task)));
}

static const rsci_task_ops cancel_ops = {cancel_run, cancel_drop};

void rsci_call_post_cancel(rsca_call *call) {
  if (!rsci_engine_post(atomic_load(&call->engine), &call->cancel_task))
    rsci_call_let_go(call);
}

bool rsci_call_keep_answer(rsca_call *call, rsci_task *answer) {
  return answer->engine != call->action->engine && rsci_engine_post(call->action->engine, answer);
}

bool rsci_call_post_answer(rsca_call *call, rsci_task *answer) {
  return rsci_engine_post(atomic_load(&call->engine), answer) || rsci_call_keep_answer(call, answer);
}

void rsci_call_stop(rsca_call *call) {
  rsci_engine *engine = atomic_load(&call->engine);
  atomic_store(&call->stop, true);
  if (engine->ops->interrupt)
    engine->ops->interrupt(engine, call);
}
