-- What is collected when nobody needs it any more, and what is kept while somebody does.

local T = require "lua.support"
local rsca = require "rsca"

local stress = os.getenv("RSCA_GC_STRESS") == "1"

-- Finalized objects need a step to be let go of by the state, and what they held a collection more.
local function settle()
  T.collect()
  rsca.step()
  T.collect()
end

local function count(weak)
  local n = 0
  for _ in pairs(weak) do
    n = n + 1
  end
  return n
end

local function weak_keys()
  return setmetatable({}, { __mode = "k" })
end

-- A manager whose actions and options name it in every way a script might.
local function entangled()
  local manager = rsca.manager()
  manager:register("echo", function(args)
    return manager and args
  end)
  manager:register("again", function(args)
    return manager:call("echo", args)
  end)
  manager:register("held", function(_, ctx)
    return manager and ctx:sleep(1e6)
  end)
  return manager
end

T.test("ten thousand managers with actions that name them are collected", function()
  local alive = weak_keys()
  for i = 1, 10000 do
    local manager = entangled()
    alive[manager] = true
    if i % 10 == 0 then
      T.equal(manager:call("again", "x"), "x")
      manager:run("echo", "y", function() assert(manager) end)
      rsca.step()
    end
    if stress and i % 1000 == 0 then
      rsca.step()
    end
  end
  T.equal(rsca.loop(), true)
  settle()
  T.equal(count(alive), 0)
end)

T.test("closed ones are collected as well, with what their actions held", function()
  local alive, held = weak_keys(), weak_keys()
  for _ = 1, 100 do
    local manager, object = entangled(), {}
    manager:register("holds", function()
      return object and ""
    end)
    manager:call("holds")
    alive[manager], held[object] = true, true
    manager:close()
  end
  settle()
  T.equal(count(alive), 0)
  T.equal(count(held), 0)
end)

T.test("a closed manager that is still named lets go of its actions", function()
  local held = weak_keys()
  local manager = rsca.manager()
  do
    local object = {}
    held[object] = true
    manager:register("holds", function()
      return object and ""
    end)
  end
  manager:close()
  settle()
  T.equal(count(held), 0)
  T.match(tostring(manager), "closed")
end)

T.test("an action that is unregistered or replaced is collected, when its calls have ended", function()
  local held = weak_keys()
  local function register()
    local object = {}
    held[object] = true
    rsca.register("holds", function(_, ctx)
      ctx:sleep(0)
      return object and "held"
    end)
  end
  register()
  register()
  settle()
  T.equal(count(held), 1)
  local request = rsca.run("holds")
  rsca.unregister("holds")
  T.collect()
  T.equal(count(held), 1)
  T.equal(request:await(), "held")
  settle()
  T.equal(count(held), 0)
end)

T.test("a manager with a run in flight is collected only after that has ended", function()
  local alive = weak_keys()
  local requests = {}
  for i = 1, 20 do
    local manager = entangled()
    alive[manager] = true
    requests[i] = { id = manager:run("held", "", function() assert(manager) end), cancel = manager.cancel }
    rsca.spawn(function()
      rsca.sleep(0)
      T.equal(manager:cancel(requests[i].id), true)
    end)
  end
  rsca.step()
  T.collect()
  T.equal(count(alive), 20)
  T.equal(rsca.loop(), true)
  settle()
  T.equal(count(alive), 0)
end)

T.test("a manager with only a request in flight is kept, and so is one that a request names", function()
  local alive = weak_keys()
  do
    local request
    do
      local manager = entangled()
      alive[manager] = true
      request = manager:run("again", "x")
    end
    settle()
    T.equal(count(alive), 1)
    T.equal(request:await(), "x")
    settle()
    T.equal(count(alive), 1)
  end
  settle()
  T.equal(count(alive), 0)
end)

T.test("a run's handler and its coroutine are kept by the state", function()
  local heard, went_on = T.expect(1), T.expect(1)
  do
    local manager = rsca.manager()
    manager:register("sleeps", function(_, ctx)
      local object = setmetatable({}, { __gc = function() end })
      ctx:sleep(0)
      T.collect()
      ctx:sleep(0)
      T.truthy(object)
      went_on()
      return "x"
    end)
    manager:run("sleeps", "", function(_, response)
      rsca.sleep(0)
      T.equal(response, "x")
      heard()
    end)
  end
  T.collect()
  rsca.step()
  T.collect()
  T.equal(rsca.loop(), true)
end)

T.test("what handlers, spawned functions and requests held is collected when they have ended", function()
  local held = weak_keys()
  local function object()
    local value = {}
    held[value] = true
    return value
  end
  rsca.register("echo", function(args)
    return args
  end)
  for _ = 1, 50 do
    local one, two, three = object(), object(), object()
    rsca.run("echo", "", function() return one and nil end)
    rsca.run("echo", "", { ReportResult = function() return two and nil end })
    rsca.spawn(function(argument)
      rsca.sleep(0)
      return argument and three
    end, object())
    held[rsca.run("echo")] = true
  end
  T.equal(rsca.loop(), true)
  settle()
  T.equal(count(held), 0)
end)

T.test("what a cancelled, closed or failed coroutine held is collected", function()
  local held = weak_keys()
  rsca.register("ends", function(args, ctx)
    local value = {}
    held[value] = true
    held[ctx] = true
    if args == "raise" then
      error(value)
    end
    ctx:sleep(1e6)
    return value
  end)
  for _ = 1, 20 do
    T.equal(rsca.call("ends", "raise"), nil)
    local request = rsca.run("ends")
    rsca.step()
    request:cancel()
    T.equal(request:await(), nil)
  end
  settle()
  T.equal(count(held), 0)
end)

T.test("a refused call's handler is let go of", function()
  local held = weak_keys()
  local manager <close> = rsca.manager { queue_limit = 1 }
  manager:register("echo", function(args)
    return args
  end)
  local request = manager:run("echo")
  for _ = 1, 50 do
    local value = {}
    held[value] = true
    T.equal(manager:run("echo", "", function() return value end), nil)
    T.equal(manager:RunCustomAction("nothing", "", function() return value end), rsca.status.ERROR_NOT_FOUND)
  end
  settle()
  T.equal(count(held), 0)
  request:await()
end)

-- Memory after `round` was run `rounds` times more: about the same.
local function stays_flat(rounds, round)
  local function memory()
    settle()
    return collectgarbage("count")
  end
  round(rounds // 10)
  local before = memory()
  round(rounds)
  local after = memory()
  T.truthy(after - before < 64, ("%.1f KiB before, %.1f KiB after"):format(before, after))
end

T.test("memory stays flat over many runs, of every kind", function()
  rsca.register("echo", function(args)
    return args
  end)
  rsca.register("waits", function(_, ctx)
    ctx:sleep(0)
    error("x")
  end)
  stays_flat(stress and 20000 or 500000, function(n)
    for _ = 1, n do
      assert(rsca.call("echo", "x"))
    end
  end)
  stays_flat(stress and 2000 or 20000, function(n)
    local function handler() end
    for i = 1, n do
      rsca.run("echo", "x", handler)
      rsca.spawn(handler, i)
      local request = rsca.run("waits")
      if i % 2 == 0 then
        request:cancel()
      end
      request:await()
      if i % 100 == 0 then
        rsca.loop()
      end
    end
    rsca.loop()
  end)
end)

T.test("memory stays flat over many managers, registrations and failures", function()
  stays_flat(stress and 500 or 5000, function(n)
    for _ = 1, n do
      local manager = entangled()
      manager:call("echo", "x")
      manager:run("held")
      manager:unregister("again")
      manager:close()
      rsca.call("no such action")
      pcall(rsca.manager, { wrong = true })
    end
  end)
end)

T.finish()
