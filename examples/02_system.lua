-- Several actions about the machine and this process, each with a line of help; rsca.list() shows what there is.
-- rsca.run queues a call and hands its result to a callback; rsca.loop() delivers until nothing is pending.

local rsca = require "rsca"

local function read(path)
  local file <close> = assert(io.open(path))
  return file:read("a")
end

rsca.register("load", { help = "load averages over 1, 5 and 15 minutes" }, function()
  return (read("/proc/loadavg"):match("^%S+ %S+ %S+"))
end)

rsca.register("uptime", { help = "days, hours and minutes since boot" }, function()
  local minutes = math.tointeger(read("/proc/uptime"):match("^%d+")) // 60
  return ("%d d %02d:%02d"):format(minutes // 1440, minutes // 60 % 24, minutes % 60)
end)

rsca.register("memory", { help = "resident memory of this process" }, function()
  return (assert(read("/proc/self/status"):match("VmRSS:%s*(%d+ kB)"), "no VmRSS in /proc/self/status"))
end)

rsca.register("descriptors", { help = "open file descriptors of this process" }, function()
  local slots = math.tointeger(read("/proc/self/status"):match("FDSize:%s*(%d+)"))
  local open = 0
  for fd = 0, slots - 1 do
    local file <close> = io.open("/proc/self/fdinfo/" .. fd)
    if file then
      open = open + 1
    end
  end
  return open
end)

-- The state that runs an action waits for it: run only programs that answer quickly, as df does.
rsca.register("disk", { help = "free space where PATH is; PATH is / by default" }, function(path)
  local quoted = "'" .. (path ~= "" and path or "/"):gsub("'", [['\'']]) .. "'"
  local df <close> = assert(io.popen("LC_ALL=C df -P -- " .. quoted .. " 2>&1"))
  local answer = df:read("a")
  local done, how, number = df:close()
  if not done then
    return nil, ("%s (%s %d)"):format(answer:match("[^\n]*"), how, number), rsca.status.E_FAIL
  end
  local total, free, mount = answer:match("\n%S+%s+(%d+)%s+%d+%s+(%d+)%s+%S+%s+([^\n]+)")
  return ("%.1f of %.1f GiB free on %s"):format(free / 2 ^ 20, total / 2 ^ 20, mount)
end)

for _, action in ipairs(rsca.list()) do
  print(("%-12s %s"):format(action.name, action.help))
end
print()

local function ask(name, args)
  assert(rsca.run(name, args, function(status, response)
    print(("%-12s %s"):format(name, rsca.failed(status) and "failed: " .. response or response))
  end))
end

ask("load")
ask("uptime")
ask("memory")
ask("descriptors")
ask("disk")
ask("disk", "/no/such/place")
rsca.loop()
