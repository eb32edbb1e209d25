/*
 * Budgets: what is charged counts in all of them up to the last parent, or in none; allowances charge in blocks.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/budget.h"

static rsci_budget *parent, *budget;

static int set_up(void **state) {
  (void)state;
  parent = rsci_budget_create(100000, NULL);
  budget = rsci_budget_create(50000, parent);
  return parent && budget ? 0 : -1;
}

static int tear_down(void **state) {
  (void)state;
  size_t left = rsci_budget_used(parent) + rsci_budget_used(budget);
  rsci_budget_release(parent); /* its child holds it */
  rsci_budget_release(budget);
  return left == 0 ? 0 : -1;
}

static void assert_used(size_t of_budget, size_t of_parent) {
  assert_int_equal(rsci_budget_used(budget), of_budget);
  assert_int_equal(rsci_budget_used(parent), of_parent);
}

static void test_a_charge_counts_in_the_parent_too(void **state) {
  (void)state;
  assert_true(rsci_budget_charge(budget, 50000));
  assert_used(50000, 50000);
  rsci_budget_discharge(budget, 20000);
  assert_used(30000, 30000);
  rsci_budget_discharge(budget, 30000);
}

static void test_beyond_its_limit_nothing_is_charged(void **state) {
  (void)state;
  assert_true(rsci_budget_charge(budget, 49999));
  assert_false(rsci_budget_charge(budget, 2));
  assert_false(rsci_budget_charge(budget, SIZE_MAX));
  assert_used(49999, 49999);
  assert_true(budget->refused);
  assert_false(parent->refused);
  assert_true(rsci_budget_charge(budget, 1));
  rsci_budget_discharge(budget, 50000);
}

static void test_beyond_that_of_a_parent_nothing_is_charged(void **state) {
  (void)state;
  assert_true(rsci_budget_charge(parent, 90000));
  assert_false(rsci_budget_charge(budget, 10001));
  assert_used(0, 90000);
  assert_true(parent->refused);
  assert_false(budget->refused);
  rsci_budget_discharge(parent, 90000);
}

static void test_none_is_without_end(void **state) {
  (void)state;
  assert_true(rsci_budget_charge(NULL, SIZE_MAX));
  assert_int_equal(rsci_budget_used(NULL), 0);
  rsci_budget_discharge(NULL, SIZE_MAX);
  rsci_budget_hold(NULL);
  rsci_budget_release(NULL);
  rsci_allowance allowance = rsci_allowance_of(NULL);
  assert_true(rsci_allowance_fit(&allowance, SIZE_MAX));
  rsci_allowance_end(&allowance);
}

static void test_an_allowance_charges_at_least_what_fits_and_not_for_each_change(void **state) {
  (void)state;
  rsci_allowance allowance = rsci_allowance_of(budget);
  assert_true(rsci_allowance_fit(&allowance, 10));
  size_t charged = rsci_budget_used(budget);
  assert_true(charged >= 10);
  for (size_t bytes = 0; bytes <= charged; bytes += charged / 8) {
    assert_true(rsci_allowance_fit(&allowance, bytes));
    assert_int_equal(rsci_budget_used(budget), charged);
  }
  assert_true(rsci_allowance_fit(&allowance, 40000));
  assert_true(rsci_budget_used(budget) >= 40000);
  assert_false(rsci_allowance_fit(&allowance, 50001));
  assert_false(rsci_allowance_fit(&allowance, SIZE_MAX));
  assert_true(rsci_allowance_fit(&allowance, 40000)); /* as it was */
  assert_true(rsci_allowance_fit(&allowance, 100));
  assert_true(rsci_budget_used(budget) < 20000);
  rsci_allowance_end(&allowance);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(test_a_charge_counts_in_the_parent_too, set_up, tear_down),
      cmocka_unit_test_setup_teardown(test_beyond_its_limit_nothing_is_charged, set_up, tear_down),
      cmocka_unit_test_setup_teardown(test_beyond_that_of_a_parent_nothing_is_charged, set_up, tear_down),
      cmocka_unit_test_setup_teardown(test_none_is_without_end, set_up, tear_down),
      cmocka_unit_test_setup_teardown(test_an_allowance_charges_at_least_what_fits_and_not_for_each_change, set_up,
                                      tear_down),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
