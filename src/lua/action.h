/*
 * Actions written in Lua: registering them, and what the engine seam asks of them.
 *
 * Provides: rscl_action_*, the ctx object
 * Uses:     fiber, object, error
 */
#ifndef RSCL_ACTION_H
#define RSCL_ACTION_H

#include "object.h"
#include "state.h"

/* The engine seam. */
void rscl_action_start(rsci_engine *engine, rsca_call *call);
void rscl_action_cancel(rsci_engine *engine, rsca_call *call);
void rscl_action_room(rsci_engine *engine, rsca_call *call);
void rscl_action_forget(rsci_engine *engine, rsci_action *action);

/* How many results of a fiber's function count. */
#define RSCL_MOST_RESULTS 3

/* What an action's results mean. Bytes are borrowed from the stack or are constant. */
typedef struct rscl_outcome {
  HRESULT status;
  const char *bytes;
  size_t size;
  int index; /* of the Lua string that these are; 0: of none that was returned */
} rscl_outcome;

/* The `nresults` (at most RSCL_MOST_RESULTS) results from index `first` to the top. `*outcome` is all zero, which is
 * S_OK and nothing. [-0, +1, e] */
void rscl_action_returned(lua_State *L, rscl_state *state, rsca_call *call, int first, int nresults,
                          rscl_outcome *outcome);

/* register(name [, options], function): arguments from index `first`. The function is kept in the user value of the
 * proxy at `proxy`. Returns true, or nil, err. */
int rscl_action_register(lua_State *L, rscl_state *state, int proxy, int first);

extern const rscl_type rscl_context_type;

#endif
