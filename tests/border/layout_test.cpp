/*
 * The C++ half and main: objects made of classes, ordinary calls and calls through pointers to members. Every kind of
 * call is made on objects of both languages, since optimizers guess from the classes they can see.
 */
#include "layout_test.h"

#include <cstddef>
#include <cstdio>
#include <type_traits>

/* ---- what the compiler can say by itself ---- */

template <class Interface> struct is_plain_interface {
  static const bool value = sizeof(Interface) == sizeof(void *) && std::is_abstract<Interface>::value &&
                            !std::has_virtual_destructor<Interface>::value &&
                            std::is_base_of<IWpfReferencedObject, Interface>::value;
};

static_assert(is_plain_interface<IWpfReferencedObject>::value, "IWpfReferencedObject");
static_assert(is_plain_interface<ICustomActionResultCallback>::value, "ICustomActionResultCallback");
static_assert(is_plain_interface<ICustomAction2ResultCallback>::value, "ICustomAction2ResultCallback");
static_assert(is_plain_interface<IPmCustomActions>::value, "IPmCustomActions");
static_assert(is_plain_interface<IPmCustomActions2>::value, "IPmCustomActions2");
static_assert(is_plain_interface<IProtocolManager>::value, "IProtocolManager");
static_assert(is_plain_interface<IPmHealthAndIdleMonitor>::value, "IPmHealthAndIdleMonitor");
static_assert(is_plain_interface<IHealthStatusCallback>::value, "IHealthStatusCallback");

/* The signatures, as published. */
#define METHOD_IS(interface, method, ...)                                                                              \
  static_assert(std::is_same<decltype(&interface::method), HRESULT (interface::*)(__VA_ARGS__)>::value,                \
                #interface "::" #method)

static_assert(std::is_same<decltype(&IWpfReferencedObject::AddRef), ULONG (IWpfReferencedObject::*)()>::value,
              "AddRef");
static_assert(std::is_same<decltype(&IWpfReferencedObject::Release), ULONG (IWpfReferencedObject::*)()>::value,
              "Release");
METHOD_IS(ICustomActionResultCallback, ReportResult, HRESULT, PBYTE, DWORD);
#if RSCA_SDK_REPORTRESULT
METHOD_IS(ICustomAction2ResultCallback, ReportResult, HRESULT, BOOL, PBYTE, DWORD);
#else
METHOD_IS(ICustomAction2ResultCallback, ReportResult, HRESULT, PBYTE, DWORD);
#endif
METHOD_IS(IPmCustomActions, RunCustomAction, PCWSTR, PCWSTR, ICustomActionResultCallback *);
METHOD_IS(IPmCustomActions2, RegisterCustomActionCallback, PCWSTR, PCWSTR, ICustomAction2ResultCallback *);
METHOD_IS(IPmCustomActions2, UnregisterCustomActionCallback, PCWSTR);
METHOD_IS(IProtocolManager, GetPmInterface, PM_INTERFACE_ID_ENUM, PVOID *);
METHOD_IS(IProtocolManager, GetCustomInterface, DWORD, PVOID *);
METHOD_IS(IProtocolManager, Shutdown, BOOL);
METHOD_IS(IPmHealthAndIdleMonitor, CheckIdle, BOOL *);
METHOD_IS(IPmHealthAndIdleMonitor, CheckHealth, IHealthStatusCallback *);
METHOD_IS(IHealthStatusCallback, ReportHealth, BOOL);

static_assert(!std::is_base_of<ICustomActionResultCallback, ICustomAction2ResultCallback>::value, "two callbacks");
static_assert(!std::is_base_of<IPmCustomActions, IPmCustomActions2>::value, "two kinds of actions");

static_assert(sizeof(HRESULT) == 4 && std::is_signed<HRESULT>::value, "HRESULT");
static_assert(sizeof(ULONG) == 4 && std::is_unsigned<ULONG>::value, "ULONG");
static_assert(sizeof(DWORD) == 4 && std::is_unsigned<DWORD>::value, "DWORD");
static_assert(std::is_same<BOOL, int>::value, "BOOL");
static_assert(std::is_same<PBYTE, unsigned char *>::value && std::is_same<PVOID, void *>::value, "pointers");
#ifdef _WIN32
static_assert(std::is_same<PCWSTR, const wchar_t *>::value, "PCWSTR");
#else
static_assert(std::is_same<PCWSTR, const char16_t *>::value, "PCWSTR");
#endif
static_assert(sizeof(PM_INTERFACE_ID_ENUM) == 4, "PM_INTERFACE_ID_ENUM");
static_assert(PM_LISTENER_CHANNEL_MANAGER_ID == 1 && PM_HEALTH_AND_IDLE_MONITOR_ID == 2 && PM_CUSTOM_ACTIONS_ID == 3 &&
                  PM_APPLICATION_PRELOAD_ID == 4 && PM_IDLE_TIMEOUT_ID == 5,
              "PM_INTERFACE_ID_ENUM");
static_assert(S_OK == 0 && S_FALSE == 1 && FALSE == 0 && TRUE == 1, "constants");
static_assert(SUCCEEDED(S_OK) && SUCCEEDED(S_FALSE) && !SUCCEEDED(0x80004005), "SUCCEEDED");
static_assert(FAILED(0x80004005) && FAILED(-1) && !FAILED(S_FALSE), "FAILED");
#ifndef _WIN32
static_assert(HRESULT_FROM_WIN32(1168) == static_cast<HRESULT>(0x80070490), "HRESULT_FROM_WIN32");
#endif

static void check_from_win32() {
  CHECK(HRESULT_FROM_WIN32(0) == S_OK);
  CHECK(HRESULT_FROM_WIN32(1168) == static_cast<HRESULT>(0x80070490));
  CHECK(HRESULT_FROM_WIN32(170u) == static_cast<HRESULT>(0x800700AA));
  CHECK(HRESULT_FROM_WIN32(0x80004005) == static_cast<HRESULT>(0x80004005));
}

/* ---- objects made in C++ ---- */

namespace {

template <class Interface, int Which> class Counted : public Interface {
public:
  ULONG AddRef() override {
    return static_cast<ULONG>(arrived(0, nullptr, nullptr, nullptr, 0, 0, 0));
  }
  ULONG Release() override {
    return static_cast<ULONG>(arrived(1, nullptr, nullptr, nullptr, 0, 0, 0));
  }

protected:
  ~Counted() = default;
  HRESULT arrived(unsigned slot, const void *p0, const void *p1, const void *p2, long long n0, long long n1,
                  long long n2) {
    return layout_arrived(LAYOUT_MADE_IN_CPP, Which, slot, this, p0, p1, p2, n0, n1, n2);
  }
};

class Referenced final : public Counted<IWpfReferencedObject, LAYOUT_REFERENCED> {};

class Result final : public Counted<ICustomActionResultCallback, LAYOUT_RESULT> {
public:
  HRESULT ReportResult(HRESULT hrStatus, PBYTE pbResponse, DWORD cbResponse) override {
    return arrived(2, pbResponse, nullptr, nullptr, hrStatus, 0, cbResponse);
  }
};

class Result2 final : public Counted<ICustomAction2ResultCallback, LAYOUT_RESULT2> {
public:
  HRESULT ReportResult(RSCA_REPORTRESULT2_PARAMETERS) override {
#if !RSCA_SDK_REPORTRESULT
    const BOOL fFinalResponse = 0;
#endif
    return arrived(2, pbResponse, nullptr, nullptr, hrStatus, fFinalResponse, cbResponse);
  }
};

class Actions final : public Counted<IPmCustomActions, LAYOUT_ACTIONS> {
public:
  HRESULT RunCustomAction(PCWSTR pszFunctionName, PCWSTR pszFunctionArgs,
                          ICustomActionResultCallback *pCompletionCallbackClass) override {
    return arrived(2, pszFunctionName, pszFunctionArgs, pCompletionCallbackClass, 0, 0, 0);
  }
};

class Actions2 final : public Counted<IPmCustomActions2, LAYOUT_ACTIONS2> {
public:
  HRESULT RegisterCustomActionCallback(PCWSTR pszFunctionName, PCWSTR pszFunctionArgs,
                                       ICustomAction2ResultCallback *pCompletionCallbackClass) override {
    return arrived(2, pszFunctionName, pszFunctionArgs, pCompletionCallbackClass, 0, 0, 0);
  }
  HRESULT UnregisterCustomActionCallback(PCWSTR pszFunctionName) override {
    return arrived(3, pszFunctionName, nullptr, nullptr, 0, 0, 0);
  }
};

class Manager final : public Counted<IProtocolManager, LAYOUT_MANAGER> {
public:
  HRESULT GetPmInterface(PM_INTERFACE_ID_ENUM PmInterfaceId, PVOID *ppInterface) override {
    return arrived(2, ppInterface, nullptr, nullptr, PmInterfaceId, 0, 0);
  }
  HRESULT GetCustomInterface(DWORD InterfaceId, PVOID *ppInterface) override {
    return arrived(3, ppInterface, nullptr, nullptr, InterfaceId, 0, 0);
  }
  HRESULT Shutdown(BOOL fImmediate) override {
    return arrived(4, nullptr, nullptr, nullptr, fImmediate, 0, 0);
  }
};

class Monitor final : public Counted<IPmHealthAndIdleMonitor, LAYOUT_MONITOR> {
public:
  HRESULT CheckIdle(BOOL *pfIdle) override {
    return arrived(2, pfIdle, nullptr, nullptr, 0, 0, 0);
  }
  HRESULT CheckHealth(IHealthStatusCallback *pIHealthStatusCallback) override {
    return arrived(3, pIHealthStatusCallback, nullptr, nullptr, 0, 0, 0);
  }
};

class Health final : public Counted<IHealthStatusCallback, LAYOUT_HEALTH> {
public:
  HRESULT ReportHealth(BOOL fHealthy) override {
    return arrived(2, nullptr, nullptr, nullptr, fHealthy, 0, 0);
  }
};

Referenced referenced;
Result result;
Result2 result2;
Actions actions;
Actions2 actions2;
Manager manager;
Monitor monitor;
Health health;

} // namespace

static layout_objects cpp_objects() {
  layout_objects objects = {LAYOUT_MADE_IN_CPP, &referenced, &result,  &result2, &actions,
                            &actions2,          &manager,    &monitor, &health};
  return objects;
}

/* ---- calls from C++ ---- */

/* As the class declares them, and as the base class does: both must reach slots 0 and 1. */
template <class Interface> static void call_counted(int which, Interface *object) {
  ULONG (Interface::*add)() = &Interface::AddRef;
  ULONG (Interface::*drop)() = &Interface::Release;
  IWpfReferencedObject *base = object;

  CALLED(static_cast<HRESULT>(object->AddRef()), which, 0, object, nullptr, nullptr, nullptr, 0, 0, 0);
  CALLED(static_cast<HRESULT>(object->Release()), which, 1, object, nullptr, nullptr, nullptr, 0, 0, 0);
  CALLED(static_cast<HRESULT>((object->*add)()), which, 0, object, nullptr, nullptr, nullptr, 0, 0, 0);
  CALLED(static_cast<HRESULT>((object->*drop)()), which, 1, object, nullptr, nullptr, nullptr, 0, 0, 0);
  CALLED(static_cast<HRESULT>(base->AddRef()), which, 0, object, nullptr, nullptr, nullptr, 0, 0, 0);
  CALLED(static_cast<HRESULT>(base->Release()), which, 1, object, nullptr, nullptr, nullptr, 0, 0, 0);
}

static void call_callbacks(const layout_objects &o) {
  BYTE bytes[3] = {1, 0, 255};
  const HRESULT status = static_cast<HRESULT>(0x80004005);

  auto report = &ICustomActionResultCallback::ReportResult;
  CALLED(o.result->ReportResult(status, bytes, 0xFFFFFFF0u), LAYOUT_RESULT, 2, o.result, bytes, nullptr, nullptr,
         status, 0, 0xFFFFFFF0u);
  CALLED((o.result->*report)(S_OK, nullptr, 0), LAYOUT_RESULT, 2, o.result, nullptr, nullptr, nullptr, 0, 0, 0);

  auto report2 = &ICustomAction2ResultCallback::ReportResult;
#if RSCA_SDK_REPORTRESULT
  CALLED(o.result2->ReportResult(status, TRUE, bytes, 3), LAYOUT_RESULT2, 2, o.result2, bytes, nullptr, nullptr, status,
         TRUE, 3);
  CALLED((o.result2->*report2)(status, TRUE, bytes, 3), LAYOUT_RESULT2, 2, o.result2, bytes, nullptr, nullptr, status,
         TRUE, 3);
#else
  CALLED(o.result2->ReportResult(status, bytes, 3), LAYOUT_RESULT2, 2, o.result2, bytes, nullptr, nullptr, status, 0,
         3);
  CALLED((o.result2->*report2)(status, bytes, 3), LAYOUT_RESULT2, 2, o.result2, bytes, nullptr, nullptr, status, 0, 3);
#endif

  auto report_health = &IHealthStatusCallback::ReportHealth;
  CALLED(o.health->ReportHealth(TRUE), LAYOUT_HEALTH, 2, o.health, nullptr, nullptr, nullptr, TRUE, 0, 0);
  CALLED((o.health->*report_health)(-1), LAYOUT_HEALTH, 2, o.health, nullptr, nullptr, nullptr, -1, 0, 0);
}

static void call_actions(const layout_objects &o) {
  const PCWSTR name = RSCA_TEXT("name");
  const PCWSTR args = RSCA_TEXT("args");

  auto run = &IPmCustomActions::RunCustomAction;
  CALLED(o.actions->RunCustomAction(name, args, o.result), LAYOUT_ACTIONS, 2, o.actions, name, args, o.result, 0, 0, 0);
  CALLED((o.actions->*run)(name, nullptr, o.result), LAYOUT_ACTIONS, 2, o.actions, name, nullptr, o.result, 0, 0, 0);

  auto subscribe = &IPmCustomActions2::RegisterCustomActionCallback;
  CALLED(o.actions2->RegisterCustomActionCallback(name, args, o.result2), LAYOUT_ACTIONS2, 2, o.actions2, name, args,
         o.result2, 0, 0, 0);
  CALLED((o.actions2->*subscribe)(name, args, nullptr), LAYOUT_ACTIONS2, 2, o.actions2, name, args, nullptr, 0, 0, 0);

  auto unsubscribe = &IPmCustomActions2::UnregisterCustomActionCallback;
  CALLED(o.actions2->UnregisterCustomActionCallback(name), LAYOUT_ACTIONS2, 3, o.actions2, name, nullptr, nullptr, 0, 0,
         0);
  CALLED((o.actions2->*unsubscribe)(name), LAYOUT_ACTIONS2, 3, o.actions2, name, nullptr, nullptr, 0, 0, 0);
}

static void call_manager(const layout_objects &o) {
  PVOID out = nullptr;
  BOOL idle = FALSE;

  auto get_pm = &IProtocolManager::GetPmInterface;
  CALLED(o.manager->GetPmInterface(PM_CUSTOM_ACTIONS_ID, &out), LAYOUT_MANAGER, 2, o.manager, &out, nullptr, nullptr, 3,
         0, 0);
  CALLED((o.manager->*get_pm)(PM_IDLE_TIMEOUT_ID, &out), LAYOUT_MANAGER, 2, o.manager, &out, nullptr, nullptr, 5, 0, 0);

  auto get_custom = &IProtocolManager::GetCustomInterface;
  CALLED(o.manager->GetCustomInterface(0x80000001u, &out), LAYOUT_MANAGER, 3, o.manager, &out, nullptr, nullptr,
         0x80000001u, 0, 0);
  CALLED((o.manager->*get_custom)(7, nullptr), LAYOUT_MANAGER, 3, o.manager, nullptr, nullptr, nullptr, 7, 0, 0);

  auto shutdown = &IProtocolManager::Shutdown;
  CALLED(o.manager->Shutdown(TRUE), LAYOUT_MANAGER, 4, o.manager, nullptr, nullptr, nullptr, TRUE, 0, 0);
  CALLED((o.manager->*shutdown)(FALSE), LAYOUT_MANAGER, 4, o.manager, nullptr, nullptr, nullptr, FALSE, 0, 0);

  auto check_idle = &IPmHealthAndIdleMonitor::CheckIdle;
  CALLED(o.monitor->CheckIdle(&idle), LAYOUT_MONITOR, 2, o.monitor, &idle, nullptr, nullptr, 0, 0, 0);
  CALLED((o.monitor->*check_idle)(&idle), LAYOUT_MONITOR, 2, o.monitor, &idle, nullptr, nullptr, 0, 0, 0);

  auto check_health = &IPmHealthAndIdleMonitor::CheckHealth;
  CALLED(o.monitor->CheckHealth(o.health), LAYOUT_MONITOR, 3, o.monitor, o.health, nullptr, nullptr, 0, 0, 0);
  CALLED((o.monitor->*check_health)(o.health), LAYOUT_MONITOR, 3, o.monitor, o.health, nullptr, nullptr, 0, 0, 0);
}

static void cpp_calls(const layout_objects &o) {
  layout_calling(o.maker);
  call_counted(LAYOUT_REFERENCED, o.referenced);
  call_counted(LAYOUT_RESULT, o.result);
  call_counted(LAYOUT_RESULT2, o.result2);
  call_counted(LAYOUT_ACTIONS, o.actions);
  call_counted(LAYOUT_ACTIONS2, o.actions2);
  call_counted(LAYOUT_MANAGER, o.manager);
  call_counted(LAYOUT_MONITOR, o.monitor);
  call_counted(LAYOUT_HEALTH, o.health);
  call_callbacks(o);
  call_actions(o);
  call_manager(o);
}

/* Both languages must mean the same units by the same literal: one of ASCII, one beyond, one surrogate pair. */
static void check_text() {
  const PCWSTR mine = RSCA_TEXT("h\u00e9\U0001F600");
  const PCWSTR theirs = layout_c_text();
  const unsigned units[] = {'h', 0x00E9, 0xD83D, 0xDE00, 0};
  for (std::size_t i = 0; i < sizeof units / sizeof *units; i++)
    CHECK(mine[i] == units[i] && theirs[i] == units[i]);
}

int main() {
  check_from_win32();
  check_text();
  cpp_calls(layout_c_objects());
  cpp_calls(cpp_objects());
  layout_c_calls(cpp_objects());
  layout_c_calls(layout_c_objects());
  layout_c_client();
  if (layout_failures() > 0)
    std::fprintf(stderr, "%d failure(s)\n", layout_failures());
  return layout_failures() > 0;
}
