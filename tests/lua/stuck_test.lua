-- What can't be stopped: what is inside a C function, and finalizers. Such a call is answered on time all the same, its
-- worker is set aside, and another takes its place; there are bounds to that, and health says so.

local T = require "lua.support"
local pools = require "lua.pools"
local rsca = require "rsca"

local status = rsca.status

-- Far more than the time limit, and an end all the same: nothing of it is left when the test is over.
local stays = {
  ["string.find that backtracks"] = [[ return ("a"):rep(90):find(("a-"):rep(4) .. "b") ]],
  ["string.gsub that backtracks"] = [[ return (("a"):rep(90):gsub(("a-"):rep(4) .. "b", "")) ]],
  ["string.rep of a giant"] = [[ return (""):rep(1 << 28) ]],
  ["a C function that blocks"] = [[ block(args) ]],
  ["a child that is waited for"] = [[ os.execute("read line <'" .. args .. "'") ]],
  ["a pipe that is read"] = [[ io.popen("cat '" .. args .. "'"):read("a") ]],
  ["a finalizer"] = [[
    setmetatable({}, { __gc = function() while not shared:get("open") do end end })
    collectgarbage()
  ]],
  ["a finalizer, in pcall, in a coroutine"] = [[
    coroutine.wrap(function()
      setmetatable({}, { __gc = function() while not shared:get("open") do end end })
      pcall(collectgarbage)
    end)()
  ]],
}

local names, parts = {}, {}
for name, body in pairs(stays) do
  table.insert(names, name)
  table.insert(parts, ("rsca.register(%q, function(args, ctx) tell 'begins' %s end)\n"):format(name, body))
end
table.sort(names)
table.insert(parts, [[
rsca.register("sleeps", function(_, ctx)
  tell "sleeps"
  ctx:sleep(1e6)
end)
]])
local script = table.concat(parts)

local BLOCKS = "a C function that blocks"
local NEVER = { time_limit = math.huge }

local function timed_out(response, err)
  T.equal(response, nil)
  T.equal(err.status, status.ERROR_TIMEOUT, tostring(err))
  T.equal(err.message, "the time limit is over")
end

-- Until nobody is stuck any more, and as many take calls as there were.
local function wait_until_well(manager, workers)
  pools.wait_until(function()
    local health = manager:health()
    return health.stuck == 0 and health.workers == workers
  end, "the end of who was stuck")
end

-- Runs one of these until it has got its worker stuck: its time may be over before, on a machine that is busy.
local function get_stuck(manager, name, path)
  local number = manager:call("number", "", NEVER)
  repeat
    timed_out(manager:call(name, path, { time_limit = 0.05 }))
  until manager:call("number", "", NEVER) ~= number
end

for _, name in ipairs(names) do
  T.test(name .. ": answered on time, its worker set aside and replaced", function()
    local fifo <close> = pools.fifo()
    local manager <close> = pools.open(script)
    get_stuck(manager, name, fifo.path)
    T.equal(manager:call("number", "", NEVER), "2")
    local health = manager:health()
    T.equal(health.workers, 1)
    T.equal(health.healthy, true)
    T.equal(health.idle, true)
    if not name:find("^string") then -- these may be done by now
      T.equal(health.stuck, 1)
    end
    -- Then it comes back: what it has to say is dropped, and nobody is stuck.
    pools.go(manager, "open")
    if name:find("^a [^f]") then
      fifo.open()
    end
    wait_until_well(manager, 1)
    local stats = manager:stats()
    T.equal(stats.accepted, stats.ended)
  end)
end

T.test("its callback is told once", function()
  local fifo <close> = pools.fifo()
  local manager <close> = pools.open(script)
  local told, asked = 0, 0
  repeat
    asked = asked + 1
    assert(manager:run(BLOCKS, fifo.path, function(code)
      told = told + 1
      T.equal(code, status.ERROR_TIMEOUT)
    end, { time_limit = 0.05 }))
    rsca.loop()
    T.equal(told, asked)
  until manager:call("number", "", NEVER) ~= "1"
  fifo.open()
  wait_until_well(manager, 1)
  rsca.loop()
  T.equal(told, asked)
end)

T.test("what waits in the state of a worker that is set aside ends as disconnected", function()
  local fifo <close> = pools.fifo()
  local manager <close> = pools.open(script)
  local sleeper = assert(manager:run("sleeps", "", nil, NEVER))
  pools.wait_for(manager, "sleeps")
  get_stuck(manager, BLOCKS, fifo.path)
  local response, err = sleeper:await()
  T.equal(response, nil)
  T.equal(err.status, status.RPC_E_DISCONNECTED)
  T.match(err.message, "worker")
  fifo.open()
  wait_until_well(manager, 1)
end)

T.test("there are bounds to it: then calls are answered on time, and taken again when one comes back", function()
  local MOST = 5
  local manager <close> = pools.open(script)
  local function block_one(most)
    if most == 0 then
      T.equal(manager:health().stuck, MOST)
      T.equal(manager:health().workers, 0)
      timed_out(manager:call("works", "", { time_limit = 0.05 }))
      return assert(manager:run("works", "queued", nil, NEVER))
    end
    local fifo <close> = pools.fifo()
    if most > 1 then
      get_stuck(manager, BLOCKS, fifo.path)
    else -- there is no other to ask
      pools.wait_until(function()
        timed_out(manager:call(BLOCKS, fifo.path, { time_limit = 0.05 }))
        return manager:health().stuck == MOST
      end)
    end
    local queued = block_one(most - 1)
    fifo.open()
    T.equal(queued:await(), "queued")
    return queued
  end
  block_one(MOST)
  wait_until_well(manager, 1)
end)

T.test("a registration whose action is inside a C function hears of its time limit, and no late response", function()
  local fifo <close> = pools.fifo()
  local manager <close> = pools.open(script .. [[
    rsca.register("reports late", function(args, ctx)
      ctx:report("before")
      block(args)
      ctx:report("after")
      return "late"
    end)
  ]], { time_limit = 0.05 })
  local heard
  repeat
    heard = {}
    local ended
    assert(manager:subscribe("reports late", fifo.path, function(code, response, final)
      assert(not ended, "something after the final")
      ended = final
      table.insert(heard, final and code or response)
    end))
    pools.wait_until(function() return ended end)
    T.equal(heard[#heard], status.ERROR_TIMEOUT)
  until manager:call("number", "", NEVER) ~= "1"
  fifo.open()
  wait_until_well(manager, 1)
  rsca.loop()
  T.equal(#heard, 2)
  T.equal(heard[1], "before")
end)

T.test("cancel with a grace, also of what can't be stopped", function()
  local fifo <close> = pools.fifo()
  local manager <close> = pools.open(script, { time_limit = math.huge })
  for i, grace in ipairs { 0, 0.05 } do
    repeat
      manager:shared():set("begins", nil)
      local request = assert(manager:run(BLOCKS, fifo.path))
      pools.wait_for(manager, "begins")
      T.equal(request:cancel(grace), true)
      local response, err = request:await()
      T.equal(response, nil)
      T.equal(err.status, status.ERROR_CANCELLED)
    until manager:call("number") == tostring(i + 1)
    fifo.open()
    wait_until_well(manager, 1)
  end
end)

T.test("shutdown leaves a worker that does not come back to itself, with what it needs", function()
  local manager = pools.open([[
    rsca.register("stays", function()
      setmetatable({}, { __gc = function() tell "inside" while not shared:get("open") do end end })
      collectgarbage()
    end)
  ]], { time_limit = math.huge })
  local request = assert(manager:run("stays"))
  pools.wait_for(manager, "inside")
  T.equal(manager:shutdown(true), true)
  T.equal(select(2, request:await()).status, status.ERROR_CANCELLED)
  T.equal(manager:health().stuck, 1)
  pools.go(manager, "open") -- it goes on, and ends, when all the others have gone
  manager:close()
end)

T.test("shutdown does not wait for a finalizer without an end", function()
  local manager = pools.open([[
    keep = setmetatable({}, { __gc = function() tell "closing" while not shared:get("open") do end end })
  ]])
  T.equal(manager:call("works", "x"), "x")
  T.equal(manager:shutdown(true), true)
  T.equal(manager:shared():get("closing"), 1)
  T.equal(manager:health().stuck, 1)
  pools.go(manager, "open")
  manager:close()
end)

T.finish()
