/*
 * A result callback as somebody would write it who has only the reference pages: one header, one class.
 */
#include <Wpframework.h>

#include "seed_page_client.h"

#include <atomic>
#include <mutex>
#include <new>
#include <string>

static std::atomic<int> alive(0);

class MyResult final : public ICustomActionResultCallback {
public:
  MyResult() {
    ++alive;
  }

  ULONG AddRef() override {
    return references_.fetch_add(1, std::memory_order_relaxed) + 1;
  }

  ULONG Release() override {
    ULONG left = references_.fetch_sub(1, std::memory_order_acq_rel) - 1;
    if (left == 0)
      delete this;
    return left;
  }

  HRESULT ReportResult(IN HRESULT hrStatus, IN PBYTE pbResponse, IN DWORD cbResponse) override {
    std::lock_guard<std::mutex> hold(lock_);
    if (calls_++ > 0)
      return S_FALSE;
    status_ = hrStatus;
    try {
      text_.assign(pbResponse, pbResponse + cbResponse); /* NULL and 0 are an empty range */
    } catch (const std::bad_alloc &) {
      return HRESULT_FROM_WIN32(14); /* ERROR_OUTOFMEMORY */
    }
    return S_OK;
  }

  unsigned calls() {
    std::lock_guard<std::mutex> hold(lock_);
    return calls_;
  }

  HRESULT status() {
    std::lock_guard<std::mutex> hold(lock_);
    return status_;
  }

  const char *text() {
    std::lock_guard<std::mutex> hold(lock_);
    return text_.c_str();
  }

private:
  ~MyResult() {
    --alive;
  }

  std::atomic<ULONG> references_{1};
  std::mutex lock_; /* protects what follows */
  unsigned calls_ = 0;
  HRESULT status_ = static_cast<HRESULT>(0x8000000A);
  std::string text_;
};

ICustomActionResultCallback *my_result_create(void) {
  return new (std::nothrow) MyResult;
}

unsigned my_result_calls(ICustomActionResultCallback *callback) {
  return static_cast<MyResult *>(callback)->calls();
}

HRESULT my_result_status(ICustomActionResultCallback *callback) {
  return static_cast<MyResult *>(callback)->status();
}

const char *my_result_text(ICustomActionResultCallback *callback) {
  return static_cast<MyResult *>(callback)->text();
}

int my_result_alive(void) {
  return alive;
}
