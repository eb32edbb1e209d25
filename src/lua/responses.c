#include "responses.h"

#include <stdlib.h>

#include "adapter.h"
#include "error.h"
#include "fiber.h"
#include "foreign_registration.h"

static int next_response(lua_State *L);

static int next_arrived(lua_State *L, int status, lua_KContext context) {
  (void)status;
  (void)context;
  (void)rscl_resumed(L, rscl_check_state(L));
  return next_response(L);
}

/* The iterator: upvalues are the box, the subscription and the action's name. */
static int next_response(lua_State *L) {
  rscl_state *state = rscl_check_state(L);
  int object = lua_upvalueindex(2);
  rscl_subscription *sub = rscl_subscription_of(lua_touserdata(L, object));
  while (sub && sub->delivering) {
    if (sub->taken == RSCI_TAKEN_NOTHING)
      sub->taken = rsci_stream_take(sub->stream, &sub->response, &sub->status);
    if (sub->taken == RSCI_TAKEN_NOTHING) {
      rscl_mode mode = rscl_wait_mode(L, state);
      if (mode == RSCL_CLOSING) { /* it is not at its end */
        (void)rscl_push_closing(L);
        return lua_error(L);
      }
      if (mode == RSCL_YIELD) {
        rscl_fiber_wait_on(state->current, &sub->waiters, RSCL_WAIT_STREAM);
        return lua_yieldk(L, 0, 0, next_arrived);
      }
      if (mode == RSCL_ADAPT)
        return rscl_adapt(L, 0);
      (void)rscl_block(L, state, UINT64_MAX);
      continue;
    }
    const char *bytes = sub->response ? sub->response->bytes : "";
    size_t size = sub->response ? sub->response->size : 0;
    bool failed = FAILED(sub->status), final = sub->taken == RSCI_TAKEN_FINAL;
    if (failed)
      rscl_push_error(L, sub->status, bytes, size, lua_tostring(L, lua_upvalueindex(3)));
    else
      lua_pushlstring(L, bytes, size);
    free(sub->response);
    sub->response = NULL;
    sub->taken = RSCI_TAKEN_NOTHING;
    if (final)
      rscl_subscription_end(sub, L);
    if (failed)
      return lua_error(L);
    return final && size == 0 ? 0 : 1; /* somebody else's last response may come with the end */
  }
  return 0;
}

/* What a generic for needs: the iterator, nil, nil, and the subscription, on top, to be closed when the loop is left.
 * Not started yet: what may raise comes first. [-0, +4, m] */
static rscl_owner *push_iterator(lua_State *L, int proxy, rscl_text name) {
  rscl_owner *object = rscl_subscription_push(L, proxy);
  int subscription = lua_gettop(L);
  lua_pushvalue(L, RSCL_BOX);
  lua_pushvalue(L, subscription);
  lua_pushlstring(L, name.data, name.size);
  lua_pushcclosure(L, next_response, 3);
  lua_pushnil(L);
  lua_pushnil(L);
  lua_pushvalue(L, subscription);
  return object;
}

static int started(lua_State *L, HRESULT status, rscl_text name) {
  if (SUCCEEDED(status))
    return 4;
  (void)rscl_refused(L, status, name.data);
  return lua_error(L);
}

int rscl_responses(lua_State *L, rscl_state *state, int proxy, rscl_text name, rscl_text args, uint64_t limit_ns) {
  rscl_owner *object = push_iterator(L, proxy, name);
  return started(L, rscl_subscription_start(L, state, object, false, proxy, name, args, 0, limit_ns), name);
}

int rscl_responses_foreign(lua_State *L, rscl_state *state, IPmCustomActions2 *actions, int proxy, rscl_text name,
                           rscl_text args) {
  rscl_owner *object = push_iterator(L, proxy, name);
  return started(L, rscl_foreign_start(L, state, object, actions, proxy, name, args, 0), name);
}
