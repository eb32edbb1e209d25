-- A program whose loop is libevent's, by lua-event. It watches rsca's descriptor, and sets a timer for what rsca has to
-- do at a time; after either it steps. Results come to callbacks; the loop never waits for an action.

local core = require "luaevent.core"
local rsca = require "rsca"

local here = arg[0]:match("^(.*)/") or "."
local manager <close> = assert(rsca.manager { script = here .. "/actions.lua", workers = 2, time_limit = 0.3 })

-- ---- The recipe ----

local base = core.new()
local alarm

local function step()
  rsca.step(100)
  if alarm then
    alarm:close()
    alarm = nil
  end
  local seconds = rsca.timeout()
  if seconds then
    alarm = base:addevent(nil, core.EV_TIMEOUT, step, seconds)
  end
end

local watch = base:addevent(rsca.fd(), core.EV_READ + core.EV_PERSIST, step)

-- ---- The program ----

local ticks = 0
local ticker = base:addevent(nil, core.EV_TIMEOUT + core.EV_PERSIST, function()
  ticks = ticks + 1
end, 0.01)

local pending = 3
local function done()
  pending = pending - 1
  if pending == 0 then
    base:loopexit(0)
  end
end

assert(manager:run("sum", "1 2 39", function(_, response)
  print("the sum is " .. response)
  done()
end))

assert(manager:subscribe("count", "3", function(_, response, final)
  print(final and "that was all" or "response " .. response)
  if final then
    done()
  end
end))

assert(manager:run("endless", "", function(status)
  print(rsca.describe(status):match("^%S+") .. ", and the loop " .. (ticks > 1 and "went on" or "stood still"))
  done()
end))

base:loop()
watch:close()
ticker:close()
