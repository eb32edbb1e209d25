-- Registering: what replaces what, what list says, and that taking a name away touches no call.

local T = require "lua.support"
local rsca = require "rsca"

-- A function that a file called `source` defines in its line `line`.
local function from(source, line, body)
  return assert(load(("\n"):rep(line - 1) .. "return function(...) " .. (body or "") .. " end", "@" .. source))()
end

local function names(m)
  local all = {}
  for i, action in ipairs(m:list()) do
    all[i] = action.name
  end
  return table.concat(all, " ")
end

local function place_of(m, name)
  for _, action in ipairs(m:list()) do
    if action.name == name then
      return action.place
    end
  end
end

T.test("register answers true, and the name can be called", function()
  local m <close> = rsca.manager()
  T.equal(m:register("a", function() return "A" end), true)
  T.equal(m:register("b", { help = "h", replace = false }, function() return "B" end), true)
  T.equal(m:register("c", {}, function() return "C" end), true)
  T.equal(m:call("a") .. m:call("b") .. m:call("c"), "ABC")
end)

T.test("names differ in any byte, and are not folded or trimmed", function()
  local m <close> = rsca.manager()
  local all = { "a", "A", "a ", " a", "aa", "\u{E4}", "a\u{308}", "12345678", "123456789" }
  for _, name in ipairs(all) do
    m:register(name, function() return name end)
  end
  for _, name in ipairs(all) do
    T.equal(m:call(name), name)
  end
  T.equal(#m:list(), #all)
end)

T.test("list is sorted by name, with help and place", function()
  local m <close> = rsca.manager()
  T.equal(#m:list(), 0)
  for _, name in ipairs { "pear", "apple", "Zebra", "\u{E4}pfel", "fig", "apple2" } do
    m:register(name, { help = "a " .. name }, from("fruit.lua", 7))
  end
  m:register("no help", from("other.lua", 12))
  local list = m:list()
  T.equal(names(m), "Zebra apple apple2 fig no help pear \u{E4}pfel")
  for _, action in ipairs(list) do
    T.equal(action.help, action.name == "no help" and "" or "a " .. action.name)
    T.equal(action.place, action.name == "no help" and "other.lua:12" or "fruit.lua:7")
  end
end)

T.test("place is where the function was written; a function in C has [C], a line typed in its source's name", function()
  local m <close> = rsca.manager()
  local line = debug.getinfo(1, "l").currentline + 1
  m:register("here", function() end)
  m:register("in C", string.upper)
  m:register("typed", load("return function() end", "=stdin")())
  m:register("text", load("return function() end", "return function() end")())
  T.match(place_of(m, "here"), "registry_test%.lua:" .. line .. "$")
  T.equal(place_of(m, "in C"), "[C]")
  T.equal(place_of(m, "typed"), "stdin:1")
  T.match(place_of(m, "text"), '^%[string "return function%(%) end"%]:1$')
end)

T.test("list is a copy: changing it changes nothing", function()
  local m <close> = rsca.manager()
  m:register("a", { help = "help" }, function() end)
  local list = m:list()
  list[1].name, list[1].help = "b", "changed"
  list[2] = {}
  T.equal(names(m), "a")
  T.equal(m:list()[1].help, "help")
end)

T.test("many actions can be registered, listed and unregistered", function()
  local m <close> = rsca.manager()
  for i = 1, 1000 do
    m:register(("action %04d"):format(i), { help = ("h"):rep(i % 50) }, function() return i end)
  end
  local list = m:list()
  T.equal(#list, 1000)
  for i = 1, 1000 do
    T.equal(list[i].name, ("action %04d"):format(i))
    T.equal(m:call(list[i].name), tostring(i))
  end
  for i = 1, 1000, 2 do
    T.equal(m:unregister(("action %04d"):format(i)), true)
  end
  list = m:list()
  T.equal(#list, 500)
  for i = 1, 500 do
    T.equal(list[i].name, ("action %04d"):format(2 * i))
    T.equal(m:call(list[i].name), tostring(2 * i))
  end
end)

T.test("a name is replaced by one that comes from the same source: a script run again, a line typed again", function()
  local m <close> = rsca.manager()
  for _, source in ipairs { "script.lua", "dir:with/colon.lua" } do
    T.equal(m:register(source, { help = "old" }, from(source, 3, "return 'old'")), true)
    T.equal(m:register(source, { help = "new" }, from(source, 30, "return 'new'")), true)
    T.equal(m:call(source), "new")
    T.equal(place_of(m, source), source .. ":30")
  end
  T.equal(m:list()[1].help, "new")
  T.equal(#m:list(), 2)
  m:register("typed", load("return function() return 1 end", "=stdin")())
  m:register("typed", load("return function() return 2 end", "=stdin")())
  T.equal(m:call("typed"), "2")
end)

T.test("from another source it is an error that names both places, and the old one stays", function()
  local m <close> = rsca.manager()
  m:register("busy", { help = "old" }, from("one.lua", 11, "return 'one'"))
  local function check(place, f)
    local problem = T.raises("registry_test%.lua:%d+: ", function() m:register("busy", { help = "new" }, f) end)
    for _, text in ipairs { "'busy'", "one.lua:11", place, "replace = true" } do
      T.truthy(tostring(problem):find(text, 1, true), text)
    end
    T.equal(m:call("busy"), "one")
    T.equal(place_of(m, "busy"), "one.lua:11")
    T.equal(m:list()[1].help, "old")
  end
  check("two.lua:22", from("two.lua", 22))
  check("one.luac:11", from("one.luac", 11))
  check("ne.lua:11", from("ne.lua", 11))
  check("[C]", string.upper)
  T.raises("one%.lua:11", function() m:register("busy", { replace = false }, from("two.lua", 22)) end)
  T.collect()
  T.equal(m:call("busy"), "one")
end)

T.test("the error names both places however long the name is", function()
  local m <close> = rsca.manager()
  local name = ("n"):rep(2000)
  m:register(name, from("one.lua", 11))
  local problem = T.raises("registered already", function() m:register(name, from("two.lua", 22)) end)
  T.match(problem, "one%.lua:11")
  T.match(problem, "two%.lua:22")
end)

T.test("replace = true replaces it, wherever it came from", function()
  local m <close> = rsca.manager()
  m:register("a", from("one.lua", 1, "return 'one'"))
  T.equal(m:register("a", { replace = true }, from("two.lua", 2, "return 'two'")), true)
  T.equal(m:call("a"), "two")
  T.equal(place_of(m, "a"), "two.lua:2")
  T.equal(m:register("a", { replace = true }, string.upper), true)
  T.equal(m:call("a", "x"), "X")
  T.equal(m:register("b", { replace = true }, from("one.lua", 1)), true, "there need not be one")
  T.equal(names(m), "a b")
end)

T.test("a name that was unregistered is free for any source", function()
  local m <close> = rsca.manager()
  m:register("a", from("one.lua", 1, "return 'one'"))
  T.equal(m:unregister("a"), true)
  T.equal(m:call("a"), nil)
  T.equal(names(m), "")
  T.equal(m:register("a", from("two.lua", 2, "return 'two'")), true)
  T.equal(m:call("a"), "two")
end)

T.test("unregister of what is not there answers nil, err", function()
  local m <close> = rsca.manager()
  m:register("a", function() end)
  m:unregister("a")
  for _, name in ipairs { "a", "nobody" } do
    local value, err = m:unregister(name)
    T.equal(value, nil)
    T.equal(err.name, "ERROR_NOT_FOUND")
    T.equal(err.action, name)
  end
end)

-- What takes the function of a name away, by three ways.
local ways = {
  unregister = function(m, name)
    T.equal(m:unregister(name), true)
  end,
  replace = function(m, name)
    T.equal(m:register(name, { replace = true }, function() return "new" end), true)
  end,
  ["unregister and register"] = function(m, name)
    m:unregister(name)
    m:register(name, function() return "new" end)
  end,
}

for way, take_away in pairs(ways) do
  T.test(way .. ", while calls are queued, does not touch them", function()
    local m <close> = rsca.manager()
    local hit = T.expect(1)
    m:register("a", function(args, ctx)
      return ctx.name .. args
    end)
    local request = m:run("a", "1")
    m:run("a", "2", function(status, response)
      hit()
      T.equal(status, 0)
      T.equal(response, "a2")
    end)
    take_away(m, "a")
    T.collect()
    T.equal(request:await(), "a1")
    T.equal(rsca.loop(), true)
    T.collect()
  end)

  T.test(way .. ", while calls wait, does not touch them", function()
    local m <close> = rsca.manager()
    local go = false
    m:register("a", function(args, ctx)
      while not go do
        coroutine.yield()
      end
      T.equal(ctx:cancelled(), false)
      return ctx.name .. args
    end)
    local one, two = m:run("a", "1"), m:run("a", "2")
    rsca.step()
    take_away(m, "a")
    T.collect()
    rsca.step()
    go = true
    T.equal(one:await(), "a1")
    T.equal(two:await(), "a2")
  end)

  T.test(way .. ", by the action itself, does not touch the call", function()
    local m <close> = rsca.manager()
    m:register("a", function(_, ctx)
      take_away(m, "a")
      T.collect()
      coroutine.yield()
      ctx:report("still ")
      return ctx.name
    end)
    T.equal(m:call("a"), "still a")
    T.equal(m:call("a"), way ~= "unregister" and "new" or nil)
  end)

  T.test(way .. ": the function is let go once no call needs it", function()
    local m <close> = rsca.manager()
    local weak = setmetatable({}, { __mode = "k" })
    do
      local kept = {}
      local function action()
        return type(kept)
      end
      weak[action] = true
      m:register("a", action)
    end
    local request = m:run("a")
    take_away(m, "a")
    rsca.step(1)
    T.equal(request:await(), "table")
    request = nil
    rsca.loop()
    T.collect()
    rsca.loop()
    T.collect()
    T.equal(next(weak), nil)
  end)
end

T.test("actions may be registered and unregistered inside actions and callbacks", function()
  local m <close> = rsca.manager()
  local hit = T.expect(1)
  m:register("makes", function(args)
    m:register(args, function() return "made" end)
    local response = m:call(args)
    m:unregister(args)
    return response
  end)
  m:run("makes", "new", function(_, response)
    hit()
    T.equal(response, "made")
    m:register("last", function() return "last" end)
  end)
  rsca.loop()
  T.equal(m:call("last"), "last")
  T.equal(names(m), "last makes")
end)

T.test("a manager and actions that name it are collected together", function()
  local weak = setmetatable({}, { __mode = "k" })
  do
    local m = rsca.manager()
    m:register("self", function() return tostring(m) end)
    T.match(m:call("self"), "^rsca%.manager: ")
    weak[m] = true
  end
  T.collect()
  T.equal(next(weak), nil)
  rsca.loop()
end)

T.test("a failed register holds nothing", function()
  local m <close> = rsca.manager()
  m:register("a", from("one.lua", 1))
  local weak = setmetatable({}, { __mode = "k" })
  do
    local f = from("two.lua", 1)
    weak[f] = true
    pcall(m.register, m, "a", f)
  end
  T.collect()
  rsca.step()
  T.collect()
  T.equal(next(weak), nil)
end)

T.finish()
