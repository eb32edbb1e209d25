/*
 * IProtocolManager through its vtable: what it hands out and what it does not, that what was handed out keeps the
 * manager, and the entry point.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include <rsca/protocol_manager.h>

#include "client.h"

/* "RSC1", ...: they do not change, and meet no published ID. */
_Static_assert(RSCA_CUSTOM_INTERFACE_CUSTOM_ACTIONS2 == 0x52534331, "RSC1");
_Static_assert(RSCA_CUSTOM_INTERFACE_SESSION == 0x52534332, "RSC2");
_Static_assert(RSCA_CUSTOM_INTERFACE_MANAGER == 0x52534333, "RSC3");

/* ---- The allocator: the linker puts it in front of the real one ---- */

static atomic_size_t live; /* allocated and not yet freed */
static size_t fail_in;     /* the allocation that fails, counted from 1; 0: none */

void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size);
void __real_free(void *memory);
void __wrap_free(void *memory);

static bool fails(void) {
  return fail_in > 0 && --fail_in == 0;
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

void __wrap_free(void *memory) {
  if (memory)
    atomic_fetch_sub(&live, 1);
  __real_free(memory);
}

/* ---- A callback for registrations; nothing frees it ---- */

typedef struct listener {
  ICustomAction2ResultCallback iface;
  atomic_uint references;
  unsigned responses; /* with S_OK */
  unsigned finals;
  HRESULT last;
} listener;

static listener *listener_of(ICustomAction2ResultCallback *iface) {
  return (listener *)((char *)iface - offsetof(listener, iface));
}

static ULONG RSCA_METHOD listener_AddRef(ICustomAction2ResultCallback *iface) {
  return atomic_fetch_add(&listener_of(iface)->references, 1) + 1;
}

static ULONG RSCA_METHOD listener_Release(ICustomAction2ResultCallback *iface) {
  return atomic_fetch_sub(&listener_of(iface)->references, 1) - 1;
}

static HRESULT RSCA_METHOD listener_ReportResult(ICustomAction2ResultCallback *iface, RSCA_REPORTRESULT2_PARAMETERS) {
  listener *self = listener_of(iface);
  (void)pbResponse, (void)cbResponse;
#if RSCA_SDK_REPORTRESULT
  if (fFinalResponse != (hrStatus != S_OK))
    self->finals += 100;
#endif
  if (hrStatus == S_OK)
    self->responses++;
  else
    self->finals++;
  self->last = hrStatus;
  return S_OK;
}

static void listener_init(listener *self) {
  static const ICustomAction2ResultCallbackVtbl vtbl = {listener_AddRef, listener_Release, listener_ReportResult};
  *self = (listener){.iface = {&vtbl}, .last = S_OK};
  atomic_init(&self->references, 1);
}

static rsca_manager *manager; /* NULL: the test gave it back */
static IProtocolManager *protocol;
static obedient action; /* registered as "act" */

static int set_up(void **state) {
  (void)state;
  action = (obedient){.echo = true};
  manager = make_manager(NULL);
  protocol = rsca_manager_protocol_manager(manager);
  return register_obedient(manager, "act", &action) == S_OK ? 0 : -1;
}

static int tear_down(void **state) {
  (void)state;
  if (protocol)
    (void)protocol->lpVtbl->Release(protocol);
  if (manager && rsca_manager_release(manager) != 0)
    return -1;
  protocol = NULL;
  manager = NULL;
  return atomic_load(&action.freed) == 1 ? 0 : -1;
}

static HRESULT get(int id, PVOID *out) {
  return protocol->lpVtbl->GetPmInterface(protocol, (PM_INTERFACE_ID_ENUM)id, out);
}

static HRESULT get_custom(DWORD id, PVOID *out) {
  return protocol->lpVtbl->GetCustomInterface(protocol, id, out);
}

static ULONG count(void) {
  (void)rsca_manager_add_ref(manager);
  return rsca_manager_release(manager);
}

/* ---- GetPmInterface ---- */

static void test_get_custom_actions_is_the_managers_with_one_more_reference(void **state) {
  (void)state;
  ULONG before = count();
  PVOID out = NULL;
  assert_int_equal(get(PM_CUSTOM_ACTIONS_ID, &out), S_OK);
  assert_int_equal(count(), before + 1);
  IPmCustomActions *actions = rsca_manager_custom_actions(manager);
  assert_ptr_equal(out, actions);
  (void)actions->lpVtbl->Release(actions);
  actions = out;
  counting_callback callback;
  counting_callback_init(&callback);
  assert_int_equal(submit_to_interface(actions, u"act", u"hello", &callback), S_OK);
  step_all(manager);
  assert_true(ended_with(&callback.heard, S_OK, "hello", 5));
  assert_int_equal(actions->lpVtbl->Release(actions), before);
}

static void test_get_health_monitor_is_the_managers_with_one_more_reference(void **state) {
  (void)state;
  ULONG before = count();
  PVOID out = NULL;
  assert_int_equal(get(PM_HEALTH_AND_IDLE_MONITOR_ID, &out), S_OK);
  assert_int_equal(count(), before + 1);
  IPmHealthAndIdleMonitor *monitor = rsca_manager_health_monitor(manager);
  assert_ptr_equal(out, monitor);
  assert_int_equal(monitor->lpVtbl->Release(monitor), before + 1);
  monitor = out;
  BOOL idle = FALSE;
  assert_int_equal(monitor->lpVtbl->CheckIdle(monitor, &idle), S_OK);
  assert_int_equal(idle, TRUE);
  assert_int_equal(monitor->lpVtbl->Release(monitor), before);
}

static void test_get_any_other_id_is_not_found_and_null(void **state) {
  (void)state;
  static const int others[] = {
      PM_LISTENER_CHANNEL_MANAGER_ID, PM_APPLICATION_PRELOAD_ID, PM_IDLE_TIMEOUT_ID, 0, 6, 7, 0x52534331, INT32_MAX};
  ULONG before = count();
  for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
    PVOID out = &action;
    assert_int_equal(get(others[i], &out), RSCA_E_NOT_FOUND);
    assert_null(out);
  }
  assert_int_equal(count(), before);
}

static void test_get_null_out_is_e_invalidarg(void **state) {
  (void)state;
  ULONG before = count();
  for (int id = 0; id <= 6; id++)
    assert_int_equal(get(id, NULL), E_INVALIDARG);
  for (DWORD id = RSCA_CUSTOM_INTERFACE_CUSTOM_ACTIONS2 - 1; id <= RSCA_CUSTOM_INTERFACE_MANAGER + 1; id++)
    assert_int_equal(get_custom(id, NULL), E_INVALIDARG);
  assert_int_equal(count(), before);
}

/* ---- GetCustomInterface ---- */

static HRESULT subscribe(IPmCustomActions2 *actions, listener *to) {
  return actions->lpVtbl->RegisterCustomActionCallback(actions, u"act", u"hello", &to->iface);
}

static void test_get_custom_actions2_is_the_default_session(void **state) {
  (void)state;
  ULONG before = count();
  PVOID out = NULL, again = NULL;
  assert_int_equal(get_custom(RSCA_CUSTOM_INTERFACE_CUSTOM_ACTIONS2, &out), S_OK);
  assert_int_equal(get_custom(RSCA_CUSTOM_INTERFACE_CUSTOM_ACTIONS2, &again), S_OK);
  assert_ptr_equal(out, again);
  assert_int_equal(count(), before + 2);
  IPmCustomActions2 *actions = rsca_manager_custom_actions2(manager);
  assert_ptr_equal(out, actions);
  listener to;
  listener_init(&to);
  assert_int_equal(subscribe(actions, &to), S_OK);
  assert_int_equal(subscribe(again, &to), RSCA_E_ALREADY_EXISTS); /* one session */
  step_all(manager);
  assert_true(to.responses == 1 && to.finals == 1 && to.last == S_FALSE);
  assert_int_equal(atomic_load(&to.references), 1);
  for (int i = 0; i < 3; i++)
    (void)actions->lpVtbl->Release(actions);
  assert_int_equal(count(), before);
}

static void test_get_session_is_a_new_one_each_time(void **state) {
  (void)state;
  ULONG before = count();
  PVOID one = NULL, two = NULL;
  assert_int_equal(get_custom(RSCA_CUSTOM_INTERFACE_SESSION, &one), S_OK);
  assert_int_equal(get_custom(RSCA_CUSTOM_INTERFACE_SESSION, &two), S_OK);
  assert_ptr_not_equal(one, two);
  assert_int_equal(count(), before + 2);
  IPmCustomActions2 *first = one, *second = two;
  listener to, other;
  listener_init(&to);
  listener_init(&other);
  action.status = E_PENDING;
  assert_int_equal(subscribe(first, &to), S_OK);
  assert_int_equal(subscribe(first, &to), RSCA_E_ALREADY_EXISTS);
  assert_int_equal(subscribe(second, &other), S_OK);
  assert_int_equal(second->lpVtbl->UnregisterCustomActionCallback(second, u"act"), S_OK);
  assert_int_equal(second->lpVtbl->UnregisterCustomActionCallback(second, u"act"), RSCA_E_NOT_FOUND);
  step_all(manager);
  assert_true(other.finals == 1 && other.last == S_FALSE);
  assert_true(to.responses == 1 && to.finals == 0);
  assert_int_equal(first->lpVtbl->UnregisterCustomActionCallback(first, u"act"), S_OK);
  step_all(manager);
  assert_true(to.finals == 1 && to.last == S_FALSE);
  assert_int_equal(rsca_call_finish(action.call, S_OK, NULL, 0), S_OK);
  step_all(manager);
  assert_int_equal(first->lpVtbl->Release(first), 0);
  assert_int_equal(second->lpVtbl->Release(second), 0);
  assert_int_equal(count(), before);
}

static void test_get_manager_is_the_manager_itself(void **state) {
  (void)state;
  ULONG before = count();
  PVOID out = NULL;
  assert_int_equal(get_custom(RSCA_CUSTOM_INTERFACE_MANAGER, &out), S_OK);
  assert_ptr_equal(out, manager);
  assert_int_equal(rsca_manager_release(out), before);
}

static void test_get_any_other_custom_id_is_not_found_and_null(void **state) {
  (void)state;
  static const DWORD others[] = {0, 1, 2, 3, 4, 5, 0x52534330, 0x52534334, 0x31435352, UINT32_MAX};
  ULONG before = count();
  for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
    PVOID out = &action;
    assert_int_equal(get_custom(others[i], &out), RSCA_E_NOT_FOUND);
    assert_null(out);
  }
  assert_int_equal(count(), before);
}

static void test_get_session_without_memory_is_e_outofmemory_and_null(void **state) {
  (void)state;
  ULONG before = count();
  PVOID out = &action;
  fail_in = 1;
  HRESULT status = get_custom(RSCA_CUSTOM_INTERFACE_SESSION, &out);
  fail_in = 0;
  assert_int_equal(status, E_OUTOFMEMORY);
  assert_null(out);
  assert_int_equal(count(), before);
}

/* ---- Shutdown ---- */

static void test_shutdown_false_lets_calls_end_and_true_cuts_them(void **state) {
  (void)state;
  outcome heard = {0};
  assert_int_equal(submit(manager, "act", "bye", &heard, NULL), S_OK);
  assert_int_equal(protocol->lpVtbl->Shutdown(protocol, FALSE), S_OK);
  assert_true(ended_with(&heard, S_OK, "bye", 3));
  assert_int_equal(submit(manager, "act", "", &heard, NULL), RSCA_E_SHUTDOWN_IN_PROGRESS);
  assert_int_equal(protocol->lpVtbl->Shutdown(protocol, TRUE), S_OK);
}

/* Any BOOL that is not FALSE is TRUE. */
static void test_shutdown_true_cuts_calls(void **state) {
  (void)state;
  static const BOOL truths[] = {TRUE, -1, 256};
  for (size_t i = 0; i < sizeof truths / sizeof truths[0]; i++) {
    assert_int_equal(tear_down(NULL), 0);
    assert_int_equal(set_up(NULL), 0);
    outcome heard = {0};
    assert_int_equal(submit(manager, "act", "bye", &heard, NULL), S_OK);
    assert_int_equal(protocol->lpVtbl->Shutdown(protocol, truths[i]), S_OK);
    assert_true(ended_saying_why(&heard, RSCA_E_CANCELLED));
    assert_int_equal(atomic_load(&action.runs), 0);
  }
}

static void shut_down_inside(obedient *self, void *user) {
  (void)self;
  *(HRESULT *)user = protocol->lpVtbl->Shutdown(protocol, TRUE);
}

static void test_shutdown_inside_an_action_is_s_false(void **state) {
  (void)state;
  HRESULT said = E_FAIL;
  outcome heard = {0};
  action.inside = shut_down_inside;
  action.user = &said;
  assert_int_equal(submit(manager, "act", "", &heard, NULL), S_OK);
  step_all(manager);
  assert_int_equal(said, S_FALSE);
  assert_int_equal(atomic_load(&heard.reports), 1);
}

static void test_interfaces_are_still_handed_out_after_shutdown(void **state) {
  (void)state;
  assert_int_equal(protocol->lpVtbl->Shutdown(protocol, TRUE), S_OK);
  PVOID out = NULL;
  assert_int_equal(get(PM_CUSTOM_ACTIONS_ID, &out), S_OK);
  IPmCustomActions *actions = out;
  counting_callback callback;
  counting_callback_init(&callback);
  assert_int_equal(submit_to_interface(actions, u"act", NULL, &callback), RSCA_E_SHUTDOWN_IN_PROGRESS);
  assert_true(untouched(&callback));
  (void)actions->lpVtbl->Release(actions);
}

/* ---- References ---- */

static void test_all_facets_share_one_count(void **state) {
  (void)state;
  assert_int_equal(protocol->lpVtbl->AddRef(protocol), 3);
  assert_int_equal(rsca_manager_add_ref(manager), 4);
  assert_int_equal(protocol->lpVtbl->Release(protocol), 3);
  assert_int_equal(rsca_manager_release(manager), 2);
}

static void release_owners(void) {
  assert_true(protocol->lpVtbl->Release(protocol) > 0);
  assert_true(rsca_manager_release(manager) > 0);
  protocol = NULL;
}

/* Each of them alone keeps the manager, with its actions; the last Release of it ends that. */
static void test_what_was_handed_out_outlives_the_protocol_manager(void **state) {
  (void)state;
  PVOID out = NULL;
  assert_int_equal(get(PM_CUSTOM_ACTIONS_ID, &out), S_OK);
  release_owners();
  IPmCustomActions *actions = out;
  counting_callback callback;
  counting_callback_init(&callback);
  assert_int_equal(submit_to_interface(actions, u"act", u"still", &callback), S_OK);
  step_all(manager);
  assert_true(ended_with(&callback.heard, S_OK, "still", 5));
  assert_int_equal(atomic_load(&action.freed), 0);
  counting_callback_init(&callback);
  assert_int_equal(submit_to_interface(actions, u"act", u"cut", &callback), S_OK);
  assert_int_equal(actions->lpVtbl->Release(actions), 0);
  manager = NULL;
  assert_true(ended_saying_why(&callback.heard, RSCA_E_CANCELLED));
  assert_int_equal(atomic_load(&callback.references), 1);
}

static void test_session_outlives_the_protocol_manager(void **state) {
  (void)state;
  PVOID out = NULL;
  assert_int_equal(get_custom(RSCA_CUSTOM_INTERFACE_SESSION, &out), S_OK);
  release_owners();
  IPmCustomActions2 *session = out;
  listener to;
  listener_init(&to);
  assert_int_equal(subscribe(session, &to), S_OK);
  step_all(manager);
  assert_true(to.responses == 1 && to.finals == 1 && to.last == S_FALSE);
  assert_int_equal(subscribe(session, &to), S_OK);
  manager = NULL;
  assert_int_equal(session->lpVtbl->Release(session), 0);
  assert_true(to.responses == 1 && to.finals == 2 && to.last == RSCA_E_CANCELLED);
  assert_int_equal(atomic_load(&to.references), 1);
}

/* ---- The entry point ---- */

static void test_entry_point_makes_a_manager(void **state) {
  (void)state;
  IProtocolManager *made = NULL;
  assert_int_equal(GetProtocolManager(NULL, &made), S_OK);
  assert_non_null(made);
  assert_ptr_not_equal(made, protocol);
  PVOID out = NULL;
  assert_int_equal(made->lpVtbl->GetCustomInterface(made, RSCA_CUSTOM_INTERFACE_MANAGER, &out), S_OK);
  rsca_manager *own = out;
  obedient own_action = {.echo = true};
  assert_int_equal(register_obedient(own, "own", &own_action), S_OK);
  assert_int_equal(made->lpVtbl->GetPmInterface(made, PM_CUSTOM_ACTIONS_ID, &out), S_OK);
  IPmCustomActions *actions = out;
  counting_callback callback;
  counting_callback_init(&callback);
  assert_int_equal(submit_to_interface(actions, u"own", u"x", &callback), S_OK);
  step_all(own);
  assert_true(ended_with(&callback.heard, S_OK, "x", 1));
  assert_int_equal(made->lpVtbl->Shutdown(made, TRUE), S_OK);
  assert_int_equal(actions->lpVtbl->Release(actions), 2);
  assert_int_equal(rsca_manager_release(own), 1);
  assert_int_equal(made->lpVtbl->Release(made), 0);
  assert_int_equal(atomic_load(&own_action.freed), 1);
}

/* "The framework is not used." */
static void test_entry_point_leaves_the_framework_alone(void **state) {
  (void)state;
  IProtocolManager *made = NULL;
  unsigned char bytes[sizeof(void *)] = {0};
  assert_int_equal(GetProtocolManager((IWorkerProcessFramework *)(void *)bytes, &made), S_OK);
  assert_int_equal(made->lpVtbl->Release(made), 0);
}

static void test_entry_point_null_out_is_e_invalidarg(void **state) {
  (void)state;
  assert_int_equal(GetProtocolManager(NULL, NULL), E_INVALIDARG);
}

static void test_entry_point_without_memory_is_e_outofmemory_and_null(void **state) {
  (void)state;
  size_t before = atomic_load(&live);
  HRESULT status = E_OUTOFMEMORY;
  size_t at = 0;
  while (status == E_OUTOFMEMORY) {
    IProtocolManager *made = (IProtocolManager *)(void *)&action;
    fail_in = ++at;
    status = GetProtocolManager(NULL, &made);
    fail_in = 0;
    if (status == S_OK)
      assert_int_equal(made->lpVtbl->Release(made), 0);
    else
      assert_null(made);
    assert_int_equal(atomic_load(&live), before);
  }
  assert_int_equal(status, S_OK);
  assert_true(at > 3); /* runner, manager, engine */
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
  static const struct CMUnitTest tests[] = {
      TEST(test_get_custom_actions_is_the_managers_with_one_more_reference),
      TEST(test_get_health_monitor_is_the_managers_with_one_more_reference),
      TEST(test_get_any_other_id_is_not_found_and_null),
      TEST(test_get_null_out_is_e_invalidarg),
      TEST(test_get_custom_actions2_is_the_default_session),
      TEST(test_get_session_is_a_new_one_each_time),
      TEST(test_get_manager_is_the_manager_itself),
      TEST(test_get_any_other_custom_id_is_not_found_and_null),
      TEST(test_get_session_without_memory_is_e_outofmemory_and_null),
      TEST(test_shutdown_false_lets_calls_end_and_true_cuts_them),
      TEST(test_shutdown_true_cuts_calls),
      TEST(test_shutdown_inside_an_action_is_s_false),
      TEST(test_interfaces_are_still_handed_out_after_shutdown),
      TEST(test_all_facets_share_one_count),
      TEST(test_what_was_handed_out_outlives_the_protocol_manager),
      TEST(test_session_outlives_the_protocol_manager),
      TEST(test_entry_point_makes_a_manager),
      TEST(test_entry_point_leaves_the_framework_alone),
      TEST(test_entry_point_null_out_is_e_invalidarg),
      TEST(test_entry_point_without_memory_is_e_outofmemory_and_null),
  };
  return cmocka_run_group_tests_name("protocol_manager", tests, NULL, NULL);
}
