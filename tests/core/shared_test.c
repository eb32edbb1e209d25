#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/shared.h"
#include "core/thread.h"

enum { LIMIT = 1 << 20 };

/* ---- Time goes on when a test says so: the linker puts this in front of the clock ---- */

static _Atomic uint64_t now_ns;

int __wrap_clock_gettime(clockid_t clock, struct timespec *out);
int __wrap_clock_gettime(clockid_t clock, struct timespec *out) {
  (void)clock;
  uint64_t now = atomic_load(&now_ns);
  out->tv_sec = (time_t)(now / RSCI_NS_PER_SECOND);
  out->tv_nsec = (long)(now % RSCI_NS_PER_SECOND);
  return 0;
}

static void later(uint64_t ns) {
  atomic_fetch_add(&now_ns, ns);
}

/* ---- A table for each test ---- */

static rsci_shared *shared;

static int set_up(void **state) {
  (void)state;
  atomic_store(&now_ns, 1000 * RSCI_NS_PER_SECOND);
  shared = rsci_shared_create(LIMIT, NULL);
  return shared ? 0 : -1;
}

static int tear_down(void **state) {
  (void)state;
  rsci_shared_destroy(shared);
  return 0;
}

static rsci_bytes text(const char *key) {
  return (rsci_bytes){key, strlen(key)};
}

static HRESULT set_for(const char *key, rsca_value value, uint64_t lifetime_ns) {
  return rsci_shared_set(shared, text(key), &value, lifetime_ns);
}

static HRESULT set(const char *key, rsca_value value) {
  return set_for(key, value, RSCI_FOREVER);
}

static rsca_value string(const char *of) {
  return rsca_value_string(of, strlen(of));
}

/* What is there; strings are for release. */
static rsca_value got(const char *key) {
  rsca_value value;
  HRESULT status = rsci_shared_get(shared, text(key), &value);
  assert_int_equal(status, value.kind == RSCA_NIL ? S_FALSE : S_OK);
  return value;
}

static bool has(const char *key) {
  rsca_value value = got(key);
  bool there = value.kind != RSCA_NIL;
  rsca_value_release(&value);
  return there;
}

static void assert_integer(const char *key, int64_t integer) {
  rsca_value value = got(key);
  assert_int_equal(value.kind, RSCA_INTEGER);
  assert_int_equal(value.integer, integer);
}

static void assert_string(const char *key, const void *bytes, size_t size) {
  rsca_value value = got(key);
  assert_int_equal(value.kind, RSCA_STRING);
  assert_int_equal(value.size, size);
  assert_memory_equal(value.bytes, bytes, size);
  rsca_value_release(&value);
}

static HRESULT add(const char *key, rsca_value amount, rsca_value *sum) {
  return rsci_shared_add(shared, text(key), &amount, RSCI_FOREVER, sum);
}

static HRESULT compare_and_set(const char *key, rsca_value expected, rsca_value value) {
  rsca_value current;
  HRESULT status = rsci_shared_compare_and_set(shared, text(key), &expected, &value, RSCI_FOREVER, &current);
  if (status == S_OK)
    assert_int_equal(current.kind, RSCA_NIL);
  rsca_value_release(&current);
  return status;
}

/* ---- Values ---- */

static void test_get_of_what_was_never_set_is_s_false_and_nil(void **state) {
  (void)state;
  assert_false(has("a"));
  assert_int_equal(rsci_shared_remove(shared, text("a")), S_FALSE);
  assert_int_equal(rsci_shared_bytes(shared), 0);
}

static void test_values_come_back_as_they_were_set_of_each_kind(void **state) {
  (void)state;
  assert_int_equal(set("true", rsca_value_boolean(true)), S_OK);
  assert_int_equal(set("false", rsca_value_boolean(false)), S_OK);
  assert_int_equal(set("least", rsca_value_integer(INT64_MIN)), S_OK);
  assert_int_equal(set("float", rsca_value_float(1.0)), S_OK);
  assert_int_equal(set("nan", rsca_value_float(NAN)), S_OK);
  assert_int_equal(set("string", rsca_value_string("a\0b", 3)), S_OK);
  assert_int_equal(set("empty", rsca_value_string(NULL, 0)), S_OK);
  assert_true(got("true").kind == RSCA_BOOLEAN && got("true").boolean);
  assert_true(got("false").kind == RSCA_BOOLEAN && !got("false").boolean);
  assert_integer("least", INT64_MIN);
  assert_true(got("float").kind == RSCA_FLOAT && got("float").number == 1.0);
  assert_true(got("nan").kind == RSCA_FLOAT && isnan(got("nan").number));
  assert_string("string", "a\0b", 3);
  assert_string("empty", "", 0);
}

static void test_keys_are_compared_whole_zeros_included(void **state) {
  (void)state;
  static const rsci_bytes keys[] = {{"a", 1}, {"a\0", 2}, {"a\0b", 3}, {"\0", 1}, {"\0\0", 2}, {"ab", 2}};
  enum { KEYS = sizeof keys / sizeof *keys };
  for (int64_t i = 0; i < KEYS; i++)
    assert_int_equal(rsci_shared_set(shared, keys[i], &(rsca_value){.kind = RSCA_INTEGER, .integer = i}, RSCI_FOREVER),
                     S_OK);
  for (int64_t i = 0; i < KEYS; i++) {
    rsca_value value;
    assert_int_equal(rsci_shared_get(shared, keys[i], &value), S_OK);
    assert_int_equal(value.integer, i);
  }
}

static void test_set_copies_key_and_string(void **state) {
  (void)state;
  char key[] = "key", value[] = "value";
  assert_int_equal(set(key, string(value)), S_OK);
  memset(key, '#', 3);
  memset(value, '#', 5);
  assert_string("key", "value", 5);
}

/* "Its string is valid until then, whatever becomes of the key." */
static void test_a_string_that_was_returned_outlives_its_key_and_the_table(void **state) {
  (void)state;
  assert_int_equal(set("replaced", string("one")), S_OK);
  assert_int_equal(set("removed", string("two")), S_OK);
  assert_int_equal(set("kept", string("three")), S_OK);
  rsca_value replaced = got("replaced"), removed = got("removed"), kept = got("kept");
  assert_int_equal(set("replaced", string("another")), S_OK);
  assert_int_equal(rsci_shared_remove(shared, text("removed")), S_OK);
  rsci_shared_destroy(shared);
  shared = NULL;
  assert_memory_equal(replaced.bytes, "one", 3);
  assert_memory_equal(removed.bytes, "two", 3);
  assert_memory_equal(kept.bytes, "three", 5);
  rsca_value_release(&replaced);
  assert_int_equal(replaced.kind, RSCA_NIL);
  rsca_value_release(&replaced); /* harmless */
  rsca_value_release(&removed);
  rsca_value_release(&kept);
  rsca_value_release(NULL);
}

static void test_set_replaces_and_nil_removes(void **state) {
  (void)state;
  assert_int_equal(set("a", string("text")), S_OK);
  assert_int_equal(set("a", rsca_value_integer(1)), S_OK);
  assert_integer("a", 1);
  assert_int_equal(set("a", rsca_value_nil()), S_OK);
  assert_false(has("a"));
  assert_int_equal(set("a", rsca_value_nil()), S_OK);
  assert_int_equal(rsci_shared_bytes(shared), 0);
}

static void test_remove_says_whether_it_was_there(void **state) {
  (void)state;
  assert_int_equal(set("a", rsca_value_boolean(false)), S_OK);
  assert_int_equal(rsci_shared_remove(shared, text("a")), S_OK);
  assert_int_equal(rsci_shared_remove(shared, text("a")), S_FALSE);
}

/* ---- Adding ---- */

static void test_add_counts_from_0_and_keeps_integers(void **state) {
  (void)state;
  rsca_value sum;
  assert_int_equal(add("n", rsca_value_integer(3), &sum), S_OK);
  assert_true(sum.kind == RSCA_INTEGER && sum.integer == 3);
  assert_int_equal(add("n", rsca_value_integer(-5), &sum), S_OK);
  assert_true(sum.kind == RSCA_INTEGER && sum.integer == -2);
  assert_int_equal(add("n", rsca_value_float(0.5), &sum), S_OK);
  assert_true(sum.kind == RSCA_FLOAT && sum.number == -1.5);
  assert_int_equal(add("n", rsca_value_integer(2), &sum), S_OK);
  assert_true(sum.kind == RSCA_FLOAT && sum.number == 0.5);
  assert_int_equal(add("x", rsca_value_float(2), &sum), S_OK);
  assert_true(sum.kind == RSCA_FLOAT && sum.number == 2);
}

static void test_add_of_integers_wraps_around(void **state) {
  (void)state;
  rsca_value sum;
  assert_int_equal(set("n", rsca_value_integer(INT64_MAX)), S_OK);
  assert_int_equal(add("n", rsca_value_integer(1), &sum), S_OK);
  assert_true(sum.kind == RSCA_INTEGER && sum.integer == INT64_MIN);
}

static void test_add_to_what_is_no_number_changes_nothing(void **state) {
  (void)state;
  rsca_value sum = string("#");
  assert_int_equal(set("s", string("1")), S_OK);
  assert_int_equal(set("b", rsca_value_boolean(true)), S_OK);
  assert_int_equal(add("s", rsca_value_integer(1), &sum), RSCA_E_INVALID_DATA);
  assert_int_equal(sum.kind, RSCA_NIL);
  assert_int_equal(add("b", rsca_value_float(1), &sum), RSCA_E_INVALID_DATA);
  assert_string("s", "1", 1);
  assert_true(got("b").boolean);
}

/* ---- Comparing ---- */

static void test_compare_and_set_only_where_the_expected_is_there(void **state) {
  (void)state;
  assert_int_equal(compare_and_set("k", string("a"), string("b")), S_FALSE);
  assert_false(has("k"));
  assert_int_equal(compare_and_set("k", rsca_value_nil(), string("a")), S_OK);
  assert_int_equal(compare_and_set("k", rsca_value_nil(), string("b")), S_FALSE);
  assert_int_equal(compare_and_set("k", string("ab"), string("b")), S_FALSE);
  assert_string("k", "a", 1);
  assert_int_equal(compare_and_set("k", string("a"), rsca_value_string("", 0)), S_OK);
  assert_int_equal(compare_and_set("k", rsca_value_string(NULL, 0), rsca_value_boolean(false)), S_OK);
  assert_int_equal(compare_and_set("k", rsca_value_nil(), rsca_value_boolean(true)), S_FALSE);
  assert_int_equal(compare_and_set("k", rsca_value_boolean(false), rsca_value_nil()), S_OK);
  assert_false(has("k"));
  assert_int_equal(compare_and_set("k", rsca_value_nil(), rsca_value_nil()), S_OK);
  assert_int_equal(rsci_shared_bytes(shared), 0);
}

static void test_compare_and_set_that_fails_returns_what_is_there(void **state) {
  (void)state;
  rsca_value current, expected = string("old"), value = string("mine");
  assert_int_equal(set("k", string("theirs")), S_OK);
  assert_int_equal(rsci_shared_compare_and_set(shared, text("k"), &expected, &value, RSCI_FOREVER, &current), S_FALSE);
  assert_int_equal(rsci_shared_remove(shared, text("k")), S_OK);
  assert_true(current.kind == RSCA_STRING && current.size == 6);
  assert_memory_equal(current.bytes, "theirs", 6);
  rsca_value_release(&current);
  assert_int_equal(rsci_shared_compare_and_set(shared, text("k"), &expected, &value, RSCI_FOREVER, &current), S_FALSE);
  assert_int_equal(current.kind, RSCA_NIL);
}

/* "Numbers are equal as in Lua, whatever their kind; NaN is equal to NaN." */
static void test_compare_and_set_compares_numbers_exactly(void **state) {
  (void)state;
  const int64_t odd = (INT64_C(1) << 53) + 1; /* no float is equal to it */
  static const struct {
    rsca_kind kinds[2];
    int64_t integer;
    double number;
    bool equal;
  } cases[] = {
      {{RSCA_INTEGER, RSCA_FLOAT}, 1, 1.0, true},
      {{RSCA_INTEGER, RSCA_FLOAT}, 1, 1.5, false},
      {{RSCA_INTEGER, RSCA_FLOAT}, 0, -0.0, true},
      {{RSCA_INTEGER, RSCA_FLOAT}, INT64_MIN, -0x1p63, true},
      {{RSCA_INTEGER, RSCA_FLOAT}, INT64_MAX, 0x1p63, false},
      {{RSCA_INTEGER, RSCA_FLOAT}, odd, 0x1p53, false},
      {{RSCA_INTEGER, RSCA_FLOAT}, 0, NAN, false},
      {{RSCA_INTEGER, RSCA_FLOAT}, 0, INFINITY, false},
      {{RSCA_FLOAT, RSCA_FLOAT}, 0, NAN, true},
      {{RSCA_FLOAT, RSCA_FLOAT}, 0, INFINITY, true},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    rsca_value sides[2];
    for (size_t side = 0; side < 2; side++)
      sides[side] = cases[i].kinds[side] == RSCA_INTEGER ? rsca_value_integer(cases[i].integer)
                                                         : rsca_value_float(cases[i].number);
    for (size_t side = 0; side < 2; side++) {
      assert_int_equal(set("k", sides[side]), S_OK);
      assert_int_equal(compare_and_set("k", sides[1 - side], string("set")), cases[i].equal ? S_OK : S_FALSE);
    }
  }
  assert_int_equal(set("k", rsca_value_boolean(true)), S_OK);
  assert_int_equal(compare_and_set("k", rsca_value_integer(1), string("set")), S_FALSE);
}

/* ---- Time ---- */

/* "A value whose time is over is not there any more, from that moment on." */
static void test_value_is_there_until_its_time_is_over(void **state) {
  (void)state;
  assert_int_equal(set_for("a", string("x"), 100), S_OK);
  later(99);
  assert_true(has("a"));
  later(1);
  assert_false(has("a"));
  assert_int_equal(rsci_shared_remove(shared, text("a")), S_FALSE);
  assert_int_equal(rsci_shared_bytes(shared), 0);
  assert_int_equal(set_for("b", string("x"), 0), S_OK);
  assert_false(has("b"));
}

static void test_value_that_is_over_counts_as_absent_for_every_operation(void **state) {
  (void)state;
  rsca_value sum;
  assert_int_equal(set_for("n", rsca_value_integer(41), 1), S_OK);
  assert_int_equal(set_for("s", string("old"), 1), S_OK);
  later(1);
  assert_int_equal(add("n", rsca_value_integer(1), &sum), S_OK);
  assert_int_equal(sum.integer, 1);
  assert_int_equal(compare_and_set("s", string("old"), string("new")), S_FALSE);
  assert_int_equal(compare_and_set("s", rsca_value_nil(), string("new")), S_OK);
  later(1000);
  assert_integer("n", 1); /* without an end of their own */
  assert_string("s", "new", 3);
}

static void test_set_gives_a_new_time_or_none(void **state) {
  (void)state;
  assert_int_equal(set_for("longer", string("x"), 10), S_OK);
  assert_int_equal(set_for("longer", string("x"), 100), S_OK);
  assert_int_equal(set_for("shorter", string("x"), 100), S_OK);
  assert_int_equal(set_for("shorter", string("x"), 10), S_OK);
  assert_int_equal(set_for("for ever", string("x"), 10), S_OK);
  assert_int_equal(set("for ever", string("x")), S_OK);
  assert_int_equal(set("not for ever", string("x")), S_OK);
  assert_int_equal(set_for("not for ever", string("x"), 10), S_OK);
  assert_int_equal(set_for("huge", string("x"), UINT64_MAX - 1), S_OK);
  later(10);
  assert_true(has("longer"));
  assert_false(has("shorter"));
  assert_true(has("for ever"));
  assert_false(has("not for ever"));
  later(90);
  assert_false(has("longer"));
  later(UINT64_MAX / 2);
  assert_true(has("for ever"));
  assert_true(has("huge"));
}

/* "`lifetime_ms` is for a key that was not there: one that is keeps its time." */
static void test_add_gives_a_time_to_a_new_key_only(void **state) {
  (void)state;
  const rsca_value one = rsca_value_integer(1);
  rsca_value sum;
  assert_int_equal(rsci_shared_add(shared, text("n"), &one, 10, &sum), S_OK);
  later(9);
  assert_int_equal(rsci_shared_add(shared, text("n"), &one, 10, &sum), S_OK);
  assert_int_equal(sum.integer, 2);
  later(1);
  assert_int_equal(rsci_shared_add(shared, text("n"), &one, RSCI_FOREVER, &sum), S_OK);
  assert_int_equal(sum.integer, 1);
  assert_int_equal(rsci_shared_add(shared, text("n"), &one, 10, &sum), S_OK);
  later(1000);
  assert_integer("n", 2);
}

static void test_compare_and_set_gives_a_time_as_set_does(void **state) {
  (void)state;
  const rsca_value nil = rsca_value_nil(), mine = string("mine"), yours = string("yours");
  rsca_value current;
  assert_int_equal(rsci_shared_compare_and_set(shared, text("lock"), &nil, &mine, 10, &current), S_OK);
  assert_int_equal(rsci_shared_compare_and_set(shared, text("lock"), &nil, &yours, 10, &current), S_FALSE);
  rsca_value_release(&current);
  later(10);
  assert_int_equal(rsci_shared_compare_and_set(shared, text("lock"), &nil, &yours, 10, &current), S_OK);
  assert_string("lock", "yours", 5);
}

/* "Its memory is given back by the calls that follow, whatever they are about": each gives back more than it adds. */
static void test_values_that_are_over_are_given_back_by_any_calls(void **state) {
  (void)state;
  enum { MANY = 1000 };
  char key[32];
  for (int i = 0; i < MANY; i++) {
    snprintf(key, sizeof key, "over %d", i);
    assert_int_equal(set_for(key, string("some text"), (uint64_t)(1 + i % 7)), S_OK);
  }
  later(10);
  size_t calls = 0;
  while (rsci_shared_bytes(shared) > 0) {
    assert_false(has("another"));
    assert_true(++calls <= MANY / 2);
  }
}

/* ---- Bounds ---- */

static void test_limit_counts_keys_strings_and_entries(void **state) {
  (void)state;
  size_t per_string = rsci_shared_key_bytes + rsci_shared_string_bytes;
  assert_int_equal(set("key", string("value")), S_OK);
  assert_int_equal(rsci_shared_bytes(shared), per_string + 3 + 5);
  assert_int_equal(set("key", string("longer value")), S_OK);
  assert_int_equal(rsci_shared_bytes(shared), per_string + 3 + 12);
  assert_int_equal(set("key", rsca_value_integer(1)), S_OK);
  assert_int_equal(rsci_shared_bytes(shared), rsci_shared_key_bytes + 3);
  assert_int_equal(set("other", rsca_value_boolean(true)), S_OK);
  assert_int_equal(rsci_shared_bytes(shared), 2 * rsci_shared_key_bytes + 3 + 5);
  assert_int_equal(rsci_shared_remove(shared, text("key")), S_OK);
  assert_int_equal(rsci_shared_remove(shared, text("other")), S_OK);
  assert_int_equal(rsci_shared_bytes(shared), 0);
}

/* "shared_bytes is reached; nothing was changed." */
static void test_beyond_the_limit_nothing_is_taken_and_nothing_changes(void **state) {
  (void)state;
  size_t room = LIMIT - 2 * (rsci_shared_key_bytes + 1 + rsci_shared_string_bytes) - 1;
  char *big = calloc(LIMIT, 1);
  assert_non_null(big);
  rsca_value sum;
  assert_int_equal(set("a", string("x")), S_OK);
  assert_int_equal(set("b", rsca_value_string(big, room + 1)), E_OUTOFMEMORY);
  assert_false(has("b"));
  assert_int_equal(set("b", rsca_value_string(big, room)), S_OK);
  assert_int_equal(rsci_shared_bytes(shared), LIMIT);
  assert_int_equal(set("a", string("xy")), E_OUTOFMEMORY);
  assert_string("a", "x", 1);
  assert_int_equal(compare_and_set("a", string("x"), string("xy")), E_OUTOFMEMORY);
  assert_string("a", "x", 1);
  assert_int_equal(set("c", rsca_value_boolean(true)), E_OUTOFMEMORY);
  assert_int_equal(add("c", rsca_value_integer(1), &sum), E_OUTOFMEMORY);
  assert_int_equal(sum.kind, RSCA_NIL);
  assert_false(has("c"));
  assert_int_equal(set("a", rsca_value_integer(1)), S_OK); /* smaller */
  assert_int_equal(add("a", rsca_value_integer(1), &sum), S_OK);
  assert_int_equal(set("b", string("")), S_OK);
  assert_int_equal(set("c", rsca_value_boolean(true)), S_OK);
  free(big);
}

static void test_at_the_limit_values_that_are_over_make_room_at_once(void **state) {
  (void)state;
  char *big = calloc(LIMIT, 1), key[32];
  assert_non_null(big);
  int count = 0;
  do
    snprintf(key, sizeof key, "%d", count++);
  while (set_for(key, rsca_value_string(big, 1000), 10) == S_OK);
  assert_true(count > 100);
  later(10);
  assert_int_equal(set("new", rsca_value_string(big, LIMIT - 1000)), S_OK);
  assert_false(has("1"));
  assert_true(has("new"));
  free(big);
}

/* What keeps its time is at risk while others make room: the one that is to be replaced must survive that. */
static void test_replacing_at_the_limit_while_others_are_over(void **state) {
  (void)state;
  char *big = calloc(LIMIT, 1);
  assert_non_null(big);
  for (int i = 0; i < 8; i++)
    assert_int_equal(
        set_for((const char *[]){"0", "1", "2", "3", "4", "5", "6", "7"}[i], rsca_value_string(big, LIMIT / 10), 10),
        S_OK);
  assert_int_equal(set_for("a", string("x"), 11), S_OK);
  later(10);
  assert_int_equal(set_for("a", rsca_value_string(big, LIMIT / 2), 5), S_OK);
  assert_true(has("a"));
  later(5);
  assert_false(has("a"));
  assert_int_equal(rsci_shared_bytes(shared), 0);
  free(big);
}

static void test_many_keys_are_found_while_it_grows_and_shrinks(void **state) {
  (void)state;
  enum { MANY = 5000 };
  char key[32];
  for (int round = 0; round < 2; round++) {
    for (int64_t i = 0; i < MANY; i++) {
      snprintf(key, sizeof key, "%d", (int)i);
      assert_int_equal(set_for(key, rsca_value_integer(i), i % 3 ? RSCI_FOREVER : 1000), S_OK);
    }
    for (int64_t i = 0; i < MANY; i++) {
      snprintf(key, sizeof key, "%d", (int)i);
      assert_integer(key, i);
    }
    for (int64_t i = 0; i < MANY; i++) {
      snprintf(key, sizeof key, "%d", (int)i);
      assert_int_equal(rsci_shared_remove(shared, text(key)), S_OK);
      snprintf(key, sizeof key, "%d", (int)(i + MANY) / 2);
      assert_int_equal(has(key), (i + MANY) / 2 > i);
    }
    assert_int_equal(rsci_shared_bytes(shared), 0);
  }
}

/* ---- All keys ---- */

static void test_keys_are_ordered_by_their_bytes_and_leave_out_what_is_over(void **state) {
  (void)state;
  rsci_keys *keys = rsci_shared_keys(shared);
  assert_non_null(keys);
  assert_int_equal(keys->count, 0);
  free(keys);
  static const char *const names[] = {"b", "a", "ab", "\xFF", "A", "over", "aa"};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++)
    assert_int_equal(set_for(names[i], rsca_value_integer(1), i == 5 ? 1 : 2), S_OK);
  assert_int_equal(rsci_shared_set(shared, (rsci_bytes){"a\0", 2}, &(rsca_value){.kind = RSCA_BOOLEAN}, RSCI_FOREVER),
                   S_OK);
  later(1);
  keys = rsci_shared_keys(shared);
  assert_non_null(keys);
  static const rsci_bytes expected[] = {{"A", 1}, {"a", 1}, {"a\0", 2}, {"aa", 2}, {"ab", 2}, {"b", 1}, {"\xFF", 1}};
  assert_int_equal(keys->count, sizeof expected / sizeof *expected);
  for (size_t i = 0; i < keys->count; i++) {
    assert_int_equal(keys->keys[i].size, expected[i].size);
    assert_memory_equal(keys->keys[i].data, expected[i].data, expected[i].size);
  }
  free(keys);
}

/* ---- Threads: they write down, and the test looks at it when they are joined ---- */

enum { THREADS = 4, ROUNDS = 20000 };

typedef struct worker {
  pthread_t thread;
  int number;
  int64_t done;
  const char *wrong;
} worker;

static void run_threads(worker *workers, void *(*body)(void *user)) {
  for (int i = 0; i < THREADS; i++) {
    workers[i] = (worker){.number = i};
    assert_int_equal(pthread_create(&workers[i].thread, NULL, body, &workers[i]), 0);
  }
  for (int i = 0; i < THREADS; i++)
    assert_int_equal(pthread_join(workers[i].thread, NULL), 0);
  for (int i = 0; i < THREADS; i++)
    if (workers[i].wrong)
      fail_msg("%s", workers[i].wrong);
}

static void *add_often(void *user) {
  worker *self = user;
  const rsca_value one = rsca_value_integer(1);
  int64_t last = 0;
  for (int i = 0; i < ROUNDS; i++) {
    rsca_value sum;
    if (rsci_shared_add(shared, text("n"), &one, RSCI_FOREVER, &sum) != S_OK || sum.integer <= last)
      self->wrong = "a sum that did not grow";
    last = sum.integer;
  }
  return NULL;
}

static void test_adding_on_many_threads_loses_nothing(void **state) {
  (void)state;
  worker workers[THREADS];
  run_threads(workers, add_often);
  assert_integer("n", (int64_t)THREADS * ROUNDS);
}

/* Adds by comparing. */
static void *compare_often(void *user) {
  worker *self = user;
  rsca_value seen = rsca_value_nil();
  while (self->done < ROUNDS / 4) {
    rsca_value next = rsca_value_integer(seen.integer + 1), current;
    HRESULT status = rsci_shared_compare_and_set(shared, text("n"), &seen, &next, RSCI_FOREVER, &current);
    self->done += status == S_OK;
    seen = status == S_OK ? next : current;
  }
  return NULL;
}

static void test_comparing_and_setting_on_many_threads_loses_nothing(void **state) {
  (void)state;
  worker workers[THREADS];
  run_threads(workers, compare_often);
  assert_integer("n", (int64_t)THREADS * (ROUNDS / 4));
}

/* Strings of one byte repeated: one that was torn has two. */
static void *replace_often(void *user) {
  worker *self = user;
  char bytes[300];
  for (int i = 0; i < ROUNDS; i++) {
    size_t size = (size_t)(1 + i % (int)sizeof bytes);
    memset(bytes, 'a' + self->number, size);
    rsca_value value = rsca_value_string(bytes, size);
    if (i % 5 == 0)
      (void)rsci_shared_remove(shared, text("s"));
    else if (rsci_shared_set(shared, text("s"), &value, i % 3 ? RSCI_FOREVER : (uint64_t)i % 7) != S_OK)
      self->wrong = "a set that failed";
    if (i % 16 == 0)
      later(1);
    rsca_value seen;
    (void)rsci_shared_get(shared, text("s"), &seen);
    if (seen.kind == RSCA_STRING)
      for (size_t at = 1; at < seen.size; at++)
        if (((const char *)seen.bytes)[at] != *(const char *)seen.bytes)
          self->wrong = "a torn string";
    rsca_value_release(&seen);
    if (i % 64 == 0)
      free(rsci_shared_keys(shared));
  }
  return NULL;
}

static void test_strings_that_many_threads_replace_are_whole(void **state) {
  (void)state;
  worker workers[THREADS];
  run_threads(workers, replace_often);
  (void)rsci_shared_remove(shared, text("s"));
  assert_int_equal(rsci_shared_bytes(shared), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
  static const struct CMUnitTest tests[] = {
      TEST(test_get_of_what_was_never_set_is_s_false_and_nil),
      TEST(test_values_come_back_as_they_were_set_of_each_kind),
      TEST(test_keys_are_compared_whole_zeros_included),
      TEST(test_set_copies_key_and_string),
      TEST(test_a_string_that_was_returned_outlives_its_key_and_the_table),
      TEST(test_set_replaces_and_nil_removes),
      TEST(test_remove_says_whether_it_was_there),
      TEST(test_add_counts_from_0_and_keeps_integers),
      TEST(test_add_of_integers_wraps_around),
      TEST(test_add_to_what_is_no_number_changes_nothing),
      TEST(test_compare_and_set_only_where_the_expected_is_there),
      TEST(test_compare_and_set_that_fails_returns_what_is_there),
      TEST(test_compare_and_set_compares_numbers_exactly),
      TEST(test_value_is_there_until_its_time_is_over),
      TEST(test_value_that_is_over_counts_as_absent_for_every_operation),
      TEST(test_set_gives_a_new_time_or_none),
      TEST(test_add_gives_a_time_to_a_new_key_only),
      TEST(test_compare_and_set_gives_a_time_as_set_does),
      TEST(test_values_that_are_over_are_given_back_by_any_calls),
      TEST(test_limit_counts_keys_strings_and_entries),
      TEST(test_beyond_the_limit_nothing_is_taken_and_nothing_changes),
      TEST(test_at_the_limit_values_that_are_over_make_room_at_once),
      TEST(test_replacing_at_the_limit_while_others_are_over),
      TEST(test_many_keys_are_found_while_it_grows_and_shrinks),
      TEST(test_keys_are_ordered_by_their_bytes_and_leave_out_what_is_over),
      TEST(test_adding_on_many_threads_loses_nothing),
      TEST(test_comparing_and_setting_on_many_threads_loses_nothing),
      TEST(test_strings_that_many_threads_replace_are_whole),
  };
  return cmocka_run_group_tests_name("shared", tests, NULL, NULL);
}
