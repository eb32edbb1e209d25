#include "proxy_watch.h"

#include <stdlib.h>

#include "manager_proxy.h"

void rscl_proxy_watch_release(rscl_proxy_watch *watch) {
  if (rsci_refs_drop(&watch->refs) > 0)
    return;
  rsci_engine_release(&watch->state->engine);
  free(watch);
}

static void watch_changed(rsci_watch *base) {
  rscl_proxy_watch *watch = (rscl_proxy_watch *)base;
  if (atomic_exchange(&watch->posted, true))
    return;
  (void)rsci_refs_add(&watch->refs);
  if (!rsci_engine_post(&watch->state->engine, &watch->task))
    (void)rsci_refs_drop(&watch->refs); /* never the last: whoever watches has one */
}

static void watch_drop(rsci_task *task) {
  rscl_proxy_watch_release((rscl_proxy_watch *)((char *)task - offsetof(rscl_proxy_watch, task)));
}

static void watch_run(rsci_task *task) {
  rscl_proxy_watch *watch = (rscl_proxy_watch *)((char *)task - offsetof(rscl_proxy_watch, task));
  lua_State *L = watch->state->turn;
  atomic_store(&watch->posted, false);
  lua_getiuservalue(L, RSCL_TURN_BOX, RSCL_UV_MANAGERS);
  if (lua_rawgetp(L, -1, watch->manager) == LUA_TUSERDATA)
    rscl_manager_settle(L, RSCL_TURN_BOX, -1);
  rscl_proxy_watch_release(watch);
}

static const rsci_task_ops watch_ops = {watch_run, watch_drop};

rscl_proxy_watch *rscl_proxy_watch_create(rscl_state *state, rsca_manager *manager) {
  rscl_proxy_watch *watch = malloc(sizeof *watch);
  if (!watch)
    return NULL;
  *watch = (rscl_proxy_watch){
      .base = {.changed = watch_changed}, .state = state, .manager = manager, .task = {.ops = &watch_ops}};
  rsci_refs_init(&watch->refs);
  atomic_init(&watch->posted, false);
  rsci_engine_hold(&state->engine);
  return watch;
}
