/*
 * Calls: what was accepted and how it ends. One state machine for all: queued -> running -> ended, and whoever moves
 * a call to ended (one atomic step) is the one who reports it.
 *
 * Provides: rsca_call, rsci_sink, rsci_calls
 * Uses:     registry, engine
 * Threads:  as each says
 *
 * Holds: a call that is queued or running is held by its engine; an ending that is under way holds it too, and so does
 * a cancel that was posted. The last to let go gives it back to its table.
 */
#ifndef RSCI_CALL_H
#define RSCI_CALL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <rsca/call.h>
#include <rsca/manager.h>

#include "budget.h"
#include "buffer.h"
#include "engine.h"
#include "registry.h"

struct rsci_stream;

typedef struct rsci_calls rsci_calls;

/* Buffers of a call that are not larger stay with it, for the next call. Larger ones count, see rsci_call_append. */
#define RSCI_KEPT_BYTES ((size_t)1024)

/* Where the result of a call goes. */
typedef struct rsci_sink_ops {
  /* The call has been accepted: take the reference that the call keeps, or give it back where the call could not be
   * posted. No lock held. */
  void (*hold)(void *object);
  void (*release)(void *object);
  /* For registrations, else NULL: deliver one response. S_OK; RSCA_E_BUSY: there is no room now; RSCA_E_CANCELLED:
   * nobody wants any more; E_OUTOFMEMORY. In a step of the engine's runner, no lock held. */
  HRESULT (*report)(rsca_call *call, const void *bytes, size_t size);
  /* After RSCA_E_BUSY: the stream that has no room. NULL where report never says so. */
  struct rsci_stream *(*stream)(rsca_call *call);
  /* Deliver call->status and call->bytes, then rsci_call_delivered: here or, the bytes copied, somewhere else. On the
   * thread that ended the call, no lock held. */
  void (*ended)(rsca_call *call);
} rsci_sink_ops;

typedef struct rsci_sink {
  const rsci_sink_ops *ops;
  void *object;
  uint64_t limit_ns; /* the call's own time limit; 0: the action's or the manager's, UINT64_MAX: none */
  rsca_result_fn fn; /* for those who need one */
  uint64_t slot;     /* likewise */
  bool hangs;        /* it hangs on the manager's proxy in a script, and does not keep that alive */
} rsci_sink;

/* Who tells a registration's callback, and what: never two at a time. */
enum {
  RSCI_TELLING_NOTHING,
  RSCI_TELLING_RESPONSE,
  RSCI_TELLING_DUE, /* a response, and the final fell due meanwhile: it follows on that thread */
  RSCI_TELLING_FINAL
};

/* How many late reports of a call may wait for the thread that steps. */
#define RSCI_LATE_LIMIT 256

enum { RSCI_CALL_NEW, RSCI_CALL_QUEUED, RSCI_CALL_RUNNING, RSCI_CALL_ENDED };

/* In the order in which a run touches it: of those that wait, few lines of the cache are needed. */
struct rsca_call {
  rsci_task task; /* its start; then its engine's */
  rsci_calls *calls;
  rsca_call *pool_next;          /* in the queue of a pool, its lock; or of those that are free */
  rsca_call *pool_previous;      /* in the queue of a pool, its lock */
  rsci_action *action;           /* a reference, guarded by the manager's lock */
  _Atomic(rsci_engine *) engine; /* where it runs or will run; the action's, until a worker of a pool takes it */
  rsci_refs refs;
  unsigned forks; /* the process that it was accepted in */
  _Atomic int phase;
  atomic_int telling;
  enum { RSCI_WATCH, RSCI_WATCH_STOPPED, RSCI_WATCH_RAISED } watch; /* how far the service has got with stopping it */
  atomic_bool stop;                /* its patience is over: what runs is made to raise */
  atomic_bool ends;                /* what runs has taken note of that, and cleans up */
  bool pooled;                     /* it is in the queue of a pool; its lock */
  bool inner;                      /* made on a thread of its manager's pool: by an action, or a callback there */
  bool late_posted;                /* late_task is on its way, and holds the call; manager's lock */
  bool awaits_room;                /* room_task is waiting for room; thread that steps */
  uint16_t late_count;             /* of late reports; manager's lock */
  HRESULT late_status;             /* for the native engine: what it will end with */
  _Atomic(const char *) cancelled; /* why it should stop; NULL: it should not */
  _Atomic(const char *) spoilt;    /* why its response is not whole, and the call fails; NULL: it is */
  _Atomic(char *) where;           /* owned: where it was when that happened, and what its end says; NULL: not known */
  struct rsci_late *late;          /* late reports, oldest first; manager's lock */
  uint64_t accepted_ns;            /* coarse */
  _Atomic uint64_t due_ns;         /* when its patience is over; UINT64_MAX: never */
  uint64_t stretch_ns;             /* of a registration: how long it may run uninterrupted; 0: for ever */
  uint64_t id;
  rsci_sink sink;
  rsci_buffer args; /* with a NUL after it */
  void *fiber;      /* the engine's */

  /* Set by the ending. */
  HRESULT status;
  unsigned seen_progress; /* the service's: of its runner, when it last looked whether the call ends */
  const char *bytes;      /* borrowed from the engine, or result.data; NULL where size is 0 */
  size_t size;

  rsci_task delivery;   /* its sink's */
  uint64_t result_slot; /* the sink's: where it has the result without a copy; 0: nowhere */
  rsci_buffer report;   /* what was reported; the engine's */
  rsci_buffer result;   /* a copy of the result on its way to a callback elsewhere; the ending's */

  /* What follows is not touched by most runs: one that is given back has left it as it was in a new one. */
  rsci_task cancel_task;        /* posted at most once */
  rsci_task room_task;          /* there is room for another response */
  rsci_task late_task;          /* there are late reports */
  struct rsci_session *session; /* of a registration by a documented method, else NULL; manager's lock */
  rsca_call *session_next;
  struct rsci_late *last_late; /* counts where there is one; manager's lock */
};

/* The table of a manager's calls. Everything is guarded by the manager's lock, but for the functions that take it. */
struct rsci_calls {
  rsci_lock *lock;
  rsca_call **table; /* by id & mask; ids skip places that are taken */
  size_t mask;       /* table size - 1; only valid with a table */
  uint64_t last_id;
  size_t hanging;            /* of the live ones, those whose sink hangs on a proxy */
  size_t live;               /* accepted and not yet ended */
  size_t kept;               /* calls handed out and not yet given back, and other keepers */
  size_t bytes;              /* arguments of live calls */
  size_t inner, inner_bytes; /* of these, what the threads of the manager's pool have accepted */
  uint64_t accepted, ended, failed_callbacks;
  rsca_call *free;
  char after_accepting[RSCI_LINE_BYTES];

  /* Hardly ever written, and looked at by those who run calls: */
  size_t response_limit;
  rsci_budget *budget;       /* for responses, with the account as its parent; borrowed */
  rsci_budget *account;      /* for everything, where the manager is a script's in a worker; else NULL. Borrowed */
  _Atomic(const char *) cut; /* why no call starts any more; NULL: they do */
  atomic_bool watched;       /* somebody wants to be told of every ending: by quiet */
  /* Both without the lock: the last live call has ended; nothing is kept any more, free it all. */
  void (*quiet)(rsci_calls *calls);
  void (*gone)(rsci_calls *calls);
};

/* One registration per name and session. */
typedef struct rsci_session {
  rsca_call *calls; /* by session_next; manager's lock */
} rsci_session;

/* Kept once, by the caller. */
void rsci_calls_init(rsci_calls *calls, rsci_lock *lock, void (*quiet)(rsci_calls *calls),
                     void (*gone)(rsci_calls *calls));
void rsci_calls_fini(rsci_calls *calls);

/* What a call and its small buffers take of the account, from when it is made to the end of its table. */
#define RSCI_CALL_BYTES (sizeof(rsca_call) + 3 * RSCI_KEPT_BYTES)

/* Keeps all this alive, beside the calls. Lock held. */
void rsci_calls_keep(rsci_calls *calls);
/* May call gone. No lock held. */
void rsci_calls_unkeep(rsci_calls *calls);

/* Lock held. A call of `action`, queued but not posted yet; NULL: out of memory. `big_args` is the caller's malloc of
 * the arguments and their NUL where that is more than RSCI_KEPT_BYTES, taken over on success. */
rsca_call *rsci_calls_accept(rsci_calls *calls, rsci_action *action, const char *args, size_t args_size, char *big_args,
                             const rsci_sink *sink, bool inner);

/* Lock held. The next call of the table from `*place` on, which is at 0 first: one that has ended may still be there.
 * NULL: there is no more. */
rsca_call *rsci_calls_next(const rsci_calls *calls, size_t *place);

/* Lock held. The call with that id that has not ended, or NULL. */
rsca_call *rsci_calls_find(const rsci_calls *calls, uint64_t id);

/* Holds its sink and posts an accepted call to its engine. False: the engine has closed, and the call was taken back as
 * if it never was; its callback is not held any more and will not be called. No lock held. */
bool rsci_call_post(rsca_call *call);

/* Lock held. Marks a call as one that should stop, for the reason `why` (constant), and holds it for what follows.
 * False: it has ended, or was marked before; nothing is held. */
bool rsci_call_mark_cancelled(rsca_call *call, const char *why);

/* After a mark, without the lock: has its engine act on it, and lets it go. */
void rsci_call_post_cancel(rsca_call *call);

/* Posts what was reported for it, or its end, to where it runs. A worker that is replaced does not wait for who answers
 * later: then to where its action is registered. False: that has closed, too. The call held. */
bool rsci_call_post_answer(rsca_call *call, rsci_task *answer);

/* The same for an answer that its engine drops. */
bool rsci_call_keep_answer(rsca_call *call, rsci_task *answer);

/* Marked: from here on what runs for it is made to raise. Any thread, the call held. */
void rsci_call_stop(rsca_call *call);

/* The same at once, in a step of its engine's runner, for a call that is held. Where it was marked before, the task
 * that is on its way finds nothing left to do. */
void rsci_call_cancel_here(rsca_call *call);

/* Says where it was when it was stopped; the first time counts. Copied, as far as there is room for that among the
 * responses. On the thread that runs it. */
void rsci_call_note_where(rsca_call *call, const char *text);

/* Moves queued to running. False: it has ended meanwhile; the engine's hold is given back. */
bool rsci_call_begin(rsca_call *call);

/* One response of a registration, or a part of a run's. In a step of the engine's runner. As the sink's report. */
HRESULT rsci_call_respond(rsca_call *call, const void *bytes, size_t size);

/* Brackets one response, which the caller then hands to the sink itself. begin: RSCI_TELLING_NOTHING: it may, and calls
 * end; otherwise what goes on. */
int rsci_call_tell_begin(rsca_call *call);
void rsci_call_tell_end(rsca_call *call);

/* After RSCA_E_BUSY: has its engine told when there is room. False: there is room already. */
bool rsci_call_await_room(rsca_call *call);

/* For rsci_call_await_room: tells the engine. */
extern const rsci_task_ops rsci_room_ops;

/* Delivers the late reports that wait, room or not: the call has ended, and its final is about to be told. */
void rsci_call_flush_late(rsca_call *call);

/* Frees them. For a call that nobody holds any more. */
void rsci_call_drop_late(rsca_call *call);

/* For the late task. */
extern const rsci_task_ops rsci_late_ops;

/* Ends the call, if nobody has, and gives back the engine's hold: the call is not the engine's to read any more.
 * `bytes` is Borrowed for the call. */
void rsci_call_finish(rsca_call *call, HRESULT status, const void *bytes, size_t size);

/* The consumer of a registration does not want any more: it ends as cancelled. */
void rsci_call_refuse(rsca_call *call);

/* A response that it has given out of its hands was lost for lack of memory: it ends with E_OUTOFMEMORY, as an end is
 * better than a gap. */
void rsci_call_lose(rsca_call *call);

/* Ends a running call for the reason it should stop, if nobody has; the engine keeps its hold. Any thread. */
void rsci_call_end_cancelled(rsca_call *call);

/* Why it should stop, itself or with all others; NULL: it should not. */
const char *rsci_call_why_stop(const rsca_call *call);

/* What it ends with that way. */
HRESULT rsci_call_stop_status(const rsca_call *call);

/* Ends a running call with a failure and a constant text, if nobody has; the engine keeps its hold. Any thread. */
void rsci_call_end(rsca_call *call, HRESULT status, const char *text);

/* Ends a call that has not started, likewise. False: it has. Any thread, the call held. */
bool rsci_call_end_queued(rsca_call *call);

/* Adds to its report or its result. False: there is no memory, or none in its manager's budget, which spoils it. */
bool rsci_call_append(rsca_call *call, rsci_buffer *buffer, const void *bytes, size_t size);

/* For sinks. No lock held. */

/* Counts a result of `size` bytes that a sink keeps elsewhere until it is delivered, as if it were kept here. False:
 * there is no room for it in the budget. */
bool rsci_call_charge(rsca_call *call, size_t size);
void rsci_call_discharge(rsca_call *call, size_t size);

/* Its result, which is the caller's to free from here on. */
rsci_buffer rsci_call_take_result(rsca_call *call);

/* Whether it is the parent's of a fork, and so is whoever would hear of it. */
bool rsci_call_is_dropped(const rsca_call *call);

/* Keeps call->bytes in call->result, so that they outlive the ending. False: out of memory; status and bytes say so
 * instead. */
bool rsci_call_keep_bytes(rsca_call *call);

/* The call counts as ended from here on: its place in the queue is free. Before the callback is called. */
void rsci_call_leave(rsca_call *call);

/* What the callback returned. */
void rsci_call_count_answer(rsca_call *call, HRESULT answer);

/* The callback has been told: gives back the ending's hold. */
void rsci_call_delivered(rsca_call *call);

/* Lock held. Frees the name of a registration; harmless on any other call. */
void rsci_call_leave_session(rsca_call *call);

/* Gives back one hold. */
void rsci_call_let_go(rsca_call *call);

/* Why a registration that was unregistered stops: compared by address. */
extern const char rsci_unregistered[];
extern const char rsci_refused[];
extern const char rsci_timed_out[];
extern const char rsci_cancelled[];
extern const char rsci_lost[];

/* Why a response is not whole. */
extern const char rsci_oversize[];
extern const char rsci_over_budget[];

#endif
