// The documented interfaces of an installed rsca, from C++.
#include <cstdio>
#include <string>

#include <Wpframework.h>
#include <rsca/manager.h>

namespace {

class Result final : public ICustomActionResultCallback {
public:
  ULONG AddRef() override {
    return ++count;
  }
  ULONG Release() override {
    return --count;
  }
  HRESULT ReportResult(HRESULT hrStatus, PBYTE pbResponse, DWORD cbResponse) override {
    const std::string response(pbResponse, pbResponse + cbResponse);
    std::printf("interfaces 0x%08X %s\n", static_cast<unsigned>(hrStatus), response.c_str());
    return S_OK;
  }

  ULONG count = 1;
};

HRESULT greet(void *, rsca_call *call, const char *args, size_t size) {
  return rsca_call_report(call, args, size);
}

} // namespace

int main() {
  rsca_manager *manager;
  if (FAILED(rsca_manager_create(nullptr, &manager)) ||
      FAILED(rsca_manager_register(manager, "greet", nullptr, greet, nullptr, nullptr)))
    return 1;
  IPmCustomActions *actions = rsca_manager_custom_actions(manager);
  Result result;
  const HRESULT status = actions->RunCustomAction(u"greet", u"hello", &result);
  actions->Release();
  while (rsca_manager_step(manager, 0) == S_OK) {
  }
  return rsca_manager_release(manager) == 0 && status == S_OK && result.count == 1 ? 0 : 1;
}
