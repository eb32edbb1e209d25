#include "foreign_manager.h"

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace {

constexpr HRESULT status_of(unsigned long code) {
  return static_cast<HRESULT>(static_cast<DWORD>(code));
}

constexpr HRESULT kInvalid = status_of(0x80070057), kFail = status_of(0x80004005), kNotFound = status_of(0x80070490),
                  kAlreadyExists = status_of(0x800700B7);

// ---- What they share ----

std::mutex mutex; // protects what follows, up to the counts
std::condition_variable gate_opened;
bool gate_is_open = true;
std::vector<std::thread> threads;
std::vector<HRESULT> answers;

std::atomic<int> alive, held;
std::atomic<bool> resetting; // who ticks stops

void (*next_hook)(void *user); // one thread's: that of the tests
void *next_hook_user;

void run_hook() {
  auto hook = std::exchange(next_hook, nullptr);
  if (hook)
    hook(next_hook_user);
}

void note(HRESULT answer) {
  std::lock_guard<std::mutex> lock(mutex);
  answers.push_back(answer);
}

void on_thread(std::function<void()> work) {
  std::lock_guard<std::mutex> lock(mutex);
  threads.emplace_back([work = std::move(work)]() mutable {
    {
      std::unique_lock<std::mutex> waiting(mutex);
      gate_opened.wait(waiting, [] { return gate_is_open; });
    }
    work();
    work = nullptr; // what it holds goes here, not when it is joined
  });
}

// One reference.
template <class Interface> class Held {
public:
  explicit Held(Interface *object) : object_(object) {
    (void)object_->AddRef();
    held++;
  }
  Held(const Held &other) : Held(other.object_) {
  }
  Held &operator=(const Held &) = delete;
  ~Held() {
    held--;
    (void)object_->Release();
  }
  Interface *operator->() const {
    return object_;
  }
  Interface *get() const {
    return object_;
  }

private:
  Interface *object_;
};

using RunCallback = Held<ICustomActionResultCallback>;
using StreamCallback = Held<ICustomAction2ResultCallback>;

PBYTE data_of(std::string &bytes) {
  return bytes.empty() ? nullptr : reinterpret_cast<PBYTE>(&bytes[0]);
}

HRESULT tell(ICustomActionResultCallback *callback, HRESULT status, std::string bytes) {
  HRESULT answer = callback->ReportResult(status, data_of(bytes), static_cast<DWORD>(bytes.size()));
  note(answer);
  return answer;
}

HRESULT tell(ICustomAction2ResultCallback *callback, HRESULT status, bool final, std::string bytes) {
#if RSCA_SDK_REPORTRESULT
  HRESULT answer = callback->ReportResult(status, final, data_of(bytes), static_cast<DWORD>(bytes.size()));
#else
  (void) final; // the status says it
  HRESULT answer = callback->ReportResult(status, data_of(bytes), static_cast<DWORD>(bytes.size()));
#endif
  note(answer);
  return answer;
}

// UTF-16 to UTF-8.
std::string narrow(PCWSTR text) {
  std::string out;
  for (; text && *text; text++) {
    unsigned long code = *text;
    if (code >= 0xD800 && code < 0xDC00 && text[1])
      code = 0x10000 + ((code - 0xD800) << 10) + (static_cast<unsigned long>(*++text) - 0xDC00);
    if (code < 0x80) {
      out += static_cast<char>(code);
      continue;
    }
    int more = code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
    const unsigned char lead[] = {0, 0xC0, 0xE0, 0xF0};
    out += static_cast<char>(lead[more] | (code >> (6 * more)));
    while (more-- > 0)
      out += static_cast<char>(0x80 | ((code >> (6 * more)) & 0x3F));
  }
  return out;
}

// Takes the next word off the arguments.
std::string word(std::string &args) {
  size_t end = args.find(' ');
  std::string first = args.substr(0, end);
  args = end == std::string::npos ? std::string() : args.substr(end + 1);
  return first;
}

unsigned long number(std::string &args) {
  return std::strtoul(word(args).c_str(), nullptr, 10);
}

HRESULT status_from(std::string &args) {
  return status_of(std::strtoul(word(args).c_str(), nullptr, 16));
}

std::vector<RunCallback> kept; // until told; `mutex` protects them
std::vector<StreamCallback> kept2;

template <class Callback, class Interface> void keep(std::vector<Callback> &list, Interface *callback) {
  Callback one(callback);
  std::lock_guard<std::mutex> lock(mutex);
  list.push_back(one);
}

template <class Callback> std::vector<Callback> copy_of(std::vector<Callback> &list) {
  std::lock_guard<std::mutex> lock(mutex);
  return list;
}

template <class Callback> void let_go(std::vector<Callback> &list) {
  std::vector<Callback> gone;
  std::lock_guard<std::mutex> lock(mutex);
  gone.swap(list);
} // the lock goes first

// Counts itself.
template <class Interface> class Counted : public Interface {
public:
  Counted() {
    alive++;
  }
  ULONG AddRef() override {
    return ++references_;
  }
  ULONG Release() override {
    ULONG left = --references_;
    if (left == 0)
      delete this;
    return left;
  }

protected:
  virtual ~Counted() {
    alive--;
  }

private:
  std::atomic<ULONG> references_{1};
};

// ---- The first ----

class Actions final : public Counted<IPmCustomActions> {
public:
  HRESULT RunCustomAction(PCWSTR pszFunctionName, PCWSTR pszFunctionArgs,
                          ICustomActionResultCallback *pCompletionCallbackClass) override;

private:
  std::vector<RunCallback> own_;
};

std::string pattern(unsigned long count) {
  std::string bytes;
  for (unsigned long i = 0; i < count; i++)
    bytes += static_cast<char>(i & 0xFF);
  return bytes;
}

HRESULT Actions::RunCustomAction(PCWSTR pszFunctionName, PCWSTR pszFunctionArgs,
                                 ICustomActionResultCallback *callback) {
  if (!pszFunctionName || !callback)
    return kInvalid;
  run_hook();
  std::string name = narrow(pszFunctionName), args = narrow(pszFunctionArgs);
  if (name == "now") {
    tell(callback, S_OK, args);
  } else if (name == "later") {
    on_thread([args, to = RunCallback(callback)] { tell(to.get(), S_OK, args); });
  } else if (name == "status") {
    HRESULT status = status_from(args);
    tell(callback, status, args);
  } else if (name == "bytes") {
    tell(callback, S_OK, pattern(number(args)));
  } else if (name == "empty") {
    note(callback->ReportResult(S_OK, nullptr, 0));
  } else if (name == "bad") {
    note(callback->ReportResult(S_OK, nullptr, 5));
    tell(callback, S_OK, args);
  } else if (name == "twice") {
    tell(callback, S_OK, args);
    tell(callback, S_OK, "again");
  } else if (name == "race") {
    for (int i = 0; i < 2; i++)
      on_thread([args, to = RunCallback(callback)] { tell(to.get(), S_OK, args); });
  } else if (name == "never") {
  } else if (name == "never_later") {
    on_thread([to = RunCallback(callback)] {});
  } else if (name == "keep") {
    keep(kept, callback);
  } else if (name == "own") {
    own_.emplace_back(callback);
  } else if (name == "refuse") {
    return status_from(args);
  } else if (name == "report_refuse") {
    tell(callback, S_OK, "refused");
    return status_from(args);
  } else if (name == "keep_refuse") {
    keep(kept, callback);
    return status_from(args);
  } else {
    return kNotFound;
  }
  return S_OK;
}

// ---- The second ----

// Lives as long as somebody may report to it.
class Registration {
public:
  Registration(ICustomAction2ResultCallback *callback, bool is_deaf) : deaf(is_deaf), callback_(callback) {
  }

  // "1" to `count`; false: refused.
  bool count(unsigned long count) {
    for (unsigned long i = 1; i <= count; i++)
      if (FAILED(tell(callback_.get(), S_OK, false, std::to_string(i))))
        return false;
    return true;
  }

  // The first one counts.
  void end(HRESULT status, const std::string &text) {
    if (!ended_.exchange(true))
      tell(callback_.get(), status, true, text);
  }

  HRESULT report(HRESULT status, bool final, const std::string &text) {
    return tell(callback_.get(), status, final, text);
  }

  std::atomic<bool> deaf;
  std::atomic<bool> stop{false};

private:
  StreamCallback callback_;
  std::atomic<bool> ended_{false};
};

using Registrations = std::map<std::string, std::shared_ptr<Registration>>;

// What the manager and its threads share.
struct Names {
  std::mutex mutex;
  Registrations registered;
  std::set<std::string> seen;

  // Nothing if it is not, or not the same any more.
  std::shared_ptr<Registration> take(const std::string &name, const Registration *same = nullptr) {
    std::lock_guard<std::mutex> lock(mutex);
    auto found = registered.find(name);
    if (found == registered.end() || (same && found->second.get() != same))
      return nullptr;
    std::shared_ptr<Registration> registration = std::move(found->second);
    registered.erase(found);
    return registration;
  }
};

class Actions2 final : public Counted<IPmCustomActions2> {
public:
  HRESULT RegisterCustomActionCallback(PCWSTR pszFunctionName, PCWSTR pszFunctionArgs,
                                       ICustomAction2ResultCallback *pCompletionCallbackClass) override;
  HRESULT UnregisterCustomActionCallback(PCWSTR pszFunctionName) override;

  size_t registered() {
    std::lock_guard<std::mutex> lock(names_->mutex);
    return names_->registered.size();
  }

private:
  ~Actions2() override {
    std::lock_guard<std::mutex> lock(names_->mutex);
    for (auto &one : names_->registered)
      one.second->stop = true;
    gone_.swap(names_->registered); // let go of after the lock, without an end
  }

  Registrations gone_;
  std::shared_ptr<Names> names_ = std::make_shared<Names>();
};

// The name is free before the end is reported.
void end(Names &names, const std::string &name, Registration &registration, HRESULT status, const std::string &text) {
  std::shared_ptr<Registration> mine = names.take(name, &registration);
  registration.end(status, text);
}

// "COUNT [STATUS TEXT]"
void stream(Names &names, const std::string &name, Registration &registration, std::string args) {
  unsigned long count = number(args);
  HRESULT status = args.empty() ? S_FALSE : status_from(args);
  if (registration.count(count))
    end(names, name, registration, status, args);
  else
    end(names, name, registration, S_FALSE, "");
}

void flood(Registration &registration, size_t size) {
  const std::string bytes(size, 'x');
  for (int i = 0; i < 100000; i++)
    if (FAILED(registration.report(S_OK, false, bytes)))
      return;
}

void tick(Names &names, const std::string &name, Registration &registration) {
  unsigned long i = 0;
  while (!registration.stop && !resetting && SUCCEEDED(registration.report(S_OK, false, std::to_string(++i))))
    std::this_thread::sleep_for(std::chrono::microseconds(200));
  end(names, name, registration, S_FALSE, "");
}

HRESULT Actions2::RegisterCustomActionCallback(PCWSTR pszFunctionName, PCWSTR pszFunctionArgs,
                                               ICustomAction2ResultCallback *callback) {
  static const std::set<std::string> known = {"stream",  "stream_now", "abandon", "abandon_now", "open", "deaf",
                                              "restart", "tick",       "after",   "flood",       "last"};
  if (!pszFunctionName || !callback)
    return kInvalid;
  run_hook();
  std::string name = narrow(pszFunctionName), args = narrow(pszFunctionArgs);
  if (name == "refuse")
    return status_from(args);
  if (name == "report_refuse") {
    tell(callback, S_OK, false, "refused");
    return status_from(args);
  }
  if (name == "keep_refuse") {
    keep(kept2, callback);
    return status_from(args);
  }
  if (known.count(name) == 0)
    return kNotFound;

  auto names = names_;
  std::shared_ptr<Registration> one;
  bool again;
  {
    std::lock_guard<std::mutex> lock(names->mutex);
    if (names->registered.count(name))
      return kAlreadyExists;
    again = !names->seen.insert(name).second;
    one = std::make_shared<Registration>(callback, name == "deaf");
    names->registered[name] = one;
  }
  if (name == "stream") {
    on_thread([names, name, one, args] { stream(*names, name, *one, args); });
  } else if (name == "stream_now" || (name == "restart" && !again)) {
    stream(*names, name, *one, args);
  } else if (name == "abandon") {
    on_thread([names, name, one, args]() mutable {
      one->count(number(args));
      (void)names->take(name, one.get());
    });
  } else if (name == "abandon_now") {
    one->count(number(args));
    (void)names->take(name, one.get());
  } else if (name == "open" || name == "deaf" || name == "restart") {
    if (!one->count(number(args)))
      end(*names, name, *one, S_FALSE, "");
  } else if (name == "tick") {
    on_thread([names, name, one] { tick(*names, name, *one); });
  } else if (name == "after") {
    stream(*names, name, *one, args);
    one->report(S_OK, false, "late");
    one->report(S_FALSE, true, "");
  } else if (name == "flood") {
    flood(*one, number(args));
    end(*names, name, *one, S_FALSE, "");
  } else if (name == "last") {
    auto mine = names->take(name, one.get());
#if RSCA_SDK_REPORTRESULT
    one->report(S_OK, true, args);
#else
    one->report(S_FALSE, true, "");
#endif
  }
  return S_OK;
}

HRESULT Actions2::UnregisterCustomActionCallback(PCWSTR pszFunctionName) {
  if (!pszFunctionName)
    return kInvalid;
  run_hook();
  std::string name = narrow(pszFunctionName);
  {
    std::lock_guard<std::mutex> lock(names_->mutex);
    auto found = names_->registered.find(name);
    if (found != names_->registered.end() && found->second->deaf.exchange(false))
      return kFail;
  }
  std::shared_ptr<Registration> one = names_->take(name);
  if (!one)
    return kNotFound;
  one->stop = true;
  if (name != "tick") // its thread says so itself
    one->end(S_FALSE, "");
  return S_OK;
}

} // namespace

// ---- For the tests ----

IPmCustomActions *foreign_create(void) {
  return new Actions;
}

IPmCustomActions2 *foreign_create2(void) {
  return new Actions2;
}

int foreign_alive(void) {
  return alive;
}

int foreign_held(void) {
  return held;
}

size_t foreign_registered(IPmCustomActions2 *actions) {
  return static_cast<Actions2 *>(actions)->registered();
}

void foreign_gate(bool open) {
  std::lock_guard<std::mutex> lock(mutex);
  gate_is_open = open;
  gate_opened.notify_all();
}

void foreign_join(void) {
  foreign_gate(true);
  std::vector<std::thread> running;
  {
    std::lock_guard<std::mutex> lock(mutex);
    running.swap(threads);
  }
  for (std::thread &thread : running)
    thread.join();
}

void foreign_on_next_call(void (*hook)(void *user), void *user) {
  next_hook = hook;
  next_hook_user = user;
}

void foreign_tell_kept(HRESULT status, const char *text) {
  for (RunCallback &callback : copy_of(kept))
    tell(callback.get(), status, text);
  for (StreamCallback &callback : copy_of(kept2))
    tell(callback.get(), status, status != S_OK, text);
}

void foreign_let_go(void) {
  let_go(kept);
  let_go(kept2);
}

size_t foreign_answers(void) {
  std::lock_guard<std::mutex> lock(mutex);
  return answers.size();
}

HRESULT foreign_answer(size_t index) {
  std::lock_guard<std::mutex> lock(mutex);
  return index < answers.size() ? answers[index] : status_of(0x8000FFFF);
}

void foreign_forget_answers(void) {
  std::lock_guard<std::mutex> lock(mutex);
  answers.clear();
}

void foreign_reset(void) {
  next_hook = nullptr;
  resetting = true;
  foreign_join();
  resetting = false;
  foreign_let_go();
  foreign_forget_answers();
}
