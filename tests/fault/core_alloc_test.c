/*
 * Memory that runs out: each scenario is repeated with its first, its second, ... its last allocation failing, once
 * alone and once with all that follow. Whatever happens, an answer is S_OK or E_OUTOFMEMORY, what was accepted ends
 * exactly once, what was refused is not touched, and nothing is leaked.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/client.h"
#include "core/timers.h"

/* ---- The allocator: the linker puts it in front of the real one, for this program and our static libraries ---- */

static atomic_size_t allocations; /* since the scenario began */
static atomic_size_t failed;
static atomic_size_t live;   /* allocated and not yet freed */
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
  size_t number = atomic_fetch_add(&allocations, 1) + 1;
  bool now = fail_at > 0 && (number == fail_at || (fail_from_there && number > fail_at));
  if (now)
    atomic_fetch_add(&failed, 1);
  return now;
}

static void *counted(void *memory) {
  if (memory)
    atomic_fetch_add(&live, 1);
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
  if (memory)
    atomic_fetch_sub(&live, 1);
  __real_free(memory);
}

/* ---- What a scenario writes down; it asserts nothing while memory fails ---- */

enum { CALLS = 40, NAMES = 20, LARGE = 20000 };

static rsca_manager *manager;
static obedient users[NAMES];
static unsigned registered; /* accepted registrations */
static counting_callback callbacks[CALLS];
static outcome results[CALLS];
static HRESULT callback_status[CALLS], result_status[CALLS];
static const char *wrong; /* the first thing that was not as it should be */

static void check(bool condition, const char *what) {
  if (!condition && !wrong)
    wrong = what;
}

/* An answer that is allowed while memory fails. */
static bool accepted(HRESULT status) {
  check(status == S_OK || status == E_OUTOFMEMORY, "an answer that is neither S_OK nor E_OUTOFMEMORY");
  check(status == S_OK || atomic_load(&failed) > 0, "E_OUTOFMEMORY, but no allocation has failed");
  return status == S_OK;
}

static char large_text[LARGE + 1];
static WCHAR large_wide[LARGE + 1];

static void reset(void) {
  manager = NULL;
  wrong = NULL;
  registered = 0;
  memset(users, 0, sizeof users);
  memset(results, 0, sizeof results);
  for (size_t i = 0; i < CALLS; i++) {
    counting_callback_init(&callbacks[i]);
    callback_status[i] = result_status[i] = E_FAIL;
  }
  memset(large_text, 'x', LARGE);
  for (size_t i = 0; i < LARGE; i++)
    large_wide[i] = 'x';
}

static bool create_with(const rsca_config *config) {
  rsca_manager *made = (rsca_manager *)&wrong;
  bool ok = accepted(rsca_manager_create(config, &made));
  check(ok == (made != NULL), "a manager, or none, against what create said");
  manager = ok ? made : NULL;
  return ok;
}

static bool create(void) {
  return create_with(&(rsca_config){.drain_ms = 600000});
}

static bool register_one(const char *name, size_t user) {
  bool ok = accepted(rsca_manager_register(manager, name, "help", obey, &users[user], free_obedient));
  registered += ok;
  return ok;
}

static void run(size_t i, const char *name, const char *args) {
  uint64_t id = 7;
  result_status[i] = submit(manager, name, args, &results[i], &id);
  check(accepted(result_status[i]) == (id != 0), "an id, or none, against what run said");
}

static void run_interface(IPmCustomActions *actions, size_t i, PCWSTR name, PCWSTR args) {
  callback_status[i] = submit_to_interface(actions, name, args, &callbacks[i]);
  if (!accepted(callback_status[i]))
    check(untouched(&callbacks[i]), "a refused callback was called or is held");
}

static void give_back(void) {
  if (manager)
    (void)rsca_manager_release(manager);
  manager = NULL;
}

/* After the manager is gone: accepted calls were told once and let go, refused ones never; users were freed once. */
static void look_at_the_end(void) {
  unsigned freed = 0;
  for (size_t i = 0; i < NAMES; i++)
    freed += atomic_load(&users[i].freed);
  check(freed == registered, "a user was freed twice or not at all");
  for (size_t i = 0; i < CALLS; i++) {
    check(atomic_load(&results[i].reports) == (result_status[i] == S_OK), "a result was told twice or not at all");
    check(atomic_load(&callbacks[i].heard.reports) == (callback_status[i] == S_OK),
          "a callback was told twice or not at all");
    check(atomic_load(&callbacks[i].references) == 1, "a callback's reference was not given back, or twice");
    check(atomic_load(&callbacks[i].over_released) == 0, "a callback was released too often");
    check(!results[i].on_stack_of_run && !callbacks[i].heard.on_stack_of_run, "told on the stack of its run");
  }
}

static void run_scenario(void (*scenario)(void), size_t at, bool from_there) {
  reset();
  size_t live_before = atomic_load(&live);
  atomic_store(&allocations, 0);
  atomic_store(&failed, 0);
  fail_at = at;
  fail_from_there = from_there;
  scenario();
  fail_at = 0;
  give_back();
  look_at_the_end();
  if (wrong)
    fail_msg("allocation %zu%s failed: %s", at, from_there ? " and all that follow" : "", wrong);
  if (atomic_load(&live) != live_before)
    fail_msg("allocation %zu%s failed: %zu allocations leaked", at, from_there ? " and all that follow" : "",
             atomic_load(&live) - live_before);
}

/* Until it runs to its end without reaching the allocation that fails. At least `expected` allocations. */
static void run_with_each_failing(void (*scenario)(void), size_t expected) {
  for (int from_there = 0; from_there <= 1; from_there++) {
    size_t at = 0;
    do
      run_scenario(scenario, ++at, from_there != 0);
    while (atomic_load(&failed) > 0);
    assert_true(at > expected);
    for (size_t i = 0; i < CALLS; i++) /* nothing failed: all was accepted that was tried */
      assert_true(result_status[i] != E_OUTOFMEMORY && callback_status[i] != E_OUTOFMEMORY);
  }
}

/* ---- Scenarios ---- */

static void create_only(void) {
  (void)create();
}

static void test_create_with_failing_memory_is_e_outofmemory(void **state) {
  (void)state;
  run_with_each_failing(create_only, 3); /* runner, manager, engine */
}

static void create_and_watch(void) {
  if (!create())
    return;
  check(rsca_manager_fd(manager) >= 0, "no descriptor");
  IPmCustomActions *actions = rsca_manager_custom_actions(manager);
  check(actions != NULL, "no interface");
  (void)actions->lpVtbl->Release(actions);
}

static void test_interface_and_descriptor_need_no_memory(void **state) {
  (void)state;
  run_with_each_failing(create_and_watch, 3);
}

static void register_many(void) {
  char name[16];
  if (!create())
    return;
  for (size_t i = 0; i < NAMES; i++) {
    snprintf(name, sizeof name, "name%zu", i % 15); /* the last ones replace */
    (void)register_one(name, i);
  }
  rsca_manager_stats stats;
  rsca_manager_get_stats(manager, &stats);
  check(stats.actions <= registered, "more names than were registered");
  for (size_t i = 0; i < 15; i += 2) {
    snprintf(name, sizeof name, "name%zu", i);
    HRESULT status = rsca_manager_unregister(manager, name);
    check(status == S_OK || (status == RSCA_E_NOT_FOUND && atomic_load(&failed) > 0), "unregister needed memory");
  }
}

/* "On a failure `user` stays the caller's, and free_user is not called." */
static void test_register_with_failing_memory_is_e_outofmemory_and_leaves_user_alone(void **state) {
  (void)state;
  run_with_each_failing(register_many, 3 + 2 * NAMES);
}

static unsigned visits;

static void count_visit(void *user, const rsca_action_info *info) {
  (void)user, (void)info;
  visits++;
}

static void list_some(void) {
  if (!create() || !register_one("a", 0) || !register_one("b", 1))
    return;
  visits = 0;
  bool listed = accepted(rsca_manager_list(manager, count_visit, NULL));
  check(visits == (listed ? 2 : 0), "visits against what list said");
}

static void test_list_with_failing_memory_is_e_outofmemory_and_visits_none(void **state) {
  (void)state;
  run_with_each_failing(list_some, 8);
}

/* Enough calls in flight for the table to grow. */
static void run_many(void) {
  if (!create() || !register_one("act", 0))
    return;
  users[0].echo = true;
  for (size_t i = 0; i < CALLS; i++)
    run(i, "act", i % 7 == 6 ? large_text : "small");
  step_all(manager);
  for (size_t i = 0; i < CALLS; i++) {
    const outcome *heard = &results[i];
    size_t size = i % 7 == 6 ? LARGE : 5;
    if (atomic_load(&heard->reports) == 1)
      check((heard->status == S_OK && (heard->size == size || (heard->size == 0 && atomic_load(&failed) > 0))),
            "an echo that is neither whole nor empty");
  }
}

static void test_run_with_failing_memory_is_e_outofmemory_and_never_called(void **state) {
  (void)state;
  run_with_each_failing(run_many, 3 + 2 + CALLS);
}

static void run_many_through_the_interface(void) {
  if (!create() || !register_one("act", 0) || !register_one(large_text, 1))
    return;
  IPmCustomActions *actions = rsca_manager_custom_actions(manager);
  for (size_t i = 0; i < CALLS; i++)
    run_interface(actions, i, i % 2 ? large_wide : u"act", i % 3 ? large_wide : NULL);
  step_all(manager);
  (void)actions->lpVtbl->Release(actions);
}

static void test_run_custom_action_with_failing_memory_is_e_outofmemory_and_not_held(void **state) {
  (void)state;
  run_with_each_failing(run_many_through_the_interface, 3 + 4 + CALLS);
}

/* ---- Registrations ---- */

/* Counts what holds it, and how it was told. */
typedef struct listener {
  ICustomAction2ResultCallback iface;
  atomic_uint references, responses, finals;
} listener;

static listener listeners[CALLS];
static HRESULT listener_status[CALLS];

static ULONG RSCA_METHOD listener_AddRef(ICustomAction2ResultCallback *iface) {
  return atomic_fetch_add(&((listener *)iface)->references, 1) + 1;
}

static ULONG RSCA_METHOD listener_Release(ICustomAction2ResultCallback *iface) {
  return atomic_fetch_sub(&((listener *)iface)->references, 1) - 1;
}

static HRESULT RSCA_METHOD listener_ReportResult(ICustomAction2ResultCallback *iface, RSCA_REPORTRESULT2_PARAMETERS) {
#if RSCA_SDK_REPORTRESULT
  bool final = fFinalResponse != FALSE;
#else
  bool final = hrStatus != S_OK;
#endif
  listener *self = (listener *)iface;
  (void)hrStatus;
  (void)pbResponse;
  (void)cbResponse;
  atomic_fetch_add(final ? &self->finals : &self->responses, 1);
  return S_OK;
}

static const ICustomAction2ResultCallbackVtbl listener_vtbl = {listener_AddRef, listener_Release,
                                                               listener_ReportResult};

static void on_report(void *user, HRESULT status, const void *response, size_t size, bool final) {
  listener *self = user;
  (void)status;
  (void)response;
  (void)size;
  atomic_fetch_add(final ? &self->finals : &self->responses, 1);
}

/* Registered in turn by the default session, by sessions of their own and by function; every fourth is unregistered. */
static void subscribe_many(void) {
  memset(listeners, 0, sizeof listeners);
  for (size_t i = 0; i < CALLS; i++) {
    listeners[i].iface.lpVtbl = &listener_vtbl;
    atomic_init(&listeners[i].references, 1);
    listener_status[i] = E_FAIL;
  }
  if (!create() || !register_one("act", 0) || !register_one(large_text, 1))
    return;
  users[0].echo = users[1].echo = true;
  for (size_t i = 0; i < CALLS; i++) {
    uint64_t id = 7;
    if (i % 2 == 0) {
      IPmCustomActions2 *session = NULL;
      if (!accepted(rsca_manager_create_session(manager, &session)))
        continue;
      listener_status[i] = session->lpVtbl->RegisterCustomActionCallback(session, i % 4 ? large_wide : u"act", u"args",
                                                                         &listeners[i].iface);
      if (accepted(listener_status[i]) && i % 8 == 0)
        check(session->lpVtbl->UnregisterCustomActionCallback(session, u"act") == S_OK, "unregister needed memory");
      (void)session->lpVtbl->Release(session);
    } else {
      listener_status[i] = rsca_manager_subscribe(manager, "act", large_text, on_report, &listeners[i], &id);
      check(accepted(listener_status[i]) == (id != 0), "an id, or none, against what subscribe said");
    }
    if (FAILED(listener_status[i]))
      check(listeners[i].references == 1, "a refused callback is held");
  }
  step_all(manager);
  give_back();
  for (size_t i = 0; i < CALLS; i++) {
    check(listeners[i].finals == (listener_status[i] == S_OK), "a final was told twice or not at all");
    check(listeners[i].responses <= (listener_status[i] == S_OK), "responses that were not reported");
    check(listeners[i].references == 1, "a callback's reference was not given back, or twice");
  }
}

static void test_registering_with_failing_memory_is_e_outofmemory_and_not_held(void **state) {
  (void)state;
  run_with_each_failing(subscribe_many, 3 + 4 + CALLS);
}

/* As for runs, but what was accepted is never stepped: the last Release cuts it. */
static void run_and_release(void) {
  if (!create() || !register_one("act", 0))
    return;
  IPmCustomActions *actions = rsca_manager_custom_actions(manager);
  for (size_t i = 0; i < CALLS; i++) {
    run(i, "act", "args");
    run_interface(actions, i, u"act", u"args");
  }
  (void)actions->lpVtbl->Release(actions);
  give_back();
}

static void test_last_release_with_failing_memory_ends_accepted_calls_once(void **state) {
  (void)state;
  run_with_each_failing(run_and_release, 3 + 2 + 2 * CALLS);
}

static void run_and_cut(void) {
  if (!create() || !register_one("act", 0))
    return;
  for (size_t i = 0; i < 4; i++)
    run(i, "act", large_text);
  check(rsca_manager_shutdown(manager, true) == S_OK, "Shutdown(TRUE) needed memory");
}

static void test_shutdown_true_needs_no_memory(void **state) {
  (void)state;
  run_with_each_failing(run_and_cut, 3 + 2 + 4);
}

/* Reports that grow the response piece by piece; the one that fails adds nothing. */
static void report_pieces(obedient *self, void *user) {
  size_t *whole = user;
  *whole = 0;
  for (size_t size = 1; size <= 4096; size *= 4)
    if (accepted(rsca_call_report(self->call, large_text, size)))
      *whole += size;
}

static void report_much(void) {
  size_t whole = 0;
  if (!create() || !register_one("act", 0))
    return;
  users[0].inside = report_pieces;
  users[0].user = &whole;
  for (size_t i = 0; i < 3; i++) {
    run(i, "act", "");
    step_all(manager);
    if (result_status[i] == S_OK)
      check(results[i].status == S_OK && results[i].size == whole, "a failed report added something");
  }
}

static void test_report_with_failing_memory_is_e_outofmemory_and_adds_nothing(void **state) {
  (void)state;
  run_with_each_failing(report_much, 3 + 2 + 5);
}

/* "E_OUTOFMEMORY: the call ends with that status." */
static void finish_large(void) {
  if (!create() || !register_one("act", 0))
    return;
  users[0].status = E_PENDING;
  users[0].bytes = "small";
  users[0].size = 5;
  run(0, "act", "");
  step_all(manager);
  if (result_status[0] != S_OK)
    return;
  bool whole = accepted(rsca_call_finish(users[0].call, S_FALSE, large_text, LARGE));
  step_all(manager);
  check(results[0].status == (whole ? S_FALSE : E_OUTOFMEMORY), "another status than finish said");
  if (whole)
    check(results[0].size == LARGE + (users[0].report_status == S_OK ? 5u : 0u), "another response than was finished");
}

static void test_finish_with_failing_memory_ends_the_call_with_e_outofmemory(void **state) {
  (void)state;
  run_with_each_failing(finish_large, 3 + 2 + 3);
}

static void cancel_pending(void) {
  uint64_t id = 0;
  if (!create() || !register_one("act", 0))
    return;
  users[0].status = E_PENDING;
  result_status[0] = submit(manager, "act", "", &results[0], &id);
  if (!accepted(result_status[0]))
    return;
  step_all(manager);
  check(rsca_manager_cancel(manager, id, 0) == S_OK, "cancel needed memory");
  step_all(manager);
  check(results[0].status == RSCA_E_CANCELLED, "not cancelled");
  (void)accepted(rsca_call_finish(users[0].call, S_OK, large_text, LARGE));
  step_all(manager);
}

static void test_cancel_needs_no_memory(void **state) {
  (void)state;
  run_with_each_failing(cancel_pending, 3 + 2 + 3);
}

static void shut_down_patiently(obedient *self, void *user) {
  (void)self;
  *(HRESULT *)user = rsca_manager_shutdown(manager, false);
}

/* A drain needs an alarm; without memory for one there is no patience: what waits is cut. */
static void drain_in_steps(void) {
  HRESULT said = S_FALSE;
  if (!create() || !register_one("act", 0))
    return;
  users[0].status = E_PENDING;
  users[0].inside = shut_down_patiently;
  users[0].user = &said;
  run(0, "act", "");
  size_t failed_before = atomic_load(&failed);
  step_all(manager); /* the action, then the alarm */
  if (result_status[0] == S_OK)
    check(said == S_FALSE, "Shutdown(FALSE) inside an action is not S_FALSE");
  if (result_status[0] != S_OK)
    return;
  bool cut = atomic_load(&results[0].reports) > 0;
  check(cut == (atomic_load(&failed) > failed_before), "cut without need, or a drain without an end");
  check(!cut || results[0].status == RSCA_E_CANCELLED, "cut, but not as cancelled");
  (void)accepted(rsca_call_finish(users[0].call, S_OK, NULL, 0));
  step_all(manager);
}

static void test_drain_with_failing_memory_cuts(void **state) {
  (void)state;
  run_with_each_failing(drain_in_steps, 3 + 2 + 4);
}

/* "False: out of memory, and nothing changed." */
static void add_timers(void) {
  enum { TIMERS = 100 };
  rsci_timers timers = {0};
  rsci_timer set[TIMERS];
  size_t added = 0, taken = 0;
  memset(set, 0, sizeof set);
  for (uint64_t i = 0; i < TIMERS; i++) {
    bool ok = rsci_timers_add(&timers, &set[i], TIMERS - i);
    check(ok || atomic_load(&failed) > 0, "refused, but no allocation has failed");
    check(ok == (set[i].place > 0), "set, or not, against what add said");
    added += ok;
  }
  while (rsci_timers_take_due(&timers, UINT64_MAX))
    taken++;
  check(taken == added, "other timers than were added");
  rsci_timers_fini(&timers);
}

static void test_timers_add_with_failing_memory_changes_nothing(void **state) {
  (void)state;
  run_with_each_failing(add_timers, 3);
}

/* ---- Pools: threads of theirs allocate as well ---- */

static bool create_pool(void) {
  return create_with(&(rsca_config){.workers = 2, .drain_ms = 600000});
}

static void create_pool_only(void) {
  (void)create_pool();
}

static void test_create_of_a_pool_with_failing_memory_is_e_outofmemory(void **state) {
  (void)state;
  run_with_each_failing(create_pool_only, 10); /* the manager, two workers with a runner and an engine each, ... */
}

/* Each call has an action of its own: they run at the same time. All threads have ended when this returns. */
static void run_on_a_pool(bool immediate) {
  if (!create_pool())
    return;
  IPmCustomActions *actions = rsca_manager_custom_actions(manager);
  for (size_t i = 0; i < NAMES; i++) {
    char name[] = {(char)('a' + i), '\0'};
    const WCHAR wide[] = {(WCHAR)('a' + i), 0};
    users[i].echo = true;
    if (!register_one(name, i))
      continue;
    if (i % 2)
      run(i, name, i % 3 ? "small" : large_text);
    else
      run_interface(actions, i, wide, i % 3 ? u"small" : large_wide);
  }
  (void)actions->lpVtbl->Release(actions);
  check(rsca_manager_shutdown(manager, immediate) == S_OK, "a shutdown that left something in flight");
}

static void run_on_a_pool_and_drain(void) {
  run_on_a_pool(false);
}

static void run_on_a_pool_and_cut(void) {
  run_on_a_pool(true);
}

static void test_accepted_calls_of_a_pool_with_failing_memory_end_once(void **state) {
  (void)state;
  run_with_each_failing(run_on_a_pool_and_drain, 10 + NAMES);
}

static void test_shutdown_of_a_pool_needs_no_memory(void **state) {
  (void)state;
  run_with_each_failing(run_on_a_pool_and_cut, 10 + NAMES);
}

int main(void) {
  static const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_create_with_failing_memory_is_e_outofmemory),
      cmocka_unit_test(test_interface_and_descriptor_need_no_memory),
      cmocka_unit_test(test_register_with_failing_memory_is_e_outofmemory_and_leaves_user_alone),
      cmocka_unit_test(test_list_with_failing_memory_is_e_outofmemory_and_visits_none),
      cmocka_unit_test(test_run_with_failing_memory_is_e_outofmemory_and_never_called),
      cmocka_unit_test(test_run_custom_action_with_failing_memory_is_e_outofmemory_and_not_held),
      cmocka_unit_test(test_registering_with_failing_memory_is_e_outofmemory_and_not_held),
      cmocka_unit_test(test_last_release_with_failing_memory_ends_accepted_calls_once),
      cmocka_unit_test(test_shutdown_true_needs_no_memory),
      cmocka_unit_test(test_report_with_failing_memory_is_e_outofmemory_and_adds_nothing),
      cmocka_unit_test(test_finish_with_failing_memory_ends_the_call_with_e_outofmemory),
      cmocka_unit_test(test_cancel_needs_no_memory),
      cmocka_unit_test(test_drain_with_failing_memory_cuts),
      cmocka_unit_test(test_timers_add_with_failing_memory_changes_nothing),
      cmocka_unit_test(test_create_of_a_pool_with_failing_memory_is_e_outofmemory),
      cmocka_unit_test(test_accepted_calls_of_a_pool_with_failing_memory_end_once),
      cmocka_unit_test(test_shutdown_of_a_pool_needs_no_memory),
  };
  return cmocka_run_group_tests_name("core_alloc", tests, NULL, NULL);
}
