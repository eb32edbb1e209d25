-- What the hosts of these tests have run. A script for a pool's workers as well as for the host's own state.

local rsca = require "rsca"

rsca.register("echo", function(args, ctx)
  ctx:sleep(0)
  return args
end)

rsca.register("count", { help = "N responses" }, function(args, ctx)
  for n = 1, math.tointeger(args) do
    assert(ctx:report(n))
    assert(ctx:sleep(0))
  end
end)

rsca.register("fail", function(args)
  return nil, args, rsca.status.E_ABORT
end)

rsca.register("where", { help = "the thread that it runs on" }, function()
  local file <close> = assert(io.open("/proc/thread-self/stat"))
  return file:read("n")
end)

rsca.register("meet", { help = "returns when N of them run" }, function(args)
  rsca.shared:add("meeting", 1)
  while rsca.shared:get("meeting") < math.tointeger(args) do end -- luacheck: ignore
end)

rsca.register("lasting", { help = "waits until it is cancelled" }, function(_, ctx)
  ctx:sleep(math.huge)
end)

rsca.register("spinning", { help = "never ends by itself: for managers with a time limit" }, function()
  while true do end -- luacheck: ignore
end)

rsca.register("mask", { help = "the signals that a child of its own has blocked" }, function()
  local pipe <close> = assert(io.popen("exec grep SigBlk /proc/self/status"))
  return pipe:read("a")
end)
