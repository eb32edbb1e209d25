// The documented interfaces from C++: a class implements ICustomActionResultCallback, and IPmCustomActions runs actions
// with it, whether they are written in Lua or in C. Such objects cross into Lua and out of it, too: a native callback
// becomes an object that scripts use, and a Lua function an ICustomActionResultCallback that any thread may call.
// usage: example_10_interfaces actions.lua

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <utility>

#include <lua.hpp>

#include <Wpframework.h>
#include <rsca/lua.h>
#include <rsca/manager.h>
#include <rsca/status.h>

namespace {

// ---- References: whoever holds one of these gives it back ----

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

// ---- A callback: counted, told once, gone with its last reference ----

class MyResult final : public ICustomActionResultCallback {
public:
  explicit MyResult(std::string title) : title_(std::move(title)) {
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
    const rsca_status_entry *entry = rsca_status_find(hrStatus);
    std::printf("%s: %s, %.*s\n", title_.c_str(), entry ? entry->name : "?", static_cast<int>(response.size()),
                response.data());
    return S_OK;
  }

private:
  ~MyResult() = default;

  std::atomic<ULONG> count_{1};
  const std::string title_;
};

// ---- An action in C, on the same manager as those in Lua ----

HRESULT threads_action(void *, rsca_call *call, const char *, size_t) {
  const std::string text = std::to_string(std::thread::hardware_concurrency()) + " hardware threads";
  return rsca_call_report(call, text.data(), text.size());
}

// ---- A Lua function to give a callback to, and one to be called back ----

constexpr const char *script = R"lua(
  local rsca = require "rsca"

  local function use(callback)
    assert(rsca.run("host", "", callback))                     -- as the callback of a call
    callback:ReportResult(rsca.status.S_OK, "told by a script") -- and called by the script itself
  end

  local function listen(status, response)
    print("Lua hears: " .. rsca.describe(status):match("^%S+") .. ", " .. response)
  end

  return use, listen
)lua";

// Steps until nothing more is due.
bool step_all(rsca_manager *manager) {
  HRESULT status;
  do
    status = rsca_manager_step(manager, 0);
  while (status == S_OK);
  return SUCCEEDED(status);
}

bool run(IPmCustomActions *actions, PCWSTR name, const char *title) {
  const Ref<MyResult> result(new MyResult(title));
  const HRESULT status = actions->RunCustomAction(name, u"", result.get()); // held by the call, if it is accepted
  if (FAILED(status))
    std::printf("%s: refused, 0x%08X\n", title, static_cast<unsigned>(status));
  return SUCCEEDED(status);
}

bool pass_objects(lua_State *L, rsca_manager *manager) {
  if (luaL_loadstring(L, script) != LUA_OK || lua_pcall(L, 0, 2, 0) != LUA_OK)
    return false;

  // Out of Lua: called from another thread, heard where the state steps.
  ICustomActionResultCallback *out = nullptr;
  if (FAILED(rsca_lua_to_callback(L, -1, &out)))
    return false;
  Ref<ICustomActionResultCallback> listener(out);
  lua_pop(L, 1);
  std::thread([&listener] {
    BYTE text[] = {'h', 'e', 'l', 'l', 'o'};
    listener->ReportResult(S_OK, text, sizeof text);
    listener.reset();
  }).join();

  // Into Lua: the object holds the callback as long as the script has it.
  const Ref<MyResult> result(new MyResult("a callback in Lua"));
  if (FAILED(rsca_lua_push_callback(L, result.get())))
    return false;
  return lua_pcall(L, 1, 0, 0) == LUA_OK && step_all(manager);
}

} // namespace

int main(int argc, char **argv) {
  rsca_manager *created = nullptr;
  if (argc != 2 || FAILED(rsca_manager_create(nullptr, &created))) {
    std::fputs("usage: example_10_interfaces actions.lua\n", stderr);
    return EXIT_FAILURE;
  }
  const Ref<rsca_manager> manager(created);
  const Ref<lua_State> L(luaL_newstate()); // closed before the manager is released
  if (!L)
    return EXIT_FAILURE;
  luaL_openlibs(L.get());
  if (FAILED(rsca_lua_open(L.get(), manager.get())) ||
      FAILED(rsca_manager_register(manager.get(), "threads", nullptr, threads_action, nullptr, nullptr)))
    return EXIT_FAILURE;
  if (luaL_dofile(L.get(), argv[1]) != LUA_OK) {
    std::fprintf(stderr, "%s\n", lua_tostring(L.get(), -1));
    return EXIT_FAILURE;
  }

  const Ref<IPmCustomActions> actions(rsca_manager_custom_actions(manager.get()));
  const bool accepted = run(actions.get(), u"uptime", "an action in Lua") &&
                        run(actions.get(), u"threads", "an action in C") &&
                        run(actions.get(), u"broken", "an action that raises");
  const bool refused = !run(actions.get(), u"no such name", "a name nobody registered");
  const bool done = step_all(manager.get()) && pass_objects(L.get(), manager.get());
  return accepted && refused && done ? EXIT_SUCCESS : EXIT_FAILURE;
}
