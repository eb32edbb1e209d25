-- m:shutdown, m:health and m:stats: how a manager is, what it has done, and how it ends.

local T = require "lua.support"
local rsca = require "rsca"

local status = rsca.status

-- A manager with actions to have something in flight: "echo" answers, "waits" until `gate` is open.
local gate
local function manager_with_actions(options)
  gate = false
  local manager = assert(rsca.manager(options))
  manager:register("echo", function(args) return args end)
  manager:register("waits", function(args)
    while not gate do
      coroutine.yield()
    end
    return args
  end)
  manager:register("streams", function(_, ctx)
    ctx:report("first")
    ctx:sleep(1e6)
  end)
  return manager
end

-- A callback that must hear this, once.
local function hears(expected, text)
  local told = T.expect(1)
  return function(code, response, final)
    told()
    T.equal(code, expected)
    T.equal(final, true)
    if text then
      T.equal(response, text)
    end
  end
end

-- For registrations: what it heard, responses and the final's status, in order.
local function records()
  local log = {}
  return log, function(code, response, final)
    log[#log + 1] = final and code or response
  end
end

local function same(got, expected)
  local keys = {}
  for key, value in pairs(expected) do
    keys[key] = true
    T.equal(got[key], value, key)
  end
  for key in pairs(got) do
    T.truthy(keys[key], key)
  end
end

-- The health of a manager without workers.
local function is(health, expected)
  expected.workers, expected.stuck = 0, 0
  same(health, expected)
end

-- ---- health and stats ----

T.test("health: healthy while it takes calls, idle while nothing is in flight", function()
  local manager <close> = manager_with_actions()
  is(manager:health(), { healthy = true, idle = true, in_flight = 0 })
  T.truthy(manager:run("echo", "x", hears(0, "x")))
  T.truthy(manager:subscribe("streams", "", function() end))
  is(manager:health(), { healthy = true, idle = false, in_flight = 2 })
  rsca.step()
  rsca.step()
  is(manager:health(), { healthy = true, idle = false, in_flight = 1 })
  T.equal(manager:shutdown(true), true)
  is(manager:health(), { healthy = false, idle = true, in_flight = 0 })
end)

T.test("health in an action and in a callback: the action counts, the call whose end is told does not", function()
  local manager <close> = manager_with_actions()
  local inside
  manager:register("asks", function() inside = manager:health() end)
  local told = T.expect(1)
  T.truthy(manager:run("asks", "", function()
    told()
    is(manager:health(), { healthy = true, idle = true, in_flight = 0 })
  end))
  T.equal(rsca.loop(20), true)
  is(inside, { healthy = true, idle = false, in_flight = 1 })
end)

T.test("health while a drain goes on: it takes no calls, and something is in flight", function()
  local manager <close> = manager_with_actions()
  T.truthy(manager:run("waits", "late", hears(0, "late")))
  rsca.step()
  rsca.spawn(function()
    T.equal(manager:shutdown(), false)
    is(manager:health(), { healthy = false, idle = false, in_flight = 1 })
    gate = true
  end)
  T.equal(rsca.loop(20), true)
  is(manager:health(), { healthy = false, idle = true, in_flight = 0 })
end)

T.test("each manager has a health of its own", function()
  local one <close> = manager_with_actions()
  local two <close> = manager_with_actions()
  T.truthy(one:run("echo"))
  T.equal(two:shutdown(true), true)
  is(one:health(), { healthy = true, idle = false, in_flight = 1 })
  is(two:health(), { healthy = false, idle = true, in_flight = 0 })
  rsca.loop()
end)

T.test("stats count what was accepted and what has ended, runs and registrations alike", function()
  local manager <close> = manager_with_actions()
  same(manager:stats(),
    { accepted = 0, ended = 0, in_flight = 0, failed_callbacks = 0, actions = 3, queued_bytes = 0 })
  T.truthy(manager:run("echo", "12345"))
  T.truthy(manager:subscribe("streams", "123", function() end))
  T.equal(manager:run("nobody"), nil)
  same(manager:stats(),
    { accepted = 2, ended = 0, in_flight = 2, failed_callbacks = 0, actions = 3, queued_bytes = 8 })
  rsca.step()
  T.truthy(manager:unregister("waits"))
  same(manager:stats(),
    { accepted = 2, ended = 1, in_flight = 1, failed_callbacks = 0, actions = 2, queued_bytes = 3 })
  T.truthy(manager:run("echo", "", function() return status.E_FAIL end))
  rsca.step()
  rsca.step()
  T.equal(manager:stats().failed_callbacks, 1)
  T.equal(manager:shutdown(true), true)
  T.equal(manager:stats().accepted, manager:stats().ended)
end)

T.test("what they answer is a table of one's own: changing it changes nothing", function()
  local manager <close> = manager_with_actions()
  local health, stats = manager:health(), manager:stats()
  health.healthy, stats.accepted = false, 42
  T.equal(manager:health().healthy, true)
  T.equal(manager:stats().accepted, 0)
end)

-- ---- shutdown ----

T.test("shutdown lets calls end that are queued or under way, and ends registrations", function()
  local manager <close> = manager_with_actions()
  local log, handler = records()
  manager:register("naps", function(args, ctx)
    ctx:sleep(0.01)
    return args
  end)
  T.truthy(manager:run("naps", "begun", hears(0, "begun")))
  T.truthy(manager:subscribe("streams", "", handler))
  rsca.step()
  T.truthy(manager:run("echo", "queued", hears(0, "queued")))
  T.equal(manager:shutdown(), true)
  is(manager:health(), { healthy = false, idle = true, in_flight = 0 })
  rsca.loop()
  T.equal(#log, 2)
  T.equal(log[1], "first")
  T.equal(log[2], status.ERROR_CANCELLED)
end)

T.test("shutdown(true) ends everything at once: each is told once, and <close> variables run", function()
  local manager <close> = manager_with_actions()
  local closed = T.expect(1)
  manager:register("holds", function(_, ctx)
    local _ <close> = setmetatable({}, { __close = closed })
    ctx:sleep(1e6)
  end)
  T.truthy(manager:run("holds", "", hears(status.ERROR_CANCELLED)))
  local log, handler = records()
  T.truthy(manager:subscribe("streams", "", handler))
  local request = T.truthy(manager:run("waits"))
  rsca.step()
  T.truthy(manager:run("echo", "", hears(status.ERROR_CANCELLED)))
  T.equal(manager:shutdown(true), true)
  rsca.loop()
  local _, err = request:await()
  T.equal(err.status, status.ERROR_CANCELLED)
  T.truthy(#err.message > 0)
  T.equal(log[#log], status.ERROR_CANCELLED)
end)

T.test("after a shutdown nothing is accepted, in any way, and actions can still be listed", function()
  local manager <close> = manager_with_actions()
  T.equal(manager:shutdown(), true)
  local never = T.expect(0)
  local refusals = {
    table.pack(manager:run("echo", "", never)), table.pack(manager:run("echo")), table.pack(manager:call("echo")),
    table.pack(manager:subscribe("echo", "", never)),
    table.pack(manager:register("more", function() end)),
  }
  for _, refusal in ipairs(refusals) do
    T.equal(refusal[1], nil)
    T.equal(refusal[2].status, status.ERROR_SHUTDOWN_IN_PROGRESS)
  end
  T.equal(T.raises("", manager.responses, manager, "echo").status, status.ERROR_SHUTDOWN_IN_PROGRESS)
  T.equal(manager:RunCustomAction("echo", "", never), status.ERROR_SHUTDOWN_IN_PROGRESS)
  T.equal(manager:RegisterCustomActionCallback("echo", "", never), status.ERROR_SHUTDOWN_IN_PROGRESS)
  T.equal(manager:UnregisterCustomActionCallback("echo"), status.ERROR_NOT_FOUND)
  T.equal(#manager:list(), 3)
  rsca.loop()
end)

T.test("a shutdown may be said again, with patience or without", function()
  local manager <close> = manager_with_actions()
  T.equal(manager:shutdown(), true)
  T.equal(manager:shutdown(), true)
  T.equal(manager:shutdown(true), true)
  T.equal(manager:shutdown(false), true)
end)

T.test("inside an action it answers false at once, and the rest follows", function()
  for _, immediate in ipairs { false, true } do
    local manager <close> = manager_with_actions()
    local log, handler = records()
    manager:register("ends", function()
      T.equal(manager:shutdown(immediate), false)
      T.equal(manager:health().healthy, false)
      T.equal(select(2, manager:run("echo")).status, status.ERROR_SHUTDOWN_IN_PROGRESS)
      return "ended"
    end)
    T.truthy(manager:subscribe("streams", "", handler))
    T.truthy(manager:run("ends", "", hears(0, "ended")))
    T.truthy(manager:run("echo", "x", hears(immediate and status.ERROR_CANCELLED or 0)))
    T.equal(rsca.loop(20), true)
    T.equal(log[#log], status.ERROR_CANCELLED)
    is(manager:health(), { healthy = false, idle = true, in_flight = 0 })
  end
end)

T.test("inside a callback, too", function()
  local manager <close> = manager_with_actions()
  local told = T.expect(1)
  T.truthy(manager:run("echo", "", function()
    told()
    T.equal(manager:shutdown(true), false)
  end))
  T.truthy(manager:run("waits", "", hears(status.ERROR_CANCELLED)))
  T.equal(rsca.loop(20), true)
end)

T.test("an impatient shutdown cuts a drain that goes on", function()
  local manager <close> = manager_with_actions()
  T.truthy(manager:run("waits", "", hears(status.ERROR_CANCELLED)))
  rsca.step()
  rsca.spawn(function() T.equal(manager:shutdown(), false) end)
  rsca.step()
  is(manager:health(), { healthy = false, idle = false, in_flight = 1 })
  T.equal(manager:shutdown(true), true)
  is(manager:health(), { healthy = false, idle = true, in_flight = 0 })
  rsca.loop()
end)

T.test("of two managers of one state, the other goes on", function()
  local one <close> = manager_with_actions()
  local two <close> = manager_with_actions()
  T.truthy(one:run("waits", "", hears(status.ERROR_CANCELLED)))
  T.truthy(two:run("waits", "still", hears(0, "still")))
  rsca.step()
  T.equal(one:shutdown(true), true)
  T.equal(two:health().in_flight, 1)
  gate = true
  T.equal(rsca.loop(20), true)
end)

T.test("misuse raises", function()
  local manager = manager_with_actions()
  for _, bad in ipairs { 1, "true", {} } do
    T.raises("boolean expected", manager.shutdown, manager, bad)
  end
  T.equal(manager:health().healthy, true)
  T.raises("rsca.manager", manager.shutdown)
  T.raises("rsca.manager", manager.health, rsca)
  T.raises("rsca.manager", manager.stats, {})
  manager:close()
  for _, name in ipairs { "shutdown", "health", "stats" } do
    T.raises("closed", manager[name], manager)
  end
end)

T.finish()
