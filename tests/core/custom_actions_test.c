/*
 * IPmCustomActions through its vtable: the table of what is accepted and what is refused, and what becomes of the
 * callback's references.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "client.h"

static rsca_manager *manager;
static IPmCustomActions *actions;
static obedient action; /* registered as "act" */
static counting_callback callback;

static int make(const rsca_config *config) {
  memset(&action, 0, sizeof action);
  counting_callback_init(&callback);
  manager = make_manager(config);
  actions = rsca_manager_custom_actions(manager);
  return register_obedient(manager, "act", &action) == S_OK ? 0 : -1;
}

static int unmake(void) {
  (void)actions->lpVtbl->Release(actions);
  return rsca_manager_release(manager) == 0 && atomic_load(&action.freed) == 1 ? 0 : -1;
}

static int set_up(void **state) {
  (void)state;
  return make(NULL);
}

static int tear_down(void **state) {
  (void)state;
  return unmake();
}

static void remake(const rsca_config *config) {
  assert_int_equal(unmake(), 0);
  assert_int_equal(make(config), 0);
}

/* "Refused" means: never called, not held, also not in any step that follows. */
static void expect_refused(HRESULT expected, PCWSTR name, PCWSTR args) {
  assert_int_equal(submit_to_interface(actions, name, args, &callback), expected);
  assert_true(untouched(&callback));
  step_all(manager);
  assert_true(untouched(&callback));
}

/* The callback was told once with one reference held, and that reference is back. */
static void expect_told_and_released(counting_callback *told, HRESULT status, const void *bytes, size_t size) {
  assert_true(ended_with(&told->heard, status, bytes, size));
  assert_int_equal(told->heard.held, 2);
  assert_int_equal(atomic_load(&told->references), 1);
  assert_int_equal(atomic_load(&told->over_released), 0);
}

/* ---- Accepted ---- */

/* "Accepted and queued: held (one reference), told exactly once how it ended, then released." */
static void test_accepted_callback_is_held_told_once_and_released(void **state) {
  (void)state;
  action.bytes = "42";
  action.size = 2;
  assert_int_equal(submit_to_interface(actions, u"act", u"x", &callback), S_OK);
  assert_int_equal(atomic_load(&callback.references), 2);
  assert_int_equal(atomic_load(&callback.heard.reports), 0); /* S_OK means queued */
  assert_int_equal(rsca_manager_step(manager, 0), S_OK);
  expect_told_and_released(&callback, S_OK, "42", 2);
  step_all(manager);
  expect_told_and_released(&callback, S_OK, "42", 2);
  assert_string_equal(action.args, "x");
}

/* "Name and arguments are copied before the call returns." */
static void test_name_and_arguments_are_copied(void **state) {
  (void)state;
  WCHAR name[] = u"act", args[] = u"a\u00E9\u20AC\U0001F600z";
  action.echo = true;
  assert_int_equal(submit_to_interface(actions, name, args, &callback), S_OK);
  memset(name, 0xDB, sizeof name - sizeof name[0]);
  memset(args, 0xDB, sizeof args - sizeof args[0]);
  step_all(manager);
  expect_told_and_released(&callback, S_OK, "a\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80z", 11);
}

/* "pszFunctionArgs may be NULL: the empty string." */
static void test_arguments_null_are_the_empty_string(void **state) {
  (void)state;
  action.echo = true;
  assert_int_equal(submit_to_interface(actions, u"act", NULL, &callback), S_OK);
  step_all(manager);
  expect_told_and_released(&callback, S_OK, NULL, 0);
  assert_int_equal(action.args_size, 0);
  assert_true(action.terminated);
}

static void test_name_of_any_text_and_size_finds_its_action(void **state) {
  (void)state;
  static const size_t sizes[] = {1, 83, 84, 85, 86, 1000};
  for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
    WCHAR wide[1001];
    char narrow[3001] = "";
    for (size_t k = 0; k < sizes[i]; k++) {
      wide[k] = 0x20AC;
      memcpy(narrow + 3 * k, "\xE2\x82\xAC", 4);
    }
    wide[sizes[i]] = 0;
    obedient own = {.bytes = "found", .size = 5};
    counting_callback_init(&callback);
    assert_int_equal(register_obedient(manager, narrow, &own), S_OK);
    assert_int_equal(submit_to_interface(actions, wide, wide, &callback), S_OK);
    step_all(manager);
    expect_told_and_released(&callback, S_OK, "found", 5);
    assert_int_equal(own.args_size, 3 * sizes[i]);
    assert_int_equal(rsca_manager_unregister(manager, narrow), S_OK);
    counting_callback_init(&callback);
    expect_refused(RSCA_E_NOT_FOUND, wide, wide);
  }
}

static void test_one_callback_for_several_calls_is_held_for_each(void **state) {
  (void)state;
  for (unsigned i = 1; i <= 5; i++) {
    assert_int_equal(submit_to_interface(actions, u"act", NULL, &callback), S_OK);
    assert_int_equal(atomic_load(&callback.references), 1 + i);
  }
  step_all(manager);
  assert_int_equal(atomic_load(&callback.heard.reports), 5);
  assert_int_equal(atomic_load(&callback.references), 1);
  assert_int_equal(atomic_load(&callback.over_released), 0);
}

/* "What ReportResult returns counts: a failure is only counted for a run." */
static void test_failing_callback_is_counted_and_changes_nothing(void **state) {
  (void)state;
  rsca_manager_stats stats;
  callback.answer = S_FALSE; /* no failure */
  assert_int_equal(submit_to_interface(actions, u"act", NULL, &callback), S_OK);
  step_all(manager);
  rsca_manager_get_stats(manager, &stats);
  assert_int_equal(stats.failed_callback, 0);
  counting_callback_init(&callback);
  callback.answer = E_FAIL;
  assert_int_equal(submit_to_interface(actions, u"act", NULL, &callback), S_OK);
  step_all(manager);
  expect_told_and_released(&callback, S_OK, NULL, 0);
  rsca_manager_get_stats(manager, &stats);
  assert_int_equal(stats.failed_callback, 1);
  assert_int_equal(stats.ended, 2);
}

/* Each ending that a native action reaches, as the interface tells it. */
static void test_endings_reach_the_callback_with_status_and_bytes(void **state) {
  (void)state;
  static const HRESULT statuses[] = {S_OK, S_FALSE, E_FAIL, RSCA_E_TIMEOUT};
  action.bytes = "a\0b";
  action.size = 3;
  for (size_t i = 0; i < sizeof statuses / sizeof statuses[0]; i++) {
    counting_callback_init(&callback);
    action.status = statuses[i];
    assert_int_equal(submit_to_interface(actions, u"act", NULL, &callback), S_OK);
    step_all(manager);
    expect_told_and_released(&callback, statuses[i], "a\0b", 3);
  }
  counting_callback_init(&callback);
  action.status = E_PENDING;
  assert_int_equal(submit_to_interface(actions, u"act", NULL, &callback), S_OK);
  step_all(manager);
  assert_int_equal(atomic_load(&callback.references), 2); /* held until it has been told */
  assert_int_equal(rsca_manager_cancel(manager, action.id, 0), S_OK);
  step_all(manager);
  assert_true(ended_saying_why(&callback.heard, RSCA_E_CANCELLED));
  assert_int_equal(atomic_load(&callback.references), 1);
  assert_int_equal(rsca_call_finish(action.call, S_OK, "late", 4), S_OK);
  step_all(manager);
  assert_int_equal(atomic_load(&callback.heard.reports), 1);
  assert_int_equal(atomic_load(&callback.over_released), 0);
}

/* ---- Refused ---- */

static void test_null_name_or_empty_name_is_e_invalidarg(void **state) {
  (void)state;
  expect_refused(E_INVALIDARG, NULL, u"x");
  expect_refused(E_INVALIDARG, u"", u"x");
  assert_int_equal(atomic_load(&action.runs), 0);
}

static void test_null_callback_is_e_invalidarg(void **state) {
  (void)state;
  rsca_manager_stats stats;
  assert_int_equal(submit_to_interface(actions, u"act", u"x", NULL), E_INVALIDARG);
  step_all(manager);
  rsca_manager_get_stats(manager, &stats);
  assert_int_equal(stats.accepted, 0);
  assert_int_equal(atomic_load(&action.runs), 0);
}

/* "Name or arguments not well-formed UTF-16." */
static void test_lone_surrogate_in_name_or_arguments_is_no_unicode_translation(void **state) {
  (void)state;
  static const WCHAR malformed[][6] = {
      {0xD800, 0},         {0xDC00, 0},         {'a', 'c', 't', 0xDBFF, 0},  {0xDFFF, 'a', 0},
      {0xD800, 0xD800, 0}, {0xDC00, 0xD800, 0}, {0xD83D, 0xDE00, 0xD83D, 0}, {0xD83D, 'x', 0xDE00, 0},
  };
  for (size_t i = 0; i < sizeof malformed / sizeof malformed[0]; i++) {
    expect_refused(RSCA_E_NO_UNICODE_TRANSLATION, malformed[i], u"x");
    expect_refused(RSCA_E_NO_UNICODE_TRANSLATION, u"act", malformed[i]);
    expect_refused(RSCA_E_NO_UNICODE_TRANSLATION, malformed[i], malformed[i]);
  }
  assert_int_equal(atomic_load(&action.runs), 0);
}

static void test_unknown_name_is_not_found(void **state) {
  (void)state;
  expect_refused(RSCA_E_NOT_FOUND, u"nobody", u"x");
  expect_refused(RSCA_E_NOT_FOUND, u"ac", u"x");
  expect_refused(RSCA_E_NOT_FOUND, u"act\u0301", u"x");
  assert_int_equal(rsca_manager_unregister(manager, "act"), S_OK);
  expect_refused(RSCA_E_NOT_FOUND, u"act", u"x");
}

static void test_queue_full_by_calls_is_busy(void **state) {
  (void)state;
  remake(&(rsca_config){.queue_limit = 1});
  counting_callback first;
  counting_callback_init(&first);
  assert_int_equal(submit_to_interface(actions, u"act", NULL, &first), S_OK);
  assert_int_equal(submit_to_interface(actions, u"act", NULL, &callback), RSCA_E_BUSY);
  assert_true(untouched(&callback));
  step_all(manager);
  assert_true(untouched(&callback));
  expect_told_and_released(&first, S_OK, NULL, 0);
}

/* Bytes of UTF-8, as the action gets them. */
static void test_queue_full_by_bytes_is_busy(void **state) {
  (void)state;
  remake(&(rsca_config){.queue_bytes = 8});
  counting_callback first;
  counting_callback_init(&first);
  assert_int_equal(submit_to_interface(actions, u"act", u"\u20AC\u20AC", &first), S_OK);
  assert_int_equal(submit_to_interface(actions, u"act", u"\u20AC", &callback), RSCA_E_BUSY);
  assert_true(untouched(&callback));
  step_all(manager);
  assert_true(untouched(&callback));
  expect_told_and_released(&first, S_OK, NULL, 0);
  expect_refused(RSCA_E_BUSY, u"act", u"123456789");
}

static void test_after_shutdown_is_shutdown_in_progress(void **state) {
  (void)state;
  assert_int_equal(rsca_manager_shutdown(manager, false), S_OK);
  expect_refused(RSCA_E_SHUTDOWN_IN_PROGRESS, u"act", u"x");
  assert_int_equal(rsca_manager_shutdown(manager, true), S_OK);
  expect_refused(RSCA_E_SHUTDOWN_IN_PROGRESS, u"act", u"x");
}

static void shut_down_patiently(obedient *self, void *user) {
  (void)self;
  *(HRESULT *)user = rsca_manager_shutdown(manager, false);
}

/* Refused while calls that were accepted before may still end by themselves. */
static void test_while_shutting_down_is_shutdown_in_progress(void **state) {
  (void)state;
  remake(&(rsca_config){.drain_ms = 600000});
  counting_callback inside;
  counting_callback_init(&inside);
  HRESULT shut_down = S_OK;
  action.inside = shut_down_patiently;
  action.user = &shut_down;
  action.status = E_PENDING;
  assert_int_equal(submit_to_interface(actions, u"act", NULL, &inside), S_OK);
  step_all(manager);
  assert_int_equal(shut_down, S_FALSE);
  expect_refused(RSCA_E_SHUTDOWN_IN_PROGRESS, u"act", u"x");
  assert_int_equal(atomic_load(&inside.heard.reports), 0);
  assert_int_equal(rsca_call_finish(action.call, S_OK, NULL, 0), S_OK);
  expect_refused(RSCA_E_SHUTDOWN_IN_PROGRESS, u"act", u"x");
  expect_told_and_released(&inside, S_OK, NULL, 0);
}

/* ---- From inside ---- */

typedef struct again {
  counting_callback *callback;
  HRESULT status;
  unsigned left;
} again;

static void submit_again(void *user) {
  again *self = user;
  if (self->left > 0) {
    self->left--;
    self->status = submit_to_interface(actions, u"act", NULL, self->callback);
  }
}

/* "May be called from inside ReportResult", with a queue of one and with the same callback. */
static void test_resubmission_inside_report_result_is_accepted_with_a_queue_of_one(void **state) {
  (void)state;
  remake(&(rsca_config){.queue_limit = 1});
  again self = {.callback = &callback, .status = E_FAIL, .left = 20};
  callback.heard.inside = submit_again;
  callback.heard.user = &self;
  assert_int_equal(submit_to_interface(actions, u"act", NULL, &callback), S_OK);
  assert_int_equal(step_all(manager), 21); /* one a step */
  assert_int_equal(self.left, 0);
  assert_int_equal(self.status, S_OK);
  assert_int_equal(atomic_load(&callback.heard.reports), 21);
  assert_int_equal(callback.heard.depth, 0);
  assert_int_equal(atomic_load(&callback.references), 1);
  assert_int_equal(atomic_load(&callback.over_released), 0);
}

static void submit_from_action(obedient *self, void *user) {
  self->inside = NULL;
  submit_again(user);
}

static void test_submission_inside_an_action_is_accepted(void **state) {
  (void)state;
  counting_callback inner;
  counting_callback_init(&inner);
  again self = {.callback = &inner, .status = E_FAIL, .left = 1};
  action.inside = submit_from_action;
  action.user = &self;
  assert_int_equal(submit_to_interface(actions, u"act", NULL, &callback), S_OK);
  step_all(manager);
  assert_int_equal(self.status, S_OK);
  expect_told_and_released(&callback, S_OK, NULL, 0);
  expect_told_and_released(&inner, S_OK, NULL, 0);
}

/* The last reference to the callback may be the one that the call held. */
static void release_own(void *user) {
  counting_callback *self = user;
  (void)self->iface.lpVtbl->Release(&self->iface);
}

static void test_callback_given_back_by_its_client_is_held_until_it_was_told(void **state) {
  (void)state;
  callback.heard.inside = release_own;
  callback.heard.user = &callback;
  (void)callback.iface.lpVtbl->AddRef(&callback.iface); /* the client's, given back inside */
  assert_int_equal(submit_to_interface(actions, u"act", NULL, &callback), S_OK);
  step_all(manager);
  assert_int_equal(atomic_load(&callback.heard.reports), 1);
  assert_int_equal(callback.heard.held, 3);
  assert_int_equal(atomic_load(&callback.references), 1);
}

/* ---- From several threads ---- */

enum { CALLERS = 4, CALLS = 1500 };

static counting_callback shared[CALLERS][CALLS];
static HRESULT statuses_of[CALLERS][CALLS];
static atomic_uint callers_left;

static void *call_often(void *user) {
  size_t self = (size_t)((HRESULT(*)[CALLS])user - statuses_of);
  (void)actions->lpVtbl->AddRef(actions);
  for (unsigned i = 0; i < CALLS; i++)
    statuses_of[self][i] = submit_to_interface(actions, u"act", u"\u00E9", &shared[self][i]);
  (void)actions->lpVtbl->Release(actions);
  atomic_fetch_sub(&callers_left, 1);
  return NULL;
}

/* "From several threads at once": accepted == ended, each told once and released; refused neither. */
static void test_calls_from_several_threads_end_once_and_give_back_each_reference(void **state) {
  (void)state;
  remake(&(rsca_config){.queue_limit = 50});
  for (size_t i = 0; i < CALLERS; i++)
    for (size_t k = 0; k < CALLS; k++)
      counting_callback_init(&shared[i][k]);
  pthread_t threads[CALLERS];
  atomic_store(&callers_left, CALLERS);
  for (size_t i = 0; i < CALLERS; i++)
    assert_int_equal(pthread_create(&threads[i], NULL, call_often, statuses_of[i]), 0);
  while (atomic_load(&callers_left) > 0)
    (void)rsca_manager_step(manager, 7);
  for (size_t i = 0; i < CALLERS; i++)
    assert_int_equal(pthread_join(threads[i], NULL), 0);
  step_all(manager);
  unsigned accepted = 0;
  for (size_t i = 0; i < CALLERS; i++) {
    for (size_t k = 0; k < CALLS; k++) {
      if (statuses_of[i][k] == S_OK) {
        accepted++;
        expect_told_and_released(&shared[i][k], S_OK, NULL, 0);
      } else {
        assert_int_equal(statuses_of[i][k], RSCA_E_BUSY);
        assert_true(untouched(&shared[i][k]));
      }
    }
  }
  rsca_manager_stats stats;
  rsca_manager_get_stats(manager, &stats);
  assert_int_equal(stats.accepted, accepted);
  assert_int_equal(stats.ended, accepted);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
  static const struct CMUnitTest tests[] = {
      TEST(test_accepted_callback_is_held_told_once_and_released),
      TEST(test_name_and_arguments_are_copied),
      TEST(test_arguments_null_are_the_empty_string),
      TEST(test_name_of_any_text_and_size_finds_its_action),
      TEST(test_one_callback_for_several_calls_is_held_for_each),
      TEST(test_failing_callback_is_counted_and_changes_nothing),
      TEST(test_endings_reach_the_callback_with_status_and_bytes),
      TEST(test_null_name_or_empty_name_is_e_invalidarg),
      TEST(test_null_callback_is_e_invalidarg),
      TEST(test_lone_surrogate_in_name_or_arguments_is_no_unicode_translation),
      TEST(test_unknown_name_is_not_found),
      TEST(test_queue_full_by_calls_is_busy),
      TEST(test_queue_full_by_bytes_is_busy),
      TEST(test_after_shutdown_is_shutdown_in_progress),
      TEST(test_while_shutting_down_is_shutdown_in_progress),
      TEST(test_resubmission_inside_report_result_is_accepted_with_a_queue_of_one),
      TEST(test_submission_inside_an_action_is_accepted),
      TEST(test_callback_given_back_by_its_client_is_held_until_it_was_told),
      TEST(test_calls_from_several_threads_end_once_and_give_back_each_reference),
  };
  return cmocka_run_group_tests_name("custom_actions", tests, NULL, NULL);
}
