/*
 * A runner: where actions run and handlers are called. Tasks are posted from any thread; one thread at a time steps
 * them, in turns per engine.
 *
 * Provides: rsci_task, rsci_alarm, rsci_runner
 * Uses:     refs, thread, timers, notifier
 * Threads:  post, hold, release: any. The others: the thread that steps, as each says.
 */
#ifndef RSCI_RUNNER_H
#define RSCI_RUNNER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <rsca/status.h>

#include "fork.h"
#include "notifier.h"
#include "refs.h"
#include "thread.h"
#include "timers.h"

typedef struct rsci_task rsci_task;
typedef struct rsci_runner rsci_runner;
struct rsci_engine;

typedef struct rsci_task_ops {
  void (*run)(rsci_task *task);  /* on the thread that steps */
  void (*drop)(rsci_task *task); /* instead of run, when the engine has closed; on any thread */
} rsci_task_ops;

/* Lives inside what is to be done. Once posted it belongs to the runner until run or drop is called. */
struct rsci_task {
  rsci_task *next;
  const rsci_task_ops *ops;
  struct rsci_engine *engine; /* whose turn it takes; borrowed */
};

/* A task that becomes ready at a point in time. */
typedef struct rsci_alarm {
  rsci_timer timer;
  rsci_task *task;
} rsci_alarm;

typedef struct rsci_queue {
  rsci_task *head, *tail;
} rsci_queue;

/* What lives on a runner, and has to do with what the child of a fork inherits. */
typedef struct rsci_heir {
  struct rsci_heir *next, **link;
  /* In the child: ends what it inherited, or, `keep`, of that what was running. In a step's place, before anything is
   * run. */
  void (*inherit)(struct rsci_heir *heir, bool keep);
} rsci_heir;

struct rsci_runner {
  _Atomic(rsci_task *) inbox; /* newest first; pushed by any thread, taken whole by a step */
  rsci_notifier notifier;
  atomic_bool kicked; /* the next wait is none */
  char after_posts[RSCI_LINE_BYTES];

  /* Hardly ever written: */
  atomic_int pins;            /* Lua states that live here: only their own thread may step */
  _Atomic rsci_thread thread; /* the one that steps: where it was made, pinned or last stepped */
  /* Where more tasks of a step come from: those of a pool, which take turns with its own. NULL: from nowhere. */
  rsci_task *(*feed)(void *feeder);
  bool (*has_feed)(void *feeder); /* whether it is worth asking */
  void *feeder;
  unsigned forks;       /* the process that it was last stepped in */
  unsigned heard_from;  /* what was made in a process before this one is nobody's any more */
  rsci_lock heirs_lock; /* Protects the list */
  rsci_heir *heirs;
  rsci_heir *next_heir; /* to inherit */
  bool keep;            /* what is inherited next is kept */

  rsci_refs refs;
  atomic_bool stepping;
  atomic_uint progress; /* changes with every task that is taken */

  /* Only the thread that steps touches what follows. */
  bool feeds;       /* the next task comes from what is fed, if there is one */
  rsci_queue ready; /* for the next step */
  rsci_queue batch; /* of this step */
  rsci_task *fed;   /* the one of the batch that came from there; NULL: none */
  size_t budget;    /* tasks this step may still run */
  size_t ran;       /* tasks this step has run */
  rsci_timers timers;
  uint64_t linger_ns;    /* how long a wait looks around before it sleeps */
  uint64_t waits_ns;     /* since when */
  unsigned short_sleeps; /* after which that should have been longer */
};

/* Returned (+1), or NULL when out of memory. */
rsci_runner *rsci_runner_create(void);
void rsci_runner_hold(rsci_runner *runner);
void rsci_runner_release(rsci_runner *runner);

/* Posts from any thread; engines guard it against their closing, see rsci_engine_post. */
void rsci_runner_post(rsci_runner *runner, rsci_task *task);

/* Posts on the thread that steps, or that alone may: no atomic operation. */
void rsci_runner_post_here(rsci_runner *runner, rsci_task *task);

/* Thread that steps. False: out of memory. */
bool rsci_runner_set_alarm(rsci_runner *runner, rsci_alarm *alarm, uint64_t due_ns);
void rsci_runner_clear_alarm(rsci_runner *runner, rsci_alarm *alarm);

/* Runs what is there now, at most `budget` tasks (0: no bound); what they post waits for the next step. `*ran` is
 * how many were run. False, and nothing done, when the runner is being stepped already. */
bool rsci_runner_step(rsci_runner *runner, size_t budget, size_t *ran);

/* A step of the caller's own making, as when a shutdown ends calls. False: a step is on. */
bool rsci_runner_enter(rsci_runner *runner);
void rsci_runner_leave(rsci_runner *runner);

/* The step that is on will never go on: its stack is left for good. */
void rsci_runner_abandon_step(rsci_runner *runner);

/* ---- Forks ---- */

void rsci_runner_add_heir(rsci_runner *runner, rsci_heir *heir);
void rsci_runner_remove_heir(rsci_runner *runner, rsci_heir *heir);

/* In the child of a fork, before it steps: says whether what it inherited is kept. S_OK; S_FALSE: it has inherited
 * nothing, or has done so already; RSCA_E_INVALID_STATE: it has dropped it already. Thread that steps. */
HRESULT rsci_runner_after_fork(rsci_runner *runner, bool keep);

/* In the child of a fork, of a runner that a thread of ours steps: that is not in this process. */
void rsci_runner_leave_stepper(rsci_runner *runner);

/* Whether what was made when rsci_forks was `forks` is not to be heard of any more, as a fork left it behind. */
bool rsci_runner_drops(const rsci_runner *runner, unsigned forks);

/* For an engine's turn: its next task of this step, or NULL when the turn is over. */
rsci_task *rsci_runner_next(rsci_runner *runner, const struct rsci_engine *engine);

/* For an engine that can't go on: the step ends, and what is left waits for the next. */
void rsci_runner_give_up(rsci_runner *runner);

/* Whether a step is on: on this thread's stack, or on another thread. */
bool rsci_runner_is_stepping(rsci_runner *runner);

/* Whether a step is on, on this thread's stack. */
bool rsci_runner_is_stepped_here(rsci_runner *runner);

/* Whether Lua states live here, and this is their thread: nobody else steps. */
bool rsci_runner_is_mine(rsci_runner *runner);

/* Whether this thread is the one that steps, and no step is on. */
bool rsci_runner_may_step(rsci_runner *runner);

/* Says that a Lua state of this thread lives here, or that it does no more. */
void rsci_runner_pin(rsci_runner *runner);
/* From here on it is this thread that steps. */
void rsci_runner_move_here(rsci_runner *runner);
void rsci_runner_unpin(rsci_runner *runner);
bool rsci_runner_is_pinned(rsci_runner *runner);

/* Nanoseconds until there is something to do: 0 now, UINT64_MAX nothing known. Thread that steps. */
uint64_t rsci_runner_timeout_ns(rsci_runner *runner);

/* Blocks until there is something to do, a signal handler ran, or `timeout_ns` passed. Thread that steps, outside a
 * step. False: a signal interrupted it. */
bool rsci_runner_wait(rsci_runner *runner, uint64_t timeout_ns);

/* The two halves of a wait. linger: looks for what comes at once, where another processor may bring it; true: it came.
 * sleep: without looking around. */
bool rsci_runner_linger(rsci_runner *runner, uint64_t timeout_ns);
bool rsci_runner_sleep(rsci_runner *runner, uint64_t timeout_ns);

/* Waits without sleeping, until there is something to do or it is `until_ns`. Thread that steps. */
void rsci_runner_watch(rsci_runner *runner, uint64_t until_ns);

/* Ends a wait, the one that is on or the next one. Any thread. */
void rsci_runner_kick(rsci_runner *runner);

/* The descriptor for a host to watch, or -1. */
int rsci_runner_fd(rsci_runner *runner);

/* Drops every task of `engine`, which has closed. Thread that steps. */
void rsci_runner_flush(rsci_runner *runner, const struct rsci_engine *engine);

#endif
