#include "support.h"

#include <assert.h>
#include <stdio.h>

atomic_int counting_alive;
atomic_int managers_alive;

static counting *impl_from(ICustomActionResultCallback *iface) {
  return (counting *)iface;
}

static ULONG counting_AddRef(ICustomActionResultCallback *iface) {
  return atomic_fetch_add(&impl_from(iface)->refs, 1) + 1;
}

static ULONG counting_Release(ICustomActionResultCallback *iface) {
  counting *callback = impl_from(iface);
  unsigned before = atomic_fetch_sub(&callback->refs, 1);
  if (before == 1) {
    free(callback);
    atomic_fetch_sub(&counting_alive, 1);
  }
  return before - 1;
}

static HRESULT counting_ReportResult(ICustomActionResultCallback *iface, HRESULT hrStatus, PBYTE pbResponse,
                                     DWORD cbResponse) {
  counting *callback = impl_from(iface);
  callback->status = hrStatus;
  callback->size = cbResponse;
  callback->thread = pthread_self();
  size_t kept = cbResponse < sizeof callback->text - 1 ? cbResponse : sizeof callback->text - 1;
  if (kept)
    memcpy(callback->text, pbResponse, kept);
  callback->text[kept] = '\0';
  atomic_fetch_add(&callback->calls, 1);
  return S_OK;
}

static const ICustomActionResultCallbackVtbl counting_vtbl = {counting_AddRef, counting_Release, counting_ReportResult};

counting *counting_create(void) {
  counting *callback = calloc(1, sizeof *callback);
  assert_non_null(callback);
  callback->iface.lpVtbl = &counting_vtbl;
  atomic_init(&callback->refs, 1);
  atomic_fetch_add(&counting_alive, 1);
  return callback;
}

void counting_end(counting *callback) {
  assert_int_equal(counting_Release(&callback->iface), 0);
}

static HRESULT native_action(void *user, rsca_call *call, const char *args, size_t size) {
  (void)user;
  (void)rsca_call_report(call, "native ", 7);
  return rsca_call_report(call, args, size);
}

static void manager_freed(void *user) {
  (void)user;
  atomic_fetch_sub(&managers_alive, 1);
}

void mark_manager(rsca_manager *manager) {
  assert_int_equal(rsca_manager_register(manager, "native", NULL, native_action, NULL, manager_freed), S_OK);
  atomic_fetch_add(&managers_alive, 1);
}

rsca_manager *make_manager(void) {
  rsca_manager *manager;
  assert_int_equal(rsca_manager_create(NULL, &manager), S_OK);
  mark_manager(manager);
  return manager;
}

unsigned manager_refs(rsca_manager *manager) {
  (void)rsca_manager_add_ref(manager);
  return rsca_manager_release(manager);
}

/* Marks the manager of a proxy: for those that scripts make. */
static int lua_mark(lua_State *L) {
  rsca_manager *manager;
  assert_int_equal(rsca_lua_to_manager(L, 1, &manager), S_OK);
  mark_manager(manager);
  (void)rsca_manager_release(manager);
  return 0;
}

lua_State *open_state(rsca_manager *manager) {
  lua_State *L = luaL_newstate();
  assert_non_null(L);
  luaL_openlibs(L);
  assert_int_equal(rsca_lua_open(L, manager), S_OK);
  lua_register(L, "mark", lua_mark);
  run_lua(L, "collected = 0\n"
             "rsca = require 'rsca'\n"
             "local keep = setmetatable({}, { __mode = 'k' })\n"
             "function watch(x)\n"
             "  keep[x] = setmetatable({}, { __gc = function() collected = collected + 1 end })\n"
             "  return x\n"
             "end\n");
  return L;
}

void run_lua(lua_State *L, const char *code) {
  if (luaL_dostring(L, code) != LUA_OK)
    fail_msg("Lua: %s", lua_tostring(L, -1));
}

lua_Integer lua_global(lua_State *L, const char *name) {
  lua_getglobal(L, name);
  lua_Integer value = lua_tointeger(L, -1);
  lua_pop(L, 1);
  return value;
}

void collect(lua_State *L) {
  /* A cycle finds what is garbage, its finalizers make more: ephemerons and resurrection take a few. */
  for (int i = 0; i < 4; i++)
    lua_gc(L, LUA_GCCOLLECT);
}

void step_all(rsca_manager *manager) {
  while (rsca_manager_step(manager, 0) == S_OK) {
  }
}

typedef struct job {
  void (*fn)(void *argument);
  void *argument;
} job;

static void *run_job(void *user) {
  job *what = user;
  what->fn(what->argument);
  return NULL;
}

void on_other_thread(void (*fn)(void *argument), void *argument) {
  job what = {fn, argument};
  pthread_t thread;
  assert_int_equal(pthread_create(&thread, NULL, run_job, &what), 0);
  assert_int_equal(pthread_join(thread, NULL), 0);
}
