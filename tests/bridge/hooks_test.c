/*
 * What states have to say to their host: rsca_lua_set_hooks.
 */
#include <semaphore.h>
#include <stdio.h>

#include "support.h"

/* ---- A host that writes down what it is told, on whatever thread ---- */

enum { MOST = 32 };

typedef struct said {
  char what[16]; /* a level, or "on_error" */
  HRESULT status;
  char action[32];
  char message[512];
  size_t size;
  pthread_t thread;
} said;

typedef struct host {
  pthread_mutex_t lock; /* Protects what follows */
  size_t count;
  said all[MOST];
} host;

static void host_init(host *self) {
  memset(self, 0, sizeof *self);
  assert_int_equal(pthread_mutex_init(&self->lock, NULL), 0);
}

static void host_fini(host *self) {
  (void)pthread_mutex_destroy(&self->lock);
}

static void hear(host *self, const char *what, HRESULT status, const char *action, const char *message, size_t size) {
  (void)pthread_mutex_lock(&self->lock);
  if (self->count < MOST) {
    said *new = &self->all[self->count];
    (void)snprintf(new->what, sizeof new->what, "%s", what);
    (void)snprintf(new->action, sizeof new->action, "%s", action ? action : "none");
    new->status = status;
    new->size = size;
    if (message[size] == '\0') /* the NUL that is promised */
      memcpy(new->message, message, size < sizeof new->message ? size : sizeof new->message - 1);
    new->thread = pthread_self();
  }
  self->count++;
  (void)pthread_mutex_unlock(&self->lock);
}

static void hear_log(void *user, const char *level, const char *message, size_t size) {
  hear(user, level, S_OK, NULL, message, size);
}

static void hear_error(void *user, HRESULT status, const char *action, const char *message, size_t size) {
  hear(user, "on_error", status, action, message, size);
}

static rsca_lua_hooks hooks_of(host *self) {
  return (rsca_lua_hooks){.on_log = hear_log, .on_error = hear_error, .user = self};
}

static void assert_said(const host *self, size_t i, const char *what, const char *message) {
  assert_true(i < self->count);
  assert_string_equal(self->all[i].what, what);
  assert_int_equal(self->all[i].size, strlen(message));
  assert_string_equal(self->all[i].message, message);
}

/* ---- One state, on this thread ---- */

static host heard;
static lua_State *L;

static int set_up(void **state) {
  (void)state;
  host_init(&heard);
  const rsca_lua_hooks hooks = hooks_of(&heard);
  L = open_state(NULL);
  return rsca_lua_set_hooks(L, &hooks) == S_OK ? 0 : -1;
}

static int tear_down(void **state) {
  (void)state;
  lua_close(L);
  host_fini(&heard);
  return 0;
}

static void test_log_goes_to_the_host(void **state) {
  (void)state;
  run_lua(L, "assert(select('#', rsca.log('error', 'one')) == 0)\n"
             "rsca.log('warning', 2); rsca.log('info'); rsca.log('debug', 'a\\0b')\n"
             "rsca.log('info', setmetatable({}, { __tostring = function() return 'object' end }))");
  assert_int_equal(heard.count, 5);
  assert_said(&heard, 0, "error", "one");
  assert_said(&heard, 1, "warning", "2");
  assert_said(&heard, 2, "info", "nil");
  assert_int_equal(heard.all[3].size, 3);
  assert_memory_equal(heard.all[3].message, "a\0b", 3);
  assert_said(&heard, 4, "info", "object");
}

static void test_level_that_is_none_raises_and_the_host_hears_nothing(void **state) {
  (void)state;
  run_lua(L, "for _, wrong in ipairs { 'fatal', 'info\\0', '', 1, {} } do assert(not pcall(rsca.log, wrong, 'x')) end");
  assert_int_equal(heard.count, 0);
}

/* "Where the script has set no rsca.on_log of its own." */
static void test_on_log_of_the_script_comes_first(void **state) {
  (void)state;
  run_lua(L, "mine = 0; rsca.on_log = function() mine = mine + 1 end; rsca.log('info', 'mine')\n"
             "rsca.on_log = nil; rsca.log('info', 'host')\n"
             "assert(mine == 1)");
  assert_int_equal(heard.count, 1);
  assert_said(&heard, 0, "info", "host");
}

static void test_log_is_heard_in_actions_handlers_and_finalizers(void **state) {
  (void)state;
  run_lua(L, "rsca.register('act', function() rsca.log('info', 'action') end)\n"
             "rsca.run('act', '', function() rsca.log('info', 'handler') end)\n"
             "rsca.loop()\n"
             "setmetatable({}, { __gc = function() rsca.log('info', 'finalizer') end })\n"
             "collectgarbage()");
  assert_int_equal(heard.count, 3);
  assert_said(&heard, 0, "info", "action");
  assert_said(&heard, 1, "info", "handler");
  assert_said(&heard, 2, "info", "finalizer");
}

/* Status, action, message and traceback of what a handler raises. */
static void test_error_that_nobody_else_hears_of_goes_to_the_host(void **state) {
  (void)state;
  run_lua(L, "rsca.register('act', function() end)\n"
             "rsca.run('act', '', function() error('in a handler', 0) end)\n"
             "rsca.spawn(function() assert(rsca.call('missing')) end)\n"
             "rsca.loop()");
  assert_int_equal(heard.count, 2);
  const said *one = &heard.all[strcmp(heard.all[0].action, "act") == 0 ? 0 : 1];
  const said *other = one == &heard.all[0] ? &heard.all[1] : &heard.all[0];
  assert_string_equal(one->what, "on_error");
  assert_int_equal(one->status, E_FAIL);
  assert_string_equal(one->action, "act");
  assert_memory_equal(one->message, "in a handler\nstack traceback:\n", 30);
  assert_int_equal(other->status, RSCA_E_NOT_FOUND);
  assert_string_equal(other->action, "none");
  assert_non_null(strstr(other->message, "'missing'"));
}

static void test_on_error_of_the_script_comes_first(void **state) {
  (void)state;
  run_lua(L, "local first, mine = rsca.on_error, 0\n"
             "rsca.on_error = function() mine = mine + 1 end\n"
             "rsca.spawn(error, 'mine', 0); rsca.loop(); assert(mine == 1)\n"
             "rsca.on_error = function(err) first(err) end\n"
             "rsca.spawn(error, 'both', 0); rsca.loop()\n"
             "rsca.on_error = function() error('the hook', 0) end\n"
             "rsca.spawn(error, 'failed', 0); rsca.loop()\n"
             "rsca.on_error = nil\n"
             "rsca.spawn(error, 'nil', 0); rsca.loop()");
  assert_int_equal(heard.count, 3);
  assert_memory_equal(heard.all[0].message, "both", 4);
  assert_said(&heard, 1, "on_error", "the hook"); /* "what that one raises" */
  assert_memory_equal(heard.all[2].message, "nil", 3);
}

/* Whatever it is called with. */
static void test_on_error_called_by_hand(void **state) {
  (void)state;
  run_lua(L, "rsca.on_error('text'); rsca.on_error(nil); rsca.on_error(5)\n"
             "local _, err = rsca.call('missing'); rsca.on_error(err)\n"
             "err.message, err.status, err.action = {}, 'none', {}; rsca.on_error(err)\n"
             "assert(not pcall(rsca.on_error))");
  assert_int_equal(heard.count, 5);
  assert_said(&heard, 0, "on_error", "text");
  assert_int_equal(heard.all[0].status, E_FAIL);
  assert_said(&heard, 1, "on_error", "nil");
  assert_said(&heard, 2, "on_error", "5");
  assert_int_equal(heard.all[3].status, RSCA_E_NOT_FOUND);
  assert_string_equal(heard.all[3].action, "missing");
  assert_int_equal(heard.all[4].status, E_FAIL);
  assert_string_equal(heard.all[4].action, "none");
}

/* "Must last until lua_close has returned, or other hooks are set." */
static void test_hooks_are_copied_and_replaced_and_null_is_none(void **state) {
  (void)state;
  host other;
  host_init(&other);
  rsca_lua_hooks hooks = hooks_of(&other);
  hooks.on_error = NULL;
  assert_int_equal(rsca_lua_set_hooks(L, &hooks), S_OK);
  memset(&hooks, 0, sizeof hooks);
  run_lua(L, "rsca.log('info', 'other'); rsca.on_error = nil; rsca.spawn(error, 'nobody'); rsca.loop()");
  assert_int_equal(heard.count, 0);
  assert_int_equal(other.count, 1);
  assert_int_equal(rsca_lua_set_hooks(L, NULL), S_OK);
  run_lua(L, "rsca.log('info', 'nobody'); rsca.spawn(error, 'nobody'); rsca.loop()");
  assert_int_equal(other.count, 1);
  host_fini(&other);
}

static void test_hooks_of_no_state_are_refused(void **state) {
  (void)state;
  const rsca_lua_hooks hooks = hooks_of(&heard);
  assert_int_equal(rsca_lua_set_hooks(NULL, &hooks), E_INVALIDARG);
  lua_State *plain = luaL_newstate();
  assert_int_equal(rsca_lua_set_hooks(plain, &hooks), RSCA_E_NOT_FOUND);
  assert_int_equal(lua_gettop(plain), 0);
  lua_close(plain);
}

/* What __close raises when the state goes: the hook is there until lua_close returns. */
static void test_errors_of_a_closing_state_are_heard(void **state) {
  (void)state;
  lua_State *closing = open_state(NULL);
  const rsca_lua_hooks hooks = hooks_of(&heard);
  assert_int_equal(rsca_lua_set_hooks(closing, &hooks), S_OK);
  run_lua(closing, "rsca.spawn(function()\n"
                   "  local guard <close> = setmetatable({}, { __close = function() error('in close', 0) end })\n"
                   "  rsca.sleep(1000)\n"
                   "end)\n"
                   "rsca.step()");
  lua_close(closing);
  assert_int_equal(heard.count, 1);
  assert_memory_equal(heard.all[0].message, "in close", 8);
}

/* What the workers of a script's own pool say comes to its state, and from there to the host. */
static void test_pool_of_a_script_says_it_to_the_scripts_host(void **state) {
  (void)state;
  run_lua(L, "local m <close> = assert(rsca.manager { workers = 1, chunk = [[\n"
             "  local rsca = require 'rsca'\n"
             "  rsca.register('act', function() rsca.log('debug', 'logged'); print('printed', 1) end)\n"
             "]] })\n"
             "assert(m:call('act')); rsca.loop()");
  while (heard.count < 2)
    run_lua(L, "rsca.wait()");
  assert_said(&heard, 0, "debug", "logged");
  assert_said(&heard, 1, "info", "printed\t1");
  assert_true(pthread_equal(heard.all[1].thread, pthread_self()));
}

/* ---- A pool of the host's: each worker has the hooks that open_state gives it ---- */

typedef struct pool_host {
  host heard;
  atomic_int states;
  sem_t ended;
  atomic_int failures;
} pool_host;

static int open_worker(lua_State *of_worker, void *user) {
  pool_host *self = user;
  const rsca_lua_hooks hooks = hooks_of(&self->heard);
  if (rsca_lua_set_hooks(of_worker, &hooks) != S_OK)
    return luaL_error(of_worker, "no hooks");
  lua_pushinteger(of_worker, atomic_fetch_add(&self->states, 1) + 1);
  lua_setglobal(of_worker, "number");
  return 0;
}

static void on_result(void *user, HRESULT status, const void *response, size_t size, bool final) {
  pool_host *self = user;
  (void)response, (void)size, (void) final;
  atomic_fetch_add(&self->failures, FAILED(status));
  (void)sem_post(&self->ended);
}

static void run_pool(pool_host *self, uint32_t workers, const char *text, const char *action, int calls) {
  memset(self, 0, sizeof *self);
  host_init(&self->heard);
  assert_int_equal(sem_init(&self->ended, 0, 0), 0);
  rsca_manager *manager;
  char message[500];
  assert_int_equal(rsca_manager_create(&(rsca_config){.workers = workers}, &manager), S_OK);
  const rsca_lua_script script = {.text = text, .open_state = open_worker, .user = self};
  if (rsca_lua_load_script(manager, &script, message, sizeof message) != S_OK)
    fail_msg("%s", message);
  for (int i = 0; i < calls; i++)
    assert_int_equal(rsca_manager_run(manager, action, "", on_result, self, NULL), S_OK);
  for (int i = 0; i < calls; i++)
    while (sem_wait(&self->ended) != 0) {
    }
  (void)rsca_manager_shutdown(manager, true);
  (void)rsca_manager_release(manager);
  (void)sem_destroy(&self->ended);
}

static void test_workers_say_it_on_their_own_threads(void **state) {
  (void)state;
  static pool_host self;
  run_pool(&self, 1,
           "local rsca = require 'rsca'\n"
           "print('loaded', number)\n"
           "rsca.register('act', function()\n"
           "  rsca.log('warning', 'logged'); print('printed')\n"
           "  rsca.spawn(error, 'spawned', 0); rsca.sleep(0.001)\n"
           "end)",
           "act", 1);
  assert_int_equal(atomic_load(&self.failures), 0);
  assert_int_equal(self.heard.count, 4);
  assert_said(&self.heard, 0, "info", "loaded\t1");
  assert_said(&self.heard, 1, "warning", "logged");
  assert_said(&self.heard, 2, "info", "printed");
  assert_string_equal(self.heard.all[3].what, "on_error");
  assert_memory_equal(self.heard.all[3].message, "spawned", 7);
  assert_false(pthread_equal(self.heard.all[1].thread, pthread_self()));
  host_fini(&self.heard);
}

/* The script says no to every state but the first: calls end all the same, and the host hears why there is one worker.
 */
static void test_worker_that_can_not_be_made_is_told_of(void **state) {
  (void)state;
  static pool_host self;
  run_pool(&self, 2,
           "local rsca = require 'rsca'\n"
           "if number > 1 then error('state ' .. number .. ' is one too many', 0) end\n"
           "rsca.register('act', function() rsca.sleep(0.001) end)",
           "act", 50);
  assert_int_equal(atomic_load(&self.failures), 0);
  assert_true(atomic_load(&self.states) > 1);
  assert_int_equal(self.heard.count, atomic_load(&self.states) - 1);
  assert_string_equal(self.heard.all[0].what, "on_error");
  assert_int_equal(self.heard.all[0].status, E_FAIL);
  assert_memory_equal(self.heard.all[0].message, "state 2 is one too many\nstack traceback:", 39);
  host_fini(&self.heard);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(test_log_goes_to_the_host),
      TEST(test_level_that_is_none_raises_and_the_host_hears_nothing),
      TEST(test_on_log_of_the_script_comes_first),
      TEST(test_log_is_heard_in_actions_handlers_and_finalizers),
      TEST(test_error_that_nobody_else_hears_of_goes_to_the_host),
      TEST(test_on_error_of_the_script_comes_first),
      TEST(test_on_error_called_by_hand),
      TEST(test_hooks_are_copied_and_replaced_and_null_is_none),
      TEST(test_hooks_of_no_state_are_refused),
      TEST(test_errors_of_a_closing_state_are_heard),
      TEST(test_pool_of_a_script_says_it_to_the_scripts_host),
      cmocka_unit_test(test_workers_say_it_on_their_own_threads),
      cmocka_unit_test(test_worker_that_can_not_be_made_is_told_of),
  };
  return cmocka_run_group_tests_name("bridge.hooks", tests, NULL, NULL);
}
