#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <ctype.h>
#include <string.h>

#include <rsca/status.h>

static void test_status_each_entry_is_found(void **state) {
  (void)state;
  size_t count;
  const rsca_status_entry *table = rsca_status_table(&count);
  assert_true(count > 0);
  for (size_t i = 0; i < count; i++)
    assert_ptr_equal(rsca_status_find(table[i].status), &table[i]);
}

static void test_status_first_entry_is_s_ok(void **state) {
  (void)state;
  size_t count;
  const rsca_status_entry *table = rsca_status_table(&count);
  assert_string_equal(table[0].name, "S_OK");
  assert_int_equal(table[0].status, S_OK);
}

static void test_status_names_and_statuses_are_unique(void **state) {
  (void)state;
  size_t count;
  const rsca_status_entry *table = rsca_status_table(&count);
  for (size_t i = 0; i < count; i++) {
    for (size_t j = i + 1; j < count; j++) {
      assert_string_not_equal(table[i].name, table[j].name);
      assert_int_not_equal(table[i].status, table[j].status);
    }
  }
}

/* Scripts write rsca.status.<name>, so a name must be an identifier. */
static void test_status_names_are_identifiers(void **state) {
  (void)state;
  size_t count;
  const rsca_status_entry *table = rsca_status_table(&count);
  for (size_t i = 0; i < count; i++) {
    const char *name = table[i].name;
    assert_true(isupper((unsigned char)name[0]));
    for (const char *c = name; *c; c++)
      assert_true(isupper((unsigned char)*c) || isdigit((unsigned char)*c) || *c == '_');
  }
}

static void test_status_meanings_are_text_without_full_stop(void **state) {
  (void)state;
  size_t count;
  const rsca_status_entry *table = rsca_status_table(&count);
  for (size_t i = 0; i < count; i++) {
    size_t size = strlen(table[i].meaning);
    assert_true(size > 0);
    assert_true(islower((unsigned char)table[i].meaning[0]));
    assert_true(isalnum((unsigned char)table[i].meaning[size - 1]));
    assert_null(strchr(table[i].meaning, '\n'));
  }
}

/* The numbers once more, by hand: they are what a peer compiled elsewhere goes by. */
static void test_status_known_numbers_have_their_names(void **state) {
  (void)state;
  static const struct {
    uint32_t number;
    const char *name;
  } expected[] = {
      {0x00000000, "S_OK"},
      {0x00000001, "S_FALSE"},
      {0x80004005, "E_FAIL"},
      {0x80070057, "E_INVALIDARG"},
      {0x8007000E, "E_OUTOFMEMORY"},
      {0x8000000A, "E_PENDING"},
      {0x80010108, "RPC_E_DISCONNECTED"},
      {0x80070000 + 170, "ERROR_BUSY"},
      {0x80070000 + 183, "ERROR_ALREADY_EXISTS"},
      {0x80070000 + 1113, "ERROR_NO_UNICODE_TRANSLATION"},
      {0x80070000 + 1115, "ERROR_SHUTDOWN_IN_PROGRESS"},
      {0x80070000 + 1168, "ERROR_NOT_FOUND"},
      {0x80070000 + 1223, "ERROR_CANCELLED"},
      {0x80070000 + 1460, "ERROR_TIMEOUT"},
      {0x80070000 + 258, "WAIT_TIMEOUT"},
      {0x80070000 + 1131, "ERROR_POSSIBLE_DEADLOCK"},
      {0x80004001, "E_NOTIMPL"},
      {0x80004004, "E_ABORT"},
      {0x8000FFFF, "E_UNEXPECTED"},
      {0x80070000 + 5, "E_ACCESSDENIED"},
      {0x80070000 + 2, "ERROR_FILE_NOT_FOUND"},
      {0x80070000 + 13, "ERROR_INVALID_DATA"},
      {0x80070000 + 50, "ERROR_NOT_SUPPORTED"},
      {0x80070000 + 5023, "ERROR_INVALID_STATE"},
  };
  size_t known = sizeof expected / sizeof expected[0];
  size_t count;
  rsca_status_table(&count);
  assert_int_equal(count, known);
  for (size_t i = 0; i < known; i++) {
    const rsca_status_entry *entry = rsca_status_find((HRESULT)expected[i].number);
    assert_non_null(entry);
    assert_string_equal(entry->name, expected[i].name);
  }
}

static void test_status_unknown_finds_nothing(void **state) {
  (void)state;
  assert_null(rsca_status_find(2));
  assert_null(rsca_status_find((HRESULT)0x80070001));
  assert_null(rsca_status_find((HRESULT)0xFFFFFFFF));
  /* A bare Windows code is not an HRESULT. */
  assert_null(rsca_status_find(170));
}

int main(void) {
  static const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_status_each_entry_is_found),
      cmocka_unit_test(test_status_first_entry_is_s_ok),
      cmocka_unit_test(test_status_names_and_statuses_are_unique),
      cmocka_unit_test(test_status_names_are_identifiers),
      cmocka_unit_test(test_status_meanings_are_text_without_full_stop),
      cmocka_unit_test(test_status_known_numbers_have_their_names),
      cmocka_unit_test(test_status_unknown_finds_nothing),
  };
  return cmocka_run_group_tests_name("status", tests, NULL, NULL);
}
