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
#include "object.h"
#include "state.h"
#include "text_args.h"

typedef struct rscl_subscription rscl_subscription;

/* subscribe(name, args, handler): pushes a subscription, or nil, err. `proxy`: index of the manager's. */
int rscl_subscribe(lua_State *L, rscl_state *state, rsca_manager *manager, int proxy, rscl_text name, rscl_text args,
                   int handler);

/* responses(name, args): pushes what a generic for needs; raises the err where it is refused. */
int rscl_responses(lua_State *L, rscl_state *state, rsca_manager *manager, int proxy, rscl_text name, rscl_text args);

/* The documented method, in the manager's default session. */
HRESULT rscl_register_callback(lua_State *L, rscl_state *state, rsca_manager *manager, int proxy, rscl_text name,
                               rscl_text args, int handler);

/* The same with a manager that somebody else implemented; `proxy`: index of its. */
int rscl_subscribe_foreign(lua_State *L, rscl_state *state, IPmCustomActions2 *actions, int proxy, rscl_text name,
                           rscl_text args, int handler);
int rscl_responses_foreign(lua_State *L, rscl_state *state, IPmCustomActions2 *actions, int proxy, rscl_text name,
                           rscl_text args);
HRESULT rscl_register_foreign(lua_State *L, rscl_state *state, IPmCustomActions2 *actions, int proxy, rscl_text name,
                              rscl_text args, int handler);

/* The handler that was given a response has ended; the fiber's reference goes with it. */
void rscl_subscription_handled(rscl_subscription *subscription, HRESULT answer);

/* Whether the call answers a registration whose handler hangs on a proxy of this state. */
bool rscl_subscription_hangs(const rscl_state *state, const rsca_call *call);

/* The state closes: nobody takes any more. */
void rscl_subscriptions_close(rscl_state *state);

extern const rscl_type rscl_subscription_type;

/* ---- What hangs on a manager's proxy: its second user value, slot -> value ---- */

/* Puts the value on top into a slot of the weak table, and into the proxy. `hanging`: index of the weak table.
 * [-1, +0, m] */
rscl_slot rscl_hang(lua_State *L, rscl_state *state, int hanging, int proxy, void *owner);

/* Never fails. [-0, +0, -] */
void rscl_unhang(lua_State *L, rscl_state *state, const void *owner, rscl_slot slot);

/* The proxy goes: what is still hanging on it stays for those who will close it. [-0, +0, -] */
void rscl_keep_hanging(lua_State *L, int box, int proxy, const rsca_manager *manager);

#endif
