/*
 * Fibers: the coroutines that rsca resumes. Actions, handlers and spawned functions run on them, so they may wait.
 *
 * Provides: rscl_fiber, waiting
 * Uses:     state
 * Threads:  the state's own
 */
#ifndef RSCL_FIBER_H
#define RSCL_FIBER_H

#include "state.h"

struct rscl_request;

typedef enum rscl_fiber_kind { RSCL_ACTION, RSCL_HANDLER, RSCL_SPAWNED } rscl_fiber_kind;

typedef enum rscl_wait {
  RSCL_NO_WAIT, /* runs, or gave way with a yield of its own */
  RSCL_WAIT_TIME,
  RSCL_WAIT_REQUEST,
  RSCL_WAIT_ROOM,  /* for a response that its registration has no room for */
  RSCL_WAIT_STREAM /* for the next response */
} rscl_wait;

/* The fibers that wait for the same thing. */
typedef struct rscl_waiters {
  rscl_fiber *first;
} rscl_waiters;

struct rscl_fiber {
  rscl_fiber *next, *previous;
  rscl_state *state;
  lua_State *co; /* anchored in `slot`; NULL: ended, and its task is still queued */
  rscl_slot slot;
  unsigned forks;                         /* the process that it was made in */
  const rsca_manager *hangs_on;           /* the manager on whose proxy the coroutine hangs; NULL: the state keeps it */
  struct rscl_subscription *subscription; /* whose response a handler was given; held */
  rsca_call *call;                        /* the call that an action answers, or whose result a handler was given */
  rscl_fiber_kind kind;
  rscl_wait wait;

  int nargs;             /* of its first run, where that was posted */
  HRESULT close_status;  /* to be closed with, once there is memory for it */
  const char *close_why; /* and for this reason; NULL: it is not */

  bool queued;    /* its task has been posted */
  bool has_alarm; /* its alarm was set; when it is not set any more, it has posted the task */
  bool closing;   /* its coroutine is being closed: nothing waits */
  bool exposed;   /* a script has got hold of its coroutine */
  bool returned;  /* its function has, in the ordinary way */
  bool given_up;  /* nobody wants its outcome: its task closes it */
  bool hosted;    /* a coroutine of the host's waits for it, see adapter.h */
  bool forked;    /* what it waits for, or is about to, was left behind by a fork: it hears of that once */

  rsci_task task;
  rsci_alarm alarm;
  struct rscl_request *request;           /* what it awaits; held */
  rscl_fiber *next_waiter, **waiter_link; /* of those who wait for the same; NULL: on no list */
  rscl_waiters room;                      /* of an action: those who wait for room in its registration */
};

/* A fiber with an empty coroutine. `slots`: index of the slots table, which keeps that. [-0, +0, m] */
rscl_fiber *rscl_fiber_create(lua_State *L, int slots, rscl_state *state, rscl_fiber_kind kind, rsca_call *call);

/* The same for the answer to a registration of this state: it hangs on the proxy at `proxy`. In a turn. */
rscl_fiber *rscl_fiber_create_hanging(lua_State *L, int proxy, rscl_state *state, rsca_call *call);

/* Its slot's ticket. */
uint64_t rscl_fiber_ticket(const rscl_fiber *fiber);

/* Moves the function and `nargs` arguments from the turn's stack to the fiber, and runs it until it waits or ends. */
void rscl_fiber_run(rscl_fiber *fiber, int nargs);

/* The same from the stack of L, for the next step. False: no memory for the arguments; the fiber is none any more. */
bool rscl_fiber_post(rscl_fiber *fiber, lua_State *L, int slots, int nargs);

/* Ends an action or a spawned function without touching its coroutine, the call with `status` and the constant text
 * `why`: there is no memory left to close it, or its <close> variables are the parent's of a fork. */
void rscl_fiber_abandon(rscl_fiber *fiber, HRESULT status, const char *why);

/* Posts a fiber that waits, once. */
void rscl_fiber_wake(rscl_fiber *fiber);

/* Puts the fiber on a list of those who wait, off any other. */
void rscl_fiber_wait_on(rscl_fiber *fiber, rscl_waiters *waiters, rscl_wait wait);

/* Takes it off its list; harmless if it is on none. */
void rscl_fiber_unwait(rscl_fiber *fiber);

/* Wakes all of them, and leaves the list empty. */
void rscl_waiters_wake(rscl_waiters *waiters);

/* Has the next step close a spawned function. Also in finalizers. */
void rscl_fiber_give_up(rscl_fiber *fiber);

/* Closes a fiber that waits: its pending <close> variables run; then its call ends with `status` and the constant
 * text `why` (a cancelled call: for its own reason). For lack of memory that may be in a following step. */
void rscl_fiber_close(rscl_fiber *fiber, HRESULT status, const char *why);

/* Frees those that are done. */
void rscl_fibers_fini(rscl_state *state);

/* How the code running on L may wait. */
typedef enum rscl_mode {
  RSCL_YIELD,  /* set up the current fiber's wait and yield */
  RSCL_BLOCK,  /* block and step the state */
  RSCL_ADAPT,  /* the host's way: see adapter.h */
  RSCL_CLOSING /* not at all: answer nil, err */
} rscl_mode;

/* Raises where no way is open. [-0, +0, v] */
rscl_mode rscl_wait_mode(lua_State *L, rscl_state *state);

/* Answers a wait on a fiber that is being closed. [-0, +2, m] */
int rscl_push_closing(lua_State *L);

/* For continuations: the fiber that was resumed. Raises where somebody else resumed the coroutine. [-0, +0, v] */
rscl_fiber *rscl_resumed(lua_State *L, rscl_state *state);

/* rsca.sleep(seconds), also ctx:sleep(seconds) */
int rscl_sleep(lua_State *L, rscl_state *state, int seconds_arg);

/* One blocking round outside any step: steps, and where nothing was done waits until `due_ns` (monotonic; UINT64_MAX:
 * no limit). Lets a hook such as Ctrl-C's raise. Returns what was run. [-0, +0, e] */
size_t rscl_block(lua_State *L, rscl_state *state, uint64_t due_ns);

/* Seconds at `arg` as nanoseconds; UINT64_MAX for none or huge. Raises on what is not a number, negative or NaN. */
uint64_t rscl_check_ns(lua_State *L, int arg);

#endif
