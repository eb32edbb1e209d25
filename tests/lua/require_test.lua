-- Opening the module: once per state, however often and from wherever it is asked for.

-- Before anything else: the first require on a coroutine that then ends and is collected.
local first = coroutine.wrap(function()
  local rsca = require "rsca"
  rsca.register("early", function(args)
    return "early " .. args
  end)
  return rsca
end)()
for _ = 1, 4 do
  collectgarbage()
end

local T = require "lua.support"
local rsca = require "rsca"

T.test("require gives the same module every time", function()
  T.equal(rsca, first)
  T.equal(require "rsca", rsca)
  T.equal(package.loaded.rsca, rsca)
end)

T.test("the coroutine that opened it may be gone", function()
  T.equal(rsca.call("early", "on"), "early on")
  local heard = T.expect(1)
  rsca.run("early", "", heard)
  rsca.spawn(rsca.sleep, 0)
  T.equal(rsca.loop(), true)
end)

T.test("a coroutine may open it inside a step, and be cancelled", function()
  rsca.register("opens", function(_, ctx)
    package.loaded.rsca, package.loaded["rsca.core"] = nil, nil
    T.equal(require "rsca", rsca)
    ctx:sleep(1e6)
  end)
  local request = rsca.run("opens")
  rsca.step()
  request:cancel()
  T.equal(request:await(), nil)
  T.collect()
  T.equal(rsca.call("early", ""), "early ")
end)

T.test("rsca.core is the same table", function()
  T.equal(require "rsca.core", rsca)
end)

T.test("package.loaded may be cleared: the same module comes back, with what was set and registered", function()
  local hook, log = rsca.on_error, function() end
  rsca.on_log = log
  rsca.mine = "kept"
  for _, names in ipairs { { "rsca" }, { "rsca.core" }, { "rsca", "rsca.core" } } do
    for _, name in ipairs(names) do
      package.loaded[name] = nil
    end
    T.collect()
    T.equal(require "rsca", rsca)
    T.equal(require "rsca.core", rsca)
    T.equal(rsca.mine, "kept")
    T.equal(rsca.on_log, log)
    T.equal(rsca.on_error, hook)
    T.equal(rsca.own_manager(), first.own_manager())
    T.equal(rsca.call("early", "on"), "early on")
  end
  rsca.on_log, rsca.mine = nil, nil
end)

T.test("calls that wait go on over that", function()
  rsca.register("waits", function(_, ctx)
    ctx:sleep(0)
    return "done"
  end)
  local request = rsca.run("waits")
  rsca.step()
  package.loaded.rsca, package.loaded["rsca.core"] = nil, nil
  T.collect()
  T.equal(require("rsca"), rsca)
  T.equal(request:await(), "done")
end)

T.test("it sets no globals, and touches nobody's metatables", function()
  for name in pairs(_G) do
    T.equal(name:match("^rsca"), nil)
  end
  T.equal(getmetatable(_G), nil)
  T.equal(getmetatable(print), nil)
  T.equal(getmetatable(coroutine.create(print)), nil)
end)

T.test("the module has what it promises", function()
  for _, name in ipairs { "register", "unregister", "call", "run", "cancel", "list", "step", "wait", "loop", "fd",
    "timeout", "spawn", "sleep", "manager", "own_manager", "describe", "failed", "log", "on_error" } do
    T.equal(type(rsca[name]), "function", name)
  end
  T.equal(type(rsca.status), "table")
  T.match(rsca._VERSION, "^rsca %d+%.%d+%.%d+$")
  T.equal(rsca.on_log, nil)
end)

T.test("a field of the module that a script removes or replaces does no harm to the rest", function()
  local call, on_error = rsca.call, rsca.on_error
  rsca.call, rsca.on_error, rsca.status.S_OK = nil, nil, nil
  T.equal(rsca.run("early", "x"):await(), "early x")
  rsca.call, rsca.on_error, rsca.status.S_OK = call, on_error, 0
  T.equal(rsca.call("early", "y"), "early y")
end)

T.finish()
