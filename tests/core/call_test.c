/*
 * How a call ends: exactly one report for each that was accepted, whatever happens to it.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

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

/* Whatever happened: the action's user is freed once, when nothing needs it any more. */
static int tear_down(void **state) {
  (void)state;
  (void)rsca_manager_release(manager);
  return atomic_load(&action.freed) == 1 ? 0 : -1;
}

/* ---- What the action is given ---- */

static void test_action_is_given_its_arguments_and_its_call(void **state) {
  (void)state;
  char args[] = "a=1 \xC3\xA9";
  uint64_t id = 0;
  assert_int_equal(submit(manager, "act", args, &heard, &id), S_OK);
  memset(args, '#', sizeof args - 1); /* Copied */
  step_all(manager);
  assert_int_equal(atomic_load(&action.runs), 1);
  assert_string_equal(action.args, "a=1 \xC3\xA9");
  assert_int_equal(action.args_size, 6);
  assert_true(action.terminated);
  assert_string_equal(action.name, "act");
  assert_true(id != 0);
  assert_int_equal(action.id, id);
}

static void test_action_without_arguments_is_given_the_empty_string(void **state) {
  (void)state;
  assert_int_equal(submit(manager, "act", NULL, &heard, NULL), S_OK);
  step_all(manager);
  assert_int_equal(atomic_load(&action.runs), 1);
  assert_int_equal(action.args_size, 0);
  assert_true(action.terminated);
}

/* Small arguments are kept otherwise than large ones; both are used again for later calls. */
static void test_action_is_given_arguments_of_any_size(void **state) {
  (void)state;
  static const size_t sizes[] = {1, 63, 64, 65, 1023, 1024, 1025, 5000, 70000, 10, 1024, 0, 5000};
  action.echo = true;
  for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
    char *args = malloc(sizes[i] + 1);
    assert_non_null(args);
    memset(args, (int)('a' + i), sizes[i]);
    args[sizes[i]] = '\0';
    memset(&heard, 0, sizeof heard);
    assert_int_equal(submit(manager, "act", args, &heard, NULL), S_OK);
    step_all(manager);
    assert_true(action.terminated);
    assert_true(ended_with(&heard, S_OK, args, sizes[i]));
    free(args);
  }
}

/* "The call's number: never 0, never given twice by one manager." */
static void test_call_ids_are_never_given_twice(void **state) {
  (void)state;
  enum { CALLS = 200 };
  static outcome all[CALLS];
  memset(all, 0, sizeof all);
  uint64_t ids[CALLS];
  for (size_t i = 0; i < CALLS; i++) {
    assert_int_equal(submit(manager, "act", "", &all[i], &ids[i]), S_OK);
    assert_true(ids[i] != 0);
    for (size_t k = 0; k < i; k++)
      assert_true(ids[k] != ids[i]);
    if (i % 3 == 0)
      rsca_manager_step(manager, 1);
  }
  step_all(manager);
  for (size_t i = 0; i < CALLS; i++)
    assert_int_equal(atomic_load(&all[i].reports), 1);
}

static void start_pending(outcome *into, uint64_t *id);

/* However many calls come and go while it waits, a call keeps its number to itself. */
static void test_call_that_waits_keeps_its_id_while_many_others_end(void **state) {
  (void)state;
  uint64_t id, later = 0;
  start_pending(&heard, &id);
  rsca_call *waiting = action.call;
  action.status = S_OK;
  for (unsigned i = 0; i < 500; i++) {
    outcome other = {.status = S_OK};
    assert_int_equal(submit(manager, "act", "", &other, &later), S_OK);
    assert_true(later > id);
    step_all(manager);
    assert_true(ended_with(&other, S_OK, NULL, 0));
  }
  assert_int_equal(rsca_manager_cancel(manager, later, 0), RSCA_E_NOT_FOUND);
  assert_int_equal(rsca_manager_cancel(manager, id, 0), S_OK);
  step_all(manager);
  assert_true(ended_saying_why(&heard, RSCA_E_CANCELLED));
  assert_int_equal(rsca_call_finish(waiting, S_OK, NULL, 0), S_OK);
  step_all(manager);
}

/* ---- "The action returned": S_OK, or the success status it chose; its response ---- */

static void test_call_returned_ends_with_s_ok_and_the_response(void **state) {
  (void)state;
  action.bytes = "done";
  action.size = 4;
  assert_int_equal(submit(manager, "act", "", &heard, NULL), S_OK);
  assert_int_equal(atomic_load(&heard.reports), 0);
  step_all(manager);
  assert_true(ended_with(&heard, S_OK, "done", 4));
  assert_int_equal(action.report_status, S_OK);
}

static void test_call_ends_with_the_success_status_the_action_chose(void **state) {
  (void)state;
  static const HRESULT chosen[] = {S_FALSE, 0x00040000, INT32_MAX};
  for (size_t i = 0; i < 3; i++) {
    memset(&heard, 0, sizeof heard);
    action.status = chosen[i];
    action.bytes = "x";
    action.size = 1;
    assert_int_equal(submit(manager, "act", "", &heard, NULL), S_OK);
    step_all(manager);
    assert_true(ended_with(&heard, chosen[i], "x", 1));
  }
}

/* "An empty response is NULL and 0." */
static void test_call_with_an_empty_response_ends_with_null_and_0(void **state) {
  (void)state;
  assert_int_equal(submit(manager, "act", "ignored", &heard, NULL), S_OK);
  step_all(manager);
  assert_true(ended_with(&heard, S_OK, NULL, 0));
  assert_true(heard.is_null);
}

/* "Any byte, NUL included, passes through unchanged." */
static void test_call_response_passes_any_byte_unchanged(void **state) {
  (void)state;
  unsigned char bytes[3 * 256];
  for (size_t i = 0; i < sizeof bytes; i++)
    bytes[i] = (unsigned char)i;
  action.bytes = bytes;
  action.size = sizeof bytes;
  assert_int_equal(submit(manager, "act", "", &heard, NULL), S_OK);
  step_all(manager);
  assert_true(ended_with(&heard, S_OK, bytes, sizeof bytes));
  assert_memory_equal(heard.bytes, bytes, sizeof heard.bytes);
  memset(&heard, 0, sizeof heard);
  action.size = 1; /* a NUL alone */
  assert_int_equal(submit(manager, "act", "", &heard, NULL), S_OK);
  step_all(manager);
  assert_true(ended_with(&heard, S_OK, "", 1));
}

static void report_in_pieces(obedient *self, void *user) {
  (void)user;
  char piece[2] = "0";
  for (char digit = '0'; digit <= '9'; digit++) {
    piece[0] = digit;
    if (rsca_call_report(self->call, piece, 1) != S_OK || rsca_call_report(self->call, NULL, 0) != S_OK)
      abort();
    piece[0] = '#'; /* Copied */
  }
}

/* "The response is all that was reported." */
static void test_call_reported_in_pieces_ends_with_all_in_order(void **state) {
  (void)state;
  action.inside = report_in_pieces;
  assert_int_equal(submit(manager, "act", "", &heard, NULL), S_OK);
  step_all(manager);
  assert_true(ended_with(&heard, S_OK, "0123456789", 10));
}

static void report_nothing_of_some_size(obedient *self, void *user) {
  *(HRESULT *)user = rsca_call_report(self->call, NULL, 5);
}

static void test_report_null_with_a_size_is_e_invalidarg_and_adds_nothing(void **state) {
  (void)state;
  HRESULT status = S_OK;
  action.inside = report_nothing_of_some_size;
  action.user = &status;
  assert_int_equal(submit(manager, "act", "", &heard, NULL), S_OK);
  step_all(manager);
  assert_int_equal(status, E_INVALIDARG);
  assert_true(ended_with(&heard, S_OK, NULL, 0));
}

/* One call's bytes are never the next one's. */
static void test_call_reused_starts_with_nothing_reported(void **state) {
  (void)state;
  static char large[100000];
  memset(large, 'x', sizeof large);
  action.bytes = large;
  for (size_t size = sizeof large; size > 0; size /= 7) {
    action.size = size;
    memset(&heard, 0, sizeof heard);
    assert_int_equal(submit(manager, "act", "", &heard, NULL), S_OK);
    step_all(manager);
    assert_true(ended_with(&heard, S_OK, large, size));
  }
  action.size = 0;
  memset(&heard, 0, sizeof heard);
  assert_int_equal(submit(manager, "act", "", &heard, NULL), S_OK);
  step_all(manager);
  assert_true(ended_with(&heard, S_OK, NULL, 0));
}

/* ---- "The action failed on purpose": the failure status it chose; its message ---- */

static void test_call_failed_on_purpose_ends_with_its_status_and_message(void **state) {
  (void)state;
  static const HRESULT chosen[] = {E_FAIL, RSCA_E_TIMEOUT, RSCA_E_CANCELLED, INT32_MIN};
  action.bytes = "no such disk";
  action.size = 12;
  for (size_t i = 0; i < 4; i++) {
    memset(&heard, 0, sizeof heard);
    action.status = chosen[i];
    assert_int_equal(submit(manager, "act", "", &heard, NULL), S_OK);
    step_all(manager);
    assert_true(ended_with(&heard, chosen[i], "no such disk", 12));
  }
}

/* ---- E_PENDING: rsca_call_finish follows ---- */

static void start_pending(outcome *into, uint64_t *id) {
  action.status = E_PENDING;
  assert_int_equal(submit(manager, "act", "", into, id), S_OK);
  step_all(manager);
  assert_int_equal(atomic_load(&into->reports), 0);
}

/* "The callback runs in a following step of the manager, not here." */
static void test_call_pending_ends_in_the_step_after_its_finish(void **state) {
  (void)state;
  action.bytes = "first ";
  action.size = 6;
  start_pending(&heard, NULL);
  char more[] = "second";
  assert_int_equal(rsca_call_finish(action.call, S_FALSE, more, 6), S_OK);
  memset(more, '#', 6); /* Copied */
  assert_int_equal(atomic_load(&heard.reports), 0);
  assert_int_equal(rsca_manager_step(manager, 0), S_OK);
  assert_true(ended_with(&heard, S_FALSE, "first second", 12));
}

static void test_finish_with_no_bytes_ends_with_what_was_reported(void **state) {
  (void)state;
  start_pending(&heard, NULL);
  assert_int_equal(rsca_call_report(action.call, "later", 5), S_OK); /* it is the action's until then */
  assert_int_equal(rsca_call_finish(action.call, E_FAIL, NULL, 0), S_OK);
  step_all(manager);
  assert_true(ended_with(&heard, E_FAIL, "later", 5));
}

static void test_finish_with_e_pending_counts_as_e_fail(void **state) {
  (void)state;
  start_pending(&heard, NULL);
  assert_int_equal(rsca_call_finish(action.call, E_PENDING, NULL, 0), S_OK);
  step_all(manager);
  assert_true(ended_with(&heard, E_FAIL, NULL, 0));
}

static void test_finish_with_null_and_a_size_ends_with_e_invalidarg(void **state) {
  (void)state;
  action.bytes = "lost";
  action.size = 4;
  start_pending(&heard, NULL);
  assert_int_equal(rsca_call_finish(action.call, S_OK, NULL, 3), E_INVALIDARG);
  step_all(manager);
  assert_int_equal(atomic_load(&heard.reports), 1);
  assert_int_equal(heard.status, E_INVALIDARG);
}

static void *finish_there(void *user) {
  obedient *self = user;
  (void)rsca_call_finish(self->call, S_OK, "from there", 10);
  return NULL;
}

static void test_call_finished_on_another_thread_ends_on_the_one_that_steps(void **state) {
  (void)state;
  start_pending(&heard, NULL);
  on_another_thread(finish_there, &action);
  assert_int_equal(atomic_load(&heard.reports), 0);
  step_all(manager);
  assert_true(ended_with(&heard, S_OK, "from there", 10));
  assert_true(pthread_equal(heard.thread, pthread_self()));
}

static void finish_before_return(obedient *self, void *user) {
  (void)user;
  on_another_thread(finish_there, self);
}

static void test_call_finished_before_its_action_has_returned_ends_once(void **state) {
  (void)state;
  action.inside = finish_before_return;
  action.status = E_PENDING;
  assert_int_equal(submit(manager, "act", "", &heard, NULL), S_OK);
  step_all(manager);
  assert_true(ended_with(&heard, S_OK, "from there", 10));
}

static void finish_here(obedient *self, void *user) {
  (void)user;
  if (rsca_call_finish(self->call, S_FALSE, "own", 3) != S_OK)
    abort();
}

static void test_call_finished_inside_its_own_action_ends_once(void **state) {
  (void)state;
  action.inside = finish_here;
  action.status = E_PENDING;
  assert_int_equal(submit(manager, "act", "", &heard, NULL), S_OK);
  step_all(manager);
  assert_true(ended_with(&heard, S_FALSE, "own", 3));
}

/* The descriptor says that a finish has something to step. */
static void test_finish_makes_the_descriptor_readable(void **state) {
  (void)state;
  int fd = rsca_manager_fd(manager);
  start_pending(&heard, NULL);
  assert_false(is_readable(fd));
  assert_int_equal(rsca_manager_timeout_ms(manager), -1);
  on_another_thread(finish_there, &action);
  assert_true(is_readable(fd));
  assert_int_equal(rsca_manager_timeout_ms(manager), 0);
  step_all(manager);
  assert_false(is_readable(fd));
}

/* ---- Cancelled ---- */

static void test_cancel_of_an_unknown_call_is_not_found(void **state) {
  (void)state;
  uint64_t id;
  assert_int_equal(rsca_manager_cancel(manager, 0, 0), RSCA_E_NOT_FOUND);
  assert_int_equal(rsca_manager_cancel(manager, 1, 0), RSCA_E_NOT_FOUND);
  assert_int_equal(submit(manager, "act", "", &heard, &id), S_OK);
  assert_int_equal(rsca_manager_cancel(manager, 0, 0), RSCA_E_NOT_FOUND);
  assert_int_equal(rsca_manager_cancel(manager, id + 1, 0), RSCA_E_NOT_FOUND);
  assert_int_equal(rsca_manager_cancel(manager, id + 16, 0), RSCA_E_NOT_FOUND);
  assert_int_equal(rsca_manager_cancel(NULL, id, 0), E_INVALIDARG);
  step_all(manager);
  assert_true(ended_with(&heard, S_OK, NULL, 0));
  assert_int_equal(rsca_manager_cancel(manager, id, 0), RSCA_E_NOT_FOUND); /* it has ended */
}

/* "One that has not started ends with RSCA_E_CANCELLED in the next step": its action is not run. */
static void test_call_cancelled_while_queued_ends_cancelled_in_the_next_step(void **state) {
  (void)state;
  uint64_t id;
  outcome other = {.status = S_OK};
  assert_int_equal(submit(manager, "act", "", &heard, &id), S_OK);
  assert_int_equal(submit(manager, "act", "", &other, NULL), S_OK);
  assert_int_equal(rsca_manager_cancel(manager, id, 0), S_OK);
  assert_int_equal(rsca_manager_cancel(manager, id, 0), S_OK); /* asked again */
  assert_int_equal(atomic_load(&heard.reports), 0);
  assert_int_equal(rsca_manager_step(manager, 0), S_OK);
  assert_true(ended_saying_why(&heard, RSCA_E_CANCELLED));
  assert_true(ended_with(&other, S_OK, NULL, 0));
  step_all(manager);
  assert_int_equal(atomic_load(&action.runs), 1);
  assert_int_equal(atomic_load(&heard.reports), 1);
}

/* "A late result of a call that has already been reported is dropped, never reported twice." */
static void test_call_cancelled_while_pending_ends_cancelled_and_its_late_result_is_dropped(void **state) {
  (void)state;
  uint64_t id;
  action.bytes = "partial";
  action.size = 7;
  start_pending(&heard, &id);
  assert_false(rsca_call_cancelled(action.call));
  assert_int_equal(rsca_manager_cancel(manager, id, 0), S_OK);
  assert_true(rsca_call_cancelled(action.call));
  assert_int_equal(atomic_load(&heard.reports), 0);
  assert_int_equal(rsca_manager_step(manager, 0), S_OK);
  assert_true(ended_saying_why(&heard, RSCA_E_CANCELLED));
  assert_int_equal(rsca_manager_cancel(manager, id, 0), RSCA_E_NOT_FOUND);
  /* the call is the action's still */
  assert_true(rsca_call_cancelled(action.call));
  assert_int_equal(rsca_call_report(action.call, "late", 4), RSCA_E_CANCELLED);
  assert_int_equal(rsca_call_finish(action.call, S_OK, "late", 4), S_OK);
  step_all(manager);
  assert_int_equal(atomic_load(&heard.reports), 1);
  /* and what takes its place is another call */
  outcome next = {.status = S_OK};
  action = (obedient){.echo = true};
  assert_int_equal(submit(manager, "act", "next", &next, NULL), S_OK);
  step_all(manager);
  assert_true(ended_with(&next, S_OK, "next", 4));
  assert_int_equal(atomic_load(&heard.reports), 1);
}

/* "If it returns first, what it returns counts." */
static void test_call_finished_before_its_cancel_is_acted_on_keeps_its_result(void **state) {
  (void)state;
  uint64_t id;
  start_pending(&heard, &id);
  assert_int_equal(rsca_call_finish(action.call, S_OK, "in time", 7), S_OK);
  assert_int_equal(rsca_manager_cancel(manager, id, 0), S_OK);
  step_all(manager);
  assert_true(ended_with(&heard, S_OK, "in time", 7));
}

typedef struct own_cancel {
  HRESULT cancelled, reported;
  bool before, after;
} own_cancel;

static void cancel_itself(obedient *self, void *user) {
  own_cancel *seen = user;
  seen->before = rsca_call_cancelled(self->call);
  seen->cancelled = rsca_manager_cancel(manager, self->id, 0);
  seen->after = rsca_call_cancelled(self->call);
  seen->reported = rsca_call_report(self->call, "x", 1);
}

/* "One that is running may ask rsca_call_cancelled; if it returns first, what it returns counts", reports included. */
static void test_call_cancelled_while_running_can_ask_and_its_return_counts(void **state) {
  (void)state;
  own_cancel seen = {.before = true};
  action.inside = cancel_itself;
  action.user = &seen;
  assert_int_equal(submit(manager, "act", "", &heard, NULL), S_OK);
  step_all(manager);
  assert_false(seen.before);
  assert_int_equal(seen.cancelled, S_OK);
  assert_true(seen.after);
  assert_int_equal(seen.reported, S_OK);
  assert_true(ended_with(&heard, S_OK, "x", 1));
}

static void test_call_cancelled_while_running_that_then_waits_ends_cancelled(void **state) {
  (void)state;
  own_cancel seen = {.before = true};
  action.inside = cancel_itself;
  action.user = &seen;
  action.status = E_PENDING;
  assert_int_equal(submit(manager, "act", "", &heard, NULL), S_OK);
  step_all(manager);
  assert_true(ended_saying_why(&heard, RSCA_E_CANCELLED));
  assert_int_equal(rsca_call_finish(action.call, S_OK, NULL, 0), S_OK);
  step_all(manager);
  assert_int_equal(atomic_load(&heard.reports), 1);
}

typedef struct cancelling {
  uint64_t id;
  HRESULT status;
} cancelling;

static void cancel_inside(void *user) {
  cancelling *self = user;
  self->status = rsca_manager_cancel(manager, self->id, 0);
}

/* From inside a callback: the others, and the call itself, which has ended. */
static void test_cancel_inside_a_callback_ends_the_other_and_not_the_told_one(void **state) {
  (void)state;
  cancelling other = {0}, itself = {0};
  outcome first = {.inside = cancel_inside, .user = &itself}, second = {.inside = cancel_inside, .user = &other};
  action.status = E_PENDING;
  assert_int_equal(submit(manager, "act", "", &heard, &other.id), S_OK);
  step_all(manager);
  rsca_call *pending = action.call;
  action.status = S_OK;
  assert_int_equal(submit(manager, "act", "", &first, &itself.id), S_OK);
  assert_int_equal(submit(manager, "act", "", &second, NULL), S_OK);
  step_all(manager);
  assert_int_equal(itself.status, RSCA_E_NOT_FOUND);
  assert_int_equal(other.status, S_OK);
  assert_true(ended_with(&first, S_OK, NULL, 0));
  assert_true(ended_with(&second, S_OK, NULL, 0));
  assert_true(ended_saying_why(&heard, RSCA_E_CANCELLED));
  assert_int_equal(rsca_call_finish(pending, S_OK, NULL, 0), S_OK);
  step_all(manager);
}

/* ---- Cancel, finish and step at once ---- */

enum { RACES = 2000 };

typedef struct race {
  obedient action;
  outcome heard;
  uint64_t id;
  HRESULT finished;
} race;

static race races[RACES];
static gate race_started;

static void *finish_all(void *user) {
  gate_pass(&race_started);
  for (size_t i = 0; i < RACES; i++)
    races[i].finished = rsca_call_finish(races[i].action.call, S_OK, "ok", 2);
  return user;
}

static void *cancel_all(void *user) {
  gate_pass(&race_started);
  for (size_t i = 0; i < RACES; i++)
    (void)rsca_manager_cancel(manager, races[RACES - 1 - i].id, 0);
  return user;
}

/* Exactly one ending, whoever was first. */
static void test_call_finished_and_cancelled_at_once_ends_once(void **state) {
  (void)state;
  memset(races, 0, sizeof races);
  gate_init(&race_started);
  for (size_t i = 0; i < RACES; i++) {
    races[i].action.status = E_PENDING;
    assert_int_equal(register_obedient(manager, "race", &races[i].action), S_OK);
    assert_int_equal(submit(manager, "race", "", &races[i].heard, &races[i].id), S_OK);
  }
  step_all(manager);
  pthread_t finisher, canceller;
  assert_int_equal(pthread_create(&finisher, NULL, finish_all, NULL), 0);
  assert_int_equal(pthread_create(&canceller, NULL, cancel_all, NULL), 0);
  gate_open(&race_started);
  gate_open(&race_started);
  rsca_manager_stats stats;
  do {
    (void)rsca_manager_step(manager, 0);
    rsca_manager_get_stats(manager, &stats);
  } while (stats.ended < RACES);
  assert_int_equal(pthread_join(finisher, NULL), 0);
  assert_int_equal(pthread_join(canceller, NULL), 0);
  step_all(manager);
  assert_int_equal(rsca_manager_unregister(manager, "race"), S_OK);
  for (size_t i = 0; i < RACES; i++) {
    assert_int_equal(races[i].finished, S_OK);
    assert_true(ended_with(&races[i].heard, S_OK, "ok", 2) || ended_saying_why(&races[i].heard, RSCA_E_CANCELLED));
    assert_int_equal(atomic_load(&races[i].action.freed), 1);
  }
  rsca_manager_get_stats(manager, &stats);
  assert_int_equal(stats.accepted, RACES);
  assert_int_equal(stats.ended, RACES);
}

/* ---- Calls that run, and the action's name ---- */

/* "Unregistering an action (taking its name away) never touches calls that run." */
static void test_unregister_touches_neither_queued_nor_pending_calls(void **state) {
  (void)state;
  obedient own = {.echo = true};
  outcome queued = {.status = S_OK}, pending = {.status = S_OK};
  own.status = E_PENDING;
  assert_int_equal(register_obedient(manager, "own", &own), S_OK);
  assert_int_equal(submit(manager, "own", "p", &pending, NULL), S_OK);
  step_all(manager);
  rsca_call *waiting = own.call;
  own.status = S_OK;
  assert_int_equal(submit(manager, "own", "q", &queued, NULL), S_OK);
  assert_int_equal(rsca_manager_unregister(manager, "own"), S_OK);
  assert_int_equal(submit(manager, "own", "", &heard, NULL), RSCA_E_NOT_FOUND);
  assert_int_equal(atomic_load(&own.freed), 0);
  step_all(manager);
  assert_true(ended_with(&queued, S_OK, "q", 1));
  assert_string_equal(rsca_call_name(waiting), "own");
  assert_int_equal(atomic_load(&own.freed), 0); /* one call needs it still */
  assert_int_equal(rsca_call_finish(waiting, S_OK, "!", 1), S_OK);
  step_all(manager);
  assert_true(ended_with(&pending, S_OK, "p!", 2));
  assert_int_equal(atomic_load(&own.freed), 1);
}

static void test_replaced_action_answers_what_was_queued_before(void **state) {
  (void)state;
  obedient before = {.bytes = "old", .size = 3}, after = {.bytes = "new", .size = 3};
  outcome first = {.status = S_OK}, second = {.status = S_OK};
  assert_int_equal(register_obedient(manager, "own", &before), S_OK);
  assert_int_equal(submit(manager, "own", "", &first, NULL), S_OK);
  assert_int_equal(register_obedient(manager, "own", &after), S_OK);
  assert_int_equal(submit(manager, "own", "", &second, NULL), S_OK);
  assert_int_equal(atomic_load(&before.freed), 0);
  step_all(manager);
  assert_true(ended_with(&first, S_OK, "old", 3));
  assert_true(ended_with(&second, S_OK, "new", 3));
  assert_int_equal(atomic_load(&before.freed), 1);
  assert_int_equal(atomic_load(&after.freed), 0);
  assert_int_equal(rsca_manager_unregister(manager, "own"), S_OK);
  assert_int_equal(atomic_load(&after.freed), 1);
}

static void unregister_itself(obedient *self, void *user) {
  *(bool *)user = rsca_manager_unregister(manager, self->name) == S_OK && atomic_load(&self->freed) == 0 &&
                  strcmp(rsca_call_name(self->call), "own") == 0;
}

static void test_unregister_inside_the_action_itself_frees_its_user_after_it(void **state) {
  (void)state;
  bool untouched_inside = false;
  obedient own = {.inside = unregister_itself, .user = &untouched_inside, .echo = true};
  assert_int_equal(register_obedient(manager, "own", &own), S_OK);
  assert_int_equal(submit(manager, "own", "args", &heard, NULL), S_OK);
  step_all(manager);
  assert_true(untouched_inside);
  assert_true(ended_with(&heard, S_OK, "args", 4));
  assert_int_equal(atomic_load(&own.freed), 1);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
  static const struct CMUnitTest tests[] = {
      TEST(test_action_is_given_its_arguments_and_its_call),
      TEST(test_action_without_arguments_is_given_the_empty_string),
      TEST(test_action_is_given_arguments_of_any_size),
      TEST(test_call_ids_are_never_given_twice),
      TEST(test_call_that_waits_keeps_its_id_while_many_others_end),
      TEST(test_call_returned_ends_with_s_ok_and_the_response),
      TEST(test_call_ends_with_the_success_status_the_action_chose),
      TEST(test_call_with_an_empty_response_ends_with_null_and_0),
      TEST(test_call_response_passes_any_byte_unchanged),
      TEST(test_call_reported_in_pieces_ends_with_all_in_order),
      TEST(test_report_null_with_a_size_is_e_invalidarg_and_adds_nothing),
      TEST(test_call_reused_starts_with_nothing_reported),
      TEST(test_call_failed_on_purpose_ends_with_its_status_and_message),
      TEST(test_call_pending_ends_in_the_step_after_its_finish),
      TEST(test_finish_with_no_bytes_ends_with_what_was_reported),
      TEST(test_finish_with_e_pending_counts_as_e_fail),
      TEST(test_finish_with_null_and_a_size_ends_with_e_invalidarg),
      TEST(test_call_finished_on_another_thread_ends_on_the_one_that_steps),
      TEST(test_call_finished_before_its_action_has_returned_ends_once),
      TEST(test_call_finished_inside_its_own_action_ends_once),
      TEST(test_finish_makes_the_descriptor_readable),
      TEST(test_cancel_of_an_unknown_call_is_not_found),
      TEST(test_call_cancelled_while_queued_ends_cancelled_in_the_next_step),
      TEST(test_call_cancelled_while_pending_ends_cancelled_and_its_late_result_is_dropped),
      TEST(test_call_finished_before_its_cancel_is_acted_on_keeps_its_result),
      TEST(test_call_cancelled_while_running_can_ask_and_its_return_counts),
      TEST(test_call_cancelled_while_running_that_then_waits_ends_cancelled),
      TEST(test_cancel_inside_a_callback_ends_the_other_and_not_the_told_one),
      TEST(test_call_finished_and_cancelled_at_once_ends_once),
      TEST(test_unregister_touches_neither_queued_nor_pending_calls),
      TEST(test_replaced_action_answers_what_was_queued_before),
      TEST(test_unregister_inside_the_action_itself_frees_its_user_after_it),
  };
  return cmocka_run_group_tests_name("call", tests, NULL, NULL);
}
