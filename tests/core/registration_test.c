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
  size_t bytes;       /* of all responses */
  HRESULT status;     /* the final's, and its bytes */
  char why[128];
  unsigned held;    /* references in the last report */
  unsigned fail_at; /* from this response on it answers E_FAIL; 0: never */
  pthread_t thread; /* of the last report */
  atomic_uint inside_now;
  void (*inside)(listener *self, bool final); /* called inside each report */
  void *user;
};

static void append(char *text, size_t room, const void *bytes, size_t size) {
  size_t used = strlen(text);
  if (used + size + 2 > room)
    return;
  if (size > 0)
    memcpy(text + used, bytes, size);
  memcpy(text + used + size, ";", 2);
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
    append(self->text, sizeof self->text, bytes, size);
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

static bool untouched_listener(listener *self) {
  return atomic_load(&self->responses) == 0 && atomic_load(&self->finals) == 0 &&
         atomic_load(&self->references) == 1 && atomic_load(&self->over_released) == 0;
}

/* ---- The action ---- */

typedef struct producer {
  unsigned count; /* it reports "0", "1", ... */
  HRESULT status; /* and returns this */
  void (*inside)(struct producer *self, rsca_call *call);
  unsigned runs, freed;
  rsca_call *call; /* of the last run */
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

/* Everything has ended by then, or ends with the last reference. */
static void tear_down(void) {
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
static void run_ways(void **body) {
  for (how = BY_FUNCTION; how < WAYS; how++) {
    set_up_with(NULL);
    ((void (*)(void)) * body)();
    tear_down();
  }
}

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
  assert_true(heard(&who, "a", S_FALSE));
  assert_memory_equal(who.text, "a\0b;", 4);
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
  assert_int_equal(rsca_call_finish(action.call, E_FAIL, "no disk", 7), S_OK);
  step_all(manager);
  assert_true(heard(&who, "0;", E_FAIL));
  assert_string_equal(who.why, "no disk");
}

