#include "manager_methods.h"

#include <string.h>

#include "action.h"
#include "adapter.h"
#include "callback2.h"
#include "error.h"
#include "fiber.h"
#include "handler.h"
#include "inspect.h"
#include "core/shutdown.h"
#include "manager_proxy.h"
#include "options.h"
#include "request.h"
#include "responses.h"
#include "shared.h"
#include "subscription.h"
#include "text_args.h"

/* Whether nothing is in flight any more, and what had to be cut. */
static int shutdown_result(lua_State *L, bool done) {
  lua_pushboolean(L, done);
  rscl_push_cut_calls(L, 1);
  return 2;
}

/* The workers end what is in flight; this state's handlers hear of it meanwhile. */
static int shut_pool_down(lua_State *L, rscl_state *state, bool immediate) {
  rsca_manager *manager = rscl_manager_check(L, 1);
  bool done = rsci_manager_begin_shutdown(manager, immediate) == S_OK;
  bool inside = state->turn || rsci_runner_is_stepping(state->engine.runner) || rsci_pool_is_here(manager->pool);
  while (!done && !inside) {
    manager = rscl_manager_test(L, 1); /* a handler may close it */
    done = !manager || rsci_pool_is_done(manager->pool);
    if (!done)
      (void)rscl_block(L, state, UINT64_MAX);
  }
  if (done && manager)
    (void)rsca_manager_shutdown(manager, true); /* its threads are joined */
  return shutdown_result(L, done && !inside);
}

/* m:shutdown([immediate]): true when nothing is in flight any more, false when that ends in the following steps */
static int manager_shutdown(lua_State *L) {
  rscl_state *state = rscl_check_state(L);
  rsca_manager *manager = rscl_manager_check(L, 1);
  bool immediate = false;
  if (!lua_isnoneornil(L, 2)) {
    luaL_checktype(L, 2, LUA_TBOOLEAN);
    immediate = lua_toboolean(L, 2);
  }
  if (manager->pool)
    return shut_pool_down(L, state, immediate);
  HRESULT status = rsca_manager_shutdown(manager, immediate);
  rscl_manager_settle(L, RSCL_BOX, 1);
  return shutdown_result(L, status == S_OK);
}

static void set_count(lua_State *L, const char *name, uint64_t count) {
  lua_pushinteger(L, (lua_Integer)count);
  lua_setfield(L, -2, name);
}

/* m:stats() */
static int manager_stats(lua_State *L) {
  rsca_manager_stats stats;
  rsca_manager_get_stats(rscl_manager_check(L, 1), &stats);
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
  rsca_manager *manager = rscl_manager_check(L, 1);
  size_t in_flight = rsci_manager_live(manager), workers = 0, stuck = 0;
  lua_createtable(L, 0, 5);
  if (manager->pool)
    rsci_pool_count(manager->pool, &workers, &stuck);
  set_count(L, "workers", workers);
  set_count(L, "stuck", stuck);
  lua_pushboolean(L, rsci_manager_is_healthy(manager));
  lua_setfield(L, -2, "healthy");
  lua_pushboolean(L, in_flight == 0);
  lua_setfield(L, -2, "idle");
  set_count(L, "in_flight", in_flight);
  return 1;
}

/* The manager that a function is about: the object of its proxy, which is at `proxy`. */
typedef struct target {
  rscl_state *state;
  const rscl_owner *object;
  int proxy;
} target;

/* The proxy of a function of the module. */
#define OWN_PROXY lua_upvalueindex(2)

static target own_target(lua_State *L) {
  target own = {rscl_check_state(L), rscl_manager_object(L, OWN_PROXY), OWN_PROXY};
  if (!rscl_manager_of(own.object))
    luaL_error(L, "this state's manager has been released");
  return own;
}

static rsca_manager *own_manager(lua_State *L) {
  return rscl_manager_of(own_target(L).object);
}

static int register_action(lua_State *L, int proxy, int first) {
  int results = rscl_action_register(L, rscl_check_state(L), proxy, first);
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

static int call_action(lua_State *L, int proxy, int first) {
  (void)rscl_check_name(L, first);
  rscl_text args = rscl_check_args(L, first + 1);
  uint64_t limit_ns = rscl_check_call_options(L, first + 2);
  return rscl_request_call(L, rscl_check_state(L), (rscl_target){.proxy = proxy, .limit_ns = limit_ns}, first, args);
}

static HRESULT run_with(lua_State *L, target to, rscl_text name, rscl_text args, int callback, uint64_t limit_ns,
                        uint64_t *id) {
  rsci_sink sink = rscl_check_sink(L, to.state, callback);
  sink.limit_ns = limit_ns;
  /* Only now: a metamethod or a finalizer may have closed it meanwhile. */
  rsca_manager *manager = rscl_manager_of(to.object);
  HRESULT status = RSCA_E_SHUTDOWN_IN_PROGRESS;
  if (manager)
    status = rsci_manager_run(manager, NULL, name.data, name.size, args.data, args.size, &sink, id);
  if (FAILED(status))
    rscl_sink_undo(L, to.state, &sink);
  else
    rscl_sink_accepted(to.state, &sink);
  rscl_adapter_tell(L, to.state);
  return status;
}

static int run_action(lua_State *L, target to, int first) {
  rscl_text name = rscl_check_name(L, first);
  /* run(name, callback) is what one types at first. */
  luaL_argcheck(L, !lua_isfunction(L, first + 1), first + 1, "arguments (a string) expected before the callback");
  rscl_text args = rscl_check_args(L, first + 1);
  uint64_t limit_ns = rscl_check_call_options(L, first + 3);
  int results;
  if (lua_isnoneornil(L, first + 2)) {
    results = rscl_request_run(L, to.state, (rscl_target){.proxy = to.proxy, .limit_ns = limit_ns}, name, args);
  } else {
    uint64_t id;
    HRESULT status = run_with(L, to, name, args, first + 2, limit_ns, &id);
    if (FAILED(status))
      return rscl_refused(L, status, name.data);
    lua_pushinteger(L, (lua_Integer)id);
    results = 1;
  }
  rscl_manager_settle(L, RSCL_BOX, to.proxy);
  return results;
}

static int subscribe_to(lua_State *L, int proxy, int first) {
  rscl_text name = rscl_check_name(L, first);
  luaL_argcheck(L, !lua_isfunction(L, first + 1), first + 1, "arguments (a string) expected before the handler");
  rscl_text args = rscl_check_args(L, first + 1);
  uint64_t limit_ns = rscl_check_call_options(L, first + 3);
  return rscl_subscribe(L, rscl_check_state(L), proxy, name, args, first + 2, limit_ns);
}

static int responses_of(lua_State *L, int proxy, int first) {
  rscl_text name = rscl_check_name(L, first);
  rscl_text args = rscl_check_args(L, first + 1);
  uint64_t limit_ns = rscl_check_call_options(L, first + 2);
  return rscl_responses(L, rscl_check_state(L), proxy, name, args, limit_ns);
}

static unsigned check_grace_ms(lua_State *L, int arg) {
  if (lua_isnoneornil(L, arg))
    return 1000;
  uint64_t grace_ns = rscl_check_ns(L, arg);
  return grace_ns / RSCI_NS_PER_MS > UINT32_MAX ? UINT32_MAX : (unsigned)(grace_ns / RSCI_NS_PER_MS);
}

int rscl_manager_cancel(lua_State *L, int index, uint64_t id, int grace) {
  unsigned grace_ms = check_grace_ms(L, grace);
  rsca_manager *manager = rscl_manager_test(L, index);
  HRESULT status = manager ? rsca_manager_cancel(manager, id, grace_ms) : RSCA_E_NOT_FOUND;
  if (FAILED(status))
    return rscl_fail(L, status, "there is no such call, or it has ended", NULL);
  lua_pushboolean(L, 1);
  return 1;
}

static int cancel_call(lua_State *L, int proxy, int first) {
  lua_Integer id = luaL_checkinteger(L, first);
  return rscl_manager_cancel(L, proxy, (uint64_t)id, first + 1);
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

static int list_actions(lua_State *L, int proxy) {
  listing list = {NULL, 0, 0};
  do { /* once for the size, then until it fits */
    list.capacity = list.size;
    list.text = lua_newuserdatauv(L, list.capacity + 1, 0);
    list.size = 0;
    rsca_manager *manager = rscl_manager_test(L, proxy); /* a finalizer may have closed it */
    HRESULT status = manager ? rsca_manager_list(manager, add_to_listing, &list) : RSCA_E_SHUTDOWN_IN_PROGRESS;
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
  (void)own_manager(L);
  return register_action(L, OWN_PROXY, 1);
}

static int module_unregister(lua_State *L) {
  return unregister_action(L, own_manager(L), 1);
}

static int module_call(lua_State *L) {
  (void)own_manager(L);
  return call_action(L, OWN_PROXY, 1);
}

static int module_run(lua_State *L) {
  return run_action(L, own_target(L), 1);
}

static int module_subscribe(lua_State *L) {
  (void)own_manager(L);
  return subscribe_to(L, OWN_PROXY, 1);
}

static int module_responses(lua_State *L) {
  (void)own_manager(L);
  return responses_of(L, OWN_PROXY, 1);
}

static int module_cancel(lua_State *L) {
  (void)own_manager(L);
  return cancel_call(L, OWN_PROXY, 1);
}

static int module_running(lua_State *L) {
  (void)own_manager(L);
  return rscl_running_calls(L, rscl_check_state(L), OWN_PROXY);
}

static int module_list(lua_State *L) {
  (void)own_manager(L);
  return list_actions(L, OWN_PROXY);
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
                                           {"running", module_running},
                                           {"own_manager", module_own_manager},
                                           {NULL, NULL}};

static int manager_register(lua_State *L) {
  (void)rscl_manager_check(L, 1);
  return register_action(L, 1, 2);
}

static int manager_unregister(lua_State *L) {
  return unregister_action(L, rscl_manager_check(L, 1), 2);
}

static int manager_call(lua_State *L) {
  (void)rscl_manager_check(L, 1);
  return call_action(L, 1, 2);
}

static int manager_run(lua_State *L) {
  (void)rscl_manager_check(L, 1);
  return run_action(L, (target){rscl_check_state(L), rscl_manager_object(L, 1), 1}, 2);
}

static int manager_subscribe(lua_State *L) {
  (void)rscl_manager_check(L, 1);
  return subscribe_to(L, 1, 2);
}

static int manager_responses(lua_State *L) {
  (void)rscl_manager_check(L, 1);
  return responses_of(L, 1, 2);
}

static int manager_cancel(lua_State *L) {
  (void)rscl_manager_check(L, 1);
  return cancel_call(L, 1, 2);
}

static int manager_running(lua_State *L) {
  (void)rscl_manager_check(L, 1);
  return rscl_running_calls(L, rscl_check_state(L), 1);
}

static int manager_list(lua_State *L) {
  (void)rscl_manager_check(L, 1);
  return list_actions(L, 1);
}

/* The documented methods: a status, never an error but for a wrong type. */

static int manager_RunCustomAction(lua_State *L) {
  rscl_state *state = rscl_check_state(L);
  (void)rscl_manager_check(L, 1);
  rscl_text name, args;
  if (!lua_isnoneornil(L, 4))
    rscl_check_callback(L, 4);
  HRESULT status = rscl_check_documented(L, &name, &args);
  if (SUCCEEDED(status)) {
    status = run_with(L, (target){state, rscl_manager_object(L, 1), 1}, name, args, 4, 0, NULL);
    rscl_manager_settle(L, RSCL_BOX, 1);
  }
  rscl_push_status(L, status);
  return 1;
}

static int manager_RegisterCustomActionCallback(lua_State *L) {
  rscl_state *state = rscl_check_state(L);
  (void)rscl_manager_check(L, 1);
  rscl_text name, args;
  if (!lua_isnoneornil(L, 4))
    rscl_check_callback2(L, 4);
  HRESULT status = rscl_check_documented(L, &name, &args);
  if (SUCCEEDED(status) && rscl_is_callback2(L, 4))
    status = rscl_callback2_register(L, 1, name, args, 4);
  else if (SUCCEEDED(status))
    status = rscl_register_callback(L, state, 1, name, args, 4);
  rscl_push_status(L, status);
  return 1;
}

static int manager_UnregisterCustomActionCallback(lua_State *L) {
  (void)rscl_check_state(L);
  rsca_manager *manager = rscl_manager_check(L, 1);
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
                                           {"running", manager_running},
                                           {"stats", manager_stats},
                                           {"health", manager_health},
                                           {"shared", rscl_manager_shared},
                                           {"shutdown", manager_shutdown},
                                           {"close", rscl_manager_close},
                                           {"RunCustomAction", manager_RunCustomAction},
                                           {"RegisterCustomActionCallback", manager_RegisterCustomActionCallback},
                                           {"UnregisterCustomActionCallback", manager_UnregisterCustomActionCallback},
                                           {"AddRef", rscl_manager_AddRef},
                                           {"Release", rscl_manager_Release},
                                           {NULL, NULL}};
static const luaL_Reg manager_meta[] = {
    {"__gc", rscl_manager_gc}, {"__close", rscl_manager_close}, {"__tostring", rscl_manager_tostring}, {NULL, NULL}};
const rscl_type rscl_manager_type = {"rsca.manager", manager_meta, manager_methods, NULL};
