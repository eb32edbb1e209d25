#include "manager_proxy.h"

#include <stdlib.h>
#include <string.h>

#include "action.h"
#include "callback.h"
#include "error.h"
#include "fiber.h"
#include "handler.h"
#include "request.h"
#include "subscription.h"
#include "text_args.h"

/* ---- Watching for the moment when nothing outside needs a proxy any more ---- */

typedef struct proxy_watch {
  rsci_watch base;
  rsci_refs refs;              /* the proxy's, and one while its task is posted */
  rscl_state *state;           /* held */
  const rsca_manager *manager; /* finds the proxy; never dereferenced */
  atomic_bool posted;
  rsci_task task;
} proxy_watch;

static void watch_release(proxy_watch *watch) {
  if (rsci_refs_drop(&watch->refs) > 0)
    return;
  rsci_engine_release(&watch->state->engine);
  free(watch);
}

static void watch_changed(rsci_watch *base) {
  proxy_watch *watch = (proxy_watch *)base;
  if (atomic_exchange(&watch->posted, true))
    return;
  (void)rsci_refs_add(&watch->refs);
  if (!rsci_engine_post(&watch->state->engine, &watch->task))
    (void)rsci_refs_drop(&watch->refs); /* never the last: whoever watches has one */
}

static void watch_drop(rsci_task *task) {
  watch_release((proxy_watch *)((char *)task - offsetof(proxy_watch, task)));
}

static void watch_run(rsci_task *task) {
  proxy_watch *watch = (proxy_watch *)((char *)task - offsetof(proxy_watch, task));
  lua_State *L = watch->state->turn;
  atomic_store(&watch->posted, false);
  lua_getiuservalue(L, RSCL_TURN_BOX, RSCL_UV_MANAGERS);
  if (lua_rawgetp(L, -1, watch->manager) == LUA_TUSERDATA)
    rscl_manager_settle(L, RSCL_TURN_BOX, -1);
  watch_release(watch);
}

static const rsci_task_ops watch_ops = {watch_run, watch_drop};

static proxy_watch *watch_create(rscl_state *state, rsca_manager *manager) {
  proxy_watch *watch = malloc(sizeof *watch);
  if (!watch)
    return NULL;
  *watch = (proxy_watch){
      .base = {.changed = watch_changed}, .state = state, .manager = manager, .task = {.ops = &watch_ops}};
  rsci_refs_init(&watch->refs);
  atomic_init(&watch->posted, false);
  rsci_engine_hold(&state->engine);
  return watch;
}

/* ---- The proxy ---- */

typedef struct manager_proxy {
  rscl_owned owned;
  rsca_manager *manager; /* one reference; NULL: closed */
  uint32_t extra;        /* references the script took and has not given back */
  bool made_here;        /* by rsca.manager{}: closing it shuts it down */
  bool anchored;
  proxy_watch *watch; /* NULL for the state's own, which is always anchored */
} manager_proxy;

static manager_proxy *check_open(lua_State *L, int arg) {
  manager_proxy *proxy = rscl_object_check(L, arg, &rscl_manager_type);
  if (!proxy->manager)
    luaL_error(L, "this manager has been closed");
  return proxy;
}

rsca_manager *rscl_manager_test(lua_State *L, int index) {
  manager_proxy *proxy = rscl_object_test(L, index, &rscl_manager_type);
  return proxy ? proxy->manager : NULL;
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

void rscl_manager_settle(lua_State *L, int box, int index) {
  manager_proxy *proxy = lua_touserdata(L, index);
  rsca_manager *manager = proxy->manager;
  if (!manager || !proxy->watch)
    return;
  luaL_checkstack(L, 2, NULL);
  /* A proxy that nothing hangs on can be made again when it is wanted. */
  bool has_actions = lua_getiuservalue(L, index, 1) == LUA_TTABLE;
  lua_pop(L, 1);
  bool needed =
      rsci_manager_needing(manager) > 0 || (has_actions && rsci_refs_count(&manager->refs) > 1 + proxy->extra);
  if (needed == proxy->anchored)
    return;
  set_anchor(L, box, index, manager, needed);
  proxy->anchored = needed;
}

/* Makes all that the proxy at `index` needs around it, the cache's entry last: should this raise, the cache knows
 * nothing of it, and its finalizer frees the rest. [-0, +0, m] */
static void furnish(lua_State *L, int box, rscl_state *state, int index, rsca_manager *manager) {
  manager_proxy *proxy = lua_touserdata(L, index);
  index = lua_absindex(L, index);
  bool own = manager == state->own;
  if (!own && !(proxy->watch = watch_create(state, manager)))
    luaL_error(L, "not enough memory");
  set_anchor(L, box, index, manager, own);
  proxy->anchored = own;
  lua_getiuservalue(L, box, RSCL_UV_MANAGERS);
  lua_pushvalue(L, index);
  lua_rawsetp(L, -2, manager);
  lua_pop(L, 1);
}

static void unwatch(manager_proxy *proxy) {
  proxy_watch *watch = proxy->watch;
  proxy->watch = NULL;
  if (!watch)
    return;
  if (proxy->manager)
    rsci_manager_unwatch(proxy->manager, &watch->base);
  watch_release(watch);
}

/* Gives back all references of the proxy; returns the count that is left. */
static ULONG give_back(manager_proxy *proxy) {
  rsca_manager *manager = proxy->manager;
  rscl_disown(&proxy->owned);
  unwatch(proxy);
  proxy->manager = NULL;
  ULONG left = 0;
  for (uint32_t i = 0; i <= proxy->extra; i++)
    left = rsca_manager_release(manager);
  proxy->extra = 0;
  return left;
}

static void drop_proxy(rscl_owned *owned) {
  (void)give_back((manager_proxy *)owned);
}

/* Never fails: the reference is the proxy's. */
static void own(lua_State *L, int box, manager_proxy *proxy, rsca_manager *manager) {
  proxy->manager = manager;
  rscl_own(&((rscl_box *)lua_touserdata(L, box))->owned, &proxy->owned, drop_proxy);
  if (proxy->watch)
    rsci_manager_watch(manager, &proxy->watch->base);
}

static manager_proxy *push_empty(lua_State *L) {
  manager_proxy *proxy = lua_newuserdatauv(L, sizeof *proxy, 2); /* its actions; what else hangs on it */
  *proxy = (manager_proxy){0};
  rscl_object_set_type(L, &rscl_manager_type);
  return proxy;
}

void rscl_manager_push(lua_State *L, int box, rscl_state *state, rsca_manager *manager) {
  luaL_checkstack(L, 6, NULL);
  box = lua_absindex(L, box);
  /* Empty first: making it may run finalizers, which may make a proxy of the same manager. */
  manager_proxy *proxy = push_empty(L);
  lua_getiuservalue(L, box, RSCL_UV_MANAGERS);
  bool known = lua_rawgetp(L, -1, manager) == LUA_TUSERDATA;
  if (known) {
    lua_replace(L, -3);
    lua_pop(L, 1);
    return;
  }
  lua_pop(L, 2);
  furnish(L, box, state, -1, manager);
  (void)rsca_manager_add_ref(manager);
  own(L, box, proxy, manager);
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

static int manager_close(lua_State *L) {
  manager_proxy *proxy = rscl_object_check(L, 1, &rscl_manager_type);
  rsca_manager *manager = proxy->manager;
  if (!manager)
    return 0;
  if (proxy->made_here)
    (void)rsca_manager_shutdown(manager, true);
  /* What it ended may have closed it, from a callback. */
  if (proxy->manager)
    (void)release_all(L, proxy, 1);
  return 0;
}

static int manager_gc(lua_State *L) {
  manager_proxy *proxy = rscl_object_check(L, 1, &rscl_manager_type);
  rsca_manager *manager = proxy->manager;
  if (!manager) {
    unwatch(proxy); /* it never got its manager */
    return 0;
  }
  /* Not on this stack: a finalizer runs wherever memory was asked for. A manager that native code still holds (then
   * the whole state is closing) goes on without us. */
  if (rsci_refs_count(&manager->refs) == 1 + proxy->extra)
    rsci_manager_finalize(manager);
  (void)release_all(L, proxy, 1);
  return 0;
}

/* m:shutdown([immediate]): true when nothing is in flight any more, false when that ends in the following steps */
static int manager_shutdown(lua_State *L) {
  (void)rscl_check_state(L);
  rsca_manager *manager = check_open(L, 1)->manager;
  bool immediate = false;
  if (!lua_isnoneornil(L, 2)) {
    luaL_checktype(L, 2, LUA_TBOOLEAN);
    immediate = lua_toboolean(L, 2);
  }
  HRESULT status = rsca_manager_shutdown(manager, immediate);
  rscl_manager_settle(L, RSCL_BOX, 1);
  lua_pushboolean(L, status == S_OK);
  return 1;
}

static void set_count(lua_State *L, const char *name, uint64_t count) {
  lua_pushinteger(L, (lua_Integer)count);
  lua_setfield(L, -2, name);
}

/* m:stats() */
static int manager_stats(lua_State *L) {
  rsca_manager_stats stats;
  rsca_manager_get_stats(check_open(L, 1)->manager, &stats);
  lua_createtable(L, 0, 6);
  set_count(L, "accepted", stats.accepted);
  set_count(L, "ended", stats.ended);
  set_count(L, "in_flight", stats.accepted - stats.ended);
  set_count(L, "failed_callbacks", stats.failed_callback);
  set_count(L, "actions", stats.actions);
  set_count(L, "queued_bytes", stats.queued_bytes);
  return 1;
}

/* m:health() */
static int manager_health(lua_State *L) {
  rsca_manager *manager = check_open(L, 1)->manager;
  size_t in_flight = rsci_manager_live(manager);
  lua_createtable(L, 0, 3);
  lua_pushboolean(L, rsci_manager_is_open(manager));
  lua_setfield(L, -2, "healthy");
  lua_pushboolean(L, in_flight == 0);
  lua_setfield(L, -2, "idle");
  set_count(L, "in_flight", in_flight);
  return 1;
}

static int manager_AddRef(lua_State *L) {
  manager_proxy *proxy = check_open(L, 1);
  proxy->extra++;
  lua_pushinteger(L, (lua_Integer)rsca_manager_add_ref(proxy->manager));
  return 1;
}

static int manager_Release(lua_State *L) {
  manager_proxy *proxy = check_open(L, 1);
  if (proxy->extra > 0) {
    proxy->extra--;
    lua_pushinteger(L, (lua_Integer)rsca_manager_release(proxy->manager));
  } else {
    lua_pushinteger(L, (lua_Integer)release_all(L, proxy, 1));
  }
  return 1;
}

static int manager_tostring(lua_State *L) {
  manager_proxy *proxy = rscl_object_check(L, 1, &rscl_manager_type);
  if (proxy->manager)
    lua_pushfstring(L, "rsca.manager: %p", (void *)proxy->manager);
  else
    lua_pushliteral(L, "rsca.manager: closed");
  return 1;
}

/* ---- Making one ---- */

static lua_Integer check_limit(lua_State *L, int options, const char *name, lua_Integer most) {
  lua_Integer value = 0;
  if (lua_getfield(L, options, name) != LUA_TNIL) {
    int is_integer;
    value = lua_tointegerx(L, -1, &is_integer);
    if (lua_type(L, -1) != LUA_TNUMBER || !is_integer || value < 1 || value > most)
      luaL_argerror(L, options,
                    lua_pushfstring(L, "option '%s' must be an integer from 1 to %I", name, (LUAI_UACINT)most));
  }
  lua_pop(L, 1);
  return value;
}

static void check_options(lua_State *L, int options) {
  lua_pushnil(L);
  while (lua_next(L, options)) {
    lua_pop(L, 1);
    const char *key = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "?";
    if (strcmp(key, "queue_limit") != 0 && strcmp(key, "queue_bytes") != 0)
      luaL_argerror(L, options, lua_pushfstring(L, "unknown option '%s' (queue_limit, queue_bytes)", key));
  }
}

int rscl_manager_new(lua_State *L) {
  rscl_state *state = rscl_check_state(L);
  rsca_config config = {0};
  if (!lua_isnoneornil(L, 1)) {
    luaL_checktype(L, 1, LUA_TTABLE);
    check_options(L, 1);
    config.queue_limit = (uint32_t)check_limit(L, 1, "queue_limit", INT32_MAX);
    config.queue_bytes = (size_t)check_limit(L, 1, "queue_bytes", INT32_MAX);
  }
  luaL_checkstack(L, 6, NULL);
  manager_proxy *proxy = push_empty(L);
  rsca_manager *manager;
  HRESULT status = rsci_manager_create(state->engine.runner, &config, &manager);
  if (FAILED(status))
    return rscl_fail(L, status, NULL, NULL);
  /* The proxy's at once: should the rest raise, its finalizer gives it back. */
  proxy->made_here = true;
  proxy->manager = manager;
  furnish(L, RSCL_BOX, state, -1, manager);
  own(L, RSCL_BOX, proxy, manager);
  return 1;
}

/* ---- What it can do: each as a method, and as a function of the module ---- */

/* The proxy of a function of the module. */
#define OWN_PROXY lua_upvalueindex(2)

static rsca_manager *own_manager(lua_State *L) {
  (void)rscl_check_state(L);
  manager_proxy *proxy = lua_touserdata(L, OWN_PROXY);
  if (!proxy->manager)
    luaL_error(L, "this state's manager has been released");
  return proxy->manager;
}

static int register_action(lua_State *L, rsca_manager *manager, int proxy, int first) {
  int results = rscl_action_register(L, rscl_check_state(L), manager, proxy, first);
  rscl_manager_settle(L, RSCL_BOX, proxy);
  return results;
}

static int unregister_action(lua_State *L, rsca_manager *manager, int first) {
  rscl_text name = rscl_check_name(L, first);
  HRESULT status = rsci_manager_take(manager, name.data, name.size);
  if (FAILED(status))
    return rscl_refused(L, status, name.data);
  lua_pushboolean(L, 1);
  return 1;
}

static int call_action(lua_State *L, rsca_manager *manager, int proxy, int first) {
  (void)rscl_check_name(L, first);
  rscl_text args = rscl_check_args(L, first + 1);
  return rscl_request_call(L, rscl_check_state(L), (rscl_target){.manager = manager}, proxy, first, args);
}

static HRESULT run_with(lua_State *L, rscl_state *state, rsca_manager *manager, rscl_text name, rscl_text args,
                        int callback, uint64_t *id) {
  rsci_sink sink = rscl_check_sink(L, state, callback);
  HRESULT status = rsci_manager_run(manager, NULL, name.data, name.size, args.data, args.size, &sink, id);
  if (FAILED(status))
    rscl_sink_undo(L, state, &sink);
  else
    rscl_sink_accepted(state, &sink);
  return status;
}

static int run_action(lua_State *L, rsca_manager *manager, int proxy, int first) {
  rscl_state *state = rscl_check_state(L);
  rscl_text name = rscl_check_name(L, first);
  /* run(name, callback) is what one types at first. */
  luaL_argcheck(L, !lua_isfunction(L, first + 1), first + 1, "arguments (a string) expected before the callback");
  rscl_text args = rscl_check_args(L, first + 1);
  int results;
  if (lua_isnoneornil(L, first + 2)) {
    results = rscl_request_run(L, state, (rscl_target){.manager = manager}, proxy, name, args);
  } else {
    uint64_t id;
    HRESULT status = run_with(L, state, manager, name, args, first + 2, &id);
    if (FAILED(status))
      return rscl_refused(L, status, name.data);
    lua_pushinteger(L, (lua_Integer)id);
    results = 1;
  }
  rscl_manager_settle(L, RSCL_BOX, proxy);
  return results;
}

static int subscribe_to(lua_State *L, rsca_manager *manager, int proxy, int first) {
  rscl_text name = rscl_check_name(L, first);
  luaL_argcheck(L, !lua_isfunction(L, first + 1), first + 1, "arguments (a string) expected before the handler");
  rscl_text args = rscl_check_args(L, first + 1);
  return rscl_subscribe(L, rscl_check_state(L), manager, proxy, name, args, first + 2);
}

static int responses_of(lua_State *L, rsca_manager *manager, int proxy, int first) {
  rscl_text name = rscl_check_name(L, first);
  rscl_text args = rscl_check_args(L, first + 1);
  return rscl_responses(L, rscl_check_state(L), manager, proxy, name, args);
}

int rscl_manager_cancel(lua_State *L, int index, uint64_t id) {
  rsca_manager *manager = rscl_manager_test(L, index);
  HRESULT status = manager ? rsca_manager_cancel(manager, id, 0) : RSCA_E_NOT_FOUND;
  if (FAILED(status))
    return rscl_fail(L, status, "there is no such call, or it has ended", NULL);
  lua_pushboolean(L, 1);
  return 1;
}

static int cancel_call(lua_State *L, int proxy, int first) {
  lua_Integer id = luaL_checkinteger(L, first);
  return rscl_manager_cancel(L, proxy, (uint64_t)id);
}

/* Copies what rsca_manager_list visits into memory that Lua owns: making tables may raise, and must hold nothing. */
typedef struct listing {
  char *text; /* name, help, place: each with its NUL */
  size_t size, capacity;
} listing;

static void add_to_listing(void *user, const rsca_action_info *action) {
  listing *list = user;
  const char *fields[] = {action->name, action->help, action->place};
  for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
    size_t size = strlen(fields[i]) + 1;
    if (list->size + size <= list->capacity)
      memcpy(list->text + list->size, fields[i], size);
    list->size += size;
  }
}

static const char *push_field(lua_State *L, const char *at, const char *field) {
  lua_pushstring(L, at);
  lua_setfield(L, -2, field);
  return at + strlen(at) + 1;
}

static int list_actions(lua_State *L, rsca_manager *manager) {
  listing list = {NULL, 0, 0};
  do { /* once for the size, then until it fits */
    list.capacity = list.size;
    list.text = lua_newuserdatauv(L, list.capacity + 1, 0);
    list.size = 0;
    HRESULT status = rsca_manager_list(manager, add_to_listing, &list);
    if (FAILED(status))
      return rscl_fail(L, status, NULL, NULL);
  } while (list.size > list.capacity);
  lua_newtable(L);
  lua_Integer count = 0;
  for (const char *at = list.text; at < list.text + list.size;) {
    lua_createtable(L, 0, 3);
    at = push_field(L, at, "name");
    at = push_field(L, at, "help");
    at = push_field(L, at, "place");
    lua_rawseti(L, -2, ++count);
  }
  return 1;
}

static int module_register(lua_State *L) {
  return register_action(L, own_manager(L), OWN_PROXY, 1);
}

static int module_unregister(lua_State *L) {
  return unregister_action(L, own_manager(L), 1);
}

static int module_call(lua_State *L) {
  return call_action(L, own_manager(L), OWN_PROXY, 1);
}

static int module_run(lua_State *L) {
  return run_action(L, own_manager(L), OWN_PROXY, 1);
}

static int module_subscribe(lua_State *L) {
  return subscribe_to(L, own_manager(L), OWN_PROXY, 1);
}

static int module_responses(lua_State *L) {
  return responses_of(L, own_manager(L), OWN_PROXY, 1);
}

static int module_cancel(lua_State *L) {
  (void)own_manager(L);
  return cancel_call(L, OWN_PROXY, 1);
}

static int module_list(lua_State *L) {
  return list_actions(L, own_manager(L));
}

static int module_own_manager(lua_State *L) {
  (void)own_manager(L);
  lua_pushvalue(L, OWN_PROXY);
  return 1;
}

const luaL_Reg rscl_manager_functions[] = {{"register", module_register},
                                           {"unregister", module_unregister},
                                           {"call", module_call},
                                           {"run", module_run},
                                           {"subscribe", module_subscribe},
                                           {"responses", module_responses},
                                           {"cancel", module_cancel},
                                           {"list", module_list},
                                           {"own_manager", module_own_manager},
                                           {NULL, NULL}};

static int manager_register(lua_State *L) {
  return register_action(L, check_open(L, 1)->manager, 1, 2);
}

static int manager_unregister(lua_State *L) {
  return unregister_action(L, check_open(L, 1)->manager, 2);
}

static int manager_call(lua_State *L) {
  rsca_manager *manager = check_open(L, 1)->manager;
  return call_action(L, manager, 1, 2);
}

static int manager_run(lua_State *L) {
  return run_action(L, check_open(L, 1)->manager, 1, 2);
}

static int manager_subscribe(lua_State *L) {
  return subscribe_to(L, check_open(L, 1)->manager, 1, 2);
}

static int manager_responses(lua_State *L) {
  return responses_of(L, check_open(L, 1)->manager, 1, 2);
}

static int manager_cancel(lua_State *L) {
  (void)check_open(L, 1);
  return cancel_call(L, 1, 2);
}

static int manager_list(lua_State *L) {
  return list_actions(L, check_open(L, 1)->manager);
}

/* The documented methods: a status, never an error but for a wrong type. */

static int manager_RunCustomAction(lua_State *L) {
  rscl_state *state = rscl_check_state(L);
  rsca_manager *manager = check_open(L, 1)->manager;
  rscl_text name, args;
  if (!lua_isnoneornil(L, 4))
    rscl_check_callback(L, 4);
  HRESULT status = rscl_check_documented(L, &name, &args);
  if (SUCCEEDED(status)) {
    status = run_with(L, state, manager, name, args, 4, NULL);
    rscl_manager_settle(L, RSCL_BOX, 1);
  }
  rscl_push_status(L, status);
  return 1;
}

static int manager_RegisterCustomActionCallback(lua_State *L) {
  rscl_state *state = rscl_check_state(L);
  rsca_manager *manager = check_open(L, 1)->manager;
  rscl_text name, args;
  if (!lua_isnoneornil(L, 4))
    rscl_check_handler(L, 4);
  HRESULT status = rscl_check_documented(L, &name, &args);
  if (SUCCEEDED(status))
    status = rscl_register_callback(L, state, manager, 1, name, args, 4);
  rscl_push_status(L, status);
  return 1;
}

static int manager_UnregisterCustomActionCallback(lua_State *L) {
  (void)rscl_check_state(L);
  rsca_manager *manager = check_open(L, 1)->manager;
  rscl_text name = {"", 0};
  if (!lua_isnoneornil(L, 2))
    name.data = luaL_checklstring(L, 2, &name.size);
  HRESULT status = name.size == 0 ? E_INVALIDARG : rscl_text_status(name);
  if (SUCCEEDED(status))
    status = rsci_manager_unregister_name(manager, &manager->default_session, name.data, name.size);
  rscl_push_status(L, status);
  return 1;
}

static const luaL_Reg manager_methods[] = {{"register", manager_register},
                                           {"unregister", manager_unregister},
                                           {"call", manager_call},
                                           {"run", manager_run},
                                           {"subscribe", manager_subscribe},
                                           {"responses", manager_responses},
                                           {"cancel", manager_cancel},
                                           {"list", manager_list},
                                           {"stats", manager_stats},
                                           {"health", manager_health},
                                           {"shutdown", manager_shutdown},
                                           {"close", manager_close},
                                           {"RunCustomAction", manager_RunCustomAction},
                                           {"RegisterCustomActionCallback", manager_RegisterCustomActionCallback},
                                           {"UnregisterCustomActionCallback", manager_UnregisterCustomActionCallback},
                                           {"AddRef", manager_AddRef},
                                           {"Release", manager_Release},
                                           {NULL, NULL}};
static const luaL_Reg manager_meta[] = {
    {"__gc", manager_gc}, {"__close", manager_close}, {"__tostring", manager_tostring}, {NULL, NULL}};
const rscl_type rscl_manager_type = {"rsca.manager", manager_meta, manager_methods, NULL};
