-- What the tests of the program run.

local rsca = require "rsca"

rsca.register("echo", { help = "gives its arguments back" }, function(args)
  return "<" .. args .. ">"
end)

rsca.register("bytes", function(args)
  return (args:gsub("%x%x", function(digits)
    return string.char(tonumber(digits, 16))
  end))
end)

rsca.register("big", function(args)
  return ("x"):rep(tonumber(args))
end)

rsca.register("nothing", function() end)

rsca.register("chosen", function()
  return "half", rsca.status.S_FALSE
end)

rsca.register("talk", function()
  print("print", 1, nil)
  io.write("io.write\n")
  io.stdout:write("io.stdout ")
  return "response"
end)

rsca.register("raise", function(args)
  return args.no.field
end)

rsca.register("refuse", function()
  return nil, "low or high, please", rsca.status.E_INVALIDARG
end)

rsca.register("refuse.lines", function()
  return nil, "first\nsecond\27[1m\0end"
end)

rsca.register("refuse.bytes", function()
  return nil, "caf\233"
end)

rsca.register("refuse.silently", function()
  return nil, "", 0x80041234
end)

-- Says on stderr when it has begun, and when it is closed.
local function told()
  io.stderr:write("begun\n")
  return setmetatable({}, {
    __close = function()
      io.stderr:write("closed\n")
    end,
  })
end

rsca.register("sleep", function(args, ctx)
  local _ <close> = told()
  ctx:sleep(tonumber(args))
  return "slept"
end)

rsca.register("spin", function()
  local _ <close> = told()
  while true do
  end
end)

rsca.register("spin.nested", function()
  local _ <close> = told()
  coroutine.wrap(function()
    while true do
      pcall(error)
    end
  end)()
end)

-- As Ctrl-C does it, which a command and this program hear at once.
rsca.register("command.interrupted", function(_, ctx)
  local _ <close> = told()
  os.execute("kill -s INT $$")
  ctx:sleep(1000)
end)

-- Inside a C function, where nothing stops it.
rsca.register("stuck", function()
  local _ <close> = told()
  return tostring(("a"):rep(40):find((".-"):rep(40) .. "b"))
end)

rsca.register("spin.politely", function(_, ctx)
  local _ <close> = told()
  while not ctx:cancelled() do
  end
  return "enough"
end)

rsca.register("three", function(_, ctx)
  ctx:report("one")
  ctx:report("two\n")
  ctx:report("")
  ctx:report("a\0b\n\n")
  return "last words"
end)

rsca.register("ticks", function(args, ctx)
  local _ <close> = told()
  for i = 1, math.huge do
    ctx:report("tick " .. i)
    ctx:sleep(tonumber(args) or 0.02)
  end
end)

rsca.register("flood", function(_, ctx)
  while true do
    ctx:report("more")
  end
end)

rsca.register("break", function(_, ctx)
  ctx:report("one")
  error("broken")
end)
