-- Actions that respond many times: each ctx:report is a response of its own to whoever subscribed. rsca.subscribe hands
-- them to a handler, rsca.responses to a loop; leaving the loop, or closing the subscription, ends the action where it
-- waits, and its <close> variables run.

local rsca = require "rsca"

rsca.register("countdown", { help = "N: from N down to 1" }, function(args, ctx)
  local from = math.tointeger(args)
  if not from then
    return nil, "usage: N", rsca.status.E_INVALIDARG
  end
  for n = from, 1, -1 do
    assert(ctx:report(n)) -- would wait here if the consumer lagged far behind
    assert(ctx:sleep(0.02))
  end
  return "lift-off" -- the last response
end)

local function resident()
  local file <close> = assert(io.open("/proc/self/status"))
  return (assert(file:read("a"):match("VmRSS:%s*(%d+ kB)"), "no VmRSS in /proc/self/status"))
end

rsca.register("memory", { help = "SECONDS: resident memory of this process, again and again" }, function(args, ctx)
  local seconds = tonumber(args)
  if not seconds or seconds <= 0 then
    return nil, "usage: SECONDS", rsca.status.E_INVALIDARG
  end
  while true do
    assert(ctx:report(resident()))
    assert(ctx:sleep(seconds))
  end
end)

rsca.register("log.follow", { help = "PATH: the lines of a log, and those that are added to it" }, function(path, ctx)
  local file <close>, message = io.open(path)
  if not file then
    return nil, message, rsca.status.ERROR_FILE_NOT_FOUND
  end
  local goodbye <close> = setmetatable({}, { __close = function() print("  log.follow lets go of the file") end })
  local line = ""
  while true do
    local piece = file:read("L")
    if piece then
      line = line .. piece -- half a line, perhaps: the writer is not done with it
      if line:sub(-1) == "\n" then
        assert(ctx:report(line:sub(1, -2)))
        line = ""
      end
    else
      assert(ctx:sleep(0.01))
    end
  end
end)

-- A handler hears every response, and then the end, once: S_FALSE, or a failure with its message.
local function printer(name)
  return function(status, response, final)
    if final then
      print(("  %s: the end, %s %s"):format(name, rsca.describe(status):match("^%S+"), response))
    else
      print(("  %s: %s"):format(name, response))
    end
  end
end

print("two at once, for handlers")
assert(rsca.subscribe("countdown", "3", printer("countdown 3")))
assert(rsca.subscribe("countdown", "many", printer("countdown many")))
rsca.loop()

print("in a loop, until it is left")
local samples = 0
for kilobytes in rsca.responses("memory", "0.02") do
  print("  " .. kilobytes)
  samples = samples + 1
  if samples == 3 then
    break
  end
end

print("in a loop, until the action is done")
for number in rsca.responses("countdown", "2") do
  print("  " .. number)
end

print("a log that grows while it is followed")
local path = os.tmpname()
local remove <close> = setmetatable({}, { __close = function() os.remove(path) end })

rsca.spawn(function()
  local log <close> = assert(io.open(path, "a"))
  log:setvbuf("no")
  for _, text in ipairs { "started\n", "listening on ", "port 8080\n", "ready\n", "a line that nobody hears\n" } do
    assert(log:write(text))
    rsca.sleep(0.05)
  end
end)

local subscription
subscription = assert(rsca.subscribe("log.follow", path, function(status, line, final)
  printer("log")(status, line, final)
  if line == "ready" then
    print("  closed: " .. tostring(subscription:close()))
  end
end))
rsca.loop()

-- There is nothing to return nil from in a loop: it raises an error, the same that rsca.call would return.
print("an action that fails")
local done, err = pcall(function()
  for line in rsca.responses("log.follow", "/no/such/file") do
    print("  " .. line)
  end
end)
print(("  %s, %s: %s"):format(done, err.name, err.message))
