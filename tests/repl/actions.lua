-- What the tests of the prompt try out. A gate is a file in the home directory that does not exist yet.

local rsca = require "rsca"

local function exists(gate)
  local file = io.open(os.getenv("HOME") .. "/" .. gate)
  return file and file:close()
end

local function pass(gate, ctx)
  while not exists(gate) do
    assert(ctx:sleep(0.01))
  end
end

rsca.register("echo", { help = "gives its arguments back" }, function(args)
  return "<" .. args .. ">"
end)

rsca.register("gate", { help = "GATE [RESPONSE]: waits until GATE exists" }, function(args, ctx)
  local gate, response = args:match("^(%S+) ?(.*)$")
  pass(gate, ctx)
  return response
end)

rsca.register("steps", { help = "GATE N: N responses, each at GATE1, GATE2, ..." }, function(args, ctx)
  local gate, n = args:match("^(%S+) (%d+)$")
  for i = 1, tonumber(n) do
    pass(gate .. i, ctx)
    ctx:report("step " .. i)
  end
end)

rsca.register("forever", function(_, ctx)
  while true do
    ctx:sleep(1000)
  end
end)

rsca.register("spin", function()
  io.open(os.getenv("HOME") .. "/spinning", "w"):close()
  while true do
  end
end)

rsca.register("print", { help = "GATE TEXT: prints it" }, function(args, ctx)
  local gate, text = args:match("^(%S+) (.*)$")
  pass(gate, ctx)
  print(text)
  return "printed"
end)

rsca.register("raise", function(args)
  error("raised " .. args)
end)

rsca.register("refuse", function()
  return nil, "low or high, please", rsca.status.E_INVALIDARG
end)

rsca.register("bytes", function()
  return "a\0\27[31m\xFFz"
end)

rsca.register("lines", function()
  return "first\nsecond\n"
end)
