/*
 * The manager as a host in C uses it: names, refusals, limits, numbers, stepping and references.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rsca/protocol_manager.h>

#include "client.h"

static rsca_manager *manager;
static obedient action; /* registered as "act" */
static outcome heard;

static int set_up(void **state) {
  (void)state;
  memset(&action, 0, sizeof action);
  memset(&heard, 0, sizeof heard);
  manager = make_manager(NULL);
  return register_obedient(manager, "act", &action) == S_OK ? 0 : -1;
}

static int tear_down(void **state) {
  (void)state;
  return rsca_manager_release(manager) == 0 && atomic_load(&action.freed) == 1 ? 0 : -1;
}

static rsca_manager_stats stats_of(rsca_manager *of) {
  rsca_manager_stats stats;
  memset(&stats, 0xAA, sizeof stats);
  rsca_manager_get_stats(of, &stats);
  return stats;
}

/* ---- Making one ---- */

static void test_create_without_a_place_for_it_is_e_invalidarg(void **state) {
  (void)state;
  assert_int_equal(rsca_manager_create(NULL, NULL), E_INVALIDARG);
}

static void test_create_with_more_than_1024_workers_is_e_invalidarg_and_null(void **state) {
  (void)state;
  rsca_manager *none = manager;
  assert_int_equal(rsca_manager_create(&(rsca_config){.workers = 1025}, &none), E_INVALIDARG);
  assert_null(none);
}

static void never_visit(void *user, const rsca_call_info *call) {
  (void)user;
  (void)call;
  fail();
}

static void test_null_manager_is_e_invalidarg(void **state) {
  (void)state;
  assert_int_equal(rsca_manager_register(NULL, "a", NULL, obey, NULL, NULL), E_INVALIDARG);
  assert_int_equal(rsca_manager_unregister(NULL, "a"), E_INVALIDARG);
  assert_int_equal(submit(NULL, "a", "", &heard, NULL), E_INVALIDARG);
  assert_int_equal(rsca_manager_shutdown(NULL, true), E_INVALIDARG);
  assert_int_equal(rsca_manager_step(NULL, 0), E_INVALIDARG);
  assert_int_equal(rsca_manager_running(NULL, never_visit, NULL), E_INVALIDARG);
  assert_int_equal(rsca_manager_cut_calls(NULL, never_visit, NULL), E_INVALIDARG);
  assert_int_equal(rsca_call_report(NULL, "", 0), E_INVALIDARG);
  assert_int_equal(rsca_call_finish(NULL, S_OK, "", 0), E_INVALIDARG);
  assert_int_equal(rsca_manager_release(NULL), 0); /* does nothing */
  assert_int_equal(atomic_load(&heard.reports), 0);
}

static void test_null_is_0_or_null_where_no_hresult_is_returned(void **state) {
  (void)state;
  assert_int_equal(rsca_manager_add_ref(NULL), 0);
  assert_int_equal(rsca_manager_release(NULL), 0);
  assert_int_equal(rsca_manager_fd(NULL), -1);
  assert_int_equal(rsca_manager_timeout_ms(NULL), -1);
  assert_null(rsca_manager_custom_actions(NULL));
  assert_null(rsca_manager_custom_actions2(NULL));
  assert_null(rsca_manager_protocol_manager(NULL));
  assert_null(rsca_manager_health_monitor(NULL));
  rsca_manager_stats stats = {.accepted = 1};
  rsca_manager_get_stats(NULL, &stats);
  assert_int_equal(stats.accepted, 0);
  rsca_manager_get_stats(manager, NULL);
  assert_int_equal(rsca_call_id(NULL), 0);
  assert_null(rsca_call_name(NULL));
  assert_false(rsca_call_cancelled(NULL));
  assert_int_equal(rsca_call_report(NULL, "x", 1), E_INVALIDARG);
  assert_int_equal(rsca_call_finish(NULL, S_OK, NULL, 0), E_INVALIDARG);
}

/* ---- Registering actions ---- */

static void test_register_refuses_what_is_no_action_and_leaves_user_alone(void **state) {
  (void)state;
  obedient own = {.status = S_OK};
  assert_int_equal(rsca_manager_register(manager, NULL, NULL, obey, &own, free_obedient), E_INVALIDARG);
  assert_int_equal(rsca_manager_register(manager, "", NULL, obey, &own, free_obedient), E_INVALIDARG);
  assert_int_equal(rsca_manager_register(manager, "own", NULL, NULL, &own, free_obedient), E_INVALIDARG);
  assert_int_equal(rsca_manager_register(manager, "\xFF", NULL, obey, &own, free_obedient),
                   RSCA_E_NO_UNICODE_TRANSLATION);
  assert_int_equal(rsca_manager_register(manager, "\xED\xA0\x80", NULL, obey, &own, free_obedient),
                   RSCA_E_NO_UNICODE_TRANSLATION);
  assert_int_equal(rsca_manager_register(manager, "own", "\xC0\x80", obey, &own, free_obedient),
                   RSCA_E_NO_UNICODE_TRANSLATION);
  assert_int_equal(stats_of(manager).actions, 1);
  assert_int_equal(rsca_manager_shutdown(manager, true), S_OK);
  assert_int_equal(rsca_manager_register(manager, "own", NULL, obey, &own, free_obedient), RSCA_E_SHUTDOWN_IN_PROGRESS);
  assert_int_equal(atomic_load(&own.freed), 0);
}

static void test_register_copies_name_and_help(void **state) {
  (void)state;
  char name[] = "copied";
  obedient own = {.echo = true};
  assert_int_equal(register_obedient(manager, name, &own), S_OK);
  memset(name, '#', sizeof name - 1);
  assert_int_equal(submit(manager, "copied", "x", &heard, NULL), S_OK);
  assert_int_equal(submit(manager, name, "x", &heard, NULL), RSCA_E_NOT_FOUND);
  step_all(manager);
  assert_true(ended_with(&heard, S_OK, "x", 1));
  assert_int_equal(rsca_manager_unregister(manager, "copied"), S_OK);
  assert_int_equal(atomic_load(&own.freed), 1);
}

static void test_register_without_free_user_is_fine(void **state) {
  (void)state;
  obedient own = {.echo = true};
  assert_int_equal(rsca_manager_register(manager, "own", NULL, obey, &own, NULL), S_OK);
  assert_int_equal(rsca_manager_register(manager, "own", NULL, obey, &own, NULL), S_OK);
  assert_int_equal(rsca_manager_unregister(manager, "own"), S_OK);
}

static void test_register_in_place_of_another_frees_that_ones_user(void **state) {
  (void)state;
  obedient own = {.bytes = "new", .size = 3};
  assert_int_equal(register_obedient(manager, "act", &own), S_OK);
  assert_int_equal(atomic_load(&action.freed), 1);
  assert_int_equal(stats_of(manager).actions, 1);
  assert_int_equal(submit(manager, "act", "", &heard, NULL), S_OK);
  step_all(manager);
  assert_true(ended_with(&heard, S_OK, "new", 3));
  assert_int_equal(rsca_manager_unregister(manager, "act"), S_OK);
  assert_int_equal(atomic_load(&own.freed), 1);
}

static void test_unregister_refuses_what_is_not_there(void **state) {
  (void)state;
  assert_int_equal(rsca_manager_unregister(manager, NULL), E_INVALIDARG);
  assert_int_equal(rsca_manager_unregister(manager, ""), E_INVALIDARG);
  assert_int_equal(rsca_manager_unregister(manager, "nobody"), RSCA_E_NOT_FOUND);
  assert_int_equal(rsca_manager_unregister(manager, "ac"), RSCA_E_NOT_FOUND);
  assert_int_equal(rsca_manager_unregister(manager, "act"), S_OK);
  assert_int_equal(rsca_manager_unregister(manager, "act"), RSCA_E_NOT_FOUND);
  assert_int_equal(atomic_load(&action.freed), 1);
}

/* free_user runs with no lock held: it may call back into the manager. */
static void look_around(void *user) {
  obedient *own = user;
  rsca_manager_stats stats;
  rsca_manager_get_stats(manager, &stats);
  (void)rsca_manager_unregister(manager, "nobody");
  atomic_fetch_add(&own->freed, 1);
}

static void test_free_user_may_call_the_manager(void **state) {
  (void)state;
  obedient own = {.status = S_OK};
  assert_int_equal(rsca_manager_register(manager, "own", NULL, obey, &own, look_around), S_OK);
  assert_int_equal(rsca_manager_unregister(manager, "own"), S_OK);
  assert_int_equal(atomic_load(&own.freed), 1);
  assert_int_equal(rsca_manager_register(manager, "own", NULL, obey, &own, look_around), S_OK);
  assert_int_equal(submit(manager, "own", "", &heard, NULL), S_OK);
  assert_int_equal(rsca_manager_unregister(manager, "own"), S_OK);
  step_all(manager);
  assert_int_equal(atomic_load(&own.freed), 2);
}

/* ---- Listing ---- */

typedef struct listed {
  char text[512];
  unsigned visits;
  bool unregister;
} listed;

static void append_info(void *user, const rsca_action_info *info) {
  listed *all = user;
  size_t used = strlen(all->text);
  snprintf(all->text + used, sizeof all->text - used, "%s|%s|%s\n", info->name, info->help, info->place);
  all->visits++;
  if (all->unregister)
    (void)rsca_manager_unregister(manager, info->name);
}

/* "Calls `visit` for each action, ordered by name"; "" where there is no help, "[C]" for what is written in C. */
static void test_list_visits_each_action_ordered_by_name(void **state) {
  (void)state;
  static const char *const names[] = {"b", "a", "ab", "\xC3\xA9", "B", "a.b", "a/b", "z", "c1", "c10", "c2"};
  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
    assert_int_equal(rsca_manager_register(manager, names[i], i % 2 ? "says" : NULL, obey, NULL, NULL), S_OK);
  listed all = {.visits = 0};
  assert_int_equal(rsca_manager_list(manager, append_info, &all), S_OK);
  assert_string_equal(all.text, "B||[C]\na|says|[C]\na.b|says|[C]\na/b||[C]\nab||[C]\nact||[C]\nb||[C]\nc1||[C]\n"
                                "c10|says|[C]\nc2||[C]\nz|says|[C]\n\xC3\xA9|says|[C]\n");
}

static void test_list_of_nothing_visits_nothing(void **state) {
  (void)state;
  listed all = {.visits = 0};
  assert_int_equal(rsca_manager_unregister(manager, "act"), S_OK);
  assert_int_equal(rsca_manager_list(manager, append_info, &all), S_OK);
  assert_int_equal(all.visits, 0);
  assert_int_equal(rsca_manager_list(NULL, append_info, &all), E_INVALIDARG);
  assert_int_equal(rsca_manager_list(manager, NULL, &all), E_INVALIDARG);
}

/* The names of the moment: a visit may take them away. */
static void test_list_whose_visits_unregister_visits_all_the_same(void **state) {
  (void)state;
  char name[16];
  for (unsigned i = 0; i < 20; i++) {
    snprintf(name, sizeof name, "n%u", i);
    assert_int_equal(rsca_manager_register(manager, name, NULL, obey, NULL, NULL), S_OK);
  }
  listed all = {.unregister = true};
  assert_int_equal(rsca_manager_list(manager, append_info, &all), S_OK);
  assert_int_equal(all.visits, 21);
  assert_int_equal(stats_of(manager).actions, 0);
  assert_int_equal(atomic_load(&action.freed), 1);
}

/* ---- Accepted or refused: the table, as far as C reaches it ---- */

static void expect_refused(HRESULT expected, const char *name, const char *args) {
  uint64_t id = 7;
  assert_int_equal(submit(manager, name, args, &heard, &id), expected);
  assert_int_equal(id, 0); /* "on failure 0" */
  step_all(manager);
  assert_int_equal(atomic_load(&heard.reports), 0);
}

static void test_run_with_null_or_empty_is_e_invalidarg(void **state) {
  (void)state;
  expect_refused(E_INVALIDARG, NULL, "");
  expect_refused(E_INVALIDARG, "", "");
  uint64_t id = 7;
  assert_int_equal(rsca_manager_run(manager, "act", "", NULL, &heard, &id), E_INVALIDARG);
  assert_int_equal(id, 0);
  assert_int_equal(stats_of(manager).accepted, 0);
}

static void test_run_with_malformed_text_is_no_unicode_translation(void **state) {
  (void)state;
  static const char *const malformed[] = {"act\xFF", "\xC0\x80", "\xED\xB0\x80", "\xF4\x90\x80\x80", "\xE2\x82"};
  for (size_t i = 0; i < sizeof malformed / sizeof malformed[0]; i++) {
    expect_refused(RSCA_E_NO_UNICODE_TRANSLATION, malformed[i], "");
    expect_refused(RSCA_E_NO_UNICODE_TRANSLATION, "act", malformed[i]);
  }
  assert_int_equal(atomic_load(&action.runs), 0);
}

static void test_run_of_an_unknown_name_is_not_found(void **state) {
  (void)state;
  static const char *const unknown[] = {"ac", "act ", "Act", "nobody"};
  for (size_t i = 0; i < sizeof unknown / sizeof unknown[0]; i++) {
    expect_refused(RSCA_E_NOT_FOUND, unknown[i], "");
  }
}

static void test_run_after_shutdown_is_shutdown_in_progress(void **state) {
  (void)state;
  assert_int_equal(rsca_manager_shutdown(manager, false), S_OK);
  expect_refused(RSCA_E_SHUTDOWN_IN_PROGRESS, "act", "");
  assert_int_equal(rsca_manager_shutdown(manager, true), S_OK);
  expect_refused(RSCA_E_SHUTDOWN_IN_PROGRESS, "act", "");
}

static void remake(const rsca_config *config) {
  (void)rsca_manager_release(manager);
  atomic_store(&action.freed, 0);
  manager = make_manager(config);
  if (register_obedient(manager, "act", &action) != S_OK)
    abort();
}

/* "Calls accepted and not yet ended": one that ends makes room, before its callback is called. */
static void test_run_beyond_the_queue_limit_is_busy_until_one_ends(void **state) {
  (void)state;
  remake(&(rsca_config){.queue_limit = 3});
  outcome accepted[3] = {{.status = S_OK}};
  for (size_t i = 0; i < 3; i++)
    assert_int_equal(submit(manager, "act", "", &accepted[i], NULL), S_OK);
  uint64_t id = 7;
  assert_int_equal(submit(manager, "act", "", &heard, &id), RSCA_E_BUSY);
  assert_int_equal(id, 0);
  assert_int_equal(rsca_manager_step(manager, 1), S_OK);
  assert_int_equal(atomic_load(&accepted[0].reports), 1);
  outcome fourth = {.status = S_OK};
  assert_int_equal(submit(manager, "act", "", &fourth, NULL), S_OK);
  assert_int_equal(submit(manager, "act", "", &heard, NULL), RSCA_E_BUSY);
  step_all(manager);
  for (size_t i = 0; i < 3; i++)
    assert_true(ended_with(&accepted[i], S_OK, NULL, 0));
  assert_true(ended_with(&fourth, S_OK, NULL, 0));
  assert_int_equal(atomic_load(&heard.reports), 0);
}

/* A call that waits counts as well. */
static void test_run_beyond_the_queue_limit_counts_pending_calls(void **state) {
  (void)state;
  remake(&(rsca_config){.queue_limit = 1});
  outcome pending = {.status = S_OK};
  action.status = E_PENDING;
  assert_int_equal(submit(manager, "act", "", &pending, NULL), S_OK);
  step_all(manager);
  assert_int_equal(submit(manager, "act", "", &heard, NULL), RSCA_E_BUSY);
  assert_int_equal(rsca_call_finish(action.call, S_OK, NULL, 0), S_OK);
  assert_int_equal(submit(manager, "act", "", &heard, NULL), RSCA_E_BUSY); /* it has not ended yet */
  step_all(manager);
  assert_int_equal(atomic_load(&heard.reports), 0);
  action.status = S_OK;
  assert_int_equal(submit(manager, "act", "", &heard, NULL), S_OK);
  step_all(manager);
  assert_true(ended_with(&heard, S_OK, NULL, 0));
}

static void test_run_beyond_the_queue_bytes_is_busy_until_one_ends(void **state) {
  (void)state;
  remake(&(rsca_config){.queue_bytes = 10});
  outcome first = {.status = S_OK}, second = {.status = S_OK}, none = {.status = S_OK};
  assert_int_equal(submit(manager, "act", "12345678901", &heard, NULL), RSCA_E_BUSY); /* too large at any time */
  assert_int_equal(submit(manager, "act", "123456", &first, NULL), S_OK);
  assert_int_equal(submit(manager, "act", "12345", &heard, NULL), RSCA_E_BUSY);
  assert_int_equal(submit(manager, "act", "1234", &second, NULL), S_OK); /* exactly full */
  assert_int_equal(submit(manager, "act", "1", &heard, NULL), RSCA_E_BUSY);
  assert_int_equal(submit(manager, "act", "", &none, NULL), S_OK); /* takes no bytes */
  assert_int_equal(stats_of(manager).queued_bytes, 10);
  assert_int_equal(rsca_manager_step(manager, 1), S_OK);
  assert_int_equal(stats_of(manager).queued_bytes, 4);
  assert_int_equal(submit(manager, "act", "1234567", &heard, NULL), RSCA_E_BUSY);
  step_all(manager);
  assert_int_equal(stats_of(manager).queued_bytes, 0);
  assert_int_equal(atomic_load(&heard.reports), 0);
  assert_int_equal(submit(manager, "act", "1234567890", &heard, NULL), S_OK);
  step_all(manager);
  assert_int_equal(atomic_load(&heard.reports), 1);
}

/* "A zero in a field means the value in brackets." */
static void test_config_of_zeros_has_the_documented_limits(void **state) {
  (void)state;
  remake(&(rsca_config){.queue_limit = 0});
  static outcome many[4096];
  memset(many, 0, sizeof many);
  for (size_t i = 0; i < 4096; i++)
    assert_int_equal(submit(manager, "act", "", &many[i], NULL), S_OK);
  assert_int_equal(submit(manager, "act", "", &heard, NULL), RSCA_E_BUSY);
  step_all(manager);
  for (size_t i = 0; i < 4096; i++)
    assert_true(ended_with(&many[i], S_OK, NULL, 0));
  size_t size = (size_t)64 << 20;
  char *large = malloc(size + 2);
  assert_non_null(large);
  memset(large, 'x', size + 1);
  large[size + 1] = '\0';
  assert_int_equal(submit(manager, "act", large, &heard, NULL), RSCA_E_BUSY);
  large[size] = '\0';
  assert_int_equal(submit(manager, "act", large, &heard, NULL), S_OK);
  free(large);
  assert_int_equal(stats_of(manager).queued_bytes, size);
  step_all(manager);
  assert_int_equal(action.args_size, size);
}

/* ---- From inside, and from several threads ---- */

typedef struct nested {
  outcome heard;
  HRESULT status;
} nested;

static void run_from_action(obedient *self, void *user) {
  nested *inner = user;
  self->inside = NULL;
  inner->status = submit(manager, "act", "inner", &inner->heard, NULL);
}

/* Accepted from inside an action; run in the next step, so that a step comes to an end. */
static void test_run_inside_an_action_is_queued_for_the_next_step(void **state) {
  (void)state;
  nested inner = {.status = E_FAIL};
  action.inside = run_from_action;
  action.user = &inner;
  action.echo = true;
  assert_int_equal(submit(manager, "act", "outer", &heard, NULL), S_OK);
  assert_int_equal(rsca_manager_step(manager, 0), S_OK);
  assert_true(ended_with(&heard, S_OK, "outer", 5));
  assert_int_equal(inner.status, S_OK);
  assert_int_equal(atomic_load(&inner.heard.reports), 0);
  assert_int_equal(rsca_manager_step(manager, 0), S_OK);
  assert_true(ended_with(&inner.heard, S_OK, "inner", 5));
}

enum { CHAIN = 50 };

typedef struct chain {
  outcome links[CHAIN];
  size_t last;
  HRESULT failed;
} chain;

static void run_next_link(void *user) {
  chain *self = user;
  if (self->last + 1 == CHAIN)
    return;
  outcome *next = &self->links[++self->last];
  next->inside = run_next_link;
  next->user = self;
  HRESULT status = submit(manager, "act", "", next, NULL);
  if (status != S_OK)
    self->failed = status;
}

/* With a queue of one: the call that is being told has given up its place already. */
static void test_run_inside_a_callback_is_accepted_with_a_queue_of_one(void **state) {
  (void)state;
  remake(&(rsca_config){.queue_limit = 1, .queue_bytes = 1});
  static chain self;
  memset(&self, 0, sizeof self);
  self.links[0].inside = run_next_link;
  self.links[0].user = &self;
  assert_int_equal(submit(manager, "act", "x", &self.links[0], NULL), S_OK);
  assert_int_equal(step_all(manager), CHAIN);
  assert_int_equal(self.failed, S_OK);
  for (size_t i = 0; i < CHAIN; i++) {
    assert_true(ended_with(&self.links[i], S_OK, NULL, 0));
    assert_int_equal(self.links[i].depth, 0);
  }
}

enum { CALLERS = 4, CALLS = 3000 };

typedef struct caller {
  outcome heard[CALLS];
  HRESULT status[CALLS];
} caller;

static atomic_uint callers_left;

static void *call_often(void *user) {
  caller *self = user;
  char args[32];
  for (unsigned i = 0; i < CALLS; i++) {
    snprintf(args, sizeof args, "%u", i);
    self->status[i] = submit(manager, "act", args, &self->heard[i], NULL);
    memset(args, '#', sizeof args - 1);
  }
  atomic_fetch_sub(&callers_left, 1);
  return NULL;
}

/* From several threads at once, with a queue that is often full: accepted == ended, each exactly once, refused never.
 */
static void test_run_from_several_threads_ends_each_accepted_call_once(void **state) {
  (void)state;
  remake(&(rsca_config){.queue_limit = 64});
  action.echo = true;
  static caller callers[CALLERS];
  memset(callers, 0, sizeof callers);
  pthread_t threads[CALLERS];
  atomic_store(&callers_left, CALLERS);
  for (size_t i = 0; i < CALLERS; i++)
    assert_int_equal(pthread_create(&threads[i], NULL, call_often, &callers[i]), 0);
  while (atomic_load(&callers_left) > 0)
    (void)rsca_manager_step(manager, 0);
  for (size_t i = 0; i < CALLERS; i++)
    assert_int_equal(pthread_join(threads[i], NULL), 0);
  step_all(manager);
  unsigned accepted = 0;
  for (size_t i = 0; i < CALLERS; i++) {
    for (unsigned k = 0; k < CALLS; k++) {
      char args[32];
      int size = snprintf(args, sizeof args, "%u", k);
      if (callers[i].status[k] == S_OK) {
        accepted++;
        assert_int_equal(atomic_load(&callers[i].heard[k].reports), 1);
        assert_int_equal(callers[i].heard[k].hash, client_hash(args, (size_t)size));
        assert_true(pthread_equal(callers[i].heard[k].thread, pthread_self()));
      } else {
        assert_int_equal(callers[i].status[k], RSCA_E_BUSY);
        assert_int_equal(atomic_load(&callers[i].heard[k].reports), 0);
      }
    }
  }
  rsca_manager_stats stats = stats_of(manager);
  assert_true(accepted > 0);
  assert_int_equal(stats.accepted, accepted);
  assert_int_equal(stats.ended, accepted);
  assert_int_equal(stats.queued_bytes, 0);
  assert_int_equal(atomic_load(&action.runs), accepted);
}

enum { REGISTRARS = 3, ROUNDS = 500 };

static atomic_uint users_made, users_freed;

static void count_freed(void *user) {
  (void)user;
  atomic_fetch_add(&users_freed, 1);
}

static HRESULT answer_at_once(void *user, rsca_call *call, const char *args, size_t size) {
  (void)user, (void)call, (void)args, (void)size;
  return S_OK;
}

static void *register_often(void *user) {
  outcome *own = user;
  for (unsigned i = 0; i < ROUNDS; i++) {
    if (rsca_manager_register(manager, "shared", NULL, answer_at_once, NULL, count_freed) == S_OK)
      atomic_fetch_add(&users_made, 1);
    (void)submit(manager, "shared", "", &own[i], NULL);
    if (i % 5 == 0)
      (void)rsca_manager_unregister(manager, "shared");
  }
  atomic_fetch_sub(&callers_left, 1);
  return NULL;
}

static void test_register_from_several_threads_frees_each_user_once(void **state) {
  (void)state;
  static outcome own[REGISTRARS][ROUNDS];
  memset(own, 0, sizeof own);
  atomic_store(&users_made, 0);
  atomic_store(&users_freed, 0);
  atomic_store(&callers_left, REGISTRARS);
  pthread_t threads[REGISTRARS];
  for (size_t i = 0; i < REGISTRARS; i++)
    assert_int_equal(pthread_create(&threads[i], NULL, register_often, own[i]), 0);
  while (atomic_load(&callers_left) > 0)
    (void)rsca_manager_step(manager, 0);
  for (size_t i = 0; i < REGISTRARS; i++)
    assert_int_equal(pthread_join(threads[i], NULL), 0);
  step_all(manager);
  (void)rsca_manager_unregister(manager, "shared");
  assert_int_equal(atomic_load(&users_made), REGISTRARS * ROUNDS);
  assert_int_equal(atomic_load(&users_freed), atomic_load(&users_made));
  rsca_manager_stats stats = stats_of(manager);
  assert_int_equal(stats.accepted, stats.ended);
}

/* ---- Numbers ---- */

static void test_stats_follow_what_happens(void **state) {
  (void)state;
  rsca_manager_stats stats = stats_of(manager);
  assert_int_equal(stats.accepted, 0);
  assert_int_equal(stats.ended, 0);
  assert_int_equal(stats.failed_callback, 0);
  assert_int_equal(stats.actions, 1);
  assert_int_equal(stats.queued_bytes, 0);
  outcome other = {.status = S_OK};
  uint64_t id;
  assert_int_equal(submit(manager, "act", "12345", &heard, NULL), S_OK);
  assert_int_equal(submit(manager, "act", "123", &other, &id), S_OK);
  assert_int_equal(submit(manager, "nobody", "123", &other, NULL), RSCA_E_NOT_FOUND);
  stats = stats_of(manager);
  assert_int_equal(stats.accepted, 2);
  assert_int_equal(stats.ended, 0);
  assert_int_equal(stats.queued_bytes, 8);
  assert_int_equal(rsca_manager_cancel(manager, id, 0), S_OK);
  step_all(manager);
  stats = stats_of(manager);
  assert_int_equal(stats.accepted, 2);
  assert_int_equal(stats.ended, 2);
  assert_int_equal(stats.queued_bytes, 0);
  assert_int_equal(rsca_manager_register(manager, "b", NULL, obey, NULL, NULL), S_OK);
  assert_int_equal(stats_of(manager).actions, 2);
  assert_int_equal(rsca_manager_unregister(manager, "b"), S_OK);
  assert_int_equal(stats_of(manager).actions, 1);
}

static void look_at_stats(void *user) {
  *(rsca_manager_stats *)user = stats_of(manager);
}

/* A call counts as ended from before its callback is called. */
static void test_stats_inside_a_callback_count_the_call_as_ended(void **state) {
  (void)state;
  rsca_manager_stats inside;
  heard.inside = look_at_stats;
  heard.user = &inside;
  assert_int_equal(submit(manager, "act", "123", &heard, NULL), S_OK);
  step_all(manager);
  assert_int_equal(inside.accepted, 1);
  assert_int_equal(inside.ended, 1);
  assert_int_equal(inside.queued_bytes, 0);
}

/* ---- Stepping ---- */

static void test_step_says_whether_something_was_run(void **state) {
  (void)state;
  assert_int_equal(rsca_manager_step(manager, 0), S_FALSE);
  assert_int_equal(submit(manager, "act", "", &heard, NULL), S_OK);
  assert_int_equal(rsca_manager_step(manager, 0), S_OK);
  assert_int_equal(rsca_manager_step(manager, 0), S_FALSE);
}

/* "How many pieces of work at most"; "while something is left the descriptor stays readable". */
static void test_step_with_a_budget_leaves_the_descriptor_readable(void **state) {
  (void)state;
  int fd = rsca_manager_fd(manager);
  assert_true(fd >= 0);
  assert_false(is_readable(fd));
  outcome calls[5] = {{.status = S_OK}};
  for (size_t i = 0; i < 5; i++)
    assert_int_equal(submit(manager, "act", "", &calls[i], NULL), S_OK);
  for (size_t told = 0; told < 5;) {
    assert_true(is_readable(fd));
    assert_int_equal(rsca_manager_timeout_ms(manager), 0);
    assert_int_equal(rsca_manager_step(manager, 2), S_OK);
    size_t now = 0;
    for (size_t i = 0; i < 5; i++)
      now += atomic_load(&calls[i].reports);
    assert_true(now > told && now <= told + 2);
    assert_int_equal(atomic_load(&calls[now - 1].reports), 1); /* in their order */
    told = now;
  }
  assert_false(is_readable(fd));
  assert_int_equal(rsca_manager_timeout_ms(manager), -1);
}

static void test_fd_asked_for_after_a_run_is_readable(void **state) {
  (void)state;
  assert_int_equal(submit(manager, "act", "", &heard, NULL), S_OK);
  int fd = rsca_manager_fd(manager);
  assert_true(is_readable(fd));
  assert_int_equal(rsca_manager_fd(manager), fd);
  step_all(manager);
  assert_false(is_readable(fd));
}

static void step_from_action(obedient *self, void *user) {
  (void)self;
  *(HRESULT *)user = rsca_manager_step(manager, 0);
}

static void step_from_callback(void *user) {
  *(HRESULT *)user = rsca_manager_step(manager, 0);
}

/* "A step is on already, further up this stack or on another thread." */
static void test_step_inside_a_step_is_possible_deadlock(void **state) {
  (void)state;
  HRESULT from_action = S_OK, from_callback = S_OK;
  action.inside = step_from_action;
  action.user = &from_action;
  heard.inside = step_from_callback;
  heard.user = &from_callback;
  assert_int_equal(submit(manager, "act", "", &heard, NULL), S_OK);
  assert_int_equal(rsca_manager_step(manager, 0), S_OK);
  assert_int_equal(from_action, RSCA_E_POSSIBLE_DEADLOCK);
  assert_int_equal(from_callback, RSCA_E_POSSIBLE_DEADLOCK);
}

static void *step_there(void *user) {
  *(HRESULT *)user = rsca_manager_step(manager, 0);
  return NULL;
}

static void step_elsewhere_from_action(obedient *self, void *user) {
  (void)self;
  on_another_thread(step_there, user);
}

static void test_step_while_another_thread_steps_is_possible_deadlock(void **state) {
  (void)state;
  HRESULT elsewhere = S_OK;
  action.inside = step_elsewhere_from_action;
  action.user = &elsewhere;
  assert_int_equal(submit(manager, "act", "", &heard, NULL), S_OK);
  assert_int_equal(rsca_manager_step(manager, 0), S_OK);
  assert_int_equal(elsewhere, RSCA_E_POSSIBLE_DEADLOCK);
  assert_true(ended_with(&heard, S_OK, NULL, 0));
}

/* "Callbacks and actions run on the thread that steps", whichever that is this time. */
static void test_step_on_another_thread_runs_actions_and_callbacks_there(void **state) {
  (void)state;
  HRESULT status = E_FAIL;
  assert_int_equal(submit(manager, "act", "", &heard, NULL), S_OK);
  on_another_thread(step_there, &status);
  assert_int_equal(status, S_OK);
  assert_true(ended_with(&heard, S_OK, NULL, 0));
  assert_false(pthread_equal(heard.thread, pthread_self()));
  assert_true(pthread_equal(heard.thread, action.thread));
}

typedef struct stepper {
  unsigned stepped, refused, wrong;
} stepper;

static void *step_often(void *user) {
  stepper *self = user;
  while (atomic_load(&callers_left) > 0) {
    HRESULT status = rsca_manager_step(manager, 3);
    self->stepped += status == S_OK;
    self->refused += status == RSCA_E_POSSIBLE_DEADLOCK;
    self->wrong += status != S_OK && status != S_FALSE && status != RSCA_E_POSSIBLE_DEADLOCK;
  }
  return NULL;
}

/* Two threads that both want to step: one does, the other is told; nothing is lost and nothing runs twice. */
static void test_step_from_two_threads_at_once_runs_each_call_once(void **state) {
  (void)state;
  static caller self;
  memset(&self, 0, sizeof self);
  stepper steppers[2] = {{0}};
  pthread_t threads[2], client;
  atomic_store(&callers_left, 1);
  for (size_t i = 0; i < 2; i++)
    assert_int_equal(pthread_create(&threads[i], NULL, step_often, &steppers[i]), 0);
  assert_int_equal(pthread_create(&client, NULL, call_often, &self), 0);
  assert_int_equal(pthread_join(client, NULL), 0);
  for (size_t i = 0; i < 2; i++)
    assert_int_equal(pthread_join(threads[i], NULL), 0);
  step_all(manager);
  for (size_t i = 0; i < CALLS; i++)
    assert_int_equal(atomic_load(&self.heard[i].reports), self.status[i] == S_OK);
  assert_int_equal(steppers[0].wrong + steppers[1].wrong, 0);
  rsca_manager_stats stats = stats_of(manager);
  assert_int_equal(stats.accepted, stats.ended);
  assert_int_equal(atomic_load(&action.runs), stats.accepted);
}

/* ---- References ---- */

static void test_add_ref_and_release_return_the_updated_count(void **state) {
  (void)state;
  assert_int_equal(rsca_manager_add_ref(manager), 2);
  assert_int_equal(rsca_manager_add_ref(manager), 3);
  assert_int_equal(rsca_manager_release(manager), 2);
  assert_int_equal(rsca_manager_release(manager), 1);
}

/* "The manager as an IPmCustomActions, whose count is the manager's. Returned (+1)." */
static void test_interface_shares_the_managers_count(void **state) {
  (void)state;
  IPmCustomActions *actions = rsca_manager_custom_actions(manager);
  assert_non_null(actions);
  assert_int_equal(rsca_manager_add_ref(manager), 3);
  assert_int_equal(actions->lpVtbl->AddRef(actions), 4);
  assert_int_equal(actions->lpVtbl->Release(actions), 3);
  assert_int_equal(rsca_manager_release(manager), 2);
  /* the interface outlives the host's own reference, and the last Release may be its own */
  assert_int_equal(rsca_manager_release(manager), 1);
  counting_callback callback;
  counting_callback_init(&callback);
  assert_int_equal(submit_to_interface(actions, u"act", NULL, &callback), S_OK);
  step_all(manager);
  assert_true(ended_with(&callback.heard, S_OK, NULL, 0));
  assert_int_equal(actions->lpVtbl->Release(actions), 0);
  assert_int_equal(atomic_load(&action.freed), 1);
  manager = make_manager(NULL); /* for the end of the test */
}

static void *reference_often(void *user) {
  for (unsigned i = 0; i < 20000; i++) {
    (void)rsca_manager_add_ref(user);
    if (rsca_manager_release(user) == 0)
      abort();
  }
  (void)rsca_manager_release(user);
  return NULL;
}

/* Counting is atomic: nothing is lost, and exactly one Release is the last. */
static void test_references_from_several_threads_free_once(void **state) {
  (void)state;
  pthread_t threads[4];
  for (size_t i = 0; i < 4; i++)
    (void)rsca_manager_add_ref(manager);
  for (size_t i = 0; i < 4; i++)
    assert_int_equal(pthread_create(&threads[i], NULL, reference_often, manager), 0);
  for (size_t i = 0; i < 4; i++)
    assert_int_equal(pthread_join(threads[i], NULL), 0);
  assert_int_equal(rsca_manager_add_ref(manager), 2);
  assert_int_equal(rsca_manager_release(manager), 1);
  assert_int_equal(atomic_load(&action.freed), 0);
}

static void *release_one(void *user) {
  (void)rsca_manager_release(user);
  return NULL;
}

/* Two threads give back the last two references at the same time. */
static void test_last_release_races_free_once(void **state) {
  (void)state;
  for (unsigned round = 0; round < 200; round++) {
    obedient own = {.status = S_OK};
    rsca_manager *shared = make_manager(NULL);
    assert_int_equal(register_obedient(shared, "own", &own), S_OK);
    memset(&heard, 0, sizeof heard);
    assert_int_equal(submit(shared, "own", "", &heard, NULL), S_OK);
    (void)rsca_manager_add_ref(shared);
    pthread_t first, second;
    assert_int_equal(pthread_create(&first, NULL, release_one, shared), 0);
    assert_int_equal(pthread_create(&second, NULL, release_one, shared), 0);
    assert_int_equal(pthread_join(first, NULL), 0);
    assert_int_equal(pthread_join(second, NULL), 0);
    assert_int_equal(atomic_load(&own.freed), 1);
    assert_true(ended_saying_why(&heard, RSCA_E_CANCELLED));
  }
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
  static const struct CMUnitTest tests[] = {
      TEST(test_create_without_a_place_for_it_is_e_invalidarg),
      TEST(test_create_with_more_than_1024_workers_is_e_invalidarg_and_null),
      TEST(test_null_manager_is_e_invalidarg),
      TEST(test_null_is_0_or_null_where_no_hresult_is_returned),
      TEST(test_register_refuses_what_is_no_action_and_leaves_user_alone),
      TEST(test_register_copies_name_and_help),
      TEST(test_register_without_free_user_is_fine),
      TEST(test_register_in_place_of_another_frees_that_ones_user),
      TEST(test_unregister_refuses_what_is_not_there),
      TEST(test_free_user_may_call_the_manager),
      TEST(test_list_visits_each_action_ordered_by_name),
      TEST(test_list_of_nothing_visits_nothing),
      TEST(test_list_whose_visits_unregister_visits_all_the_same),
      TEST(test_run_with_null_or_empty_is_e_invalidarg),
      TEST(test_run_with_malformed_text_is_no_unicode_translation),
      TEST(test_run_of_an_unknown_name_is_not_found),
      TEST(test_run_after_shutdown_is_shutdown_in_progress),
      TEST(test_run_beyond_the_queue_limit_is_busy_until_one_ends),
      TEST(test_run_beyond_the_queue_limit_counts_pending_calls),
      TEST(test_run_beyond_the_queue_bytes_is_busy_until_one_ends),
      TEST(test_config_of_zeros_has_the_documented_limits),
      TEST(test_run_inside_an_action_is_queued_for_the_next_step),
      TEST(test_run_inside_a_callback_is_accepted_with_a_queue_of_one),
      TEST(test_run_from_several_threads_ends_each_accepted_call_once),
      TEST(test_register_from_several_threads_frees_each_user_once),
      TEST(test_stats_follow_what_happens),
      TEST(test_stats_inside_a_callback_count_the_call_as_ended),
      TEST(test_step_says_whether_something_was_run),
      TEST(test_step_with_a_budget_leaves_the_descriptor_readable),
      TEST(test_fd_asked_for_after_a_run_is_readable),
      TEST(test_step_inside_a_step_is_possible_deadlock),
      TEST(test_step_while_another_thread_steps_is_possible_deadlock),
      TEST(test_step_on_another_thread_runs_actions_and_callbacks_there),
      TEST(test_step_from_two_threads_at_once_runs_each_call_once),
      TEST(test_add_ref_and_release_return_the_updated_count),
      TEST(test_interface_shares_the_managers_count),
      TEST(test_references_from_several_threads_free_once),
      TEST(test_last_release_races_free_once),
  };
  return cmocka_run_group_tests_name("manager", tests, NULL, NULL);
}
