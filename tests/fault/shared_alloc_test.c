/*
 * Shared values while memory runs out: each scenario is repeated with its first, its second, ... its last allocation
 * failing, once alone and once with all that follow. What could not be done has changed nothing, and nothing is leaked.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/manager_shared.h"

/* ---- The allocator: the linker puts it in front of the real one, for this program and our static libraries ---- */

static size_t allocations; /* since the scenario began */
static size_t failed;
static size_t live;          /* allocated and not yet freed */
static size_t fail_at;       /* the allocation that fails, counted from 1; 0: none */
static bool fail_from_there; /* and all that follow */

void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t size);
void *__wrap_realloc(void *old, size_t size);
void __real_free(void *memory);
void __wrap_free(void *memory);

static bool fails(void) {
  size_t number = ++allocations;
  bool now = fail_at > 0 && (number == fail_at || (fail_from_there && number > fail_at));
  failed += now;
  return now;
}

static void *counted(void *memory) {
  live += memory != NULL;
  return memory;
}

void *__wrap_malloc(size_t size) {
  return fails() ? NULL : counted(__real_malloc(size));
}

void *__wrap_calloc(size_t count, size_t size) {
  return fails() ? NULL : counted(__real_calloc(count, size));
}

void *__wrap_realloc(void *old, size_t size) {
  if (fails())
    return NULL;
  void *memory = __real_realloc(old, size);
  return old ? memory : counted(memory);
}

void __wrap_free(void *memory) {
  live -= memory != NULL;
  __real_free(memory);
}

/* ---- Scenarios: each on a manager of its own, which shares nothing yet ---- */

static rsca_manager *manager;
static const char *wrong; /* the first thing that was not as it should be */

static void check(bool condition, const char *what) {
  if (!condition && !wrong)
    wrong = what;
}

/* `at` 0: nothing fails. */
static void run_once(void (*scenario)(void), size_t at, bool from_there) {
  wrong = NULL;
  fail_at = 0;
  size_t live_before = live;
  assert_int_equal(rsca_manager_create(NULL, &manager), S_OK);
  allocations = failed = 0;
  fail_at = at;
  fail_from_there = from_there;
  scenario();
  fail_at = 0;
  (void)rsca_manager_release(manager);
  if (wrong)
    fail_msg("allocation %zu%s failed: %s", at, from_there ? " and all that follow" : "", wrong);
  if (live != live_before)
    fail_msg("allocation %zu%s failed: %zu allocations leaked", at, from_there ? " and all that follow" : "",
             live - live_before);
}

/* Until it runs to its end without reaching the allocation that fails. At least `expected` allocations. */
static void run_with_each_failing(void (*scenario)(void), size_t expected) {
  for (int from_there = 0; from_there <= 1; from_there++) {
    size_t at = 0;
    do
      run_once(scenario, ++at, from_there != 0);
    while (failed > 0);
    assert_true(at > expected);
  }
}

/* An answer that is allowed while memory fails. */
static bool done(HRESULT status) {
  check(status == S_OK || status == E_OUTOFMEMORY, "an answer that is neither S_OK nor E_OUTOFMEMORY");
  check(status == S_OK || failed > 0, "E_OUTOFMEMORY, but no allocation has failed");
  return status == S_OK;
}

/* Whether exactly this is under the key; NULL: nothing. */
static void look(const char *key, const char *expected) {
  rsca_value value;
  HRESULT status = rsca_shared_get(manager, key, strlen(key), &value);
  if (expected)
    check(status == S_OK && value.kind == RSCA_STRING && value.size == strlen(expected) &&
              memcmp(value.bytes, expected, value.size) == 0,
          "another value than was set");
  else
    check(status == S_FALSE, "a value that was not set");
  rsca_value_release(&value);
}

static HRESULT set(const char *key, const char *text, uint64_t lifetime_ms) {
  const rsca_value value = rsca_value_string(text, strlen(text));
  return rsca_shared_set(manager, key, strlen(key), &value, lifetime_ms);
}

static void set_one(void) {
  bool there = done(set("key", "text", 0));
  look("key", there ? "text" : NULL);
  there = done(set("key", "other", 1000000)) || there;
  const char *expected = NULL;
  rsca_value value;
  if (rsca_shared_get(manager, "key", 3, &value) == S_OK)
    expected = value.size == 5 ? "other" : "text";
  rsca_value_release(&value);
  check((expected != NULL) == there, "a value, or none, against what set said");
  look("key", expected);
}

static void test_set_with_failing_memory_changes_nothing(void **state) {
  (void)state;
  run_with_each_failing(set_one, 5); /* table, buckets, entry, strings, timers */
}

/* The value that is there, without an end, stays so where there is no memory for an end. */
static void replace_with_time(void) {
  if (!done(set("key", "text", 0)))
    return;
  const rsca_value other = rsca_value_string("other", 5);
  bool replaced = done(rsci_shared_set(rsci_manager_shared(manager), (rsci_bytes){"key", 3}, &other, 0));
  look("key", replaced ? NULL : "text"); /* the other one's time is over at once */
}

static void test_replacing_with_failing_memory_keeps_value_and_time(void **state) {
  (void)state;
  run_with_each_failing(replace_with_time, 5);
}

enum { MANY = 100 };

static void set_many(void) {
  bool there[MANY];
  char key[16];
  for (int i = 0; i < MANY; i++) {
    snprintf(key, sizeof key, "%d", i);
    there[i] = done(set(key, key, i % 2 ? 0 : 1000000));
  }
  for (int i = 0; i < MANY; i++) {
    snprintf(key, sizeof key, "%d", i);
    look(key, there[i] ? key : NULL);
    check(rsca_shared_remove(manager, key, strlen(key)) == (there[i] ? S_OK : S_FALSE), "remove needed memory");
  }
}

static void test_setting_many_with_failing_memory_loses_none(void **state) {
  (void)state;
  run_with_each_failing(set_many, 2 * MANY);
}

static void add_and_compare(void) {
  const rsca_value one = rsca_value_integer(1), text = rsca_value_string("text", 4);
  rsca_value sum, current;
  if (done(rsca_shared_add(manager, "n", 1, &one, 1000000, &sum))) {
    check(sum.integer == 1, "another sum");
    check(rsca_shared_add(manager, "n", 1, &one, 0, &sum) == S_OK && sum.integer == 2,
          "adding to what is there failed");
    bool set = done(rsca_shared_compare_and_set(manager, "n", 1, &sum, &text, 0, &current));
    check(current.kind == RSCA_NIL, "a current value without need");
    if (set)
      look("n", "text");
    else
      check(rsca_shared_add(manager, "n", 1, &one, 0, &sum) == S_OK && sum.integer == 3, "a failed set changed it");
  } else {
    check(sum.kind == RSCA_NIL, "a sum of a failed add");
    look("n", NULL);
  }
}

static void test_add_and_compare_with_failing_memory_change_nothing(void **state) {
  (void)state;
  run_with_each_failing(add_and_compare, 5);
}

static size_t visits;

static void count_visit(void *user, const void *key, size_t size) {
  (void)user, (void)key, (void)size;
  visits++;
}

static void visit_keys(void) {
  visits = 0;
  size_t there = (size_t)done(set("a", "x", 0)) + (size_t)done(set("b", "y", 0));
  bool visited = done(rsca_shared_keys(manager, count_visit, NULL));
  check(visits == (visited ? there : 0), "visits against what keys said");
}

static void test_keys_with_failing_memory_visit_none(void **state) {
  (void)state;
  run_with_each_failing(visit_keys, 6);
}

int main(void) {
  static const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_set_with_failing_memory_changes_nothing),
      cmocka_unit_test(test_replacing_with_failing_memory_keeps_value_and_time),
      cmocka_unit_test(test_setting_many_with_failing_memory_loses_none),
      cmocka_unit_test(test_add_and_compare_with_failing_memory_change_nothing),
      cmocka_unit_test(test_keys_with_failing_memory_visit_none),
  };
  return cmocka_run_group_tests_name("shared_alloc", tests, NULL, NULL);
}
