/*
 * Registrations: any number of responses, in order and never two at a time, then exactly one final, whatever happens.
 * Every promise is kept for callbacks that are C functions, for ICustomAction2ResultCallback in the default session and
 * for the same in sessions that were handed out.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client.h"

static _Thread_local unsigned starting; /* registrations being made on this stack */

/* ---- Who listens ---- */

typedef struct listener listener;

struct listener {
  ICustomAction2ResultCallback iface;
  atomic_uint references, over_released; /* 1 is the test's */
  atomic_uint responses, finals;
  atomic_bool broken; /* a rule of all reports was: see note */
  char text[256];     /* the first responses, each with a ';' after it */
  size_t text_size;
  size_t bytes;   /* of all responses */
  uint64_t hash;  /* of all responses in their order */
  HRESULT status; /* the final's, and its bytes */
  char why[128];
  unsigned held;    /* references in the last report */
  unsigned fail_at; /* from this response on it answers E_FAIL; 0: never */
  pthread_t thread; /* of the last report */
  atomic_uint inside_now;
  void (*inside)(listener *self, bool final); /* called inside each report */
  void *user;
};

/* Those that fit. */
static void add_text(listener *self, const void *bytes, size_t size) {
  if (self->text_size + size + 2 > sizeof self->text)
    return;
  if (size > 0)
    memcpy(self->text + self->text_size, bytes, size);
  self->text_size += size + 1;
  memcpy(self->text + self->text_size - 1, ";", 2);
}

/* One report. Broken are: two at a time, one after the final, one on the stack of the registering call, a response with
 * a status or a final without, bytes where there are none. */
static HRESULT note(listener *self, HRESULT status, const void *bytes, size_t size, bool final) {
  if (atomic_fetch_add(&self->inside_now, 1) > 0 || atomic_load(&self->finals) > 0 || starting > 0 ||
      final != (status != S_OK) || !bytes != (size == 0))
    atomic_store(&self->broken, true);
  self->thread = pthread_self();
  self->held = atomic_load(&self->references);
  HRESULT answer = S_OK;
  if (final) {
    self->status = status;
    if (size > 0)
      memcpy(self->why, bytes, size < sizeof self->why ? size : sizeof self->why - 1);
  } else {
    self->bytes += size;
    self->hash = self->hash * 31 + client_hash(bytes, size);
    add_text(self, bytes, size);
    unsigned number = atomic_load(&self->responses) + 1;
    answer = self->fail_at > 0 && number >= self->fail_at ? E_FAIL : S_OK;
    atomic_store(&self->responses, number);
  }
  if (self->inside)
    self->inside(self, final);
  atomic_fetch_sub(&self->inside_now, 1);
  if (final) /* whoever waits for it may let the listener go */
    atomic_fetch_add(&self->finals, 1);
  return answer;
}

static void on_report(void *user, HRESULT status, const void *response, size_t size, bool final) {
  (void)note(user, status, response, size, final);
}

static listener *listener_of(ICustomAction2ResultCallback *iface) {
  return (listener *)((char *)iface - offsetof(listener, iface));
}

static ULONG RSCA_METHOD listener_AddRef(ICustomAction2ResultCallback *iface) {
  return atomic_fetch_add(&listener_of(iface)->references, 1) + 1;
}

static ULONG RSCA_METHOD listener_Release(ICustomAction2ResultCallback *iface) {
  unsigned before = atomic_fetch_sub(&listener_of(iface)->references, 1);
  if (before <= 1)
    atomic_fetch_add(&listener_of(iface)->over_released, 1);
  return before - 1;
}

static HRESULT RSCA_METHOD listener_ReportResult(ICustomAction2ResultCallback *iface, RSCA_REPORTRESULT2_PARAMETERS) {
#if RSCA_SDK_REPORTRESULT
  bool final = fFinalResponse != FALSE;
#else
  bool final = hrStatus != S_OK;
#endif
  return note(listener_of(iface), hrStatus, pbResponse, cbResponse, final);
}

static const ICustomAction2ResultCallbackVtbl listener_vtbl = {listener_AddRef, listener_Release,
                                                               listener_ReportResult};

static void listener_init(listener *self) {
  memset(self, 0, sizeof *self);
  self->iface.lpVtbl = &listener_vtbl;
  atomic_init(&self->references, 1);
}

/* Whether it heard these responses, joined as in text, then this final, and was released after it. */
static bool heard(listener *self, const char *text, HRESULT status) {
  bool kept = !atomic_load(&self->broken) && atomic_load(&self->finals) == 1 && self->status == status &&
              strcmp(self->text, text) == 0 && atomic_load(&self->references) == 1 &&
              atomic_load(&self->over_released) == 0;
  if (!kept)
    print_error("heard \"%s\", %u finals, 0x%08X \"%s\", %u references%s\n", self->text, atomic_load(&self->finals),
                (unsigned)self->status, self->why, atomic_load(&self->references),
                atomic_load(&self->broken) ? ", broken" : "");
  return kept;
}

/* The hash of the responses "0", "1", ... up to `count`, in that order. */
static uint64_t numbers_hash(unsigned count) {
  uint64_t hash = 0;
  for (unsigned i = 0; i < count; i++) {
    char text[16];
    hash = hash * 31 + client_hash(text, (size_t)snprintf(text, sizeof text, "%u", i));
  }
  return hash;
}

static bool untouched_listener(listener *self) {
  return atomic_load(&self->responses) == 0 && atomic_load(&self->finals) == 0 && atomic_load(&self->references) == 1 &&
         atomic_load(&self->over_released) == 0;
}

/* ---- The action ---- */

typedef struct producer {
  unsigned count; /* it reports "0", "1", ... */
  HRESULT status; /* and returns this */
  void (*inside)(struct producer *self, rsca_call *call);
  unsigned runs, freed;
  rsca_call *call;        /* of the last run */
  rsca_call *pending[16]; /* those that it has not finished */
  unsigned pendings;
  uint64_t id;
  HRESULT refused; /* what the first report that was not taken answered */
  unsigned taken;
} producer;

static HRESULT report_number(rsca_call *call, unsigned number) {
  char text[16];
  return rsca_call_report(call, text, (size_t)snprintf(text, sizeof text, "%u", number));
}

static HRESULT produce(void *user, rsca_call *call, const char *args, size_t size) {
  producer *self = user;
  (void)args;
  (void)size;
  self->runs++;
  self->call = call;
  self->id = rsca_call_id(call);
  HRESULT answer = self->status;
  for (unsigned i = 0; i < self->count; i++) {
    HRESULT status = report_number(call, i);
    if (status == S_OK)
      self->taken++;
    else if (self->refused == S_OK)
      self->refused = status;
  }
  if (self->inside)
    self->inside(self, call);
  if (answer == E_PENDING && self->pendings < sizeof self->pending / sizeof *self->pending)
    self->pending[self->pendings++] = call;
  return answer;
}

static void free_producer(void *user) {
  ((producer *)user)->freed++;
}

/* ---- The three ways to register ---- */

typedef enum way { BY_FUNCTION, BY_DEFAULT_SESSION, BY_OWN_SESSION, WAYS } way;

static rsca_manager *manager;
static IPmCustomActions2 *default_session, *own_session;
static producer action; /* registered as "act" */
static way how;
static uint64_t id; /* of the last registration of start, BY_FUNCTION */

static HRESULT register_in(IPmCustomActions2 *session, PCWSTR name, PCWSTR args, listener *who) {
  starting++;
  HRESULT status = session->lpVtbl->RegisterCustomActionCallback(session, name, args, who ? &who->iface : NULL);
  starting--;
  return status;
}

static HRESULT unregister_in(IPmCustomActions2 *session, PCWSTR name) {
  return session->lpVtbl->UnregisterCustomActionCallback(session, name);
}

static HRESULT subscribe(const char *name, const char *args, listener *who, uint64_t *out) {
  starting++;
  HRESULT status = rsca_manager_subscribe(manager, name, args, on_report, who, out);
  starting--;
  return status;
}

static IPmCustomActions2 *session(void) {
  return how == BY_DEFAULT_SESSION ? default_session : own_session;
}

/* Registers for "act" in the way of the test. */
static HRESULT start(listener *who) {
  return how == BY_FUNCTION ? subscribe("act", "", who, &id) : register_in(session(), u"act", NULL, who);
}

/* And takes that back. */
static HRESULT stop(void) {
  return how == BY_FUNCTION ? rsca_manager_unsubscribe(manager, id) : unregister_in(session(), u"act");
}

static void set_up_with(const rsca_config *config) {
  memset(&action, 0, sizeof action);
  id = 0;
  manager = make_manager(config);
  default_session = rsca_manager_custom_actions2(manager);
  assert_int_equal(rsca_manager_create_session(manager, &own_session), S_OK);
  assert_int_equal(rsca_manager_register(manager, "act", NULL, produce, &action, free_producer), S_OK);
}

/* rsca_call_finish, which is owed once for each E_PENDING. */
static HRESULT finish(rsca_call *call, HRESULT status, const void *bytes, size_t size) {
  for (unsigned i = 0; i < action.pendings; i++)
    if (action.pending[i] == call)
      action.pending[i] = action.pending[--action.pendings];
  return rsca_call_finish(call, status, bytes, size);
}

/* Everything has ended by then, or ends with the last reference. */
static void tear_down(void) {
  while (action.pendings > 0)
    assert_int_equal(finish(action.pending[0], S_OK, NULL, 0), S_OK);
  step_all(manager);
  if (own_session)
    (void)own_session->lpVtbl->Release(own_session);
  own_session = NULL;
  (void)default_session->lpVtbl->Release(default_session);
  assert_int_equal(rsca_manager_release(manager), 0);
  assert_int_equal(action.freed, 1);
}

/* As many as were accepted have ended. */
static void assert_all_ended(void) {
  rsca_manager_stats stats;
  rsca_manager_get_stats(manager, &stats);
  assert_int_equal(stats.accepted, stats.ended);
  assert_int_equal(stats.queued_bytes, 0);
}

/* A test body is run for each way. */
typedef struct body {
  void (*run)(void);
} body;

static void run_ways(void **state) {
  const body *what = *state;
  for (how = BY_FUNCTION; how < WAYS; how++) {
    set_up_with(NULL);
    what->run();
    tear_down();
  }
}

/* clang-format off */
#define WAYS_TEST(name) {#name, run_ways, NULL, NULL, &(body){name}}
/* clang-format on */

/* ---- Responses, then one final ---- */

static void returned_success_ends_with_s_false(void) {
  static const HRESULT chosen[] = {S_OK, S_FALSE, 0x00040000};
  for (size_t i = 0; i < 3; i++) {
    listener who;
    listener_init(&who);
    action.count = 3;
    action.status = chosen[i];
    assert_int_equal(start(&who), S_OK);
    assert_int_equal(atomic_load(&who.responses) + atomic_load(&who.finals), 0); /* queued, not run */
    step_all(manager);
    assert_true(heard(&who, "0;1;2;", S_FALSE));
    assert_string_equal(who.why, "");
    assert_true(pthread_equal(who.thread, pthread_self()));
    assert_int_equal(who.held, how == BY_FUNCTION ? 1 : 2);
  }
  assert_all_ended();
}

static void action_that_reports_nothing_ends_with_the_final_alone(void) {
  listener who;
  listener_init(&who);
  assert_int_equal(start(&who), S_OK);
  step_all(manager);
  assert_true(heard(&who, "", S_FALSE));
  assert_int_equal(atomic_load(&who.responses), 0);
}

static void report_bytes(producer *self, rsca_call *call) {
  (void)self;
  char bytes[] = "a\0b";
  assert_int_equal(rsca_call_report(call, bytes, 3), S_OK);
  memset(bytes, '#', sizeof bytes);
  assert_int_equal(rsca_call_report(call, NULL, 0), S_OK);
  assert_int_equal(rsca_call_report(call, "", 0), S_OK);
  assert_int_equal(rsca_call_report(call, NULL, 1), E_INVALIDARG);
  assert_int_equal(rsca_call_report(call, "last", 4), S_OK);
}

/* Any bytes will do; an empty response is one, NULL and 0. */
static void responses_have_any_bytes_or_none(void) {
  listener who;
  listener_init(&who);
  action.inside = report_bytes;
  assert_int_equal(start(&who), S_OK);
  step_all(manager);
  assert_int_equal(who.text_size, 11);
  assert_memory_equal(who.text, "a\0b;;;last;", 11);
  assert_int_equal(who.status, S_FALSE);
  assert_false(atomic_load(&who.broken));
  assert_int_equal(atomic_load(&who.responses), 4);
  assert_int_equal(who.bytes, 7);
}

/* On the thread that steps, a C callback is called before the report returns: it is its own brake. */

static listener *watched;

static void report_and_look(producer *self, rsca_call *call) {
  (void)self;
  for (unsigned i = 0; i < 1000; i++) {
    assert_int_equal(report_number(call, i), S_OK);
    assert_int_equal(atomic_load(&watched->responses), i + 1);
  }
}

static void callback_is_called_before_the_report_returns(void) {
  listener who;
  listener_init(&who);
  watched = &who;
  action.inside = report_and_look;
  assert_int_equal(start(&who), S_OK);
  step_all(manager);
  assert_int_equal(atomic_load(&who.responses), 1000);
  assert_int_equal(who.status, S_FALSE);
}

/* ---- Failure ---- */

static void failure_ends_with_the_status_of_the_action(void) {
  static const HRESULT chosen[] = {E_FAIL, RSCA_E_NOT_FOUND, INT32_MIN};
  for (size_t i = 0; i < 3; i++) {
    listener who;
    listener_init(&who);
    action.count = 2;
    action.status = chosen[i];
    assert_int_equal(start(&who), S_OK);
    step_all(manager);
    assert_true(heard(&who, "0;1;", chosen[i]));
  }
}

static void failure_that_is_said_later_has_its_message(void) {
  listener who;
  listener_init(&who);
  action.count = 1;
  action.status = E_PENDING;
  assert_int_equal(start(&who), S_OK);
  step_all(manager);
  assert_int_equal(finish(action.call, E_FAIL, "no disk", 7), S_OK);
  step_all(manager);
  assert_true(heard(&who, "0;", E_FAIL));
  assert_string_equal(who.why, "no disk");
}

/* ---- An action that reports later ---- */

static void start_pending(listener *who) {
  listener_init(who);
  action.status = E_PENDING;
  action.count = 0;
  unsigned runs = action.runs;
  assert_int_equal(start(who), S_OK);
  step_all(manager);
  assert_int_equal(action.runs, runs + 1);
}

typedef struct late {
  unsigned from, to;
  bool finish;
  HRESULT refused;
  unsigned taken;
} late;

static void report_late(late *what) {
  for (unsigned i = what->from; i < what->to; i++) {
    HRESULT status = report_number(action.call, i);
    if (status == S_OK)
      what->taken++;
    else
      what->refused = status;
  }
  if (what->finish)
    (void)finish(action.call, S_OK, NULL, 0);
}

static void *report_late_there(void *user) {
  report_late(user);
  return NULL;
}

/* Another action, which the thread that steps reports in. */
static HRESULT report_in_step(void *user, rsca_call *call, const char *args, size_t size) {
  (void)call;
  (void)args;
  (void)size;
  report_late(user);
  return S_OK;
}

static void ignore(void *user, HRESULT status, const void *response, size_t size, bool final) {
  (void)user;
  (void)status;
  (void)response;
  (void)size;
  (void) final;
}

static void late_reports_from_another_thread_come_in_order(void) {
  listener who;
  start_pending(&who);
  late first = {.to = 5}, second = {.from = 5, .to = 10, .finish = true};
  on_another_thread(report_late_there, &first);
  assert_int_equal(atomic_load(&who.responses), 0); /* not on that thread */
  step_all(manager);
  assert_int_equal(atomic_load(&who.responses), 5);
  on_another_thread(report_late_there, &second);
  step_all(manager);
  assert_true(heard(&who, "0;1;2;3;4;5;6;7;8;9;", S_FALSE));
  assert_true(pthread_equal(who.thread, pthread_self()));
  assert_int_equal(first.taken + second.taken, 10);
}

static void late_reports_from_the_thread_that_steps_come_in_order(void) {
  listener who;
  start_pending(&who);
  late outside = {.to = 5}, inside = {.from = 5, .to = 10}, finish = {.from = 10, .to = 12, .finish = true};
  report_late(&outside); /* between two steps */
  step_all(manager);
  assert_int_equal(rsca_manager_register(manager, "inside", NULL, report_in_step, &inside, NULL), S_OK);
  assert_int_equal(rsca_manager_run(manager, "inside", "", ignore, NULL, NULL), S_OK);
  step_all(manager);
  report_late(&finish);
  step_all(manager);
  assert_true(heard(&who, "0;1;2;3;4;5;6;7;8;9;10;11;", S_FALSE));
}

/* One thread at a time, but any: what was reported first comes first, wherever that was. */
static void reports_in_a_step_do_not_overtake_earlier_ones_from_another_thread(void) {
  listener who;
  start_pending(&who);
  late there = {.to = 3}, inside = {.from = 3, .to = 6}, last = {.from = 6, .to = 8, .finish = true};
  assert_int_equal(rsca_manager_register(manager, "inside", NULL, report_in_step, &inside, NULL), S_OK);
  assert_int_equal(rsca_manager_run(manager, "inside", "", ignore, NULL, NULL), S_OK);
  on_another_thread(report_late_there, &there); /* on its way before "inside" runs */
  step_all(manager);
  on_another_thread(report_late_there, &last);
  step_all(manager);
  assert_true(heard(&who, "0;1;2;3;4;5;6;7;", S_FALSE));
}

static void report_there_and_here(producer *self, rsca_call *call) {
  (void)self;
  late there = {.to = 3};
  on_another_thread(report_late_there, &there);
  assert_int_equal(there.taken, 3);
  assert_int_equal(report_number(call, 3), S_OK);
}

/* An action may have another thread report while it runs, and then return. */
static void reports_on_another_thread_while_the_action_runs_come_before_its_end(void) {
  listener who;
  listener_init(&who);
  action.inside = report_there_and_here;
  assert_int_equal(start(&who), S_OK);
  step_all(manager);
  assert_true(heard(&who, "0;1;2;3;", S_FALSE));
}

/* What comes with the finish is a response of its own, after all others. */
static void finish_with_bytes_is_the_last_response(void) {
  listener who;
  start_pending(&who);
  late there = {.to = 2};
  on_another_thread(report_late_there, &there);
  assert_int_equal(finish(action.call, S_OK, "end", 3), S_OK);
  assert_int_equal(atomic_load(&who.finals), 0); /* in a following step */
  step_all(manager);
  assert_true(heard(&who, "0;1;end;", S_FALSE));
  assert_int_equal(atomic_load(&who.responses), 3);
}

/* "RSCA_E_BUSY: nothing was taken, report again later." */
static void late_reports_beyond_the_limit_are_busy_and_nothing_is_lost(void) {
  enum { ALL = 3000 };
  listener who;
  start_pending(&who);
  unsigned taken = 0, rounds = 0;
  while (taken < ALL) {
    late one = {.from = taken, .to = taken + 1};
    while (one.refused == S_OK && taken < ALL) {
      on_another_thread(report_late_there, &one);
      taken = taken + (one.refused == S_OK);
      one.from = taken;
      one.to = taken + 1;
    }
    assert_true(one.refused == S_OK || one.refused == RSCA_E_BUSY);
    assert_true(one.taken > 0);
    step_all(manager);
    assert_int_equal(atomic_load(&who.responses), taken);
    rounds++;
  }
  assert_true(rounds > 1); /* or it is not bounded */
  assert_int_equal(finish(action.call, S_OK, NULL, 0), S_OK);
  step_all(manager);
  assert_int_equal(who.status, S_FALSE);
  assert_false(atomic_load(&who.broken));
  assert_int_equal(atomic_load(&who.responses), ALL);
  assert_true(who.hash == numbers_hash(ALL));
}

/* After its end nobody hears, and the report says so. */
static void report_of_an_ended_call_is_cancelled(void) {
  listener who;
  start_pending(&who);
  assert_false(rsca_call_cancelled(action.call));
  assert_int_equal(stop(), S_OK);
  assert_true(rsca_call_cancelled(action.call));
  step_all(manager);
  assert_true(heard(&who, "", S_FALSE));
  late outside = {.to = 1}, there = {.to = 1};
  report_late(&outside);
  on_another_thread(report_late_there, &there);
  assert_int_equal(outside.refused, RSCA_E_CANCELLED);
  assert_int_equal(there.refused, RSCA_E_CANCELLED);
  assert_int_equal(finish(action.call, S_OK, "dropped", 7), S_OK);
  step_all(manager);
  assert_true(heard(&who, "", S_FALSE));
}

/* ---- Ending it: unregistered, by name or by number ---- */

static void unregistered_ends_with_s_false_and_no_response_follows(void) {
  listener who;
  start_pending(&who);
  late before = {.to = 2}, on_the_way = {.from = 2, .to = 4}, after = {.from = 4, .to = 6};
  report_late(&before);
  step_all(manager);
  report_late(&on_the_way);
  assert_int_equal(stop(), S_OK);
  assert_int_equal(atomic_load(&who.finals), 0); /* not on this stack */
  report_late(&after);
  step_all(manager);
  assert_true(heard(&who, "0;1;", S_FALSE));
  assert_string_equal(who.why, "");
  assert_int_equal(stop(), RSCA_E_NOT_FOUND);
  assert_int_equal(finish(action.call, S_OK, NULL, 0), S_OK);
  step_all(manager);
  assert_all_ended();
}

static void unregistered_before_it_has_started_the_action_never_runs(void) {
  listener who;
  listener_init(&who);
  assert_int_equal(start(&who), S_OK);
  assert_int_equal(stop(), S_OK);
  step_all(manager);
  assert_true(heard(&who, "", S_FALSE));
  assert_int_equal(action.runs, 0);
}

static void unregistering_what_is_not_there_is_not_found(void) {
  assert_int_equal(stop(), RSCA_E_NOT_FOUND);
  listener who;
  listener_init(&who);
  assert_int_equal(start(&who), S_OK);
  step_all(manager);
  assert_int_equal(stop(), RSCA_E_NOT_FOUND);
  assert_true(heard(&who, "", S_FALSE));
}

/* A run is not a registration. */
static void unsubscribing_a_run_is_not_found(void) {
  outcome result = {0};
  uint64_t run;
  assert_int_equal(submit(manager, "act", "", &result, &run), S_OK);
  assert_int_equal(rsca_manager_unsubscribe(manager, run), RSCA_E_NOT_FOUND);
  step_all(manager);
  assert_true(ended_with(&result, S_OK, NULL, 0));
  assert_int_equal(rsca_manager_unsubscribe(NULL, 1), E_INVALIDARG);
  assert_int_equal(rsca_manager_unsubscribe(manager, 0), RSCA_E_NOT_FOUND);
}

/* The name is free from the moment that Unregister returns. */
static void name_is_free_right_after_unregister(void) {
  listener who[20];
  action.status = E_PENDING;
  for (unsigned i = 0; i < 20; i++) {
    listener_init(&who[i]);
    assert_int_equal(start(&who[i]), S_OK);
    if (i % 2 == 0) {
      unsigned runs = action.runs;
      step_all(manager);
      assert_int_equal(action.runs, runs + 1);
    }
    assert_int_equal(stop(), S_OK);
  }
  step_all(manager);
  for (unsigned i = 0; i < 20; i++)
    assert_true(heard(&who[i], "", S_FALSE));
  assert_all_ended();
}

static listener next;
static HRESULT registered_again;

static void register_again(listener *self, bool final) {
  (void)self;
  if (final)
    registered_again = start(&next);
}

static void end_by_stop(void) {
  assert_int_equal(stop(), S_OK);
}

static void end_by_cancel(void) {
  assert_int_equal(rsca_manager_cancel(manager, action.id, 0), S_OK);
}

static void end_by_success(void) {
  assert_int_equal(finish(action.call, S_OK, NULL, 0), S_OK);
  action.call = NULL;
}

static void end_by_failure(void) {
  assert_int_equal(finish(action.call, E_FAIL, "why", 3), S_OK);
  action.call = NULL;
}

/* "The name can be registered again before the final report is made." */
static void name_is_free_in_the_final_callback(void) {
  static void (*const ends[])(void) = {end_by_stop, end_by_cancel, end_by_success, end_by_failure};
  static const HRESULT finals[] = {S_FALSE, RSCA_E_CANCELLED, S_FALSE, E_FAIL};
  for (unsigned i = 0; i < 4; i++) {
    listener who;
    start_pending(&who);
    who.inside = register_again;
    listener_init(&next);
    registered_again = E_FAIL;
    ends[i]();
    rsca_call *call = action.call;
    action.status = S_OK; /* of the next one */
    step_all(manager);
    assert_int_equal(registered_again, S_OK);
    assert_true(heard(&who, "", finals[i]));
    assert_true(heard(&next, "", S_FALSE));
    if (call)
      assert_int_equal(finish(call, S_OK, NULL, 0), S_OK);
    step_all(manager);
  }
  assert_all_ended();
}

/* ---- Names and sessions ---- */

static void session_has_one_registration_per_name_and_functions_any_number(void) {
  listener first, second;
  start_pending(&first);
  listener_init(&second);
  if (how == BY_FUNCTION) {
    assert_int_equal(start(&second), S_OK);
    step_all(manager);
    assert_int_equal(stop(), S_OK);
    step_all(manager);
    assert_true(heard(&second, "", S_FALSE));
  } else {
    assert_int_equal(start(&second), RSCA_E_ALREADY_EXISTS);
    step_all(manager);
    assert_true(untouched_listener(&second));
  }
  assert_int_equal(atomic_load(&first.finals), 0);
  assert_int_equal(rsca_manager_shutdown(manager, true), S_OK);
  assert_true(heard(&first, "", RSCA_E_CANCELLED));
}

/* Not another session's business, and neither is a run of that name. */
static void sessions_do_not_meet(void **state) {
  (void)state;
  set_up_with(NULL);
  IPmCustomActions2 *third;
  assert_int_equal(rsca_manager_create_session(manager, &third), S_OK);
  IPmCustomActions2 *sessions[] = {default_session, own_session, third};
  listener who[3], function;
  outcome run = {0};
  action.status = E_PENDING;
  listener_init(&function);
  assert_int_equal(subscribe("act", "", &function, NULL), S_OK);
  for (unsigned i = 0; i < 3; i++) {
    listener_init(&who[i]);
    assert_int_equal(register_in(sessions[i], u"act", u"", &who[i]), S_OK);
  }
  assert_int_equal(submit(manager, "act", "", &run, NULL), S_OK);
  step_all(manager);
  assert_int_equal(action.runs, 5);
  for (unsigned i = 0; i < 3; i++) {
    assert_int_equal(unregister_in(sessions[i], u"act"), S_OK);
    assert_int_equal(unregister_in(sessions[i], u"act"), RSCA_E_NOT_FOUND);
    step_all(manager);
    for (unsigned k = 0; k < 3; k++)
      assert_int_equal(atomic_load(&who[k].finals), k <= i ? 1 : 0);
    assert_true(heard(&who[i], "", S_FALSE));
  }
  assert_int_equal(atomic_load(&function.finals), 0);
  assert_int_equal(atomic_load(&run.reports), 0);
  (void)third->lpVtbl->Release(third);
  assert_int_equal(rsca_manager_shutdown(manager, true), S_OK);
  tear_down();
  assert_true(heard(&function, "", RSCA_E_CANCELLED));
  assert_true(ended_saying_why(&run, RSCA_E_CANCELLED));
}

/* Its names are apart even where one begins like the other. */
static void names_of_a_session_are_apart(void) {
  if (how == BY_FUNCTION)
    return;
  static const PCWSTR names[] = {u"a", u"ac", u"act2", u"\u00E9"};
  static const char *const names8[] = {"a", "ac", "act2", "\xC3\xA9"};
  listener who[4], act;
  producer others[4] = {{0}};
  start_pending(&act);
  for (unsigned i = 0; i < 4; i++) {
    listener_init(&who[i]);
    others[i].status = E_PENDING;
    assert_int_equal(rsca_manager_register(manager, names8[i], NULL, produce, &others[i], NULL), S_OK);
    assert_int_equal(register_in(session(), names[i], NULL, &who[i]), S_OK);
  }
  step_all(manager);
  assert_int_equal(unregister_in(session(), u"act2"), S_OK);
  step_all(manager);
  assert_true(heard(&who[2], "", S_FALSE));
  assert_int_equal(atomic_load(&act.finals) + atomic_load(&who[0].finals) + atomic_load(&who[1].finals), 0);
  assert_int_equal(rsca_manager_shutdown(manager, true), S_OK);
  for (unsigned i = 0; i < 4; i++)
    assert_int_equal(finish(others[i].call, S_OK, NULL, 0), S_OK);
  step_all(manager);
}

/* "When it is released its registrations go on, to their own end." */
static void released_session_lets_its_registrations_go_on(void **state) {
  (void)state;
  set_up_with(NULL);
  listener who, queued;
  action.status = E_PENDING;
  listener_init(&who);
  listener_init(&queued);
  IPmCustomActions2 *third;
  assert_int_equal(rsca_manager_create_session(manager, &third), S_OK);
  assert_int_equal(register_in(own_session, u"act", NULL, &who), S_OK);
  step_all(manager);
  assert_int_equal(register_in(third, u"act", NULL, &queued), S_OK);
  assert_int_equal(own_session->lpVtbl->AddRef(own_session), 2);
  assert_int_equal(own_session->lpVtbl->Release(own_session), 1);
  assert_int_equal(own_session->lpVtbl->Release(own_session), 0);
  assert_int_equal(third->lpVtbl->Release(third), 0);
  own_session = NULL;
  late there = {.to = 2, .finish = true};
  on_another_thread(report_late_there, &there);
  step_all(manager);
  assert_true(heard(&who, "0;1;", S_FALSE));
  assert_int_equal(action.runs, 2);
  there = (late){.from = 2, .to = 3, .finish = true};
  on_another_thread(report_late_there, &there);
  step_all(manager);
  assert_true(heard(&queued, "2;", S_FALSE));
  tear_down();
}

/* The session holds the manager. */
static void session_keeps_the_manager(void **state) {
  (void)state;
  set_up_with(NULL);
  (void)default_session->lpVtbl->Release(default_session);
  assert_int_equal(rsca_manager_release(manager), 1);
  listener who;
  listener_init(&who);
  action.count = 1;
  assert_int_equal(register_in(own_session, u"act", NULL, &who), S_OK);
  step_all(manager);
  assert_true(heard(&who, "0;", S_FALSE));
  assert_int_equal(own_session->lpVtbl->Release(own_session), 0);
  assert_int_equal(action.freed, 1);
  IPmCustomActions2 *out = own_session;
  assert_int_equal(rsca_manager_create_session(NULL, &out), E_INVALIDARG);
  assert_null(out);
}

/* ---- What the callback answers ---- */

static void callback_that_fails_ends_the_registration_as_cancelled(void) {
  if (how == BY_FUNCTION)
    return; /* it answers nothing */
  listener who;
  listener_init(&who);
  who.fail_at = 2;
  action.count = 5;
  assert_int_equal(start(&who), S_OK);
  step_all(manager);
  assert_true(heard(&who, "0;1;", RSCA_E_CANCELLED));
  assert_string_not_equal(who.why, "");
  assert_int_equal(action.refused, RSCA_E_CANCELLED); /* the action hears of it */
  assert_int_equal(action.taken, 1);
  /* And one that reports later. */
  start_pending(&who);
  who.fail_at = 1;
  late there = {.to = 3};
  on_another_thread(report_late_there, &there);
  step_all(manager);
  assert_true(heard(&who, "0;", RSCA_E_CANCELLED));
  assert_true(rsca_call_cancelled(action.call));
  assert_int_equal(finish(action.call, S_OK, NULL, 0), S_OK);
  step_all(manager);
  assert_all_ended();
  rsca_manager_stats stats;
  rsca_manager_get_stats(manager, &stats);
  assert_true(stats.failed_callback >= 2);
}

/* The very last response counts as well. */
static void callback_that_fails_at_the_last_response_ends_it_as_cancelled(void) {
  if (how == BY_FUNCTION)
    return;
  listener who;
  start_pending(&who);
  who.fail_at = 1;
  assert_int_equal(finish(action.call, S_OK, "last", 4), S_OK);
  step_all(manager);
  assert_true(heard(&who, "last;", RSCA_E_CANCELLED));
}

/* ---- Ending it from inside a report ---- */

static HRESULT said; /* by what was called inside */

static void stop_inside(listener *self, bool final) {
  (void)self;
  if (!final)
    said = stop();
}

static void unregistered_inside_a_report_no_response_follows(void) {
  listener who;
  listener_init(&who);
  who.inside = stop_inside;
  action.count = 5;
  assert_int_equal(start(&who), S_OK);
  step_all(manager);
  assert_int_equal(said, S_OK);
  assert_true(heard(&who, "0;", S_FALSE));
  assert_int_equal(action.refused, RSCA_E_CANCELLED);
  /* A late one. */
  start_pending(&who);
  who.inside = stop_inside;
  late there = {.to = 4};
  on_another_thread(report_late_there, &there);
  step_all(manager);
  assert_true(heard(&who, "0;", S_FALSE));
  assert_int_equal(finish(action.call, S_OK, NULL, 0), S_OK);
}

static void stop_in_final(listener *self, bool final) {
  (void)self;
  if (final)
    said = stop();
}

static void unregistering_inside_the_final_is_not_found(void) {
  listener who;
  listener_init(&who);
  who.inside = stop_in_final;
  said = S_OK;
  assert_int_equal(start(&who), S_OK);
  step_all(manager);
  assert_int_equal(said, RSCA_E_NOT_FOUND);
  assert_true(heard(&who, "", S_FALSE));
}

static void cancel_inside(listener *self, bool final) {
  (void)self;
  if (!final)
    said = rsca_manager_cancel(manager, action.id, 0);
}

static void cancelled_inside_a_report_ends_as_cancelled(void) {
  listener who;
  listener_init(&who);
  who.inside = cancel_inside;
  action.count = 5;
  assert_int_equal(start(&who), S_OK);
  step_all(manager);
  assert_int_equal(said, S_OK);
  assert_true(heard(&who, "0;", RSCA_E_CANCELLED));
}

static bool immediate;

static void shut_down_inside(listener *self, bool final) {
  (void)self;
  if (!final)
    said = rsca_manager_shutdown(manager, immediate);
}

/* "S_FALSE: said from inside an action or a callback; what is in flight ends in the following steps." An action that
 * goes on reporting is not heard any more: its reports are RSCA_E_CANCELLED. */
static void shut_down_inside_a_report(void) {
  listener who, pending;
  start_pending(&pending);
  listener_init(&who);
  who.inside = shut_down_inside;
  producer other = {.count = 5};
  assert_int_equal(rsca_manager_register(manager, "other", NULL, produce, &other, NULL), S_OK);
  assert_int_equal(subscribe("other", "", &who, NULL), S_OK);
  (void)rsca_manager_step(manager, 0);
  assert_int_equal(said, S_FALSE);
  step_all(manager);
  assert_true(heard(&pending, "", RSCA_E_CANCELLED));
  assert_all_ended();
  assert_int_equal(start(&pending), RSCA_E_SHUTDOWN_IN_PROGRESS);
  assert_int_equal(other.refused, RSCA_E_CANCELLED);
  assert_true(heard(&who, "0;", RSCA_E_CANCELLED));
}

static void drain_inside_a_report(void) {
  immediate = false;
  shut_down_inside_a_report();
}

static void cut_inside_a_report(void) {
  immediate = true;
  shut_down_inside_a_report();
}

static void release_inside(listener *self, bool final) {
  if (final || self->user)
    return;
  self->user = self; /* once */
  if (own_session)
    (void)own_session->lpVtbl->Release(own_session);
  own_session = NULL;
  (void)default_session->lpVtbl->Release(default_session);
  said = (HRESULT)rsca_manager_release(manager);
}

/* The last references go inside a report: what is in flight ends as cancelled, and then the manager is gone. */
static void last_release_inside_a_report(void **state) {
  (void)state;
  for (how = BY_FUNCTION; how < WAYS; how++) {
    set_up_with(NULL);
    listener who, pending;
    start_pending(&pending);
    rsca_call *call = action.call;
    listener_init(&who);
    who.inside = release_inside;
    action.status = S_OK;
    producer other = {.count = 5};
    assert_int_equal(rsca_manager_register(manager, "other", NULL, produce, &other, NULL), S_OK);
    if (how == BY_FUNCTION)
      assert_int_equal(subscribe("other", "", &who, NULL), S_OK);
    else
      assert_int_equal(register_in(session(), u"other", NULL, &who), S_OK);
    (void)rsca_manager_step(manager, 0); /* keeps it for as long as this takes */
    assert_int_equal(said, 0);
    assert_true(heard(&who, "0;", RSCA_E_CANCELLED));
    assert_true(heard(&pending, "", RSCA_E_CANCELLED));
    assert_int_equal(action.freed, 0); /* the call still belongs to it */
    assert_int_equal(finish(call, S_OK, NULL, 0), S_OK);
    assert_int_equal(action.freed, 1);
  }
}

static void take_action_inside(listener *self, bool final) {
  (void)self;
  if (!final && atomic_load(&self->responses) == 1)
    said = rsca_manager_unregister(manager, "act");
}

/* "Unregistering an action never touches calls that run." */
static void action_unregistered_inside_a_report_runs_on(void) {
  listener who;
  listener_init(&who);
  who.inside = take_action_inside;
  action.count = 3;
  assert_int_equal(start(&who), S_OK);
  step_all(manager);
  assert_int_equal(said, S_OK);
  assert_true(heard(&who, "0;1;2;", S_FALSE));
  assert_int_equal(action.freed, 1);
  assert_int_equal(start(&who), RSCA_E_NOT_FOUND);
}

/* A registration that waits goes on too, and can be unregistered by the name that is gone. */
static void action_unregistered_while_it_is_pending(void) {
  listener who, again;
  start_pending(&who);
  listener_init(&again);
  assert_int_equal(rsca_manager_unregister(manager, "act"), S_OK);
  late there = {.to = 2};
  on_another_thread(report_late_there, &there);
  step_all(manager);
  assert_int_equal(atomic_load(&who.responses), 2);
  uint64_t first = id;
  assert_int_equal(start(&again), RSCA_E_NOT_FOUND);
  id = first;
  assert_int_equal(stop(), S_OK);
  step_all(manager);
  assert_true(heard(&who, "0;1;", S_FALSE));
  assert_true(untouched_listener(&again));
  assert_int_equal(action.freed, 0);
  assert_int_equal(finish(action.call, S_OK, NULL, 0), S_OK);
  step_all(manager);
  assert_int_equal(action.freed, 1);
}

/* What is registered inside a report is queued like any other, and answers while the outer one goes on. */
static listener inner[3];
static unsigned inners;

static void register_inner(listener *self, bool final) {
  (void)self;
  if (inners < 3 && !final) {
    listener_init(&inner[inners]);
    assert_int_equal(subscribe("other", "", &inner[inners], NULL), S_OK);
    inners++;
  }
}

static void registered_inside_a_report_is_queued(void) {
  listener who;
  listener_init(&who);
  who.inside = register_inner;
  inners = 0;
  action.count = 3;
  producer other = {.count = 2};
  assert_int_equal(rsca_manager_register(manager, "other", NULL, produce, &other, NULL), S_OK);
  assert_int_equal(start(&who), S_OK);
  (void)rsca_manager_step(manager, 0);
  assert_true(heard(&who, "0;1;2;", S_FALSE));
  assert_int_equal(other.runs, 0);
  step_all(manager);
  for (unsigned i = 0; i < 3; i++)
    assert_true(heard(&inner[i], "0;1;", S_FALSE));
}

/* ---- Cancels and shutdowns from outside ---- */

static void cancelled_by_number_ends_as_cancelled(void) {
  listener who;
  start_pending(&who);
  late on_the_way = {.to = 3};
  report_late(&on_the_way);
  assert_int_equal(rsca_manager_cancel(manager, action.id, 0), S_OK);
  assert_true(rsca_call_cancelled(action.call));
  step_all(manager);
  assert_true(heard(&who, "", RSCA_E_CANCELLED));
  assert_string_not_equal(who.why, "");
  assert_int_equal(rsca_manager_cancel(manager, action.id, 0), RSCA_E_NOT_FOUND);
  assert_int_equal(finish(action.call, S_OK, "x", 1), S_OK);
  step_all(manager);
  assert_all_ended();
}

/* It ends registrations at once, those that wait and those that are queued, and steps until they have been told. */
static void shutdown_ends_registrations(void) {
  for (int i = 0; i < 2; i++) {
    immediate = i == 0;
    if (i > 0)
      set_up_with(NULL);
    listener who, queued;
    outcome run = {0};
    start_pending(&who);
    rsca_call *call = action.call;
    late on_the_way = {.to = 3};
    report_late(&on_the_way);
    listener_init(&queued);
    assert_int_equal(subscribe("act", "", &queued, NULL), S_OK);
    action.status = S_OK;
    assert_int_equal(submit(manager, "act", "", &run, NULL), S_OK);
    assert_int_equal(rsca_manager_shutdown(manager, immediate), S_OK);
    assert_true(heard(&who, "", RSCA_E_CANCELLED));
    assert_true(heard(&queued, "", RSCA_E_CANCELLED));
    assert_string_not_equal(who.why, "");
    if (immediate)
      assert_true(ended_saying_why(&run, RSCA_E_CANCELLED));
    else
      assert_true(ended_with(&run, S_OK, NULL, 0)); /* a drain lets runs end by themselves */
    assert_all_ended();
    assert_int_equal(finish(call, S_OK, NULL, 0), S_OK);
    step_all(manager);
    assert_int_equal(rsca_manager_shutdown(manager, true), S_OK);
    if (i == 0)
      tear_down();
  }
}

static void *shut_down_there(void *user) {
  *(HRESULT *)user = rsca_manager_shutdown(manager, immediate);
  return NULL;
}

static void shutdown_on_another_thread_ends_registrations_in_the_next_steps(void) {
  for (int i = 0; i < 2; i++) {
    immediate = i == 0;
    if (i > 0)
      set_up_with(NULL);
    listener who;
    start_pending(&who);
    HRESULT answer = S_OK;
    on_another_thread(shut_down_there, &answer);
    assert_int_equal(answer, S_FALSE);
    assert_int_equal(atomic_load(&who.finals), 0);
    step_all(manager);
    assert_true(heard(&who, "", RSCA_E_CANCELLED));
    assert_int_equal(finish(action.call, S_OK, NULL, 0), S_OK);
    step_all(manager);
    assert_all_ended();
    if (i == 0)
      tear_down();
  }
}

/* ---- Refused: the callback is neither held nor ever called ---- */

static void refused_by_the_interface(void **state) {
  (void)state;
  static const WCHAR lone[] = {'a', 0xD800, 0}, swapped[] = {0xDC00, 0xD800, 0};
  for (how = BY_DEFAULT_SESSION; how < WAYS; how++) {
    set_up_with(NULL);
    listener who;
    listener_init(&who);
    IPmCustomActions2 *in = session();
    assert_int_equal(register_in(in, NULL, u"", &who), E_INVALIDARG);
    assert_int_equal(register_in(in, u"", u"", &who), E_INVALIDARG);
    assert_int_equal(register_in(in, u"act", u"", NULL), E_INVALIDARG);
    assert_int_equal(register_in(in, lone, u"", &who), RSCA_E_NO_UNICODE_TRANSLATION);
    assert_int_equal(register_in(in, u"act", swapped, &who), RSCA_E_NO_UNICODE_TRANSLATION);
    assert_int_equal(register_in(in, u"nobody", u"", &who), RSCA_E_NOT_FOUND);
    assert_int_equal(register_in(in, u"ac", u"", &who), RSCA_E_NOT_FOUND);
    assert_int_equal(unregister_in(in, NULL), E_INVALIDARG);
    assert_int_equal(unregister_in(in, u""), E_INVALIDARG);
    assert_int_equal(unregister_in(in, lone), RSCA_E_NO_UNICODE_TRANSLATION);
    assert_int_equal(unregister_in(in, u"act"), RSCA_E_NOT_FOUND);
    assert_int_equal(unregister_in(in, u"nobody"), RSCA_E_NOT_FOUND);
    listener first;
    start_pending(&first);
    assert_int_equal(register_in(in, u"act", u"", &who), RSCA_E_ALREADY_EXISTS);
    rsca_manager_stats stats;
    rsca_manager_get_stats(manager, &stats);
    assert_int_equal(stats.accepted, 1);
    assert_int_equal(rsca_manager_shutdown(manager, true), S_OK);
    assert_int_equal(register_in(in, u"act", u"", &who), RSCA_E_SHUTDOWN_IN_PROGRESS);
    step_all(manager);
    assert_true(untouched_listener(&who));
    assert_int_equal(finish(action.call, S_OK, NULL, 0), S_OK);
    step_all(manager);
    tear_down();
  }
}

static void refused_by_the_function(void **state) {
  (void)state;
  set_up_with(NULL);
  listener who;
  listener_init(&who);
  uint64_t out = 7;
  assert_int_equal(rsca_manager_subscribe(NULL, "act", "", on_report, &who, &out), E_INVALIDARG);
  assert_int_equal(out, 0);
  out = 7;
  assert_int_equal(rsca_manager_subscribe(manager, "act", "", NULL, &who, &out), E_INVALIDARG);
  assert_int_equal(out, 0);
  assert_int_equal(subscribe(NULL, "", &who, &out), E_INVALIDARG);
  assert_int_equal(subscribe("", "", &who, &out), E_INVALIDARG);
  assert_int_equal(subscribe("a\xFF", "", &who, &out), RSCA_E_NO_UNICODE_TRANSLATION);
  assert_int_equal(subscribe("act", "\xED\xA0\x80", &who, &out), RSCA_E_NO_UNICODE_TRANSLATION);
  out = 7;
  assert_int_equal(subscribe("nobody", "", &who, &out), RSCA_E_NOT_FOUND);
  assert_int_equal(out, 0);
  assert_int_equal(rsca_manager_shutdown(manager, false), S_OK);
  assert_int_equal(subscribe("act", "", &who, &out), RSCA_E_SHUTDOWN_IN_PROGRESS);
  step_all(manager);
  assert_true(untouched_listener(&who));
  tear_down();
}

/* Registrations count for queue_limit and queue_bytes, for as long as they go on. */
static void refused_when_the_queue_is_full(void **state) {
  (void)state;
  for (how = BY_FUNCTION; how < WAYS; how++) {
    set_up_with(&(rsca_config){.queue_limit = 3, .queue_bytes = 10});
    listener who, function, refused;
    outcome run = {0}, refused_run = {0};
    listener_init(&refused);
    listener_init(&function);
    start_pending(&who);
    assert_int_equal(subscribe("act", "12345", &function, NULL), S_OK);
    step_all(manager);
    assert_int_equal(subscribe("act", "123456", &refused, NULL), RSCA_E_BUSY);
    assert_int_equal(submit(manager, "act", "12345", &run, NULL), S_OK);
    assert_int_equal(subscribe("act", "", &refused, NULL), RSCA_E_BUSY);
    assert_int_equal(submit(manager, "act", "", &refused_run, NULL), RSCA_E_BUSY);
    if (how != BY_FUNCTION) {
      producer other = {0};
      assert_int_equal(rsca_manager_register(manager, "other", NULL, produce, &other, NULL), S_OK);
      assert_int_equal(register_in(session(), u"other", NULL, &refused), RSCA_E_BUSY);
    }
    step_all(manager);
    assert_true(untouched_listener(&refused));
    assert_int_equal(atomic_load(&refused_run.reports), 0);
    /* Its place is free by the time its final is told. */
    assert_int_equal(stop(), S_OK);
    who.inside = register_again;
    registered_again = E_FAIL;
    listener_init(&next);
    step_all(manager);
    assert_true(heard(&who, "", S_FALSE));
    assert_int_equal(registered_again, S_OK);
    assert_int_equal(rsca_manager_shutdown(manager, true), S_OK);
    assert_true(heard(&function, "", RSCA_E_CANCELLED));
    assert_all_ended();
    tear_down();
  }
}

/* ---- A streaming action in a run ---- */

/* "response_limit: bytes of one response; of a run, with all that was reported" */
static void report_up_to_the_limit_and_beyond(producer *self, rsca_call *call) {
  (void)self;
  assert_int_equal(rsca_call_report(call, "123", 3), S_OK);
  assert_int_equal(rsca_call_report(call, "456", 3), S_OK);
  assert_int_equal(rsca_call_report(call, "7890", 4), E_OUTOFMEMORY);
}

static void response_beyond_the_limit_is_e_outofmemory_and_the_registration_fails(void **unused) {
  (void)unused;
  set_up_with(&(rsca_config){.response_limit = 3});
  listener who;
  for (how = BY_FUNCTION; how < WAYS; how++) {
    listener_init(&who);
    action.inside = report_up_to_the_limit_and_beyond;
    assert_int_equal(start(&who), S_OK);
    step_all(manager);
    assert_true(heard(&who, "123;456;", E_OUTOFMEMORY));
    assert_string_equal(who.why, "the response is larger than the response limit");

    /* A last response that is said later, too. */
    listener_init(&who);
    action.inside = NULL;
    action.status = E_PENDING;
    assert_int_equal(start(&who), S_OK);
    step_all(manager);
    assert_int_equal(finish(action.call, S_OK, "1234", 4), E_OUTOFMEMORY);
    step_all(manager);
    assert_true(heard(&who, "", E_OUTOFMEMORY));
    action.status = S_OK;
  }
  tear_down();
}

/* "Its responses arrive joined, in one." */
static void streaming_action_run_once_has_its_responses_joined(void **state) {
  (void)state;
  set_up_with(NULL);
  outcome run = {0};
  action.count = 12;
  assert_int_equal(submit(manager, "act", "", &run, NULL), S_OK);
  step_all(manager);
  assert_true(ended_with(&run, S_OK, "01234567891011", 14));
  outcome pending = {0};
  action.count = 2;
  action.status = E_PENDING;
  assert_int_equal(submit(manager, "act", "", &pending, NULL), S_OK);
  step_all(manager);
  late there = {.from = 2, .to = 4};
  on_another_thread(report_late_there, &there);
  assert_int_equal(there.taken, 2);
  assert_int_equal(finish(action.call, S_FALSE, "end", 3), S_OK);
  step_all(manager);
  assert_true(ended_with(&pending, S_FALSE, "0123end", 7));
  tear_down();
}

/* "Up to the response limit (beyond it: failed, E_OUTOFMEMORY, with a message)": whatever the action then returns. */
static void streaming_action_run_beyond_the_response_limit_fails_with_a_message(void **state) {
  (void)state;
  set_up_with(&(rsca_config){.response_limit = 10});
  outcome fits = {0}, exceeds = {0}, pending = {0};
  action.count = 10;
  assert_int_equal(submit(manager, "act", "", &fits, NULL), S_OK);
  step_all(manager);
  assert_true(ended_with(&fits, S_OK, "0123456789", 10));
  action.count = 11;
  assert_int_equal(submit(manager, "act", "", &exceeds, NULL), S_OK);
  step_all(manager);
  assert_int_equal(action.refused, E_OUTOFMEMORY);
  assert_true(ended_saying_why(&exceeds, E_OUTOFMEMORY));
  action.count = 2;
  action.status = E_PENDING;
  assert_int_equal(submit(manager, "act", "", &pending, NULL), S_OK);
  step_all(manager);
  assert_int_equal(finish(action.call, S_OK, "123456789", 9), E_OUTOFMEMORY);
  step_all(manager);
  assert_true(ended_saying_why(&pending, E_OUTOFMEMORY));
  tear_down();
}

static void report_eleven_bytes(producer *self, rsca_call *call) {
  self->refused = rsca_call_report(call, "12345678901", 11);
}

/* One response of a registration, too: what does not fit is not reported, and the end says so. */
static void response_beyond_the_limit_is_not_taken_and_fails_the_registration(void **state) {
  (void)state;
  set_up_with(&(rsca_config){.response_limit = 10});
  listener who;
  listener_init(&who);
  action.count = 11; /* more than the limit in all, but not each */
  action.inside = report_eleven_bytes;
  assert_int_equal(subscribe("act", "", &who, NULL), S_OK);
  step_all(manager);
  assert_int_equal(action.refused, E_OUTOFMEMORY);
  assert_true(heard(&who, "0;1;2;3;4;5;6;7;8;9;10;", E_OUTOFMEMORY));
  assert_string_equal(who.why, "the response is larger than the response limit");
  tear_down();
}

/* ---- Threads ---- */

enum { CLIENTS = 4, ROUNDS = 500 };

typedef struct client {
  pthread_t thread;
  IPmCustomActions2 *session; /* shared by two each; NULL: by function */
  listener *who;              /* ROUNDS of them */
  unsigned accepted, there_already, busy, ended_by_us, unexpected;
  atomic_bool done;
} client;

static void *register_and_unregister(void *user) {
  client *self = user;
  for (unsigned i = 0; i < ROUNDS; i++) {
    uint64_t number = 0;
    HRESULT status;
    do {
      status = self->session ? register_in(self->session, u"act", u"x", &self->who[i])
                             : subscribe("act", "x", &self->who[i], &number);
      self->busy += status == RSCA_E_BUSY;
    } while (status == RSCA_E_BUSY);
    self->accepted += status == S_OK;
    self->there_already += status == RSCA_E_ALREADY_EXISTS;
    self->unexpected += status != S_OK && status != RSCA_E_ALREADY_EXISTS;
    if (i % 3 == 0)
      continue;
    status = self->session ? unregister_in(self->session, u"act") : rsca_manager_unsubscribe(manager, number);
    self->ended_by_us += status == S_OK;
    self->unexpected += status != S_OK && status != RSCA_E_NOT_FOUND;
  }
  atomic_store(&self->done, true);
  return NULL;
}

/* Each accepted registration hears its responses in order and one final; each refused one hears nothing. */
static void registered_and_unregistered_on_many_threads_while_stepping(void **state) {
  (void)state;
  set_up_with(&(rsca_config){.queue_limit = 64});
  action.count = 3;
  client clients[CLIENTS];
  for (unsigned i = 0; i < CLIENTS; i++) {
    clients[i] = (client){.session = i < 2 ? default_session : i < 3 ? own_session : NULL};
    clients[i].who = calloc(ROUNDS, sizeof *clients[i].who);
    assert_non_null(clients[i].who);
    for (unsigned k = 0; k < ROUNDS; k++)
      listener_init(&clients[i].who[k]);
  }
  for (unsigned i = 0; i < CLIENTS; i++)
    assert_int_equal(pthread_create(&clients[i].thread, NULL, register_and_unregister, &clients[i]), 0);
  for (unsigned i = 0; i < CLIENTS; i++)
    while (!atomic_load(&clients[i].done))
      (void)rsca_manager_step(manager, 5);
  unsigned accepted = 0;
  for (unsigned i = 0; i < CLIENTS; i++)
    assert_int_equal(pthread_join(clients[i].thread, NULL), 0);
  step_all(manager);
  for (unsigned i = 0; i < CLIENTS; i++) {
    unsigned told = 0;
    for (unsigned k = 0; k < ROUNDS; k++) {
      listener *who = &clients[i].who[k];
      if (untouched_listener(who))
        continue;
      told++;
      size_t size = strlen(who->text);
      assert_true(size <= 6 && strncmp(who->text, "0;1;2;", size) == 0);
      assert_true(heard(who, who->text, S_FALSE));
    }
    assert_int_equal(told, clients[i].accepted);
    assert_int_equal(clients[i].unexpected, 0);
    accepted += told;
    free(clients[i].who);
  }
  rsca_manager_stats stats;
  rsca_manager_get_stats(manager, &stats);
  assert_int_equal(stats.accepted, accepted);
  assert_int_equal(stats.ended, accepted);
  tear_down();
}

typedef struct reporter {
  pthread_t thread;
  rsca_call *call;
  unsigned reported;
  HRESULT refused;
} reporter;

static void *report_until_cancelled(void *user) {
  reporter *self = user;
  while (self->refused != RSCA_E_CANCELLED) {
    HRESULT status = report_number(self->call, self->reported);
    if (status == S_OK)
      self->reported++;
    else
      self->refused = status;
  }
  (void)rsca_call_finish(self->call, S_OK, NULL, 0);
  return NULL;
}

/* A registration ends while its action keeps reporting on a thread of its own. */
static void ends_while_its_action_reports_on_another_thread(void) {
  for (unsigned i = 0; i < 20; i++) {
    listener who;
    start_pending(&who);
    action.pendings = 0;
    reporter self = {.call = action.call};
    assert_int_equal(pthread_create(&self.thread, NULL, report_until_cancelled, &self), 0);
    while (atomic_load(&who.responses) < 10 * i)
      (void)rsca_manager_step(manager, 0);
    if (i % 2 == 0)
      assert_int_equal(stop(), S_OK);
    else
      assert_int_equal(rsca_manager_cancel(manager, action.id, 0), S_OK);
    while (atomic_load(&who.finals) == 0)
      (void)rsca_manager_step(manager, 0);
    assert_int_equal(pthread_join(self.thread, NULL), 0);
    step_all(manager);
    assert_true(heard(&who, who.text, i % 2 == 0 ? S_FALSE : RSCA_E_CANCELLED));
    assert_true(who.hash == numbers_hash(atomic_load(&who.responses)));
  }
  assert_all_ended();
}

int main(void) {
  const struct CMUnitTest tests[] = {
      WAYS_TEST(returned_success_ends_with_s_false),
      WAYS_TEST(action_that_reports_nothing_ends_with_the_final_alone),
      WAYS_TEST(responses_have_any_bytes_or_none),
      WAYS_TEST(callback_is_called_before_the_report_returns),
      WAYS_TEST(failure_ends_with_the_status_of_the_action),
      WAYS_TEST(failure_that_is_said_later_has_its_message),
      WAYS_TEST(late_reports_from_another_thread_come_in_order),
      WAYS_TEST(late_reports_from_the_thread_that_steps_come_in_order),
      WAYS_TEST(reports_in_a_step_do_not_overtake_earlier_ones_from_another_thread),
      WAYS_TEST(reports_on_another_thread_while_the_action_runs_come_before_its_end),
      WAYS_TEST(finish_with_bytes_is_the_last_response),
      WAYS_TEST(late_reports_beyond_the_limit_are_busy_and_nothing_is_lost),
      WAYS_TEST(report_of_an_ended_call_is_cancelled),
      WAYS_TEST(unregistered_ends_with_s_false_and_no_response_follows),
      WAYS_TEST(unregistered_before_it_has_started_the_action_never_runs),
      WAYS_TEST(unregistering_what_is_not_there_is_not_found),
      WAYS_TEST(unsubscribing_a_run_is_not_found),
      WAYS_TEST(name_is_free_right_after_unregister),
      WAYS_TEST(name_is_free_in_the_final_callback),
      WAYS_TEST(session_has_one_registration_per_name_and_functions_any_number),
      cmocka_unit_test(sessions_do_not_meet),
      WAYS_TEST(names_of_a_session_are_apart),
      cmocka_unit_test(released_session_lets_its_registrations_go_on),
      cmocka_unit_test(session_keeps_the_manager),
      WAYS_TEST(callback_that_fails_ends_the_registration_as_cancelled),
      WAYS_TEST(callback_that_fails_at_the_last_response_ends_it_as_cancelled),
      WAYS_TEST(unregistered_inside_a_report_no_response_follows),
      WAYS_TEST(unregistering_inside_the_final_is_not_found),
      WAYS_TEST(cancelled_inside_a_report_ends_as_cancelled),
      WAYS_TEST(drain_inside_a_report),
      WAYS_TEST(cut_inside_a_report),
      cmocka_unit_test(last_release_inside_a_report),
      WAYS_TEST(action_unregistered_inside_a_report_runs_on),
      WAYS_TEST(action_unregistered_while_it_is_pending),
      WAYS_TEST(registered_inside_a_report_is_queued),
      WAYS_TEST(cancelled_by_number_ends_as_cancelled),
      WAYS_TEST(shutdown_ends_registrations),
      WAYS_TEST(shutdown_on_another_thread_ends_registrations_in_the_next_steps),
      cmocka_unit_test(refused_by_the_interface),
      cmocka_unit_test(refused_by_the_function),
      cmocka_unit_test(refused_when_the_queue_is_full),
      cmocka_unit_test(response_beyond_the_limit_is_e_outofmemory_and_the_registration_fails),
      cmocka_unit_test(streaming_action_run_once_has_its_responses_joined),
      cmocka_unit_test(streaming_action_run_beyond_the_response_limit_fails_with_a_message),
      cmocka_unit_test(response_beyond_the_limit_is_not_taken_and_fails_the_registration),
      cmocka_unit_test(registered_and_unregistered_on_many_threads_while_stepping),
      WAYS_TEST(ends_while_its_action_reports_on_another_thread),
  };
  return cmocka_run_group_tests_name("core.registration", tests, NULL, NULL);
}
