-- Stopping what won't stop. The list of escapes comes first, in a pool and for actions that run here; then what is
-- promised to what is stopped: its clean-up, and that whatever runs after it finds everything as it was.

local T = require "lua.support"
local escapes = require "lua.escapes"
local pools = require "lua.pools"
local rsca = require "rsca"

local status = rsca.status

-- ---- Escapes ----

local helpers = [[
rsca.register("sleeps", function(_, ctx) ctx:sleep(1e6) end)
rsca.register("hook", function() return tostring((debug.gethook())) end)
]]

-- All escapes of these kinds as actions.
local function script_of(...)
  local parts = { escapes.prelude, helpers }
  for _, kind in ipairs { ... } do
    for _, escape in ipairs(escapes[kind]) do
      parts[#parts + 1] = ("rsca.register(%q, function(args, ctx) %s end)\n"):format(escape.name, escape.body)
    end
  end
  return table.concat(parts)
end

-- Every call of it hears of its time limit. Where it was is told if its thread could still be asked, which takes a
-- machine that is not too busy: some call must tell.
local function is_stopped(manager, name, unharmed)
  local before = unharmed()
  for attempt = 1, 50 do
    local response, err = manager:call(name, "", { time_limit = 0.05 * attempt })
    T.equal(response, nil)
    T.equal(err.status, status.ERROR_TIMEOUT, tostring(err))
    T.equal(err.message, "the time limit is over")
    T.equal(manager:call("works", "still"), "still")
    if err.traceback and unharmed() == before then
      T.match(err.traceback, "^stack traceback:\n")
      return
    end
    before = unharmed()
  end
  error("nobody ever told where it was, or its state was always given up")
end

local function stops_all(where, manager, kind, unharmed)
  for _, escape in ipairs(escapes[kind]) do
    T.test(("%s: %s"):format(where, escape.name), function()
      is_stopped(manager, escape.name, unharmed)
    end)
  end
end

do
  local manager <close> = pools.open(script_of("plain", "nested"))
  local hook = manager:call("hook")
  -- The state is the same, and no hook has stayed.
  local function unharmed()
    T.equal(manager:call("hook"), hook)
    return manager:call("number")
  end
  stops_all("in a pool", manager, "plain", unharmed)
  stops_all("in a pool", manager, "nested", unharmed)

  T.test("nothing in all that is stuck", function()
    pools.wait_until(function()
      return manager:health().stuck == 0
    end)
    T.equal(manager:health().workers, 1)
  end)
end

-- The same here, on a manager without workers.
local function open_here(...)
  local manager = rsca.manager()
  local env = setmetatable({
    rsca = setmetatable({
      register = function(...) return manager:register(...) end,
      call = function(...) return manager:call(...) end,
    }, { __index = rsca }),
    print = T.expect,
  }, { __index = _G })
  env.require = function(name)
    return name == "rsca" and env.rsca or require(name)
  end
  assert(load(script_of(...) .. [[rsca.register("works", function(args) return args end)]], "=escapes", "t", env))()
  return manager
end

do
  local function unharmed() end
  do
    local manager <close> = open_here("plain")
    stops_all("here", manager, "plain", unharmed)
  end
  rsca.guard()
  local manager <close> = open_here("plain", "nested")
  stops_all("here, guarded", manager, "plain", unharmed)
  stops_all("here, guarded", manager, "nested", unharmed)
end

-- ---- What was stopped cleans up, and leaves its state as usable as before ----

local cleaning = [[
local function forever()
  while true do
  end
end

local function note(name)
  return closing(function() shared:set("order", (shared:get("order") or "") .. name .. " ") end)
end

local behaviours = {
  computes = function()
    local _ <close> = note "outer"
    pcall(function()
      local _ <close> = note "inner"
      forever()
    end)
  end,
  waits = function(ctx)
    local _ <close> = note "outer"
    pcall(function()
      local _ <close> = note "inner"
      ctx:sleep(1e6)
    end)
  end,
  ["in a coroutine"] = function()
    local _ <close> = note "outer"
    pcall(coroutine.wrap(function()
      local _ <close> = note "inner"
      forever()
    end))
  end,
  ["in a comparison"] = function()
    local _ <close> = note "outer"
    table.sort({ 1, 2 }, function()
      local _ <close> = note "inner"
      forever()
    end)
  end,
  ["whose clean-up raises"] = function()
    local _ <close> = note "outer"
    local _ <close> = closing(function() error("dirty") end)
    local _ <close> = note "inner"
    forever()
  end,
  ["whose clean-up waits"] = function(ctx)
    local _ <close> = note "outer"
    local _ <close> = closing(function()
      local good, err = ctx:sleep(1e6)
      shared:set("wait", tostring(good) .. " " .. err.name)
    end)
    local _ <close> = note "inner"
    forever()
  end,
  ["whose clean-up computes for a while"] = function()
    local _ <close> = note "outer"
    local _ <close> = closing(function() for _ = 1, 100000 do end end)
    local _ <close> = note "inner"
    forever()
  end,
}

rsca.register("cleans", function(args, ctx)
  shared:set("order", nil)
  behaviours[args](ctx)
end)

-- What globals, metatables and upvalues say is as it was; and so is what an action may do.
local calls = 0
rsca.register("is well", function(args, ctx)
  calls = calls + 1
  local co = coroutine.wrap(function(...) return coroutine.yield(...) end)
  assert(co(1) == 1 and co(2) == 2)
  assert(not pcall(error) and select(2, xpcall(error, function() return "handled" end)) == "handled")
  local sorted = { 3, 1, 2 }
  table.sort(sorted, function(a, b) return a < b end)
  assert(("abc"):gsub(".", function(c) return c .. c end) == "aabbcc")
  assert(ctx:sleep(0))
  assert(rsca.call("works", "inner") == "inner")
  assert(not debug.gethook() or os.getenv("RSCA_SANITIZE") == "thread") -- where the hook is what asks
  return table.concat(sorted) .. " " .. calls
end)
]]

do
  local manager <close> = pools.open(cleaning)
  local calls = 0
  rsca.on_error = function(err) -- nobody else hears of these
    T.match(tostring(err), "dirty")
  end
  for _, name in ipairs { "computes", "waits", "in a coroutine", "in a comparison", "whose clean-up raises",
    "whose clean-up waits", "whose clean-up computes for a while" } do
    T.test("<close> variables of what was stopped have run, last one first, and its state goes on: " .. name, function()
      -- Within their time, that is: on a machine that is very busy it may be over before.
      pools.wait_until(function()
        local response, err = manager:call("cleans", name, { time_limit = 0.05 })
        T.equal(response, nil)
        T.equal(err.status, status.ERROR_TIMEOUT)
        calls = calls + 1
        T.equal(manager:call("is well"), "123 " .. calls)
        return manager:shared():get("order") == "inner outer "
      end)
    end)
  end

  T.test("in the clean-up of what was stopped waits answer nil, err", function()
    T.equal(manager:shared():get("wait"), "nil ERROR_CANCELLED")
  end)

  T.test("all of it was one state", function()
    T.equal(manager:call("number"), "1")
    T.equal(manager:health().stuck, 0)
  end)
  rsca.on_error = nil
end

T.test("an error, out of memory or of any kind, leaves a state as usable as before", function()
  local manager <close> = pools.open(cleaning .. [[
    local bodies = {
      function() error("text") end,
      function() error({}) end,
      function() error() end,
      function() return nil, "refused" end,
      function() return {} end,
      function() local _ = ("x"):rep(1 << 30) end,
      function() local function deeper() return 1 + deeper() end deeper() end,
      function() coroutine.wrap(function() error("in a coroutine") end)() end,
      function() local _ <close> = closing(function() error("in __close") end) error("first") end,
      function(ctx) ctx:sleep(0) error("after a wait") end,
      function() rsca.call("nobody")() end,
    }
    rsca.register("bodies", function() return #bodies end)
    rsca.register("fails", function(args, ctx) return bodies[tonumber(args)](ctx) end)
  ]], { memory_limit = 8 << 20 })
  local calls = 0
  for _ = 1, 10 do
    for i = 1, tonumber(manager:call("bodies")) do
      local response, err = manager:call("fails", i)
      T.equal(response, nil)
      T.truthy(rsca.failed(err.status))
      calls = calls + 1
      T.equal(manager:call("is well"), "123 " .. calls)
    end
  end
  T.equal(manager:call("number"), "1")
end)

T.test("a shutdown: the clean-up of all that is cut has the time of one, and each begins", function()
  local manager = pools.open([[
    rsca.register("waits", function(_, ctx)
      local resource <close> = closing(function()
        tell "closed"
        while true do end
      end)
      tell "waits"
      ctx:sleep(1e6)
    end)
  ]], { time_limit = 1e6 })
  for _ = 1, 100 do
    assert(manager:run("waits"))
  end
  pools.wait_for(manager, "waits", 100)
  T.equal(manager:shutdown(true), true)
  T.equal(manager:shared():get("closed"), 100)
  manager:close()
end)

T.finish()
