#include "stream.h"

#include <stdlib.h>
#include <string.h>

#include <rsca/status.h>

rsci_stream *rsci_stream_create(rsci_engine *consumer, const rsci_task_ops *arrived, rsci_stream_limits limits) {
  rsci_stream *stream = calloc(1, sizeof *stream);
  if (!stream)
    return NULL;
  if (!rsci_lock_init(&stream->lock)) {
    free(stream);
    return NULL;
  }
  rsci_refs_init(&stream->refs);
  rsci_engine_hold(consumer);
  stream->consumer = consumer;
  stream->arrived.ops = arrived;
  stream->limit = limits.count;
  stream->limit_bytes = limits.bytes;
  stream->allowance = rsci_allowance_of(limits.budget);
  return stream;
}

void rsci_stream_hold(rsci_stream *stream) {
  (void)rsci_refs_add(&stream->refs);
}

static void free_responses(rsci_response *response) {
  while (response) {
    rsci_response *next = response->next;
    free(response);
    response = next;
  }
}

/* What the final takes of the budget: its call has ended, and is not there to be counted. */
static size_t bytes_of_final(const rsci_response *final) {
  return final ? sizeof *final + final->size : 0;
}

/* Lock held, or the last reference. It is the caller's to free. */
static rsci_response *take_final(rsci_stream *stream) {
  rsci_response *final = stream->final;
  stream->final = NULL;
  rsci_budget_discharge(stream->allowance.budget, bytes_of_final(final));
  return final;
}

void rsci_stream_release(rsci_stream *stream) {
  if (rsci_refs_drop(&stream->refs) > 0)
    return;
  free_responses(stream->head);
  free(take_final(stream));
  rsci_allowance_end(&stream->allowance);
  rsci_engine_release(stream->consumer);
  rsci_lock_fini(&stream->lock);
  free(stream);
}

static rsci_response *copy(const void *bytes, size_t size) {
  rsci_response *response = malloc(sizeof *response + size);
  if (response) {
    response->next = NULL;
    response->size = size;
    if (size)
      memcpy(response->bytes, bytes, size);
  }
  return response;
}

/* Lock held. */
static void tell_consumer(rsci_stream *stream) {
  if (stream->posted || stream->abandoned)
    return;
  rsci_stream_hold(stream);
  stream->posted = rsci_engine_post(stream->consumer, &stream->arrived);
  if (!stream->posted)
    (void)rsci_refs_drop(&stream->refs); /* never the last: the caller has one */
}

/* Lock held. One response always fits, whatever its size. */
static bool is_full(const rsci_stream *stream, size_t size) {
  return stream->count > 0 && (stream->count >= stream->limit || stream->bytes + size > stream->limit_bytes);
}

/* Lock held. What all that waits takes; that is less than its limits say, or one response. */
static size_t bytes_held(const rsci_stream *stream) {
  return stream->bytes + stream->count * sizeof(rsci_response);
}

HRESULT rsci_stream_put(rsci_stream *stream, const void *bytes, size_t size, bool force) {
  HRESULT status = S_OK;
  rsci_response *response = NULL;
  rsci_lock_take(&stream->lock);
  if (stream->abandoned || stream->refused)
    status = RSCA_E_CANCELLED;
  else if (!force && is_full(stream, size))
    status = RSCA_E_BUSY;
  else if (!rsci_allowance_fit(&stream->allowance, bytes_held(stream) + sizeof *response + size))
    status = stream->count > 0 && !force ? RSCA_E_BUSY : E_OUTOFMEMORY;
  else if (!(response = copy(bytes, size)))
    status = E_OUTOFMEMORY;
  if (response) {
    if (stream->tail)
      stream->tail->next = response;
    else
      stream->head = response;
    stream->tail = response;
    stream->count++;
    stream->bytes += size;
    tell_consumer(stream);
  }
  rsci_lock_leave(&stream->lock);
  return status;
}

/* Lock held. The producer is woken when it is half empty: waking it for each place would cost a wake per response. */
static void tell_starved(rsci_stream *stream) {
  bool room = stream->abandoned || (stream->count <= stream->limit / 2 && stream->bytes <= stream->limit_bytes / 2);
  if (!stream->starved || !room)
    return;
  rsci_task *task = stream->starved;
  rsci_engine *engine = stream->starved_engine;
  stream->starved = NULL;
  stream->starved_engine = NULL;
  if (!rsci_engine_post(engine, task))
    task->ops->drop(task);
  rsci_engine_release(engine);
}

bool rsci_stream_await_room(rsci_stream *stream, rsci_engine *engine, rsci_task *task) {
  rsci_lock_take(&stream->lock);
  /* Empty is room for anything. Else there is a take to come, which will find it half empty at last. */
  bool waits = !stream->abandoned && stream->count > 0;
  if (waits) {
    rsci_engine_hold(engine);
    stream->starved = task;
    stream->starved_engine = engine;
  }
  rsci_lock_leave(&stream->lock);
  return waits;
}

void rsci_stream_finish(rsci_stream *stream, HRESULT status, const void *bytes, size_t size) {
  rsci_response *final = size ? copy(bytes, size) : NULL;
  rsci_lock_take(&stream->lock);
  if (!stream->finished) {
    stream->finished = true;
    stream->status = status;
    if (!stream->abandoned && rsci_budget_charge(stream->allowance.budget, bytes_of_final(final))) {
      stream->final = final;
      final = NULL;
    }
    tell_consumer(stream);
  }
  rsci_lock_leave(&stream->lock);
  free(final);
}

bool rsci_stream_is_finished(rsci_stream *stream) {
  rsci_lock_take(&stream->lock);
  bool finished = stream->finished;
  rsci_lock_leave(&stream->lock);
  return finished;
}

rsci_taken rsci_stream_take(rsci_stream *stream, rsci_response **out, HRESULT *status) {
  rsci_taken taken = RSCI_TAKEN_NOTHING;
  *out = NULL;
  *status = S_OK;
  rsci_lock_take(&stream->lock);
  if (stream->head) {
    taken = RSCI_TAKEN_RESPONSE;
    *out = stream->head;
    stream->head = stream->head->next;
    if (!stream->head)
      stream->tail = NULL;
    stream->count--;
    stream->bytes -= (*out)->size;
    (void)rsci_allowance_fit(&stream->allowance, bytes_held(stream));
    tell_starved(stream);
  } else if (stream->finished && !stream->abandoned) {
    taken = RSCI_TAKEN_FINAL;
    *out = take_final(stream);
    *status = stream->status;
    stream->abandoned = true; /* nothing is left to take */
  }
  rsci_lock_leave(&stream->lock);
  return taken;
}

rsci_stream *rsci_stream_of_arrived(rsci_task *task) {
  return (rsci_stream *)((char *)task - offsetof(rsci_stream, arrived));
}

void rsci_stream_arrived(rsci_stream *stream) {
  rsci_lock_take(&stream->lock);
  stream->posted = false;
  rsci_lock_leave(&stream->lock);
}

void rsci_stream_refuse(rsci_stream *stream) {
  rsci_lock_take(&stream->lock);
  stream->refused = true;
  rsci_lock_leave(&stream->lock);
}

void rsci_stream_abandon(rsci_stream *stream) {
  rsci_lock_take(&stream->lock);
  stream->abandoned = true;
  rsci_response *dropped = stream->head;
  stream->head = stream->tail = NULL;
  stream->count = stream->bytes = 0;
  (void)rsci_allowance_fit(&stream->allowance, 0);
  rsci_response *final = take_final(stream);
  tell_starved(stream);
  rsci_lock_leave(&stream->lock);
  free_responses(dropped);
  free(final);
}
