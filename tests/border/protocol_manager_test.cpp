/*
 * A host in C++ that gets at everything through IProtocolManager: runs, registrations and health, with callbacks that
 * are classes of its own. In the form of ReportResult that this was compiled with; EXPECTED_FORM, where it is defined,
 * says which one that should be.
 */
#include <Wpframework.h>
#include <rsca/protocol_manager.h>

#include <cstdio>
#include <string>
#include <vector>

#ifdef EXPECTED_FORM
static_assert(EXPECTED_FORM == RSCA_SDK_REPORTRESULT, "the library's form of ReportResult did not reach its client");
#endif

static int failures;

#define CHECK(condition) ((condition) ? (void)0 : fail(__LINE__, #condition))

static void fail(int line, const char *what) {
  std::fprintf(stderr, "%s:%d: %s\n", __FILE__, line, what);
  failures++;
}

/* One thread: it steps by itself. Objects live on the stack of a test, which looks at the count when all is over. */
template <class Interface> class Counted : public Interface {
public:
  ULONG AddRef() override {
    return ++references;
  }
  ULONG Release() override {
    return --references;
  }
  ULONG references = 1;

protected:
  ~Counted() = default;
};

class Result final : public Counted<ICustomActionResultCallback> {
public:
  HRESULT ReportResult(HRESULT hrStatus, PBYTE pbResponse, DWORD cbResponse) override {
    reports++;
    status = hrStatus;
    response.assign(pbResponse, pbResponse + cbResponse);
    return S_OK;
  }
  int reports = 0;
  HRESULT status = E_PENDING;
  std::string response;
};

struct Report {
  HRESULT status;
  bool final; /* as it was said, or as the status says it where there is no word for it */
  std::string response;
};

class Results final : public Counted<ICustomAction2ResultCallback> {
public:
#if RSCA_SDK_REPORTRESULT
  HRESULT ReportResult(HRESULT hrStatus, BOOL fFinalResponse, PBYTE pbResponse, DWORD cbResponse) override {
    CHECK(fFinalResponse == TRUE || fFinalResponse == FALSE);
    return add(hrStatus, fFinalResponse != FALSE, pbResponse, cbResponse);
  }
#else
  HRESULT ReportResult(HRESULT hrStatus, PBYTE pbResponse, DWORD cbResponse) override {
    return add(hrStatus, hrStatus != S_OK, pbResponse, cbResponse);
  }
#endif
  std::vector<Report> reports;
  HRESULT answer = S_OK;

  /* Whether report `i` is this one. */
  bool is(std::size_t i, HRESULT status, bool final, const std::string &response) const {
    return i < reports.size() && reports[i].status == status && reports[i].final == final &&
           reports[i].response == response;
  }

private:
  HRESULT add(HRESULT status, bool final, PBYTE bytes, DWORD size) {
    CHECK((bytes == nullptr) == (size == 0));
    reports.push_back({status, final, std::string(bytes, bytes + size)});
    return answer;
  }
};

class Health final : public Counted<IHealthStatusCallback> {
public:
  HRESULT ReportHealth(BOOL fHealthy) override {
    reports++;
    healthy = fHealthy;
    return S_OK;
  }
  int reports = 0;
  BOOL healthy = -1;
};

/* ---- Actions ---- */

static HRESULT echo(void *, rsca_call *call, const char *args, size_t size) {
  return rsca_call_report(call, args, size);
}

static HRESULT count(void *, rsca_call *call, const char *, size_t) {
  for (const char *number : {"one", "two", "three"}) {
    const HRESULT status = rsca_call_report(call, number, std::string(number).size());
    if (FAILED(status))
      return status;
  }
  return S_OK;
}

static rsca_call *watched;

static HRESULT watch(void *, rsca_call *call, const char *, size_t) {
  watched = call;
  return E_PENDING;
}

static HRESULT refuse(void *, rsca_call *call, const char *, size_t) {
  (void)rsca_call_report(call, "not today", 9);
  return E_FAIL;
}

/* A manager that is known as an IProtocolManager, but for being stepped. */
class Host {
public:
  Host() {
    CHECK(GetProtocolManager(nullptr, &protocol) == S_OK);
    manager = custom<rsca_manager>(RSCA_CUSTOM_INTERFACE_MANAGER);
    CHECK(rsca_manager_register(manager, "echo", nullptr, echo, nullptr, nullptr) == S_OK);
    CHECK(rsca_manager_register(manager, "count", nullptr, count, nullptr, nullptr) == S_OK);
    CHECK(rsca_manager_register(manager, "watch", nullptr, watch, nullptr, nullptr) == S_OK);
    CHECK(rsca_manager_register(manager, "refuse", nullptr, refuse, nullptr, nullptr) == S_OK);
  }
  ~Host() {
    (void)protocol->Release();
    CHECK(rsca_manager_release(manager) == 0);
  }
  Host(const Host &) = delete;
  Host &operator=(const Host &) = delete;

  template <class Interface> Interface *pm(PM_INTERFACE_ID_ENUM id) {
    PVOID out = nullptr;
    CHECK(protocol->GetPmInterface(id, &out) == S_OK);
    return static_cast<Interface *>(out);
  }
  template <class Interface> Interface *custom(DWORD id) {
    PVOID out = nullptr;
    CHECK(protocol->GetCustomInterface(id, &out) == S_OK);
    return static_cast<Interface *>(out);
  }
  void step() {
    while (rsca_manager_step(manager, 0) == S_OK) {
    }
  }

  IProtocolManager *protocol = nullptr;
  rsca_manager *manager = nullptr;
};

/* ---- Tests ---- */

static void test_run_ends_with_one_result() {
  Host host;
  Result done, refused, unknown;
  IPmCustomActions *actions = host.pm<IPmCustomActions>(PM_CUSTOM_ACTIONS_ID);
  CHECK(actions->RunCustomAction(RSCA_TEXT("echo"), RSCA_TEXT("caf\u00e9"), &done) == S_OK);
  CHECK(actions->RunCustomAction(RSCA_TEXT("refuse"), nullptr, &refused) == S_OK);
  CHECK(actions->RunCustomAction(RSCA_TEXT("nobody"), nullptr, &unknown) == RSCA_E_NOT_FOUND);
  CHECK(done.reports == 0 && done.references == 2);
  CHECK(unknown.references == 1);
  host.step();
  CHECK(done.reports == 1 && done.status == S_OK && done.response == "caf\xC3\xA9" && done.references == 1);
  CHECK(refused.reports == 1 && refused.status == E_FAIL && refused.response == "not today" && refused.references == 1);
  CHECK(unknown.reports == 0);
  CHECK(actions->Release() == 2);
}

static void test_registration_hears_responses_in_order_and_one_final() {
  Host host;
  Results results;
  IPmCustomActions2 *actions = host.custom<IPmCustomActions2>(RSCA_CUSTOM_INTERFACE_CUSTOM_ACTIONS2);
  CHECK(actions->RegisterCustomActionCallback(RSCA_TEXT("count"), nullptr, &results) == S_OK);
  CHECK(results.reports.empty() && results.references == 2);
  host.step();
  CHECK(results.reports.size() == 4);
  CHECK(results.is(0, S_OK, false, "one") && results.is(1, S_OK, false, "two") && results.is(2, S_OK, false, "three"));
  CHECK(results.is(3, S_FALSE, true, ""));
  CHECK(results.references == 1);
  CHECK(actions->Release() == 2);
}

static void test_unregistered_registration_hears_s_false_and_nothing_more() {
  Host host;
  Results results, again;
  IPmCustomActions2 *session = host.custom<IPmCustomActions2>(RSCA_CUSTOM_INTERFACE_SESSION);
  IPmCustomActions2 *other = host.custom<IPmCustomActions2>(RSCA_CUSTOM_INTERFACE_SESSION);
  CHECK(session != other);
  CHECK(session->RegisterCustomActionCallback(RSCA_TEXT("watch"), nullptr, &results) == S_OK);
  CHECK(session->RegisterCustomActionCallback(RSCA_TEXT("watch"), nullptr, &again) == RSCA_E_ALREADY_EXISTS);
  host.step();
  CHECK(rsca_call_report(watched, "seen", 4) == S_OK); /* from outside the step */
  host.step();
  CHECK(results.reports.size() == 1 && results.is(0, S_OK, false, "seen"));
  CHECK(other->UnregisterCustomActionCallback(RSCA_TEXT("watch")) == RSCA_E_NOT_FOUND);
  CHECK(session->UnregisterCustomActionCallback(RSCA_TEXT("watch")) == S_OK);
  CHECK(session->UnregisterCustomActionCallback(RSCA_TEXT("watch")) == RSCA_E_NOT_FOUND);
  CHECK(results.reports.size() == 1); /* not on the stack of that */
  host.step();
  CHECK(results.reports.size() == 2 && results.is(1, S_FALSE, true, ""));
  CHECK(rsca_call_finish(watched, S_OK, "late", 4) == S_OK);
  host.step();
  CHECK(results.reports.size() == 2 && results.references == 1);
  CHECK(again.reports.empty() && again.references == 1);
  CHECK(session->Release() == 0);
  CHECK(other->Release() == 0);
}

static void test_registration_of_a_failing_action_hears_its_message() {
  Host host;
  Results results;
  IPmCustomActions2 *session = host.custom<IPmCustomActions2>(RSCA_CUSTOM_INTERFACE_SESSION);
  CHECK(session->RegisterCustomActionCallback(RSCA_TEXT("refuse"), nullptr, &results) == S_OK);
  host.step();
  CHECK(!results.reports.empty());
  for (std::size_t i = 0; i + 1 < results.reports.size(); i++)
    CHECK(results.reports[i].status == S_OK && !results.reports[i].final);
  CHECK(!results.reports.empty() && results.reports.back().status == E_FAIL && results.reports.back().final);
  CHECK(results.references == 1);
  CHECK(session->Release() == 0);
}

/* "A failure ends the registration: its final report then has 0x800704C7." */
static void test_failing_callback_ends_its_registration() {
  Host host;
  Results results;
  results.answer = E_FAIL;
  IPmCustomActions2 *session = host.custom<IPmCustomActions2>(RSCA_CUSTOM_INTERFACE_SESSION);
  CHECK(session->RegisterCustomActionCallback(RSCA_TEXT("count"), nullptr, &results) == S_OK);
  host.step();
  CHECK(results.reports.size() == 2 && results.is(0, S_OK, false, "one"));
  CHECK(!results.reports.empty() && results.reports.back().status == RSCA_E_CANCELLED && results.reports.back().final);
  CHECK(results.references == 1);
  CHECK(session->Release() == 0);
}

static void test_health_is_told_in_a_step() {
  Host host;
  Health health;
  Result result;
  BOOL idle = -1;
  IPmHealthAndIdleMonitor *monitor = host.pm<IPmHealthAndIdleMonitor>(PM_HEALTH_AND_IDLE_MONITOR_ID);
  IPmCustomActions *actions = host.pm<IPmCustomActions>(PM_CUSTOM_ACTIONS_ID);
  CHECK(monitor->CheckIdle(&idle) == S_OK && idle == TRUE);
  CHECK(monitor->CheckIdle(nullptr) == E_INVALIDARG);
  CHECK(actions->RunCustomAction(RSCA_TEXT("echo"), nullptr, &result) == S_OK);
  CHECK(monitor->CheckIdle(&idle) == S_OK && idle == FALSE);
  CHECK(monitor->CheckHealth(nullptr) == E_INVALIDARG);
  CHECK(monitor->CheckHealth(&health) == S_OK);
  CHECK(health.reports == 0 && health.references == 2);
  host.step();
  CHECK(health.reports == 1 && health.healthy == TRUE && health.references == 1);
  CHECK(monitor->CheckIdle(&idle) == S_OK && idle == TRUE);
  CHECK(actions->Release() == 3);
  CHECK(monitor->Release() == 2);
}

static void test_other_ids_give_nothing() {
  Host host;
  for (int id : {1, 4, 5, 0, 6}) {
    PVOID out = &host;
    CHECK(host.protocol->GetPmInterface(static_cast<PM_INTERFACE_ID_ENUM>(id), &out) == RSCA_E_NOT_FOUND);
    CHECK(out == nullptr);
  }
  PVOID out = &host;
  CHECK(host.protocol->GetCustomInterface(3, &out) == RSCA_E_NOT_FOUND && out == nullptr);
  CHECK(host.protocol->GetPmInterface(PM_CUSTOM_ACTIONS_ID, nullptr) == E_INVALIDARG);
  CHECK(host.protocol->GetCustomInterface(RSCA_CUSTOM_INTERFACE_SESSION, nullptr) == E_INVALIDARG);
}

static void test_shutdown_ends_what_is_in_flight() {
  Host host;
  Result result;
  Results results;
  Health health;
  IPmCustomActions *actions = host.pm<IPmCustomActions>(PM_CUSTOM_ACTIONS_ID);
  IPmCustomActions2 *session = host.custom<IPmCustomActions2>(RSCA_CUSTOM_INTERFACE_SESSION);
  IPmHealthAndIdleMonitor *monitor = host.pm<IPmHealthAndIdleMonitor>(PM_HEALTH_AND_IDLE_MONITOR_ID);
  CHECK(actions->RunCustomAction(RSCA_TEXT("echo"), nullptr, &result) == S_OK);
  CHECK(session->RegisterCustomActionCallback(RSCA_TEXT("count"), nullptr, &results) == S_OK);
  CHECK(monitor->CheckHealth(&health) == S_OK);
  CHECK(host.protocol->Shutdown(TRUE) == S_OK);
  CHECK(result.reports == 1 && result.status == RSCA_E_CANCELLED && result.references == 1);
  CHECK(results.reports.size() == 1 && results.reports[0].status == RSCA_E_CANCELLED && results.reports[0].final);
  CHECK(results.references == 1);
  CHECK(health.reports == 1 && health.healthy == FALSE && health.references == 1);
  CHECK(actions->RunCustomAction(RSCA_TEXT("echo"), nullptr, &result) == RSCA_E_SHUTDOWN_IN_PROGRESS);
  CHECK(session->RegisterCustomActionCallback(RSCA_TEXT("count"), nullptr, &results) == RSCA_E_SHUTDOWN_IN_PROGRESS);
  CHECK(monitor->CheckHealth(&health) == RSCA_E_SHUTDOWN_IN_PROGRESS);
  CHECK(actions->Release() == 4);
  CHECK(session->Release() == 0);
  CHECK(monitor->Release() == 2);
}

int main() {
  test_run_ends_with_one_result();
  test_registration_hears_responses_in_order_and_one_final();
  test_unregistered_registration_hears_s_false_and_nothing_more();
  test_registration_of_a_failing_action_hears_its_message();
  test_failing_callback_ends_its_registration();
  test_health_is_told_in_a_step();
  test_other_ids_give_nothing();
  test_shutdown_ends_what_is_in_flight();
  std::printf("%s form: %d failure(s)\n", RSCA_SDK_REPORTRESULT ? "SDK" : "page", failures);
  return failures > 0;
}
