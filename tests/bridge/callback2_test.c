/*
 * Native callbacks for registrations (rsca_lua_push_callback2) in the hands of scripts: what they are told, by scripts,
 * by managers and by managers of somebody else, and that every reference is given back.
 */
#include <stdbool.h>
#include <stdio.h>

#include "failing.h"
#include "foreign_manager.h"
#include "support.h"

/* ---- A native callback that writes down what it was told ---- */

typedef struct recorder recorder;
struct recorder {
  ICustomAction2ResultCallback iface;
  atomic_uint refs;
  unsigned responses;
  atomic_uint finals;
  HRESULT answer; /* what it returns */
  HRESULT status; /* of the last report */
  size_t size;
  char text[64];    /* its bytes */
  char all[256];    /* the responses, joined */
  pthread_t thread; /* of the last report */
  void (*then)(recorder *self);
  lua_State *L; /* for `then` */
};

static atomic_int recorders_alive;

static ULONG recorder_AddRef(ICustomAction2ResultCallback *iface) {
  return atomic_fetch_add(&((recorder *)iface)->refs, 1) + 1;
}

static ULONG recorder_Release(ICustomAction2ResultCallback *iface) {
  recorder *self = (recorder *)iface;
  unsigned before = atomic_fetch_sub(&self->refs, 1);
  if (before == 1) {
    free(self);
    atomic_fetch_sub(&recorders_alive, 1);
  }
  return before - 1;
}

static HRESULT record(recorder *self, HRESULT status, bool final, const BYTE *bytes, size_t size) {
  self->status = status;
  self->size = size;
  self->thread = pthread_self();
  size_t kept = size < sizeof self->text - 1 ? size : sizeof self->text - 1;
  memset(self->text, 0, sizeof self->text);
  if (kept)
    memcpy(self->text, bytes, kept);
  if (final) {
    self->finals++;
  } else {
    self->responses++;
    (void)snprintf(self->all + strlen(self->all), sizeof self->all - strlen(self->all), "%s", self->text);
  }
  HRESULT answer = self->answer;
  if (self->then) {
    self->then(self);
    self->size = size; /* it is still there */
  }
  return answer;
}

#if RSCA_SDK_REPORTRESULT
static HRESULT recorder_ReportResult(ICustomAction2ResultCallback *iface, HRESULT hrStatus, BOOL fFinalResponse,
                                     PBYTE pbResponse, DWORD cbResponse) {
  assert_true(fFinalResponse == TRUE || fFinalResponse == FALSE);
  return record((recorder *)iface, hrStatus, fFinalResponse, pbResponse, cbResponse);
}
#else
static HRESULT recorder_ReportResult(ICustomAction2ResultCallback *iface, HRESULT hrStatus, PBYTE pbResponse,
                                     DWORD cbResponse) {
  return record((recorder *)iface, hrStatus, hrStatus != S_OK, pbResponse, cbResponse);
}
#endif

static const ICustomAction2ResultCallbackVtbl recorder_vtbl = {recorder_AddRef, recorder_Release,
                                                               recorder_ReportResult};

/* One reference, the caller's. */
static recorder *recorder_create(void) {
  recorder *self = calloc(1, sizeof *self);
  assert_non_null(self);
  self->iface.lpVtbl = &recorder_vtbl;
  atomic_init(&self->refs, 1);
  atomic_fetch_add(&recorders_alive, 1);
  return self;
}

static unsigned refs(recorder *self) {
  return atomic_load(&self->refs);
}

/* Gives back the caller's reference, which must be the last. */
static void recorder_end(recorder *self) {
  assert_int_equal(recorder_Release(&self->iface), 0);
}

static void forget_reports(recorder *self) {
  self->responses = 0;
  self->finals = 0;
  self->all[0] = '\0';
}

/* ---- The world ---- */

typedef struct world {
  rsca_manager *manager; /* the state's own */
  lua_State *L;
  recorder *native; /* c there */
  IPmCustomActions2 *actions2;
} world;

static int lua_join(lua_State *L) {
  (void)L;
  foreign_join();
  return 0;
}

static void push_recorder(lua_State *L, recorder *self, const char *global) {
  assert_int_equal(rsca_lua_push_callback2(L, &self->iface), S_OK);
  lua_setglobal(L, global);
}

static void world_init(world *w) {
  foreign_reset();
  *w = (world){.manager = make_manager(), .native = recorder_create(), .actions2 = foreign_create2()};
  w->L = open_state(w->manager);
  lua_register(w->L, "join", lua_join);
  push_recorder(w->L, w->native, "c");
  assert_int_equal(rsca_lua_push_custom_actions2(w->L, w->actions2), S_OK);
  lua_setglobal(w->L, "s");
  run_lua(w->L, "S = rsca.status; m = rsca.own_manager()\n"
                "rsca.on_error = function(err) problem = problem or tostring(err) end\n"
                "rsca.register('count', function(args, ctx)\n"
                "  for i = 1, tonumber(args) do if not ctx:report(i) then refused = i; return end end\n"
                "end)\n"
                "rsca.register('waits', function(_, ctx) ctx:report('first'); ctx:sleep(1000) end)\n"
                "rsca.register('fails', function() return nil, 'why', S.E_ACCESSDENIED end)\n"
                "function raises(text, f, ...)\n"
                "  local ok, message = pcall(f, ...)\n"
                "  assert(not ok, 'did not raise'); assert(message:find(text, 1, true), message)\n"
                "end");
}

static void assert_all_ended(rsca_manager *manager) {
  rsca_manager_stats stats;
  rsca_manager_get_stats(manager, &stats);
  assert_int_equal(stats.accepted, stats.ended);
}

/* Everything has been given back. */
static void world_fini(world *w) {
  if (w->L) {
    run_lua(w->L, "assert(not problem, problem)");
    lua_close(w->L);
  }
  foreign_join();
  step_all(w->manager);
  assert_all_ended(w->manager);
  recorder_end(w->native);
  assert_int_equal(w->actions2->lpVtbl->Release(w->actions2), 0);
  assert_int_equal(rsca_manager_release(w->manager), 0);
  assert_int_equal(managers_alive, 0);
  assert_int_equal(recorders_alive, 0);
  assert_int_equal(foreign_held(), 0);
  assert_int_equal(foreign_alive(), 0);
}

/* ---- References ---- */

/* A proxy owns exactly one reference; the same object gives the same proxy within a state. */
static void test_proxy_owns_exactly_one_reference(void **unused) {
  (void)unused;
  world w;
  world_init(&w);
  assert_int_equal(refs(w.native), 2);
  push_recorder(w.L, w.native, "again");
  assert_int_equal(refs(w.native), 2);
  run_lua(w.L, "assert(rawequal(c, again)); again = nil\n"
               "assert(tostring(c):find '^rsca%.callback2: ')");
  lua_State *other = open_state(NULL);
  push_recorder(other, w.native, "c");
  assert_int_equal(refs(w.native), 3);
  lua_close(other);
  assert_int_equal(refs(w.native), 2);
  run_lua(w.L, "c:close(); c:close()");
  assert_int_equal(refs(w.native), 1);
  for (int i = 0; i < 3; i++) {
    push_recorder(w.L, w.native, "c");
    assert_int_equal(refs(w.native), 2);
    run_lua(w.L, i == 0 ? "do local x <close> = c end" : "c = nil");
    collect(w.L);
    assert_int_equal(refs(w.native), 1);
  }
  world_fini(&w);
}

/* What a script took with AddRef goes with the proxy, so a script can't leak a native object. */
static void test_what_a_script_took_goes_with_the_proxy(void **unused) {
  (void)unused;
  world w;
  world_init(&w);
  run_lua(w.L, "assert(c:AddRef() == 3 and c:AddRef() == 4 and c:Release() == 3)");
  assert_int_equal(refs(w.native), 3);
  run_lua(w.L, "c:close()");
  assert_int_equal(refs(w.native), 1);
  push_recorder(w.L, w.native, "c");
  run_lua(w.L, "c:AddRef(); c = nil");
  assert_int_equal(refs(w.native), 3);
  collect(w.L);
  assert_int_equal(refs(w.native), 1);
  push_recorder(w.L, w.native, "c");
  run_lua(w.L, "c:AddRef()");
  assert_int_equal(refs(w.native), 3);
  lua_close(w.L);
  w.L = NULL;
  assert_int_equal(refs(w.native), 1);
  world_fini(&w);
}

/* Release gives back an AddRef, then the proxy's own reference; one more is an error, not a crash. The last one
 * destroys the object. */
static void test_over_release_is_an_error(void **unused) {
  (void)unused;
  world w;
  world_init(&w);
  recorder *gone = recorder_create();
  push_recorder(w.L, gone, "gone");
  recorder_Release(&gone->iface);
  run_lua(w.L, "assert(gone:AddRef() == 2 and gone:Release() == 1 and gone:Release() == 0)\n"
               "raises('released', gone.Release, gone); raises('released', gone.AddRef, gone)");
  assert_int_equal(recorders_alive, 1);
  world_fini(&w);
}

/* Once it was released it can't be used any more, and says so; only close is harmless. */
static void test_released_object_raises(void **unused) {
  (void)unused;
  world w;
  world_init(&w);
  run_lua(w.L, "c:close(); assert(tostring(c) == 'rsca.callback2: released')\n"
               "raises('released', c.ReportResult, c, 0); raises('released', c.AddRef, c)\n"
               "raises('released', c.Release, c)\n"
               "raises('released', m.RegisterCustomActionCallback, m, 'count', '1', c)\n"
               "raises('released', s.RegisterCustomActionCallback, s, 'stream_now', '1', c)\n"
               "raises('RegisterCustomActionCallback', m.subscribe, m, 'count', '1', c)\n"
               "raises('rsca.callback2', c.ReportResult, {}, 0)\n"
               "c:close(); rsca.loop()");
  assert_int_equal(w.native->responses + w.native->finals, 0);
  assert_int_equal(refs(w.native), 1);
  world_fini(&w);
}

/* ---- Reporting by a script ---- */

/* Status and bytes arrive as they are, and the answer comes back; final is what the status says. */
static void test_script_reports(void **unused) {
  (void)unused;
  world w;
  world_init(&w);
  run_lua(w.L, "assert(c:ReportResult(0, 'by\\0tes') == 0)");
  assert_int_equal(w.native->status, S_OK);
  assert_int_equal(w.native->size, 6);
  assert_memory_equal(w.native->text, "by\0tes", 6);
  assert_int_equal(w.native->responses, 1);
  assert_true(pthread_equal(w.native->thread, pthread_self()));
  run_lua(w.L,
          "assert(c:ReportResult(S.S_OK) == 0 and c:ReportResult(0, nil, nil) == 0 and c:ReportResult(0, '') == 0)");
  assert_int_equal(w.native->responses, 4);
  assert_int_equal(w.native->size, 0);
  run_lua(w.L, "assert(c:ReportResult(0, 42, false) == 0)");
  assert_string_equal(w.native->text, "42");
  assert_int_equal(w.native->responses, 5);
  run_lua(w.L, "assert(c:ReportResult(S.S_FALSE) == 0)");
  assert_int_equal(w.native->status, S_FALSE);
  assert_int_equal(w.native->finals, 1);
  w.native->answer = RSCA_E_CANCELLED;
  run_lua(w.L, "assert(c:ReportResult(0x80004005, 'why', true) == S.ERROR_CANCELLED)\n"
               "assert(c:ReportResult(S.E_FAIL - (1 << 32), 'why') == S.ERROR_CANCELLED)");
  assert_int_equal(w.native->status, E_FAIL);
  assert_string_equal(w.native->text, "why");
  assert_int_equal(w.native->finals, 3);
  assert_int_equal(w.native->responses, 5);
  assert_int_equal(refs(w.native), 2);
  world_fini(&w);
}

/* What the form of ReportResult has no word for is refused; the form with four parameters has words for all. */
static void test_script_says_final_itself(void **unused) {
  (void)unused;
  world w;
  world_init(&w);
#if RSCA_SDK_REPORTRESULT
  run_lua(w.L, "assert(c:ReportResult(0, 'last', true) == 0)");
  assert_int_equal(w.native->finals, 1);
  assert_string_equal(w.native->text, "last");
  run_lua(w.L, "assert(c:ReportResult(1, 'odd', false) == 0)");
  assert_int_equal(w.native->responses, 1);
  assert_int_equal(w.native->status, S_FALSE);
#else
  run_lua(w.L, "raises('a report is final if', c.ReportResult, c, 0, 'last', true)\n"
               "raises('a report is final if', c.ReportResult, c, 1, '', false)");
  assert_int_equal(w.native->responses + w.native->finals, 0);
#endif
  world_fini(&w);
}

static void test_wrong_types_raise(void **unused) {
  (void)unused;
  world w;
  world_init(&w);
  run_lua(w.L, "raises('status', c.ReportResult, c); raises('status', c.ReportResult, c, 'S_OK')\n"
               "raises('status', c.ReportResult, c, 1 << 32); raises('status', c.ReportResult, c, 0.5)\n"
               "raises('string', c.ReportResult, c, 0, {}); raises('string', c.ReportResult, c, 0, true)\n"
               "raises('boolean', c.ReportResult, c, 1, '', 1); raises('boolean', c.ReportResult, c, 1, '', 'true')\n"
               "raises('rsca.callback2', c.ReportResult, m, 0); raises('rsca.callback2', c.ReportResult)\n"
               "raises('native object', c.AddRef, m); raises('native object', c.close)\n"
               "assert(getmetatable(c) == false)");
  assert_int_equal(w.native->responses + w.native->finals, 0);
  world_fini(&w);
}

/* A handler can hand on what it hears, with all three values, in either form. */
static void test_handler_hands_on_what_it_hears(void **unused) {
  (void)unused;
  world w;
  world_init(&w);
  run_lua(w.L, "assert(rsca.subscribe('count', '3', function(...) return c:ReportResult(...) end)); rsca.loop()");
  assert_string_equal(w.native->all, "123");
  assert_int_equal(w.native->finals, 1);
  assert_int_equal(w.native->status, S_FALSE);
  world_fini(&w);
}

/* ---- Registered with a manager ---- */

/* It hears each response and one end, in the manager's default session, and is held until then. */
static void test_manager_reports_to_it(void **unused) {
  (void)unused;
  world w;
  world_init(&w);
  run_lua(w.L, "assert(m:RegisterCustomActionCallback('count', '3', c) == 0)\n"
               "assert(m:RegisterCustomActionCallback('count', '9', c) == S.ERROR_ALREADY_EXISTS)\n"
               "assert(m:RegisterCustomActionCallback('count', '9', print) == S.ERROR_ALREADY_EXISTS)");
  assert_int_equal(refs(w.native), 3);
  assert_int_equal(w.native->responses + w.native->finals, 0); /* never on the stack of the call */
  run_lua(w.L, "rsca.loop()");
  assert_string_equal(w.native->all, "123");
  assert_int_equal(w.native->responses, 3);
  assert_int_equal(w.native->finals, 1);
  assert_int_equal(w.native->status, S_FALSE);
  assert_int_equal(w.native->size, 0);
  assert_int_equal(refs(w.native), 2);
  run_lua(w.L, "assert(m:RegisterCustomActionCallback('fails', nil, c) == 0); rsca.loop()");
  assert_int_equal(w.native->finals, 2);
  assert_int_equal(w.native->status, (HRESULT)0x80070005);
  assert_string_equal(w.native->text, "why");
  assert_int_equal(refs(w.native), 2);
  world_fini(&w);
}

/* Refused: it is neither held nor called. */
static void test_manager_refuses_it(void **unused) {
  (void)unused;
  world w;
  world_init(&w);
  run_lua(w.L, "assert(m:RegisterCustomActionCallback('nobody', '', c) == S.ERROR_NOT_FOUND)\n"
               "assert(m:RegisterCustomActionCallback('', '', c) == S.E_INVALIDARG)\n"
               "assert(m:RegisterCustomActionCallback(nil, '', c) == S.E_INVALIDARG)\n"
               "assert(m:RegisterCustomActionCallback('count', 'a\\0b', c) == S.E_INVALIDARG)\n"
               "assert(m:RegisterCustomActionCallback('count', '\\xff', c) == 0x80070459)\n"
               "local small <close> = rsca.manager { queue_limit = 1 }\n"
               "small:register('waits', function(_, ctx) ctx:sleep(1000) end)\n"
               "assert(small:run('waits')); rsca.step()\n"
               "assert(small:RegisterCustomActionCallback('waits', '', c) == S.ERROR_BUSY)\n"
               "small:shutdown(true)\n"
               "assert(small:RegisterCustomActionCallback('waits', '', c) == S.ERROR_SHUTDOWN_IN_PROGRESS)\n"
               "rsca.loop()");
  assert_int_equal(w.native->responses + w.native->finals, 0);
  assert_int_equal(refs(w.native), 2);
  world_fini(&w);
}

/* Unregister, a failing answer, a shutdown: each end is heard once. */
static void test_each_end_is_heard_once(void **unused) {
  (void)unused;
  world w;
  world_init(&w);
  run_lua(w.L, "assert(m:RegisterCustomActionCallback('waits', '', c) == 0); rsca.step()");
  assert_string_equal(w.native->all, "first");
  run_lua(w.L, "assert(m:UnregisterCustomActionCallback('waits') == 0)\n"
               "assert(m:UnregisterCustomActionCallback('waits') == S.ERROR_NOT_FOUND); rsca.loop()");
  assert_int_equal(w.native->finals, 1);
  assert_int_equal(w.native->status, S_FALSE);

  forget_reports(w.native);
  w.native->answer = E_FAIL;
  run_lua(w.L, "assert(m:RegisterCustomActionCallback('count', '100', c) == 0); rsca.loop()\n"
               "assert(refused and m:stats().failed_callbacks >= 1)");
  assert_int_equal(w.native->responses, 1);
  assert_int_equal(w.native->finals, 1);
  assert_int_equal(w.native->status, RSCA_E_CANCELLED);

  forget_reports(w.native);
  w.native->answer = S_OK;
  run_lua(w.L, "assert(m:RegisterCustomActionCallback('waits', '', c) == 0); rsca.step(); assert(m:shutdown(true))");
  assert_int_equal(w.native->responses, 1);
  assert_int_equal(w.native->finals, 1);
  assert_int_equal(w.native->status, RSCA_E_CANCELLED);
  assert_int_equal(refs(w.native), 2);
  world_fini(&w);
}

/* Its proxy may go meanwhile: the manager holds the callback itself. */
static void test_closed_proxy_does_not_end_the_registration(void **unused) {
  (void)unused;
  world w;
  world_init(&w);
  run_lua(w.L, "assert(m:RegisterCustomActionCallback('waits', '', c) == 0); c:close()");
  assert_int_equal(refs(w.native), 2);
  run_lua(w.L, "rsca.step()");
  assert_string_equal(w.native->all, "first");
  run_lua(w.L, "m:UnregisterCustomActionCallback('waits'); rsca.loop()");
  assert_int_equal(w.native->finals, 1);
  assert_int_equal(refs(w.native), 1);
  world_fini(&w);
}

/* The state anchors a manager's proxy while a native callback is registered there. */
static void test_registration_keeps_the_scripts_manager(void **unused) {
  (void)unused;
  world w;
  world_init(&w);
  run_lua(w.L, "go = false\n"
               "local m = watch(rsca.manager()); mark(m)\n"
               "m:register('stream', function(_, ctx)\n"
               "  while not go do coroutine.yield() end\n"
               "  ctx:report('x'); return m and 'y'\n"
               "end)\n"
               "assert(m:RegisterCustomActionCallback('stream', '', c) == 0)");
  for (int i = 0; i < 5; i++) {
    collect(w.L);
    run_lua(w.L, "rsca.step()");
  }
  assert_int_equal(lua_global(w.L, "collected"), 0);
  run_lua(w.L, "go = true; rsca.loop()");
  assert_string_equal(w.native->all, "xy");
  assert_int_equal(w.native->finals, 1);
  collect(w.L);
  run_lua(w.L, "rsca.loop()");
  collect(w.L);
  assert_int_equal(lua_global(w.L, "collected"), 1);
  assert_int_equal(managers_alive, 1);
  world_fini(&w);
}

/* A session is somebody's custom actions: the same name in each, and in the manager's own. */
static void test_sessions_have_names_of_their_own(void **unused) {
  (void)unused;
  world w;
  world_init(&w);
  for (int i = 0; i < 2; i++) {
    IPmCustomActions2 *session;
    assert_int_equal(rsca_manager_create_session(w.manager, &session), S_OK);
    assert_int_equal(rsca_lua_push_custom_actions2(w.L, session), S_OK);
    lua_setglobal(w.L, i ? "b" : "a");
    assert_int_equal(session->lpVtbl->Release(session), 1);
  }
  run_lua(w.L, "for _, session in ipairs { m, a, b } do\n"
               "  assert(session:RegisterCustomActionCallback('waits', '', c) == 0)\n"
               "  assert(session:RegisterCustomActionCallback('waits', '', c) == S.ERROR_ALREADY_EXISTS)\n"
               "end\n"
               "rsca.step()");
  assert_int_equal(refs(w.native), 5);
  assert_int_equal(w.native->responses, 3);
  run_lua(w.L, "for i, session in ipairs { b, a, m } do\n"
               "  assert(session:UnregisterCustomActionCallback('waits') == 0)\n"
               "end\n"
               "rsca.loop()");
  assert_int_equal(w.native->finals, 3);
  assert_int_equal(refs(w.native), 2);
  world_fini(&w);
}

/* The state closes: what it ran ends with RPC_E_DISCONNECTED, once; native actions go on. */
static void test_state_closes_with_open_registrations(void **unused) {
  (void)unused;
  world w;
  world_init(&w);
  rsca_manager *other = make_manager();
  assert_int_equal(rsca_lua_push_manager(w.L, other), S_OK);
  lua_setglobal(w.L, "other");
  recorder *second = recorder_create();
  push_recorder(w.L, second, "d");
  run_lua(w.L, "assert(m:RegisterCustomActionCallback('waits', '', c) == 0); rsca.step()\n"
               "assert(other:RegisterCustomActionCallback('native', 'x', d) == 0)");
  lua_close(w.L);
  w.L = NULL;
  step_all(w.manager);
  assert_int_equal(w.native->responses, 1);
  assert_int_equal(w.native->finals, 1);
  assert_int_equal(w.native->status, RPC_E_DISCONNECTED);
  assert_int_equal(refs(w.native), 1);
  assert_int_equal(second->finals, 0);
  assert_int_equal(refs(second), 2);
  step_all(other);
  assert_string_equal(second->all, "native x");
  assert_int_equal(second->finals, 1);
  assert_int_equal(second->status, S_FALSE);
  recorder_end(second);
  assert_int_equal(rsca_manager_release(other), 0);
  world_fini(&w);
}

/* A worker calls it, on its own thread. */
static void test_worker_reports_to_it(void **unused) {
  (void)unused;
  world w;
  world_init(&w);
  run_lua(w.L, "pool = assert(rsca.manager { workers = 2, chunk = [[\n"
               "  local rsca = require 'rsca'\n"
               "  rsca.register('count', function(args, ctx) for i = 1, args do assert(ctx:report(i)) end end)\n"
               "  rsca.register('waits', function(_, ctx) ctx:report('first'); ctx:sleep(1000) end)\n"
               "]] })\n"
               "assert(pool:RegisterCustomActionCallback('count', '3', c) == 0)");
  while (atomic_load(&w.native->finals) == 0) {
  }
  assert_string_equal(w.native->all, "123");
  assert_int_equal(w.native->status, S_FALSE);
  assert_false(pthread_equal(w.native->thread, pthread_self()));
  run_lua(w.L, "assert(pool:RegisterCustomActionCallback('waits', '', c) == 0)\n"
               "assert(pool:RegisterCustomActionCallback('waits', '', c) == S.ERROR_ALREADY_EXISTS)\n"
               "assert(pool:UnregisterCustomActionCallback('waits') == 0)");
  while (atomic_load(&w.native->finals) == 1) {
  }
  assert_int_equal(w.native->status, S_FALSE);
  run_lua(w.L, "assert(pool:RegisterCustomActionCallback('waits', '', c) == 0); pool:close()");
  assert_int_equal(w.native->finals, 3);
  assert_int_equal(w.native->status, RSCA_E_CANCELLED);
  assert_int_equal(refs(w.native), 2);
  world_fini(&w);
}

/* ---- Registered with a manager of somebody else ---- */

/* It goes through as it is: called directly, where and when that manager reports. */
static void test_foreign_manager_gets_it_as_it_is(void **unused) {
  (void)unused;
  world w;
  world_init(&w);
  run_lua(w.L, "assert(s:RegisterCustomActionCallback('stream_now', '3', c) == 0)");
  assert_string_equal(w.native->all, "123"); /* at once, as it does */
  assert_int_equal(w.native->finals, 1);
  assert_int_equal(w.native->status, S_FALSE);
  forget_reports(w.native);
  run_lua(w.L, "assert(s:RegisterCustomActionCallback('stream', '2 80004005 broken', c) == 0); join()");
  assert_string_equal(w.native->all, "12");
  assert_int_equal(w.native->status, E_FAIL);
  assert_string_equal(w.native->text, "broken");
  assert_false(pthread_equal(w.native->thread, pthread_self()));
  forget_reports(w.native);
  run_lua(w.L, "assert(s:RegisterCustomActionCallback('open', '1', c) == 0)\n"
               "assert(s:RegisterCustomActionCallback('open', '1', c) == S.ERROR_ALREADY_EXISTS)\n"
               "assert(rsca.loop(0), 'it is not of this state')");
  assert_int_equal(refs(w.native), 3);
  run_lua(w.L, "c = nil"); /* it holds the callback itself */
  collect(w.L);
  assert_int_equal(refs(w.native), 2);
  run_lua(w.L, "assert(s:UnregisterCustomActionCallback('open') == 0)");
  assert_string_equal(w.native->all, "1");
  assert_int_equal(w.native->finals, 1);
  assert_int_equal(refs(w.native), 1);
  push_recorder(w.L, w.native, "c");
  world_fini(&w);
}

/* The status of a refusal is what it gave. What it holds all the same is its own affair. */
static void test_foreign_manager_refuses_it(void **unused) {
  (void)unused;
  world w;
  world_init(&w);
  run_lua(w.L, "assert(s:RegisterCustomActionCallback('refuse', '80123456', c) == 0x80123456)\n"
               "assert(s:RegisterCustomActionCallback('nobody', '', c) == S.ERROR_NOT_FOUND)\n"
               "assert(s:RegisterCustomActionCallback('', '', c) == S.E_INVALIDARG)\n"
               "assert(s:RegisterCustomActionCallback('open', '\\xff', c) == 0x80070459)");
  assert_int_equal(w.native->responses + w.native->finals, 0);
  assert_int_equal(refs(w.native), 2);
  run_lua(w.L, "assert(s:RegisterCustomActionCallback('keep_refuse', '80004005', c) == S.E_FAIL)");
  assert_int_equal(refs(w.native), 3);
  foreign_let_go();
  assert_int_equal(refs(w.native), 2);
  w.native->answer = E_FAIL; /* it hears the answer, too */
  run_lua(w.L, "assert(s:RegisterCustomActionCallback('open', '5', c) == 0)");
  assert_int_equal(w.native->responses, 1);
  assert_int_equal(refs(w.native), 2);
  world_fini(&w);
}

/* The state closes: the registration is none of its affairs. */
static void test_foreign_registration_outlives_the_state(void **unused) {
  (void)unused;
  world w;
  world_init(&w);
  run_lua(w.L, "assert(s:RegisterCustomActionCallback('open', '1', c) == 0)");
  lua_close(w.L);
  w.L = NULL;
  assert_int_equal(w.native->finals, 0);
  assert_int_equal(refs(w.native), 2);
  assert_int_equal(w.actions2->lpVtbl->UnregisterCustomActionCallback(w.actions2, u"open"), S_OK);
  assert_int_equal(w.native->finals, 1);
  assert_int_equal(refs(w.native), 1);
  world_fini(&w);
}

/* ---- Where it does not belong ---- */

static void test_subscribe_and_run_refuse_it(void **unused) {
  (void)unused;
  world w;
  world_init(&w);
  counting *for_runs = counting_create();
  assert_int_equal(rsca_lua_push_callback(w.L, &for_runs->iface), S_OK);
  lua_setglobal(w.L, "r");
  run_lua(w.L,
          "local name = 'RegisterCustomActionCallback'\n"
          "raises(name, rsca.subscribe, 'count', '1', c); raises(name, m.subscribe, m, 'count', '1', c)\n"
          "raises(name, s.subscribe, s, 'open', '1', c)\n"
          "raises('got rsca.callback2', rsca.run, 'count', '1', c)\n"
          "raises('got rsca.callback2', m.RunCustomAction, m, 'count', '1', c)\n"
          "raises('rsca.callback2) expected, got rsca.callback', m.RegisterCustomActionCallback, m, 'count', '1', r)\n"
          "raises('rsca.callback2) expected, got rsca.callback', s.RegisterCustomActionCallback, s, 'open', '1', r)\n"
          "raises('rsca.callback2) expected, got number', m.RegisterCustomActionCallback, m, 'count', '1', 7)\n"
          "raises('ReportResult', m.RegisterCustomActionCallback, m, 'count', '1', {})\n"
          "rsca.loop()");
  assert_int_equal(w.native->responses + w.native->finals, 0);
  assert_int_equal(refs(w.native), 2);
  assert_int_equal(counting_refs(for_runs), 2);
  assert_int_equal(rsca_lua_push_callback2(w.L, &w.native->iface), S_OK);
  ICustomActionResultCallback *out;
  assert_int_equal(rsca_lua_to_callback(w.L, -1, &out), E_INVALIDARG);
  assert_null(out);
  lua_settop(w.L, 0);
  world_fini(&w);
  counting_end(for_runs);
}

static void test_host_function_refuses_bad_input(void **unused) {
  (void)unused;
  world w;
  world_init(&w);
  lua_settop(w.L, 0);
  assert_int_equal(rsca_lua_push_callback2(w.L, NULL), E_INVALIDARG);
  assert_int_equal(rsca_lua_push_callback2(NULL, &w.native->iface), E_INVALIDARG);
  assert_int_equal(lua_gettop(w.L), 0);
  lua_State *bare = luaL_newstate();
  assert_int_equal(rsca_lua_push_callback2(bare, &w.native->iface), RSCA_E_NOT_FOUND);
  assert_int_equal(lua_gettop(bare), 0);
  lua_close(bare);
  assert_int_equal(refs(w.native), 2);
  world_fini(&w);
}

/* ---- Released while one of its methods runs ---- */

static void then_close_all(recorder *self) {
  self->then = NULL;
  run_lua(self->L, "c:close(); s:close()");
}

/* A script may close what it is just calling: both live until the method has returned. */
static void test_closed_by_what_its_own_method_does(void **unused) {
  (void)unused;
  for (int way = 0; way < 2; way++) {
    world w;
    world_init(&w);
    w.native->then = then_close_all;
    w.native->L = w.L;
    assert_int_equal(recorder_Release(&w.native->iface), 1); /* the proxies have the last */
    assert_int_equal(w.actions2->lpVtbl->Release(w.actions2), 1);
    run_lua(w.L, way == 0 ? "assert(c:ReportResult(0, 'x') == 0)"
                          : "assert(s:RegisterCustomActionCallback('stream_now', '3', c) == 0)");
    run_lua(w.L, "raises('released', c.ReportResult, c, 0); raises('released', s.AddRef, s)");
    assert_int_equal(recorders_alive, 0);
    assert_int_equal(foreign_alive(), 0);
    w.native = recorder_create();
    w.actions2 = foreign_create2();
    world_fini(&w);
  }
}

/* A finalizer may close them at any allocation on the way there. */
static void test_closed_by_a_finalizer_on_the_way(void **unused) {
  (void)unused;
  world w;
  world_init(&w);
  for (int round = 0; round < 300; round++) {
    recorder *one = recorder_create();
    IPmCustomActions2 *two = foreign_create2();
    push_recorder(w.L, one, "one");
    assert_int_equal(rsca_lua_push_custom_actions2(w.L, two), S_OK);
    lua_setglobal(w.L, "two");
    assert_int_equal(recorder_Release(&one->iface), 1);
    assert_int_equal(two->lpVtbl->Release(two), 1);
    lua_pushinteger(w.L, round);
    lua_setglobal(w.L, "round");
    run_lua(w.L,
            "collectgarbage(); collectgarbage('setpause', 100)\n"
            "setmetatable({}, { __gc = function() one:close(); two:close() end })\n"
            "local garbage = {}\n"
            "for i = 1, round do garbage[i] = ('x'):rep(1000) .. i end\n"
            "for i = 1, 100 do\n"
            "  local big = ('x'):rep(3000)\n"
            "  if not pcall(two.RegisterCustomActionCallback, two, 'stream_now', '1 1 ' .. big, one) then break end\n"
            "  if not pcall(one.ReportResult, one, 0, 12345678.5) then break end\n"
            "end\n"
            "one, two = nil, nil; collectgarbage(); collectgarbage()");
    assert_int_equal(recorders_alive, 1);
    assert_int_equal(foreign_alive(), 1);
  }
  world_fini(&w);
}

/* ---- The n-th allocation fails, for every n: of Lua's and of ours ---- */

static void frail_init(world *w) {
  foreign_reset();
  *w = (world){.manager = make_manager(), .native = recorder_create(), .actions2 = foreign_create2()};
  w->L = lua_newstate(failing_allocator, NULL);
  luaL_openlibs(w->L);
  assert_int_equal(rsca_lua_open(w->L, w->manager), S_OK);
  push_recorder(w->L, w->native, "c");
  assert_int_equal(rsca_lua_push_custom_actions2(w->L, w->actions2), S_OK);
  lua_setglobal(w->L, "s");
  run_lua(w->L, "rsca = require 'rsca'; m = rsca.own_manager(); rsca.on_error = function() end\n"
                "rsca.register('count', function(args, ctx) for i = 1, args do assert(ctx:report(i)) end end)\n"
                "rsca.register('waits', function(_, ctx) ctx:sleep(1000) end)\n"
                "collectgarbage(); collectgarbage()");
}

static void test_pushing_out_of_memory(void **unused) {
  (void)unused;
  bool failed = true;
  for (long n = 0; failed; n++) {
    assert_true(n < 100);
    world w;
    frail_init(&w);
    recorder *one = recorder_create();
    failing_arm(n);
    HRESULT status = rsca_lua_push_callback2(w.L, &one->iface);
    failed = failing_disarm();
    assert_true(status == S_OK || (failed && status == E_OUTOFMEMORY));
    assert_int_equal(lua_gettop(w.L), status == S_OK);
    assert_int_equal(refs(one), status == S_OK ? 2 : 1);
    assert_int_equal(rsca_lua_push_callback2(w.L, &one->iface), S_OK);
    assert_int_equal(refs(one), 2);
    lua_settop(w.L, 0);
    collect(w.L);
    recorder_end(one);
    world_fini(&w);
  }
}

/* Each time what was accepted has ended, once, and nothing is held any more. */
static void test_registering_and_reporting_out_of_memory(void **unused) {
  (void)unused;
  bool failed = true;
  for (long n = 0; failed; n++) {
    assert_true(n < 5000);
    world w;
    frail_init(&w);
    assert_int_equal(luaL_loadstring(w.L,
                                     "accepted = 0\n"
                                     "local function note(status) if status == 0 then accepted = accepted + 1 end\n"
                                     "  return status\n"
                                     "end\n"
                                     "note(m:RegisterCustomActionCallback('count', '3', c)); rsca.step()\n"
                                     "note(s:RegisterCustomActionCallback('stream_now', '3', c))\n"
                                     "note(m:RegisterCustomActionCallback('waits', '', c)); rsca.step()\n"
                                     "m:UnregisterCustomActionCallback('waits'); rsca.step()\n"
                                     "c:ReportResult(0, 12345.5); tostring(c); c:AddRef(); c:Release()\n"
                                     "for i = 1, 5 do rsca.step() end"),
                     LUA_OK);
    failing_arm(n);
    int status = lua_pcall(w.L, 0, 0, 0);
    failed = failing_disarm();
    lua_settop(w.L, 0);
    run_lua(w.L, "m:UnregisterCustomActionCallback('waits'); assert(rsca.loop(20), 'something never ends')");
    if (status == LUA_OK)
      assert_int_equal(w.native->finals, lua_global(w.L, "accepted"));
    assert_int_equal(refs(w.native), 2);
    if (!failed) {
      assert_int_equal(status, LUA_OK);
      assert_int_equal(w.native->responses, 7);
      assert_int_equal(w.native->finals, 3);
    }
    world_fini(&w);
  }
}

/* What a test that failed left behind is its own affair. */
static int set_up(void **unused) {
  (void)unused;
  (void)failing_disarm();
  atomic_store(&managers_alive, 0);
  atomic_store(&recorders_alive, 0);
  return 0;
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup(test_proxy_owns_exactly_one_reference, set_up),
      cmocka_unit_test_setup(test_what_a_script_took_goes_with_the_proxy, set_up),
      cmocka_unit_test_setup(test_over_release_is_an_error, set_up),
      cmocka_unit_test_setup(test_released_object_raises, set_up),
      cmocka_unit_test_setup(test_script_reports, set_up),
      cmocka_unit_test_setup(test_script_says_final_itself, set_up),
      cmocka_unit_test_setup(test_wrong_types_raise, set_up),
      cmocka_unit_test_setup(test_handler_hands_on_what_it_hears, set_up),
      cmocka_unit_test_setup(test_manager_reports_to_it, set_up),
      cmocka_unit_test_setup(test_manager_refuses_it, set_up),
      cmocka_unit_test_setup(test_each_end_is_heard_once, set_up),
      cmocka_unit_test_setup(test_closed_proxy_does_not_end_the_registration, set_up),
      cmocka_unit_test_setup(test_registration_keeps_the_scripts_manager, set_up),
      cmocka_unit_test_setup(test_sessions_have_names_of_their_own, set_up),
      cmocka_unit_test_setup(test_state_closes_with_open_registrations, set_up),
      cmocka_unit_test_setup(test_worker_reports_to_it, set_up),
      cmocka_unit_test_setup(test_foreign_manager_gets_it_as_it_is, set_up),
      cmocka_unit_test_setup(test_foreign_manager_refuses_it, set_up),
      cmocka_unit_test_setup(test_foreign_registration_outlives_the_state, set_up),
      cmocka_unit_test_setup(test_subscribe_and_run_refuse_it, set_up),
      cmocka_unit_test_setup(test_host_function_refuses_bad_input, set_up),
      cmocka_unit_test_setup(test_closed_by_what_its_own_method_does, set_up),
      cmocka_unit_test_setup(test_closed_by_a_finalizer_on_the_way, set_up),
      cmocka_unit_test_setup(test_pushing_out_of_memory, set_up),
      cmocka_unit_test_setup(test_registering_and_reporting_out_of_memory, set_up),
  };
  return cmocka_run_group_tests_name("bridge.callback2", tests, NULL, NULL);
}
