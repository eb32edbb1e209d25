-- Waiting without standing still: an action that sleeps or calls another one makes room for others, on one thread and
-- one Lua state. A request, which rsca.run gives when there is no callback, can be awaited with a limit, and cancelled.

local rsca = require "rsca"

local function now()
  local file <close> = assert(io.open("/proc/uptime"))
  return file:read("n")
end

rsca.register("brew", { help = "NAME SECONDS: takes its time" }, function(args, ctx)
  local name, seconds = args:match("^(%S+) (%S+)$")
  print("  started   " .. name)
  assert(ctx:sleep(tonumber(seconds)))
  return name
end)

rsca.register("breakfast", { help = "calls another action and waits for it" }, function()
  local drink = assert(rsca.call("brew", "cocoa 0.1"))
  return drink .. " and toast"
end)

rsca.register("night", { help = "sleeps until somebody cancels it" }, function(_, ctx)
  local cleanup <close> = setmetatable({}, { __close = function() print("  night: cleaned up") end })
  ctx:sleep(math.huge)
end)

print("three at once")
local started = now()
for _, args in ipairs { "coffee 0.3", "tea 0.1", "milk 0.2" } do
  assert(rsca.run("brew", args, function(_, name) print("  ready     " .. name) end))
end
rsca.loop()
print("  one after the other takes 0.6 s; this took less than 0.5 s: " .. tostring(now() - started < 0.5))

print("one calls another")
print("  " .. assert(rsca.call("breakfast")))

print("a request")
local request = assert(rsca.run("night"))
local response, err = request:await(0.1) -- the limit of this wait alone: the call goes on
print("  " .. tostring(response) .. ", " .. err.name)
assert(request:cancel())
response, err = request:await()
print("  " .. tostring(response) .. ", " .. err.name)
response, err = request:cancel()
print("  " .. tostring(response) .. ", " .. err.name .. ": it has ended")
