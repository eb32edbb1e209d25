#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include <rsca/shared.h>

#include "client.h"

static rsca_manager *manager;

static int set_up(void **state) {
  (void)state;
  manager = make_manager(NULL);
  return 0;
}

static int tear_down(void **state) {
  (void)state;
  return rsca_manager_release(manager) == 0 ? 0 : -1;
}

static rsca_value string(const char *of) {
  return rsca_value_string(of, strlen(of));
}

static HRESULT set(const char *key, rsca_value value) {
  return rsca_shared_set(manager, key, strlen(key), &value, 0);
}

static HRESULT get(const char *key, rsca_value *value) {
  return rsca_shared_get(manager, key, strlen(key), value);
}

static void never_visit(void *user, const void *key, size_t size) {
  (void)user, (void)key, (void)size;
  fail_msg("a key was visited");
}

/* A manager that shares nothing yet answers all the same. */
static void test_before_anything_is_set_nothing_is_there(void **state) {
  (void)state;
  rsca_value value = string("#");
  assert_int_equal(get("a", &value), S_FALSE);
  assert_int_equal(value.kind, RSCA_NIL);
  assert_int_equal(rsca_shared_remove(manager, "a", 1), S_FALSE);
  assert_int_equal(rsca_shared_keys(manager, never_visit, NULL), S_OK);
}

static void test_each_manager_has_its_own(void **state) {
  (void)state;
  rsca_manager *other = make_manager(NULL);
  rsca_value value = string("other's");
  assert_int_equal(set("a", string("mine")), S_OK);
  assert_int_equal(rsca_shared_set(other, "a", 1, &value, 0), S_OK);
  assert_int_equal(rsca_manager_release(other), 0);
  assert_int_equal(get("a", &value), S_OK);
  assert_int_equal(value.size, 4);
  assert_memory_equal(value.bytes, "mine", 4);
  rsca_value_release(&value);
}

/* "E_INVALIDARG where the manager or the key is NULL, the key is empty, or a value is not one of these kinds." */
static void test_misuse_is_e_invalidarg_and_returns_nil(void **state) {
  (void)state;
  const rsca_value one = rsca_value_integer(1), text = string("1"), nil = rsca_value_nil();
  rsca_value strange = one, no_bytes = rsca_value_string(NULL, 1), out;
  memset(&strange.kind, 0x7F, sizeof strange.kind);
  const struct {
    rsca_manager *manager;
    const void *key;
    size_t size;
  } wrong[] = {{NULL, "a", 1}, {manager, NULL, 1}, {manager, "a", 0}};
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
    out = one;
    assert_int_equal(rsca_shared_get(wrong[i].manager, wrong[i].key, wrong[i].size, &out), E_INVALIDARG);
    assert_int_equal(out.kind, RSCA_NIL);
    out = one;
    assert_int_equal(rsca_shared_add(wrong[i].manager, wrong[i].key, wrong[i].size, &one, 0, &out), E_INVALIDARG);
    assert_int_equal(out.kind, RSCA_NIL);
    out = one;
    assert_int_equal(rsca_shared_compare_and_set(wrong[i].manager, wrong[i].key, wrong[i].size, &nil, &one, 0, &out),
                     E_INVALIDARG);
    assert_int_equal(out.kind, RSCA_NIL);
    assert_int_equal(rsca_shared_set(wrong[i].manager, wrong[i].key, wrong[i].size, &one, 0), E_INVALIDARG);
    assert_int_equal(rsca_shared_remove(wrong[i].manager, wrong[i].key, wrong[i].size), E_INVALIDARG);
  }
  assert_int_equal(rsca_shared_get(manager, "a", 1, NULL), E_INVALIDARG);
  const rsca_value *const bad[] = {&strange, &no_bytes};
  for (size_t i = 0; i < 2; i++) {
    assert_int_equal(rsca_shared_set(manager, "a", 1, bad[i], 0), E_INVALIDARG);
    assert_int_equal(rsca_shared_compare_and_set(manager, "a", 1, bad[i], &one, 0, NULL), E_INVALIDARG);
    assert_int_equal(rsca_shared_compare_and_set(manager, "a", 1, &nil, bad[i], 0, NULL), E_INVALIDARG);
    assert_int_equal(rsca_shared_add(manager, "a", 1, bad[i], 0, NULL), E_INVALIDARG);
  }
  assert_int_equal(rsca_shared_add(manager, "a", 1, NULL, 0, NULL), E_INVALIDARG);
  assert_int_equal(rsca_shared_add(manager, "a", 1, &text, 0, NULL), E_INVALIDARG);
  assert_int_equal(rsca_shared_add(manager, "a", 1, &nil, 0, NULL), E_INVALIDARG);
  assert_int_equal(rsca_shared_keys(NULL, never_visit, NULL), E_INVALIDARG);
  assert_int_equal(rsca_shared_keys(manager, NULL, NULL), E_INVALIDARG);
  assert_int_equal(get("a", &out), S_FALSE);
}

static void test_where_the_value_is_returned_may_be_null_and_may_not_hold_what_is_compared(void **state) {
  (void)state;
  rsca_value value = rsca_value_integer(1), expected = string("text");
  assert_int_equal(rsca_shared_add(manager, "n", 1, &value, 0, NULL), S_OK);
  assert_int_equal(rsca_shared_add(manager, "n", 1, &value, 0, &value), S_OK);
  assert_int_equal(value.integer, 2);
  assert_int_equal(set("s", string("another text")), S_OK);
  assert_int_equal(rsca_shared_compare_and_set(manager, "s", 1, &expected, &value, 0, NULL), S_FALSE);
  assert_int_equal(rsca_shared_compare_and_set(manager, "s", 1, &expected, &value, 0, &expected), E_INVALIDARG);
  assert_int_equal(expected.kind, RSCA_STRING);
  assert_int_equal(rsca_shared_compare_and_set(manager, "s", 1, &expected, &value, 0, &value), E_INVALIDARG);
  assert_int_equal(rsca_shared_compare_and_set(manager, "new", 3, NULL, &value, 0, NULL), S_OK);
  assert_int_equal(rsca_shared_compare_and_set(manager, "new", 3, &value, NULL, 0, NULL), S_OK);
  assert_int_equal(rsca_shared_remove(manager, "new", 3), S_FALSE);
  assert_int_equal(rsca_shared_set(manager, "s", 1, NULL, 0), S_OK);
  assert_int_equal(rsca_shared_remove(manager, "s", 1), S_FALSE);
}

/* A millisecond is over some time; ten weeks are not. */
static void test_lifetime_is_in_milliseconds_and_0_is_for_ever(void **state) {
  (void)state;
  const uint64_t long_ms = UINT64_C(10) * 7 * 24 * 3600 * 1000;
  rsca_value value = string("x");
  assert_int_equal(rsca_shared_set(manager, "soon", 4, &value, 1), S_OK);
  assert_int_equal(rsca_shared_set(manager, "late", 4, &value, long_ms), S_OK);
  assert_int_equal(rsca_shared_set(manager, "later", 5, &value, UINT64_MAX), S_OK);
  assert_int_equal(rsca_shared_set(manager, "never", 5, &value, 0), S_OK);
  while (get("soon", &value) == S_OK)
    rsca_value_release(&value);
  const char *const there[] = {"late", "later", "never"};
  for (size_t i = 0; i < 3; i++) {
    assert_int_equal(get(there[i], &value), S_OK);
    rsca_value_release(&value);
  }
}

/* "Keys, strings and about 100 bytes more for each key take at most `shared_bytes`." */
static void test_shared_bytes_bounds_what_is_taken(void **state) {
  (void)state;
  enum { LIMIT = 10000 };
  rsca_manager *small = make_manager(&(rsca_config){.shared_bytes = LIMIT});
  char bytes[LIMIT] = {0};
  rsca_value value = rsca_value_string(bytes, LIMIT - 150);
  assert_int_equal(rsca_shared_set(small, "a", 1, &value, 0), S_OK);
  value.size = LIMIT;
  assert_int_equal(rsca_shared_set(small, "a", 1, &value, 0), E_OUTOFMEMORY);
  value.size = 100;
  assert_int_equal(rsca_shared_set(small, "b", 1, &value, 0), E_OUTOFMEMORY);
  assert_int_equal(rsca_shared_remove(small, "a", 1), S_OK);
  uint32_t key = 0;
  value = rsca_value_boolean(true);
  while (rsca_shared_set(small, &key, sizeof key, &value, 0) == S_OK)
    key++;
  assert_in_range(key, LIMIT / 130, LIMIT / 80);
  assert_int_equal(rsca_manager_release(small), 0);
}

typedef struct visited {
  size_t count;
  char text[64];
} visited;

/* "Each is Borrowed for the call, which may call these functions." */
static void visit(void *user, const void *key, size_t size) {
  visited *all = user;
  assert_int_equal(size, 1);
  all->text[all->count++] = *(const char *)key;
  assert_int_equal(rsca_shared_remove(manager, key, size), S_OK);
}

static void test_keys_are_visited_in_order_with_no_lock_held(void **state) {
  (void)state;
  visited all = {0};
  assert_int_equal(set("b", rsca_value_integer(1)), S_OK);
  assert_int_equal(set("c", rsca_value_integer(1)), S_OK);
  assert_int_equal(set("a", rsca_value_integer(1)), S_OK);
  assert_int_equal(rsca_shared_keys(manager, visit, &all), S_OK);
  assert_string_equal(all.text, "abc");
  assert_int_equal(rsca_shared_keys(manager, visit, &all), S_OK);
  assert_int_equal(all.count, 3);
}

/* "Before and after a shutdown." */
static void test_values_are_there_after_a_shutdown(void **state) {
  (void)state;
  rsca_value value;
  assert_int_equal(set("a", string("x")), S_OK);
  assert_int_equal(rsca_manager_shutdown(manager, true), S_OK);
  assert_int_equal(get("a", &value), S_OK);
  rsca_value_release(&value);
  assert_int_equal(set("b", string("x")), S_OK);
}

/* All meet at the first use: one table is made, or others are given back, and no count is lost. */
static gate start;

static void *count_at_once(void *user) {
  const rsca_value one = rsca_value_integer(1);
  gate_pass(&start);
  *(HRESULT *)user = rsca_shared_add(manager, "n", 1, &one, 0, NULL);
  return NULL;
}

static void test_first_use_by_many_threads_makes_one_table(void **state) {
  (void)state;
  enum { THREADS = 4, ROUNDS = 100 };
  for (int round = 0; round < ROUNDS; round++) {
    pthread_t threads[THREADS];
    HRESULT status[THREADS];
    rsca_value sum;
    rsca_manager *outer = manager;
    manager = make_manager(NULL);
    gate_init(&start);
    for (int i = 0; i < THREADS; i++)
      assert_int_equal(pthread_create(&threads[i], NULL, count_at_once, &status[i]), 0);
    for (int i = 0; i < THREADS; i++)
      gate_open(&start);
    for (int i = 0; i < THREADS; i++)
      assert_int_equal(pthread_join(threads[i], NULL), 0);
    for (int i = 0; i < THREADS; i++)
      assert_int_equal(status[i], S_OK);
    assert_int_equal(get("n", &sum), S_OK);
    assert_int_equal(sum.integer, THREADS);
    assert_int_equal(rsca_manager_release(manager), 0);
    manager = outer;
  }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
  static const struct CMUnitTest tests[] = {
      TEST(test_before_anything_is_set_nothing_is_there),
      TEST(test_each_manager_has_its_own),
      TEST(test_misuse_is_e_invalidarg_and_returns_nil),
      TEST(test_where_the_value_is_returned_may_be_null_and_may_not_hold_what_is_compared),
      TEST(test_lifetime_is_in_milliseconds_and_0_is_for_ever),
      TEST(test_shared_bytes_bounds_what_is_taken),
      TEST(test_keys_are_visited_in_order_with_no_lock_held),
      TEST(test_values_are_there_after_a_shutdown),
      TEST(test_first_use_by_many_threads_makes_one_table),
  };
  return cmocka_run_group_tests_name("manager_shared", tests, NULL, NULL);
}
