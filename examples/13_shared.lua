-- Shared values: each worker of a pool has a Lua state, and globals, of its own. What its actions have to share goes
-- through rsca.shared: counters that miss nobody, answers that are kept for a while, a limit per minute, a lock. The
-- program sees the same values by m:shared().

local rsca = require "rsca"

local m <close> = assert(rsca.manager {
  workers = 4,
  chunk = [[
    local rsca = require "rsca"
    local shared = rsca.shared
    local calls_here = 0 -- a variable of one state: nobody else counts in it

    rsca.register("count", { help = "one more, for all" }, function()
      calls_here = calls_here + 1
      return shared:add("calls", 1)
    end)

    rsca.register("square", { help = "N: its square, worked out once a minute" }, function(args)
      local known = shared:get("square of " .. args)
      if known then
        return known
      end
      local n = assert(math.tointeger(args), "usage: N")
      local square = n * n
      shared:add("worked out", 1)
      assert(shared:set("square of " .. args, square, 60))
      return square
    end)

    rsca.register("visit", { help = "NAME: three visits a minute" }, function(name)
      -- The minute begins with the first visit: a counter that is there keeps its time.
      if shared:add("visits of " .. name, 1, 60) > 3 then
        return nil, "come back in a minute", rsca.status.ERROR_BUSY
      end
      return "welcome, " .. name
    end)

    rsca.register("collect", { help = "WORD: adds it to the words" }, function(word)
      local words, done
      repeat -- from what was seen, if nobody has changed it meanwhile
        done, words = shared:compare_and_set("words", words, (words or "") .. word .. " ")
      until done
    end)

    rsca.register("maintain", { help = "only one at a time" }, function(_, ctx)
      -- The lock goes by itself after a minute: nobody waits for ever for one who was stopped.
      if not shared:compare_and_set("lock", nil, ctx.id, 60) then
        return nil, "somebody is at it", rsca.status.ERROR_BUSY
      end
      local unlock <close> = setmetatable({}, { __close = function() shared:compare_and_set("lock", ctx.id, nil) end })
      return "done"
    end)
  ]],
})
local shared = m:shared()

local requests = {}
for i = 1, 1000 do
  requests[i] = assert(m:run("count"))
end
for _, request in ipairs(requests) do
  assert(request:await())
end
print("calls counted: " .. shared:get("calls"))

print("squares: " .. m:call("square", "12") .. ", " .. m:call("square", "12"))
print("worked out: " .. shared:get("worked out"))

for _ = 1, 4 do
  print("visit: " .. tostring(select(-1, m:call("visit", "Ann"))))
end

for i, word in ipairs { "to", "be", "or", "not" } do
  requests[i] = assert(m:run("collect", word))
end
for i = 1, 4 do
  assert(requests[i]:await())
end
print("words, in whatever order: " .. #shared:get("words") .. " bytes")

shared:set("lock", "the program")
print("locked: " .. tostring(select(2, m:call("maintain"))))
shared:set("lock", nil)
print("not locked: " .. tostring(m:call("maintain")))

print("keys: " .. table.concat(shared:keys(), ", "))
