/*
 * Subscriptions: registrations whose responses come to Lua, to a handler or to an iterator.
 *
 * Provides: rscl_subscription, subscribe, responses
 * Uses:     fiber, handler, object, core/stream
 * Threads:  the state's own; the sink: any
 *
 * A handler hangs on its manager's proxy, and so does the coroutine of an action of the same state that answers it: a
 * script's registrations keep nothing alive.
 */
#ifndef RSCL_SUBSCRIPTION_H
#define RSCL_SUBSCRIPTION_H

#include "core/stream.h"
#include "fiber.h"
#include "object.h"
#include "state.h"
#include "text_args.h"

typedef struct rscl_subscription rscl_subscription;

struct rscl_subscription {
  rscl_owned owned;                   /* by its object */
  rsci_refs refs;                     /* the object's, the sink's, the delivery's, and one while a handler runs */
  unsigned forks;                     /* the process that it was begun in */
  rscl_state *state;                  /* held */
  rscl_subscription *next, *previous; /* of those with a delivery */
  rsci_stream *stream;                /* held */
  rsci_budget *account;               /* held: of the worker's state that has it; NULL: none */
  rsca_manager *manager;              /* its memory is kept while there is a delivery; NULL: a foreign one */
  const void *owner;                  /* the manager, or the foreign object: finds the proxy */
  uint64_t id;
  rscl_slot slot;          /* of the handler; 0: an iterator takes */
  rscl_slot anchor;        /* of that proxy, in the strong table, while there is a delivery */
  rsci_response *response; /* taken, but not given to the handler yet */
  rsci_taken taken;        /* what that is */
  HRESULT status;
  WCHAR *foreign_name; /* owned */
  bool foreign;        /* the action is of a manager that somebody else implemented */
  bool delivering;     /* has a delivery: the final has not been given */
  bool busy;           /* a handler runs */
  bool pumping;
  bool closed;          /* by the script: only the final is given */
  bool queued;          /* its task has been posted */
  rsci_task task;       /* goes on with the delivery */
  rscl_waiters waiters; /* of an iterator */
};

/* subscribe(name, args, handler): pushes a subscription, or nil, err. `proxy`: index of the manager's. */
int rscl_subscribe(lua_State *L, rscl_state *state, int proxy, rscl_text name, rscl_text args, int handler,
                   uint64_t limit_ns);

/* The documented method, in the manager's default session. */
HRESULT rscl_register_callback(lua_State *L, rscl_state *state, int proxy, rscl_text name, rscl_text args, int handler);

/* The handler that was given a response has ended; the fiber's reference goes with it. */
void rscl_subscription_handled(rscl_subscription *subscription, HRESULT answer);

/* The same where an error has hit the turn meanwhile: a pump that ran the handler does not go on. */
void rscl_subscription_broken_off(rscl_subscription *subscription);

/* Whether the call answers a registration whose handler hangs on a proxy of this state. */
bool rscl_subscription_hangs(const rscl_state *state, const rsca_call *call);

/* The state closes: nobody takes any more. */
void rscl_subscriptions_close(rscl_state *state);

/* ---- For those who start them ---- */

/* An object without a subscription yet; `proxy`: index of its manager's. [-0, +1, m] */
rscl_owner *rscl_subscription_push(lua_State *L, int proxy);

/* Its subscription; NULL: finalized, or never made. */
rscl_subscription *rscl_subscription_of(const rscl_owner *object);

/* Makes it. `owner`: the manager, or the foreign object. The object has its one reference; NULL: out of memory. */
rscl_subscription *rscl_subscription_create(lua_State *L, rscl_owner *object, rscl_state *state, const void *owner,
                                            rsci_stream_limits limits);

/* Starts one whose handler, if any, is at `handler`, in the default session where it is `documented`; after a failure
 * it has no delivery. The object owns it.
 * [-0, +0, m] */
HRESULT rscl_subscription_start(lua_State *L, rscl_state *state, rscl_owner *object, bool documented, int proxy,
                                rscl_text name, rscl_text args, int handler, uint64_t limit_ns);

/* From here on there is a delivery: it is waited for. */
void rscl_subscription_begin(rscl_subscription *subscription);

/* Nothing is delivered any more; harmless where nothing was. The handler is let go where there is a Lua state (L) to do
 * it in. [-0, +0, -] */
void rscl_subscription_end(rscl_subscription *subscription, lua_State *L);

extern const rscl_type rscl_subscription_type;

#endif
