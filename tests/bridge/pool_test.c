/*
 * Pools whose workers run a script, from C: the host's open_state, several pools in one process, and their end from
 * wherever: an action, a callback, a finalizer, lua_close, the end of the process; with memory that fails.
 */
#include "failing.h"
#include "support.h"

#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- A board where threads note what they come to, and a gate for actions in C ---- */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* Protects what follows */
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static int endings, at_gate, opened, freed, errors;
static bool gate_is_open;
static HRESULT last_status;
static char last_text[512], error_text[512];
static pthread_t last_thread, opened_on[8];
static HRESULT shutdown_answer;

static int set_up(void **unused) {
  (void)unused;
  (void)pthread_mutex_lock(&lock);
  endings = at_gate = opened = freed = errors = 0;
  gate_is_open = false;
  last_status = shutdown_answer = E_FAIL;
  last_text[0] = '\0';
  (void)pthread_mutex_unlock(&lock);
  atomic_store(&managers_alive, 0);
  atomic_store(&counting_alive, 0);
  return 0;
}

static void count(int *counter) {
  (void)pthread_mutex_lock(&lock);
  ++*counter;
  (void)pthread_cond_broadcast(&changed);
  (void)pthread_mutex_unlock(&lock);
}

static void wait_until(const int *counter, int least) {
  (void)pthread_mutex_lock(&lock);
  while (*counter < least)
    (void)pthread_cond_wait(&changed, &lock);
  (void)pthread_mutex_unlock(&lock);
}

static int read_count(const int *counter) {
  (void)pthread_mutex_lock(&lock);
  int value = *counter;
  (void)pthread_mutex_unlock(&lock);
  return value;
}

static void note(void *user, HRESULT status, const void *response, size_t size, bool final) {
  (void)user;
  if (!final)
    return;
  (void)pthread_mutex_lock(&lock);
  endings++;
  last_status = status;
  last_thread = pthread_self();
  (void)snprintf(last_text, sizeof last_text, "%.*s", (int)size, size > 0 ? (const char *)response : "");
  (void)pthread_cond_broadcast(&changed);
  (void)pthread_mutex_unlock(&lock);
}

/* An action that waits until the gate is opened. */
static HRESULT gated(void *user, rsca_call *call, const char *args, size_t size) {
  (void)user;
  (void)call;
  (void)args;
  (void)size;
  (void)pthread_mutex_lock(&lock);
  at_gate++;
  (void)pthread_cond_broadcast(&changed);
  while (!gate_is_open)
    (void)pthread_cond_wait(&changed, &lock);
  at_gate--;
  (void)pthread_cond_broadcast(&changed);
  (void)pthread_mutex_unlock(&lock);
  return S_OK;
}

/* All have gone through when this returns. */
static void open_the_gate(void) {
  (void)pthread_mutex_lock(&lock);
  gate_is_open = true;
  (void)pthread_cond_broadcast(&changed);
  while (at_gate > 0)
    (void)pthread_cond_wait(&changed, &lock);
  (void)pthread_mutex_unlock(&lock);
}

/* ---- Pools ---- */

static const char script_text[] =
    "local rsca = require 'rsca'\n"
    "local function register(name, f) assert(rsca.register(name, f)) end\n"
    "register('echo', function(args) return args end)\n"
    "register('waits', function(_, ctx) rsca.shared:add('waits', 1) ctx:sleep(1e6) end)\n"
    "register('computes', function() rsca.shared:add('computes', 1) while true do end end)\n"
    "register('host', function() return tostring(host) end)\n"
    "register('ends', function(args) return tostring(rsca.own_manager():shutdown(args == 'now')) end)\n"
    "register('ends in a finalizer', function()\n"
    "  setmetatable({}, { __gc = function() rsca.own_manager():shutdown(true) end })\n"
    "  collectgarbage()\n"
    "  return 'after'\n"
    "end)\n";

static rsca_manager *make_pool_with(const rsca_config *config, const rsca_lua_script *script) {
  rsca_manager *manager;
  char message[256];
  assert_int_equal(rsca_manager_create(config, &manager), S_OK);
  mark_manager(manager);
  if (rsca_lua_load_script(manager, script, message, sizeof message) != S_OK)
    fail_msg("%s", message);
  assert_string_equal(message, "");
  return manager;
}

static rsca_manager *make_pool(unsigned workers) {
  return make_pool_with(&(rsca_config){.workers = workers, .kill_ms = 100}, &(rsca_lua_script){.text = script_text});
}

static void run(rsca_manager *pool, const char *name, const char *args) {
  assert_int_equal(rsca_manager_run(pool, name, args, note, NULL, NULL), S_OK);
}

/* Runs it, and waits for its end. */
static void run_and_wait(rsca_manager *pool, const char *name, const char *args) {
  int before = read_count(&endings);
  run(pool, name, args);
  wait_until(&endings, before + 1);
}

static void end_pool(rsca_manager *pool) {
  rsca_manager_stats stats;
  assert_int_equal(rsca_manager_shutdown(pool, true), S_OK);
  rsca_manager_get_stats(pool, &stats);
  assert_int_equal(stats.accepted, stats.ended);
  assert_int_equal(rsca_manager_release(pool), 0);
  assert_int_equal(managers_alive, 0);
}

/* ---- open_state ---- */

static void free_host(void *user) {
  (void)user;
  count(&freed);
}

static void hear_error(void *user, HRESULT status, const char *action, const char *message, size_t size) {
  (void)user;
  (void)status;
  (void)action;
  (void)size;
  (void)pthread_mutex_lock(&lock);
  (void)snprintf(error_text, sizeof error_text, "%s", message);
  (void)pthread_mutex_unlock(&lock);
  count(&errors);
}

static const rsca_lua_hooks hearing = {.on_error = hear_error};

/* Gives each state a module of the host's; `user` says from which state on it raises. */
static int open_host(lua_State *L, void *user) {
  (void)pthread_mutex_lock(&lock);
  int number = opened++;
  opened_on[number % 8] = pthread_self();
  (void)pthread_cond_broadcast(&changed);
  (void)pthread_mutex_unlock(&lock);
  (void)rsca_lua_set_hooks(L, &hearing);
  if (number >= *(const int *)user)
    return luaL_error(L, "the host has no more");
  lua_getglobal(L, "string"); /* the standard libraries are there */
  lua_pushfstring(L, "host's %d", number);
  lua_setglobal(L, "host");
  return 1; /* what it leaves is dropped */
}

static void test_open_state_is_called_in_each_new_state_on_its_workers_thread(void **unused) {
  (void)unused;
  enum { WORKERS = 3 };
  int most = 100;
  const rsca_lua_script script = {.text = script_text, .open_state = open_host, .user = &most, .free_user = free_host};
  rsca_manager *pool = make_pool_with(&(rsca_config){.workers = WORKERS}, &script);
  assert_int_equal(opened, 1); /* the first time on one for that alone, which has ended */
  assert_false(pthread_equal(opened_on[0], pthread_self()));
  run_and_wait(pool, "host", "");
  assert_int_equal(last_status, S_OK);
  assert_memory_equal(last_text, "host's ", 7);
  wait_until(&opened, WORKERS);
  for (int i = 1; i < WORKERS; i++) {
    assert_false(pthread_equal(opened_on[i], pthread_self()));
    for (int j = 1; j < i; j++)
      assert_false(pthread_equal(opened_on[i], opened_on[j]));
  }
  assert_int_equal(freed, 0);
  end_pool(pool);
  assert_int_equal(opened, WORKERS);
  assert_int_equal(freed, 1);
}

/* "It may raise": "On a failure the manager has no script, and `user` stays the caller's." */
static void test_open_state_that_raises_fails_the_loading(void **unused) {
  (void)unused;
  int most = 0;
  const rsca_lua_script script = {
      .text = script_text, .open_state = open_host, .user = &most, .free_user = free_host, .name = "the script"};
  rsca_manager *pool;
  char message[256] = "";
  assert_int_equal(rsca_manager_create(&(rsca_config){.workers = 2}, &pool), S_OK);
  mark_manager(pool);
  assert_int_equal(rsca_lua_load_script(pool, &script, message, sizeof message), E_FAIL);
  assert_string_equal(message, "the host has no more");
  assert_int_equal(freed, 0);
  assert_int_equal(rsca_manager_run(pool, "echo", "", note, NULL, NULL), RSCA_E_NOT_FOUND);
  most = 100;
  assert_int_equal(rsca_lua_load_script(pool, &script, message, sizeof message), S_OK);
  assert_string_equal(message, "");
  run_and_wait(pool, "echo", "loaded");
  assert_string_equal(last_text, "loaded");
  end_pool(pool);
  assert_int_equal(freed, 1);
}

static void test_open_state_that_raises_for_another_worker_is_heard_of_and_the_others_go_on(void **unused) {
  (void)unused;
  int most = 1;
  const rsca_lua_script script = {.text = script_text, .open_state = open_host, .user = &most, .free_user = free_host};
  rsca_manager *pool = make_pool_with(&(rsca_config){.workers = 2}, &script);
  for (int i = 0; i < 100; i++) {
    run_and_wait(pool, "host", "");
    assert_int_equal(last_status, S_OK);
  }
  wait_until(&errors, 1);
  end_pool(pool);
  assert_string_equal(error_text, "the host has no more");
  assert_int_equal(freed, 1);
}

/* "Before the first call", and once. A call that is refused is none. */
static void test_script_is_loaded_once_and_before_the_first_call(void **unused) {
  (void)unused;
  int most = 100;
  const rsca_lua_script script = {.text = script_text, .open_state = open_host, .user = &most, .free_user = free_host};
  rsca_manager *pool = make_pool(1);
  assert_int_equal(rsca_lua_load_script(pool, &script, NULL, 0), RSCA_E_INVALID_STATE);
  run_and_wait(pool, "echo", "still");
  assert_string_equal(last_text, "still");
  end_pool(pool);

  assert_int_equal(rsca_manager_create(&(rsca_config){.workers = 1}, &pool), S_OK);
  mark_manager(pool);
  run_and_wait(pool, "native", "");
  assert_int_equal(rsca_lua_load_script(pool, &script, NULL, 0), RSCA_E_INVALID_STATE);
  run_and_wait(pool, "native", "");
  end_pool(pool);
  assert_int_equal(opened + freed, 0);
}

/* ---- Several pools ---- */

static void test_two_pools_in_one_process_are_apart(void **unused) {
  (void)unused;
  rsca_manager *one = make_pool(2);
  rsca_manager *other = make_pool_with(
      &(rsca_config){.workers = 2}, &(rsca_lua_script){.text = "local rsca = require 'rsca'\n"
                                                               "rsca.register('echo', function() return 'other' end)\n"
                                                               "rsca.register('only here', function() end)"});
  for (int i = 0; i < 100; i++) {
    run_and_wait(one, "echo", "one");
    assert_string_equal(last_text, "one");
    run_and_wait(other, "echo", "one");
    assert_string_equal(last_text, "other");
  }
  assert_int_equal(rsca_manager_run(one, "only here", "", note, NULL, NULL), RSCA_E_NOT_FOUND);
  run(one, "waits", "");
  assert_int_equal(rsca_manager_shutdown(one, true), S_OK);
  assert_int_equal(last_status, RSCA_E_CANCELLED);
  assert_int_equal(rsca_manager_run(one, "echo", "", note, NULL, NULL), RSCA_E_SHUTDOWN_IN_PROGRESS);
  run_and_wait(other, "echo", "");
  assert_string_equal(last_text, "other");
  assert_int_equal(rsca_manager_release(one), 0);
  end_pool(other);
}

/* An action of one asks the other, in C and from one of its workers. */
static HRESULT ask(void *user, rsca_call *call, const char *args, size_t size) {
  (void)call;
  (void)size;
  return rsca_manager_run(user, "echo", args, note, NULL, NULL);
}

static void test_an_action_of_one_pool_runs_one_of_another(void **unused) {
  (void)unused;
  rsca_manager *one = make_pool(1), *other = make_pool(1);
  assert_int_equal(rsca_manager_register(one, "ask", NULL, ask, other, NULL), S_OK);
  run(one, "ask", "the other");
  wait_until(&endings, 2);
  assert_int_equal(rsca_manager_release(one), 0);
  end_pool(other);
}

/* ---- Whose state made it ---- */

/* Handlers of a state that is being closed go with it; native callbacks hear that it was cut. */
static void test_lua_close_ends_what_is_in_flight_on_a_pool_of_the_script(void **unused) {
  (void)unused;
  counting *callbacks[3];
  lua_State *L = open_state(NULL);
  lua_pushstring(L, script_text);
  lua_setglobal(L, "text");
  run_lua(L, "pool = assert(rsca.manager { chunk = text, workers = 2 }); mark(pool)\n"
             "pool:run('waits', '', function() error('called') end)\n"
             "pool:subscribe('waits', '', function() error('called') end)\n");
  const char *const names[] = {"waits", "computes", "computes"}; /* the last is queued, or runs */
  for (int i = 0; i < 3; i++) {
    callbacks[i] = counting_create();
    lua_getglobal(L, "pool");
    lua_getfield(L, -1, "run");
    lua_insert(L, -2);
    lua_pushstring(L, names[i]);
    lua_pushstring(L, "");
    assert_int_equal(rsca_lua_push_callback(L, &callbacks[i]->iface), S_OK);
    assert_int_equal(lua_pcall(L, 4, 1, 0), LUA_OK);
    assert_true(lua_isinteger(L, -1));
    lua_pop(L, 1);
  }
  lua_close(L);
  for (int i = 0; i < 3; i++) {
    assert_int_equal(callbacks[i]->calls, 1);
    assert_int_equal(callbacks[i]->status, RSCA_E_CANCELLED);
    counting_end(callbacks[i]);
  }
  assert_int_equal(managers_alive, 0);
}

/* Its workers have states of their own. */
static void test_pool_that_native_code_holds_outlives_the_state_that_made_it(void **unused) {
  (void)unused;
  lua_State *L = open_state(NULL);
  lua_pushstring(L, script_text);
  lua_setglobal(L, "text");
  run_lua(L, "rsca.on_log = function() end\n"
             "local m = assert(rsca.manager { chunk = text .. [[rsca.register('says', function() print('x') end)]],\n"
             "                                workers = 2 })\n"
             "mark(m)\n"
             "return m");
  rsca_manager *pool;
  assert_int_equal(rsca_lua_to_manager(L, -1, &pool), S_OK);
  lua_pop(L, 1);
  run_and_wait(pool, "echo", "before");
  run(pool, "waits", "");
  lua_close(L);
  assert_int_equal(read_count(&endings), 1);
  run_and_wait(pool, "echo", "after");
  assert_string_equal(last_text, "after");
  run_and_wait(pool, "says", ""); /* to nobody */
  assert_int_equal(last_status, S_OK);
  end_pool(pool);
  assert_int_equal(endings, 4);
}

/* ---- The last reference, and shutdown, from wherever ---- */

static void release_it(void *user, HRESULT status, const void *response, size_t size, bool final) {
  (void)rsca_manager_release(user);
  note(NULL, status, response, size, final);
}

static void wait_until_freed(void) {
  while (atomic_load(&managers_alive) > 0)
    (void)sched_yield();
}

static void test_last_release_on_a_worker(void **unused) {
  (void)unused;
  rsca_manager *pool = make_pool(2);
  run(pool, "waits", "");
  assert_int_equal(rsca_manager_run(pool, "echo", "", release_it, pool, NULL), S_OK);
  wait_until(&endings, 2);
  assert_false(pthread_equal(last_thread, pthread_self()));
  wait_until_freed();
}

static rsca_config with_limit(void) {
  return (rsca_config){.workers = 1, .time_limit_ms = 20, .kill_ms = 100};
}

/* What can't be stopped is told on the manager's own thread. */
static void test_last_release_on_the_service_thread(void **unused) {
  (void)unused;
  const rsca_config config = with_limit();
  rsca_manager *pool = make_pool_with(&config, &(rsca_lua_script){.text = script_text});
  assert_int_equal(rsca_manager_register(pool, "gated", NULL, gated, NULL, NULL), S_OK);
  assert_int_equal(rsca_manager_run(pool, "gated", "", release_it, pool, NULL), S_OK);
  wait_until(&endings, 1);
  assert_int_equal(last_status, RSCA_E_TIMEOUT);
  open_the_gate();
  wait_until_freed();
}

static void shut_down_there(void *user, HRESULT status, const void *response, size_t size, bool final) {
  shutdown_answer = rsca_manager_shutdown(user, true);
  note(NULL, status, response, size, final);
}

static void test_shutdown_from_a_callback_on_a_worker_returns_s_false(void **unused) {
  (void)unused;
  rsca_manager *pool = make_pool(2);
  run(pool, "waits", "");
  assert_int_equal(rsca_manager_run(pool, "echo", "", shut_down_there, pool, NULL), S_OK);
  wait_until(&endings, 2);
  assert_int_equal(shutdown_answer, S_FALSE);
  end_pool(pool);
}

static void test_shutdown_from_a_callback_on_the_service_thread_returns_s_false(void **unused) {
  (void)unused;
  const rsca_config config = with_limit();
  rsca_manager *pool = make_pool_with(&config, &(rsca_lua_script){.text = script_text});
  assert_int_equal(rsca_manager_register(pool, "gated", NULL, gated, NULL, NULL), S_OK);
  assert_int_equal(rsca_manager_run(pool, "gated", "", shut_down_there, pool, NULL), S_OK);
  wait_until(&endings, 1);
  assert_int_equal(shutdown_answer, S_FALSE);
  open_the_gate();
  end_pool(pool);
}

static void test_shutdown_from_an_action_in_lua(void **unused) {
  (void)unused;
  static const char *const ways[] = {"now", "later"};
  for (int i = 0; i < 2; i++) {
    (void)set_up(NULL);
    rsca_manager *pool =
        make_pool_with(&(rsca_config){.workers = 2, .drain_ms = 10}, &(rsca_lua_script){.text = script_text});
    run(pool, "waits", "");
    run(pool, "ends", ways[i]);
    wait_until(&endings, 2);
    end_pool(pool);
  }
}

static void test_shutdown_from_gc_in_a_worker(void **unused) {
  (void)unused;
  rsca_manager *pool = make_pool(2);
  run(pool, "waits", "");
  run(pool, "ends in a finalizer", "");
  wait_until(&endings, 2);
  end_pool(pool);
}

static void *shut_down_too(void *user) {
  (void)rsca_manager_shutdown(user, false);
  return NULL;
}

/* ---- Calls that are answered later, and a worker that is replaced meanwhile ---- */

static rsca_call *pending;

static HRESULT answer_later(void *user, rsca_call *call, const char *args, size_t size) {
  (void)args, (void)size;
  pending = call;
  count(user);
  return E_PENDING;
}

static void test_call_that_is_answered_later_outlives_its_worker(void **unused) {
  (void)unused;
  static const char text[] = "local rsca = require 'rsca'\n"
                             "local number = tostring(rsca.shared:add('states', 1))\n"
                             "rsca.register('number', function() return number end)\n"
                             "rsca.register('fills', function()\n"
                             "  while true do rsca.spawn(rsca.sleep, 1e6) end\n"
                             "end)";
  const rsca_lua_script script = {.text = text, .open_state = open_host, .user = &(int){100}};
  rsca_manager *pool = make_pool_with(&(rsca_config){.workers = 1, .memory_limit = (size_t)1 << 20}, &script);
  int begun = 0;
  assert_int_equal(rsca_manager_register(pool, "later", NULL, answer_later, &begun, NULL), S_OK);
  for (int round = 1; round <= 2; round++) {
    run(pool, "later", "");
    wait_until(&begun, round);
    int before = read_count(&endings);
    run_and_wait(pool, "fills", "");
    assert_int_equal(last_status, E_OUTOFMEMORY);
    do
      run_and_wait(pool, "number", "");
    while (last_status != S_OK || atoi(last_text) <= round);
    assert_true(read_count(&endings) > before);
    assert_int_equal(rsca_call_report(pending, "the ", 4), S_OK);
    before = read_count(&endings);
    assert_int_equal(rsca_call_finish(pending, S_OK, "answer", 6), S_OK);
    wait_until(&endings, before + 1);
    assert_int_equal(last_status, S_OK);
    assert_string_equal(last_text, "the answer");
  }
  assert_int_equal(rsca_manager_release(pool), 0);
}

static void test_shutdown_from_several_threads_at_once(void **unused) {
  (void)unused;
  enum { THREADS = 4 };
  rsca_manager *pool =
      make_pool_with(&(rsca_config){.workers = 2, .drain_ms = 10}, &(rsca_lua_script){.text = script_text});
  pthread_t threads[THREADS];
  run(pool, "waits", "");
  for (int i = 0; i < THREADS; i++)
    assert_int_equal(pthread_create(&threads[i], NULL, shut_down_too, pool), 0);
  assert_int_equal(rsca_manager_shutdown(pool, true), S_OK);
  for (int i = 0; i < THREADS; i++)
    assert_int_equal(pthread_join(threads[i], NULL), 0);
  assert_int_equal(endings, 1);
  end_pool(pool);
}

#ifndef __SANITIZE_THREAD__ /* its runtime starts no threads in a child */
/* A process may end as it likes, with work in flight and nothing given back. */
static void test_process_that_exits_with_work_in_flight(void **unused) {
  (void)unused;
  (void)fflush(NULL);
  pid_t child = fork();
  if (child == 0) {
    rsca_manager *pool = make_pool(2);
    run(pool, "waits", "");
    run(pool, "computes", "");
    run(pool, "computes", "");
    run(pool, "echo", "");
    exit(7);
  }
  int status;
  assert_int_equal(waitpid(child, &status, 0), child);
  assert_true(WIFEXITED(status));
  assert_int_equal(WEXITSTATUS(status), 7);
}
#endif

/* ---- Memory that fails ---- */

/* Each allocation in turn, of ours and of the workers' states. */
static void test_making_and_running_a_pool_with_failing_memory(void **unused) {
  (void)unused;
  enum { CALLS = 4 };
  bool failed = true;
  for (long n = 0; failed; n++) {
    assert_true(n < 20000);
    (void)set_up(NULL);
    const rsca_config config = {.workers = 2};
    const rsca_lua_script script = {.text = script_text};
    rsca_manager *pool = NULL;
    char message[256] = "";
    int accepted = 0;
    failing_arm(n);
    HRESULT status = rsca_manager_create(&config, &pool);
    if (status == S_OK)
      status = rsca_lua_load_script(pool, &script, message, sizeof message);
    bool loaded = status == S_OK;
    for (int i = 0; i < CALLS && (status == S_OK || (loaded && status == E_OUTOFMEMORY)); i++) {
      status = i % 2 ? rsca_manager_run(pool, "echo", "hello", note, NULL, NULL)
                     : rsca_manager_subscribe(pool, "echo", "hello", note, NULL, NULL);
      accepted += status == S_OK;
    }
    wait_until(&endings, accepted);
    failed = failing_disarm();
    if (status == E_FAIL && strstr(message, "E_OUTOFMEMORY")) /* the script has raised it */
      status = E_OUTOFMEMORY;
    if (status != S_OK && status != E_OUTOFMEMORY)
      fail_msg("allocation %ld failed: 0x%08X %s", n, (unsigned)status, message);
    if (!failed)
      assert_int_equal(accepted, CALLS);
    if (loaded) { /* what has failed once works now */
      run_and_wait(pool, "echo", "again");
      assert_int_equal(last_status, S_OK);
      assert_string_equal(last_text, "again");
    }
    if (pool) {
      assert_int_equal(rsca_manager_shutdown(pool, true), S_OK);
      assert_int_equal(rsca_manager_release(pool), 0);
    }
    assert_int_equal(endings, accepted + loaded);
  }
}

/* The same for a pool that a script makes and uses: what its state allocates may fail too, and for good. */
static void test_a_script_with_failing_memory_that_has_a_pool(void **unused) {
  (void)unused;
  bool failed = true;
  for (long n = 0; failed; n++) {
    assert_true(n < 20000);
    (void)set_up(NULL);
    lua_State *L = lua_newstate(failing_allocator, NULL);
    assert_non_null(L);
    luaL_openlibs(L);
    assert_int_equal(rsca_lua_open(L, NULL), S_OK);
    lua_pushstring(L, script_text);
    lua_setglobal(L, "text");
    run_lua(L, "rsca = require 'rsca'; rsca.on_error = function() end; heard = 0\n");
    assert_int_equal(luaL_loadstring(L, "pool = rsca.manager { chunk = text, workers = 1 }\n"
                                        "if not pool then return end\n"
                                        "local request = pool:run('echo', 'x')\n"
                                        "pool:run('echo', 'y', function() heard = heard + 1 end)\n"
                                        "pool:subscribe('echo', 'z', function() heard = heard + 1 end)\n"
                                        "if request then request:await() end\n"
                                        "pool:call('echo', 'again')\n"
                                        "pool:running()\n"
                                        "pool:run('waits')\n"
                                        "done = true"),
                     LUA_OK);
    failing_arm(n);
    (void)lua_pcall(L, 0, 0, 0);
    failed = failing_disarm();
    lua_settop(L, 0);
    run_lua(L, "if pool then\n"
               "  local response, err = pool:call('echo', 'on')\n"
               "  if response ~= 'on' then error(tostring(err)) end\n"
               "end");
    if (!failed)
      run_lua(L, "assert(done); pool:shutdown(true); rsca.loop(); assert(heard == 3)");
    lua_close(L);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup(test_open_state_is_called_in_each_new_state_on_its_workers_thread, set_up),
      cmocka_unit_test_setup(test_open_state_that_raises_fails_the_loading, set_up),
      cmocka_unit_test_setup(test_open_state_that_raises_for_another_worker_is_heard_of_and_the_others_go_on, set_up),
      cmocka_unit_test_setup(test_script_is_loaded_once_and_before_the_first_call, set_up),
      cmocka_unit_test_setup(test_two_pools_in_one_process_are_apart, set_up),
      cmocka_unit_test_setup(test_an_action_of_one_pool_runs_one_of_another, set_up),
      cmocka_unit_test_setup(test_lua_close_ends_what_is_in_flight_on_a_pool_of_the_script, set_up),
      cmocka_unit_test_setup(test_pool_that_native_code_holds_outlives_the_state_that_made_it, set_up),
      cmocka_unit_test_setup(test_last_release_on_a_worker, set_up),
      cmocka_unit_test_setup(test_last_release_on_the_service_thread, set_up),
      cmocka_unit_test_setup(test_shutdown_from_a_callback_on_a_worker_returns_s_false, set_up),
      cmocka_unit_test_setup(test_shutdown_from_a_callback_on_the_service_thread_returns_s_false, set_up),
      cmocka_unit_test_setup(test_shutdown_from_an_action_in_lua, set_up),
      cmocka_unit_test_setup(test_shutdown_from_gc_in_a_worker, set_up),
      cmocka_unit_test_setup(test_call_that_is_answered_later_outlives_its_worker, set_up),
      cmocka_unit_test_setup(test_shutdown_from_several_threads_at_once, set_up),
#ifndef __SANITIZE_THREAD__
      cmocka_unit_test_setup(test_process_that_exits_with_work_in_flight, set_up),
#endif
      cmocka_unit_test_setup(test_making_and_running_a_pool_with_failing_memory, set_up),
      cmocka_unit_test_setup(test_a_script_with_failing_memory_that_has_a_pool, set_up),
  };
  return cmocka_run_group_tests_name("pool", tests, NULL, NULL);
}
