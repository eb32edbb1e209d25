-- A pool as a script sees it: who takes work, what its states share and what they don't, what they say, and its end.

local T = require "lua.support"
local pools = require "lua.pools"
local rsca = require "rsca"

local status = rsca.status
local stress = os.getenv("RSCA_GC_STRESS") == "1" or os.getenv("RSCA_IS_SLOW") == "1"

local function failed_with(expected, response, err)
  T.equal(response, nil)
  T.equal(err.status, expected, tostring(err))
  return err
end

-- How many threads this process has: one that was joined may count for a moment.
local function threads()
  local file <close> = assert(io.open("/proc/self/status"))
  return math.tointeger(file:read("a"):match("Threads:%s*(%d+)"))
end

-- Calls `body` with the two hooks set, and takes them away again. Each is a list of what was heard.
local function listening(body)
  local logged, errors = {}, {}
  rsca.on_log = function(level, message) table.insert(logged, level .. ": " .. message) end
  rsca.on_error = function(err) table.insert(errors, err) end
  local good, problem = pcall(body, logged, errors)
  rsca.on_log, rsca.on_error = nil, nil
  assert(good, problem)
end

-- ---- Loading the script ----

T.test("a script that can't be had: nil, err with file and line", function()
  local err = failed_with(status.ERROR_NOT_FOUND, rsca.manager { script = "/no/such/script.lua" })
  T.match(err.message, "/no/such/script%.lua")
  err = failed_with(status.E_FAIL, rsca.manager { chunk = "\nx = = 1" })
  T.match(err.message, "^script:2: unexpected symbol")
  err = failed_with(status.E_FAIL, rsca.manager { chunk = "local function f() error('no luck') end\nf()" })
  T.equal(err.message, "script:1: no luck")
  T.match(err.traceback, "^stack traceback:\n.*script:2: in main chunk")
end)

T.test("options that make no sense raise and are named", function()
  T.raises("'script' and 'chunk'", rsca.manager, { script = "x", chunk = "y" })
  T.raises("'workers' needs a 'script'", rsca.manager, { workers = 1 })
  T.raises("'memory_limit'", rsca.manager, { memory_limit = 1 << 20 })
  for _, workers in ipairs { 0, -1, 1.5, "1", 1e9 } do
    T.raises("'workers'", rsca.manager, { chunk = "", workers = workers })
  end
end)

T.test("the script is read once, when the pool is made", function()
  local path = os.tmpname()
  local remove <close> = setmetatable({}, { __close = function() os.remove(path) end })
  local function write(text)
    local file <close> = assert(io.open(path, "w"))
    assert(file:write(text))
  end
  write("#!/usr/bin/env rsca\nlocal rsca = require 'rsca'\nrsca.register('where', function() error('here') end)")
  local manager <close> = assert(rsca.manager { script = path, workers = 2 })
  write("error('read again')")
  for _ = 1, 20 do
    local err = failed_with(status.E_FAIL, manager:call("where"))
    T.match(err.message, "^" .. path:gsub("%p", "%%%0") .. ":3: here$")
  end
end)

T.test("it fixes the names: an unknown one is refused at once, and none is added later", function()
  local manager <close> = pools.open [[
    rsca.register("late", function()
      return tostring(select(2, pcall(rsca.register, "new", function() end)))
    end)
  ]]
  T.equal(manager:RunCustomAction("unknown", "", T.expect(0)), status.ERROR_NOT_FOUND)
  failed_with(status.ERROR_NOT_FOUND, manager:subscribe("unknown", "", T.expect(0)))
  T.match(manager:call("late"), "while its script is loaded")
  failed_with(status.ERROR_NOT_FOUND, manager:call("new"))
  local names = {}
  for i, action in ipairs(manager:list()) do
    names[i] = action.name
    T.match(action.place, "^script:%d+$")
  end
  T.equal(table.concat(names, " "), "late number works")
end)

T.test("a worker whose script says something else than the first can't be made; the others go on", function()
  listening(function(_, errors)
    local manager <close> = pools.open([[
      if number > 1 then
        rsca.register("other", function() end)
      end
    ]], { workers = 2 })
    T.equal(manager:call("works", "x"), "x")
    pools.wait_until(function() return errors[1] end)
    T.match(errors[1].message, "^script:%d+: the script registers 'other' now")
    T.equal(manager:call("number"), "1")
  end)
end)

T.test("actions of the state that made it run here, beside those of the workers", function()
  local manager <close> = pools.open ""
  assert(manager:register("mine", function(args)
    return args .. " " .. tostring(pools ~= nil)
  end))
  T.equal(manager:call("mine", "here"), "here true")
  T.equal(manager:call("number"), "1")
end)

-- ---- Who takes work ----

T.test("threads start at the first call, and are gone after the end", function()
  local before = threads()
  local manager = pools.open("", { workers = 3 })
  T.truthy(threads() <= before)
  T.equal(manager:health().healthy, true)
  T.equal(manager:health().workers, 3)
  T.equal(manager:call("works", "x"), "x")
  T.truthy(threads() > before)
  manager:close()
  pools.wait_until(function() return threads() <= before end, "the end of the threads")
end)

T.test("a call goes to whoever is free: one slow action holds nobody up", function()
  local fifo <close> = pools.fifo()
  local manager <close> = pools.open([[
    rsca.register("blocks", function(path)
      tell "blocks"
      block(path)
      return number
    end)
  ]], { workers = 2 })
  local slow = assert(manager:run("blocks", fifo.path))
  pools.wait_for(manager, "blocks")
  local other = manager:call("number")
  for i = 1, 200 do
    T.equal(manager:call("works", i), tostring(i))
    T.equal(manager:call("number"), other)
  end
  T.equal(select(2, slow:await(0)).status, status.WAIT_TIMEOUT)
  fifo.open()
  T.truthy(slow:await() ~= other)
end)

T.test("all workers take work, and each accepted call ends exactly once", function()
  local manager <close> = pools.open([[
    rsca.register("meets", function(args, ctx)
      tell "met" -- all of them are here at once, or this never ends
      while shared:get("met") < 4 do
      end
      return number
    end)
  ]], { workers = 4 })
  local seen, told = {}, T.expect(4)
  for _ = 1, 4 do
    assert(manager:run("meets", "", function(code, response)
      told()
      T.equal(code, status.S_OK)
      T.equal(seen[response], nil)
      seen[response] = true
    end))
  end
  rsca.loop()
end)

T.test("thousands of sleeping actions and streams per worker cost no thread, and hold nobody up", function()
  local COUNT = stress and 200 or 3000
  local manager <close> = pools.open([[
    rsca.register("sleeps", function(args, ctx)
      tell "asleep"
      ctx:sleep(1e6)
    end)
    rsca.register("waits", function(args, ctx)
      tell "asleep"
      await(ctx, "wake " .. args)
      return args
    end)
    rsca.register("streams", function(args, ctx)
      ctx:report(args)
      tell "asleep"
      ctx:sleep(1e6)
    end)
  ]], { workers = 2, queue_limit = 3 * COUNT, time_limit = math.huge })
  T.equal(manager:call("works", "x"), "x")
  local before = threads()
  local requests, reported, ended = {}, T.expect(COUNT), T.expect(COUNT)
  for i = 1, COUNT do
    requests[i] = assert(manager:run("sleeps", i))
    assert(manager:subscribe("streams", i, function(code, _, final)
      if final then
        ended()
        T.equal(code, status.ERROR_CANCELLED)
      else
        reported()
      end
    end))
  end
  local last = assert(manager:run("waits", "last"))
  pools.wait_for(manager, "asleep", 2 * COUNT + 1)
  T.truthy(threads() <= before)
  T.equal(manager:health().in_flight, 2 * COUNT + 1)
  T.equal(manager:call("works", "on"), "on")
  pools.go(manager, "wake last")
  T.equal(last:await(), "last")
  for i = 1, COUNT, 2 do
    requests[i]:cancel()
  end
  for i = 1, COUNT, 2 do
    failed_with(status.ERROR_CANCELLED, requests[i]:await())
  end
  local done, cut = manager:shutdown(true)
  T.equal(done, true)
  T.equal(#cut, COUNT + COUNT // 2)
  T.equal(manager:health().stuck, 0, "who has much to end is not stuck")
  rsca.loop()
  for i = 2, COUNT, 2 do
    failed_with(status.ERROR_CANCELLED, requests[i]:await())
  end
end)

T.test("a call that sleeps stays in its state", function()
  local manager <close> = pools.open([[
    rsca.register("stays", function(_, ctx)
      local before = number
      for _ = 1, 20 do
        ctx:sleep(0)
      end
      assert(number == before)
    end)
  ]], { workers = 3 })
  local requests = {}
  for i = 1, 50 do
    requests[i] = assert(manager:run("stays"))
  end
  for _, request in ipairs(requests) do
    T.equal(request:await(), "")
  end
end)

T.test("calling one's own manager with one worker is safe: the caller gives way", function()
  local manager <close> = pools.open [[
    rsca.register("depth", function(args)
      local n = math.tointeger(args)
      return n == 0 and "bottom" or rsca.call("depth", n - 1)
    end)
    rsca.register("collects", function()
      local all = {}
      for response in rsca.responses("reports", "3") do
        table.insert(all, response)
      end
      return table.concat(all, " ")
    end)
    rsca.register("reports", function(args, ctx)
      for i = 1, tonumber(args) do
        ctx:report(i)
      end
    end)
  ]]
  T.equal(manager:call("depth", 50), "bottom")
  T.equal(manager:call("collects"), "1 2 3")
end)

-- ---- What the states share, and what they don't ----

T.test("each state has its own globals; rsca.shared is one for all, and for who made the pool", function()
  local manager <close> = pools.open([[
    global = 0
    rsca.register("counts", function()
      global = global + 1
      return shared:add("all", 1) .. " " .. global .. " " .. number
    end)
  ]], { workers = 4 })
  local CALLS = 400
  local requests, own, sum = {}, {}, 0
  for i = 1, CALLS do
    requests[i] = assert(manager:run("counts"))
  end
  for _, request in ipairs(requests) do
    local _, mine, number = request:await():match("(%d+) (%d+) (%d+)")
    own[number] = math.max(own[number] or 0, tonumber(mine))
  end
  for _, most in pairs(own) do
    sum = sum + most
  end
  T.equal(sum, CALLS)
  T.equal(manager:shared():get("all"), CALLS)
  T.equal(rsca.shared:get("all"), nil)
end)

-- ---- What workers say ----

T.test("print and rsca.log in a worker go to on_log of the state that made the pool", function()
  listening(function(logged)
    local manager <close> = pools.open [[
      print("loading", number, nil, setmetatable({}, { __tostring = function() return "itself" end }))
      rsca.register("logs", function(args)
        rsca.log("warning", args .. "\0")
        rsca.log("debug", "")
        print()
      end)
    ]]
    T.equal(manager:call("logs", "careful"), "")
    pools.wait_until(function() return #logged == 4 end)
    T.equal(table.concat(logged, "|"), "info: loading\t1\tnil\titself|warning: careful\0|debug: |info: ")
  end)
end)

T.test("without on_log what workers print goes nowhere", function()
  local output, how = pools.child [[
    local rsca = require "rsca"
    local chunk = "require('rsca').register('p', function() print('x') end)"
    local manager <close> = rsca.manager { workers = 1, chunk = chunk }
    assert(manager:call("p"))
    rsca.loop(0.01)
    io.write("done")
  ]]
  T.equal(output, "done")
  T.equal(how, "exit 0")
end)

T.test("an error that nobody hears of goes to on_error of the state that made the pool, once", function()
  listening(function(_, errors)
    local manager <close> = pools.open [[
      rsca.register("spawns", function() rsca.spawn(function() error("spawned") end) end)
      rsca.register("hands on", function() rsca.run("works", "", function() error("handler") end) end)
      rsca.register("raises", function() error("its caller hears it") end)
    ]]
    for _, name in ipairs { "spawns", "hands on" } do
      T.equal(manager:call(name), "")
    end
    failed_with(status.E_FAIL, manager:call("raises"))
    pools.wait_until(function() return #errors >= 2 end)
    manager:shutdown()
    rsca.step()
    T.equal(#errors, 2)
    for i, what in ipairs { "spawned", "handler" } do
      T.match(errors[i].message, "^script:%d+: " .. what .. "$")
      T.match(errors[i].traceback, "^stack traceback:\n.*script:%d+: in function")
    end
  end)
end)

-- ---- Health ----

T.test("health: healthy while it takes calls, idle while nothing is in flight", function()
  local manager <close> = pools.open([[
    rsca.register("waits", function(_, ctx) await(ctx, "go") end)
  ]], { workers = 2 })
  local function is(expected)
    local health = manager:health()
    for key, value in pairs(expected) do
      T.equal(health[key], value, key)
    end
  end
  is { healthy = true, idle = true, in_flight = 0, workers = 2, stuck = 0 }
  local request = assert(manager:run("waits"))
  is { healthy = true, idle = false, in_flight = 1, workers = 2, stuck = 0 }
  pools.go(manager, "go")
  T.equal(request:await(), "")
  is { healthy = true, idle = true, in_flight = 0, workers = 2, stuck = 0 }
  manager:shutdown()
  is { healthy = false, idle = true, in_flight = 0, workers = 0, stuck = 0 }
end)

-- ---- The end ----

local ending = [[
rsca.register("waits", function(_, ctx)
  local _ <close> = closing(function() tell "closed" end)
  tell "waits"
  await(ctx, "go")
  return "waited"
end)
rsca.register("shuts down", function(args)
  local done = rsca.own_manager():shutdown(args == "immediate")
  return tostring(done)
end)
]]

T.test("shutdown refuses new calls and lets those in flight end", function()
  local manager <close> = pools.open(ending)
  local waiting = assert(manager:run("waits"))
  pools.wait_for(manager, "waits")
  local queued = assert(manager:run("works", "queued"))
  rsca.spawn(function()
    rsca.sleep(0.01)
    failed_with(status.ERROR_SHUTDOWN_IN_PROGRESS, manager:run("works"))
    pools.go(manager, "go")
  end)
  local done, cut = manager:shutdown()
  T.equal(done, true)
  T.equal(#cut, 0)
  T.equal(waiting:await(), "waited")
  T.equal(queued:await(), "queued")
  failed_with(status.ERROR_SHUTDOWN_IN_PROGRESS, manager:call("works"))
end)

T.test("what outlasts the drain limit is cut", function()
  local manager <close> = pools.open(ending, { drain = 0.05 })
  local waiting = assert(manager:run("waits"))
  pools.wait_for(manager, "waits")
  local done, cut = manager:shutdown()
  T.equal(done, true)
  T.equal(#cut, 1)
  T.equal(cut[1].id, waiting.id)
  failed_with(status.ERROR_CANCELLED, waiting:await())
  T.equal(manager:shared():get("closed"), 1)
end)

T.test("shutdown from an action returns false at once, and the rest follows", function()
  for _, args in ipairs { "immediate", "patient" } do
    local manager <close> = pools.open(ending, { drain = 0.05, workers = 2 })
    local waiting = assert(manager:run("waits"))
    pools.wait_for(manager, "waits")
    local response, err = manager:call("shuts down", args)
    T.truthy(response == "false" or err.status == status.ERROR_CANCELLED)
    failed_with(status.ERROR_CANCELLED, waiting:await())
    failed_with(status.ERROR_SHUTDOWN_IN_PROGRESS, manager:call("works"))
    T.equal(manager:shutdown(true), true)
    T.equal(manager:shared():get("closed"), 1)
  end
end)

T.test("shutdown and close from a callback", function()
  for _, method in ipairs { "shutdown", "close" } do
    local manager = pools.open(ending)
    local waiting = assert(manager:run("waits"))
    pools.wait_for(manager, "waits")
    local told = T.expect(1)
    assert(manager:run("works", "x", function(_, response)
      told()
      T.equal(response, "x")
      local done = manager[method](manager, method == "shutdown" or nil)
      if method == "shutdown" then
        T.equal(done, false)
      end
    end))
    rsca.loop()
    failed_with(status.ERROR_CANCELLED, waiting:await())
    manager:close()
  end
end)

T.test("a pool that is garbage ends what is in flight, threads and all", function()
  local before = threads()
  local heard = T.expect(1)
  local function leave_it()
    local manager = pools.open(ending)
    assert(manager:subscribe("waits", "", function() end))
    pools.wait_for(manager, "waits")
    assert(manager:run("works", "x", function(code)
      heard()
      T.equal(code, status.S_OK)
    end))
  end
  leave_it()
  rsca.loop(0.01)
  pools.wait_until(function()
    T.collect()
    return threads() <= before
  end, "the end of the threads")
end)

-- Each ends the program in its own way, with a call that computes, one that waits and one that is queued.
for _, case in ipairs {
  { "os.exit that closes the state", "os.exit(7, true)", "", "exit 7" },
  { "os.exit that does not", "os.exit(7)", "", "exit 7" },
  { "the end of the program", "", "", "exit 0" },
  { "an error of the program", "error('over', 0)", "^[^\n]*lua[%d%.]*: over\n", "exit 1" },
  { "a handler that is never called", "pool:run('works', '', function() error('called') end)", "", "exit 0" },
  { "shutdown in __gc", [[
    setmetatable({}, { __gc = function() pool:shutdown(true) io.write 'gc' end })
  ]], "gc", "exit 0" },
  { "close in __gc, and a collection", [[
    setmetatable({}, { __gc = function() pool:close() io.write 'gc' end })
    collectgarbage()
  ]], "gc", "exit 0" },
  { "shutdown in __gc, when the pool has gone", [[
    getmetatable(older).__gc = function() io.write(tostring(pcall(pool.shutdown, pool, true)), " gc") end
  ]], "false gc", "exit 0" },
} do
  local name, last, expected, ends = table.unpack(case)
  T.test("work in flight at the end: " .. name, function()
    local output, how = pools.child([[
      older = setmetatable({}, { __gc = function() end })
      local rsca = require "rsca"
      pool = assert(rsca.manager { workers = 2, time_limit = math.huge, chunk = [=[
        local rsca = require "rsca"
        rsca.register("computes", function() rsca.shared:add("there", 1) while true do end end)
        rsca.register("waits", function(_, ctx) rsca.shared:add("there", 1) ctx:sleep(1e6) end)
        rsca.register("works", function() end)
      ]=] })
      for _, name in ipairs { "waits", "computes", "computes", "works" } do
        assert(pool:run(name))
        pool:subscribe(name, "", function() end)
      end
      while (pool:shared():get("there") or 0) < 2 do rsca.wait(0.001) end
    ]] .. last)
    T.equal(how, ends, output)
    if expected:find("^%^") then
      T.match(output, expected)
    else
      T.equal(output, expected)
    end
  end)
end

T.finish()
