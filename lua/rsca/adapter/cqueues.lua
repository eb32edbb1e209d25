-- rsca in a program whose loop is a controller of cqueues.
--
--   local adapter = require("rsca.adapter.cqueues").start(cq)
--
-- From then on the controller runs what is due. In its coroutines call, await, sleep and responses give way to it, as
-- they do in those of any other controller of this Lua state.

local cqueues = require "cqueues"
local condition = require "cqueues.condition"
local rsca = require "rsca"

local adapter = {}

local BUDGET <const> = 100 -- pieces of work before the controller's other coroutines have their turn

local stopped -- a condition, signalled when the coroutine that steps is to end; nil: not started

local function may_wait()
  local controller, directly = cqueues.running()
  if controller and not directly then
    return "in a coroutine of your own inside one of cqueues'"
  end
  return controller ~= nil -- where none runs there is nothing to hold up
end

local function waiter()
  local cond, over = condition.new(), false
  return function()
    while not over do
      cond:wait()
    end
  end, function()
    over = true
    cond:signal()
  end
end

-- The coroutine that steps, until `stop` is signalled.
local function serve(fd, stop)
  local watched = { pollfd = fd, events = "r" }
  while stopped == stop do
    rsca.step(BUDGET)
    cqueues.poll(watched, stop, rsca.timeout() or math.huge)
  end
end

-- Begins, or, in the child of a fork, begins anew, after cq:reset(). Wraps a coroutine that never ends, so cq:loop()
-- doesn't either: a program that is to come to an end uses adapter.loop.
function adapter.start(cq)
  if cqueues.type(cq) ~= "controller" then
    error("bad argument #1 to 'start' (a controller of cqueues expected)", 2)
  end
  if stopped then
    stopped:signal()
  else
    rsca.set_adapter { name = "cqueues", may_wait = may_wait, waiter = waiter }
  end
  stopped = condition.new()
  cq:wrap(serve, assert(rsca.fd()), stopped)
  return adapter
end

-- Lets go of the controller, whose coroutine ends. What waits goes on when it is started again.
function adapter.stop()
  if stopped then
    stopped:signal()
    stopped = nil
    rsca.set_adapter(nil)
  end
end

-- As cq:loop(), for the controller of start, but returns when neither it nor rsca has anything left to do.
function adapter.loop(cq)
  while cq:count() > 1 or not rsca.loop(0) do
    local results = table.pack(cq:step())
    if not results[1] then
      return table.unpack(results, 1, results.n)
    end
  end
  return true
end

return adapter
