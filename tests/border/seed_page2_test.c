/*
 * A client in C++ that hears of registrations, written from the reference pages alone, with a real manager: in its
 * default session and in one of its own.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include <rsca/manager.h>

#include "seed_page_client2.h"

static rsca_manager *manager;
static IPmCustomActions2 *sessions[2];

/* Each letter of its arguments is a response. */
static HRESULT spell(void *user, rsca_call *call, const char *args, size_t size) {
  (void)user;
  HRESULT status = S_OK;
  for (size_t i = 0; i < size && SUCCEEDED(status); i++)
    status = rsca_call_report(call, args + i, 1);
  return status;
}

static rsca_call *held;

/* Until the test finishes it. */
static HRESULT go_on(void *user, rsca_call *call, const char *args, size_t size) {
  (void)user;
  held = call;
  (void)rsca_call_report(call, args, size);
  return E_PENDING;
}

static int set_up(void **state) {
  (void)state;
  if (rsca_manager_create(NULL, &manager) != S_OK ||
      rsca_manager_register(manager, "spell", NULL, spell, NULL, NULL) != S_OK ||
      rsca_manager_register(manager, "go on", NULL, go_on, NULL, NULL) != S_OK ||
      rsca_manager_create_session(manager, &sessions[1]) != S_OK)
    return -1;
  sessions[0] = rsca_manager_custom_actions2(manager);
  return 0;
}

/* No callback is left: whoever took a reference gave it back. */
static int tear_down(void **state) {
  (void)state;
  for (int i = 0; i < 2; i++)
    (void)sessions[i]->lpVtbl->Release(sessions[i]);
  (void)rsca_manager_release(manager);
  return my_responses_alive() == 0 ? 0 : -1;
}

static ICustomAction2ResultCallback *create(void) {
  ICustomAction2ResultCallback *callback = my_responses_create();
  assert_non_null(callback);
  return callback;
}

static HRESULT add(int session, PCWSTR name, PCWSTR args, ICustomAction2ResultCallback *callback) {
  return sessions[session]->lpVtbl->RegisterCustomActionCallback(sessions[session], name, args, callback);
}

static HRESULT drop(int session, PCWSTR name) {
  return sessions[session]->lpVtbl->UnregisterCustomActionCallback(sessions[session], name);
}

static void step(void) {
  while (rsca_manager_step(manager, 0) == S_OK) {
  }
}

/* It heard these responses and one end; and is the test's alone again. */
static void expect(ICustomAction2ResultCallback *callback, const char *text, HRESULT status, const char *why) {
  assert_string_equal(my_responses_text(callback), text);
  assert_int_equal(my_responses_ends(callback), 1);
  assert_int_equal(my_responses_status(callback), status);
  assert_string_equal(my_responses_why(callback), why);
  assert_int_equal(callback->lpVtbl->Release(callback), 0);
}

static void test_client_hears_each_response_and_one_end(void **state) {
  (void)state;
  for (int session = 0; session < 2; session++) {
    ICustomAction2ResultCallback *all = create(), *none = create(), *failing = create();
    assert_int_equal(add(session, RSCA_TEXT("spell"), RSCA_TEXT("abc"), all), S_OK);
    assert_string_equal(my_responses_text(all), ""); /* queued */
    step();
    assert_int_equal(add(session, RSCA_TEXT("spell"), NULL, none), S_OK);
    assert_int_equal(add(session, RSCA_TEXT("go on"), RSCA_TEXT("before"), failing), S_OK);
    step();
    assert_int_equal(rsca_call_finish(held, E_FAIL, "not today", 9), S_OK);
    step();
    expect(all, "a;b;c;", S_FALSE, "");
    expect(none, "", S_FALSE, "");
    expect(failing, "before;", E_FAIL, "not today");
  }
}

static void test_client_that_unregisters_hears_the_end_once(void **state) {
  (void)state;
  for (int session = 0; session < 2; session++) {
    ICustomAction2ResultCallback *callback = create();
    assert_int_equal(add(session, RSCA_TEXT("go on"), RSCA_TEXT("first"), callback), S_OK);
    step();
    assert_string_equal(my_responses_text(callback), "first;");
    assert_int_equal(my_responses_ends(callback), 0);
    assert_int_equal(add(session, RSCA_TEXT("go on"), NULL, callback), RSCA_E_ALREADY_EXISTS);
    assert_int_equal(drop(1 - session, RSCA_TEXT("go on")), RSCA_E_NOT_FOUND); /* the other session's affair */
    assert_int_equal(drop(session, RSCA_TEXT("go on")), S_OK);
    assert_int_equal(drop(session, RSCA_TEXT("go on")), RSCA_E_NOT_FOUND);
    step();
    assert_int_equal(rsca_call_report(held, "late", 4), RSCA_E_CANCELLED);
    assert_int_equal(rsca_call_finish(held, S_OK, NULL, 0), S_OK);
    step();
    expect(callback, "first;", S_FALSE, "");
  }
}

/* A failure that ReportResult answers ends the registration. */
static void test_client_that_wants_no_more_is_told_the_end(void **state) {
  (void)state;
  ICustomAction2ResultCallback *callback = create();
  my_responses_want(callback, 2);
  assert_int_equal(add(0, RSCA_TEXT("spell"), RSCA_TEXT("abcdef"), callback), S_OK);
  step();
  assert_true(strlen(my_responses_why(callback)) > 0);
  assert_string_equal(my_responses_text(callback), "a;b;");
  assert_int_equal(my_responses_ends(callback), 1);
  assert_int_equal(my_responses_status(callback), RSCA_E_CANCELLED);
  assert_int_equal(callback->lpVtbl->Release(callback), 0);
}

/* As C++ clients do: hand it over and let go. The registration's reference is the last one. */
static void test_client_that_lets_go_at_once_is_kept_until_the_end(void **state) {
  (void)state;
  ICustomAction2ResultCallback *callback = create();
  assert_int_equal(add(1, RSCA_TEXT("spell"), RSCA_TEXT("abc"), callback), S_OK);
  assert_int_equal(callback->lpVtbl->Release(callback), 1);
  assert_int_equal(my_responses_alive(), 1);
  step();
  assert_int_equal(my_responses_alive(), 0);
}

static void test_client_that_is_refused_is_neither_held_nor_called(void **state) {
  (void)state;
  ICustomAction2ResultCallback *callback = create();
  assert_int_equal(add(0, RSCA_TEXT("nobody"), NULL, callback), RSCA_E_NOT_FOUND);
  assert_int_equal(add(0, RSCA_TEXT(""), NULL, callback), E_INVALIDARG);
  assert_int_equal(add(0, NULL, NULL, callback), E_INVALIDARG);
  assert_int_equal(add(0, RSCA_TEXT("spell"), NULL, NULL), E_INVALIDARG);
  assert_int_equal(rsca_manager_step(manager, 0), S_FALSE);
  assert_int_equal(my_responses_ends(callback), 0);
  assert_int_equal(callback->lpVtbl->Release(callback), 0);
}

static void test_client_in_flight_hears_of_a_shutdown(void **state) {
  (void)state;
  ICustomAction2ResultCallback *callback = create();
  assert_int_equal(add(0, RSCA_TEXT("spell"), RSCA_TEXT("abc"), callback), S_OK);
  assert_int_equal(rsca_manager_shutdown(manager, true), S_OK);
  assert_true(strlen(my_responses_why(callback)) > 0);
  assert_string_equal(my_responses_text(callback), "");
  assert_int_equal(my_responses_ends(callback), 1);
  assert_int_equal(my_responses_status(callback), RSCA_E_CANCELLED);
  assert_int_equal(callback->lpVtbl->Release(callback), 0);
}

int main(void) {
  static const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(test_client_hears_each_response_and_one_end, set_up, tear_down),
      cmocka_unit_test_setup_teardown(test_client_that_unregisters_hears_the_end_once, set_up, tear_down),
      cmocka_unit_test_setup_teardown(test_client_that_wants_no_more_is_told_the_end, set_up, tear_down),
      cmocka_unit_test_setup_teardown(test_client_that_lets_go_at_once_is_kept_until_the_end, set_up, tear_down),
      cmocka_unit_test_setup_teardown(test_client_that_is_refused_is_neither_held_nor_called, set_up, tear_down),
      cmocka_unit_test_setup_teardown(test_client_in_flight_hears_of_a_shutdown, set_up, tear_down),
  };
  return cmocka_run_group_tests_name("seed_page2", tests, NULL, NULL);
}
