/*
 * IPmHealthAndIdleMonitor through its vtable: what is idle, who is told what, when and where, and what becomes of the
 * callback's references.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <semaphore.h>
#include <stdlib.h>
#include <string.h>

#include <rsca/protocol_manager.h>

#include "client.h"

/* ---- The allocator: the linker puts it in front of the real one ---- */

static bool no_memory;

void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);

void *__wrap_malloc(size_t size) {
  return no_memory ? NULL : __real_malloc(size);
}

/* ---- A callback that counts; 1 reference is the test's own, and nothing frees it ---- */

typedef struct listener {
  IHealthStatusCallback iface;
  atomic_uint references;
  atomic_uint added; /* AddRefs */
  atomic_uint told;  /* read it first; the rest is stable once it is 1 */
  BOOL healthy;
  bool on_stack_of_check; /* a CheckHealth was further up this stack */
  unsigned depth;         /* reports further up this stack */
  unsigned held;          /* references meanwhile */
  unsigned order;         /* the how manyeth report in this program */
  HRESULT answer;
  pthread_t thread;
  void (*inside)(void *user); /* called inside the report, with `user` */
  void *user;
} listener;

static _Thread_local unsigned checking;  /* CheckHealths on this stack */
static _Thread_local unsigned reporting; /* reports on this stack */
static atomic_uint all_reports;

static listener *listener_of(IHealthStatusCallback *iface) {
  return (listener *)((char *)iface - offsetof(listener, iface));
}

static ULONG RSCA_METHOD listener_AddRef(IHealthStatusCallback *iface) {
  atomic_fetch_add(&listener_of(iface)->added, 1);
  return atomic_fetch_add(&listener_of(iface)->references, 1) + 1;
}

static ULONG RSCA_METHOD listener_Release(IHealthStatusCallback *iface) {
  return atomic_fetch_sub(&listener_of(iface)->references, 1) - 1;
}

static HRESULT RSCA_METHOD listener_ReportHealth(IHealthStatusCallback *iface, BOOL fHealthy) {
  listener *self = listener_of(iface);
  self->healthy = fHealthy;
  self->on_stack_of_check = checking > 0;
  self->depth = reporting;
  self->held = atomic_load(&self->references);
  self->order = atomic_fetch_add(&all_reports, 1);
  self->thread = pthread_self();
  HRESULT answer = self->answer;
  void (*inside)(void *user) = self->inside;
  void *user = self->user;
  reporting++;
  atomic_fetch_add(&self->told, 1);
  if (inside)
    inside(user);
  reporting--;
  return answer;
}

static void listener_init(listener *self) {
  static const IHealthStatusCallbackVtbl vtbl = {listener_AddRef, listener_Release, listener_ReportHealth};
  memset(self, 0, sizeof *self);
  self->iface.lpVtbl = &vtbl;
  atomic_init(&self->references, 1);
}

/* Neither held, not even for a moment, nor ever called. */
static bool is_untouched(listener *self) {
  return atomic_load(&self->references) == 1 && atomic_load(&self->added) == 0 && atomic_load(&self->told) == 0;
}

/* Told exactly once, with one reference held, which is back. */
static bool was_told(listener *self, BOOL healthy) {
  return atomic_load(&self->told) == 1 && self->healthy == healthy && self->held == 2 && !self->on_stack_of_check &&
         self->depth == 0 && atomic_load(&self->references) == 1;
}

static rsca_manager *manager; /* NULL: the test gave it back */
static IPmHealthAndIdleMonitor *monitor;
static obedient action; /* registered as "act" */
static outcome heard;
static listener first, second;

static HRESULT ask(listener *self) {
  checking++;
  HRESULT status = monitor->lpVtbl->CheckHealth(monitor, self ? &self->iface : NULL);
  checking--;
  return status;
}

static BOOL is_idle(void) {
  BOOL idle = 7;
  assert_int_equal(monitor->lpVtbl->CheckIdle(monitor, &idle), S_OK);
  return idle;
}

static void make(const rsca_config *config) {
  action = (obedient){.status = S_OK};
  memset(&heard, 0, sizeof heard);
  listener_init(&first);
  listener_init(&second);
  manager = make_manager(config);
  monitor = rsca_manager_health_monitor(manager);
  if (register_obedient(manager, "act", &action) != S_OK)
    abort();
}

static void unmake(void) {
  if (monitor)
    (void)monitor->lpVtbl->Release(monitor);
  if (manager)
    (void)rsca_manager_release(manager);
  monitor = NULL;
  manager = NULL;
}

static void remake(const rsca_config *config) {
  unmake();
  make(config);
}

static int set_up(void **state) {
  (void)state;
  make(NULL);
  return 0;
}

static int tear_down(void **state) {
  (void)state;
  unmake();
  return atomic_load(&action.freed) == 1 ? 0 : -1;
}

/* ---- Idle ---- */

static void test_idle_is_true_when_no_call_is_in_flight(void **state) {
  (void)state;
  assert_int_equal(is_idle(), TRUE);
  action.status = E_PENDING;
  assert_int_equal(submit(manager, "act", "", &heard, NULL), S_OK);
  assert_int_equal(is_idle(), FALSE); /* queued */
  step_all(manager);
  assert_int_equal(is_idle(), FALSE); /* running */
  assert_int_equal(rsca_call_finish(action.call, S_OK, NULL, 0), S_OK);
  assert_int_equal(is_idle(), FALSE); /* on its way */
  step_all(manager);
  assert_int_equal(is_idle(), TRUE);
}

/* A question is no call. */
static void test_idle_does_not_mind_who_asks_for_health(void **state) {
  (void)state;
  assert_int_equal(ask(&first), S_OK);
  assert_int_equal(is_idle(), TRUE);
}

static void test_idle_after_shutdown_is_true(void **state) {
  (void)state;
  assert_int_equal(submit(manager, "act", "", &heard, NULL), S_OK);
  assert_int_equal(rsca_manager_shutdown(manager, true), S_OK);
  assert_int_equal(is_idle(), TRUE);
}

static void test_idle_null_is_e_invalidarg(void **state) {
  (void)state;
  assert_int_equal(monitor->lpVtbl->CheckIdle(monitor, NULL), E_INVALIDARG);
}

/* ---- Health: accepted ---- */

/* "Held until it has been told, exactly once, in a following step; never on the stack of CheckHealth." */
static void test_accepted_callback_is_held_told_once_in_a_step_and_released(void **state) {
  (void)state;
  assert_int_equal(ask(&first), S_OK);
  assert_int_equal(atomic_load(&first.references), 2);
  assert_int_equal(atomic_load(&first.told), 0);
  assert_int_equal(rsca_manager_step(manager, 0), S_OK);
  assert_true(was_told(&first, TRUE));
  assert_int_equal(rsca_manager_step(manager, 0), S_FALSE);
  assert_int_equal(atomic_load(&first.told), 1);
}

static void test_descriptor_says_that_somebody_waits(void **state) {
  (void)state;
  int fd = rsca_manager_fd(manager);
  assert_false(is_readable(fd));
  assert_int_equal(ask(&first), S_OK);
  assert_true(is_readable(fd));
  assert_int_equal(rsca_manager_timeout_ms(manager), 0);
  step_all(manager);
  assert_false(is_readable(fd));
}

static void test_several_are_told_in_order_each_for_each_question(void **state) {
  (void)state;
  listener third;
  listener_init(&third);
  assert_int_equal(ask(&first), S_OK);
  assert_int_equal(ask(&second), S_OK);
  assert_int_equal(ask(&third), S_OK);
  assert_int_equal(rsca_manager_step(manager, 1), S_OK); /* one piece of work */
  assert_true(was_told(&first, TRUE) && was_told(&second, TRUE) && was_told(&third, TRUE));
  assert_true(first.order < second.order && second.order < third.order);
  listener_init(&first);
  assert_int_equal(ask(&first), S_OK);
  assert_int_equal(ask(&first), S_OK);
  assert_int_equal(atomic_load(&first.references), 3);
  step_all(manager);
  assert_int_equal(atomic_load(&first.told), 2);
  assert_int_equal(atomic_load(&first.references), 1);
}

/* "A failure changes nothing." */
static void test_failing_callback_changes_nothing(void **state) {
  (void)state;
  rsca_manager_stats stats;
  first.answer = E_FAIL;
  assert_int_equal(ask(&first), S_OK);
  assert_int_equal(ask(&second), S_OK);
  step_all(manager);
  assert_true(was_told(&first, TRUE) && was_told(&second, TRUE));
  rsca_manager_get_stats(manager, &stats);
  assert_int_equal(stats.failed_callback, 0);
  assert_int_equal(stats.accepted, 0);
}

static void *step_there(void *user) {
  (void)user;
  step_all(manager);
  return NULL;
}

static void test_told_on_the_thread_that_steps(void **state) {
  (void)state;
  assert_int_equal(ask(&first), S_OK);
  on_another_thread(step_there, NULL);
  assert_true(was_told(&first, TRUE));
  assert_false(pthread_equal(first.thread, pthread_self()));
}

/* ---- Health: refused ---- */

static void test_null_callback_is_e_invalidarg(void **state) {
  (void)state;
  assert_int_equal(ask(NULL), E_INVALIDARG);
  assert_int_equal(rsca_manager_step(manager, 0), S_FALSE);
}

static void test_after_shutdown_is_shutdown_in_progress(void **state) {
  (void)state;
  for (int immediate = 0; immediate <= 1; immediate++) {
    assert_int_equal(rsca_manager_shutdown(manager, immediate != 0), S_OK);
    assert_int_equal(ask(&first), RSCA_E_SHUTDOWN_IN_PROGRESS);
    step_all(manager);
    assert_true(is_untouched(&first));
  }
}

static void test_out_of_memory_is_refused(void **state) {
  (void)state;
  no_memory = true;
  HRESULT status = ask(&first);
  no_memory = false;
  assert_int_equal(status, E_OUTOFMEMORY);
  step_all(manager);
  assert_true(is_untouched(&first));
  assert_int_equal(ask(&first), S_OK);
  step_all(manager);
  assert_true(atomic_load(&first.told) == 1);
}

/* "As many wait to be told as calls may be queued", whatever calls there are. */
static void test_too_many_that_wait_is_busy(void **state) {
  (void)state;
  remake(&(rsca_config){.queue_limit = 2});
  listener third;
  listener_init(&third);
  assert_int_equal(submit(manager, "act", "", &heard, NULL), S_OK);
  assert_int_equal(ask(&first), S_OK);
  assert_int_equal(ask(&second), S_OK);
  assert_int_equal(ask(&third), RSCA_E_BUSY);
  assert_true(is_untouched(&third));
  step_all(manager);
  assert_true(was_told(&first, TRUE) && was_told(&second, TRUE) && is_untouched(&third));
  assert_int_equal(ask(&third), S_OK);
  step_all(manager);
  assert_true(was_told(&third, TRUE));
}

/* ---- Health: from inside ---- */

static HRESULT inner_status;

static void ask_second(void *user) {
  (void)user;
  inner_status = ask(&second);
}

static void test_asked_inside_a_report_is_told_in_the_next_step(void **state) {
  (void)state;
  first.inside = ask_second;
  assert_int_equal(ask(&first), S_OK);
  assert_int_equal(rsca_manager_step(manager, 0), S_OK);
  assert_int_equal(inner_status, S_OK);
  assert_int_equal(atomic_load(&second.told), 0);
  assert_int_equal(rsca_manager_step(manager, 0), S_OK);
  assert_true(was_told(&first, TRUE) && was_told(&second, TRUE));
}

static void ask_from_action(obedient *self, void *user) {
  (void)self;
  ask_second(user);
}

static void test_asked_inside_an_action_is_told_in_the_next_step(void **state) {
  (void)state;
  action.inside = ask_from_action;
  assert_int_equal(submit(manager, "act", "", &heard, NULL), S_OK);
  assert_int_equal(rsca_manager_step(manager, 0), S_OK);
  assert_int_equal(inner_status, S_OK);
  assert_int_equal(atomic_load(&second.told), 0);
  step_all(manager);
  assert_true(was_told(&second, TRUE));
}

static HRESULT shutdown_status;

static void shut_down(void *user) {
  shutdown_status = rsca_manager_shutdown(manager, user != NULL);
}

/* Whoever is told after that is told FALSE; nothing is told on the stack of that Shutdown. */
static void test_shutdown_inside_a_report_is_false_for_the_next(void **state) {
  (void)state;
  first.inside = shut_down;
  first.user = &first;
  assert_int_equal(ask(&first), S_OK);
  assert_int_equal(ask(&second), S_OK);
  step_all(manager);
  assert_int_equal(shutdown_status, S_FALSE); /* there was one to be told */
  assert_true(was_told(&first, TRUE));
  assert_true(was_told(&second, FALSE));
  assert_int_equal(ask(&first), RSCA_E_SHUTDOWN_IN_PROGRESS);
}

static void release_all(void *user) {
  (void)user;
  unmake();
}

static void test_last_release_inside_a_report_is_false_for_the_next(void **state) {
  (void)state;
  first.inside = release_all;
  assert_int_equal(ask(&first), S_OK);
  assert_int_equal(ask(&second), S_OK);
  (void)rsca_manager_step(manager, 0);
  assert_null(manager);
  assert_true(was_told(&first, TRUE));
  assert_true(was_told(&second, FALSE));
}

/* ---- Health: the end of the manager ---- */

static void test_shutdown_tells_who_waits_before_it_returns(void **state) {
  (void)state;
  for (int immediate = 0; immediate <= 1; immediate++) {
    remake(NULL);
    assert_int_equal(ask(&first), S_OK);
    assert_int_equal(ask(&second), S_OK);
    assert_int_equal(rsca_manager_shutdown(manager, immediate != 0), S_OK);
    assert_true(was_told(&first, FALSE) && was_told(&second, FALSE));
    step_all(manager);
    assert_int_equal(atomic_load(&first.told) + atomic_load(&second.told), 2);
  }
}

static void *shut_down_there(void *user) {
  shut_down(user);
  return NULL;
}

/* From a thread that does not step: S_FALSE, and whoever waits is told in the next steps. */
static void test_shutdown_elsewhere_tells_in_the_next_step(void **state) {
  (void)state;
  for (int immediate = 0; immediate <= 1; immediate++) {
    remake(NULL);
    assert_int_equal(ask(&first), S_OK);
    on_another_thread(shut_down_there, immediate ? &first : NULL);
    assert_int_equal(shutdown_status, S_FALSE);
    assert_int_equal(atomic_load(&first.told), 0);
    step_all(manager);
    assert_true(was_told(&first, FALSE));
  }
}

/* While calls drain: no call is accepted any more, so it is not well. */
static void test_asked_before_a_drain_is_told_false_in_it(void **state) {
  (void)state;
  remake(&(rsca_config){.drain_ms = 600000});
  action.status = E_PENDING;
  assert_int_equal(submit(manager, "act", "", &heard, NULL), S_OK);
  step_all(manager);
  assert_int_equal(ask(&first), S_OK);
  on_another_thread(shut_down_there, NULL);
  step_all(manager);
  assert_true(was_told(&first, FALSE));
  assert_int_equal(atomic_load(&heard.reports), 0);
  assert_int_equal(ask(&second), RSCA_E_SHUTDOWN_IN_PROGRESS);
  assert_int_equal(rsca_call_finish(action.call, S_OK, NULL, 0), S_OK);
  step_all(manager);
  assert_true(ended_with(&heard, S_OK, NULL, 0));
}

static void test_last_release_tells_false_to_who_waits(void **state) {
  (void)state;
  assert_int_equal(ask(&first), S_OK);
  assert_int_equal(ask(&second), S_OK);
  unmake();
  assert_true(was_told(&first, FALSE) && was_told(&second, FALSE));
}

static void *release_there(void *user) {
  (void)user;
  unmake();
  return NULL;
}

static void test_last_release_elsewhere_tells_false_to_who_waits(void **state) {
  (void)state;
  assert_int_equal(ask(&first), S_OK);
  on_another_thread(release_there, NULL);
  assert_true(was_told(&first, FALSE));
}

/* ---- References ---- */

static void test_monitor_keeps_its_manager(void **state) {
  (void)state;
  assert_int_equal(rsca_manager_release(manager), 1);
  assert_int_equal(monitor->lpVtbl->AddRef(monitor), 2);
  assert_int_equal(monitor->lpVtbl->Release(monitor), 1);
  assert_int_equal(is_idle(), TRUE);
  assert_int_equal(ask(&first), S_OK);
  step_all(manager);
  assert_true(was_told(&first, TRUE));
  assert_int_equal(monitor->lpVtbl->Release(monitor), 0);
  manager = NULL;
  monitor = NULL;
}

/* Who waits does not keep the manager: it is told FALSE instead. */
static void test_callback_that_releases_the_monitor_when_told_is_told(void **state) {
  (void)state;
  first.inside = release_all;
  assert_int_equal(ask(&first), S_OK);
  (void)rsca_manager_step(manager, 0);
  assert_true(was_told(&first, TRUE));
  assert_null(manager);
}

/* ---- From several threads ---- */

enum { ASKERS = 4, QUESTIONS = 2000 };

static listener listeners[ASKERS][QUESTIONS];
static HRESULT statuses[ASKERS][QUESTIONS];
static atomic_uint askers_left;

static void *ask_often(void *user) {
  size_t self = (size_t)((listener(*)[QUESTIONS])user - listeners);
  (void)monitor->lpVtbl->AddRef(monitor);
  for (size_t i = 0; i < QUESTIONS; i++) {
    BOOL idle;
    statuses[self][i] = ask(&listeners[self][i]);
    (void)monitor->lpVtbl->CheckIdle(monitor, &idle);
  }
  (void)monitor->lpVtbl->Release(monitor);
  atomic_fetch_sub(&askers_left, 1);
  return NULL;
}

/* Accepted ones are told once and let go, refused ones are not called; with a shutdown in the middle. */
static void test_questions_from_several_threads_are_answered_once(void **state) {
  (void)state;
  remake(&(rsca_config){.queue_limit = 50});
  for (size_t i = 0; i < ASKERS; i++)
    for (size_t k = 0; k < QUESTIONS; k++)
      listener_init(&listeners[i][k]);
  atomic_store(&all_reports, 0);
  atomic_store(&askers_left, ASKERS);
  pthread_t threads[ASKERS];
  for (size_t i = 0; i < ASKERS; i++)
    assert_int_equal(pthread_create(&threads[i], NULL, ask_often, listeners[i]), 0);
  while (atomic_load(&askers_left) > 0) {
    (void)rsca_manager_step(manager, 3);
    if (atomic_load(&all_reports) > QUESTIONS)
      (void)rsca_manager_shutdown(manager, true);
  }
  for (size_t i = 0; i < ASKERS; i++)
    assert_int_equal(pthread_join(threads[i], NULL), 0);
  assert_int_equal(rsca_manager_shutdown(manager, true), S_OK);
  unsigned accepted = 0;
  for (size_t i = 0; i < ASKERS; i++) {
    for (size_t k = 0; k < QUESTIONS; k++) {
      listener *self = &listeners[i][k];
      bool ok = statuses[i][k] == S_OK;
      accepted += ok;
      assert_true(ok || statuses[i][k] == RSCA_E_BUSY || statuses[i][k] == RSCA_E_SHUTDOWN_IN_PROGRESS);
      assert_int_equal(atomic_load(&self->told), ok);
      assert_int_equal(atomic_load(&self->references), 1);
      assert_false(self->on_stack_of_check);
    }
  }
  assert_int_equal(atomic_load(&all_reports), accepted);
}

/* ---- A pool ---- */

static void post(void *user) {
  (void)sem_post(user);
}

static void test_check_health_of_a_pool_that_nobody_has_called_is_answered(void **state) {
  (void)state;
  sem_t told;
  assert_int_equal(sem_init(&told, 0, 0), 0);
  rsca_manager *pool = make_manager(&(rsca_config){.workers = 1});
  IPmHealthAndIdleMonitor *its = rsca_manager_health_monitor(pool);
  first.inside = post;
  first.user = &told;
  assert_int_equal(its->lpVtbl->CheckHealth(its, &first.iface), S_OK);
  while (sem_wait(&told) != 0) {
  }
  assert_true(first.healthy);
  assert_int_equal(its->lpVtbl->Release(its), 1);
  assert_int_equal(rsca_manager_release(pool), 0);
  assert_true(was_told(&first, TRUE));
  (void)sem_destroy(&told);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
  static const struct CMUnitTest tests[] = {
      TEST(test_idle_is_true_when_no_call_is_in_flight),
      TEST(test_idle_does_not_mind_who_asks_for_health),
      TEST(test_idle_after_shutdown_is_true),
      TEST(test_idle_null_is_e_invalidarg),
      TEST(test_accepted_callback_is_held_told_once_in_a_step_and_released),
      TEST(test_descriptor_says_that_somebody_waits),
      TEST(test_several_are_told_in_order_each_for_each_question),
      TEST(test_failing_callback_changes_nothing),
      TEST(test_told_on_the_thread_that_steps),
      TEST(test_null_callback_is_e_invalidarg),
      TEST(test_check_health_of_a_pool_that_nobody_has_called_is_answered),
      TEST(test_after_shutdown_is_shutdown_in_progress),
      TEST(test_out_of_memory_is_refused),
      TEST(test_too_many_that_wait_is_busy),
      TEST(test_asked_inside_a_report_is_told_in_the_next_step),
      TEST(test_asked_inside_an_action_is_told_in_the_next_step),
      TEST(test_shutdown_inside_a_report_is_false_for_the_next),
      TEST(test_last_release_inside_a_report_is_false_for_the_next),
      TEST(test_shutdown_tells_who_waits_before_it_returns),
      TEST(test_shutdown_elsewhere_tells_in_the_next_step),
      TEST(test_asked_before_a_drain_is_told_false_in_it),
      TEST(test_last_release_tells_false_to_who_waits),
      TEST(test_last_release_elsewhere_tells_false_to_who_waits),
      TEST(test_monitor_keeps_its_manager),
      TEST(test_callback_that_releases_the_monitor_when_told_is_told),
      TEST(test_questions_from_several_threads_are_answered_once),
  };
  return cmocka_run_group_tests_name("health", tests, NULL, NULL);
}
