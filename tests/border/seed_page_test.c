/*
 * A client in C++, written from the reference pages alone, with a real manager: called back as the pages say, and every
 * reference that was taken to it given back.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <rsca/manager.h>

#include "seed_page_client.h"

static rsca_manager *manager;
static IPmCustomActions *actions;

static HRESULT greet(void *user, rsca_call *call, const char *args, size_t size) {
  (void)user;
  HRESULT status = rsca_call_report(call, "hello, ", 7);
  return status == S_OK ? rsca_call_report(call, args, size) : status;
}

static HRESULT refuse(void *user, rsca_call *call, const char *args, size_t size) {
  (void)user, (void)args, (void)size;
  (void)rsca_call_report(call, "not today", 9);
  return E_FAIL;
}

static HRESULT nothing(void *user, rsca_call *call, const char *args, size_t size) {
  (void)user, (void)call, (void)args, (void)size;
  return S_FALSE;
}

static int set_up(void **state) {
  (void)state;
  if (rsca_manager_create(NULL, &manager) != S_OK ||
      rsca_manager_register(manager, "greet", NULL, greet, NULL, NULL) != S_OK ||
      rsca_manager_register(manager, "refuse", NULL, refuse, NULL, NULL) != S_OK ||
      rsca_manager_register(manager, "nothing", NULL, nothing, NULL, NULL) != S_OK)
    return -1;
  actions = rsca_manager_custom_actions(manager);
  return 0;
}

/* No callback is left: whoever took a reference gave it back. */
static int tear_down(void **state) {
  (void)state;
  (void)actions->lpVtbl->Release(actions);
  (void)rsca_manager_release(manager);
  return my_result_alive() == 0 ? 0 : -1;
}

static HRESULT run(PCWSTR name, PCWSTR args, ICustomActionResultCallback *callback) {
  return actions->lpVtbl->RunCustomAction(actions, name, args, callback);
}

static void release(ICustomActionResultCallback *callback) {
  assert_int_equal(callback->lpVtbl->Release(callback), 0);
}

static void expect(PCWSTR name, PCWSTR args, HRESULT status, const char *text) {
  ICustomActionResultCallback *result = my_result_create();
  assert_non_null(result);
  assert_int_equal(run(name, args, result), S_OK);
  assert_int_equal(my_result_calls(result), 0);
  assert_int_equal(rsca_manager_step(manager, 0), S_OK);
  assert_int_equal(my_result_calls(result), 1);
  assert_int_equal(my_result_status(result), status);
  assert_string_equal(my_result_text(result), text);
  release(result);
  assert_int_equal(my_result_alive(), 0);
}

static void test_client_hears_how_its_calls_ended(void **state) {
  (void)state;
  expect(RSCA_TEXT("greet"), RSCA_TEXT("caf\u00e9"), S_OK, "hello, caf\xC3\xA9");
  expect(RSCA_TEXT("greet"), NULL, S_OK, "hello, ");
  expect(RSCA_TEXT("refuse"), RSCA_TEXT(""), E_FAIL, "not today");
  expect(RSCA_TEXT("nothing"), NULL, S_FALSE, "");
}

/* As C++ clients do: hand it over and let go. The manager's reference is the last one. */
static void test_client_that_lets_go_at_once_is_kept_until_it_was_told(void **state) {
  (void)state;
  ICustomActionResultCallback *result = my_result_create();
  assert_non_null(result);
  assert_int_equal(run(RSCA_TEXT("greet"), NULL, result), S_OK);
  assert_int_equal(result->lpVtbl->Release(result), 1);
  assert_int_equal(my_result_alive(), 1);
  assert_int_equal(rsca_manager_step(manager, 0), S_OK);
  assert_int_equal(my_result_alive(), 0);
}

static void test_client_of_a_refused_call_is_neither_held_nor_called(void **state) {
  (void)state;
  ICustomActionResultCallback *result = my_result_create();
  assert_non_null(result);
  assert_int_equal(run(RSCA_TEXT("nobody"), NULL, result), RSCA_E_NOT_FOUND);
  assert_int_equal(run(RSCA_TEXT(""), NULL, result), E_INVALIDARG);
  assert_int_equal(rsca_manager_step(manager, 0), S_FALSE);
  assert_int_equal(my_result_calls(result), 0);
  release(result);
}

static void test_client_in_flight_hears_of_a_shutdown(void **state) {
  (void)state;
  ICustomActionResultCallback *result = my_result_create();
  assert_non_null(result);
  assert_int_equal(run(RSCA_TEXT("greet"), NULL, result), S_OK);
  assert_int_equal(rsca_manager_shutdown(manager, true), S_OK);
  assert_int_equal(my_result_calls(result), 1);
  assert_int_equal(my_result_status(result), RSCA_E_CANCELLED);
  assert_true(my_result_text(result)[0] != '\0');
  release(result);
}

int main(void) {
  static const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(test_client_hears_how_its_calls_ended, set_up, tear_down),
      cmocka_unit_test_setup_teardown(test_client_that_lets_go_at_once_is_kept_until_it_was_told, set_up, tear_down),
      cmocka_unit_test_setup_teardown(test_client_of_a_refused_call_is_neither_held_nor_called, set_up, tear_down),
      cmocka_unit_test_setup_teardown(test_client_in_flight_hears_of_a_shutdown, set_up, tear_down),
  };
  return cmocka_run_group_tests_name("seed_page", tests, NULL, NULL);
}
