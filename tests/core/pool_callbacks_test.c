/*
 * Callbacks of a pool: on which thread they are called, that they may call back into any interface, and that none of
 * one registration is called while another is.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>

#include <rsca/protocol_manager.h>
#include <rsca/shared.h>

#include "client.h"

static gate begun, let_on, told;

static int set_up(void **unused) {
  (void)unused;
  gate_init(&begun);
  gate_init(&let_on);
  gate_init(&told);
  return 0;
}

static rsca_manager *make_pool(unsigned workers, uint32_t time_limit_ms) {
  return make_manager(&(rsca_config){.workers = workers, .time_limit_ms = time_limit_ms});
}

/* Returns when it is let on. */
static HRESULT gated(void *user, rsca_call *call, const char *args, size_t size) {
  (void)user;
  (void)call;
  (void)args;
  (void)size;
  gate_open(&begun);
  gate_pass(&let_on);
  return S_OK;
}

static HRESULT echo(void *user, rsca_call *call, const char *args, size_t size) {
  (void)user;
  return rsca_call_report(call, args, size);
}

/* ---- Calling back ---- */

static void ignore(void *user, HRESULT status, const void *response, size_t size, bool final) {
  (void)user;
  (void)status;
  (void)response;
  (void)size;
  (void) final;
}

static void ignore_action(void *user, const rsca_action_info *action) {
  (void)user;
  (void)action;
}

/* What each answered, written down where nothing can be asserted. */
typedef struct answers {
  rsca_manager *manager;
  HRESULT end;
  HRESULT put, run, subscribe, unsubscribe, cancel, unregister, list, shared, by_interface, session, idle, shutdown;
  counting_callback callback;
} answers;

static void call_back(void *user, HRESULT status, const void *response, size_t size, bool final) {
  (void)response;
  (void)size;
  (void) final;
  answers *self = user;
  rsca_manager *manager = self->manager;
  uint64_t id;
  self->end = status;
  self->put = rsca_manager_register(manager, "made inside", NULL, echo, NULL, NULL);
  self->run = rsca_manager_run(manager, "made inside", "", ignore, NULL, &id);
  self->cancel = rsca_manager_cancel(manager, id, 0);
  self->subscribe = rsca_manager_subscribe(manager, "made inside", "", ignore, NULL, &id);
  self->unsubscribe = rsca_manager_unsubscribe(manager, id);
  self->unregister = rsca_manager_unregister(manager, "made inside");
  self->list = rsca_manager_list(manager, ignore_action, NULL);
  rsca_value one = rsca_value_integer(1);
  self->shared = rsca_shared_add(manager, "count", 5, &one, 0, NULL);
  IPmCustomActions *actions = rsca_manager_custom_actions(manager);
  self->by_interface = submit_to_interface(actions, u"echo", u"", &self->callback);
  (void)actions->lpVtbl->Release(actions);
  IPmCustomActions2 *session;
  self->session = rsca_manager_create_session(manager, &session);
  if (session)
    (void)session->lpVtbl->Release(session);
  IPmHealthAndIdleMonitor *monitor = rsca_manager_health_monitor(manager);
  BOOL idle;
  self->idle = monitor->lpVtbl->CheckIdle(monitor, &idle);
  (void)monitor->lpVtbl->Release(monitor);
  self->shutdown = rsca_manager_shutdown(manager, false);
  gate_open(&told);
}

static void assert_all_were_answered(answers *self) {
  assert_int_equal(self->put, S_OK);
  assert_int_equal(self->run, S_OK);
  assert_true(self->cancel == S_OK || self->cancel == RSCA_E_NOT_FOUND); /* a worker may have been faster */
  assert_int_equal(self->subscribe, S_OK);
  assert_true(self->unsubscribe == S_OK || self->unsubscribe == RSCA_E_NOT_FOUND);
  assert_int_equal(self->unregister, S_OK);
  assert_int_equal(self->list, S_OK);
  assert_int_equal(self->shared, S_OK);
  assert_int_equal(self->by_interface, S_OK);
  assert_int_equal(self->session, S_OK);
  assert_int_equal(self->idle, S_OK);
  assert_int_equal(self->shutdown, S_FALSE); /* it finishes in the background */
}

static void end_pool(answers *self) {
  assert_int_equal(rsca_manager_shutdown(self->manager, true), S_OK);
  assert_int_equal(atomic_load(&self->callback.heard.reports), 1);
  assert_int_equal(atomic_load(&self->callback.references), 1);
  rsca_manager_stats stats;
  rsca_manager_get_stats(self->manager, &stats);
  assert_int_equal(stats.accepted, stats.ended);
  assert_int_equal(rsca_manager_release(self->manager), 0);
}

static void begin(answers *self, uint32_t time_limit_ms) {
  *self = (answers){.manager = make_pool(2, time_limit_ms)};
  counting_callback_init(&self->callback);
  assert_int_equal(rsca_manager_register(self->manager, "gated", NULL, gated, NULL, NULL), S_OK);
  assert_int_equal(rsca_manager_register(self->manager, "echo", NULL, echo, NULL, NULL), S_OK);
}

static void test_a_callback_on_a_worker_may_call_back_into_any_interface(void **unused) {
  (void)unused;
  answers self;
  begin(&self, RSCA_NO_LIMIT);
  assert_int_equal(rsca_manager_run(self.manager, "echo", "", call_back, &self, NULL), S_OK);
  gate_pass(&told);
  assert_int_equal(self.end, S_OK);
  assert_all_were_answered(&self);
  end_pool(&self);
}

static void test_a_callback_on_the_service_thread_may_call_back_into_any_interface(void **unused) {
  (void)unused;
  answers self;
  begin(&self, 50);
  assert_int_equal(rsca_manager_run(self.manager, "gated", "", call_back, &self, NULL), S_OK);
  gate_pass(&told); /* of the time limit: the worker is at its gate */
  assert_int_equal(self.end, RSCA_E_TIMEOUT);
  assert_all_were_answered(&self);
  gate_open(&let_on);
  end_pool(&self);
}

static void test_a_callback_of_a_cancel_may_call_back_into_any_interface(void **unused) {
  (void)unused;
  answers self;
  begin(&self, RSCA_NO_LIMIT);
  uint64_t id;
  assert_int_equal(rsca_manager_run(self.manager, "gated", "", call_back, &self, &id), S_OK);
  gate_pass(&begun);
  assert_int_equal(rsca_manager_cancel(self.manager, id, 0), S_OK);
  gate_pass(&told);
  assert_int_equal(self.end, RSCA_E_CANCELLED);
  assert_all_were_answered(&self);
  gate_open(&let_on);
  end_pool(&self);
}

/* ---- One registration ---- */

typedef struct listener {
  atomic_int inside; /* calls of the callback under way */
  atomic_bool two_at_a_time;
  pthread_t reported_on, final_on;
  HRESULT end;
  int responses;
} listener;

static void listen(void *user, HRESULT status, const void *response, size_t size, bool final) {
  (void)response;
  (void)size;
  listener *self = user;
  if (atomic_fetch_add(&self->inside, 1) != 0)
    atomic_store(&self->two_at_a_time, true);
  if (final) {
    self->final_on = pthread_self();
    self->end = status;
    atomic_fetch_sub(&self->inside, 1);
    gate_open(&told);
    return;
  }
  self->responses++;
  self->reported_on = pthread_self();
  gate_open(&begun);
  gate_pass(&let_on);
  atomic_fetch_sub(&self->inside, 1);
}

/* Reports until nobody listens any more. */
static HRESULT chatter(void *user, rsca_call *call, const char *args, size_t size) {
  (void)user;
  HRESULT status;
  do
    status = rsca_call_report(call, args, size);
  while (SUCCEEDED(status));
  return status;
}

static void assert_final_follows(HRESULT (*end)(rsca_manager *manager, uint64_t id), HRESULT expected) {
  rsca_manager *manager = make_pool(2, RSCA_NO_LIMIT);
  listener self = {0};
  uint64_t id;
  assert_int_equal(rsca_manager_register(manager, "chatter", NULL, chatter, NULL, NULL), S_OK);
  assert_int_equal(rsca_manager_subscribe(manager, "chatter", "x", listen, &self, &id), S_OK);
  gate_pass(&begun);
  assert_int_equal(end(manager, id), S_OK);
  gate_open(&let_on);
  gate_pass(&told);
  assert_int_equal(self.end, expected);
  assert_int_equal(self.responses, 1);
  assert_false(atomic_load(&self.two_at_a_time));
  assert_true(pthread_equal(self.final_on, self.reported_on));
  assert_int_equal(rsca_manager_shutdown(manager, true), S_OK);
  assert_int_equal(rsca_manager_release(manager), 0);
}

static HRESULT cancel_at_once(rsca_manager *manager, uint64_t id) {
  return rsca_manager_cancel(manager, id, 0);
}

static void test_a_final_that_falls_due_while_a_report_runs_follows_when_that_returns_on_that_thread(void **unused) {
  (void)unused;
  assert_final_follows(rsca_manager_unsubscribe, S_FALSE);
}

static void test_so_does_the_final_of_a_cancel(void **unused) {
  (void)unused;
  assert_final_follows(cancel_at_once, RSCA_E_CANCELLED);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup(test_a_callback_on_a_worker_may_call_back_into_any_interface, set_up),
      cmocka_unit_test_setup(test_a_callback_on_the_service_thread_may_call_back_into_any_interface, set_up),
      cmocka_unit_test_setup(test_a_callback_of_a_cancel_may_call_back_into_any_interface, set_up),
      cmocka_unit_test_setup(test_a_final_that_falls_due_while_a_report_runs_follows_when_that_returns_on_that_thread,
                             set_up),
      cmocka_unit_test_setup(test_so_does_the_final_of_a_cancel, set_up),
  };
  return cmocka_run_group_tests_name("core.pool_callbacks", tests, NULL, NULL);
}
