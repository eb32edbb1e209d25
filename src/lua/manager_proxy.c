#include "manager_proxy.h"

#include <stdlib.h>
#include <string.h>

#include "error.h"
#include "core/shutdown.h"
#include "hanging.h"
#include "memory.h"
#include "options.h"
#include "proxy_watch.h"
#include "relay.h"
#include "worker.h"

/* ---- The proxy ---- */

typedef struct manager_proxy {
  rscl_owned owned;
  rsca_manager *manager; /* one reference; NULL: closed */
  uint32_t extra;        /* references the script took and has not given back */
  bool made_here;        /* by rsca.manager{}: closing it shuts it down */
  bool weak;             /* a worker's, of its pool's manager: keeps its memory, and counts no reference */
  bool anchored;
  bool watching;           /* the manager knows the watch */
  rscl_proxy_watch *watch; /* NULL for the state's own, which is always anchored */
} manager_proxy;

/* NULL: finalized. */
static manager_proxy *proxy_of(const rscl_owner *object) {
  return (manager_proxy *)rscl_owned_by(object);
}

/* The proxy at `arg`, whose manager may be closed; NULL: there is none any more. */
static manager_proxy *check_proxy(lua_State *L, int arg) {
  manager_proxy *proxy = proxy_of(rscl_object_check(L, arg, &rscl_manager_type));
  return proxy && proxy->manager ? proxy : NULL;
}

static manager_proxy *check_open(lua_State *L, int arg) {
  manager_proxy *proxy = check_proxy(L, arg);
  if (!proxy)
    luaL_error(L, "this manager has been closed");
  return proxy;
}

rsca_manager *rscl_manager_check(lua_State *L, int arg) {
  return check_open(L, arg)->manager;
}

const rscl_owner *rscl_manager_object(lua_State *L, int index) {
  /* What is an upvalue was put there by us. */
  return index < LUA_REGISTRYINDEX ? lua_touserdata(L, index) : rscl_object_test(L, index, &rscl_manager_type);
}

rsca_manager *rscl_manager_of(const rscl_owner *object) {
  const manager_proxy *proxy = object ? proxy_of(object) : NULL;
  return proxy ? proxy->manager : NULL;
}

rsca_manager *rscl_manager_test(lua_State *L, int index) {
  return rscl_manager_of(rscl_manager_object(L, index));
}

/* Allocates only for a manager that has no place among the anchors yet. [-0, +0, m] */
static void set_anchor(lua_State *L, int box, int index, const rsca_manager *manager, bool anchored) {
  index = lua_absindex(L, index);
  lua_getiuservalue(L, box, RSCL_UV_ANCHORS);
  if (anchored)
    lua_pushvalue(L, index);
  else
    lua_pushboolean(L, 0);
  lua_rawsetp(L, -2, manager);
  lua_pop(L, 1);
}

/* A proxy that nothing hangs on can be made again when it is wanted. [-0, +0, -] */
static bool something_hangs(lua_State *L, int index) {
  int top = lua_gettop(L);
  index = lua_absindex(L, index);
  bool hangs = lua_getiuservalue(L, index, 1) == LUA_TTABLE;
  if (!hangs && lua_getiuservalue(L, index, 2) == LUA_TTABLE) {
    lua_pushnil(L);
    hangs = lua_next(L, -2) != 0;
  }
  lua_settop(L, top);
  return hangs;
}

void rscl_manager_settle(lua_State *L, int box, int index) {
  manager_proxy *proxy = proxy_of(lua_touserdata(L, index));
  rsca_manager *manager = proxy ? proxy->manager : NULL;
  if (!manager || !proxy->watch)
    return;
  if (!lua_checkstack(L, 5))
    return; /* the next time */
  bool needed = rsci_manager_needing(manager) > 0 ||
                (rsci_refs_count(&manager->refs) > 1 + proxy->extra && something_hangs(L, index));
  if (needed == proxy->anchored)
    return;
  set_anchor(L, box, index, manager, needed);
  proxy->anchored = needed;
}

/* What hangs on a proxy of the same manager that has been closed, and still waits for its end. [-0, +0, -] */
static void adopt_hanging(lua_State *L, int box, int index, const rsca_manager *manager) {
  lua_getiuservalue(L, box, RSCL_UV_ANCHORS);
  if (lua_rawgetp(L, -1, manager) == LUA_TTABLE) {
    lua_pushvalue(L, -1);
    lua_setiuservalue(L, index, 2);
  }
  lua_pop(L, 2);
}

/* Makes all that the proxy, at `index`, needs around it, the cache's entry last: should this raise, the cache knows
 * nothing of it, and its finalizer frees the rest. [-0, +0, m] */
static void furnish(lua_State *L, int box, rscl_state *state, manager_proxy *proxy, int index, rsca_manager *manager) {
  index = lua_absindex(L, index);
  bool own = manager == state->own;
  if (!own && !(proxy->watch = rscl_proxy_watch_create(state, manager)))
    (void)rscl_memory_raise(L);
  adopt_hanging(L, box, index, manager);
  set_anchor(L, box, index, manager, own);
  proxy->anchored = own;
  lua_getiuservalue(L, box, RSCL_UV_MANAGERS);
  lua_pushvalue(L, index);
  lua_rawsetp(L, -2, manager);
  lua_pop(L, 1);
}

static void unwatch(manager_proxy *proxy) {
  rscl_proxy_watch *watch = proxy->watch;
  proxy->watch = NULL;
  if (!watch)
    return;
  if (proxy->watching)
    rsci_manager_unwatch(proxy->manager, &watch->base);
  proxy->watching = false;
  rscl_proxy_watch_release(watch);
}

/* Gives back all references of the proxy; returns the count that is left. */
static ULONG give_back(manager_proxy *proxy) {
  rsca_manager *manager = proxy->manager;
  unwatch(proxy);
  proxy->manager = NULL;
  ULONG left = 0;
  for (uint32_t i = 0; i <= proxy->extra && !proxy->weak; i++)
    left = rsca_manager_release(manager);
  proxy->extra = 0;
  if (proxy->weak)
    rsci_calls_unkeep(&manager->calls);
  return left;
}

static void drop_proxy(rscl_owned *owned) {
  manager_proxy *proxy = (manager_proxy *)owned;
  if (proxy->manager)
    (void)give_back(proxy);
  unwatch(proxy); /* of one that never got its manager */
  free(proxy);
}

/* Never fails: the reference is the proxy's. */
static void own(manager_proxy *proxy, rsca_manager *manager) {
  proxy->manager = manager;
  proxy->watching = proxy->watch != NULL;
  if (proxy->watching)
    rsci_manager_watch(manager, &proxy->watch->base);
}

static manager_proxy *push_empty(lua_State *L, int box) {
  enum { USER_VALUES = 2 }; /* its actions; what else hangs on it */
  return rscl_push_owned(L, rscl_owned_of_box(L, box), USER_VALUES, &rscl_manager_type, sizeof(manager_proxy),
                         drop_proxy);
}

void rscl_manager_push(lua_State *L, int box, rscl_state *state, rsca_manager *manager) {
  luaL_checkstack(L, 6, NULL);
  box = lua_absindex(L, box);
  /* Empty first: making it may run finalizers, which may make a proxy of the same manager. */
  manager_proxy *proxy = push_empty(L, box);
  lua_getiuservalue(L, box, RSCL_UV_MANAGERS);
  bool known = lua_rawgetp(L, -1, manager) == LUA_TUSERDATA;
  if (known) {
    lua_replace(L, -3);
    lua_pop(L, 1);
    return;
  }
  lua_pop(L, 2);
  furnish(L, box, state, proxy, -1, manager);
  proxy->weak = state->worker && manager == state->own;
  if (proxy->weak)
    rsci_manager_keep(manager);
  else
    (void)rsca_manager_add_ref(manager);
  own(proxy, manager);
  rscl_manager_settle(L, box, -1);
}

/* Takes the proxy out of the state's tables, if it is still the one they mean. */
static void evict(lua_State *L, manager_proxy *proxy, int index) {
  if (!((rscl_box *)lua_touserdata(L, RSCL_BOX))->state)
    return;
  lua_getiuservalue(L, RSCL_BOX, RSCL_UV_MANAGERS);
  int type = lua_rawgetp(L, -1, proxy->manager);
  bool ours = lua_rawequal(L, -1, index);
  if (ours) {
    lua_pushnil(L);
    lua_rawsetp(L, -3, proxy->manager);
  }
  lua_pop(L, 2);
  if (ours || type == LUA_TNIL) {
    lua_getiuservalue(L, RSCL_BOX, RSCL_UV_ANCHORS);
    lua_pushnil(L);
    lua_rawsetp(L, -2, proxy->manager);
    lua_pop(L, 1);
  }
}

/* Takes the proxy out of everything and gives back its references; returns the count that is left. */
static ULONG release_all(lua_State *L, manager_proxy *proxy, int index) {
  evict(L, proxy, index);
  if (((rscl_box *)lua_touserdata(L, RSCL_BOX))->state)
    rscl_keep_hanging(L, RSCL_BOX, index, proxy->manager);
  for (int i = 1; i <= 2; i++) { /* the script may still name the proxy, but nothing hangs on it any more */
    lua_pushnil(L);
    lua_setiuservalue(L, index, i);
  }
  return give_back(proxy);
}

int rscl_manager_close(lua_State *L) {
  manager_proxy *proxy = check_proxy(L, 1);
  if (!proxy)
    return 0;
  if (proxy->made_here)
    rsci_manager_end(proxy->manager);
  /* What it ended may have closed it, from a callback. */
  if (proxy->manager)
    (void)release_all(L, proxy, 1);
  return 0;
}

static void finalize(lua_State *L, manager_proxy *proxy) {
  /* Not on this stack: a finalizer runs wherever memory was asked for. A manager that native code still holds (then
   * the whole state is closing) goes on without us. */
  if (!proxy->weak && rsci_refs_count(&proxy->manager->refs) == 1 + proxy->extra)
    rsci_manager_finalize(proxy->manager);
  (void)release_all(L, proxy, 1);
}

int rscl_manager_gc(lua_State *L) {
  manager_proxy *proxy = check_proxy(L, 1);
  if (proxy)
    finalize(L, proxy);
  rscl_disown(lua_touserdata(L, 1));
  return 0;
}

/* A worker's: what its script takes counts here only, or it would keep the pool that keeps the worker. */
static int push_weak_count(lua_State *L, const manager_proxy *proxy) {
  lua_pushinteger(L, (lua_Integer)rsci_refs_count(&proxy->manager->refs) + proxy->extra);
  return 1;
}

int rscl_manager_AddRef(lua_State *L) {
  manager_proxy *proxy = check_open(L, 1);
  proxy->extra++;
  if (proxy->weak)
    return push_weak_count(L, proxy);
  lua_pushinteger(L, (lua_Integer)rsca_manager_add_ref(proxy->manager));
  return 1;
}

int rscl_manager_Release(lua_State *L) {
  manager_proxy *proxy = check_open(L, 1);
  if (proxy->extra > 0) {
    proxy->extra--;
    if (proxy->weak)
      return push_weak_count(L, proxy);
    lua_pushinteger(L, (lua_Integer)rsca_manager_release(proxy->manager));
  } else {
    lua_pushinteger(L, (lua_Integer)release_all(L, proxy, 1));
  }
  return 1;
}

int rscl_manager_tostring(lua_State *L) {
  const manager_proxy *proxy = check_proxy(L, 1);
  if (proxy)
    lua_pushfstring(L, "rsca.manager: %p", (void *)proxy->manager);
  else
    lua_pushliteral(L, "rsca.manager: closed");
  return 1;
}

/* ---- Making one ---- */

/* A pool of this script; its errors come to this state. */
static HRESULT make_pool(rscl_state *state, const rscl_manager_options *options, rsca_manager **manager, char *message,
                         size_t size) {
  *message = '\0';
  HRESULT status = rsca_manager_create(&options->config, manager);
  if (FAILED(status))
    return status;
  const rsca_lua_script script = {
      .path = options->script, .text = options->chunk, .size = options->chunk_size, .name = options->script};
  status = rscl_script_load(*manager, &script, state, rscl_relay_create(state), message, size);
  if (FAILED(status))
    (void)rsca_manager_release(*manager);
  return status;
}

int rscl_manager_new(lua_State *L) {
  rscl_state *state = rscl_check_state(L);
  rscl_manager_options options = rscl_check_manager_options(L, 1);
  luaL_checkstack(L, 6, NULL);
  luaL_argcheck(L, !state->worker || options.config.workers == 0, 1,
                "a script of a pool makes no pools: how many threads there are is for its host to say");
  rscl_worker_collect(L, state);
  manager_proxy *proxy = push_empty(L, RSCL_BOX);
  rsca_manager *manager;
  char message[4096] = "";
  HRESULT status = options.config.workers > 0 ? make_pool(state, &options, &manager, message, sizeof message)
                                              : rsci_manager_create(state->engine.runner, &options.config,
                                                                    rscl_worker_account(state), &manager);
  if (FAILED(status))
    return rscl_fail(L, status, *message ? message : NULL, NULL);
  /* The proxy's at once: should the rest raise, its finalizer gives it back. */
  proxy->made_here = true;
  proxy->manager = manager;
  furnish(L, RSCL_BOX, state, proxy, -1, manager);
  own(proxy, manager);
  return 1;
}
