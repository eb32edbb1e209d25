/*
 * States and threads: what crosses from one to another arrives there, once, on the right thread.
 */
#include "support.h"

#include <poll.h>

static HRESULT run_action(rsca_manager *manager, PCWSTR name, PCWSTR args, ICustomActionResultCallback *callback) {
  IPmCustomActions *actions = rsca_manager_custom_actions(manager);
  HRESULT status = actions->lpVtbl->RunCustomAction(actions, name, args, callback);
  (void)actions->lpVtbl->Release(actions);
  return status;
}

/* Steps, and waits on the descriptor in between as a host's loop does, until `done` says so. */
static void loop_until(rsca_manager *manager, atomic_bool *done) {
  struct pollfd watched = {.fd = rsca_manager_fd(manager), .events = POLLIN, .revents = 0};
  while (!atomic_load(done)) {
    if (rsca_manager_step(manager, 0) == S_FALSE)
      (void)poll(&watched, 1, rsca_manager_timeout_ms(manager));
  }
}

/* `require` twice gives the same module; two states in one process don't confuse each other. */
static void test_two_states_in_one_process_are_apart(void **unused) {
  (void)unused;
  lua_State *a = open_state(NULL), *b = open_state(NULL);
  run_lua(a, "rsca.register('who', function() return 'a' end); assert(require 'rsca' == rsca)\n"
             "package.loaded.rsca, package.loaded['rsca.core'] = nil\n"
             "assert(require 'rsca' == rsca)");
  run_lua(b, "rsca.register('who', function() return 'b' end)");
  run_lua(a, "assert(rsca.call('who') == 'a')");
  run_lua(b, "assert(rsca.call('who') == 'b')");
  lua_close(a);
  run_lua(b, "assert(rsca.call('who') == 'b')");
  lua_close(b);
}

/* ---- A server thread with a state, clients on other threads ---- */

enum { CLIENTS = 4, CALLS = 500 };

typedef struct client {
  rsca_manager *manager;
  counting *callbacks[CALLS];
  int accepted;
} client;

static void *run_client(void *user) {
  client *c = user;
  for (int i = 0; i < CALLS; i++) {
    HRESULT status;
    do /* the queue may be full for a moment */
      status = run_action(c->manager, u"echo", u"x", &c->callbacks[i]->iface);
    while (status == RSCA_E_BUSY);
    if (status == S_OK)
      c->accepted++;
  }
  return NULL;
}

/* RunCustomAction may be called from any thread; each accepted call is told how it ended exactly once. */
static void test_calls_from_many_threads_each_end_once_on_the_thread_that_steps(void **unused) {
  (void)unused;
  rsca_manager *manager = make_manager();
  lua_State *L = open_state(manager);
  run_lua(L, "rsca.register('echo', function(args) count = (count or 0) + 1; return args end)");
  client clients[CLIENTS];
  pthread_t threads[CLIENTS];
  for (int i = 0; i < CLIENTS; i++) {
    clients[i] = (client){.manager = manager};
    for (int j = 0; j < CALLS; j++)
      clients[i].callbacks[j] = counting_create();
    assert_int_equal(pthread_create(&threads[i], NULL, run_client, &clients[i]), 0);
  }
  struct pollfd watched = {.fd = rsca_manager_fd(manager), .events = POLLIN, .revents = 0};
  while (lua_global(L, "count") < CLIENTS * CALLS) {
    if (rsca_manager_step(manager, 100) == S_FALSE)
      (void)poll(&watched, 1, -1);
  }
  for (int i = 0; i < CLIENTS; i++) {
    assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_int_equal(clients[i].accepted, CALLS);
  }
  step_all(manager);
  for (int i = 0; i < CLIENTS; i++) {
    for (int j = 0; j < CALLS; j++) {
      counting *callback = clients[i].callbacks[j];
      assert_int_equal(callback->calls, 1);
      assert_int_equal(callback->status, S_OK);
      assert_string_equal(callback->text, "x");
      assert_true(pthread_equal(callback->thread, pthread_self()));
      counting_end(callback);
    }
  }
  lua_close(L);
  assert_int_equal(rsca_manager_release(manager), 0);
  assert_int_equal(managers_alive, 0);
}

/* ---- A state that runs the actions of another state on another thread ---- */

typedef struct server {
  rsca_manager *manager;
  atomic_bool ready, stop;
  pthread_t thread;
} server;

static HRESULT stop_action(void *user, rsca_call *call, const char *args, size_t size) {
  (void)call;
  (void)args;
  (void)size;
  atomic_store(&((server *)user)->stop, true);
  return S_OK;
}

static void *run_server(void *user) {
  server *s = user;
  lua_State *L = open_state(s->manager);
  run_lua(L, "rsca.register('double', function(args, ctx)\n"
             "  if args == 'slow' then ctx:sleep(0.001) end\n"
             "  if args == 'bad' then error 'refused' end\n"
             "  return args .. args\n"
             "end)");
  atomic_store(&s->ready, true);
  loop_until(s->manager, &s->stop);
  lua_close(L);
  return NULL;
}

static void server_start(server *s) {
  s->manager = make_manager();
  assert_int_equal(rsca_manager_register(s->manager, "stop", NULL, stop_action, s, NULL), S_OK);
  assert_true(rsca_manager_fd(s->manager) >= 0); /* before the thread: it may be asked for on one thread only */
  assert_int_equal(pthread_create(&s->thread, NULL, run_server, s), 0);
  while (!atomic_load(&s->ready)) {
  }
}

/* The call goes to the action's state, the result comes back to the handler's: each on its own thread. */
static void test_state_calls_the_actions_of_a_state_on_another_thread(void **unused) {
  (void)unused;
  server s = {0};
  server_start(&s);
  lua_State *L = open_state(NULL);
  assert_int_equal(rsca_lua_push_manager(L, s.manager), S_OK);
  lua_setglobal(L, "server");
  run_lua(L, "assert(server:call('double', 'ab') == 'abab')\n"
             "assert(server:call('double', 'slow') == 'slowslow')\n"
             "local _, err = server:call('double', 'bad')\n"
             "assert(err.status == rsca.status.E_FAIL and err.message:find 'refused' and err.traceback)\n"
             "_, err = server:call('nobody')\n"
             "assert(err.status == rsca.status.ERROR_NOT_FOUND)\n"
             "local heard = 0\n"
             "for i = 1, 1000 do\n"
             "  assert(server:run('double', tostring(i), function(status, response)\n"
             "    assert(status == 0 and response == i .. '' .. i); heard = heard + 1\n"
             "  end))\n"
             "end\n"
             "rsca.loop(); assert(heard == 1000)\n"
             "rsca.register('relay', function(args) return assert(server:call('double', args)) end)\n"
             "local requests = {}\n"
             "for i = 1, 100 do requests[i] = assert(rsca.run('relay', i % 2 == 0 and 'slow' or 'x')) end\n"
             "for i = 1, 100 do assert(#requests[i]:await() > 1) end\n"
             "assert(server:run('stop'))");
  assert_int_equal(pthread_join(s.thread, NULL), 0);
  run_lua(L, "local _, err = server:call('double', 'x')\n"
             "assert(err.status == rsca.status.RPC_E_DISCONNECTED)");
  lua_close(L);
  step_all(s.manager);
  assert_int_equal(rsca_manager_release(s.manager), 0);
  assert_int_equal(managers_alive, 0);
}

/* A client's state closes while its calls are on their way through the server's thread. */
static void test_state_closes_while_its_calls_are_under_way_elsewhere(void **unused) {
  (void)unused;
  server s = {0};
  server_start(&s);
  for (int round = 0; round < 50; round++) {
    lua_State *L = open_state(NULL);
    assert_int_equal(rsca_lua_push_manager(L, s.manager), S_OK);
    lua_setglobal(L, "server");
    run_lua(L, "for i = 1, 20 do\n"
               "  server:run('double', 'x', function() end)\n"
               "  r = server:run('double', 'slow')\n"
               "end\n"
               "rsca.step()");
    lua_close(L);
  }
  lua_State *L = open_state(NULL);
  assert_int_equal(rsca_lua_push_manager(L, s.manager), S_OK);
  lua_setglobal(L, "server");
  run_lua(L, "server:call('double', 'slow'); assert(server:call('stop'))");
  assert_int_equal(pthread_join(s.thread, NULL), 0);
  lua_close(L);
  step_all(s.manager);
  rsca_manager_stats stats;
  rsca_manager_get_stats(s.manager, &stats);
  assert_int_equal(stats.accepted, stats.ended);
  assert_int_equal(rsca_manager_release(s.manager), 0);
  assert_int_equal(managers_alive, 0);
}

/* ---- Handlers in foreign hands while their state closes ---- */

typedef struct reporter {
  ICustomActionResultCallback *callback;
  atomic_bool *closing;
  int reported;
  pthread_t thread;
} reporter;

static void *run_reporter(void *user) {
  reporter *r = user;
  BYTE byte = 'x';
  HRESULT status;
  do {
    status = r->callback->lpVtbl->ReportResult(r->callback, S_OK, &byte, 1);
    r->reported += status == S_OK;
  } while (status == S_OK && r->reported < 100000);
  if (status == S_OK)
    while (!atomic_load(r->closing)) {
    }
  (void)r->callback->lpVtbl->Release(r->callback);
  return NULL;
}

/* ReportResult and Release from foreign threads, while the state is stepped and then closes. */
static void test_foreign_threads_report_and_release_while_the_state_closes(void **unused) {
  (void)unused;
  for (int round = 0; round < 10; round++) {
    rsca_manager *manager = make_manager();
    lua_State *L = open_state(manager);
    run_lua(L, "heard = 0; function handler() heard = heard + 1 end");
    atomic_bool closing = false;
    reporter reporters[3];
    for (int i = 0; i < 3; i++) {
      reporters[i] = (reporter){.closing = &closing};
      lua_getglobal(L, "handler");
      assert_int_equal(rsca_lua_to_callback(L, -1, &reporters[i].callback), S_OK);
      lua_pop(L, 1);
      assert_int_equal(pthread_create(&reporters[i].thread, NULL, run_reporter, &reporters[i]), 0);
    }
    while (lua_global(L, "heard") < 10 * round)
      (void)rsca_manager_step(manager, 0);
    lua_close(L);
    atomic_store(&closing, true);
    for (int i = 0; i < 3; i++)
      assert_int_equal(pthread_join(reporters[i].thread, NULL), 0);
    assert_int_equal(rsca_manager_release(manager), 0);
  }
  assert_int_equal(managers_alive, 0);
}

/* ---- Managers released on foreign threads ---- */

static void release_manager(void *argument) {
  (void)rsca_manager_release(argument);
}

/* The last Release may happen on any thread: what is in flight ends in the state's next steps. */
static void test_last_release_of_a_scripts_manager_on_another_thread(void **unused) {
  (void)unused;
  lua_State *L = open_state(NULL);
  run_lua(L, "m = rsca.manager {}; mark(m)\n"
             "m:register('wait', function(_, ctx) ctx:sleep(1000) end)\n"
             "m:run('wait', '', function(status) heard = status end); rsca.step()\n"
             "return m");
  rsca_manager *manager;
  assert_int_equal(rsca_lua_to_manager(L, -1, &manager), S_OK);
  lua_settop(L, 0);
  run_lua(L, "assert(m:Release() == 1)");
  assert_int_equal(managers_alive, 1);
  on_other_thread(release_manager, manager);
  run_lua(L, "rsca.loop(); assert(heard == rsca.status.ERROR_CANCELLED)");
  assert_int_equal(managers_alive, 0);
  lua_close(L);
}

/* ---- The service thread answers for a host that does not step ---- */

typedef struct gate {
  pthread_mutex_t mutex;
  pthread_cond_t opened;
  bool open;
  HRESULT status;
} gate;

static void open_gate(void *user, HRESULT status, const void *response, size_t size, bool final) {
  (void)response, (void)size, (void) final;
  gate *self = user;
  (void)pthread_mutex_lock(&self->mutex);
  self->open = true;
  self->status = status;
  (void)pthread_cond_signal(&self->opened);
  (void)pthread_mutex_unlock(&self->mutex);
}

static void wait_at_gate(gate *self) {
  (void)pthread_mutex_lock(&self->mutex);
  while (!self->open)
    (void)pthread_cond_wait(&self->opened, &self->mutex);
  (void)pthread_mutex_unlock(&self->mutex);
}

/* A native callback is told of the time limit though nobody steps; what waited in Lua is closed by the next step. */
static void test_action_that_waits_is_closed_though_its_call_was_answered_elsewhere(void **unused) {
  (void)unused;
  rsca_manager *manager = make_manager();
  lua_State *L = open_state(manager);
  run_lua(L, "begun, closed = 0, 0\n"
             "function register(ms)\n"
             "  rsca.register('wait', { time_limit = ms / 1000 }, function(_, ctx)\n"
             "    begun = begun + 1\n"
             "    local guard <close> = setmetatable({}, { __close = function() closed = closed + 1 end })\n"
             "    ctx:sleep(1e6)\n"
             "  end)\n"
             "end");
  for (unsigned ms = 1; lua_global(L, "begun") == 0; ms *= 2) { /* until it begins before its time is over */
    gate told = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false, S_OK};
    lua_getglobal(L, "register");
    lua_pushinteger(L, (lua_Integer)ms);
    lua_call(L, 1, 0);
    assert_int_equal(rsca_manager_run(manager, "wait", "", open_gate, &told, NULL), S_OK);
    (void)rsca_manager_step(manager, 0);
    wait_at_gate(&told);
    assert_int_equal(told.status, RSCA_E_TIMEOUT);
  }
  step_all(manager);
  run_lua(L, "assert(rsca.loop(0)); assert(closed == 1)");
  lua_close(L);
  assert_int_equal(rsca_manager_release(manager), 0);
}

/* ---- Two states on one thread, one inside the other ---- */

static int is_told(lua_State *L) {
  gate *self = lua_touserdata(L, lua_upvalueindex(1));
  (void)pthread_mutex_lock(&self->mutex);
  lua_pushboolean(L, self->open);
  (void)pthread_mutex_unlock(&self->mutex);
  return 1;
}

/* In an action of the outer state: the inner one loops until that action's call was answered. */
static int run_inner(lua_State *L) {
  lua_State *inner = lua_touserdata(L, lua_upvalueindex(1));
  run_lua(inner, "rsca.call('loop')");
  return 0;
}

/* Whoever is told to stop while another state runs inside it stops when that is over. */
static void test_limit_of_a_state_that_another_one_runs_inside_of(void **unused) {
  (void)unused;
  rsca_manager *manager = make_manager();
  lua_State *outer = open_state(manager), *inner = open_state(NULL);
  for (unsigned ms = 1; lua_global(outer, "begun") == 0; ms *= 2) { /* until it begins before its time is over */
    gate told = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false, S_OK};
    lua_pushlightuserdata(inner, &told);
    lua_pushcclosure(inner, is_told, 1);
    lua_setglobal(inner, "told");
    run_lua(inner, "rsca.register('loop', function() while not told() do end end)");
    lua_pushlightuserdata(outer, inner);
    lua_pushcclosure(outer, run_inner, 1);
    lua_setglobal(outer, "inner");
    lua_pushinteger(outer, (lua_Integer)ms);
    lua_setglobal(outer, "ms");
    run_lua(outer, "begun, went_on = 0, 0\n"
                   "rsca.register('nest', { time_limit = ms / 1000 }, function()\n"
                   "  begun = 1\n"
                   "  inner()\n"
                   "  while true do end\n"
                   "end)");
    assert_int_equal(rsca_manager_run(manager, "nest", "", open_gate, &told, NULL), S_OK);
    step_all(manager);
    assert_int_equal(told.status, RSCA_E_TIMEOUT);
  }
  run_lua(inner, "rsca.register('fine', function(args) return args end); assert(rsca.call('fine', 'x') == 'x')");
  run_lua(outer, "rsca.register('fine', function(args) return args end); assert(rsca.call('fine', 'x') == 'x')");
  lua_close(inner);
  lua_close(outer);
  assert_int_equal(rsca_manager_release(manager), 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_two_states_in_one_process_are_apart),
      cmocka_unit_test(test_calls_from_many_threads_each_end_once_on_the_thread_that_steps),
      cmocka_unit_test(test_state_calls_the_actions_of_a_state_on_another_thread),
      cmocka_unit_test(test_state_closes_while_its_calls_are_under_way_elsewhere),
      cmocka_unit_test(test_foreign_threads_report_and_release_while_the_state_closes),
      cmocka_unit_test(test_last_release_of_a_scripts_manager_on_another_thread),
      cmocka_unit_test(test_action_that_waits_is_closed_though_its_call_was_answered_elsewhere),
      cmocka_unit_test(test_limit_of_a_state_that_another_one_runs_inside_of),
  };
  return cmocka_run_group_tests_name("bridge.threads", tests, NULL, NULL);
}
