-- Registrations: a response of many against a call of its own, memory while a million of them go by.
--
-- A run, in every row, is one of 1024 in flight.

local bench = require "bench.bench"
local caller = require "bench.caller"
local core = require "bench.core"
local path = require "bench.path"
local rsca = require "rsca"

rsca.guard() -- as the states of a pool are: coroutines are used again

local text = path.text

assert(rsca.register("echo", function(args)
  return args
end))
path.register_native("native echo")

assert(rsca.register("stream", function(args, ctx)
  for _ = 1, args do
    assert(ctx:report(text))
  end
end))
path.register_stream("native stream")

local function follow_in_a_loop(n)
  local heard = 0
  rsca.spawn(function()
    for response in rsca.responses("stream", tostring(n)) do
      assert(#response == #text)
      heard = heard + 1
    end
  end)
  while heard < n do
    rsca.step()
  end
  rsca.loop()
  assert(heard == n)
end

local of = bench.rounds {
  { "run", function(n) caller.fly(n, 1024, #text, "echo", text, rsca.run, rsca.step) end, unit = 1024 },
  { "run to C", function(n) path.run(n, 1024) end, unit = 1024 },
  { "run C to C", function(n) path.run(n, 1024, "native echo") end, unit = 1024 },
  { "handler", function(n) caller.follow(n, #text, "stream", tostring(n), rsca.subscribe, rsca.step) end, unit = 1024 },
  { "loop", follow_in_a_loop, unit = 1024 },
  { "callback", function(n) path.follow(n, "stream", tostring(n)) end, unit = 1024 },
  { "C to C", function(n) path.follow(n, "native stream", tostring(n)) end, unit = 1024 },
}
bench.row { "a response, Lua action → Lua handler, against a run", of.handler, than = of.run,
  called = "a run", at_most = 1 }
bench.row { "a response, Lua action → loop over rsca.responses, against a run", of.loop, than = of.run,
  called = "a run", at_most = 1 }
bench.row { "a response, Lua action → C callback, against a run", of.callback, than = of["run to C"],
  called = "a run", at_most = 1 }
bench.row { "a response, C action → C callback, against a run", of["C to C"], than = of["run C to C"],
  called = "a run", at_most = 1 }

-- ---- A million, and what memory does: less than a byte each would be seen ----

local count = bench.size(1000000, 20000)
local looked_at = count // 100

-- The greatest that memory came to, in the first tenth and later.
local function peaks()
  local first, later, heard = 0, 0, 0
  assert(rsca.subscribe("stream", tostring(count), function(_, _, final)
    heard = heard + 1
    if heard % looked_at == 0 and not final then
      local now = core.resident()
      if heard <= count // 10 then
        first = math.max(first, now)
      else
        later = math.max(later, now)
      end
    end
  end))
  rsca.loop()
  assert(heard == count + 1)
  return first, later
end

local first, later = peaks()
bench.figure { ("resident memory, a stream of %d: later less its first tenth"):format(count), later - first,
  show = bench.bytes, at_most = 512 << 10 }
