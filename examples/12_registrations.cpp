// Registrations at the documented interfaces, in C++: a class implements ICustomAction2ResultCallback and hears the
// responses of an action as they come, whether it is written in Lua or in C, and then its end. IPmCustomActions2 is a
// session, which has at most one registration of a name: the manager's default session is one, and it makes more.

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include <poll.h>

#include <lua.hpp>

#include <Wpframework.h>
#include <rsca/lua.h>
#include <rsca/manager.h>
#include <rsca/status.h>

namespace {

struct Releaser {
  void operator()(IWpfReferencedObject *object) const {
    object->Release();
  }
  void operator()(rsca_manager *manager) const {
    rsca_manager_release(manager);
  }
  void operator()(lua_State *L) const {
    lua_close(L);
  }
};
template <typename T> using Ref = std::unique_ptr<T, Releaser>;

std::string name_of(HRESULT status) {
  const rsca_status_entry *entry = rsca_status_find(status);
  return entry ? entry->name : std::to_string(status);
}

// ---- A callback: hears responses, then one end. All its reports come on the thread that steps ----

class Watcher final : public ICustomAction2ResultCallback {
public:
  // After `most` responses it wants no more.
  Watcher(std::string title, unsigned most) : title_(std::move(title)), most_(most) {
  }

  ULONG AddRef() override {
    return ++count_;
  }

  ULONG Release() override {
    const ULONG left = --count_;
    if (left == 0)
      delete this;
    return left;
  }

  HRESULT ReportResult(HRESULT hrStatus, PBYTE pbResponse, DWORD cbResponse) override {
    const std::string_view response(reinterpret_cast<const char *>(pbResponse), cbResponse);
    if (hrStatus != S_OK) { // the final report
      ended_ = true;
      std::printf("%s: the end, %s %.*s\n", title_.c_str(), name_of(hrStatus).c_str(),
                  static_cast<int>(response.size()), response.data());
      return S_OK;
    }
    std::printf("%s: %.*s\n", title_.c_str(), static_cast<int>(response.size()), response.data());
    return ++heard_ < most_ ? S_OK : E_FAIL; // a failure ends the registration
  }

  unsigned heard() const {
    return heard_;
  }
  bool ended() const {
    return ended_;
  }

private:
  ~Watcher() = default;

  std::atomic<ULONG> count_{1};
  const std::string title_;
  const unsigned most_;
  unsigned heard_ = 0;
  bool ended_ = false;
};

// ---- An action in C: every line of /proc/meminfo that begins with the arguments is a response ----

HRESULT meminfo_action(void *, rsca_call *call, const char *args, size_t size) {
  std::ifstream file("/proc/meminfo");
  std::string line;
  while (std::getline(file, line)) {
    if (line.compare(0, size, args) != 0)
      continue;
    const HRESULT status = rsca_call_report(call, line.data(), line.size());
    if (FAILED(status)) // nobody wants more, for one
      return status;
  }
  return S_OK;
}

// ---- And one in Lua, which goes on until it is ended ----

constexpr const char *script = R"lua(
  local rsca = require "rsca"

  rsca.register("ticks", { help = "SECONDS: a tick after each" }, function(args, ctx)
    local seconds = assert(tonumber(args), "usage: SECONDS")
    for n = 1, math.huge do
      assert(ctx:sleep(seconds))
      assert(ctx:report("tick " .. n))
    end
  end)
)lua";

// Steps the manager until `done` says so.
template <typename Condition> bool step_until(rsca_manager *manager, Condition done) {
  pollfd watched = {rsca_manager_fd(manager), POLLIN, 0};
  while (!done()) {
    if (poll(&watched, 1, rsca_manager_timeout_ms(manager)) < 0 && errno != EINTR)
      return false;
    (void)rsca_manager_step(manager, 0);
  }
  return true;
}

bool watch_c_action(rsca_manager *manager, IPmCustomActions2 *session) {
  const Ref<Watcher> watcher(new Watcher("meminfo", 100));
  if (FAILED(session->RegisterCustomActionCallback(u"meminfo", u"Mem", watcher.get()))) // held until its final report
    return false;
  return step_until(manager, [&] { return watcher->ended(); });
}

bool watch_lua_action(rsca_manager *manager, IPmCustomActions2 *first, IPmCustomActions2 *second) {
  const Ref<Watcher> unregistered(new Watcher("the default session", 100));
  const Ref<Watcher> aborting(new Watcher("another session", 6));
  if (FAILED(first->RegisterCustomActionCallback(u"ticks", u"0.02", unregistered.get())))
    return false;

  // One registration of a name is all that a session has; other sessions have their own.
  const HRESULT again = first->RegisterCustomActionCallback(u"ticks", u"0.02", aborting.get());
  std::printf("once more in the default session: %s\n", name_of(again).c_str());
  if (FAILED(second->RegisterCustomActionCallback(u"ticks", u"0.02", aborting.get())))
    return false;

  // Ended from outside, it ends with S_FALSE; by its own callback's failure, with ERROR_CANCELLED.
  if (!step_until(manager, [&] { return unregistered->heard() >= 3; }) ||
      FAILED(first->UnregisterCustomActionCallback(u"ticks")))
    return false;
  const HRESULT gone = first->UnregisterCustomActionCallback(u"ticks");
  std::printf("unregistered twice: %s\n", name_of(gone).c_str());
  return step_until(manager, [&] { return unregistered->ended() && aborting->ended(); }) &&
         again == RSCA_E_ALREADY_EXISTS && gone == RSCA_E_NOT_FOUND;
}

} // namespace

int main() {
  rsca_manager *created = nullptr;
  if (FAILED(rsca_manager_create(nullptr, &created)))
    return EXIT_FAILURE;
  const Ref<rsca_manager> manager(created);
  const Ref<lua_State> L(luaL_newstate()); // closed before the manager is released
  if (!L)
    return EXIT_FAILURE;
  luaL_openlibs(L.get());
  if (FAILED(rsca_lua_open(L.get(), manager.get())) ||
      FAILED(rsca_manager_register(manager.get(), "meminfo", nullptr, meminfo_action, nullptr, nullptr)))
    return EXIT_FAILURE;
  if (luaL_dostring(L.get(), script) != LUA_OK) {
    std::fprintf(stderr, "%s\n", lua_tostring(L.get(), -1));
    return EXIT_FAILURE;
  }

  const Ref<IPmCustomActions2> default_session(rsca_manager_custom_actions2(manager.get()));
  IPmCustomActions2 *made = nullptr;
  if (FAILED(rsca_manager_create_session(manager.get(), &made)))
    return EXIT_FAILURE;
  const Ref<IPmCustomActions2> session(made);
  const bool watched = watch_c_action(manager.get(), default_session.get()) &&
                       watch_lua_action(manager.get(), default_session.get(), session.get());
  return watched ? EXIT_SUCCESS : EXIT_FAILURE;
}
