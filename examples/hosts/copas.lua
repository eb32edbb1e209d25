-- A program whose loop is copas. A thread of copas receives from an object that stands for rsca's descriptor, and
-- steps. An adapter lets other threads of copas wait: call, await, sleep and responses give way to the loop there.
--
-- On Debian copas is packaged for older Luas and runs on 5.4, too: LUA_PATH="/usr/share/lua/5.1/?.lua;;"

local copas = require "copas"
local rsca = require "rsca"

local here = arg[0]:match("^(.*)/") or "."
local manager <close> = assert(rsca.manager { script = here .. "/actions.lua", workers = 2, time_limit = 1 })

-- ---- The recipe ----

-- What copas takes for a socket: readable with rsca's descriptor, or when `is_ready` says so.
local function pseudo_socket(is_ready, receive)
  local function nothing() end
  return { getfd = rsca.fd, dirty = is_ready, receive = receive, settimeout = nothing, close = nothing }
end

local ours = setmetatable({}, { __mode = "k" }) -- the threads that may wait

rsca.set_adapter {
  name = "copas",
  may_wait = function()
    local co, main = coroutine.running()
    return not main and (ours[co] or "start this thread with the function `thread`")
  end,
  waiter = function()
    local over = false
    local wait = pseudo_socket(function()
      return over
    end, function()
      return over or nil, "timeout"
    end)
    return function()
      copas.receive(wait, 1)
    end, function()
      over = true
    end
  end,
}

-- As copas.addthread, for threads that wait for rsca.
local function thread(f)
  local co = coroutine.create(f)
  ours[co] = true
  return copas.addthread(co)
end

copas.addthread(function()
  copas.receive(pseudo_socket(function()
    return rsca.timeout() == 0
  end, function()
    rsca.step(100)
    return nil, "timeout" -- and again
  end), 1)
end)

-- One turn of the loop, which sleeps no longer than rsca allows.
local function turn(seconds)
  copas.step(math.min(seconds, rsca.timeout() or seconds))
end

-- ---- The program ----

local over, ticks = false, 0

local function last()
  local _, err = manager:call("endless")
  print(err.name .. ", and the loop " .. (ticks > 1 and "went on" or "stood still"))
  over = true
end

thread(function()
  print("the sum is " .. assert(manager:call("sum", "1 2 39")))
  for response in manager:responses("count", "3") do
    print("response " .. response)
  end
  print("that was all")
  rsca.sleep(0.01)
  thread(last)
end)

while not over do
  turn(0.01)
  ticks = ticks + 1
end

assert(manager:run("endless", "", print)) -- still on its way: it ends with the program
print("left")
