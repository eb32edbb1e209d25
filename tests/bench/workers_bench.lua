-- A pool of workers that run actions in C: how it scales, what a call through it costs against libuv's pool, and what
-- it takes when it has nothing to do.

local bench = require "bench.bench"
local core = require "bench.core"
local workers = require "bench.workers"

core.setenv("UV_THREADPOOL_SIZE", "1")
local uv = require "bench.uv"

-- ---- Scaling ----
--
-- Against plain threads, one for each core that the workers can use, which share the same work: linear is 1, and so is
-- no loss beyond.

local cores = core.cpus()
local lengths = { { "20 µs", bench.size(20e3, 5e3), 1024 }, { "1 ms", bench.size(1e6, 10e3), 32 } }
local submitters = { 1, 2, 4 }

-- How much work a piece of so many ns is.
local function rounds_of(ns)
  local rounds = 1024
  repeat
    rounds = rounds * 2
    local start = core.now()
    workers.spin(1, rounds)
    local took = core.now() - start
  until took > 5e6
  local start = core.now()
  workers.spin(4, rounds)
  return math.ceil(4 * rounds * ns / (core.now() - start))
end

local function scaling(workers_count)
  local pool <close> = workers.open(workers_count)
  local threads = math.min(workers_count, cores)
  for _, length in ipairs(lengths) do
    local name, ns, unit = table.unpack(length)
    local rounds = rounds_of(ns)
    local subjects = { { "plain", function(n) workers.threads(n, rounds, threads) end, unit = unit } }
    for _, from in ipairs(submitters) do
      subjects[#subjects + 1] = { from, function(n) pool:run(n, rounds, n, from) end, unit = unit }
    end
    local of = bench.rounds(subjects)
    local worst = 1
    for _, from in ipairs(submitters) do
      worst = bench.median(of[from]) > bench.median(of[worst]) and from or worst
    end
    bench.row { ("pool of %d, actions of %s, worst of 1, 2, 4 submitters: %d"):format(workers_count, name, worst),
      of[worst], than = of.plain, called = threads .. (threads == 1 and " thread" or " threads"), at_most = 1.1 }
  end
end

for _, count in ipairs { 1, 2, 4, 8 } do
  scaling(count)
end

-- ---- The way there and back ----

do
  local pool <close> = workers.open(1)
  local of = bench.rounds {
    { "libuv, 1", function(n) uv.run(n, 1) end },
    { "libuv, 1024", function(n) uv.run(n, 1024) end, unit = 1024 },
    { "ours, 1", function(n) pool:run(n, 0, 1) end },
    { "ours, 1024", function(n) pool:run(n, 0, 1024) end, unit = 1024 },
  }
  bench.row { "C → worker → C callback, a C action, one at a time", of["ours, 1"], than = of["libuv, 1"],
    called = "libuv" }
  bench.row { "the same, 1024 in flight", of["ours, 1024"], than = of["libuv, 1024"], called = "libuv" }
end

-- ---- Idle ----

local count = bench.size(64, 8)

local function started(n)
  local pool = workers.open(n)
  pool:run(n, 0, n)
  return pool
end

do
  local one <close> = started(1)
  local resident = core.resident()
  local many <close> = started(count)
  bench.figure { "idle worker for actions in C: resident", (core.resident() - resident) / count, show = bench.bytes }
  bench.idle(("idle process with %d workers, of a core"):format(count + 1), function(seconds)
    core.sleep(seconds)
  end)
end

local of = bench.rounds {
  { "pool", function(n)
    for _ = 1, n do
      started(1):close()
    end
  end },
}
bench.row { "pool of 1 for actions in C: create, first result, destroy", of.pool }
