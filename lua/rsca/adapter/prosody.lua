-- rsca in a module of Prosody.
--
--   local adapter = require("rsca.adapter.prosody").start()
--
-- From then on Prosody's loop runs what is due. Where Prosody's own code may wait, in what util.async runs, there call,
-- await, sleep and responses give way. Several modules may start it; a module that is unloaded leaves it running.
-- luacheck: globals prosody

local async = require "util.async"
local server = require "net.server"
local timer = require "util.timer"
local rsca = require "rsca"

local adapter = {}

local BUDGET <const> = 100 -- pieces of work before the loop's other connections have their turn

local started = false
local watch, alarm -- nil: not yet, or not any more
local ready = {}   -- what resumes the runners whose wait is over, in order
local in_turn = false

local turn

local function unwatch()
  if watch then
    if watch.close then
      watch:close()
    else
      watch:setflags(false, false)
    end
  end
  if alarm then
    timer.stop(alarm)
  end
  watch, alarm = nil, nil
end

local function set_alarm()
  if alarm then
    timer.stop(alarm)
    alarm = nil
  end
  local seconds = #ready > 0 and 0 or rsca.timeout()
  if seconds then
    alarm = timer.add_task(seconds, function()
      alarm = nil
      turn()
    end)
  end
end

function turn()
  in_turn = true
  rsca.step(BUDGET)
  in_turn = false
  local now = ready
  ready = {}
  for _, done in ipairs(now) do
    done()
  end
  if watch then -- and has not been stopped meanwhile
    set_alarm()
  end
end

-- In the process whose loop runs: Prosody may have forked after it loaded its modules, and is the same program still.
local function begin()
  if started then
    rsca.after_fork { keep = true }
    unwatch()
    watch = server.watchfd(assert(rsca.fd()), turn)
    set_alarm()
  end
end

-- Whether a runner of util.async runs this coroutine, and not something in between.
local function is_runner(co)
  local level = 1
  while debug.getinfo(level + 1, "l") do
    level = level + 1
  end
  local name, self = debug.getlocal(level, 1)
  return name == "self" and type(self) == "table" and self.thread == co
end

local function may_wait()
  local co, main = coroutine.running()
  if not main and is_runner(co) then
    return true
  elseif prosody.process_type ~= "prosody" then
    return false -- there is no loop to hold up
  end
  return "outside of what util.async runs; use a callback, or async.runner"
end

local function waiter()
  local wait, done = async.waiter()
  return wait, function()
    ready[#ready + 1] = done
    if not in_turn and watch then -- somebody else steps
      set_alarm()
    end
  end
end

function adapter.start()
  if not started then
    rsca.set_adapter { name = "prosody", may_wait = may_wait, waiter = waiter }
    started = true
    timer.add_task(0, begin)                                        -- once the loop runs
    prosody.events.add_handler("server-started", begin, -math.huge) -- or forks, where a module held up the start
  end
  return adapter
end

-- Lets go of the loop. What waits goes on when it is started again.
function adapter.stop()
  if started then
    started = false
    prosody.events.remove_handler("server-started", begin)
    unwatch()
    rsca.set_adapter(nil)
  end
end

return adapter
