#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/timers.h"

static void test_timers_empty_has_nothing_due(void **state) {
  (void)state;
  rsci_timers timers = {0};
  assert_int_equal(rsci_timers_next_ns(&timers), UINT64_MAX);
  assert_null(rsci_timers_take_due(&timers, UINT64_MAX));
  rsci_timers_fini(&timers);
}

static void test_timers_due_now_is_taken_due_later_is_not(void **state) {
  (void)state;
  rsci_timers timers = {0};
  rsci_timer timer = {0};
  assert_true(rsci_timers_add(&timers, &timer, 100));
  assert_int_equal(rsci_timers_next_ns(&timers), 100);
  assert_null(rsci_timers_take_due(&timers, 99));
  assert_ptr_equal(rsci_timers_take_due(&timers, 100), &timer);
  assert_null(rsci_timers_take_due(&timers, UINT64_MAX));
  rsci_timers_fini(&timers);
}

static void test_timers_any_order_in_earliest_first_out(void **state) {
  (void)state;
  static const uint64_t due_ns[] = {5, 3, 9, 1, 7, 0, 8, 2, 6, 4};
  rsci_timers timers = {0};
  rsci_timer set[10] = {{0}};
  for (size_t i = 0; i < 10; i++)
    assert_true(rsci_timers_add(&timers, &set[i], due_ns[i]));
  for (uint64_t expected = 0; expected < 10; expected++) {
    assert_int_equal(rsci_timers_next_ns(&timers), expected);
    rsci_timer *taken = rsci_timers_take_due(&timers, UINT64_MAX);
    assert_non_null(taken);
    assert_int_equal(taken->due_ns, expected);
  }
  rsci_timers_fini(&timers);
}

/* All zero is "not set", and so is a timer that was taken or removed: it can be set again. */
static void test_timers_taken_or_removed_is_not_set(void **state) {
  (void)state;
  rsci_timers timers = {0};
  rsci_timer timer = {0}, other = {0};
  rsci_timers_remove(&timers, &timer); /* harmless on a timer that is not set */
  assert_true(rsci_timers_add(&timers, &timer, 2));
  assert_true(timer.place > 0);
  assert_true(rsci_timers_add(&timers, &other, 1));
  rsci_timers_remove(&timers, &timer);
  assert_int_equal(timer.place, 0);
  rsci_timers_remove(&timers, &timer);
  assert_ptr_equal(rsci_timers_take_due(&timers, 9), &other);
  assert_int_equal(other.place, 0);
  assert_null(rsci_timers_take_due(&timers, 9));
  assert_true(rsci_timers_add(&timers, &timer, 3));
  assert_ptr_equal(rsci_timers_take_due(&timers, 9), &timer);
  rsci_timers_fini(&timers);
}

static void test_timers_fini_with_timers_set_is_empty_and_usable(void **state) {
  (void)state;
  rsci_timers timers = {0};
  rsci_timer first = {0}, second = {0};
  assert_true(rsci_timers_add(&timers, &first, 1));
  rsci_timers_fini(&timers);
  assert_int_equal(rsci_timers_next_ns(&timers), UINT64_MAX);
  assert_true(rsci_timers_add(&timers, &second, 2));
  assert_ptr_equal(rsci_timers_take_due(&timers, 2), &second);
  rsci_timers_fini(&timers);
}

/* Random numbers that are the same on every run and every machine (xorshift64*). */
static uint64_t seed = 7;

static uint32_t below(uint32_t limit) {
  seed ^= seed >> 12;
  seed ^= seed << 25;
  seed ^= seed >> 27;
  return (uint32_t)((seed * UINT64_C(0x2545F4914F6CDD1D) >> 32) % limit);
}

enum { TIMERS = 200 };

static uint64_t naive_next(const rsci_timer *set, const bool *is_set) {
  uint64_t next_ns = UINT64_MAX;
  for (size_t i = 0; i < TIMERS; i++)
    if (is_set[i] && set[i].due_ns < next_ns)
      next_ns = set[i].due_ns;
  return next_ns;
}

/* Against a search through all. Few different times: ties are common. */
static void test_timers_random_use_agrees_with_search(void **state) {
  (void)state;
  rsci_timers timers = {0};
  rsci_timer set[TIMERS] = {{0}};
  bool is_set[TIMERS] = {false};
  for (unsigned round = 0; round < 20000; round++) {
    uint32_t at = below(TIMERS);
    if (!is_set[at]) {
      assert_true(rsci_timers_add(&timers, &set[at], below(64)));
      is_set[at] = true;
    } else if (below(2) == 0) {
      rsci_timers_remove(&timers, &set[at]);
      is_set[at] = false;
    } else {
      uint64_t now_ns = below(64);
      uint64_t next_ns = naive_next(set, is_set);
      rsci_timer *taken = rsci_timers_take_due(&timers, now_ns);
      if (next_ns > now_ns) {
        assert_null(taken);
      } else {
        assert_non_null(taken);
        assert_int_equal(taken->due_ns, next_ns);
        assert_true(is_set[taken - set]);
        is_set[taken - set] = false;
      }
    }
    assert_int_equal(rsci_timers_next_ns(&timers), naive_next(set, is_set));
  }
  rsci_timers_fini(&timers);
}

int main(void) {
  static const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_timers_empty_has_nothing_due),
      cmocka_unit_test(test_timers_due_now_is_taken_due_later_is_not),
      cmocka_unit_test(test_timers_any_order_in_earliest_first_out),
      cmocka_unit_test(test_timers_taken_or_removed_is_not_set),
      cmocka_unit_test(test_timers_fini_with_timers_set_is_empty_and_usable),
      cmocka_unit_test(test_timers_random_use_agrees_with_search),
  };
  return cmocka_run_group_tests_name("timers", tests, NULL, NULL);
}
