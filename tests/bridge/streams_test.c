/*
 * Registrations across the border: what their handlers and coroutines hang on, and what is left of them when a manager
 * is collected or a state closes.
 */
#include "support.h"

/* ---- A native registration that writes down what it heard ---- */

typedef struct listener {
  atomic_uint responses, finals;
  HRESULT status;
  char text[128];
} listener;

static void on_report(void *user, HRESULT status, const void *response, size_t size, bool final) {
  listener *self = user;
  if (!final) {
    atomic_fetch_add(&self->responses, 1);
    return;
  }
  self->status = status;
  size_t kept = size < sizeof self->text - 1 ? size : sizeof self->text - 1;
  if (kept)
    memcpy(self->text, response, kept);
  atomic_fetch_add(&self->finals, 1);
}

/* ---- A native action that reports when it is told to ---- */

typedef struct source {
  rsca_call *call;
  atomic_uint runs;
} source;

static HRESULT source_action(void *user, rsca_call *call, const char *args, size_t size) {
  source *self = user;
  (void)args;
  (void)size;
  self->call = call;
  atomic_fetch_add(&self->runs, 1);
  return E_PENDING;
}

static void register_source(rsca_manager *manager, source *self) {
  *self = (source){0};
  assert_int_equal(rsca_manager_register(manager, "source", NULL, source_action, self, NULL), S_OK);
}

/* Both run what they have, until neither has anything. */
static void step_both(rsca_manager *a, rsca_manager *b) {
  bool some = true;
  while (some) {
    some = rsca_manager_step(a, 0) == S_OK;
    some = rsca_manager_step(b, 0) == S_OK || some;
  }
}

static void assert_all_ended(rsca_manager *manager) {
  rsca_manager_stats stats;
  rsca_manager_get_stats(manager, &stats);
  assert_int_equal(stats.accepted, stats.ended);
}

/* ---- What hangs on what ---- */

/* Handlers hang on the manager's proxy, which the state anchors while native code holds the manager as well. */
static void test_handler_of_a_manager_that_native_code_holds_is_kept(void **unused) {
  (void)unused;
  rsca_manager *own = make_manager(), *other = make_manager();
  source from;
  register_source(other, &from);
  lua_State *L = open_state(own);
  assert_int_equal(rsca_lua_push_manager(L, other), S_OK);
  lua_setglobal(L, "m");
  run_lua(L, "heard, ended = 0, false\n"
             "assert(m:subscribe('source', '', watch(function(_, _, final)\n"
             "  if final then ended = true else heard = heard + 1 end\n"
             "end)))\n"
             "m = nil");
  step_both(own, other);
  assert_int_equal(from.runs, 1);
  for (int i = 1; i <= 5; i++) {
    collect(L);
    step_both(own, other);
    collect(L);
    assert_int_equal(rsca_call_report(from.call, "x", 1), S_OK);
    step_both(own, other);
    assert_int_equal(lua_global(L, "heard"), i);
  }
  assert_int_equal(rsca_call_finish(from.call, S_OK, NULL, 0), S_OK);
  step_both(own, other);
  run_lua(L, "assert(ended)");
  collect(L);
  assert_int_equal(lua_global(L, "collected"), 1);
  assert_all_ended(other);
  lua_close(L);
  assert_int_equal(rsca_manager_release(other), 0);
  assert_int_equal(rsca_manager_release(own), 0);
  assert_int_equal(managers_alive, 0);
}

/* The coroutine that answers a script's registration outlives the proxy that it hung on, and a new proxy of the same
 * manager. */
static void test_coroutine_outlives_the_proxy_it_hung_on(void **unused) {
  (void)unused;
  rsca_manager *own = make_manager(), *other = make_manager();
  lua_State *L = open_state(own);
  for (int i = 0; i < 3; i++) {
    assert_int_equal(rsca_lua_push_manager(L, other), S_OK);
    lua_setglobal(L, "m");
    run_lua(L, "go, closed, heard, ended = false, false, 0, false\n"
               "m:register('stream', { replace = true }, function(_, ctx)\n"
               "  local _ <close> = setmetatable({}, { __close = function() closed = true end })\n"
               "  while not go do coroutine.yield() end\n"
               "  ctx:report(('x'):rep(100))\n"
               "end)\n"
               "m:subscribe('stream', '', function(_, _, final)\n"
               "  if final then ended = true else heard = heard + 1 end\n"
               "end)\n"
               "rsca.step(); rsca.step()\n"
               "assert(m:Release() == 1); m = nil");
    assert_int_equal(rsca_lua_push_manager(L, other), S_OK);
    lua_setglobal(L, "again");
    collect(L);
    run_lua(L, "local t = {}; for i = 1, 1000 do t[i] = coroutine.create(print) end\n"
               "go = true; rsca.loop(1); assert(closed, 'the action did not go on')\n"
               "again:Release(); again = nil");
    collect(L);
    step_both(own, other);
    assert_all_ended(other);
  }
  lua_close(L);
  assert_int_equal(rsca_manager_release(other), 0);
  assert_int_equal(rsca_manager_release(own), 0);
}

/* A script's own registrations keep nothing alive: when the manager is collected they end, and it is freed. */
static void test_manager_is_collected_with_its_open_registrations(void **unused) {
  (void)unused;
  lua_State *L = open_state(NULL);
  run_lua(L, "closed, called = 0, 0; collectgarbage('stop')\n"
             "for i = 1, 10 do\n"
             "  local m = rsca.manager {}; mark(m); watch(m)\n"
             "  m:register('stream', function(_, ctx)\n"
             "    local _ <close> = setmetatable({}, { __close = function() closed = closed + 1 end })\n"
             "    ctx:sleep(1000); return m\n"
             "  end)\n"
             "  local function handler() called = called + 1; return m and nil end\n"
             "  m:subscribe('stream', '', handler)\n"
             "  m:RegisterCustomActionCallback('stream', '', handler)\n"
             "  if i % 2 == 0 then rsca.step(); rsca.step() end\n"
             "end\n"
             "collectgarbage('restart')");
  assert_int_equal(managers_alive, 10);
  collect(L);
  run_lua(L, "rsca.step(); rsca.step()");
  collect(L);
  assert_int_equal(managers_alive, 0);
  assert_int_equal(lua_global(L, "collected"), 10);
  assert_int_equal(lua_global(L, "closed"), 20);
  assert_int_equal(lua_global(L, "called"), 0);
  lua_close(L);
}

/* A native callback's registration is one that something outside needs: the manager is kept until it has ended. */
static void test_native_registration_keeps_the_scripts_manager(void **unused) {
  (void)unused;
  lua_State *L = open_state(NULL);
  run_lua(L, "go = false\n"
             "local m = rsca.manager {}; mark(m); watch(m)\n"
             "m:register('stream', function(_, ctx)\n"
             "  while not go do coroutine.yield() end\n"
             "  ctx:report('x'); ctx:report('y'); return m and 'z'\n"
             "end)\n"
             "return m");
  rsca_manager *manager;
  assert_int_equal(rsca_lua_to_manager(L, -1, &manager), S_OK);
  lua_settop(L, 0);
  listener heard = {0};
  assert_int_equal(rsca_manager_subscribe(manager, "stream", "", on_report, &heard, NULL), S_OK);
  assert_true(rsca_manager_release(manager) > 0);
  for (int i = 0; i < 5; i++) {
    collect(L);
    run_lua(L, "rsca.step()");
  }
  assert_int_equal(managers_alive, 1);
  assert_int_equal(heard.finals, 0);
  run_lua(L, "go = true; for i = 1, 5 do rsca.step() end");
  assert_int_equal(heard.responses, 3);
  assert_int_equal(heard.finals, 1);
  assert_int_equal(heard.status, S_FALSE);
  collect(L);
  run_lua(L, "rsca.step()");
  collect(L);
  assert_int_equal(lua_global(L, "collected"), 1);
  assert_int_equal(managers_alive, 0);
  lua_close(L);
}

/* ---- A state closes with open registrations ---- */

/* A callback that must not be called; it counts what holds it. */
typedef struct refused_callback {
  ICustomAction2ResultCallback iface;
  atomic_uint refs, calls;
} refused_callback;

static ULONG RSCA_METHOD refused_AddRef(ICustomAction2ResultCallback *iface) {
  return atomic_fetch_add(&((refused_callback *)iface)->refs, 1) + 1;
}

static ULONG RSCA_METHOD refused_Release(ICustomAction2ResultCallback *iface) {
  return atomic_fetch_sub(&((refused_callback *)iface)->refs, 1) - 1;
}

static HRESULT RSCA_METHOD refused_ReportResult(ICustomAction2ResultCallback *iface, RSCA_REPORTRESULT2_PARAMETERS) {
#if RSCA_SDK_REPORTRESULT
  (void)fFinalResponse;
#endif
  (void)hrStatus;
  (void)pbResponse;
  (void)cbResponse;
  atomic_fetch_add(&((refused_callback *)iface)->calls, 1);
  return S_OK;
}

/* The Lua state that owns the action is closed: RPC_E_DISCONNECTED, the callback is never called, not held. */
static void test_registration_of_an_action_of_a_closed_state_is_refused(void **unused) {
  (void)unused;
  static const ICustomAction2ResultCallbackVtbl vtbl = {refused_AddRef, refused_Release, refused_ReportResult};
  rsca_manager *manager = make_manager();
  lua_State *L = open_state(manager);
  run_lua(L, "rsca.register('lua', function() end)");
  lua_close(L);
  refused_callback callback = {.iface = {&vtbl}, .refs = 1};
  IPmCustomActions2 *session = rsca_manager_custom_actions2(manager);
  assert_int_equal(session->lpVtbl->RegisterCustomActionCallback(session, u"lua", NULL, &callback.iface),
                   RPC_E_DISCONNECTED);
  assert_int_equal(session->lpVtbl->UnregisterCustomActionCallback(session, u"lua"), RSCA_E_NOT_FOUND);
  (void)session->lpVtbl->Release(session);
  listener refused = {0};
  uint64_t id = 1;
  assert_int_equal(rsca_manager_subscribe(manager, "lua", "", on_report, &refused, &id), RPC_E_DISCONNECTED);
  assert_int_equal(id, 0);
  step_all(manager);
  assert_int_equal(callback.refs, 1);
  assert_int_equal(callback.calls, 0);
  assert_int_equal(refused.finals, 0);
  assert_int_equal(rsca_manager_release(manager), 0);
  assert_int_equal(managers_alive, 0);
}

/* Native callbacks hear the end, once; the managers are freed. */
static void test_native_registrations_hear_the_end_when_the_state_closes(void **unused) {
  (void)unused;
  rsca_manager *own = make_manager();
  lua_State *L = open_state(own);
  run_lua(L, "local function stream(_, ctx) ctx:report('first'); ctx:sleep(1000) end\n"
             "rsca.register('stream', stream)\n"
             "m = rsca.manager {}; mark(m); m:register('stream', stream)\n"
             "return m");
  rsca_manager *made;
  assert_int_equal(rsca_lua_to_manager(L, -1, &made), S_OK);
  lua_settop(L, 0);
  listener started = {0}, queued = {0}, of_made = {0};
  assert_int_equal(rsca_manager_subscribe(own, "stream", "", on_report, &started, NULL), S_OK);
  assert_int_equal(rsca_manager_subscribe(made, "stream", "", on_report, &of_made, NULL), S_OK);
  assert_true(rsca_manager_release(made) > 0);
  step_all(own);
  assert_int_equal(rsca_manager_subscribe(own, "stream", "", on_report, &queued, NULL), S_OK);
  lua_close(L);
  step_all(own);
  assert_int_equal(started.responses, 1);
  assert_int_equal(started.finals, 1);
  assert_int_equal(started.status, RPC_E_DISCONNECTED);
  assert_string_not_equal(started.text, "");
  assert_int_equal(queued.responses, 0);
  assert_int_equal(queued.finals, 1);
  assert_int_equal(queued.status, RPC_E_DISCONNECTED);
  assert_int_equal(of_made.finals, 1);
  assert_true(of_made.status == RPC_E_DISCONNECTED || of_made.status == RSCA_E_CANCELLED);
  assert_all_ended(own);
  assert_int_equal(rsca_manager_release(own), 0);
  assert_int_equal(managers_alive, 0);
}

/* The consumer's state has closed: the action hears that nobody listens, at its next report. */
static void test_action_hears_that_the_consumers_state_has_closed(void **unused) {
  (void)unused;
  rsca_manager *own = make_manager(), *other = make_manager();
  source from;
  register_source(other, &from);
  lua_State *L = open_state(own);
  assert_int_equal(rsca_lua_push_manager(L, other), S_OK);
  lua_setglobal(L, "m");
  run_lua(L, "m:subscribe('source', '', function() end)");
  step_both(own, other);
  assert_int_equal(rsca_call_report(from.call, "x", 1), S_OK);
  step_both(own, other);
  lua_close(L);
  step_both(own, other);
  (void)rsca_call_report(from.call, "x", 1); /* on its way when it is found out */
  step_both(own, other);
  assert_true(rsca_call_cancelled(from.call));
  assert_int_equal(rsca_call_report(from.call, "x", 1), RSCA_E_CANCELLED);
  assert_all_ended(other);
  assert_int_equal(rsca_call_finish(from.call, S_OK, NULL, 0), S_OK);
  step_all(other);
  assert_int_equal(rsca_manager_release(other), 0);
  assert_int_equal(rsca_manager_release(own), 0);
  assert_int_equal(managers_alive, 0);
}

/* Responses that were reported outside a step, and wait for room behind a handler that waits. */
static void test_state_closes_with_reports_that_wait_for_room(void **unused) {
  (void)unused;
  rsca_manager *own = make_manager();
  lua_State *L = open_state(own);
  run_lua(L, "rsca.register('lends', function(_, lent) ctx = lent; lent:sleep(1000) end)\n"
             "rsca.subscribe('lends', '', function() rsca.sleep(1000) end)\n"
             "rsca.step()\n"
             "for i = 1, 4 do\n"
             "  for i = 1, 100 do ctx:report('x') end\n"
             "  rsca.step()\n"
             "end");
  lua_close(L);
  step_all(own);
  assert_all_ended(own);
  assert_int_equal(rsca_manager_release(own), 0);
  assert_int_equal(managers_alive, 0);
}

/* ---- On several threads ---- */

/* A manager that a thread of its own steps, with a native source, and a Lua state where that is wanted. */
typedef struct server {
  rsca_manager *manager;
  source from;
  bool has_state;
  atomic_bool ready, stop;
  pthread_t thread;
} server;

static void *run_server(void *user) {
  server *s = user;
  lua_State *L = s->has_state ? open_state(s->manager) : NULL;
  if (L)
    run_lua(L, "rsca.register('flood', function(_, ctx)\n"
               "  local n = 0\n"
               "  repeat n = n + 1 until not ctx:report(n)\n"
               "end)\n"
               "rsca.register('waits', function(_, ctx) ctx:report('first'); ctx:sleep(1000) end)");
  atomic_store(&s->ready, true);
  while (!atomic_load(&s->stop))
    (void)rsca_manager_step(s->manager, 100);
  if (L)
    lua_close(L);
  return NULL;
}

static void server_start(server *s, bool has_state) {
  s->manager = make_manager();
  s->has_state = has_state;
  register_source(s->manager, &s->from);
  atomic_store(&s->ready, false);
  atomic_store(&s->stop, false);
  assert_int_equal(pthread_create(&s->thread, NULL, run_server, s), 0);
  while (!atomic_load(&s->ready)) {
  }
}

/* Joins the thread. */
static void server_stop(server *s) {
  atomic_store(&s->stop, true);
  assert_int_equal(pthread_join(s->thread, NULL), 0);
}

static void server_end(server *s) {
  step_all(s->manager);
  assert_all_ended(s->manager);
  assert_int_equal(rsca_manager_release(s->manager), 0);
}

static void *report_until_cancelled(void *user) {
  source *self = user;
  while (atomic_load(&self->runs) == 0) {
  }
  while (rsca_call_report(self->call, "response", 8) != RSCA_E_CANCELLED) {
  }
  (void)rsca_call_finish(self->call, S_OK, NULL, 0);
  return NULL;
}

/* The consumer's state closes while a native action keeps reporting on a thread of its own, a second steps its manager,
 * and a third would listen. */
static void test_consumer_closes_while_the_producer_reports_on_another_thread(void **unused) {
  (void)unused;
  for (int round = 0; round < 20; round++) {
    server s;
    server_start(&s, false);
    pthread_t reporter;
    assert_int_equal(pthread_create(&reporter, NULL, report_until_cancelled, &s.from), 0);
    lua_State *L = open_state(NULL);
    assert_int_equal(rsca_lua_push_manager(L, s.manager), S_OK);
    lua_setglobal(L, "server");
    run_lua(L, "heard = 0\n"
               "assert(server:subscribe('source', '', function() heard = heard + 1 end))");
    while (lua_global(L, "heard") < round * 20)
      run_lua(L, "rsca.wait(0.01)");
    lua_close(L);
    assert_int_equal(pthread_join(reporter, NULL), 0);
    server_stop(&s);
    server_end(&s);
  }
  assert_int_equal(managers_alive, 0);
}

/* The same with an action of another state, in a handler and in a loop: it waits for room, and is told. */
static void test_consumer_closes_while_another_state_reports(void **unused) {
  (void)unused;
  server s;
  server_start(&s, true);
  for (int round = 0; round < 20; round++) {
    lua_State *L = open_state(NULL);
    assert_int_equal(rsca_lua_push_manager(L, s.manager), S_OK);
    lua_setglobal(L, "server");
    run_lua(L, "heard = 0\n"
               "server:subscribe('flood', '', function(_, response)\n"
               "  heard = heard + 1; assert(tonumber(response) == heard)\n"
               "end)\n"
               "server:subscribe('flood', '', function() rsca.sleep(1000) end)\n"
               "rsca.spawn(function()\n"
               "  for response in server:responses('flood') do last = response end\n"
               "end)\n"
               "local n = 0\n"
               "for response in server:responses('flood') do n = n + 1; if n == 300 then break end end\n"
               "assert(n == 300)");
    while (lua_global(L, "heard") < round * 50)
      run_lua(L, "rsca.wait(0.01)");
    lua_close(L);
  }
  rsca_manager_stats stats;
  do /* the actions hear of it when they report */
    rsca_manager_get_stats(s.manager, &stats);
  while (stats.accepted != stats.ended);
  server_stop(&s);
  server_end(&s);
  assert_int_equal(managers_alive, 0);
}

/* The producer's state closes: the consumers, on another thread, hear RPC_E_DISCONNECTED after what was reported. */
static void test_producer_closes_and_the_consumer_hears_of_it(void **unused) {
  (void)unused;
  for (int round = 0; round < 10; round++) {
    server s;
    server_start(&s, true);
    lua_State *L = open_state(NULL);
    assert_int_equal(rsca_lua_push_manager(L, s.manager), S_OK);
    lua_setglobal(L, "server");
    run_lua(L, "finals, heard = {}, 0\n"
               "local function handler(status, response, final)\n"
               "  if final then finals[#finals + 1] = { status, response } else heard = heard + 1 end\n"
               "end\n"
               "server:subscribe('waits', '', handler)\n"
               "server:subscribe('flood', '', handler)\n"
               "rsca.spawn(function()\n"
               "  for _ in server:responses('waits') do end\n"
               "end)\n"
               "rsca.on_error = function(err) raised = err end");
    while (lua_global(L, "heard") < round * 50 + 1)
      run_lua(L, "rsca.wait(0.01)");
    server_stop(&s);
    run_lua(L, "assert(rsca.loop(10)); assert(#finals == 2)\n"
               "for _, final in ipairs(finals) do\n"
               "  assert(final[1] == rsca.status.RPC_E_DISCONNECTED and #final[2] > 0)\n"
               "end\n"
               "assert(raised.status == rsca.status.RPC_E_DISCONNECTED)\n"
               "local sub, err = server:subscribe('waits', '', print)\n"
               "assert(not sub and err.status == rsca.status.RPC_E_DISCONNECTED)");
    lua_close(L);
    server_end(&s);
  }
  assert_int_equal(managers_alive, 0);
}

/* A handler in one state, the action in another, each on its own thread, and the one holds up the other: nothing is
 * lost. */
static void test_stream_between_two_threads_is_whole(void **unused) {
  (void)unused;
  server s;
  server_start(&s, true);
  lua_State *L = open_state(NULL);
  assert_int_equal(rsca_lua_push_manager(L, s.manager), S_OK);
  lua_setglobal(L, "server");
  run_lua(L, "local heard, final = 0\n"
             "local sub\n"
             "sub = server:subscribe('flood', '', function(status, response, last)\n"
             "  if last then final = status; return end\n"
             "  heard = heard + 1; assert(tonumber(response) == heard)\n"
             "  if heard % 1000 == 0 then rsca.sleep(0.001) end\n"
             "  if heard == 20000 then assert(sub:close()) end\n"
             "end)\n"
             "rsca.on_error = error\n"
             "assert(rsca.loop(60)); assert(heard == 20000 and final == 1)\n"
             "local n = 0\n"
             "for response in server:responses('flood') do\n"
             "  n = n + 1; assert(tonumber(response) == n); if n == 20000 then break end\n"
             "end");
  lua_close(L);
  server_stop(&s);
  server_end(&s);
  assert_int_equal(managers_alive, 0);
}

/* What a test that failed left behind is its own affair. */
static int set_up(void **unused) {
  (void)unused;
  atomic_store(&managers_alive, 0);
  return 0;
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup(test_handler_of_a_manager_that_native_code_holds_is_kept, set_up),
      cmocka_unit_test_setup(test_coroutine_outlives_the_proxy_it_hung_on, set_up),
      cmocka_unit_test_setup(test_manager_is_collected_with_its_open_registrations, set_up),
      cmocka_unit_test_setup(test_native_registration_keeps_the_scripts_manager, set_up),
      cmocka_unit_test_setup(test_registration_of_an_action_of_a_closed_state_is_refused, set_up),
      cmocka_unit_test_setup(test_native_registrations_hear_the_end_when_the_state_closes, set_up),
      cmocka_unit_test_setup(test_action_hears_that_the_consumers_state_has_closed, set_up),
      cmocka_unit_test_setup(test_state_closes_with_reports_that_wait_for_room, set_up),
      cmocka_unit_test_setup(test_consumer_closes_while_the_producer_reports_on_another_thread, set_up),
      cmocka_unit_test_setup(test_consumer_closes_while_another_state_reports, set_up),
      cmocka_unit_test_setup(test_producer_closes_and_the_consumer_hears_of_it, set_up),
      cmocka_unit_test_setup(test_stream_between_two_threads_is_whole, set_up),
  };
  return cmocka_run_group_tests_name("bridge.streams", tests, NULL, NULL);
}
