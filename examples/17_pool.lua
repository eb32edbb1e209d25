-- A program with a pool of workers and streams. Its actions run on threads of their own, each with a Lua state that has
-- run the script; their responses come to handlers here, on the one thread of this program, which goes on meanwhile.

local rsca = require "rsca"

rsca.on_log = function(level, message)
  print(("  %s: %s"):format(level, message))
end

local pool <close> = assert(rsca.manager {
  workers = 2,
  time_limit = 5, -- seconds; of a stream, for each stretch without waiting
  chunk = [[
    local rsca = require "rsca"
    local worker = rsca.shared:add("workers", 1) -- the script runs once in each worker

    local function resident()
      local file <close> = assert(io.open("/proc/self/status"))
      return file:read("a"):match("VmRSS:%s*(%d+ kB)")
    end

    rsca.register("resident", { help = "N SECONDS: this process's memory, N times" }, function(args, ctx)
      local count, seconds = args:match("^(%d+) (%S+)$")
      if not count then
        return nil, "usage: N SECONDS", rsca.status.E_INVALIDARG
      end
      for _ = 1, count do
        assert(ctx:report(resident()))
        assert(ctx:sleep(tonumber(seconds)))
      end
    end)

    rsca.register("countdown", { help = "N: from N down to 1" }, function(args, ctx)
      for n = assert(math.tointeger(args), "usage: N"), 1, -1 do
        assert(ctx:report(n))
        assert(ctx:sleep(0.02))
      end
      return "lift-off"
    end)

    rsca.register("state", { help = "how large this worker's Lua state is, until nobody listens" }, function(_, ctx)
      local goodbye <close> = setmetatable({}, { __close = function() print("worker " .. worker .. " goes on") end })
      rsca.shared:add("streams", 1)
      repeat -- without a wait it has its worker to itself, until the other has one too
      until rsca.shared:get("streams") == 2
      while true do
        assert(ctx:report(("worker %d: %.0f kB"):format(worker, collectgarbage("count"))))
        assert(ctx:sleep(0.02))
      end
    end)

    rsca.register("primes", { help = "N: how many there are below N" }, function(args)
      local limit, sieve, count = assert(math.tointeger(args), "usage: N"), {}, 0
      for n = 2, limit - 1 do
        if not sieve[n] then
          count = count + 1
          for multiple = n * n, limit, n do
            sieve[multiple] = true
          end
        end
      end
      return count
    end)
  ]],
})

-- Hears each response of a stream, and then its end, once.
local function printer(name)
  return function(status, response, final)
    if final then
      print(("  %s: the end, %s %s"):format(name, rsca.failed(status) and "failed:" or "well", response))
    else
      print(("  %s: %s"):format(name, response))
    end
  end
end

print("streams and results, as they come")
assert(pool:subscribe("resident", "3 0.01", printer("resident")))
assert(pool:subscribe("resident", "often", printer("resident often")))
assert(pool:subscribe("countdown", "3", printer("countdown")))
for _, n in ipairs { 1000, 100000 } do
  assert(pool:run("primes", n, function(status, response)
    assert(not rsca.failed(status), response)
    print(("  primes below %d: %s"):format(n, response))
  end))
end
rsca.loop()

print("a thousand countdowns at once, on two threads")
local ended = 0
for _ = 1, 1000 do
  assert(pool:subscribe("countdown", "2", function(_, _, final)
    ended = ended + (final and 1 or 0)
  end))
end
rsca.loop()
print("  ended: " .. ended)

print("a stream of each worker, until both have been heard")
local streams, heard = {}, {}
for i = 1, 2 do
  streams[i] = assert(pool:subscribe("state", "", function(_, response, final)
    local worker = not final and response:match("^worker %d")
    if worker and not heard[worker] then
      heard[worker] = true
      heard[#heard + 1] = worker
      print("  " .. response)
    end
  end))
end
while #heard < 2 do
  rsca.wait()
end

print("what is in flight, and where it is just now")
for _, call in ipairs(pool:running()) do
  local place = call.traceback and call.traceback:match("script:%d+") or "?"
  print(("  %s, %s, at %s"):format(call.action, call.state, place))
end
for _, stream in ipairs(streams) do
  stream:close() -- ends the action where it waits
end
rsca.loop()

print("the end, with work in flight")
assert(pool:subscribe("countdown", "1000", function(_, response, final)
  if final then
    print("  countdown: " .. response:match("^[^\n]*")) -- where it was follows
  end
end))
assert(pool:run("primes", "10", function(_, response)
  print(("  primes below 10: %s; enough of that"):format(response))
  pool:shutdown(true) -- from a callback it answers at once, and the rest follows
end))
rsca.loop()
