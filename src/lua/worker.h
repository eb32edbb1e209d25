/*
 * Workers of a pool: Lua states of our own that have run the same script, one per thread.
 *
 * Provides: rscl_script, rscl_worker
 * Uses:     state, module, nesting, core/pool
 * Threads:  rscl_script_load: any; the others: the worker's
 */
#ifndef RSCL_WORKER_H
#define RSCL_WORKER_H

#include <rsca/lua.h>

#include "core/pool.h"
#include "memory.h"
#include "state.h"

typedef struct rscl_script rscl_script;

/* An action of the script, in one state. */
typedef struct rscl_worker_action {
  rscl_slot slot; /* of the functions table; 0: this state has none */
  bool wants_context;
} rscl_worker_action;

typedef struct rscl_worker {
  rscl_script *script; /* borrowed */
  rsci_runner *runner; /* borrowed, as the engine holds it */
  lua_State *L;
  rscl_memory memory;
  size_t collect_at;   /* bytes held outside of Lua for which garbage is looked for */
  HRESULT load_status; /* what it failed with */
  bool loading;        /* its script is being run: actions are registered then */
  unsigned overruns;   /* how often in a row what is no call was stopped by the limit, and when that was last */
  uint64_t overrun_ns;
  rscl_worker_action *actions;
  size_t action_count;
} rscl_worker;

/* Where workers send what they have to say: a state that shows it to its own hooks. NULL: nowhere. */
struct rscl_relay;

/* Loads a script into the pool of `manager`, and waits for that: as rsca_lua_load_script. `asker`: the state that wants
 * it, which may be stopped meanwhile; NULL: none. `relay`: taken over. */
HRESULT rscl_script_load(rsca_manager *manager, const rsca_lua_script *source, const rscl_state *asker,
                         struct rscl_relay *relay, char *message, size_t size);

/* How many bytes a worker's state may have beyond its limit from here on, to say what went wrong; nothing for any other
 * state. Returns what it was. */
size_t rscl_worker_set_reserve(rscl_state *state, size_t bytes);

/* Bytes that are held for the state outside of Lua: they count as its memory. charge: false where they go beyond its
 * limit. Any other state has room. Thread that steps. */
bool rscl_worker_has_room(const rscl_state *state, size_t bytes);
bool rscl_worker_charge(rscl_state *state, size_t bytes);
void rscl_worker_discharge(rscl_state *state, size_t bytes);

/* What counts them, on any thread; NULL: nothing does. Borrowed. */
rsci_budget *rscl_worker_account(const rscl_state *state);

/* Before more of that is asked for: Lua's collector does not see it, and garbage may hold it. [-0, +0, -] */
void rscl_worker_collect(lua_State *L, rscl_state *state);

/* What belongs to no call of its pool has run for as long as a call may, and was stopped. Ends the turn where that
 * happens over and over. */
void rscl_worker_overran(rscl_state *state);

/* After its tasks: has a worker's state replaced that had no memory for something, and will hardly have more; or that
 * has no time for calls. Outside of any turn. */
void rscl_worker_settle(rscl_state *state);

/* The number of an action that the script registers now; a new one while it is loaded the first time. False: it did not
 * register that one then, or there is no memory (`*known`: which). */
bool rscl_worker_number(rscl_worker *worker, const char *name, size_t *number, bool *known);

/* Whether this is the first time that its script is run. */
bool rscl_worker_is_first(const rscl_worker *worker);

/* Notes the function of an action in this state. False: out of memory. */
bool rscl_worker_put(rscl_worker *worker, size_t number, rscl_worker_action action);

#endif
