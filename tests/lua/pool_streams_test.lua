-- Registrations whose actions run on worker threads: what is promised of them holds there, too.

local T = require "lua.support"
local listener = require "lua.listener"
local rsca = require "rsca"

local status = rsca.status
local stress = os.getenv("RSCA_GC_STRESS") == "1" or os.getenv("RSCA_IS_SLOW") == "1"
local RUNS = stress and 3 or 20

local chunk = [[
local rsca = require "rsca"

rsca.register("count", function(args, ctx)
  for i = 1, tonumber(args) do
    assert(ctx:report(i))
  end
end)
rsca.register("says", function(args, ctx)
  ctx:report("reported")
  return args
end)
rsca.register("raises", function(args, ctx)
  ctx:report("before")
  error("no " .. args, 0)
end)
rsca.register("refuses", function(_, ctx)
  ctx:report("before")
  return nil, "not today", rsca.status.ERROR_BUSY
end)
rsca.register("forever", function(_, ctx)
  local n = 0
  repeat
    n = n + 1
  until not ctx:report(n)
end)
rsca.register("waits", function(_, ctx)
  ctx:report("first")
  ctx:sleep(1e6)
end)
rsca.register("spins", function(_, ctx)
  ctx:report("first")
  while true do
  end
end)
]]

local function pool(options)
  options = options or {}
  options.chunk = options.chunk or chunk
  options.workers = options.workers or 2
  return assert(rsca.manager(options))
end

local function drain()
  T.equal(rsca.loop(60), true, "it all ends")
end

local function is_count(l, n)
  T.equal(#l.responses, n)
  for i, response in ipairs(l.responses) do
    T.equal(response, tostring(i))
  end
end

-- Until it is so; the watchdog is generous.
local function await(what, condition)
  for _ = 1, 6000 do
    if condition() then
      return
    end
    rsca.wait(0.01)
  end
  error("never: " .. what)
end

T.test("each way to end has its status, after all responses", function()
  local manager <close> = pool()
  for _ = 1, RUNS do
    local cases = {
      { "count", "5", "1;2;3;4;5", status.S_FALSE, "^$" }, { "count", "0", "", status.S_FALSE, "^$" },
      { "says", "last", "reported;last", status.S_FALSE, "^$" },
      { "raises", "disk", "before", status.E_FAIL, "^no disk\nstack traceback:\n" },
      { "refuses", "", "before", status.ERROR_BUSY, "^not today$" },
    }
    for _, case in ipairs(cases) do
      case.listener = listener()
      T.truthy(manager:subscribe(case[1], case[2], case.listener.handler))
    end
    drain()
    for _, case in ipairs(cases) do
      T.equal(case.listener.text(), case[3])
      T.equal(case.listener.final, case[4])
      T.match(case.listener.why, case[5])
    end
  end
  await("the count of the last", function() return manager:stats().in_flight == 0 end)
end)

T.test("in order and whole, several at a time, with handlers that wait", function()
  local manager <close> = pool { workers = 4 }
  local ls = {}
  local total = stress and 500 or 5000
  for i = 1, 8 do
    ls[i] = listener()
    if i % 2 == 0 then
      ls[i].on = function()
        if #ls[i].responses % 100 == 0 then
          rsca.sleep(0)
        end
      end
    end
    T.truthy(manager:subscribe("count", tostring(total), ls[i].handler))
  end
  drain()
  for i = 1, 8 do
    is_count(ls[i], total)
    T.equal(ls[i].final, status.S_FALSE)
  end
end)

T.test("back-pressure reaches across threads: what waits is bounded, and nothing is lost", function()
  local manager <close> = pool { workers = 1 }
  local l = listener()
  local open = false
  l.on = function()
    while not open do
      rsca.sleep(0)
    end
  end
  T.truthy(manager:subscribe("count", "2000", l.handler))
  await("a response", function() return #l.responses == 1 end)
  T.equal(manager:call("says", "me"), "reportedme") -- the coroutine waits, not its thread
  T.equal(#l.responses, 1)
  T.equal(manager:stats().in_flight, 1)
  open = true
  drain()
  is_count(l, 2000)
end)

T.test("close: no response follows, and the final is S_FALSE", function()
  local manager <close> = pool()
  for _ = 1, RUNS do
    for _, name in ipairs { "forever", "waits" } do
      local l = listener()
      local sub = T.truthy(manager:subscribe(name, "", l.handler))
      await("a response", function() return #l.responses > 0 end)
      local before = #l.responses
      T.equal(sub:close(), true)
      T.equal(sub:close(), false)
      drain()
      T.equal(#l.responses, before)
      T.equal(l.final, status.S_FALSE)
      T.equal(l.why, "")
    end
    local l = listener()
    T.truthy(manager:subscribe("waits", "", l.handler)):close() -- wherever it is
    drain()
    T.equal(l.final, status.S_FALSE)
  end
  await("all ended", function() return manager:stats().in_flight == 0 end)
end)

T.test("a handler that closes, fails or raises ends it", function()
  local manager <close> = pool()
  local heard, before = 0, rsca.on_error
  rsca.on_error = function() heard = heard + 1 end
  for _ = 1, RUNS do
    local cancelled = status.ERROR_CANCELLED
    for how, expected in pairs { close = status.S_FALSE, fail = cancelled, raise = cancelled } do
      local l = listener()
      local sub
      l.on = function(response, final)
        if response == "3" and not final then
          if how == "close" then
            T.equal(sub:close(), true)
          elseif how == "raise" then
            l.inside = false
            error("enough")
          end
          return how == "fail" and status.E_FAIL or nil
        end
      end
      sub = T.truthy(manager:subscribe("forever", "", l.handler))
      drain()
      T.equal(l.text(), "1;2;3")
      T.equal(l.final, expected, how)
    end
  end
  rsca.on_error = before
  T.equal(heard, RUNS)
end)

T.test("cancel and time limit end it, also one that computes", function()
  local manager <close> = pool()
  for _, name in ipairs { "waits", "spins", "forever" } do
    local l = listener()
    local sub = T.truthy(manager:subscribe(name, "", l.handler))
    await("a response", function() return #l.responses > 0 end)
    T.equal(manager:cancel(sub.id, 0), true)
    drain()
    T.equal(l.final, status.ERROR_CANCELLED, name)
    T.truthy(#l.why > 0)
  end
  local l = listener()
  T.truthy(manager:subscribe("spins", "", l.handler, { time_limit = 0.05 }))
  drain()
  T.equal(l.text(), "first")
  T.equal(l.final, status.ERROR_TIMEOUT)
end)

T.test("a loop over responses; leaving it ends the action", function()
  local manager <close> = pool()
  for _ = 1, RUNS do
    local n = 0
    for response in manager:responses("count", "1000") do
      n = n + 1
      T.equal(response, tostring(n))
    end
    T.equal(n, 1000)
    for response in manager:responses("forever") do
      if response == "500" then
        break
      end
    end
    local err = T.raises("not today", function()
      for _ in manager:responses("refuses") do
        n = n + 1
      end
    end)
    T.equal(n, 1001)
    T.equal(err.status, status.ERROR_BUSY)
  end
  drain()
  await("all ended", function() return manager:stats().in_flight == 0 end)
end)

T.test("the documented methods: one registration per name, which is free in the final", function()
  local manager <close> = pool()
  for _ = 1, RUNS do
    local l, again = listener(), listener()
    l.on = function(_, final)
      if final then
        T.equal(manager:RegisterCustomActionCallback("forever", "", again.handler), 0)
      end
    end
    T.equal(manager:RegisterCustomActionCallback("forever", "", l.handler), 0)
    T.equal(manager:RegisterCustomActionCallback("forever", "", l.handler), status.ERROR_ALREADY_EXISTS)
    T.equal(manager:UnregisterCustomActionCallback("forever"), 0)
    await("again", function() return #again.responses > 0 end)
    T.equal(manager:UnregisterCustomActionCallback("forever"), 0)
    drain()
    T.equal(l.final, status.S_FALSE)
    T.equal(again.final, status.S_FALSE)
  end
end)

T.test("shutdown ends registrations at once, with or without patience", function()
  for _, immediate in ipairs { true, false } do
    for _ = 1, RUNS do
      local manager <close> = pool()
      local ls = { listener(), listener(), listener() }
      for i, name in ipairs { "waits", "forever", "count" } do
        T.truthy(manager:subscribe(name, "10000", ls[i].handler))
      end
      if not immediate then
        await("a response", function() return #ls[1].responses > 0 end)
      end
      T.equal(manager:shutdown(immediate), true)
      drain()
      for i = 1, 3 do
        T.equal(ls[i].final, status.ERROR_CANCELLED)
      end
      T.equal(ls[1].text() == "first" or ls[1].text() == "", true)
    end
  end
end)

T.test("a handler that shuts down or closes the manager that is calling it", function()
  for _, method in ipairs { "shutdown", "close" } do
    for _ = 1, RUNS do
      local manager <close> = pool()
      local l = listener()
      l.on = function(_, final)
        if not final and #l.responses == 1 then
          manager[method](manager)
          T.collect()
        end
      end
      T.truthy(manager:subscribe("forever", "", l.handler))
      drain()
      T.truthy(#l.responses >= 1)
      T.equal(l.final, status.ERROR_CANCELLED)
    end
  end
end)

T.test("a manager with open registrations that nothing names any more is collected, threads and all", function()
  local weak = setmetatable({}, { __mode = "k" })
  for i = 1, stress and 5 or 30 do
    local manager = pool()
    weak[manager] = true
    T.truthy(manager:subscribe("waits", "", function() return manager and nil end))
    T.truthy(manager:subscribe("forever", "", function() return manager and nil end))
    if i % 2 == 0 then
      rsca.wait(0.01)
    end
  end
  for _ = 1, 100 do
    T.collect()
    if not next(weak) then
      break
    end
    rsca.wait(0.01)
  end
  T.equal(next(weak), nil)
  drain()
end)

T.test("a stream of very many responses keeps memory flat", function()
  local total = stress and 5000 or 200000
  local manager <close> = pool()
  local heard, most = 0, 0
  collectgarbage()
  local before = collectgarbage("count")
  T.truthy(manager:subscribe("count", tostring(total), function(_, _, final)
    if not final then
      heard = heard + 1
      if heard % 1000 == 0 then
        most = math.max(most, collectgarbage("count") - before)
      end
    end
  end))
  drain()
  T.equal(heard, total)
  T.truthy(most < 10000, most .. " KiB")
end)

T.finish()
