/*
 * Shutdown and the last Release: from outside, from inside, from other threads, with calls in every state.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "client.h"

/* Drains that must not run out while the test runs, and those that must. */
enum { FOR_EVER_MS = 600000, SOON_MS = 1 };

static rsca_manager *manager; /* NULL: the test gave it back */
static obedient action;       /* registered as "act": does as it is told */
static obedient waiting;      /* registered as "wait": E_PENDING */
static outcome heard, other, pending;

static void remake(uint32_t drain_ms) {
  if (manager)
    (void)rsca_manager_release(manager);
  action = (obedient){.echo = true};
  waiting = (obedient){.status = E_PENDING};
  memset(&heard, 0, sizeof heard);
  memset(&other, 0, sizeof other);
  memset(&pending, 0, sizeof pending);
  manager = make_manager(&(rsca_config){.drain_ms = drain_ms});
  if (register_obedient(manager, "act", &action) != S_OK || register_obedient(manager, "wait", &waiting) != S_OK)
    abort();
}

static int set_up(void **state) {
  (void)state;
  remake(FOR_EVER_MS);
  return 0;
}

/* Whatever happened: what was registered is freed once. */
static int tear_down(void **state) {
  (void)state;
  if (manager)
    (void)rsca_manager_release(manager);
  manager = NULL;
  return atomic_load(&action.freed) == 1 && atomic_load(&waiting.freed) == 1 ? 0 : -1;
}

static void release(void) {
  rsca_manager *last = manager;
  manager = NULL;
  assert_int_equal(rsca_manager_release(last), 0);
}

static void queue(outcome *into) {
  assert_int_equal(submit(manager, "act", "args", into, NULL), S_OK);
}

/* A call that has returned E_PENDING. */
static void make_pending(void) {
  assert_int_equal(submit(manager, "wait", "", &pending, NULL), S_OK);
  assert_int_equal(rsca_manager_step(manager, 0), S_OK);
  assert_int_equal(atomic_load(&pending.reports), 0);
}

/* The action of a call that was cut finishes it all the same, exactly once; nobody hears of it. */
static void finish_late(void) {
  assert_int_equal(rsca_call_finish(waiting.call, S_OK, "late", 4), S_OK);
  if (manager)
    step_all(manager);
  assert_int_equal(atomic_load(&pending.reports), 1);
}

static void assert_cut(const outcome *cut) {
  assert_true(ended_saying_why(cut, RSCA_E_CANCELLED));
}

static void assert_answered(const outcome *answered) {
  assert_true(ended_with(answered, S_OK, "args", 4));
}

/* ---- From outside ---- */

/* "Shutdown(FALSE) refuses new calls, lets runs end (within the drain limit) and returns." */
static void test_shutdown_false_lets_queued_calls_end_and_refuses_new_ones(void **state) {
  (void)state;
  queue(&heard);
  queue(&other);
  assert_int_equal(rsca_manager_shutdown(manager, false), S_OK);
  assert_answered(&heard);
  assert_answered(&other);
  assert_int_equal(submit(manager, "act", "", &pending, NULL), RSCA_E_SHUTDOWN_IN_PROGRESS);
  assert_int_equal(atomic_load(&pending.reports), 0);
}

static void *finish_there(void *user) {
  (void)user;
  (void)rsca_call_finish(waiting.call, S_OK, "done", 4);
  return NULL;
}

/* It blocks until what waits has been finished by another thread. */
static void test_shutdown_false_waits_for_a_call_finished_on_another_thread(void **state) {
  (void)state;
  make_pending();
  pthread_t finisher;
  assert_int_equal(pthread_create(&finisher, NULL, finish_there, NULL), 0);
  assert_int_equal(rsca_manager_shutdown(manager, false), S_OK);
  assert_true(ended_with(&pending, S_OK, "done", 4));
  assert_int_equal(pthread_join(finisher, NULL), 0);
}

/* "Within the drain limit; then as TRUE." */
static void test_shutdown_false_cuts_what_outlasts_the_drain_limit(void **state) {
  (void)state;
  remake(SOON_MS);
  make_pending();
  queue(&heard);
  assert_int_equal(rsca_manager_shutdown(manager, false), S_OK);
  assert_answered(&heard);
  assert_cut(&pending);
  finish_late();
}

/* "Shutdown(TRUE) ends everything at once with ERROR_CANCELLED." */
static void test_shutdown_true_cuts_queued_and_pending_calls_at_once(void **state) {
  (void)state;
  make_pending();
  queue(&heard);
  queue(&other);
  assert_int_equal(rsca_manager_shutdown(manager, true), S_OK);
  assert_cut(&heard);
  assert_cut(&other);
  assert_cut(&pending);
  assert_int_equal(atomic_load(&action.runs), 0);
  assert_true(rsca_call_cancelled(waiting.call));
  finish_late();
  assert_int_equal(atomic_load(&heard.reports) + atomic_load(&other.reports), 2);
}

/* "A callback that was accepted hears of the end": references included. */
static void test_shutdown_true_gives_back_callbacks(void **state) {
  (void)state;
  counting_callback callback;
  counting_callback_init(&callback);
  IPmCustomActions *actions = rsca_manager_custom_actions(manager);
  assert_int_equal(submit_to_interface(actions, u"act", NULL, &callback), S_OK);
  assert_int_equal(rsca_manager_shutdown(manager, true), S_OK);
  assert_cut(&callback.heard);
  assert_int_equal(callback.heard.held, 2);
  assert_int_equal(atomic_load(&callback.references), 1);
  (void)actions->lpVtbl->Release(actions);
}

/* Everything: also what was asked to end before. */
static void test_shutdown_true_ends_calls_whose_cancel_is_on_its_way(void **state) {
  (void)state;
  uint64_t queued_id, pending_id;
  assert_int_equal(submit(manager, "wait", "", &pending, &pending_id), S_OK);
  step_all(manager);
  assert_int_equal(submit(manager, "act", "", &heard, &queued_id), S_OK);
  assert_int_equal(rsca_manager_cancel(manager, queued_id, 0), S_OK);
  assert_int_equal(rsca_manager_cancel(manager, pending_id, 0), S_OK);
  HRESULT shut_down = rsca_manager_shutdown(manager, true);
  unsigned told = atomic_load(&heard.reports) + atomic_load(&pending.reports);
  step_all(manager);
  finish_late();
  assert_cut(&heard);
  assert_cut(&pending);
  assert_int_equal(shut_down, S_OK);
  assert_int_equal(told, 2);
}

/* The same where a drain runs out. */
static void test_shutdown_false_ends_calls_whose_cancel_is_on_its_way(void **state) {
  (void)state;
  uint64_t id;
  remake(SOON_MS);
  assert_int_equal(submit(manager, "wait", "", &pending, &id), S_OK);
  step_all(manager);
  assert_int_equal(rsca_manager_cancel(manager, id, 0), S_OK);
  assert_int_equal(rsca_manager_shutdown(manager, false), S_OK);
  assert_cut(&pending);
  finish_late();
}

/* "Idempotent." */
static void test_shutdown_said_again_changes_nothing(void **state) {
  (void)state;
  make_pending();
  queue(&heard);
  assert_int_equal(rsca_manager_shutdown(manager, true), S_OK);
  assert_int_equal(rsca_manager_shutdown(manager, true), S_OK);
  assert_int_equal(rsca_manager_shutdown(manager, false), S_OK);
  assert_int_equal(rsca_manager_shutdown(manager, false), S_OK);
  step_all(manager);
  assert_cut(&heard);
  assert_cut(&pending);
  finish_late();
  assert_int_equal(rsca_manager_shutdown(manager, true), S_OK);
  rsca_manager_stats stats;
  rsca_manager_get_stats(manager, &stats);
  assert_int_equal(stats.accepted, 2);
  assert_int_equal(stats.ended, 2);
}

static void test_shutdown_with_nothing_in_flight_is_s_ok(void **state) {
  (void)state;
  assert_int_equal(rsca_manager_shutdown(manager, false), S_OK);
  assert_int_equal(rsca_manager_shutdown(manager, true), S_OK);
  assert_int_equal(rsca_manager_step(manager, 0), S_FALSE);
}

/* Taking a name away is still allowed, and listing. */
static void test_shutdown_leaves_names_until_they_are_taken_away(void **state) {
  (void)state;
  assert_int_equal(rsca_manager_shutdown(manager, true), S_OK);
  assert_int_equal(atomic_load(&action.freed), 0);
  assert_int_equal(rsca_manager_unregister(manager, "act"), S_OK);
  assert_int_equal(atomic_load(&action.freed), 1);
}

/* ---- From inside ---- */

/* What was said from inside: by an action or a callback. */
typedef struct saying {
  bool immediate;
  HRESULT status;
  HRESULT again;   /* said a second time */
  HRESULT refused; /* of a call submitted after it */
  unsigned told;   /* the others, right after it */
} saying;

static void say(saying *self) {
  static outcome never;
  self->status = rsca_manager_shutdown(manager, self->immediate);
  self->again = rsca_manager_shutdown(manager, self->immediate);
  self->refused = submit(manager, "act", "", &never, NULL);
  self->told = atomic_load(&other.reports) + atomic_load(&pending.reports) + atomic_load(&never.reports);
}

static void say_in_action(obedient *self, void *user) {
  self->inside = NULL;
  say(user);
}

static void say_in_callback(void *user) {
  say(user);
}

static void assert_said(const saying *self) {
  assert_int_equal(self->status, S_FALSE);
  assert_int_equal(self->again, S_FALSE);
  assert_int_equal(self->refused, RSCA_E_SHUTDOWN_IN_PROGRESS);
  assert_int_equal(self->told, 0);
}

/* "From inside an action or a callback it returns S_FALSE at once and finishes in the following steps." */
static void test_shutdown_true_inside_an_action_finishes_in_the_following_steps(void **state) {
  (void)state;
  saying inside = {.immediate = true};
  make_pending();
  action.inside = say_in_action;
  action.user = &inside;
  queue(&heard);
  step_all(manager);
  assert_said(&inside);
  assert_int_equal(atomic_load(&heard.reports), 1);
  assert_cut(&pending);
  assert_int_equal(rsca_manager_shutdown(manager, true), S_OK);
  finish_late();
}

static void test_shutdown_true_inside_a_callback_finishes_in_the_following_steps(void **state) {
  (void)state;
  saying inside = {.immediate = true};
  make_pending();
  heard.inside = say_in_callback;
  heard.user = &inside;
  queue(&heard);
  step_all(manager);
  assert_said(&inside);
  assert_answered(&heard);
  assert_cut(&pending);
  finish_late();
}

/* What is queued behind it ends as cancelled: no action begins after a Shutdown(TRUE). */
static void test_shutdown_true_inside_an_action_cuts_what_is_queued_behind_it(void **state) {
  (void)state;
  saying inside = {.immediate = true};
  action.inside = say_in_action;
  action.user = &inside;
  queue(&heard);
  queue(&other);
  step_all(manager);
  assert_said(&inside);
  assert_cut(&other);
  assert_int_equal(atomic_load(&action.runs), 1);
}

static void test_shutdown_false_inside_an_action_lets_the_others_end(void **state) {
  (void)state;
  saying inside = {.immediate = false};
  make_pending();
  action.inside = say_in_action;
  action.user = &inside;
  queue(&heard);
  queue(&other);
  step_all(manager);
  assert_said(&inside);
  assert_answered(&heard);
  assert_answered(&other);
  assert_int_equal(atomic_load(&pending.reports), 0);
  assert_int_equal(rsca_call_finish(waiting.call, S_FALSE, NULL, 0), S_OK);
  step_all(manager);
  assert_true(ended_with(&pending, S_FALSE, NULL, 0));
}

static void test_shutdown_false_inside_a_callback_lets_the_others_end(void **state) {
  (void)state;
  saying inside = {.immediate = false};
  heard.inside = say_in_callback;
  heard.user = &inside;
  queue(&heard);
  queue(&other);
  step_all(manager);
  assert_said(&inside);
  assert_answered(&heard);
  assert_answered(&other);
}

/* The drain's time is over: seen by a host that waits as the manager tells it. */
static void test_shutdown_false_inside_an_action_cuts_what_outlasts_the_drain_limit(void **state) {
  (void)state;
  saying inside = {.immediate = false};
  remake(50);
  make_pending();
  action.inside = say_in_action;
  action.user = &inside;
  queue(&heard);
  step_all(manager);
  assert_said(&inside);
  assert_answered(&heard);
  while (atomic_load(&pending.reports) == 0) {
    int timeout_ms = rsca_manager_timeout_ms(manager);
    assert_true(timeout_ms >= 0 && timeout_ms <= 50);
    wait_as_host(manager);
    assert_int_equal(rsca_manager_step(manager, 0), S_OK); /* "rounded up, until a step has something to do" */
  }
  assert_cut(&pending);
  finish_late();
  assert_int_equal(rsca_manager_timeout_ms(manager), -1);
}

/* "Shutdown(TRUE), also during a drain, ends everything at once": on this thread while it drains in steps ... */
static void test_shutdown_true_during_a_drain_in_steps_ends_everything_at_once(void **state) {
  (void)state;
  saying inside = {.immediate = false};
  make_pending();
  action.inside = say_in_action;
  action.user = &inside;
  queue(&heard);
  step_all(manager);
  assert_int_equal(atomic_load(&pending.reports), 0);
  assert_int_equal(rsca_manager_shutdown(manager, true), S_OK);
  assert_cut(&pending);
  finish_late();
  assert_int_equal(rsca_manager_timeout_ms(manager), -1);
}

/* ... by a callback in one of those steps; of the drain nothing is left then ... */
static void test_shutdown_true_inside_a_callback_during_a_drain_ends_everything(void **state) {
  (void)state;
  saying drain = {.immediate = false}, now = {.immediate = true};
  assert_int_equal(submit(manager, "wait", "", &heard, NULL), S_OK);
  assert_int_equal(rsca_manager_step(manager, 0), S_OK);
  rsca_call *first = waiting.call;
  heard.inside = say_in_callback;
  heard.user = &now;
  make_pending();
  action.inside = say_in_action;
  action.user = &drain;
  outcome sayer = {.status = S_OK};
  queue(&sayer);
  step_all(manager);
  assert_said(&drain);
  assert_int_equal(rsca_call_finish(first, S_OK, NULL, 0), S_OK);
  step_all(manager);
  assert_said(&now);
  assert_true(ended_with(&heard, S_OK, NULL, 0));
  assert_cut(&pending);
  assert_int_equal(rsca_manager_timeout_ms(manager), -1);
  finish_late();
}

/* ... and said by a callback inside the Shutdown(FALSE) that drains. */
static void test_shutdown_true_inside_a_drain_that_blocks_ends_it_at_once(void **state) {
  (void)state;
  saying inside = {.immediate = true};
  make_pending();
  heard.inside = say_in_callback;
  heard.user = &inside;
  queue(&heard);
  assert_int_equal(rsca_manager_shutdown(manager, false), S_OK);
  assert_said(&inside);
  assert_answered(&heard);
  assert_cut(&pending);
  finish_late();
}

/* A callback that a Shutdown(TRUE) itself calls is a callback as well: said inside it is S_FALSE, and the next callback
 * is not called on its stack. */
static void test_shutdown_true_inside_a_callback_of_a_shutdown_is_s_false_and_does_not_nest(void **state) {
  (void)state;
  enum { CUT = 50 };
  static outcome cut[CUT];
  saying inside[CUT];
  memset(cut, 0, sizeof cut);
  for (size_t i = 0; i < CUT; i++) {
    inside[i] = (saying){.immediate = true};
    cut[i].inside = say_in_callback;
    cut[i].user = &inside[i];
    queue(&cut[i]);
  }
  assert_int_equal(rsca_manager_shutdown(manager, true), S_OK);
  for (size_t i = 0; i < CUT; i++) {
    assert_cut(&cut[i]);
    assert_int_equal(cut[i].depth, 0);
    if (i + 1 < CUT) /* with the last, nothing else is in flight */
      assert_int_equal(inside[i].status, S_FALSE);
    assert_int_equal(inside[i].refused, RSCA_E_SHUTDOWN_IN_PROGRESS);
  }
}

static void step_in_callback(void *user) {
  *(HRESULT *)user = rsca_manager_step(manager, 0);
}

static void test_step_inside_a_callback_of_a_shutdown_is_possible_deadlock(void **state) {
  (void)state;
  HRESULT stepped = S_OK;
  heard.inside = step_in_callback;
  heard.user = &stepped;
  queue(&heard);
  queue(&other);
  assert_int_equal(rsca_manager_shutdown(manager, true), S_OK);
  assert_cut(&heard);
  assert_cut(&other);
  assert_int_equal(other.depth, 0);
  assert_int_equal(stepped, RSCA_E_POSSIBLE_DEADLOCK);
}

/* ---- From another thread ---- */

typedef struct elsewhere {
  bool immediate;
  HRESULT status;
  pthread_t thread;
  unsigned told;
} elsewhere;

static void *shut_down_there(void *user) {
  elsewhere *self = user;
  self->thread = pthread_self();
  self->status = rsca_manager_shutdown(manager, self->immediate);
  self->told = atomic_load(&heard.reports) + atomic_load(&pending.reports);
  return NULL;
}

/* "S_FALSE: said from a thread that does not step; what is in flight ends in the following steps." */
static void test_shutdown_true_on_a_thread_that_does_not_step_finishes_in_the_following_steps(void **state) {
  (void)state;
  elsewhere there = {.immediate = true};
  make_pending();
  queue(&heard);
  on_another_thread(shut_down_there, &there);
  step_all(manager);
  finish_late();
  assert_cut(&heard);
  assert_cut(&pending);
  assert_int_equal(there.status, S_FALSE);
  assert_int_equal(there.told, 0);
  assert_true(pthread_equal(heard.thread, pthread_self()));
  assert_true(pthread_equal(pending.thread, pthread_self()));
}

/* It would block here: the drain is as long as the test's own limit. */
static void test_shutdown_false_on_a_thread_that_does_not_step_finishes_in_the_following_steps(void **state) {
  (void)state;
  elsewhere there = {.immediate = false};
  queue(&heard);
  on_another_thread(shut_down_there, &there);
  step_all(manager);
  assert_answered(&heard);
  assert_int_equal(there.status, S_FALSE);
  assert_int_equal(there.told, 0);
  assert_true(pthread_equal(heard.thread, pthread_self()));
}

typedef struct watched_run {
  elsewhere there;
  bool before, after;
  HRESULT reported;
} watched_run;

static void be_shut_down(obedient *self, void *user) {
  watched_run *seen = user;
  seen->before = rsca_call_cancelled(self->call);
  on_another_thread(shut_down_there, &seen->there);
  seen->after = rsca_call_cancelled(self->call);
  seen->reported = rsca_call_report(self->call, "x", 1);
}

/* "rsca_call_cancelled: whether the call has been cancelled or cut. An action that runs for long asks now and then." */
static void test_shutdown_true_on_another_thread_is_seen_by_an_action_that_runs(void **state) {
  (void)state;
  watched_run seen = {.there = {.immediate = true}, .before = true};
  action.inside = be_shut_down;
  action.user = &seen;
  action.echo = false;
  queue(&heard);
  assert_int_equal(rsca_manager_step(manager, 0), S_OK);
  step_all(manager);
  assert_int_equal(seen.there.status, S_FALSE);
  assert_int_equal(atomic_load(&heard.reports), 1);
  assert_false(seen.before);
  assert_true(seen.after);
  assert_int_equal(seen.reported, S_OK);
}

/* Shutdown from one thread while another steps, in every order that comes. */
enum { ROUNDS = 300, QUEUED = 20 };

typedef struct storm {
  gate start;
  atomic_uint threads; /* still running */
  outcome submitted[QUEUED];
  HRESULT statuses[QUEUED];
} storm;

static storm weather;

static void *shut_down_in_storm(void *user) {
  gate_pass(&weather.start);
  (void)rsca_manager_shutdown(manager, false);
  (void)rsca_manager_shutdown(manager, true);
  atomic_fetch_sub(&weather.threads, 1);
  return user;
}

static void *submit_in_storm(void *user) {
  gate_pass(&weather.start);
  for (size_t i = 0; i < QUEUED; i++)
    weather.statuses[i] = submit(manager, "act", "args", &weather.submitted[i], NULL);
  atomic_fetch_sub(&weather.threads, 1);
  return user;
}

/* Until all have ended and the other threads are gone. */
static void step_through_storm(unsigned budget) {
  bool over;
  do {
    over = atomic_load(&weather.threads) == 0;
    HRESULT status = rsca_manager_step(manager, budget);
    over = over && status == S_FALSE;
  } while (!over || atomic_load(&pending.reports) == 0);
}

static void test_shutdown_while_another_thread_steps_ends_each_call_once(void **state) {
  (void)state;
  static outcome queued[QUEUED];
  for (unsigned round = 0; round < ROUNDS; round++) {
    remake(SOON_MS);
    memset(queued, 0, sizeof queued);
    memset(&weather, 0, sizeof weather);
    gate_init(&weather.start);
    atomic_store(&weather.threads, 2);
    make_pending();
    for (size_t i = 0; i < QUEUED; i++)
      queue(&queued[i]);
    pthread_t shutter, submitter;
    assert_int_equal(pthread_create(&shutter, NULL, shut_down_in_storm, NULL), 0);
    assert_int_equal(pthread_create(&submitter, NULL, submit_in_storm, NULL), 0);
    gate_open(&weather.start);
    gate_open(&weather.start);
    step_through_storm(round % 4);
    assert_int_equal(pthread_join(shutter, NULL), 0);
    assert_int_equal(pthread_join(submitter, NULL), 0);
    assert_cut(&pending);
    finish_late();
    for (size_t i = 0; i < QUEUED; i++) {
      assert_true(ended_with(&queued[i], S_OK, "args", 4) || ended_saying_why(&queued[i], RSCA_E_CANCELLED));
      const outcome *later = &weather.submitted[i];
      if (weather.statuses[i] == S_OK)
        assert_true(ended_with(later, S_OK, "args", 4) || ended_saying_why(later, RSCA_E_CANCELLED));
      else
        assert_true(weather.statuses[i] == RSCA_E_SHUTDOWN_IN_PROGRESS && atomic_load(&later->reports) == 0);
    }
  }
}

/* ---- The last Release: "ends what is still in flight with RSCA_E_CANCELLED and then frees the manager" ---- */

static void test_last_release_cuts_queued_calls(void **state) {
  (void)state;
  queue(&heard);
  queue(&other);
  release();
  assert_cut(&heard);
  assert_cut(&other);
  assert_int_equal(atomic_load(&action.runs), 0);
  assert_int_equal(atomic_load(&action.freed), 1);
}

static void test_last_release_cuts_calls_whose_cancel_is_on_its_way(void **state) {
  (void)state;
  uint64_t id;
  assert_int_equal(submit(manager, "act", "", &heard, &id), S_OK);
  assert_int_equal(rsca_manager_cancel(manager, id, 0), S_OK);
  release();
  assert_cut(&heard);
  assert_int_equal(atomic_load(&action.freed), 1);
}

/* A result that was finished before, but not told yet: ended once, with one or the other. */
static void test_last_release_with_a_finish_on_its_way_ends_the_call_once(void **state) {
  (void)state;
  make_pending();
  assert_int_equal(rsca_call_finish(waiting.call, S_OK, "done", 4), S_OK);
  release();
  assert_true(ended_with(&pending, S_OK, "done", 4) || ended_saying_why(&pending, RSCA_E_CANCELLED));
  assert_int_equal(atomic_load(&waiting.freed), 1);
}

/* The call is the action's until it finishes it, also when the manager is gone: then everything is freed. */
static void test_last_release_with_a_pending_call_frees_when_that_is_finished(void **state) {
  (void)state;
  make_pending();
  release();
  assert_cut(&pending);
  assert_int_equal(atomic_load(&action.freed), 1);
  assert_int_equal(atomic_load(&waiting.freed), 0); /* the call needs it still */
  assert_true(rsca_call_cancelled(waiting.call));
  finish_late();
  assert_int_equal(atomic_load(&waiting.freed), 1);
}

static void *finish_late_there(void *user) {
  *(HRESULT *)user = rsca_call_finish(waiting.call, S_OK, "late", 4);
  return NULL;
}

static void test_last_release_with_a_pending_call_frees_when_another_thread_finishes_it(void **state) {
  (void)state;
  HRESULT finished = E_FAIL;
  make_pending();
  release();
  on_another_thread(finish_late_there, &finished);
  assert_int_equal(finished, S_OK);
  assert_cut(&pending);
  assert_int_equal(atomic_load(&waiting.freed), 1);
}

/* At the same time, in every order that comes. */
static void test_last_release_and_finish_at_once_end_the_call_once_and_free(void **state) {
  (void)state;
  for (unsigned round = 0; round < 300; round++) {
    remake(FOR_EVER_MS);
    make_pending();
    HRESULT finished = E_FAIL;
    pthread_t finisher;
    assert_int_equal(pthread_create(&finisher, NULL, finish_late_there, &finished), 0);
    release();
    assert_int_equal(pthread_join(finisher, NULL), 0);
    assert_int_equal(finished, S_OK);
    assert_true(ended_with(&pending, S_OK, "late", 4) || ended_saying_why(&pending, RSCA_E_CANCELLED));
    assert_int_equal(atomic_load(&waiting.freed), 1);
  }
}

enum { FINISHERS = 4 };

typedef struct finisher {
  obedient action;
  outcome heard;
  gate *start;
} finisher;

static void *finish_own(void *user) {
  finisher *self = user;
  gate_pass(self->start);
  (void)rsca_call_finish(self->action.call, S_OK, NULL, 0);
  return NULL;
}

/* Several actions finish at once what a manager that is gone has cut: everything is freed all the same. */
static void test_last_release_with_several_finishes_at_once_frees(void **state) {
  (void)state;
  static const char *const names[FINISHERS] = {"f0", "f1", "f2", "f3"};
  static finisher self[FINISHERS];
  gate start;
  gate_init(&start);
  for (unsigned round = 0; round < 300; round++) {
    remake(FOR_EVER_MS);
    pthread_t threads[FINISHERS];
    memset(self, 0, sizeof self);
    for (size_t i = 0; i < FINISHERS; i++) {
      self[i].action.status = E_PENDING;
      self[i].start = &start;
      assert_int_equal(register_obedient(manager, names[i], &self[i].action), S_OK);
      assert_int_equal(submit(manager, names[i], "", &self[i].heard, NULL), S_OK);
    }
    step_all(manager);
    for (size_t i = 0; i < FINISHERS; i++)
      assert_int_equal(pthread_create(&threads[i], NULL, finish_own, &self[i]), 0);
    release();
    for (size_t i = 0; i < FINISHERS; i++)
      gate_open(&start);
    for (size_t i = 0; i < FINISHERS; i++)
      assert_int_equal(pthread_join(threads[i], NULL), 0);
    for (size_t i = 0; i < FINISHERS; i++) {
      assert_cut(&self[i].heard);
      assert_int_equal(atomic_load(&self[i].action.freed), 1);
    }
  }
}

static void release_in_callback(void *user) {
  (void)user;
  rsca_manager *last = manager;
  manager = NULL;
  (void)rsca_manager_release(last);
}

/* "Release inside a callback": the step that called it goes on safely, and everything ends before it returns. */
static void test_last_release_inside_a_callback_ends_everything_within_that_step(void **state) {
  (void)state;
  make_pending();
  heard.inside = release_in_callback;
  queue(&heard);
  assert_int_equal(rsca_manager_step(manager, 0), S_OK);
  assert_answered(&heard);
  assert_cut(&pending);
  assert_int_equal(atomic_load(&action.freed), 1);
  finish_late();
}

static void test_last_release_inside_a_callback_cuts_what_is_queued_behind_it(void **state) {
  (void)state;
  heard.inside = release_in_callback;
  queue(&heard);
  queue(&other);
  assert_int_equal(rsca_manager_step(manager, 0), S_OK);
  assert_answered(&heard);
  assert_int_equal(atomic_load(&action.freed), 1);
  assert_cut(&other);
  assert_int_equal(atomic_load(&action.runs), 1);
}

static void test_last_release_inside_a_callback_of_a_budgeted_step_ends_everything(void **state) {
  (void)state;
  heard.inside = release_in_callback;
  queue(&heard);
  queue(&other);
  assert_int_equal(rsca_manager_step(manager, 1), S_OK);
  assert_answered(&heard);
  assert_int_equal(atomic_load(&other.reports), 1);
  assert_int_equal(atomic_load(&action.freed), 1);
  assert_cut(&other);
}

static void release_in_action(obedient *self, void *user) {
  self->inside = NULL;
  release_in_callback(user);
}

static void test_last_release_inside_an_action_lets_that_action_end(void **state) {
  (void)state;
  action.inside = release_in_action;
  queue(&heard);
  assert_int_equal(rsca_manager_step(manager, 0), S_OK);
  assert_answered(&heard);
  assert_int_equal(atomic_load(&action.freed), 1);
}

/* Inside a callback that a Shutdown itself calls. */
static void test_last_release_inside_a_callback_of_a_shutdown_ends_everything_once(void **state) {
  (void)state;
  make_pending();
  heard.inside = release_in_callback;
  queue(&heard);
  queue(&other);
  (void)rsca_manager_shutdown(manager, true);
  assert_cut(&heard);
  assert_cut(&other);
  assert_cut(&pending);
  assert_int_equal(atomic_load(&action.freed), 1);
  finish_late();
}

static void *release_there(void *user) {
  (void)user;
  release_in_callback(NULL);
  return NULL;
}

/* "The last Release may happen on any thread." */
static void test_last_release_on_another_thread_cuts_what_is_in_flight(void **state) {
  (void)state;
  make_pending();
  queue(&heard);
  on_another_thread(release_there, NULL);
  assert_cut(&heard);
  assert_cut(&pending);
  assert_int_equal(atomic_load(&action.freed), 1);
  finish_late();
}

static void be_released(obedient *self, void *user) {
  self->inside = NULL;
  on_another_thread(release_there, user);
}

/* While a step is on: that step ends what is in flight. */
static void test_last_release_on_another_thread_during_a_step_is_finished_by_it(void **state) {
  (void)state;
  make_pending();
  action.inside = be_released;
  queue(&heard);
  assert_int_equal(rsca_manager_step(manager, 0), S_OK);
  assert_int_equal(atomic_load(&heard.reports), 1);
  assert_cut(&pending);
  assert_int_equal(atomic_load(&action.freed), 1);
  finish_late();
}

/* A drain that is on keeps nothing alive. */
static void test_last_release_during_a_drain_ends_everything_at_once(void **state) {
  (void)state;
  saying inside = {.immediate = false};
  action.inside = say_in_action;
  action.user = &inside;
  make_pending();
  queue(&heard);
  step_all(manager);
  assert_int_equal(atomic_load(&pending.reports), 0);
  release();
  assert_cut(&pending);
  assert_int_equal(atomic_load(&action.freed), 1);
  finish_late();
}

/* From inside a callback of the last Release nothing new is accepted. */
typedef struct refusal {
  rsca_manager *of;
  HRESULT status;
} refusal;

static void submit_in_callback(void *user) {
  static outcome never;
  refusal *self = user;
  self->status = submit(self->of, "act", "", &never, NULL);
}

static void test_last_release_refuses_calls_from_its_callbacks(void **state) {
  (void)state;
  refusal self = {.of = manager, .status = S_OK};
  heard.inside = submit_in_callback;
  heard.user = &self;
  queue(&heard);
  release();
  assert_cut(&heard);
  assert_int_equal(self.status, RSCA_E_SHUTDOWN_IN_PROGRESS);
}

/* Nor while its actions are forgotten: those are not unknown, but not to be had any more. */
static refusal in_free_user;

static void submit_in_free_user(void *user) {
  (void)user;
  submit_in_callback(&in_free_user);
}

static void test_last_release_refuses_calls_while_its_actions_are_forgotten(void **state) {
  (void)state;
  in_free_user = (refusal){.of = manager, .status = S_OK};
  assert_int_equal(rsca_manager_register(manager, "own", NULL, obey, &action, submit_in_free_user), S_OK);
  release();
  assert_int_equal(in_free_user.status, RSCA_E_SHUTDOWN_IN_PROGRESS);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
  static const struct CMUnitTest tests[] = {
      TEST(test_shutdown_false_lets_queued_calls_end_and_refuses_new_ones),
      TEST(test_shutdown_false_waits_for_a_call_finished_on_another_thread),
      TEST(test_shutdown_false_cuts_what_outlasts_the_drain_limit),
      TEST(test_shutdown_true_cuts_queued_and_pending_calls_at_once),
      TEST(test_shutdown_true_gives_back_callbacks),
      TEST(test_shutdown_true_ends_calls_whose_cancel_is_on_its_way),
      TEST(test_shutdown_false_ends_calls_whose_cancel_is_on_its_way),
      TEST(test_shutdown_said_again_changes_nothing),
      TEST(test_shutdown_with_nothing_in_flight_is_s_ok),
      TEST(test_shutdown_leaves_names_until_they_are_taken_away),
      TEST(test_shutdown_true_inside_an_action_finishes_in_the_following_steps),
      TEST(test_shutdown_true_inside_a_callback_finishes_in_the_following_steps),
      TEST(test_shutdown_true_inside_an_action_cuts_what_is_queued_behind_it),
      TEST(test_shutdown_false_inside_an_action_lets_the_others_end),
      TEST(test_shutdown_false_inside_a_callback_lets_the_others_end),
      TEST(test_shutdown_false_inside_an_action_cuts_what_outlasts_the_drain_limit),
      TEST(test_shutdown_true_during_a_drain_in_steps_ends_everything_at_once),
      TEST(test_shutdown_true_inside_a_callback_during_a_drain_ends_everything),
      TEST(test_shutdown_true_inside_a_drain_that_blocks_ends_it_at_once),
      TEST(test_shutdown_true_inside_a_callback_of_a_shutdown_is_s_false_and_does_not_nest),
      TEST(test_step_inside_a_callback_of_a_shutdown_is_possible_deadlock),
      TEST(test_shutdown_true_on_a_thread_that_does_not_step_finishes_in_the_following_steps),
      TEST(test_shutdown_false_on_a_thread_that_does_not_step_finishes_in_the_following_steps),
      TEST(test_shutdown_true_on_another_thread_is_seen_by_an_action_that_runs),
      TEST(test_shutdown_while_another_thread_steps_ends_each_call_once),
      TEST(test_last_release_cuts_queued_calls),
      TEST(test_last_release_cuts_calls_whose_cancel_is_on_its_way),
      TEST(test_last_release_with_a_finish_on_its_way_ends_the_call_once),
      TEST(test_last_release_with_a_pending_call_frees_when_that_is_finished),
      TEST(test_last_release_with_a_pending_call_frees_when_another_thread_finishes_it),
      TEST(test_last_release_and_finish_at_once_end_the_call_once_and_free),
      TEST(test_last_release_with_several_finishes_at_once_frees),
      TEST(test_last_release_inside_a_callback_ends_everything_within_that_step),
      TEST(test_last_release_inside_a_callback_cuts_what_is_queued_behind_it),
      TEST(test_last_release_inside_a_callback_of_a_budgeted_step_ends_everything),
      TEST(test_last_release_inside_an_action_lets_that_action_end),
      TEST(test_last_release_inside_a_callback_of_a_shutdown_ends_everything_once),
      TEST(test_last_release_on_another_thread_cuts_what_is_in_flight),
      TEST(test_last_release_on_another_thread_during_a_step_is_finished_by_it),
      TEST(test_last_release_during_a_drain_ends_everything_at_once),
      TEST(test_last_release_refuses_calls_from_its_callbacks),
      TEST(test_last_release_refuses_calls_while_its_actions_are_forgotten),
  };
  return cmocka_run_group_tests_name("shutdown", tests, NULL, NULL);
}
