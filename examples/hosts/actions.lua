-- The actions of the recipes in this folder, run by worker threads while the host's loop goes on.

local rsca = require "rsca"

rsca.register("sum", { help = "NUMBER...: their sum" }, function(args)
  local sum = 0
  for number in args:gmatch("%S+") do
    sum = sum + assert(tonumber(number), "numbers, please")
  end
  return sum
end)

rsca.register("count", { help = "N: from 1 to N, one by one" }, function(args, ctx)
  for n = 1, assert(math.tointeger(args), "usage: N") do
    assert(ctx:report(n))
  end
end)

rsca.register("endless", { help = "computes until its time limit stops it" }, function()
  while true do end -- luacheck: ignore
end)
