/*
 * Giving a pool its script: too late, twice, one that can't be loaded, and what is called meanwhile.
 */
#include <semaphore.h>
#include <stdbool.h>

#include "support.h"

static const char registers[] = "local rsca = require 'rsca'\n"
                                "rsca.register('act', function(args) return args end)\n";
static const char raises[] = "local rsca = require 'rsca'\n"
                             "rsca.register('act', function(args) return args end)\n"
                             "call()\n"
                             "error('on purpose')";

/* ---- Endings, on whatever thread ---- */

typedef struct endings {
  sem_t ended;
  atomic_int count;
  HRESULT status;
  char text[128];
} endings;

static void on_end(void *user, HRESULT status, const void *response, size_t size, bool final) {
  endings *self = user;
  assert_true(final);
  self->status = status;
  size_t kept = size < sizeof self->text - 1 ? size : sizeof self->text - 1;
  if (kept > 0)
    memcpy(self->text, response, kept);
  self->text[kept] = '\0';
  (void)atomic_fetch_add(&self->count, 1);
  (void)sem_post(&self->ended);
}

static void await_one(endings *self) {
  while (sem_wait(&self->ended) != 0) {
  }
}

/* ---- The host ---- */

static rsca_manager *pool;
static endings ends;
static bool calls_meanwhile, freed;

/* call(): as another part of the host might just then. */
static int call_from_script(lua_State *L) {
  (void)L;
  if (calls_meanwhile)
    assert_int_equal(rsca_manager_run(pool, "act", "meanwhile", on_end, &ends, NULL), S_OK);
  return 0;
}

static int open_hook(lua_State *L, void *user) {
  (void)user;
  lua_register(L, "call", call_from_script);
  return 0;
}

static void free_hook(void *user) {
  *(bool *)user = true;
}

static HRESULT load(const char *text) {
  char message[300];
  const rsca_lua_script script = {.text = text, .open_state = open_hook, .user = &freed, .free_user = free_hook};
  HRESULT status = rsca_lua_load_script(pool, &script, message, sizeof message);
  assert_int_equal(*message == '\0', status != E_FAIL);
  return status;
}

static HRESULT native(void *user, rsca_call *call, const char *args, size_t size) {
  (void)user;
  return rsca_call_report(call, args, size);
}

static int set_up(void **unused) {
  (void)unused;
  memset(&ends, 0, sizeof ends);
  calls_meanwhile = freed = false;
  assert_int_equal(sem_init(&ends.ended, 0, 0), 0);
  assert_int_equal(rsca_manager_create(&(rsca_config){.workers = 2}, &pool), S_OK);
  assert_int_equal(rsca_manager_register(pool, "native", NULL, native, NULL, NULL), S_OK);
  return 0;
}

static int tear_down(void **unused) {
  (void)unused;
  (void)rsca_manager_shutdown(pool, true);
  (void)rsca_manager_release(pool);
  (void)sem_destroy(&ends.ended);
  return 0;
}

static void assert_answers(const char *action) {
  int before = atomic_load(&ends.count);
  assert_int_equal(rsca_manager_run(pool, action, "well", on_end, &ends, NULL), S_OK);
  await_one(&ends);
  assert_int_equal(atomic_load(&ends.count), before + 1);
  assert_int_equal(ends.status, S_OK);
  assert_string_equal(ends.text, "well");
}

/* ---- Tests ---- */

static void test_a_pool_that_has_a_script_gets_no_other(void **unused) {
  (void)unused;
  assert_int_equal(load(registers), S_OK);
  assert_int_equal(load("error('never run')"), RSCA_E_INVALID_STATE);
  assert_false(freed);
  assert_answers("act");
}

static void test_a_pool_that_was_called_gets_no_script(void **unused) {
  (void)unused;
  assert_answers("native");
  assert_int_equal(load(registers), RSCA_E_INVALID_STATE);
  assert_int_equal(rsca_manager_run(pool, "act", "", on_end, &ends, NULL), RSCA_E_NOT_FOUND);
  assert_answers("native");
}

static void test_a_pool_that_was_shut_down_gets_no_script(void **unused) {
  (void)unused;
  assert_int_equal(rsca_manager_shutdown(pool, true), S_OK);
  assert_int_equal(load(registers), RSCA_E_SHUTDOWN_IN_PROGRESS);
}

static void test_on_a_failure_the_manager_has_no_script_and_no_actions_of_it(void **unused) {
  (void)unused;
  assert_int_equal(load(raises), E_FAIL);
  assert_false(freed); /* `user` stays the caller's */
  assert_int_equal(rsca_manager_unregister(pool, "act"), RSCA_E_NOT_FOUND);
  assert_int_equal(load(registers), S_OK);
  assert_answers("act");
  assert_answers("native");
}

static void test_on_a_failure_calls_of_these_end_with_error_cancelled(void **unused) {
  (void)unused;
  calls_meanwhile = true;
  assert_int_equal(load(raises), E_FAIL);
  await_one(&ends);
  assert_int_equal(ends.status, RSCA_E_CANCELLED);
  assert_string_equal(ends.text, "its script could not be loaded");
  assert_answers("native");
  assert_int_equal(atomic_load(&ends.count), 2);
}

static void test_what_is_called_while_the_script_is_run_is_done_afterwards(void **unused) {
  (void)unused;
  calls_meanwhile = true;
  assert_int_equal(load("local rsca = require 'rsca'\n"
                        "rsca.register('act', function(args) return args end)\n"
                        "if rsca.shared:add('states', 1) == 1 then call() end"),
                   S_OK);
  await_one(&ends);
  assert_int_equal(ends.status, S_OK);
  assert_string_equal(ends.text, "meanwhile");
  assert_answers("act");
}

static void test_a_script_that_shuts_its_pool_down_while_it_is_run(void **unused) {
  (void)unused;
  calls_meanwhile = true;
  HRESULT status = load("local rsca = require 'rsca'\n"
                        "rsca.register('act', function(args) return args end)\n"
                        "if rsca.shared:add('states', 1) == 1 then call() end\n"
                        "rsca.own_manager():shutdown(true)");
  assert_true(status == S_OK || status == RSCA_E_SHUTDOWN_IN_PROGRESS);
  await_one(&ends);
  assert_int_equal(ends.status, RSCA_E_CANCELLED);
  assert_int_equal(rsca_manager_run(pool, "act", "", on_end, &ends, NULL), RSCA_E_SHUTDOWN_IN_PROGRESS);
}

/* What the script takes with AddRef goes with its state, and that with the pool. */
static void test_a_script_can_not_leak_its_own_pool(void **unused) {
  (void)unused;
  assert_int_equal(load("local rsca = require 'rsca'\n"
                        "rsca.register('takes', function()\n"
                        "  local m = rsca.own_manager()\n"
                        "  local count = m:AddRef()\n"
                        "  assert(m:AddRef() == count + 1 and m:Release() == count)\n"
                        "  return 'well'\n"
                        "end)"),
                   S_OK);
  assert_answers("takes");
  assert_int_equal(rsca_manager_add_ref(pool), 2);
  assert_int_equal(rsca_manager_release(pool), 1);
}

/* ---- One that does not come back ---- */

static sem_t gate, gone;

/* call(): comes back only when it is let go. */
static int block_in_script(lua_State *L) {
  (void)L;
  while (sem_wait(&gate) != 0) {
  }
  return 0;
}

static int open_blocking(lua_State *L, void *user) {
  (void)user;
  lua_register(L, "call", block_in_script);
  return 0;
}

static void free_blocking(void *user) {
  (void)sem_post(user);
}

static void test_a_script_that_does_not_come_back_in_time_is_left_to_itself(void **unused) {
  (void)unused;
  assert_int_equal(sem_init(&gate, 0, 0), 0);
  assert_int_equal(sem_init(&gone, 0, 0), 0);
  (void)rsca_manager_release(pool);
  assert_int_equal(rsca_manager_create(&(rsca_config){.workers = 2, .time_limit_ms = 1}, &pool), S_OK);
  assert_int_equal(rsca_manager_register(pool, "native", NULL, native, NULL, NULL), S_OK);
  char message[300];
  const rsca_lua_script script = {.text = "local rsca = require 'rsca'\n"
                                          "rsca.register('before', function() end)\n"
                                          "call()\n"
                                          "rsca.register('after', function() end)\n",
                                  .open_state = open_blocking,
                                  .user = &gone,
                                  .free_user = free_blocking};
  assert_int_equal(rsca_lua_load_script(pool, &script, message, sizeof message), RSCA_E_TIMEOUT);
  assert_string_equal(message, "the script was not loaded in time, and can't be stopped where it is");
  assert_int_equal(rsca_manager_run(pool, "before", "", on_end, &ends, NULL), RSCA_E_NOT_FOUND);
  assert_int_equal(load(registers), RSCA_E_INVALID_STATE);
  assert_int_equal(sem_trywait(&gone), -1);
  (void)sem_post(&gate);
  while (sem_wait(&gone) != 0) { /* its user is freed when it has come back */
  }
  assert_int_equal(rsca_manager_run(pool, "after", "", on_end, &ends, NULL), RSCA_E_NOT_FOUND);
  (void)sem_destroy(&gate);
  (void)sem_destroy(&gone);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(test_a_pool_that_has_a_script_gets_no_other),
      TEST(test_a_script_that_does_not_come_back_in_time_is_left_to_itself),
      TEST(test_a_pool_that_was_called_gets_no_script),
      TEST(test_a_pool_that_was_shut_down_gets_no_script),
      TEST(test_on_a_failure_the_manager_has_no_script_and_no_actions_of_it),
      TEST(test_on_a_failure_calls_of_these_end_with_error_cancelled),
      TEST(test_what_is_called_while_the_script_is_run_is_done_afterwards),
      TEST(test_a_script_that_shuts_its_pool_down_while_it_is_run),
      TEST(test_a_script_can_not_leak_its_own_pool),
  };
  return cmocka_run_group_tests_name("bridge.script", tests, NULL, NULL);
}
