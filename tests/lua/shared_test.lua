-- Shared values as one state sees them: what comes back, what time does, what is refused. States on several threads are
-- in tests/bridge/shared_test.c.

local T = require "lua.support"
local rsca = require "rsca"

local LONG <const> = 1e6 -- seconds that are not over while this runs

T.test("a value comes back as it was set, of each kind", function()
  local shared = rsca.shared
  local values = { 1, 1.0, -0.5, math.mininteger, math.huge, true, false, "", "text", "a\0b\xFF", ("x"):rep(511),
    ("x"):rep(512), ("x"):rep(513), ("x"):rep(100000) }
  for _, value in ipairs(values) do
    T.equal(shared:set("key", value), true)
    T.equal(shared:get("key"), value)
  end
  T.equal(shared:set("key", 0 / 0), true)
  local nan = shared:get("key")
  T.equal(math.type(nan), "float")
  T.truthy(nan ~= nan)
  T.equal(shared:set("key", nil), true)
  T.equal(shared:get("key"), nil)
end)

T.test("every key has its own value: keys are any bytes", function()
  local m <close> = rsca.manager()
  local shared = m:shared()
  local keys = { "a", "A", "a ", "a\0", "a\0b", "\0", "\0\0", ("k"):rep(1000), ("k"):rep(1001), "1", "1.0" }
  for i, key in ipairs(keys) do
    shared:set(key, i)
  end
  for i, key in ipairs(keys) do
    T.equal(shared:get(key), i)
  end
  T.equal(#shared:keys(), #keys)
end)

T.test("what was never set is nil, and removing it is no failure", function()
  local m <close> = rsca.manager()
  T.equal(select("#", m:shared():get("a")), 1)
  T.equal(m:shared():get("a"), nil)
  T.equal(#m:shared():keys(), 0)
  T.equal(m:shared():set("a", nil), true)
end)

T.test("add counts from 0; integers stay integers, and wrap around as Lua's do", function()
  local m <close> = rsca.manager()
  local shared = m:shared()
  T.equal(shared:add("n", 1), 1)
  T.equal(shared:add("n", -3), -2)
  T.equal(shared:add("n", 0.5), -1.5)
  T.equal(shared:add("n", 1), -0.5)
  T.equal(shared:get("n"), -0.5)
  T.equal(shared:add("x", 2.0), 2.0)
  shared:set("n", math.maxinteger)
  T.equal(shared:add("n", 1), math.mininteger)
end)

T.test("add to what is no number answers nil, err, and changes nothing", function()
  local m <close> = rsca.manager()
  local shared = m:shared()
  for _, value in ipairs { "1", true, false } do
    shared:set("a", value)
    local sum, err = shared:add("a", 1)
    T.equal(sum, nil)
    T.equal(err.status, rsca.status.ERROR_INVALID_DATA)
    T.match(tostring(err), "no number")
    T.equal(shared:get("a"), value)
  end
end)

T.test("compare_and_set sets where the expected is there, and otherwise tells what is", function()
  local m <close> = rsca.manager()
  local shared = m:shared()
  local function check(done, current, ...)
    local results = table.pack(shared:compare_and_set("k", ...))
    T.equal(results[1], done)
    T.equal(results.n, done and 1 or 2)
    T.equal(results[2], current)
  end
  check(false, nil, "x", "a")
  check(true, nil, nil, "a")
  check(false, "a", nil, "b")
  check(false, "a", "A", "b")
  check(true, nil, "a", 1)
  check(true, nil, 1.0, 2.5) -- as by ==
  check(false, 2.5, "2.5", 1)
  check(true, nil, 2.5, 0 / 0)
  check(true, nil, 0 / 0, false)
  check(false, false, nil, 1)
  check(true, nil, false, ("x"):rep(2000))
  check(false, ("x"):rep(2000), "x", 1)
  check(true, nil, ("x"):rep(2000), nil)
  T.equal(#shared:keys(), 0)
end)

T.test("a loop over compare_and_set changes a value in whatever way", function()
  local m <close> = rsca.manager()
  local shared = m:shared()
  for _, word in ipairs { "a", "b", "c" } do
    local seen, done
    repeat
      done, seen = shared:compare_and_set("words", seen, (seen or "") .. word)
    until done
  end
  T.equal(shared:get("words"), "abc")
end)

T.test("a value is gone when its time is over", function()
  local m <close> = rsca.manager()
  local shared = m:shared()
  shared:set("at once", 1, 0)
  T.equal(shared:get("at once"), nil)
  shared:set("late", 1, LONG)
  shared:set("never", 1, math.huge)
  shared:set("soon", 1, 0.001)
  shared:add("count", 1, 0.001)
  shared:compare_and_set("lock", nil, "mine", 0.001)
  repeat
  until #shared:keys() == 2
  T.equal(table.concat(shared:keys(), " "), "late never")
  T.equal(shared:compare_and_set("lock", nil, "yours", LONG), true)
  T.equal(shared:compare_and_set("lock", nil, "mine", LONG), false)
  T.equal(shared:set("late", 2, 0), true)
  T.equal(shared:get("late"), nil)
end)

T.test("set gives a new time or none, add leaves the time that is", function()
  local m <close> = rsca.manager()
  local shared = m:shared()
  shared:set("a", 1, LONG)
  shared:add("a", 1, 0)
  T.equal(shared:get("a"), 2)
  shared:set("b", 1, 0.001)
  shared:set("b", 2)
  shared:set("c", 1, 0.001)
  shared:add("c", 1, LONG)
  repeat
  until shared:get("c") == nil
  T.equal(shared:get("b"), 2)
end)

T.test("keys are ordered by their bytes", function()
  local m <close> = rsca.manager()
  local shared = m:shared()
  local expected = { "\0", "A", "a", "a\0", "aa", "b", "\xFF" }
  for i = #expected, 1, -1 do
    shared:set(expected[i], i)
  end
  T.equal(table.concat(shared:keys(), "|"), table.concat(expected, "|"))
  for i = 1, 3000 do
    shared:set(("%05d"):format(3001 - i), i)
  end
  local keys = shared:keys()
  T.equal(#keys, 3000 + #expected)
  T.equal(keys[2], "00001")
  T.equal(keys[3001], "03000")
end)

T.test("wrong arguments raise, and the message names them", function()
  local shared = rsca.shared
  for _, key in ipairs { 1, true, {}, print } do
    T.raises("bad argument #1 to 'get' %(string expected", function() shared:get(key) end)
    T.raises("bad argument #1 to 'set' %(string expected", function() shared:set(key, 1) end)
    T.raises("bad argument #1 to 'add' %(string expected", function() shared:add(key, 1) end)
    T.raises("bad argument #1 to 'compare_and_set' %(string expected", function() shared:compare_and_set(key, 1, 1) end)
  end
  T.raises("bad argument #1 to 'get' %(string expected, got no value", function() shared:get() end)
  T.raises("bad argument #1 to 'set' %(key expected, a string that is not empty", function() shared:set("", 1) end)
  for _, value in ipairs { {}, print, coroutine.create(print), io.stdout, rsca.shared } do
    T.raises("bad argument #2 to 'set' %(string, number, boolean or nil", function() shared:set("k", value) end)
    T.raises("bad argument #2 to 'compare_and_set' %(string,", function() shared:compare_and_set("k", value, 1) end)
    T.raises("bad argument #3 to 'compare_and_set' %(string,", function() shared:compare_and_set("k", nil, value) end)
  end
  T.raises("bad argument #2 to 'set' %(.*got no value", function() shared:set("k") end)
  T.raises("bad argument #3 to 'compare_and_set' %(.*got no value", function() shared:compare_and_set("k", 1) end)
  for _, amount in ipairs { "1", true, {} } do
    T.raises("bad argument #2 to 'add' %(number expected", function() shared:add("k", amount) end)
  end
  T.raises("bad argument #2 to 'add' %(number expected", function() shared:add("k") end)
  for _, seconds in ipairs { -1, 0 / 0, "soon", {}, true } do
    T.raises("bad argument #3 to 'set' %(", function() shared:set("k", 1, seconds) end)
    T.raises("bad argument #3 to 'add' %(", function() shared:add("k", 1, seconds) end)
    T.raises("bad argument #4 to 'compare_and_set' %(", function() shared:compare_and_set("k", nil, 1, seconds) end)
  end
  T.raises("rsca.shared expected, got string", function() shared.get("k") end)
  T.raises("rsca.shared expected", function() shared.get({}, "k") end)
  T.equal(shared:get("k"), nil)
end)

T.test("beyond shared_bytes nothing is taken, nothing changes, and what is over makes room", function()
  local m <close> = rsca.manager { shared_bytes = 10000 }
  local shared = m:shared()
  shared:set("a", "x")
  for _, attempt in ipairs {
    function() return shared:set("b", ("x"):rep(10000)) end,
    function() return shared:compare_and_set("a", "x", ("x"):rep(10000)) end,
    function() return shared:add(("k"):rep(10000), 1) end,
  } do
    local value, err = attempt()
    T.equal(value, nil)
    T.equal(err.status, rsca.status.E_OUTOFMEMORY)
    T.match(err.message, "shared_bytes is 10000")
  end
  T.equal(table.concat(shared:keys()), "a")
  T.equal(shared:get("a"), "x")
  local count = 0
  while shared:set("k" .. count, count, LONG) do
    count = count + 1
  end
  T.truthy(count >= 50)
  T.equal(shared:add("k0", 1), 1)
  for i = 0, count - 1 do
    T.equal(shared:set("k" .. i, i, 0), true)
  end
  T.equal(shared:set("b", ("x"):rep(9000)), true)
  for _, wrong in ipairs { 0, -1, 1.5, "1" } do
    T.raises("shared_bytes", rsca.manager, { shared_bytes = wrong })
  end
end)

T.test("each manager has its own values, and all its objects mean the same", function()
  local m <close> = rsca.manager()
  local other <close> = rsca.manager()
  T.equal(m:shared() == m:shared(), true)
  T.equal(m:shared() == other:shared(), false)
  T.equal(rsca.own_manager():shared() == rsca.shared, true)
  T.equal(rsca.shared == m, false)
  m:shared():set("a", 1)
  T.equal(m:shared():get("a"), 1)
  T.equal(other:shared():get("a"), nil)
  T.equal(rsca.shared:get("a"), nil)
  T.match(tostring(rsca.shared), "^rsca%.shared: ")
end)

T.test("actions and handlers use them", function()
  local ended = T.expect(1)
  rsca.register("count", function(args)
    return rsca.shared:add("calls", math.tointeger(tonumber(args)))
  end)
  T.equal(rsca.call("count", "2"), "2")
  rsca.run("count", "3", function(_, response)
    T.equal(response, "5")
    T.equal(rsca.shared:get("calls"), 5)
    ended()
  end)
  T.equal(rsca.loop(), true)
  rsca.unregister("count")
  rsca.shared:set("calls", nil)
end)

T.test("the workers of a pool share their manager's values, with whoever has that", function()
  local m <close> = assert(rsca.manager {
    workers = 3,
    chunk = [[
      local rsca = require "rsca"
      local mine = 0
      rsca.register("count", function()
        mine = mine + 1
        rsca.shared:add("by hand", 1)
        return rsca.shared:add("count", 1)
      end)
      rsca.register("same", function() return tostring(rsca.shared == rsca.own_manager():shared()) end)
      rsca.register("wrong", function() rsca.shared:set("k", {}) end)
    ]],
  })
  local requests, heard = {}, {}
  for i = 1, 300 do
    requests[i] = assert(m:run("count"))
  end
  for _, request in ipairs(requests) do
    heard[assert(math.tointeger(assert(request:await())))] = true
  end
  T.equal(#heard, 300) -- each number once
  T.equal(m:shared():get("by hand"), 300)
  T.equal(rsca.shared:get("count"), nil)
  T.equal(m:call("same"), "true")
  T.match(tostring(select(2, m:call("wrong"))), "bad argument #2 to 'set'")
end)

T.test("after a shutdown they are still there", function()
  local m <close> = rsca.manager()
  m:shared():set("a", 1)
  T.equal(m:shutdown(true), true)
  T.equal(m:shared():add("a", 1), 2)
end)

T.test("the object keeps its manager, and is collected with it", function()
  local shared = rsca.manager():shared()
  shared:set("a", ("x"):rep(1000))
  T.collect()
  T.equal(#shared:get("a"), 1000)
  local weak = setmetatable({}, { __mode = "k" })
  do
    local m = rsca.manager()
    local its = m:shared()
    m:register("self", function() return its:get("a") end)
    its:set("a", "of its own")
    T.equal(m:call("self"), "of its own")
    weak[m], weak[its] = true, true
  end
  T.collect()
  T.equal(next(weak), nil)
end)

T.test("once its manager is closed the object raises", function()
  local m = rsca.manager()
  local shared = m:shared()
  shared:set("a", 1)
  m:close()
  for _, name in ipairs { "get", "set", "add", "compare_and_set", "keys" } do
    T.raises("the manager of these shared values has been closed", shared[name], shared, "a", 1, 1)
  end
  T.equal(tostring(shared), "rsca.shared: closed")
  T.raises("this manager has been closed", function() m:shared() end)
end)

T.test("methods are not for scripts to change, and there is no field but them", function()
  T.raises("attempt to index", function() rsca.shared.a = 1 end)
  T.equal(rsca.shared.a, nil)
  T.equal(getmetatable(rsca.shared), false)
end)

T.test("once this state's manager is released rsca.shared raises", function()
  rsca.shared:set("a", 1)
  rsca.own_manager():close()
  T.raises("has been closed", function() rsca.shared:get("a") end)
end)

T.finish()
