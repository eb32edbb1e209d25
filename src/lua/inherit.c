#include "inherit.h"

#include <string.h>

#include "error.h"
#include "manager_proxy.h"
#include "fiber.h"
#include "subscription.h"

static bool has_begun(const rscl_fiber *fiber) {
  return lua_status(fiber->co) != LUA_OK;
}

static void inherit_fibers(rscl_state *state) {
  rscl_fiber *next;
  for (rscl_fiber *fiber = state->fibers; fiber; fiber = next) {
    next = fiber->next;
    if (fiber->forks == rsci_forks() || fiber->kind == RSCL_ACTION)
      continue;
    fiber->forked = fiber->wait == RSCL_WAIT_TIME || (fiber->hosted && !has_begun(fiber));
    if (fiber->wait == RSCL_WAIT_TIME)
      rscl_fiber_wake(fiber);
    else if (fiber->kind == RSCL_SPAWNED && !has_begun(fiber) && !fiber->hosted)
      rscl_fiber_abandon(fiber, RSCA_E_CANCELLED, rsci_forked);
  }
}

static void inherit_subscriptions(rscl_state *state) {
  rscl_subscription *next;
  for (rscl_subscription *sub = state->subscriptions; sub; sub = next) {
    next = sub->next;
    if (sub->forks == rsci_forks())
      continue;
    if (sub->slot)
      rscl_subscription_end(sub, state->turn);
    else if (sub->foreign) /* an iterator's; one of our own hears the end of its call */
      rsci_stream_finish(sub->stream, RSCA_E_CANCELLED, rsci_forked, strlen(rsci_forked));
  }
}

/* Those that this state knows: they have runners of their own, and nobody else who steps. */
static void inherit_pools(rscl_state *state, bool keep) {
  lua_State *L = state->turn;
  int top = lua_gettop(L);
  luaL_checkstack(L, 4, NULL);
  lua_getiuservalue(L, RSCL_TURN_BOX, RSCL_UV_MANAGERS);
  lua_pushnil(L);
  while (lua_next(L, top + 1)) {
    rsca_manager *manager = rscl_manager_test(L, -1);
    if (manager && manager->pool && !state->worker)
      (void)rsca_manager_after_fork(manager, keep);
    lua_pop(L, 1);
  }
  lua_settop(L, top);
}

static void inherit(rscl_state *state, void *keep) {
  if (!*(bool *)keep) {
    inherit_fibers(state);
    inherit_subscriptions(state);
  }
  inherit_pools(state, *(bool *)keep);
}

void rscl_state_inherit(rsci_heir *heir, bool keep) {
  rscl_state *state = (rscl_state *)((char *)heir - offsetof(rscl_state, heir));
  rscl_state_protect(state, inherit, &keep);
}

static bool check_keep(lua_State *L, int options) {
  bool keep = false;
  if (lua_isnoneornil(L, options))
    return keep;
  luaL_checktype(L, options, LUA_TTABLE);
  lua_pushnil(L);
  while (lua_next(L, options)) {
    const char *key = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : "?";
    if (strcmp(key, "keep") != 0)
      luaL_argerror(L, options, lua_pushfstring(L, "unknown option '%s' (keep)", key));
    if (!lua_isboolean(L, -1))
      luaL_argerror(L, options, "option 'keep' must be a boolean");
    keep = lua_toboolean(L, -1);
    lua_pop(L, 1);
  }
  return keep;
}

int rscl_after_fork(lua_State *L) {
  rscl_state *state = rscl_check_state(L);
  bool keep = check_keep(L, 1);
  HRESULT status = rsci_runner_after_fork(state->engine.runner, keep);
  if (FAILED(status))
    return rscl_fail(L, status, "it is too late to keep what was inherited: it has been dropped", NULL);
  lua_pushboolean(L, status == S_OK);
  return 1;
}
