-- Streams that sleep: what each takes, and what they do to a call beside them.

local bench = require "bench.bench"
local caller = require "bench.caller"
local core = require "bench.core"
local path = require "bench.path"
local rsca = require "rsca"

rsca.guard() -- as the states of a pool are: coroutines are used again

local text = path.text
local count = bench.size(100000, 1000)

local function handler() end

local function open()
  local m = assert(rsca.manager { queue_limit = count + 4096 })
  assert(m:register("sleeper", function(_, ctx)
    ctx:sleep(1e6)
  end))
  assert(m:register("echo", function(args)
    return args
  end))
  return m
end

-- Two full collections: what finalizers let go, too.
local function collect()
  collectgarbage()
  collectgarbage()
  core.trim()
end

local m <close> = open()

local function run(...)
  return m:run(...)
end

local function measure()
  return bench.rounds { { "run", function(n)
    caller.fly(n, 1024, #text, "echo", text, run, rsca.step)
  end, unit = 1024 } }.run
end

local before = measure() -- these rounds can't be interleaved with those that come
collect()
local resident, of_lua = core.resident(), collectgarbage("count") * 1024
for _ = 1, count do
  assert(m:subscribe("sleeper", "", handler))
end
while rsca.step() > 0 do end -- all have started
collect()
local resident_each = (core.resident() - resident) / count
local of_lua_each = (collectgarbage("count") * 1024 - of_lua) / count
bench.figure { ("stream that sleeps, one of %d in one state: resident"):format(count), resident_each,
  show = bench.bytes, at_most = 2048, note = "of Lua's: " .. bench.bytes(of_lua_each) }
bench.row { "a run beside them, 1024 in flight, against one before", measure(), than = before, called = "before" }

local start = core.now()
assert(m:shutdown(true))
bench.figure { "ending one of them", (core.now() - start) / count, show = bench.time }
