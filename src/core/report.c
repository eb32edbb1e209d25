/*
 * What an action may do with its call: rsca/call.h, and how its reports get to the call's sink.
 */
#include <stdlib.h>
#include <string.h>

#include "call.h"
#include "stream.h"

uint64_t rsca_call_id(const rsca_call *call) {
  return call ? call->id : 0;
}

const char *rsca_call_name(const rsca_call *call) {
  return call ? call->action->name : NULL;
}

bool rsca_call_cancelled(const rsca_call *call) {
  return call && (atomic_load(&call->cancelled) || atomic_load(&call->calls->cut));
}

/* Late reports: those made on other threads, or outside any step. They wait on their call, in order, for the thread
 * that steps; whoever ends the call delivers them first. */

/* A response on its way to the thread that steps. */
struct rsci_late {
  struct rsci_late *next;
  size_t size;
  char bytes[];
};

/* Adds to the end. True: there was nothing before, and the call is held for the task that is to be posted. */
static HRESULT late_put(rsca_call *call, struct rsci_late *late, bool *post) {
  HRESULT status = RSCA_E_BUSY;
  *post = false;
  rsci_lock_take(call->calls->lock);
  if (call->late_count < RSCI_LATE_LIMIT) {
    status = S_OK;
    call->late_count++;
    if (call->late)
      call->last_late->next = late;
    else
      call->late = late;
    call->last_late = late;
    *post = !call->late_posted;
    if (*post)
      (void)rsci_refs_add(&call->refs);
    call->late_posted = true;
  }
  rsci_lock_leave(call->calls->lock);
  return status;
}

/* Takes the oldest. */
static struct rsci_late *late_take(rsca_call *call) {
  rsci_lock_take(call->calls->lock);
  struct rsci_late *late = call->late;
  if (late) {
    call->late = late->next;
    call->late_count--;
  }
  rsci_lock_leave(call->calls->lock);
  return late;
}

/* Puts it back: it is still the oldest. */
static void late_return(rsca_call *call, struct rsci_late *late) {
  rsci_lock_take(call->calls->lock);
  late->next = call->late;
  if (!late->next)
    call->last_late = late;
  call->late = late;
  call->late_count++;
  rsci_lock_leave(call->calls->lock);
}

static size_t bytes_of_late(size_t size) {
  return sizeof(struct rsci_late) + size;
}

static struct rsci_late *make_late(rsca_call *call, const void *bytes, size_t size) {
  struct rsci_late *late = rsci_budget_allocate(call->calls->budget, bytes_of_late(size), bytes_of_late(size));
  if (!late)
    return NULL;
  late->next = NULL;
  late->size = size;
  if (size)
    memcpy(late->bytes, bytes, size);
  return late;
}

static void free_late(rsca_call *call, struct rsci_late *late) {
  rsci_budget_discharge(call->calls->budget, bytes_of_late(late->size));
  free(late);
}

/* Delivers in order, as far as there is room. True: all of them. */
static bool deliver_late(rsca_call *call) {
  struct rsci_late *late;
  while ((late = late_take(call)) != NULL) {
    HRESULT status = rsci_call_respond(call, late->bytes, late->size);
    if (status == RSCA_E_BUSY) {
      late_return(call, late);
      if (rsci_call_await_room(call))
        return false;
      continue; /* there was room after all */
    }
    if (status == E_OUTOFMEMORY)
      rsci_call_lose(call);
    free_late(call, late);
  }
  return true;
}

void rsci_call_flush_late(rsca_call *call) {
  struct rsci_late *late;
  bool wanted = !rsca_call_cancelled(call);
  while ((late = late_take(call)) != NULL) {
    HRESULT status = S_OK;
    if (wanted)
      status = call->sink.ops->report(call, late->size ? late->bytes : NULL, late->size);
    if (status == E_OUTOFMEMORY)
      rsci_call_lose(call);
    wanted = wanted && SUCCEEDED(status);
    free_late(call, late);
  }
}

void rsci_call_drop_late(rsca_call *call) {
  while (call->late) {
    struct rsci_late *late = call->late;
    call->late = late->next;
    call->late_count = 0;
    free_late(call, late);
  }
}

static rsca_call *call_of_late(rsci_task *task) {
  return (rsca_call *)((char *)task - offsetof(rsca_call, late_task));
}

static void late_run(rsci_task *task) {
  rsca_call *call = call_of_late(task);
  rsci_lock_take(call->calls->lock);
  call->late_posted = false;
  rsci_lock_leave(call->calls->lock);
  (void)deliver_late(call);
  rsci_call_let_go(call);
}

static void late_drop(rsci_task *task) {
  rsca_call *call = call_of_late(task);
  if (!rsci_call_keep_answer(call, task))
    rsci_call_let_go(call);
}

const rsci_task_ops rsci_late_ops = {late_run, late_drop};

static HRESULT respond_later(rsca_call *call, const void *bytes, size_t size) {
  if (atomic_load(&call->phase) == RSCI_CALL_ENDED || rsca_call_cancelled(call))
    return RSCA_E_CANCELLED;
  struct rsci_late *late = make_late(call, bytes, size);
  if (!late)
    return E_OUTOFMEMORY;
  bool post;
  HRESULT status = late_put(call, late, &post);
  if (FAILED(status))
    free_late(call, late);
  else if (post && !rsci_call_post_answer(call, &call->late_task)) {
    rsci_call_let_go(call);
    return RSCA_E_CANCELLED;
  }
  return status;
}

/* Registrations. */
static HRESULT tell(rsca_call *call, const void *bytes, size_t size) {
  if (rsca_call_cancelled(call))
    return RSCA_E_CANCELLED;
  int telling = rsci_call_tell_begin(call);
  if (telling == RSCI_TELLING_RESPONSE) /* said from inside the callback */
    return respond_later(call, bytes, size);
  if (telling != RSCI_TELLING_NOTHING)
    return RSCA_E_CANCELLED;
  HRESULT status = call->sink.ops->report(call, size ? bytes : NULL, size);
  rsci_call_tell_end(call);
  return status;
}

/* A run. */
static HRESULT join(rsca_call *call, const void *bytes, size_t size) {
  if (call->report.size > call->calls->response_limit - size)
    atomic_store(&call->spoilt, rsci_oversize);
  bool whole = !atomic_load(&call->spoilt);
  return whole && rsci_call_append(call, &call->report, bytes, size) ? S_OK : E_OUTOFMEMORY;
}

HRESULT rsci_call_respond(rsca_call *call, const void *bytes, size_t size) {
  if (atomic_load(&call->phase) == RSCI_CALL_ENDED)
    return RSCA_E_CANCELLED;
  return call->sink.ops->report ? tell(call, bytes, size) : join(call, bytes, size);
}

HRESULT rsca_call_report(rsca_call *call, const void *bytes, size_t size) {
  if (!call || (!bytes && size > 0) || size > UINT32_MAX)
    return E_INVALIDARG;
  /* What goes beyond the limit makes the call fail, whatever its action returns: half a response is none. */
  if (size > call->calls->response_limit) {
    atomic_store(&call->spoilt, rsci_oversize);
    return E_OUTOFMEMORY;
  }
  if (!call->sink.ops->report)
    return rsci_call_respond(call, bytes, size);
  if (!rsci_runner_is_stepped_here(atomic_load(&call->engine)->runner))
    return respond_later(call, bytes, size);
  /* In a step it is delivered at once, after those that came before it. */
  return deliver_late(call) ? rsci_call_respond(call, bytes, size) : RSCA_E_BUSY;
}

/* Room again. */

static rsca_call *call_of_room(rsci_task *task) {
  return (rsca_call *)((char *)task - offsetof(rsca_call, room_task));
}

static void room_run(rsci_task *task) {
  rsca_call *call = call_of_room(task);
  call->awaits_room = false;
  if (deliver_late(call) && atomic_load(&call->phase) == RSCI_CALL_RUNNING)
    task->engine->ops->room(task->engine, call);
  rsci_call_let_go(call);
}

static void room_drop(rsci_task *task) {
  rsci_call_let_go(call_of_room(task));
}

const rsci_task_ops rsci_room_ops = {room_run, room_drop};

bool rsci_call_await_room(rsca_call *call) {
  if (call->awaits_room)
    return true;
  (void)rsci_refs_add(&call->refs);
  if (rsci_stream_await_room(call->sink.ops->stream(call), atomic_load(&call->engine), &call->room_task)) {
    call->awaits_room = true;
    return true;
  }
  rsci_call_let_go(call);
  return false;
}
