/*
 * The engine seam: what core knows of those who run actions. Plain C functions are one engine, a Lua state is another.
 *
 * Provides: rsci_engine
 * Uses:     runner
 * Threads:  hold, release, post: any
 */
#ifndef RSCI_ENGINE_H
#define RSCI_ENGINE_H

#include <stdbool.h>

#include "refs.h"
#include "runner.h"
#include "thread.h"

typedef struct rsci_engine rsci_engine;
struct rsci_action;
struct rsca_call;
struct rsci_inspected;

typedef struct rsci_engine_ops {
  /* Takes and runs tasks with rsci_runner_next until that returns NULL. Thread that steps. */
  void (*turn)(rsci_engine *engine, rsci_runner *runner);
  /* Begins a call and takes over its hold: rsci_call_finish, now or later, gives it back. Thread that steps. */
  void (*start)(rsci_engine *engine, struct rsca_call *call);
  /* A call should stop: see rsca_call_cancelled. It may have been answered without the engine, and need not have been
   * started, or not be any more. NULL where none is ever started. Thread that steps. */
  void (*cancel)(rsci_engine *engine, struct rsca_call *call);
  /* A response of a started call was refused for lack of room, and there is room now. Thread that steps. */
  void (*room)(rsci_engine *engine, struct rsca_call *call);
  /* Nobody can call this action any more. Any thread; the engine is held until it returns. */
  void (*forget)(rsci_engine *engine, struct rsci_action *action);
  /* The last reference is gone: free it. Any thread. */
  void (*destroy)(rsci_engine *engine);
  /* Makes what runs for a call that should stop raise, if it is running. NULL: that can't be done. Any thread, the call
   * held. */
  void (*interrupt)(rsci_engine *engine, struct rsca_call *call);
  /* Has it tell where a call is: rsci_inspected_tell, once, and the snapshot released. NULL: it can't. Any thread. */
  void (*inspect)(rsci_engine *engine, struct rsci_inspected *inspected);
  /* For an engine that others run the calls of (a pool), else NULL. Any thread. submit: takes an accepted call.
   * withdraw: takes back one that has ended in the queue; false: it is not there any more. */
  bool (*submit)(rsci_engine *engine, struct rsca_call *call);
  bool (*withdraw)(rsci_engine *engine, struct rsca_call *call);
} rsci_engine_ops;

/* Embedded at the start of what an engine is made of. */
struct rsci_engine {
  rsci_lock lock; /* no post is under way while `closed` is set */
  char after_posts[RSCI_LINE_BYTES];
  const rsci_engine_ops *ops;
  rsci_runner *runner; /* held */
  atomic_bool closed;
  char before_runs[RSCI_LINE_BYTES];
  rsci_refs refs;
  atomic_bool elsewhere;               /* what runs is a call of another manager, with limits of its own or none */
  _Atomic(struct rsca_call *) running; /* whose code is on the stack of the thread that steps; NULL: nobody's */
};

/* False: out of memory, and nothing is held. Holds `runner`. */
bool rsci_engine_init(rsci_engine *engine, const rsci_engine_ops *ops, rsci_runner *runner);
/* For destroy: gives back what init took. */
void rsci_engine_fini(rsci_engine *engine);

void rsci_engine_hold(rsci_engine *engine);
void rsci_engine_release(rsci_engine *engine);

/* Posts a task from any thread. False: the engine has closed, and the task is the caller's again. */
bool rsci_engine_post(rsci_engine *engine, rsci_task *task);

/* The same on the engine's own thread, without a lock. */
bool rsci_engine_post_here(rsci_engine *engine, rsci_task *task);

bool rsci_engine_is_closed(rsci_engine *engine);

/* From here on nothing runs on it: posts are refused, and tasks that wait are dropped. Idempotent. Its own thread. */
void rsci_engine_close(rsci_engine *engine);

#endif
