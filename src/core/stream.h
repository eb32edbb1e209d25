/*
 * A stream: the responses of one registration on their way to a consumer that takes them in its own time, on its own
 * thread. Bounded, in order, with one final at the end.
 *
 * Provides: rsci_stream
 * Uses:     engine
 * Threads:  any
 */
#ifndef RSCI_STREAM_H
#define RSCI_STREAM_H

#include <stdbool.h>
#include <stddef.h>

#include <Wpframework.h>

#include "budget.h"
#include "engine.h"

typedef struct rsci_response {
  struct rsci_response *next;
  size_t size;
  char bytes[];
} rsci_response;

/* Of what waits in a stream. */
typedef struct rsci_stream_limits {
  size_t count, bytes;
  rsci_budget *budget; /* what it counts against; NULL: nothing */
} rsci_stream_limits;

typedef struct rsci_stream rsci_stream;

struct rsci_stream {
  rsci_refs refs;            /* the registration's, the consumer's, and one while `arrived` is posted */
  rsci_engine *consumer;     /* held */
  rsci_task arrived;         /* tells the consumer to take */
  void *user;                /* the consumer's */
  size_t limit, limit_bytes; /* no more than that waits */

  rsci_lock lock; /* Protects what follows; an engine's lock may be taken inside it */
  rsci_response *head, *tail;
  size_t count, bytes;
  rsci_allowance allowance; /* for these */
  bool posted;              /* arrived is on its way */
  bool abandoned;           /* nobody takes any more */
  bool refused;             /* the consumer wants no more responses, only the final */
  bool finished;            /* nothing comes any more but the final */
  HRESULT status;           /* the final's */
  rsci_response *final;     /* its bytes; NULL: none */
  rsci_task *starved;       /* posted to starved_engine once there is room; NULL: nobody waits */
  rsci_engine *starved_engine;
};

typedef enum rsci_taken { RSCI_TAKEN_NOTHING, RSCI_TAKEN_RESPONSE, RSCI_TAKEN_FINAL } rsci_taken;

/* `arrived` is run on the consumer when there is something to take after there was nothing; it holds the stream, which
 * rsci_stream_arrived gives back. Holds the budget. Returned (+1); NULL: out of memory. */
rsci_stream *rsci_stream_create(rsci_engine *consumer, const rsci_task_ops *arrived, rsci_stream_limits limits);
void rsci_stream_hold(rsci_stream *stream);
void rsci_stream_release(rsci_stream *stream);

/* Adds a response; copied. `force`: though it is full. S_OK; RSCA_E_BUSY: full, or something waits in it and its budget
 * has no more; RSCA_E_CANCELLED: nobody takes any more; E_OUTOFMEMORY: no memory, or the budget has none. */
HRESULT rsci_stream_put(rsci_stream *stream, const void *bytes, size_t size, bool force);

/* After RSCA_E_BUSY: posts `task` to `engine` once there is room, or nobody takes any more. False: there is room
 * already; the task is the caller's again. */
bool rsci_stream_await_room(rsci_stream *stream, rsci_engine *engine, rsci_task *task);

/* Whether the final has come. */
bool rsci_stream_is_finished(rsci_stream *stream);

/* Says that nothing follows but the final; its bytes are copied, or lost where there is no memory for them, or the
 * budget has none. The first one counts. */
void rsci_stream_finish(rsci_stream *stream, HRESULT status, const void *bytes, size_t size);

/* The next response, which is the caller's to free; the final once, after all of them (`*out`: its bytes or NULL). */
rsci_taken rsci_stream_take(rsci_stream *stream, rsci_response **out, HRESULT *status);

/* For the arrived task, first of all: from here on it is posted again. */
rsci_stream *rsci_stream_of_arrived(rsci_task *task);
void rsci_stream_arrived(rsci_stream *stream);

/* The consumer wants no more responses, only the final: from here on a put answers RSCA_E_CANCELLED. */
void rsci_stream_refuse(rsci_stream *stream);

/* The consumer goes: what waits is dropped, and whoever waits for room is told. */
void rsci_stream_abandon(rsci_stream *stream);

#endif
