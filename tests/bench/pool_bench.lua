-- A pool of workers that run actions in Lua: the way there and back from a caller in Lua or in C, against a bare call
-- and against luv's pool of one thread; time limits; and what workers and what sleeps on them takes.
--
-- The program runs itself again on one core.

local bench = require "bench.bench"
local caller = require "bench.caller"
local core = require "bench.core"
local path = require "bench.path"
local rsca = require "rsca"
local workers = require "bench.workers"

rsca.guard() -- as the states of a pool are: coroutines are used again

core.setenv("UV_THREADPOOL_SIZE", "1")
local luv = require "luv"

local one_core = ... ~= nil
local text = path.text

local function echo(args)
  return args
end

local script = [[
local rsca = require "rsca"
rsca.register("echo", function(args) return args end)
rsca.register("spin", function() return "done" end)
rsca.register("count", function(args)
  local sum = 0
  for i = 1, math.tointeger(args) do
    sum = sum ~ i
  end
  return "" .. sum
end)
rsca.register("forever", function() while true do end end)
rsca.register("sleeper", function(_, ctx)
  rsca.shared:add("asleep", 1)
  ctx:sleep(1e6)
end)
]]

local function open(options)
  options.chunk = script
  return assert(rsca.manager(options))
end

-- ---- There and back ----

-- luv has one callback for all calls of a function.
local callback
local context = luv.new_work(echo, function(response)
  callback(0, response)
end)

local function run_luv(_, args, handler)
  callback = handler
  return luv.queue_work(context, args)
end

local function step_luv()
  luv.run("once")
end

local function with_luv(in_flight)
  return function(n)
    caller.fly(n, in_flight, #text, "luv", text, run_luv, step_luv)
  end
end

do
  local pool <close> = open { workers = 1 }
  local function run(...)
    return pool:run(...)
  end
  local function step()
    if rsca.step() == 0 then
      rsca.wait()
    end
  end
  local function with_pool(in_flight)
    return function(n)
      caller.fly(n, in_flight, #text, "echo", text, run, step)
    end
  end
  local in_c <close> = workers.open(1, script)
  local of = bench.rounds {
    { "bare", function(n) path.bare(n, echo) end },
    { "luv, 1", with_luv(1) },
    { "luv, 64", with_luv(64), unit = 64 },
    { "luv, 1024", with_luv(1024), unit = 1024 },
    { "pool, 1", with_pool(1) },
    { "pool, 64", with_pool(64), unit = 64 },
    { "pool, 1024", with_pool(1024), unit = 1024 },
    { "C, 1024", function(n) in_c:run(n, 0, 1024) end, unit = 1024 },
  }
  local where = one_core and ", on one core" or ""
  local function than_luv(what, name, goal)
    bench.row { what .. where .. ", against luv", of[name], than = of[name:gsub("pool", "luv")], called = "luv",
      faster = true, at_least = goal }
  end
  local function than_bare(what, name, goal)
    bench.row { what .. where, of[name], than = of.bare, called = "bare", at_most = goal }
  end
  if one_core then
    than_luv("Lua → worker → Lua, one at a time", "pool, 1", 3)
    than_luv("the same, 1024 in flight", "pool, 1024", 5)
    return
  end
  than_bare("Lua → worker → Lua, one at a time", "pool, 1", 15)
  than_luv("the same", "pool, 1")
  than_luv("Lua → worker → Lua, 64 in flight", "pool, 64", 6)
  than_bare("Lua → worker → Lua, 1024 in flight", "pool, 1024", 2.2)
  than_luv("the same", "pool, 1024", 8)
  than_bare("C → worker → C callback, a Lua action, 1024 in flight", "C, 1024", 2.5)
end

-- ---- Time limits ----

do
  local pool <close> = open { workers = 1, time_limit = math.huge }
  local length = tostring(bench.size(10000000, 10000))
  local function counting(limit)
    local options = { time_limit = limit }
    return function(n)
      for _ = 1, n do
        assert(pool:call("count", length, options))
      end
    end
  end
  local of = bench.rounds { { "none", counting(math.huge) }, { "far", counting(3600) } }
  bench.row { "a tight loop in an action, a time limit that is not due", of.far, than = of.none, called = "none",
    at_most = 1.02 }

  local limit, late = 0.005, {}
  for i = 1, bench.size(500, 10) do
    local start = core.now()
    local _, err = pool:call("forever", "", { time_limit = limit })
    late[i] = core.now() - start - limit * 1e9
    assert(err.name == "ERROR_TIMEOUT")
  end
  local usual, worst = bench.quantile(late, 0.5), bench.quantile(late, 0.99)
  bench.figure { "a loop that hits its time limit: how much later its caller hears that", usual, show = bench.time,
    note = "99 of 100: " .. bench.time(worst), judged = worst, at_most = 100e3 }
end

-- ---- What it takes ----

local count = bench.size(64, 4)

local function started(n)
  local pool = workers.open(n, script)
  pool:run(n, 0, n)
  return pool
end

do
  local one <close> = started(1)
  local resident = core.resident()
  local many <close> = started(count)
  bench.figure { "idle worker for actions in Lua: resident", (core.resident() - resident) / count, show = bench.bytes,
    at_most = 48 << 10 }
  bench.idle(("idle process with %d workers and their states, of a core"):format(count + 1), core.sleep)
end

do
  local function cycle(size)
    return function(n)
      for _ = 1, n do
        started(size):close()
      end
    end
  end
  local of = bench.rounds { { "1", cycle(1) }, { "9", cycle(9) } }
  bench.row { "pool of 1 for actions in Lua: create, first result, destroy", of["1"] }
  local more = bench.combine(function(one, nine)
    return (nine - one) / 8
  end, of["1"], of["9"])
  bench.figure { "each worker more: start and end", bench.median(more), show = bench.time, at_most = 80e3 }
end

do
  local sleepers = bench.size(100000, 1000)
  local function handler() end
  local pool <close> = open { workers = 1, queue_limit = sleepers + 1024, memory_limit = 1 << 30 }
  local resident
  for i = 1, sleepers + 1000 do
    assert(pool:subscribe("sleeper", "", handler))
    if i % 500 == 0 then
      while pool:shared():get("asleep") ~= i do end -- luacheck: ignore
      resident = resident or core.resident()
    end
  end
  bench.figure { ("stream that sleeps, one of %d on a worker: resident"):format(sleepers),
    (core.resident() - resident) / (sleepers + 500), show = bench.bytes, at_most = 2048 }
  assert(pool:shutdown(true))
end

bench.again_on_one_core("one core")
