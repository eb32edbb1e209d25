-- luacheck: globals fuzz drive check, ignore 213
-- A client in Lua: drive() does one thing, at the bottom of the stack of a state that a host steps; check() says
-- whether all handlers were told. Whatever a handler is told is checked there.

local rsca = require "rsca"
local fuzz = fuzz
local own = rsca.own_manager()

local open, foreign, errors = 0, 0, 0
local ids, subscriptions, requests = {}, {}, {}
local last = 0

rsca.on_error = function()
  errors = errors + 1
end

fuzz.guarded = fuzz.random(2) == 0
if fuzz.guarded then
  rsca.guard()
end

local function args_of(parameter)
  last = last + 1
  return "0 " .. parameter .. " " .. last
end

-- Some handlers do something, too.
local function misbehave()
  local what = fuzz.random(24)
  if what == 0 then
    error("a handler that raises", 0)
  elseif what == 1 then
    rsca.sleep(0.0001)
  elseif what == 2 and #ids > 0 then
    rsca.cancel(ids[1 + fuzz.random(#ids)], 0)
  elseif what == 3 then
    rsca.call("l.echo", args_of(1))
  elseif what == 4 then
    collectgarbage("step")
  elseif what == 5 then
    return 0x80004005
  end
end

local function told_end(what, status)
  fuzz.ended(status)
  if what.ended then
    fuzz.broken("a handler was told two ends")
  end
  what.ended = true
  if what.counts then
    open = open - 1
  end
end

-- For a run that answers with its arguments, where it does not fail.
local function run_handler(args)
  local what = { counts = true }
  return function(status, response, final)
    if not final then
      fuzz.broken("a run was told a response")
    end
    told_end(what, status)
    if status == 0 and response ~= args then
      fuzz.broken("'" .. args .. "' was answered '" .. tostring(response) .. "'")
    end
    return misbehave()
  end
end

-- Of registrations, only those of the own manager count: with another manager its handlers go, too.
local function stream_handler(count, counts)
  local what = { counts = counts }
  local next_one, busy = 0, false
  return function(status, response, final)
    -- Where memory fails, the handler may have ended between the two lines that set it: all that follows is the final.
    if busy and not (final and fuzz.memory_fails()) then
      fuzz.broken("a handler was told two things at a time")
    end
    if what.ended then
      fuzz.broken("a handler was told something after the end")
    end
    if final then
      told_end(what, status)
      if status == 1 and next_one > count then
        fuzz.broken("a handler was told more than there is")
      end
      return
    end
    if response ~= "0:" .. next_one .. ";" then
      fuzz.broken("instead of response " .. next_one .. " there was '" .. tostring(response) .. "'")
    end
    next_one = next_one + 1
    busy = true
    local good, answer = pcall(misbehave)
    busy = false
    if not good then
      error(answer, 0)
    end
    return answer
  end
end

local function accepted(id, counts)
  if id then
    if counts then
      open = open + 1
    end
    fuzz.accepted()
  end
end

local names = { "l.echo", "l.sleep", "l.yield", "n.echo", "l.await", "l.fail", "l.raise", "l.silent", "l.short" }

local function run(manager, mine)
  local name = names[1 + fuzz.random(mine and #names or 7)]
  local args = args_of(fuzz.random(5))
  local handler = run_handler(name == "l.silent" and "" or args)
  local id, err = manager:run(name, args, handler, mine and fuzz.random(20) == 0 and { time_limit = 0.002 } or nil)
  accepted(id, true)
  if id and mine then
    ids[#ids < 50 and #ids + 1 or 1 + fuzz.random(50)] = id
  end
  if not id and err.status == rsca.status.ERROR_NOT_FOUND and mine then
    fuzz.broken("an action was not found: " .. name)
  end
end

local function subscribe(manager)
  local count = fuzz.random(30) == 0 and 400 or fuzz.random(8)
  local subscription = manager:subscribe("l.count", "0 " .. count .. " ", stream_handler(count, manager == own))
  accepted(subscription, manager == own)
  subscriptions[1 + last % 10] = subscription or false
end

local function by_name()
  local count = fuzz.random(8)
  if own:RegisterCustomActionCallback("l.count", "0 " .. count .. " ", stream_handler(count, true)) == 0 then
    accepted(true, true)
  end
  if fuzz.random(2) == 0 then
    own:UnregisterCustomActionCallback("l.count")
  end
end

local function request()
  local asked = rsca.run("l.sleep", args_of(fuzz.random(5)))
  if asked then
    fuzz.accepted()
    requests[1 + last % 10] = asked
  end
  local old = requests[1 + fuzz.random(10)]
  if old and fuzz.random(2) == 0 then
    old:cancel(0)
  end
end

local function spawn()
  rsca.spawn(function()
    for response in rsca.responses("l.count", "0 " .. fuzz.random(30) .. " ") do
      if fuzz.random(10) == 0 then
        break
      end
    end
    local old = requests[1 + fuzz.random(10)]
    if old then
      old:await(0.001)
    end
  end)
end

-- One of our handlers as a native callback, for another manager: it may outlive this state.
local function elsewhere()
  local told = false
  local accepted_there = fuzz.elsewhere(function(_, _, final)
    if told or not final then
      fuzz.broken("a handler of ours was told twice elsewhere")
    end
    told = true
    foreign = foreign - 1
  end)
  if accepted_there then
    foreign = foreign + 1
  end
end

local function pool()
  local made <close> = rsca.manager {
    chunk = "local rsca = require 'rsca'; rsca.register('l.count', function(args, ctx) ctx:report('0:0;') end)",
    workers = 1 + fuzz.random(2),
  }
  if made then
    for _ = 1, 10 do
      accepted(made:subscribe("l.count", "", stream_handler(1)))
    end
    if fuzz.random(2) == 0 then
      made:shutdown(fuzz.random(2) == 0)
    end
  end
end

-- Another host's manager: its calls are told here.
local function other()
  local manager = fuzz.another()
  if manager then
    local what = fuzz.random(4)
    if what == 0 then
      subscribe(manager)
    else
      run(manager, false)
    end
    if fuzz.random(3) == 0 then
      manager:Release()
    end
  end
end

local deeds = {
  function() run(own, true) end,
  function() run(own, true) end,
  function() run(own, true) end,
  function() subscribe(own) end,
  function() subscribe(own) end,
  by_name,
  request,
  request,
  spawn,
  fuzz.native,
  elsewhere,
  other,
  other,
  function()
    local subscription = subscriptions[1 + fuzz.random(10)]
    if subscription then
      subscription:close()
    end
  end,
  function()
    if #ids > 0 then
      rsca.cancel(ids[1 + fuzz.random(#ids)], fuzz.random(2))
    end
  end,
  function()
    if fuzz.random(200) == 0 then
      pool()
    end
  end,
  function()
    if fuzz.random(20) == 0 then
      collectgarbage()
    end
    if fuzz.random(20) == 0 then
      rsca.running()
    end
  end,
}

function drive()
  for _ = 1, fuzz.random(6) do
    deeds[1 + fuzz.random(#deeds)]()
  end
end

-- After a shutdown: nothing is pending any more, so all handlers have been told.
function check()
  if not rsca.loop(200) then
    fuzz.broken("after a shutdown something is still pending")
  end
  if open ~= 0 then
    fuzz.broken(open .. " handlers were never told how their calls ended")
  end
end
