-- luacheck: globals fuzz
-- The actions in Lua: those of pools, and of states that a host steps. `fuzz` is the model's side. Arguments are
-- "NUMBER PARAMETER PADDING"; the number 0 is nobody's.

local rsca = require "rsca"
local fuzz = fuzz -- fuzz.guarded: what runs in coroutines of its own can be stopped, too

local OWN_LIMIT = 0.010

local function action(name, f, options)
  assert(rsca.register("l." .. name, options or {}, f))
end

local function report_each(ctx, number, count)
  for i = 0, count - 1 do
    local reported, err = ctx:report(number .. ":" .. i .. ";")
    if not reported then
      return nil, err
    end
    fuzz.reported(number)
  end
end

action("echo", function(args)
  fuzz.started(args)
  return args
end)

action("chosen", function(args)
  fuzz.started(args)
  return args, 7
end)

action("fail", function(args)
  fuzz.started(args)
  return nil, args, 0x80004004
end)

action("silent", function(args)
  fuzz.started(args)
end)

action("count", function(args, ctx)
  return report_each(ctx, fuzz.started(args))
end)

action("gate", function(args)
  fuzz.started(args)
  fuzz.gate(args)
  return args
end)

action("poll", function(args, ctx)
  local _, parameter = fuzz.started(args)
  for _ = 1, 1000 * parameter do
    if ctx:cancelled() then
      return
    end
  end
end)

action("raise", function(args)
  fuzz.started(args)
  error(args, 0)
end)

action("bad", function(args)
  fuzz.started(args)
  return {}
end)

action("sleep", function(args, ctx)
  local _, parameter = fuzz.started(args)
  local slept, err = ctx:sleep(parameter / 100000)
  if not slept then
    return nil, err
  end
  return args
end)

action("yield", function(args)
  local _, parameter = fuzz.started(args)
  for _ = 1, parameter % 8 do
    coroutine.yield()
  end
  return args
end)

action("doze", function(args, ctx)
  fuzz.started(args)
  local _, err = ctx:sleep(1e6)
  return nil, err
end)

action("close", function(args, ctx)
  fuzz.started(args)
  local _ <close> = setmetatable({}, {
    __close = function()
      local slept = ctx:sleep(1e6)
      if slept then
        fuzz.broken("an action slept while it was closed")
      end
    end,
  })
  local _, err = ctx:sleep(1e6)
  return nil, err
end)

action("short", function(args, ctx)
  local _, parameter = fuzz.started(args)
  local slept, err = ctx:sleep(parameter * 0.004)
  if not slept then
    return nil, err
  end
  return args
end, { time_limit = OWN_LIMIT })

action("loop", function(args)
  fuzz.started(args)
  while true do
  end
end, { time_limit = OWN_LIMIT })

action("stubborn", function(args)
  fuzz.started(args)
  while true do
    pcall(function()
      local _ <close> = setmetatable({}, {
        __close = function()
          while true do
          end
        end,
      })
      if fuzz.guarded then
        coroutine.wrap(function()
          while true do
          end
        end)()
      end
      while true do
      end
    end)
  end
end, { time_limit = OWN_LIMIT })

action("eat", function(args)
  fuzz.started(args)
  local eaten = {}
  while true do
    eaten[#eaten + 1] = ("x"):rep(10000) .. #eaten
  end
end, { time_limit = 1000 })

-- An inner call that is refused or fails is passed on.
action("await", function(args)
  local number, parameter = fuzz.started(args)
  local inner = "0 " .. parameter .. " " .. number
  local name = parameter % 3 == 0 and "l.sleep" or parameter % 3 == 1 and "l.echo" or "n.echo"
  local response, err = rsca.call(name, inner)
  if not response then
    return nil, err
  end
  if response ~= inner then
    fuzz.broken("awaited '" .. inner .. "', got '" .. response .. "'")
  end
  return args
end)

action("stream", function(args)
  local _, parameter = fuzz.started(args)
  local next_one = 0
  for response in rsca.responses("l.count", "0 " .. parameter .. " ") do
    if response ~= "0:" .. next_one .. ";" then
      fuzz.broken("response " .. next_one .. " was '" .. response .. "'")
    end
    next_one = next_one + 1
    if next_one == 7 and parameter % 2 == 0 then
      return args
    end
  end
  if next_one ~= parameter then
    fuzz.broken(next_one .. " responses of " .. parameter)
  end
  return args
end)
