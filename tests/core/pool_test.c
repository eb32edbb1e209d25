/*
 * A pool of workers, with actions in C: whoever is free runs them, and none is left without its one ending.
 */
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <rsca/manager.h>

/* ---- A gate that actions wait at, and a board where endings are noted ---- */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static int waiting; /* actions at the gate */
static bool open_gate;
static int endings;
static HRESULT last_status;
static pthread_t last_thread;

static int set_up(void **unused) {
  (void)unused;
  (void)pthread_mutex_lock(&lock);
  waiting = endings = 0;
  open_gate = false;
  last_status = S_OK;
  (void)pthread_mutex_unlock(&lock);
  return 0;
}

static void wait_until(const int *count, int least) {
  (void)pthread_mutex_lock(&lock);
  while (*count < least)
    (void)pthread_cond_wait(&changed, &lock);
  (void)pthread_mutex_unlock(&lock);
}

/* All have gone through when this returns. */
static void open_the_gate(void) {
  (void)pthread_mutex_lock(&lock);
  open_gate = true;
  (void)pthread_cond_broadcast(&changed);
  while (waiting > 0)
    (void)pthread_cond_wait(&changed, &lock);
  (void)pthread_mutex_unlock(&lock);
}

static HRESULT gated(void *user, rsca_call *call, const char *args, size_t size) {
  (void)user;
  (void)call;
  (void)args;
  (void)size;
  (void)pthread_mutex_lock(&lock);
  waiting++;
  (void)pthread_cond_broadcast(&changed);
  while (!open_gate)
    (void)pthread_cond_wait(&changed, &lock);
  waiting--;
  (void)pthread_cond_broadcast(&changed);
  (void)pthread_mutex_unlock(&lock);
  return S_OK;
}

static HRESULT echo(void *user, rsca_call *call, const char *args, size_t size) {
  (void)user;
  return rsca_call_report(call, args, size);
}

static void note(void *user, HRESULT status, const void *response, size_t size, bool final) {
  (void)response;
  (void)size;
  assert_true(final);
  (void)pthread_mutex_lock(&lock);
  endings++;
  last_status = status;
  last_thread = pthread_self();
  if (user)
    (*(int *)user)++;
  (void)pthread_cond_broadcast(&changed);
  (void)pthread_mutex_unlock(&lock);
}

static rsca_manager *make_pool(unsigned workers, uint32_t time_limit_ms) {
  const rsca_config config = {.workers = workers, .time_limit_ms = time_limit_ms, .kill_ms = 100};
  rsca_manager *manager;
  assert_int_equal(rsca_manager_create(&config, &manager), S_OK);
  assert_int_equal(rsca_manager_register(manager, "gated", NULL, gated, NULL, NULL), S_OK);
  assert_int_equal(rsca_manager_register(manager, "echo", NULL, echo, NULL, NULL), S_OK);
  return manager;
}

static void end_pool(rsca_manager *manager) {
  rsca_manager_stats stats;
  assert_int_equal(rsca_manager_shutdown(manager, false), S_OK);
  rsca_manager_get_stats(manager, &stats);
  assert_int_equal(stats.accepted, stats.ended);
  assert_int_equal(rsca_manager_release(manager), 0);
}

/* ---- Tests ---- */

static void test_accepted_calls_end_exactly_once_on_workers(void **unused) {
  (void)unused;
  enum { CALLS = 2000 };
  rsca_manager *manager = make_pool(2, 0);
  static int told[CALLS];
  memset(told, 0, sizeof told);
  for (int i = 0; i < CALLS; i++)
    assert_int_equal(rsca_manager_run(manager, "echo", "hello", note, &told[i], NULL), S_OK);
  wait_until(&endings, CALLS);
  for (int i = 0; i < CALLS; i++)
    assert_int_equal(told[i], 1);
  assert_false(pthread_equal(last_thread, pthread_self()));
  assert_int_equal(rsca_manager_step(manager, 0), S_FALSE); /* there is nothing for a host to step */
  assert_int_equal(rsca_manager_fd(manager), -1);
  end_pool(manager);
}

static void test_one_slow_action_holds_up_nobody_while_a_worker_is_idle(void **unused) {
  (void)unused;
  rsca_manager *manager = make_pool(2, 0);
  assert_int_equal(rsca_manager_run(manager, "gated", "", note, NULL, NULL), S_OK);
  wait_until(&waiting, 1);
  for (int i = 1; i <= 100; i++) {
    assert_int_equal(rsca_manager_run(manager, "echo", "", note, NULL, NULL), S_OK);
    wait_until(&endings, i);
  }
  open_the_gate();
  wait_until(&endings, 101);
  end_pool(manager);
}

/* All workers are busy: who waits in the queue is answered all the same. */
static void count_one(void *user, HRESULT status, const void *response, size_t size, bool final) {
  (void)status;
  (void)response;
  (void)size;
  (void) final;
  (void)atomic_fetch_add((atomic_int *)user, 1);
}

/* The same, whatever the workers are just about: after a few quick ones, some of them look around for more. */
static void test_slow_actions_hold_up_nobody_while_workers_look_around(void **unused) {
  enum { WORKERS = 4, ROUNDS = 2000 };
  rsca_manager *manager = make_pool(WORKERS, 0);
  for (int round = 0; round < ROUNDS; round++) {
    (void)set_up(unused);
    for (int quick = 0; quick < round % 4; quick++) {
      atomic_int told = 0;
      assert_int_equal(rsca_manager_run(manager, "echo", "", count_one, &told, NULL), S_OK);
      while (atomic_load(&told) == 0)
        (void)sched_yield();
    }
    for (int i = 0; i < WORKERS; i++)
      assert_int_equal(rsca_manager_run(manager, "gated", "", note, NULL, NULL), S_OK);
    wait_until(&waiting, WORKERS);
    open_the_gate();
    wait_until(&endings, WORKERS);
  }
  end_pool(manager);
}

static void test_queued_call_that_is_cancelled_ends_though_all_workers_are_busy(void **unused) {
  (void)unused;
  rsca_manager *manager = make_pool(1, RSCA_NO_LIMIT);
  uint64_t id;
  assert_int_equal(rsca_manager_run(manager, "gated", "", note, NULL, NULL), S_OK);
  wait_until(&waiting, 1);
  assert_int_equal(rsca_manager_run(manager, "echo", "", note, NULL, &id), S_OK);
  assert_int_equal(rsca_manager_cancel(manager, id, 0), S_OK);
  wait_until(&endings, 1);
  assert_int_equal(last_status, RSCA_E_CANCELLED);
  open_the_gate();
  wait_until(&endings, 2);
  end_pool(manager);
}

static void test_worker_that_is_stuck_is_set_aside_and_replaced(void **unused) {
  (void)unused;
  rsca_manager *manager = make_pool(1, 50);
  assert_int_equal(rsca_manager_run(manager, "gated", "", note, NULL, NULL), S_OK);
  wait_until(&endings, 1);
  assert_int_equal(last_status, RSCA_E_TIMEOUT);
  /* The action is still at its gate. Whether the next call is in time depends on when the other worker is there. */
  do {
    int before = endings;
    assert_int_equal(rsca_manager_run(manager, "echo", "", note, NULL, NULL), S_OK);
    wait_until(&endings, before + 1);
  } while (last_status == RSCA_E_TIMEOUT);
  assert_int_equal(last_status, S_OK);
  assert_int_equal(waiting, 1);
  int before = endings;
  open_the_gate();
  end_pool(manager);
  assert_int_equal(endings, before); /* its late result is dropped */
}

static void test_shutdown_true_ends_everything_at_once_with_error_cancelled(void **unused) {
  (void)unused;
  rsca_manager *manager = make_pool(1, 0);
  assert_int_equal(rsca_manager_run(manager, "gated", "", note, NULL, NULL), S_OK);
  wait_until(&waiting, 1);
  assert_int_equal(rsca_manager_run(manager, "echo", "", note, NULL, NULL), S_OK);
  assert_int_equal(rsca_manager_shutdown(manager, true), S_OK);
  assert_int_equal(endings, 2);
  assert_int_equal(last_status, RSCA_E_CANCELLED);
  assert_int_equal(rsca_manager_run(manager, "echo", "", note, NULL, NULL), RSCA_E_SHUTDOWN_IN_PROGRESS);
  open_the_gate(); /* the worker was left to itself: it has kept what it needs */
  assert_int_equal(rsca_manager_release(manager), 0);
}

static HRESULT shuts_down(void *user, rsca_call *call, const char *args, size_t size) {
  (void)call;
  (void)args;
  (void)size;
  return rsca_manager_shutdown(user, true);
}

static void test_shutdown_from_inside_an_action_returns_s_false_and_finishes_in_the_background(void **unused) {
  (void)unused;
  rsca_manager *manager = make_pool(2, 0);
  assert_int_equal(rsca_manager_register(manager, "shuts down", NULL, shuts_down, manager, NULL), S_OK);
  assert_int_equal(rsca_manager_run(manager, "shuts down", "", note, NULL, NULL), S_OK);
  wait_until(&endings, 1);
  assert_int_equal(rsca_manager_shutdown(manager, true), S_OK);
  assert_int_equal(rsca_manager_release(manager), 0);
}

static void release_in_callback(void *user, HRESULT status, const void *response, size_t size, bool final) {
  (void)rsca_manager_release(user);
  note(NULL, status, response, size, final);
}

static void test_the_last_release_may_happen_in_a_callback_on_a_worker(void **unused) {
  (void)unused;
  rsca_manager *manager = make_pool(2, 0);
  assert_int_equal(rsca_manager_run(manager, "echo", "", release_in_callback, manager, NULL), S_OK);
  wait_until(&endings, 1);
}

static void test_a_pool_that_nobody_has_called_has_no_threads_to_end(void **unused) {
  (void)unused;
  end_pool(make_pool(4, 0));
  assert_int_equal(rsca_manager_release(make_pool(4, 0)), 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup(test_accepted_calls_end_exactly_once_on_workers, set_up),
      cmocka_unit_test_setup(test_one_slow_action_holds_up_nobody_while_a_worker_is_idle, set_up),
      cmocka_unit_test_setup(test_slow_actions_hold_up_nobody_while_workers_look_around, set_up),
      cmocka_unit_test_setup(test_queued_call_that_is_cancelled_ends_though_all_workers_are_busy, set_up),
      cmocka_unit_test_setup(test_worker_that_is_stuck_is_set_aside_and_replaced, set_up),
      cmocka_unit_test_setup(test_shutdown_true_ends_everything_at_once_with_error_cancelled, set_up),
      cmocka_unit_test_setup(test_shutdown_from_inside_an_action_returns_s_false_and_finishes_in_the_background,
                             set_up),
      cmocka_unit_test_setup(test_the_last_release_may_happen_in_a_callback_on_a_worker, set_up),
      cmocka_unit_test_setup(test_a_pool_that_nobody_has_called_has_no_threads_to_end, set_up),
  };
  return cmocka_run_group_tests_name("core.pool", tests, NULL, NULL);
}
