/*
 * A Lua state as rsca sees it: the engine that runs its actions, its mailbox, and what it keeps alive.
 *
 * Provides: rscl_state, turns, slots
 * Uses:     core's engine seam
 * Threads:  everything on the state's own thread, but for what the engine seam calls from elsewhere
 *
 * There is one rscl_state per lua_State universe. A userdata, the box, stands for it in Lua: it sits in the registry
 * under the address of a static, is the first upvalue of every function of the module, and its finalizer closes the
 * state. The rscl_state itself lives as long as anybody refers to it; closed, it refuses.
 *
 * Raising: code under a turn works on the turn's own lua_State and may raise. On a coroutine that is about to be
 * resumed, or was, nothing may: an error there has no protected call to go to. Push on the turn's, then lua_xmove.
 */
#ifndef RSCL_STATE_H
#define RSCL_STATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <lauxlib.h>
#include <lua.h>

#include <rsca/lua.h>

#include "core/engine.h"
#include "core/manager.h"
#include "memory.h"
#include "object.h"
#include "stop.h"

typedef struct rscl_fiber rscl_fiber;
typedef uint32_t rscl_slot; /* a place in the slots table; 0: none */

/* Places of a Lua table, handed out and taken back without searching. */
typedef struct rscl_slots {
  struct rscl_slot_entry {
    uint32_t generation;
    rscl_slot next_free;
    void *owner;
  } * entries; /* [0] is not used */
  uint32_t capacity;
  rscl_slot free;
} rscl_slots;

/* So many fibers that are done are kept with their coroutine, in its slot still, to run something else. */
enum { RSCL_MOST_SPARES = 64 };

typedef struct rscl_state rscl_state;

/* The Lua string that a call is just being ended with: its bytes, and where on the turn's stack it is. */
typedef struct rscl_answer {
  const char *bytes; /* NULL: there is none */
  int index;
} rscl_answer;

/* What must be put right if an error (out of memory, mostly) ends the work on something half-way. */
typedef struct rscl_guard {
  void (*undo)(rscl_state *state, void *subject, lua_State *L, int status); /* message on top; [-0, +0, -] */
  void *subject;
} rscl_guard;

struct rscl_state {
  rsci_engine engine;
  lua_State *service; /* a coroutine of our own that turns work on: hooks of the caller's (lua5.4's Ctrl-C) stay out */
  lua_State *turn;    /* the same while a turn is on, else NULL */
  rsca_manager *own;  /* held; by a worker only its memory is kept */
  rsci_heir heir;

  rscl_slots slots;     /* of the strong table: handlers, coroutines */
  rscl_slots functions; /* of a weak table: action functions, which hang on their manager's proxy */
  rscl_slots hanging;   /* of another: what else hangs there */

  rscl_fiber *current; /* the fiber being resumed or closed */
  rscl_fiber *fibers;  /* all that have not ended */
  rscl_fiber *free_fibers;
  bool guarded; /* its scripts get hold of a coroutine by our functions only, see nesting.h */
  rscl_fiber *spares;
  size_t spare_count;
  size_t fiber_count;
  struct rscl_subscription *subscriptions; /* whose final has not been given */
  bool closing;
  bool idle;      /* the adapter was told last that nothing is pending */
  bool adapted;   /* the host's coroutines have a way of their own to wait, see adapter.h */
  bool suspended; /* a fiber began to wait since the closer was made */
  const void *closer;
  size_t expected;  /* results on their way to handlers and requests of this state */
  rscl_guard guard; /* what the turn is about */
  rscl_answer answer;
  rsca_lua_hooks hooks; /* the host's */
  rscl_stop stop;
  struct rscl_worker *worker; /* of a state in a pool, else NULL */
};

typedef struct rscl_box {
  rscl_state *state;   /* NULL: closed */
  rsci_runner *runner; /* held until the box itself is finalized */
  rscl_owned_list owned;
} rscl_box;

/* Of the box at `index`. */
static inline rscl_owned_list *rscl_owned_of_box(lua_State *L, int index) {
  return &((rscl_box *)lua_touserdata(L, index))->owned;
}

/* User values of the box. */
enum {
  RSCL_UV_SLOTS = 1, /* strong: slot -> handler or coroutine */
  RSCL_UV_FUNCTIONS, /* weak: slot -> action function */
  RSCL_UV_HANGING,   /* weak: slot -> handler of a registration, or coroutine that answers one */
  RSCL_UV_ANCHORS,   /* manager -> its proxy, where something outside needs it; else false */
  RSCL_UV_MANAGERS,  /* weak: manager -> proxy */
  RSCL_UV_NATIVES,   /* weak: native object of somebody else -> proxy */
  RSCL_UV_MODULE,    /* the module table, for its hooks */
  RSCL_UV_CLOSER,    /* closes the state before the finalizers of what its coroutines use have run */
  RSCL_UV_ADAPTER,   /* what waits where the host has a loop; nil: nothing */
  RSCL_UV_COUNT = RSCL_UV_ADAPTER
};

/* The box is the first upvalue of every function of the module. Raises once the state has closed. */
#define RSCL_BOX lua_upvalueindex(1)
rscl_state *rscl_check_state(lua_State *L);

/* Creates the state of this universe and its box, with `manager` as its own, or a new one where that is NULL; for a
 * worker of it, with its runner. [-0, +1, m] the box */
HRESULT rscl_state_create(lua_State *L, rsca_manager *manager, struct rscl_worker *worker);

/* Makes the box on top the universe's, for rscl_push_box: once all that goes with it is there. [-0, +0, m] */
void rscl_state_publish(lua_State *L);

/* Pushes the box, or nil where the universe has none. [-0, +1, -]; NULL: none, or closed */
rscl_state *rscl_push_box(lua_State *L);

/* ---- Turns ---- */

/* What a turn's lua_State has at its bottom. */
enum { RSCL_TURN_BOX = 1, RSCL_TURN_SLOTS, RSCL_TURN_FUNCTIONS, RSCL_TURN_HANGING, RSCL_TURN_TOP = RSCL_TURN_HANGING };

/* Runs `work` under protection with a turn's stack, also in a turn: whoever calls this may hold something. An error
 * that comes out of it is put right by the guard that `work` has set. */
void rscl_state_protect(rscl_state *state, void (*work)(rscl_state *state, void *data), void *data);

static inline void rscl_guard_set(rscl_state *state, void (*undo)(rscl_state *, void *, lua_State *, int),
                                  void *subject) {
  state->guard = (rscl_guard){undo, subject};
}

static inline void rscl_guard_clear(rscl_state *state) {
  state->guard = (rscl_guard){NULL, NULL};
}

/* Whether this is the state's own thread, in a step. */
static inline bool rscl_is_here(const rscl_state *state) {
  return rsci_runner_is_stepped_here(state->engine.runner);
}

/* ---- Slots ---- */

/* Makes sure that a slot is free. `table`: index of the Lua table. [-0, +0, m] */
void rscl_slots_reserve(lua_State *L, int table, rscl_slots *slots);

/* Puts the value on top into a reserved slot. Never fails. [-1, +0, -] */
rscl_slot rscl_slots_put(lua_State *L, int table, rscl_slots *slots, void *owner);

/* Never fails. [-0, +0, -] */
void rscl_slots_clear(lua_State *L, int table, rscl_slots *slots, rscl_slot slot);

/* A slot together with its generation, for those who may come late. */
static inline uint64_t rscl_slots_ticket(const rscl_slots *slots, rscl_slot slot) {
  return (uint64_t)slots->entries[slot].generation << 32 | slot;
}

/* The owner of the slot that the ticket names; NULL: it has been cleared since. */
void *rscl_slots_owner(const rscl_slots *slots, uint64_t ticket);

#endif
