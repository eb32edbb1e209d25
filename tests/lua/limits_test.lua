-- Limits: of time for a manager, an action, a call and a registration; of memory; of the queue; of a response. In a
-- pool first, and what holds here, on the thread of a host, too.

local T = require "lua.support"
local listener = require "lua.listener"
local pools = require "lua.pools"
local rsca = require "rsca"

local status = rsca.status

local NEVER = 1e6 -- seconds

local chunk = [[
rsca.register("spins", function() while true do end end)
rsca.register("sleeps", function(_, ctx) ctx:sleep(1e6) end)
rsca.register("sleeps briefly", { time_limit = 0.05 }, function(_, ctx) ctx:sleep(1e6) end)
rsca.register("sleeps as long as it likes", { time_limit = math.huge }, function(_, ctx)
  tell "sleeps"
  await(ctx, "wake")
  return "woken"
end)
rsca.register("blocks", function(path)
  tell "blocks"
  block(path)
end)
]]

local function timed_out(response, err)
  T.equal(response, nil)
  T.equal(err.status, status.ERROR_TIMEOUT, tostring(err))
  T.equal(err.message, "the time limit is over")
  return err
end

-- ---- Time ----

-- A manager without workers that has the same actions.
local function open_here(text, options)
  local manager = assert(rsca.manager(options))
  local mine = setmetatable({
    register = function(...) return manager:register(...) end,
    shared = manager:shared(),
  }, { __index = rsca })
  local env = setmetatable({ require = function() return mine end }, { __index = _G })
  assert(load(pools.prelude .. text, "=script", "t", env))()
  return manager
end

local places = { { "in a pool", pools.open }, { "here", open_here } }

for _, place in ipairs(places) do
  local where, open = table.unpack(place)
  local function test(name, body)
    T.test(where .. ": " .. name, body)
  end

  test("time limit of a manager: from acceptance to end, whether the action computes or waits", function()
    local manager <close> = open(chunk, { time_limit = 0.05 })
    for _, name in ipairs { "spins", "sleeps" } do
      local err = timed_out(manager:call(name))
      T.equal(err.action, name)
      T.equal(manager:call("works", "on", { time_limit = NEVER }), "on")
    end
    T.equal(manager:stats().in_flight, 0)
  end)

  test("time limit of an action, in place of the manager's", function()
    local manager <close> = open(chunk, { time_limit = NEVER })
    timed_out(manager:call("sleeps briefly"))
    local patient <close> = open(chunk, { time_limit = 0.05 })
    local request = assert(patient:run("sleeps as long as it likes"))
    timed_out(patient:call("sleeps"))
    pools.go(patient, "wake")
    T.equal(request:await(), "woken")
  end)

  test("time limit of a call, in place of the action's and the manager's", function()
    local manager <close> = open(chunk, { time_limit = NEVER })
    timed_out(manager:call("sleeps", "", { time_limit = 0.05 }))
    timed_out(manager:call("sleeps as long as it likes", "", { time_limit = 0.05 }))
    timed_out(assert(manager:run("sleeps", "", nil, { time_limit = 0.05 })):await())
    local heard = listener()
    assert(manager:run("sleeps", "", heard.handler, { time_limit = 0.05 }))
    T.equal(pools.wait_until(heard.has_ended), status.ERROR_TIMEOUT)
    T.match(heard.why, "^the time limit is over")
    local longer = assert(manager:run("sleeps briefly", "", nil, { time_limit = math.huge }))
    timed_out(manager:call("sleeps briefly"))
    T.equal(select(2, longer:await(0)).status, status.WAIT_TIMEOUT)
    longer:cancel()
  end)

  test("a call that hears of its time limit hears where it was", function()
    local manager <close> = open(chunk, { time_limit = 0.05 })
    pools.wait_until(function() -- told if its thread could still be asked
      return timed_out(manager:call("sleeps")).traceback
    end)
    local err
    pools.wait_until(function()
      err = timed_out(manager:call("spins"))
      return err.traceback
    end)
    T.match(err.traceback, "^stack traceback:\n\t[^\n]*script:%d+: in ")
  end)

  test("time limit of a registration: of each stretch without waiting", function()
    local manager <close> = open([[
      rsca.register("strolls", function(_, ctx)
        for i = 1, 5 do
          ctx:sleep(0.05)
          ctx:report(i)
        end
      end)
      rsca.register("runs away", function(_, ctx)
        for i = 1, 3 do
          ctx:sleep(0.01)
          ctx:report(i)
        end
        while true do end
      end)
    ]], { time_limit = 0.2 })
    local function hear(name, options)
      local heard = listener()
      assert(manager:subscribe(name, "", heard.handler, options))
      return pools.wait_until(heard.has_ended), table.concat(heard.responses, " "), heard.why
    end
    -- In all it takes longer than the limit. On a machine that is very busy a stretch may, too.
    local responses
    pools.wait_until(function()
      local code
      code, responses = hear("strolls")
      return code == status.S_FALSE
    end)
    T.equal(responses, "1 2 3 4 5")
    -- The subscriber's own is for all of it.
    T.equal(hear("strolls", { time_limit = 0.05 }), status.ERROR_TIMEOUT)

    local code, message
    pools.wait_until(function()
      code, responses, message = hear("runs away")
      return responses == "1 2 3"
    end)
    T.equal(code, status.ERROR_TIMEOUT)
    T.match(message, "^the time limit is over")

    local numbers = {}
    local err = T.raises("time limit", function()
      for response in manager:responses("runs away") do
        table.insert(numbers, response)
      end
    end)
    T.equal(err.status, status.ERROR_TIMEOUT)
    T.truthy(#numbers <= 3)
  end)

  test("a time limit is a number above 0; math.huge is none", function()
    for _, bad in ipairs { 0, -1, "1", true, 0 / 0, {} } do
      T.raises("time_limit", open, chunk, { time_limit = bad })
    end
    local manager <close> = open(chunk, { time_limit = math.huge })
    T.raises("time_limit", manager.call, manager, "works", "", { time_limit = 0 })
    T.raises("unknown option 'limit'", manager.call, manager, "works", "", { limit = 1 })
    T.equal(manager:call("works", "x", { time_limit = 1e300 }), "x")
  end)
end

T.test("a call that waits in the queue is answered on time, though all workers are busy", function()
  local fifo <close> = pools.fifo()
  local manager <close> = pools.open(chunk, { time_limit = NEVER })
  local blocks = assert(manager:run("blocks", fifo.path))
  pools.wait_for(manager, "blocks")
  timed_out(manager:call("works", "", { time_limit = 0.05 }))
  fifo.open()
  T.equal(blocks:await(), "")
  T.equal(manager:call("number"), "1")
end)

T.test("here, what Lua blocks in is answered when it comes back, and its result is dropped", function()
  local fifo <close> = pools.fifo()
  local manager <close> = open_here(chunk, { time_limit = 0.05 })
  local opener = assert(io.popen(("sleep 0.2; : > '%s'"):format(fifo.path)))
  timed_out(manager:call("blocks", fifo.path))
  opener:close()
  T.equal(manager:call("works", "on", { time_limit = NEVER }), "on")
end)

T.test("a script that is not loaded in time: nil, err, with the place", function()
  local manager, err = rsca.manager { workers = 1, time_limit = 0.05, chunk = "while true do end" }
  T.equal(manager, nil)
  T.match(err.message, "not loaded in time")
  T.match(err.traceback, "^stack traceback:\n.*script:1: in main chunk")
end)

T.test("a script that can't be stopped while it is loaded: nil, err, and the process ends", function()
  for _, hangs in ipairs {
    [[ ("a"):rep(90):find(("a-"):rep(9) .. "b") ]],
    "setmetatable({}, { __gc = function() while true do end end }) collectgarbage()",
    "require('rsca').register('act', print) setmetatable({}, { __gc = function() while true do end end })",
  } do
    local output, ends = pools.child(([[
      local rsca = require "rsca"
      local manager, err = rsca.manager { workers = 1, time_limit = 0.05, chunk = %q }
      print(manager, err)
      local other = assert(rsca.manager { workers = 1, chunk = [=[
        require("rsca").register("act", function() return "done" end)
      ]=] })
      print(other:call("act"))
    ]]):format(hangs))
    T.equal(output, "nil\tthe script was not loaded in time, and can't be stopped where it is (ERROR_TIMEOUT)\ndone\n")
    T.equal(ends, "exit 0")
  end
end)

T.test("a script that is loaded for an action: its time limit holds for that, too", function()
  local fifo <close> = pools.fifo()
  local manager <close> = open_here([[
    rsca.register("loads", function(path)
      return rsca.manager { workers = 1, chunk = ("assert(io.open(%q)):close()"):format(path) }
    end)
  ]], { time_limit = 0.05 })
  timed_out(manager:call("loads", fifo.path))
  fifo.open() -- and nothing is left of it
end)

T.test("a script that fails for lack of memory while it is loaded: E_OUTOFMEMORY, of an error object, too", function()
  local manager, err = rsca.manager { workers = 1, memory_limit = 1 << 20, chunk = [[
    local _, err = require("rsca").shared:set("x", ("x"):rep(100000))
    error(err)
  ]], shared_bytes = 1000 }
  T.equal(manager, nil)
  T.equal(err.status, status.E_OUTOFMEMORY)
end)

-- ---- Memory ----

local greedy = [[
rsca.register("greedy", function()
  local all, some = {}, ("x"):rep(1 << 16)
  while true do
    all[#all + 1] = some .. #all
  end
end)
rsca.register("giant", function(args)
  return #("x"):rep(tonumber(args))
end)
rsca.register("catches", function(args)
  local good, message = pcall(string.rep, "x", tonumber(args))
  return tostring(good) .. " " .. message
end)
rsca.register("keeps", function(args)
  kept = kept or {}
  table.insert(kept, ("x"):rep(tonumber(args)))
  collectgarbage()
end)
rsca.register("streams", function(args, ctx)
  ctx:report("before")
  local _ = ("x"):rep(tonumber(args))
end)
]]
local MIB = 1 << 20

local function out_of_memory(response, err)
  T.equal(response, nil)
  T.equal(err.status, status.E_OUTOFMEMORY, tostring(err))
  T.match(err.message, "not enough memory")
  return err
end

T.test("memory limit, not caught by the action: E_OUTOFMEMORY with message and traceback", function()
  local manager <close> = pools.open(greedy, { memory_limit = 2 * MIB })
  for _ = 1, 20 do
    local err = out_of_memory(manager:call("greedy"))
    T.equal(err.action, "greedy")
    T.match(err.traceback, "^stack traceback:\n.*script:%d+: in ")
    err = out_of_memory(manager:call("giant", 64 * MIB))
    T.match(err.traceback, "^stack traceback:\n.*script:%d+: in ")
    T.equal(manager:call("giant", 1000), "1000")
  end
  T.equal(manager:call("number"), "1", "the state is the same")
end)

T.test("memory limit: the action may catch it", function()
  local manager <close> = pools.open(greedy, { memory_limit = MIB })
  T.equal(manager:call("catches", 1 << 30), "false not enough memory")
  T.equal(manager:call("number"), "1")
end)

T.test("memory limit: a registration hears its responses, then E_OUTOFMEMORY", function()
  local manager <close> = pools.open(greedy, { memory_limit = MIB })
  local heard = listener()
  assert(manager:subscribe("streams", 1 << 30, heard.handler))
  T.equal(pools.wait_until(heard.has_ended), status.E_OUTOFMEMORY)
  T.match(heard.why, "not enough memory")
  T.equal(table.concat(heard.responses), "before")
end)

T.test("memory limit: what the script took does not count, and what a state keeps does", function()
  local manager <close> = pools.open(greedy .. [[
    kept = {}
    for i = 1, 2 do kept[i] = ("x"):rep(1 << 20) .. i end -- takes one more for a moment
  ]], { memory_limit = 7 * MIB // 2 })
  for _ = 1, 2 do
    T.equal(manager:call("keeps", MIB - 1000), "")
  end
  for _ = 1, 5 do
    out_of_memory(manager:call("keeps", MIB))
  end
  T.equal(manager:call("giant", 1000), "1000")
end)

T.test("memory limit: loading the script may take as much", function()
  local manager, err = rsca.manager { workers = 1, memory_limit = MIB, chunk = [[ kept = ("x"):rep(2 << 20) ]] }
  T.equal(manager, nil)
  T.equal(err.status, status.E_OUTOFMEMORY)
  T.match(err.message, "not enough memory")
end)

T.test("memory limit: of one state, each by itself", function()
  local manager <close> = pools.open(greedy .. [[
    rsca.register("holds", function(_, ctx)
      local mine = ("x"):rep(1 << 20) -- takes twice that for a moment
      tell "holds"
      block(ctx.args)
      return #mine
    end)
  ]], { memory_limit = 5 * MIB // 2, workers = 2 })
  local one <close> = pools.fifo()
  local other <close> = pools.fifo()
  local requests = { assert(manager:run("holds", one.path)), assert(manager:run("holds", other.path)) }
  pools.wait_for(manager, "holds", 2)
  one.open()
  other.open()
  for _, request in ipairs(requests) do
    T.equal(request:await(), tostring(MIB))
  end
end)

-- ---- The queue ----

T.test("queue_limit counts what is accepted and has not ended, wherever it is", function()
  local fifo <close> = pools.fifo()
  local manager <close> = pools.open(chunk, { queue_limit = 3, time_limit = NEVER })
  local sleeper = assert(manager:subscribe("sleeps", "", function() end))
  local blocks = assert(manager:run("blocks", fifo.path))
  pools.wait_for(manager, "blocks")
  local queued = assert(manager:run("works", "x"))
  local refused, err = manager:run("works")
  T.equal(refused, nil)
  T.equal(err.status, status.ERROR_BUSY)
  T.equal(manager:RunCustomAction("works", "", T.expect(0)), status.ERROR_BUSY)
  T.equal(select(2, manager:subscribe("works", "", T.expect(0))).status, status.ERROR_BUSY)
  fifo.open()
  T.equal(blocks:await(), "")
  T.equal(queued:await(), "x")
  T.equal(manager:call("works", "y"), "y")
  sleeper:close()
  rsca.loop()
  T.equal(manager:stats().in_flight, 0)
end)

T.test("with queue_limit = 1 who hears the end can hand in the next call", function()
  local manager <close> = pools.open(chunk, { queue_limit = 1 })
  local ROUNDS = 200
  local ended = T.expect(2 * ROUNDS)
  local function subscribe()
    assert(manager:subscribe("works", "", function(_, _, final)
      if final and ended() < ROUNDS then
        subscribe()
      end
    end))
  end
  subscribe()
  rsca.loop()
  local function run(i)
    assert(manager:run("works", i, function()
      if ended() < 2 * ROUNDS then
        run(i + 1)
      end
    end))
  end
  run(1)
  rsca.loop()
  for i = 1, ROUNDS do
    T.equal(assert(manager:run("works", i)):await(), tostring(i))
    for response in manager:responses("works", i) do
      T.equal(response, tostring(i))
    end
  end
end)

T.test("queue_bytes counts the bytes of their arguments, wherever they are", function()
  local fifo <close> = pools.fifo()
  local manager <close> = pools.open(chunk, { queue_bytes = #fifo.path + 5, time_limit = NEVER })
  local blocks = assert(manager:run("blocks", fifo.path))
  pools.wait_for(manager, "blocks")
  T.equal(select(2, manager:run("works", "123456")).status, status.ERROR_BUSY)
  local queued = assert(manager:run("works", "12345"))
  T.equal(select(2, manager:run("works", "1")).status, status.ERROR_BUSY)
  fifo.open()
  T.equal(blocks:await(), "")
  T.equal(queued:await(), "12345")
  T.equal(manager:stats().queued_bytes, 0)
end)

-- ---- Responses ----

local responses = [[
rsca.register("returns", function(args) return ("x"):rep(tonumber(args)) end)
rsca.register("reports", function(args, ctx)
  for size in args:gmatch("%d+") do
    local good, err = ctx:report(("x"):rep(tonumber(size)))
    if not good then
      return nil, err
    end
  end
end)
rsca.register("gives up", function(args, ctx)
  local good, err = ctx:report(("x"):rep(tonumber(args)))
  return tostring(good) .. " " .. err.name
end)
]]

for _, place in ipairs(places) do
  local where, open = table.unpack(place)

  T.test(where .. ": response_limit: a run fails with E_OUTOFMEMORY and a message beyond it", function()
    local manager <close> = open(responses, { response_limit = 1000 })
    T.equal(#manager:call("returns", 1000), 1000)
    T.equal(#manager:call("reports", "400 600"), 1000)
    for name, args in pairs { returns = "1001", reports = "400 601" } do
      local response, err = manager:call(name, args)
      T.equal(response, nil)
      T.equal(err.status, status.E_OUTOFMEMORY)
      T.match(err.message, "response")
    end
    T.equal(manager:call("works", "on"), "on")
  end)

  T.test(where .. ": response_limit: of a registration, of each response", function()
    local manager <close> = open(responses, { response_limit = 1000 })
    local heard = listener()
    assert(manager:subscribe("reports", "1000 1000 1000", heard.handler))
    T.equal(pools.wait_until(heard.has_ended), status.S_FALSE)
    T.equal(#table.concat(heard.responses), 3000)
    heard = listener()
    assert(manager:subscribe("reports", "1000 1001 1000", heard.handler))
    T.equal(pools.wait_until(heard.has_ended), status.E_OUTOFMEMORY)
    T.equal(#table.concat(heard.responses), 1000)
    heard = listener()
    assert(manager:subscribe("returns", "1001", heard.handler))
    T.equal(pools.wait_until(heard.has_ended), status.E_OUTOFMEMORY)
  end)

  T.test(where .. ": response_bytes: of all that is put together at a time", function()
    local manager <close> = open(responses .. [[
      rsca.register("holds", function(args, ctx)
        local good, err = ctx:report(("x"):rep(tonumber(args)))
        tell "holds"
        await(ctx, "go on")
        return nil, err
      end)
    ]], { response_bytes = 10000 })
    local first = assert(manager:run("holds", "8000"))
    pools.wait_for(manager, "holds")
    local second = assert(manager:run("holds", "8000"))
    pools.wait_for(manager, "holds", 2)
    local small = assert(manager:run("holds", "1000"))
    pools.wait_for(manager, "holds", 3)
    manager:shared():set("go on", true)
    T.equal(#first:await(), 8000)
    local response, err = second:await()
    T.equal(response, nil)
    T.equal(err.status, status.E_OUTOFMEMORY)
    T.equal(err.message, "too many bytes of responses are in flight")
    T.equal(#small:await(), 1000, "1 KiB has always its place")
    for _ = 1, 10 do
      T.equal(#manager:call("holds", "8000"), 8000)
    end
  end)

  T.test(where .. ": response_bytes: of all that waits for consumers, whose streams wait, or end with E_OUTOFMEMORY",
    function()
      local manager <close> = open([[
        rsca.register("streams", function(args, ctx)
          for _ = 1, 100 do
            local good, err = ctx:report(("x"):rep(1000))
            if not good then
              return nil, err
            end
          end
        end)
      ]], { response_bytes = 50000 })
      local streams = {}
      for i = 1, 20 do
        streams[i] = assert(manager:responses("streams"))
      end
      local counts = { whole = 0, cut = 0 }
      for _, stream in ipairs(streams) do
        local count = 0
        local whole, err = pcall(function()
          for response in stream do
            count = count + #response
          end
        end)
        if whole then
          T.equal(count, 100000)
        else
          T.equal(err.status, status.E_OUTOFMEMORY)
        end
        local kind = whole and "whole" or "cut"
        counts[kind] = counts[kind] + 1
      end
      T.truthy(counts.whole > 0 and counts.cut > 0, "some had their place, some had none")
      T.equal(#manager:call("works", "on"), 2)
    end)
end

T.test("response_bytes: of all that waits for handlers of the state that the action is in, too", function()
  local manager <close> = assert(rsca.manager { response_bytes = 10000 })
  manager:register("returns", function(args)
    return ("x"):rep(tonumber(args))
  end)
  for _ = 1, 3 do
    local heard = {}
    for _, size in ipairs { 8000, 8000, 1000 } do
      assert(manager:run("returns", size, function(...)
        heard[#heard + 1] = { ... }
      end))
    end
    rsca.loop()
    T.equal(#heard[1][2], 8000)
    T.equal(heard[2][1], status.E_OUTOFMEMORY)
    T.equal(heard[2][2], "too many bytes of responses are in flight")
    T.equal(#heard[3][2], 1000, "1 KiB has always its place")
  end
end)

T.test("response_bytes: failures of registrations count until they are heard, or lose their message", function()
  local manager <close> = pools.open([[
    local message = ("x"):rep(10000)
    rsca.register("fails", function() return nil, message end)
  ]], { response_bytes = 50000 })
  local heard = { failed = 0, told = 0 }
  for _ = 1, 100 do
    assert(manager:subscribe("fails", "", function(code, response)
      heard.failed = heard.failed + (code == status.E_FAIL and 1 or 0)
      heard.told = heard.told + (#response == 10000 and 1 or 0)
    end))
  end
  repeat until manager:stats().ended == 100 -- without a step
  pools.wait_until(function() return heard.failed == 100 end)
  T.truthy(heard.told >= 4 and heard.told <= 5, heard.told) -- the last may end as the first is heard
end)

T.test("response_bytes: where calls were stopped counts until they are heard, and is left out beyond it", function()
  local manager <close> = pools.open([[
    local module, name = {}, ("n"):rep(100000)
    package.loaded.module = module
    module[name] = function() while true do end end
    local forever = module[name]
    rsca.register("forever", function()
      tell "forever"
      forever()
    end)
  ]], { response_bytes = 500000, time_limit = 60 })
  local shared = manager:shared()
  local heard = { ended = 0, told = 0 }
  for i = 1, 10 do -- without a step
    local id = assert(manager:run("forever", "", function(code, response)
      heard.ended = heard.ended + (code == status.ERROR_CANCELLED and 1 or 0)
      heard.told = heard.told + (#response > 100000 and 1 or 0)
    end))
    repeat until shared:get("forever") == i
    T.truthy(manager:cancel(id, 0))
    repeat until #manager:running() == 0
  end
  pools.wait_until(function() return heard.ended == 10 end)
  T.truthy(heard.told <= 2, heard.told) -- each counts twice: as the call's own, and as what the handler is to hear
end)

-- ---- What a script makes beside its Lua values ----

T.test("a script of a pool makes no pools", function()
  local manager <close> = pools.open [[
    rsca.register("pool", function()
      return select(2, pcall(rsca.manager, { chunk = "", workers = 1 }))
    end)
  ]]
  T.match(manager:call("pool"), "a script of a pool makes no pools")
end)

-- Each makes one more of it, and gives what may have failed; `most`: as many are beyond the limit of 4 MiB.
for _, case in ipairs {
  { "managers", 40000, "kept[#kept + 1], err = rsca.manager()" },
  { "managers with a time limit, and so a thread", 10, [[
    kept[#kept + 1], err = rsca.manager { time_limit = 1e6 }
    if not err then
      kept[#kept]:register("waits", function(_, c) c:sleep(1e6) end)
      _, err = kept[#kept]:run("waits")
    end
  ]] },
  { "names and help of actions", 50, "_, err = m:register(('n'):rep(50000) .. i, { help = ('h'):rep(50000) }, print)" },
  { "calls that wait", 1200, "_, err = m:run('waits', '', print)" },
  { "arguments of calls", 50, "_, err = m:run('waits', ('x'):rep(100000), print)" },
  { "subscriptions that nobody has time for", 12000, [[
    local own, code = rsca.own_manager(), nil
    repeat
      code = own:RegisterCustomActionCallback("works", "", print)
    until code ~= rsca.status.ERROR_BUSY
    own:UnregisterCustomActionCallback("works")
    err = code ~= 0 and { name = rsca.describe(code):match("%S+") } or nil
  ]] },
  { "shared values", 50, "_, err = m:shared():set('k' .. i, ('x'):rep(100000))" },
} do
  local what, most, makes = table.unpack(case)
  T.test("memory limit: what a script makes beside its Lua values counts: " .. what, function()
    local manager <close> = pools.open(([[
      rsca.register("makes", function()
        local kept, err, _ = {}, nil, nil
        local m = assert(rsca.manager { queue_limit = 1 << 20, queue_bytes = 1 << 30, shared_bytes = 1 << 30 })
        m:register("waits", function(_, ctx) ctx:sleep(1e6) end)
        for i = 1, %d do
          local good, message = pcall(function() %s end)
          if err or not good then
            m:close()
            return (err and err.name or message) .. " " .. i
          end
        end
        return "all of them"
      end)
    ]]):format(most, makes), { memory_limit = 4 * MIB, time_limit = 60 })
    for _ = 1, 3 do
      local problem, err = manager:call("makes")
      if not problem then
        problem = ("%s: %s 0"):format(err.name, err.message)
      end
      T.truthy(problem:find("^E_OUTOFMEMORY.* %d+$") or problem:find("^not enough memory %d+$"), problem)
    end
  end)
end

T.test("memory limit: names of actions count, also those that are unregistered while the script is loaded", function()
  local manager, err = rsca.manager { workers = 1, memory_limit = 4 * MIB, chunk = pools.prelude .. [[
    for i = 1, 200 do
      local name = ("n"):rep(50000) .. i
      assert(rsca.register(name, print))
      assert(rsca.unregister(name))
    end
  ]] }
  T.equal(manager, nil)
  T.equal(err.status, status.E_OUTOFMEMORY)
end)

T.test("memory limit: what calls in a script's own manager report counts", function()
  local manager <close> = pools.open([[
    rsca.register("joins", function(_, ctx)
      local m <close> = rsca.manager()
      m:register("reports", function(_, own)
        own:report(("x"):rep(1 << 20))
        own:sleep(1e6)
      end)
      local requests, failed = {}, 0
      for i = 1, 100 do
        requests[i] = m:run("reports") or nil
      end
      for _, request in pairs(requests) do
        local _, err = request:await(0)
        failed = failed + (err.name == "E_OUTOFMEMORY" and 1 or 0)
        m:cancel(request.id, 0)
      end
      return failed
    end)
  ]], { memory_limit = 8 * MIB, time_limit = 60 })
  for _ = 1, 3 do
    local failed = tonumber(manager:call("joins"))
    T.truthy(failed >= 90, failed)
  end
end)

T.finish()
