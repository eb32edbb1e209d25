/*
 * A callback for registrations as somebody would write it who has only the reference pages of
 * ICustomAction2ResultCallback and its ReportResult: one header, one class, three parameters.
 */
#include <Wpframework.h>

#include "seed_page_client2.h"

#include <atomic>
#include <mutex>
#include <new>
#include <string>

static std::atomic<int> alive(0);

class MyResponses final : public ICustomAction2ResultCallback {
public:
  MyResponses() {
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
    try {
      if (hrStatus == S_OK) {
        text_.append(pbResponse, pbResponse + cbResponse); /* NULL and 0 are an empty range */
        text_ += ';';
      } else {
        why_.assign(pbResponse, pbResponse + cbResponse);
      }
    } catch (const std::bad_alloc &) {
      return HRESULT_FROM_WIN32(14); /* ERROR_OUTOFMEMORY */
    }
    if (hrStatus != S_OK)
      ++ends_;
    status_ = hrStatus;
    return most_ > 0 && --most_ == 0 ? HRESULT_FROM_WIN32(1223) : S_OK; /* ERROR_CANCELLED */
  }

  void want(unsigned most) {
    std::lock_guard<std::mutex> hold(lock_);
    most_ = most;
  }

  unsigned ends() {
    std::lock_guard<std::mutex> hold(lock_);
    return ends_;
  }

  HRESULT status() {
    std::lock_guard<std::mutex> hold(lock_);
    return status_;
  }

  const char *text() {
    std::lock_guard<std::mutex> hold(lock_);
    return text_.c_str();
  }

  const char *why() {
    std::lock_guard<std::mutex> hold(lock_);
    return why_.c_str();
  }

private:
  ~MyResponses() {
    --alive;
  }

  std::atomic<ULONG> references_{1};
  std::mutex lock_; /* protects what follows */
  unsigned most_ = 0, ends_ = 0;
  HRESULT status_ = static_cast<HRESULT>(0x8000000A);
  std::string text_, why_;
};

ICustomAction2ResultCallback *my_responses_create(void) {
  return new (std::nothrow) MyResponses;
}

void my_responses_want(ICustomAction2ResultCallback *callback, unsigned most) {
  static_cast<MyResponses *>(callback)->want(most);
}

unsigned my_responses_ends(ICustomAction2ResultCallback *callback) {
  return static_cast<MyResponses *>(callback)->ends();
}

HRESULT my_responses_status(ICustomAction2ResultCallback *callback) {
  return static_cast<MyResponses *>(callback)->status();
}

const char *my_responses_text(ICustomAction2ResultCallback *callback) {
  return static_cast<MyResponses *>(callback)->text();
}

const char *my_responses_why(ICustomAction2ResultCallback *callback) {
  return static_cast<MyResponses *>(callback)->why();
}

int my_responses_alive(void) {
  return alive;
}
