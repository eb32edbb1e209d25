/*
 * The C half: objects made of vtable structs, calls by member name and by slot number, and the record of both halves.
 */
#include "layout_test.h"
#include "seed_page_client.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

/* ---- what the compiler can say by itself ---- */

#define SLOT_IS(vtable, method, slot)                                                                                  \
  _Static_assert(offsetof(vtable, method) == (slot) * sizeof(void (*)(void)), #vtable "." #method)
#define SLOTS_ARE(interface, slots)                                                                                    \
  SLOT_IS(interface##Vtbl, AddRef, 0);                                                                                 \
  SLOT_IS(interface##Vtbl, Release, 1);                                                                                \
  _Static_assert(sizeof(interface##Vtbl) == (slots) * sizeof(void (*)(void)), #interface "Vtbl");                      \
  _Static_assert(sizeof(interface) == sizeof(void *) && offsetof(interface, lpVtbl) == 0, #interface)

SLOTS_ARE(IWpfReferencedObject, 2);
SLOTS_ARE(ICustomActionResultCallback, 3);
SLOT_IS(ICustomActionResultCallbackVtbl, ReportResult, 2);
SLOTS_ARE(ICustomAction2ResultCallback, 3);
SLOT_IS(ICustomAction2ResultCallbackVtbl, ReportResult, 2);
SLOTS_ARE(IPmCustomActions, 3);
SLOT_IS(IPmCustomActionsVtbl, RunCustomAction, 2);
SLOTS_ARE(IPmCustomActions2, 4);
SLOT_IS(IPmCustomActions2Vtbl, RegisterCustomActionCallback, 2);
SLOT_IS(IPmCustomActions2Vtbl, UnregisterCustomActionCallback, 3);
SLOTS_ARE(IProtocolManager, 5);
SLOT_IS(IProtocolManagerVtbl, GetPmInterface, 2);
SLOT_IS(IProtocolManagerVtbl, GetCustomInterface, 3);
SLOT_IS(IProtocolManagerVtbl, Shutdown, 4);
SLOTS_ARE(IPmHealthAndIdleMonitor, 4);
SLOT_IS(IPmHealthAndIdleMonitorVtbl, CheckIdle, 2);
SLOT_IS(IPmHealthAndIdleMonitorVtbl, CheckHealth, 3);
SLOTS_ARE(IHealthStatusCallback, 3);
SLOT_IS(IHealthStatusCallbackVtbl, ReportHealth, 2);

_Static_assert(sizeof(HRESULT) == 4 && (HRESULT)-1 < 0, "HRESULT");
_Static_assert(sizeof(ULONG) == 4 && (ULONG)-1 > 0, "ULONG");
_Static_assert(sizeof(DWORD) == 4 && (DWORD)-1 > 0, "DWORD");
_Static_assert(sizeof(BOOL) == sizeof(int) && (BOOL)-1 < 0, "BOOL");
_Static_assert(sizeof(BYTE) == 1 && (BYTE)-1 > 0, "BYTE");
_Static_assert(sizeof(WCHAR) == 2 && (WCHAR)-1 > 0, "WCHAR");
_Static_assert(sizeof(PCWSTR) == sizeof(PVOID) && sizeof(PBYTE) == sizeof(PVOID), "pointers");
_Static_assert(sizeof(PM_INTERFACE_ID_ENUM) == 4, "PM_INTERFACE_ID_ENUM");
_Static_assert(PM_LISTENER_CHANNEL_MANAGER_ID == 1 && PM_HEALTH_AND_IDLE_MONITOR_ID == 2 && PM_CUSTOM_ACTIONS_ID == 3 &&
                   PM_APPLICATION_PRELOAD_ID == 4 && PM_IDLE_TIMEOUT_ID == 5,
               "PM_INTERFACE_ID_ENUM");
_Static_assert(S_OK == 0 && S_FALSE == 1 && FALSE == 0 && TRUE == 1, "constants");
_Static_assert(SUCCEEDED(S_OK) && SUCCEEDED(S_FALSE) && !SUCCEEDED(0x80004005), "SUCCEEDED");
_Static_assert(FAILED(0x80004005) && FAILED(-1) && !FAILED(S_FALSE), "FAILED");

/* Not asked of the compiler: where the platform defines HRESULT_FROM_WIN32 it may be a function. */
static void check_from_win32(void) {
  CHECK(HRESULT_FROM_WIN32(0) == S_OK);
  CHECK(HRESULT_FROM_WIN32(1168) == (HRESULT)0x80070490);
  CHECK(HRESULT_FROM_WIN32(170u) == (HRESULT)0x800700AA);
  CHECK(HRESULT_FROM_WIN32(0x80004005) == (HRESULT)0x80004005);
}

/* ---- the record ---- */

typedef struct arrival {
  int maker;
  int which;
  unsigned slot;
  const void *self;
  const void *pointers[3];
  long long numbers[3];
} arrival;

static arrival last;
static int arrivals;
static int calling;
static int failures;

static HRESULT answer(int maker, int which, unsigned slot) {
  return (HRESULT)(0x80A00000u | (unsigned)maker << 16 | (unsigned)which << 8 | slot);
}

void layout_calling(int maker) {
  calling = maker;
}

HRESULT layout_arrived(int maker, LAYOUT_ARGUMENTS) {
  last = (arrival){maker, which, slot, self, {p0, p1, p2}, {n0, n1, n2}};
  arrivals++;
  return answer(maker, which, slot);
}

void layout_fail(const char *file, int line, const char *what) {
  fprintf(stderr, "%s:%d: %s\n", file, line, what);
  failures++;
}

void layout_expect(const char *file, int line, HRESULT returned, LAYOUT_ARGUMENTS) {
  if (arrivals != 1)
    layout_fail(file, line, arrivals ? "the call arrived more than once" : "the call did not arrive");
  if (last.maker != calling)
    layout_fail(file, line, "the call arrived in code of the other language");
  if (last.which != which || last.slot != slot)
    layout_fail(file, line, "the call arrived at another method");
  if (last.self != self)
    layout_fail(file, line, "the object arrived changed");
  if (last.pointers[0] != p0 || last.pointers[1] != p1 || last.pointers[2] != p2)
    layout_fail(file, line, "a pointer arrived changed");
  if (last.numbers[0] != n0 || last.numbers[1] != n1 || last.numbers[2] != n2)
    layout_fail(file, line, "a number arrived changed");
  if (returned != answer(calling, which, slot))
    layout_fail(file, line, "the status came back changed");
  arrivals = 0;
}

int layout_failures(void) {
  return failures;
}

/* ---- objects made in C ---- */

#define COUNTED(interface, which)                                                                                      \
  static ULONG RSCA_METHOD interface##_AddRef(interface *This) {                                                       \
    return (ULONG)layout_arrived(LAYOUT_MADE_IN_C, which, 0, This, NULL, NULL, NULL, 0, 0, 0);                         \
  }                                                                                                                    \
  static ULONG RSCA_METHOD interface##_Release(interface *This) {                                                      \
    return (ULONG)layout_arrived(LAYOUT_MADE_IN_C, which, 1, This, NULL, NULL, NULL, 0, 0, 0);                         \
  }

COUNTED(IWpfReferencedObject, LAYOUT_REFERENCED)
COUNTED(ICustomActionResultCallback, LAYOUT_RESULT)
COUNTED(ICustomAction2ResultCallback, LAYOUT_RESULT2)
COUNTED(IPmCustomActions, LAYOUT_ACTIONS)
COUNTED(IPmCustomActions2, LAYOUT_ACTIONS2)
COUNTED(IProtocolManager, LAYOUT_MANAGER)
COUNTED(IPmHealthAndIdleMonitor, LAYOUT_MONITOR)
COUNTED(IHealthStatusCallback, LAYOUT_HEALTH)

static HRESULT RSCA_METHOD report_result(ICustomActionResultCallback *This, HRESULT hrStatus, PBYTE pbResponse,
                                         DWORD cbResponse) {
  return layout_arrived(LAYOUT_MADE_IN_C, LAYOUT_RESULT, 2, This, pbResponse, NULL, NULL, hrStatus, 0, cbResponse);
}

static HRESULT RSCA_METHOD report_result2(ICustomAction2ResultCallback *This, RSCA_REPORTRESULT2_PARAMETERS) {
#if !RSCA_SDK_REPORTRESULT
  const BOOL fFinalResponse = 0;
#endif
  return layout_arrived(LAYOUT_MADE_IN_C, LAYOUT_RESULT2, 2, This, pbResponse, NULL, NULL, hrStatus, fFinalResponse,
                        cbResponse);
}

static HRESULT RSCA_METHOD run_custom_action(IPmCustomActions *This, PCWSTR pszFunctionName, PCWSTR pszFunctionArgs,
                                             ICustomActionResultCallback *pCompletionCallbackClass) {
  return layout_arrived(LAYOUT_MADE_IN_C, LAYOUT_ACTIONS, 2, This, pszFunctionName, pszFunctionArgs,
                        pCompletionCallbackClass, 0, 0, 0);
}

static HRESULT RSCA_METHOD register_callback(IPmCustomActions2 *This, PCWSTR pszFunctionName, PCWSTR pszFunctionArgs,
                                             ICustomAction2ResultCallback *pCompletionCallbackClass) {
  return layout_arrived(LAYOUT_MADE_IN_C, LAYOUT_ACTIONS2, 2, This, pszFunctionName, pszFunctionArgs,
                        pCompletionCallbackClass, 0, 0, 0);
}

static HRESULT RSCA_METHOD unregister_callback(IPmCustomActions2 *This, PCWSTR pszFunctionName) {
  return layout_arrived(LAYOUT_MADE_IN_C, LAYOUT_ACTIONS2, 3, This, pszFunctionName, NULL, NULL, 0, 0, 0);
}

static HRESULT RSCA_METHOD get_pm_interface(IProtocolManager *This, PM_INTERFACE_ID_ENUM PmInterfaceId,
                                            PVOID *ppInterface) {
  return layout_arrived(LAYOUT_MADE_IN_C, LAYOUT_MANAGER, 2, This, ppInterface, NULL, NULL, PmInterfaceId, 0, 0);
}

static HRESULT RSCA_METHOD get_custom_interface(IProtocolManager *This, DWORD InterfaceId, PVOID *ppInterface) {
  return layout_arrived(LAYOUT_MADE_IN_C, LAYOUT_MANAGER, 3, This, ppInterface, NULL, NULL, InterfaceId, 0, 0);
}

static HRESULT RSCA_METHOD shut_down(IProtocolManager *This, BOOL fImmediate) {
  return layout_arrived(LAYOUT_MADE_IN_C, LAYOUT_MANAGER, 4, This, NULL, NULL, NULL, fImmediate, 0, 0);
}

static HRESULT RSCA_METHOD check_idle(IPmHealthAndIdleMonitor *This, BOOL *pfIdle) {
  return layout_arrived(LAYOUT_MADE_IN_C, LAYOUT_MONITOR, 2, This, pfIdle, NULL, NULL, 0, 0, 0);
}

static HRESULT RSCA_METHOD check_health(IPmHealthAndIdleMonitor *This, IHealthStatusCallback *pIHealthStatusCallback) {
  return layout_arrived(LAYOUT_MADE_IN_C, LAYOUT_MONITOR, 3, This, pIHealthStatusCallback, NULL, NULL, 0, 0, 0);
}

static HRESULT RSCA_METHOD report_health(IHealthStatusCallback *This, BOOL fHealthy) {
  return layout_arrived(LAYOUT_MADE_IN_C, LAYOUT_HEALTH, 2, This, NULL, NULL, NULL, fHealthy, 0, 0);
}

#define VTABLE(interface, ...)                                                                                         \
  static const interface##Vtbl interface##_vtable = {interface##_AddRef, interface##_Release, __VA_ARGS__};            \
  static interface interface##_object = {&interface##_vtable}

static const IWpfReferencedObjectVtbl IWpfReferencedObject_vtable = {IWpfReferencedObject_AddRef,
                                                                     IWpfReferencedObject_Release};
static IWpfReferencedObject IWpfReferencedObject_object = {&IWpfReferencedObject_vtable};
VTABLE(ICustomActionResultCallback, report_result);
VTABLE(ICustomAction2ResultCallback, report_result2);
VTABLE(IPmCustomActions, run_custom_action);
VTABLE(IPmCustomActions2, register_callback, unregister_callback);
VTABLE(IProtocolManager, get_pm_interface, get_custom_interface, shut_down);
VTABLE(IPmHealthAndIdleMonitor, check_idle, check_health);
VTABLE(IHealthStatusCallback, report_health);

layout_objects layout_c_objects(void) {
  layout_objects objects = {LAYOUT_MADE_IN_C,
                            &IWpfReferencedObject_object,
                            &ICustomActionResultCallback_object,
                            &ICustomAction2ResultCallback_object,
                            &IPmCustomActions_object,
                            &IPmCustomActions2_object,
                            &IProtocolManager_object,
                            &IPmHealthAndIdleMonitor_object,
                            &IHealthStatusCallback_object};
  return objects;
}

PCWSTR layout_c_text(void) {
  return RSCA_TEXT("h\u00e9\U0001F600");
}

/* ---- calls from C ---- */

/* Sets the function pointer `function` to what stands in a slot of the object's vtable, whatever its type claims. */
#define TAKE_SLOT(function, object, slot) take_slot(&(function), sizeof(function), object, slot)

static void take_slot(void *function, size_t size, const void *object, unsigned slot) {
  const unsigned char *vtable;
  memcpy(&vtable, object, sizeof vtable);
  memcpy(function, vtable + slot * size, size);
}

#define CALL_COUNTED(interface, which, object)                                                                         \
  do {                                                                                                                 \
    ULONG(RSCA_METHOD *function)(interface *);                                                                         \
    CALLED((HRESULT)(object)->lpVtbl->AddRef(object), which, 0, object, NULL, NULL, NULL, 0, 0, 0);                    \
    CALLED((HRESULT)(object)->lpVtbl->Release(object), which, 1, object, NULL, NULL, NULL, 0, 0, 0);                   \
    TAKE_SLOT(function, object, 0);                                                                                    \
    CALLED((HRESULT)function(object), which, 0, object, NULL, NULL, NULL, 0, 0, 0);                                    \
    TAKE_SLOT(function, object, 1);                                                                                    \
    CALLED((HRESULT)function(object), which, 1, object, NULL, NULL, NULL, 0, 0, 0);                                    \
  } while (0)

static void call_callbacks(layout_objects o) {
  BYTE bytes[3] = {1, 0, 255};
  const HRESULT status = (HRESULT)0x80004005;

  CALLED(o.result->lpVtbl->ReportResult(o.result, status, bytes, 0xFFFFFFF0u), LAYOUT_RESULT, 2, o.result, bytes, NULL,
         NULL, status, 0, 0xFFFFFFF0u);
  HRESULT(RSCA_METHOD * report)(ICustomActionResultCallback *, HRESULT, PBYTE, DWORD);
  TAKE_SLOT(report, o.result, 2);
  CALLED(report(o.result, S_OK, NULL, 0), LAYOUT_RESULT, 2, o.result, NULL, NULL, NULL, 0, 0, 0);

  HRESULT(RSCA_METHOD * report2)(ICustomAction2ResultCallback *, RSCA_REPORTRESULT2_PARAMETERS);
  TAKE_SLOT(report2, o.result2, 2);
#if RSCA_SDK_REPORTRESULT
  CALLED(o.result2->lpVtbl->ReportResult(o.result2, status, TRUE, bytes, 3), LAYOUT_RESULT2, 2, o.result2, bytes, NULL,
         NULL, status, TRUE, 3);
  CALLED(report2(o.result2, status, TRUE, bytes, 3), LAYOUT_RESULT2, 2, o.result2, bytes, NULL, NULL, status, TRUE, 3);
#else
  CALLED(o.result2->lpVtbl->ReportResult(o.result2, status, bytes, 3), LAYOUT_RESULT2, 2, o.result2, bytes, NULL, NULL,
         status, 0, 3);
  CALLED(report2(o.result2, status, bytes, 3), LAYOUT_RESULT2, 2, o.result2, bytes, NULL, NULL, status, 0, 3);
#endif

  CALLED(o.health->lpVtbl->ReportHealth(o.health, TRUE), LAYOUT_HEALTH, 2, o.health, NULL, NULL, NULL, TRUE, 0, 0);
  HRESULT(RSCA_METHOD * health)(IHealthStatusCallback *, BOOL);
  TAKE_SLOT(health, o.health, 2);
  CALLED(health(o.health, -1), LAYOUT_HEALTH, 2, o.health, NULL, NULL, NULL, -1, 0, 0);
}

static void call_actions(layout_objects o) {
  const PCWSTR name = RSCA_TEXT("name");
  const PCWSTR args = RSCA_TEXT("args");

  CALLED(o.actions->lpVtbl->RunCustomAction(o.actions, name, args, o.result), LAYOUT_ACTIONS, 2, o.actions, name, args,
         o.result, 0, 0, 0);
  HRESULT(RSCA_METHOD * run)(IPmCustomActions *, PCWSTR, PCWSTR, ICustomActionResultCallback *);
  TAKE_SLOT(run, o.actions, 2);
  CALLED(run(o.actions, name, NULL, o.result), LAYOUT_ACTIONS, 2, o.actions, name, NULL, o.result, 0, 0, 0);

  CALLED(o.actions2->lpVtbl->RegisterCustomActionCallback(o.actions2, name, args, o.result2), LAYOUT_ACTIONS2, 2,
         o.actions2, name, args, o.result2, 0, 0, 0);
  HRESULT(RSCA_METHOD * subscribe)(IPmCustomActions2 *, PCWSTR, PCWSTR, ICustomAction2ResultCallback *);
  TAKE_SLOT(subscribe, o.actions2, 2);
  CALLED(subscribe(o.actions2, name, args, NULL), LAYOUT_ACTIONS2, 2, o.actions2, name, args, NULL, 0, 0, 0);

  CALLED(o.actions2->lpVtbl->UnregisterCustomActionCallback(o.actions2, name), LAYOUT_ACTIONS2, 3, o.actions2, name,
         NULL, NULL, 0, 0, 0);
  HRESULT(RSCA_METHOD * unsubscribe)(IPmCustomActions2 *, PCWSTR);
  TAKE_SLOT(unsubscribe, o.actions2, 3);
  CALLED(unsubscribe(o.actions2, name), LAYOUT_ACTIONS2, 3, o.actions2, name, NULL, NULL, 0, 0, 0);
}

static void call_manager(layout_objects o) {
  PVOID out = NULL;
  BOOL idle = FALSE;

  CALLED(o.manager->lpVtbl->GetPmInterface(o.manager, PM_CUSTOM_ACTIONS_ID, &out), LAYOUT_MANAGER, 2, o.manager, &out,
         NULL, NULL, 3, 0, 0);
  HRESULT(RSCA_METHOD * get_pm)(IProtocolManager *, PM_INTERFACE_ID_ENUM, PVOID *);
  TAKE_SLOT(get_pm, o.manager, 2);
  CALLED(get_pm(o.manager, PM_IDLE_TIMEOUT_ID, &out), LAYOUT_MANAGER, 2, o.manager, &out, NULL, NULL, 5, 0, 0);

  CALLED(o.manager->lpVtbl->GetCustomInterface(o.manager, 0x80000001u, &out), LAYOUT_MANAGER, 3, o.manager, &out, NULL,
         NULL, 0x80000001u, 0, 0);
  HRESULT(RSCA_METHOD * get_custom)(IProtocolManager *, DWORD, PVOID *);
  TAKE_SLOT(get_custom, o.manager, 3);
  CALLED(get_custom(o.manager, 7, NULL), LAYOUT_MANAGER, 3, o.manager, NULL, NULL, NULL, 7, 0, 0);

  CALLED(o.manager->lpVtbl->Shutdown(o.manager, TRUE), LAYOUT_MANAGER, 4, o.manager, NULL, NULL, NULL, TRUE, 0, 0);
  HRESULT(RSCA_METHOD * shutdown)(IProtocolManager *, BOOL);
  TAKE_SLOT(shutdown, o.manager, 4);
  CALLED(shutdown(o.manager, FALSE), LAYOUT_MANAGER, 4, o.manager, NULL, NULL, NULL, FALSE, 0, 0);

  CALLED(o.monitor->lpVtbl->CheckIdle(o.monitor, &idle), LAYOUT_MONITOR, 2, o.monitor, &idle, NULL, NULL, 0, 0, 0);
  HRESULT(RSCA_METHOD * idle_slot)(IPmHealthAndIdleMonitor *, BOOL *);
  TAKE_SLOT(idle_slot, o.monitor, 2);
  CALLED(idle_slot(o.monitor, &idle), LAYOUT_MONITOR, 2, o.monitor, &idle, NULL, NULL, 0, 0, 0);

  CALLED(o.monitor->lpVtbl->CheckHealth(o.monitor, o.health), LAYOUT_MONITOR, 3, o.monitor, o.health, NULL, NULL, 0, 0,
         0);
  HRESULT(RSCA_METHOD * health_slot)(IPmHealthAndIdleMonitor *, IHealthStatusCallback *);
  TAKE_SLOT(health_slot, o.monitor, 3);
  CALLED(health_slot(o.monitor, o.health), LAYOUT_MONITOR, 3, o.monitor, o.health, NULL, NULL, 0, 0, 0);
}

/* The client written from the pages, used from C. */
void layout_c_client(void) {
  BYTE bytes[2] = {'o', 'k'};
  CHECK(my_result_alive() == 0);
  ICustomActionResultCallback *callback = my_result_create();
  if (!callback) {
    layout_fail(__FILE__, __LINE__, "out of memory");
    return;
  }
  CHECK(my_result_alive() == 1);
  CHECK(my_result_calls(callback) == 0 && my_result_status(callback) == (HRESULT)0x8000000A);
  CHECK(strcmp(my_result_text(callback), "") == 0);
  CHECK(callback->lpVtbl->AddRef(callback) == 2);
  CHECK(callback->lpVtbl->ReportResult(callback, S_FALSE, bytes, 2) == S_OK);
  CHECK(my_result_calls(callback) == 1 && my_result_status(callback) == S_FALSE);
  CHECK(callback->lpVtbl->ReportResult(callback, S_OK, NULL, 0) == S_FALSE);
  CHECK(my_result_calls(callback) == 2 && my_result_status(callback) == S_FALSE);
  CHECK(strcmp(my_result_text(callback), "ok") == 0);
  CHECK(callback->lpVtbl->Release(callback) == 1 && my_result_alive() == 1);
  CHECK(callback->lpVtbl->Release(callback) == 0 && my_result_alive() == 0);
}

void layout_c_calls(layout_objects o) {
  layout_calling(o.maker);
  check_from_win32();
  CALL_COUNTED(IWpfReferencedObject, LAYOUT_REFERENCED, o.referenced);
  CALL_COUNTED(ICustomActionResultCallback, LAYOUT_RESULT, o.result);
  CALL_COUNTED(ICustomAction2ResultCallback, LAYOUT_RESULT2, o.result2);
  CALL_COUNTED(IPmCustomActions, LAYOUT_ACTIONS, o.actions);
  CALL_COUNTED(IPmCustomActions2, LAYOUT_ACTIONS2, o.actions2);
  CALL_COUNTED(IProtocolManager, LAYOUT_MANAGER, o.manager);
  CALL_COUNTED(IPmHealthAndIdleMonitor, LAYOUT_MONITOR, o.monitor);
  CALL_COUNTED(IHealthStatusCallback, LAYOUT_HEALTH, o.health);
  call_callbacks(o);
  call_actions(o);
  call_manager(o);
}
