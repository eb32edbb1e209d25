/*
 * What an action may do with its call: rsca/call.h, and how its reports get to the call's sink.
 */
#include <stdlib.h>
#include <string.h>

#include "call.h"
#include "stream.h"

uint64_t rsca_call_id(const rsca_call *call) {
  return call->id;
}

const char *rsca_call_name(const rsca_call *call) {
  return call->action->name;
}

bool rsca_call_cancelled(const rsca_call *call) {
  return atomic_load(&call->cancelled) || atomic_load(&call->calls->cut);
}

/* A response that was reported on another thread, on its way to the one that steps. */
typedef struct rsci_late {
  rsci_task task;
  struct rsci_late *next;
  rsca_call *call; /* held */
  size_t size;
  char bytes[];
} rsci_late;

static void late_free(rsci_late *late) {
  (void)atomic_fetch_sub(&late->call->late_count, 1);
  rsci_call_let_go(late->call);
  free(late);
}

/* Delivers in order, as far as there is room. */
static void deliver_late(rsca_call *call) {
  while (call->late) {
    rsci_late *late = call->late;
    if (rsci_call_respond(call, late->bytes, late->size) == RSCA_E_BUSY) {
      if (rsci_call_await_room(call))
        return;
      continue; /* there was room after all */
    }
    call->late = late->next;
    late_free(late);
  }
}

void rsci_call_flush_late(rsca_call *call) {
  call->forced = true;
  while (call->late) {
    rsci_late *late = call->late;
    call->late = late->next;
    (void)rsci_call_respond(call, late->bytes, late->size);
    late_free(late); /* the engine holds the call as well */
  }
  call->forced = false;
}

static void late_run(rsci_task *task) {
  rsci_late *late = (rsci_late *)task;
  rsca_call *call = late->call;
  rsci_late **end = &call->late;
  while (*end)
    end = &(*end)->next;
  late->next = NULL;
  *end = late;
  if (end == &call->late) /* else it waits behind others, for room */
    deliver_late(call);
}

static void late_drop(rsci_task *task) {
  late_free((rsci_late *)task);
}

static const rsci_task_ops late_ops = {late_run, late_drop};

static HRESULT respond_later(rsca_call *call, const void *bytes, size_t size) {
  if (atomic_fetch_add(&call->late_count, 1) >= RSCI_LATE_LIMIT) {
    (void)atomic_fetch_sub(&call->late_count, 1);
    return RSCA_E_BUSY;
  }
  rsci_late *late = malloc(sizeof *late + size);
  if (!late) {
    (void)atomic_fetch_sub(&call->late_count, 1);
    return E_OUTOFMEMORY;
  }
  *late = (rsci_late){.task = {.ops = &late_ops}, .call = call, .size = size};
  if (size)
    memcpy(late->bytes, bytes, size);
  (void)rsci_refs_add(&call->refs);
  if (!rsci_engine_post(call->action->engine, &late->task)) {
    late_free(late);
    return RSCA_E_CANCELLED;
  }
  return S_OK;
}

HRESULT rsci_call_respond(rsca_call *call, const void *bytes, size_t size) {
  if (atomic_load(&call->phase) == RSCI_CALL_ENDED)
    return RSCA_E_CANCELLED;
  if (call->sink.ops->report) {
    if (rsca_call_cancelled(call))
      return RSCA_E_CANCELLED;
    return call->sink.ops->report(call, size ? bytes : NULL, size);
  }
  /* A run: joined. A length at the interfaces has 32 bits. */
  if (size > UINT32_MAX - call->report.size || !rsci_buffer_append(&call->report, bytes, size))
    return E_OUTOFMEMORY;
  return S_OK;
}

HRESULT rsca_call_report(rsca_call *call, const void *bytes, size_t size) {
  if ((!bytes && size > 0) || size > UINT32_MAX)
    return E_INVALIDARG;
  /* In a step it is delivered at once, unless earlier ones are still on their way from elsewhere. */
  bool here = rsci_runner_is_stepped_here(call->action->engine->runner) && atomic_load(&call->late_count) == 0;
  if (call->sink.ops->report && !here)
    return rsca_call_cancelled(call) ? RSCA_E_CANCELLED : respond_later(call, bytes, size);
  return rsci_call_respond(call, bytes, size);
}

/* Room again. */

static rsca_call *call_of_room(rsci_task *task) {
  return (rsca_call *)((char *)task - offsetof(rsca_call, room_task));
}

static void room_run(rsci_task *task) {
  rsca_call *call = call_of_room(task);
  deliver_late(call);
  if (atomic_load(&call->phase) == RSCI_CALL_RUNNING)
    call->action->engine->ops->room(call->action->engine, call);
  rsci_call_let_go(call);
}

static void room_drop(rsci_task *task) {
  rsci_call_let_go(call_of_room(task));
}

const rsci_task_ops rsci_room_ops = {room_run, room_drop};

bool rsci_call_await_room(rsca_call *call) {
  (void)rsci_refs_add(&call->refs);
  if (rsci_stream_await_room(call->sink.ops->stream(call), call->action->engine, &call->room_task))
    return true;
  rsci_call_let_go(call);
  return false;
}
