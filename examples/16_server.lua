-- The actions of 16_server.c. Some mean no good.

local rsca = require "rsca"

rsca.register("primes", { help = "N: how many there are below N" }, function(args)
  local limit, sieve, count = assert(math.tointeger(args), "usage: primes N"), {}, 0
  for n = 2, limit - 1 do
    if not sieve[n] then
      count = count + 1
      for multiple = n * n, limit, n do
        sieve[multiple] = true
      end
    end
  end
  return count
end)

rsca.register("visits", { help = "how often it was asked, whichever worker answers" }, function()
  return rsca.shared:add("visits", 1)
end)

rsca.register("nap", { help = "SECONDS: answers then" }, function(args, ctx)
  ctx:sleep(tonumber(args))
  return "slept"
end)

rsca.register("patient", { help = "waits for ever", time_limit = math.huge }, function(_, ctx)
  local farewell <close> = setmetatable({}, { __close = function() rsca.log("info", "patient cleans up") end })
  ctx:sleep(math.huge)
end)

rsca.register("spin", { help = "computes for ever, and catches what would end it" }, function()
  while true do
    pcall(error)
  end
end)

rsca.register("hog", { help = "takes all the memory that it gets" }, function()
  local all, block = {}, ("x"):rep(1 << 12)
  while true do
    all[#all + 1] = block:rep(1 << 8) .. #all
  end
end)

rsca.register("match", { help = "a pattern that takes for ever, in C" }, function()
  return ("a"):rep(150):find(("a-"):rep(4) .. "b") or "no match"
end)
