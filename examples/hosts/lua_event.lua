-- A program whose loop is libevent's, by lua-event. It watches rsca's descriptor, and sets a timer for what rsca has to
-- do at a time; after either it steps. Results come to callbacks; the loop never waits for an action.

local core = require "luaevent.core"
local rsca = require "rsca"

local here = arg[0]:match("^(.*)/") or "."
local manager <close> = assert(rsca.manager { script = here .. "/actions.lua", workers = 2, time_limit = 1 })

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

local function ended(status)
  print(rsca.describe(status):match("^%S+") .. ", and the loop " .. (ticks > 1 and "went on" or "stood still"))
  base:loopexit(0)
end

local function counted(_, response, final)
  if final then
    print("that was all")
    assert(manager:run("endless", "", ended))
  else
    print("response " .. response)
  end
end

assert(manager:run("sum", "1 2 39", function(_, response)
  print("the sum is " .. response)
  assert(manager:subscribe("count", "3", counted))
end))

base:loop()
watch:close()
ticker:close()

assert(manager:run("endless", "", print)) -- still on its way: it ends with the program
print("left")
