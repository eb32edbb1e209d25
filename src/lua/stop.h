/*
 * Stopping Lua code that does not stop by itself: what runs is made to raise, whatever it does about that.
 *
 * Provides: rscl_stop
 * Uses:     state, core/stop_signal
 * Threads:  the state's own, but for rscl_stop_interrupt
 *
 * Nothing is armed while nothing is due: a count hook makes tight loops take twice as long. When a call should stop,
 * the stop signal's handler sets the hook, on the state's own thread, for the coroutine that runs and all that wait for
 * it. The hook raises. What catches that gets one time for clean-up, for all of it together; after that every
 * instruction raises. Where RSCA_STOP_POLLING is set the hook is there all the time, and asks.
 */
#ifndef RSCL_STOP_H
#define RSCL_STOP_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <lua.h>

#include "core/thread.h"

struct rsca_call;
typedef struct rscl_state rscl_state;

/* A coroutine that runs, or waits for one that it has resumed. On the C stack. */
typedef struct rscl_running {
  lua_State *co;
  struct rscl_running *outer;
} rscl_running;

typedef struct rscl_stop {
  rsci_thread thread;      /* the state's, while something runs */
  rscl_state *outer;       /* the state that ran on that thread when this one's outermost run began; NULL: none */
  atomic_int senders;      /* threads that may be about to send a signal */
  atomic_int signals;      /* sent, and not handled yet */
  atomic_bool interrupted; /* somebody at a prompt wants what runs to end */
  rscl_running *volatile running;
  uintptr_t stack;                            /* where the C stack was when the outermost of these was begun */
  _Atomic(struct rsci_inspected *) inspected; /* somebody wants to know where what runs is */
  uint64_t polled_due_ns; /* of what runs without a call: the hook itself looks whether that has come; 0: never */
  bool raised;            /* it has been made to raise, and has this time for its clean-up: */
  uint64_t clean_up_ns;   /* until when */
  uint64_t last_ns;       /* of a worker that goes: until when all clean-up is to be over; 0: it does not go */
  bool closing;           /* what runs is clean-up */
  lua_State *yielded;     /* the coroutine that was stopped with a yield, until whoever resumed it sees that */
  char *where;            /* owned: where what ran without a call was then */
} rscl_stop;

/* What a run was in, to be restored. */
typedef struct rscl_run {
  rscl_running running;
  struct rsca_call *outer_call;
  uint64_t outer_polled_due_ns;
  bool outer_closing;
  bool outer_raised;
  bool took_thread; /* it is not part of a turn */
  rscl_state *outer_state;
} rscl_run;

/* From here on the signals that this thread is sent are for `state`. Returns whom they were for; to be given back. A
 * turn does so, and spares what runs in it the trouble. */
rscl_state *rscl_stop_take_thread(rscl_state *state);
void rscl_stop_give_thread(rscl_state *outer);

/* Brackets the running of `co` for `call`, or, `closing`, of its clean-up. NULL: for none; then a worker's time limit
 * holds, at the price of a hook. leave: whether it was stopped; then it is to be closed, however it ended. */
void rscl_stop_enter(rscl_state *state, rscl_run *run, lua_State *co, struct rsca_call *call, bool closing);
bool rscl_stop_leave(rscl_state *state, rscl_run *run);

/* Notes what runs now, for a leave after an error that came out of what was entered since. */
void rscl_stop_mark(rscl_state *state, rscl_run *run);

/* lua_pcall of what is called for a script, its __tostring and hooks. For a call: as what it runs itself. NULL: for
 * none; then it has no more time than a clean-up, in a worker. */
int rscl_stop_pcall(lua_State *L, rscl_state *state, struct rsca_call *call, int nargs, int nresults);

/* The same for a coroutine that Lua code resumes. nest stops L itself if that is due. unnest: whether the coroutine was
 * stopped; then it is to be closed, and the stop passed on. [-0, +0, v] */
void rscl_stop_nest(lua_State *L, rscl_state *state, rscl_running *running, lua_State *co);
bool rscl_stop_unnest(rscl_state *state, rscl_running *running);

/* Bytes of the C stack that are in use since the outermost of what runs was begun. */
size_t rscl_stop_stack_used(const rscl_state *state);

/* Stops L where a stop is due; returns where it has time for clean-up. [-0, +0, v] */
void rscl_stop_pass_on(lua_State *L, rscl_state *state);

/* Says that what follows is clean-up; returns what was said before. */
bool rscl_stop_set_closing(rscl_state *state, bool closing);

/* Whether what runs should stop: it may not wait, and errors are passed on as they are. */
bool rscl_stop_is_due(const rscl_state *state);

/* Where what ran without a call was when it was stopped, until that is forgotten. NULL: it was not, or nobody knows. */
const char *rscl_stop_where(const rscl_state *state);
void rscl_stop_forget_where(rscl_state *state);

/* What the hook raises is worth no message of its own. */
bool rscl_stop_is_error(lua_State *L, int index);

/* For the engine: has the thread of the state look up, if it runs that call. Any thread. */
void rscl_stop_interrupt(rscl_state *state, const struct rsca_call *call);

#endif
