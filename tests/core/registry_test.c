#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "core/registry.h"

/* An engine that runs nothing and counts what it is told. */
static rsci_runner *runner;
static rsci_engine engine;
static unsigned forgotten, destroyed;
static const rsci_action *last_forgotten;

static void engine_forget(rsci_engine *self, rsci_action *action) {
  assert_ptr_equal(self, &engine);
  last_forgotten = action;
  forgotten++;
}

static void engine_destroy(rsci_engine *self) {
  rsci_engine_fini(self);
  destroyed++;
}

static const rsci_engine_ops engine_ops = {.forget = engine_forget, .destroy = engine_destroy};

static int set_up(void **state) {
  (void)state;
  forgotten = destroyed = 0;
  last_forgotten = NULL;
  runner = rsci_runner_create();
  return runner && rsci_engine_init(&engine, &engine_ops, runner) ? 0 : -1;
}

/* Whoever held the engine has given it back. */
static int tear_down(void **state) {
  (void)state;
  rsci_engine_release(&engine);
  rsci_runner_release(runner);
  return destroyed == 1 ? 0 : -1;
}

static rsci_action *made(const char *name) {
  rsci_action *action = rsci_action_create(&engine, name, "", "", NULL);
  assert_non_null(action);
  return action;
}

static rsci_action *added(rsci_registry *registry, const char *name) {
  rsci_action *action = made(name);
  assert_true(rsci_registry_reserve(registry));
  rsci_registry_put(registry, action);
  return action;
}

static rsci_action *found(const rsci_registry *registry, const char *name) {
  return rsci_registry_find(registry, name, strlen(name));
}

static void empty(rsci_registry *registry) {
  for (rsci_action *action = rsci_registry_take_all(registry), *next; action; action = next) {
    next = action->next;
    rsci_action_free(action);
  }
  rsci_registry_fini(registry);
}

/* "Strings are copied", "with one reference; holds the engine". */
static void test_action_create_copies_strings_and_holds_engine(void **state) {
  (void)state;
  char name[] = "name", help[] = "help", place[] = "x.lua:1";
  rsci_action *action = rsci_action_create(&engine, name, help, place, NULL);
  assert_non_null(action);
  memset(name, '#', 4);
  memset(help, '#', 4);
  memset(place, '#', 7);
  assert_string_equal(action->name, "name");
  assert_string_equal(action->help, "help");
  assert_string_equal(action->place, "x.lua:1");
  assert_int_equal(action->name_size, 4);
  assert_int_equal(action->refs, 1);
  assert_int_equal(rsci_refs_count(&engine.refs), 2);
  rsci_action_free(action);
  assert_int_equal(rsci_refs_count(&engine.refs), 1);
}

static void test_action_free_does_not_tell_the_engine_forget_does(void **state) {
  (void)state;
  rsci_action_free(made("one"));
  assert_int_equal(forgotten, 0);
  rsci_action *action = made("two");
  rsci_action_forget(action);
  assert_int_equal(forgotten, 1);
  assert_ptr_equal(last_forgotten, action);
}

static void test_registry_empty_finds_and_takes_nothing(void **state) {
  (void)state;
  rsci_registry registry = {0};
  assert_null(found(&registry, "a"));
  assert_null(rsci_registry_take(&registry, "a", 1));
  assert_null(rsci_registry_take_all(&registry));
  rsci_registry_fini(&registry);
  /* emptied is as good as empty */
  rsci_action *action = added(&registry, "a");
  assert_ptr_equal(rsci_registry_take(&registry, "a", 1), action);
  rsci_action_free(action);
  assert_null(found(&registry, "a"));
  assert_null(rsci_registry_take_all(&registry));
  rsci_registry_fini(&registry);
}

/* Names that share their start, that fill whole machine words or not, that differ only behind a NUL. */
static void test_registry_names_are_compared_whole(void **state) {
  (void)state;
  static const char *const names[] = {
      "a",        "ab",       "abcdefg",          "abcdefgh",        "abcdefghi", "abcdefgh2",
      "abcdefgX", "Xbcdefgh", "abcdefghabcdefgh", "abcdefghabcdefg", "\xC3\xA9",  "\xC3\xA8",
      "a b",      "A"};
  enum { NAMES = sizeof names / sizeof names[0] };
  rsci_registry registry = {0};
  rsci_action *actions[NAMES];
  for (size_t i = 0; i < NAMES; i++)
    actions[i] = added(&registry, names[i]);
  for (size_t i = 0; i < NAMES; i++)
    assert_ptr_equal(found(&registry, names[i]), actions[i]);
  assert_null(found(&registry, "abc"));
  assert_null(found(&registry, ""));
  assert_null(rsci_registry_find(&registry, "a\0", 2));
  /* a length counts, not a NUL */
  assert_ptr_equal(rsci_registry_find(&registry, "abcdefgh", 2), actions[1]);
  empty(&registry);
}

/* Two names with one hash: forged, as finding such a pair takes too long. */
static void test_registry_names_of_equal_hash_are_told_apart(void **state) {
  (void)state;
  static const char *const names[] = {"xyzzy", "xy", "xyw"};
  rsci_registry registry = {0};
  rsci_action *wanted = made("xyz");
  assert_true(rsci_registry_reserve(&registry));
  for (size_t i = 0; i < 3; i++) {
    rsci_action *other = made(names[i]);
    other->hash = wanted->hash;
    rsci_registry_put(&registry, other);
  }
  assert_null(found(&registry, "xyz"));
  assert_null(rsci_registry_take(&registry, "xyz", 3));
  rsci_registry_put(&registry, wanted);
  rsci_action *last = made("xyv");
  last->hash = wanted->hash;
  rsci_registry_put(&registry, last);
  assert_ptr_equal(found(&registry, "xyz"), wanted);
  assert_ptr_equal(rsci_registry_take(&registry, "xyz", 3), wanted);
  assert_null(found(&registry, "xyz"));
  rsci_action_free(wanted);
  empty(&registry);
}

static void test_registry_taken_is_gone_and_the_others_stay(void **state) {
  (void)state;
  rsci_registry registry = {0};
  rsci_action *first = added(&registry, "first"), *second = added(&registry, "second");
  assert_int_equal(registry.count, 2);
  assert_null(rsci_registry_take(&registry, "third", 5));
  assert_ptr_equal(rsci_registry_take(&registry, "first", 5), first);
  assert_int_equal(registry.count, 1);
  assert_null(found(&registry, "first"));
  assert_null(rsci_registry_take(&registry, "first", 5));
  assert_ptr_equal(found(&registry, "second"), second);
  assert_int_equal(forgotten, 0); /* its reference is the caller's */
  rsci_action_free(first);
  empty(&registry);
}

enum { MANY = 1000 };

static void test_registry_many_are_found_while_it_grows_and_shrinks(void **state) {
  (void)state;
  rsci_registry registry = {0};
  static rsci_action *actions[MANY];
  char name[32];
  for (size_t i = 0; i < MANY; i++) {
    snprintf(name, sizeof name, "action.%zu", i);
    actions[i] = added(&registry, name);
    assert_int_equal(registry.count, i + 1);
    assert_true(registry.bucket_count >= registry.count);
    /* one that was there before the last growth, and the last */
    assert_ptr_equal(found(&registry, actions[i / 2]->name), actions[i / 2]);
    assert_ptr_equal(found(&registry, name), actions[i]);
  }
  for (size_t i = 0; i < MANY; i += 3) {
    assert_ptr_equal(rsci_registry_take(&registry, actions[i]->name, actions[i]->name_size), actions[i]);
    rsci_action_free(actions[i]);
    actions[i] = NULL;
  }
  for (size_t i = 0; i < MANY; i++) {
    snprintf(name, sizeof name, "action.%zu", i);
    assert_ptr_equal(found(&registry, name), actions[i]);
  }
  empty(&registry);
}

static void test_registry_copy_and_take_all_name_each_once(void **state) {
  (void)state;
  rsci_registry registry = {0};
  char name[32];
  for (size_t i = 0; i < 100; i++) {
    snprintf(name, sizeof name, "%zu", i);
    added(&registry, name)->slot = 0;
  }
  rsci_action *copied[100];
  rsci_registry_copy(&registry, copied);
  for (size_t i = 0; i < 100; i++)
    copied[i]->slot++;
  assert_int_equal(registry.count, 100);
  size_t count = 0;
  for (rsci_action *action = rsci_registry_take_all(&registry), *next; action; action = next) {
    next = action->next;
    assert_int_equal(action->slot, 1);
    count++;
    rsci_action_free(action);
  }
  assert_int_equal(count, 100);
  assert_int_equal(registry.count, 0);
  assert_null(found(&registry, "1"));
  /* and it can be filled again */
  rsci_action *again = added(&registry, "1");
  assert_ptr_equal(found(&registry, "1"), again);
  empty(&registry);
}

int main(void) {
  static const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(test_action_create_copies_strings_and_holds_engine, set_up, tear_down),
      cmocka_unit_test_setup_teardown(test_action_free_does_not_tell_the_engine_forget_does, set_up, tear_down),
      cmocka_unit_test_setup_teardown(test_registry_empty_finds_and_takes_nothing, set_up, tear_down),
      cmocka_unit_test_setup_teardown(test_registry_names_are_compared_whole, set_up, tear_down),
      cmocka_unit_test_setup_teardown(test_registry_names_of_equal_hash_are_told_apart, set_up, tear_down),
      cmocka_unit_test_setup_teardown(test_registry_taken_is_gone_and_the_others_stay, set_up, tear_down),
      cmocka_unit_test_setup_teardown(test_registry_many_are_found_while_it_grows_and_shrinks, set_up, tear_down),
      cmocka_unit_test_setup_teardown(test_registry_copy_and_take_all_name_each_once, set_up, tear_down),
  };
  return cmocka_run_group_tests_name("registry", tests, NULL, NULL);
}
