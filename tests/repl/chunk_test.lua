-- What is typed becomes functions that share their locals.

local T = require "lua.support"
local chunks = require "rsca.repl.chunk"
local scan = require "rsca.repl.scan"

-- A session: types a line and gives its values.
local function new_session(env)
  local session = chunks.new(env or setmetatable({}, { __index = _G }))
  return function(text)
    return assert(session:compile(text))()
  end, session
end

local function locals_of(text)
  return table.concat((scan.top_level(text)), " ")
end

T.test("the locals of the outermost block are found", function()
  T.equal(locals_of("local a = 1"), "a")
  T.equal(locals_of("local a, b <const>, c <close> = 1, 2"), "a b")
  T.equal(locals_of("local function f() local inner = 1 end local g"), "f g")
  T.equal(locals_of("do local x end if a then local y elseif b then local z else local w end"), "")
  T.equal(locals_of("for i = 1, 2 do local x end while a do local y end repeat local z until z local after"), "after")
  T.equal(locals_of("local t = { f = function() local inner end, ['end'] = 1 } local u"), "t u")
  T.equal(locals_of("-- local a\n--[[ local b ]] local c --[==[ local d\n]] ]==] local e"), "c e")
  T.equal(locals_of([==[local s = "local no" .. 'end \' local no' .. [=[ local no ]] ]=] local yes]==]), "s yes")
  T.equal(locals_of("local a = b.end_.local_ local c"), "a c")
  T.equal(locals_of("local a\nlocal a"), "a a")
  T.equal(locals_of("x = 0x1p4 .. 1e5 local n"), "n")
  T.equal(locals_of("local"), "")
  T.equal(locals_of("local a <"), "a")
end)

T.test("the return that ends it is found", function()
  T.equal(select(2, scan.top_level("local a = 1 return a")), 13)
  T.equal(select(2, scan.top_level("do return end")), nil)
  T.equal(select(2, scan.top_level("local f = function() return 1 end")), nil)
end)

T.test("locals stay", function()
  local type_in = new_session()
  type_in "local a, b = 1"
  T.equal(type_in "a", 1)
  T.equal(type_in "b", nil)
  type_in "b = 2"
  T.equal(type_in "a + b", 3)
  type_in "local function f(n) return n < 2 and 1 or n * f(n - 1) end"
  T.equal(type_in "f(5)", 120)
  T.equal(type_in "local c <const> = 7 return c", 7)
  T.equal(type_in "c", 7)
  T.equal(type_in "local d = 8; return d", 8)
  T.equal(type_in "d", 8)
end)

T.test("they are variables: closures share them, a new one of the same name is another", function()
  local type_in = new_session()
  type_in "local n = 0"
  type_in "local function up() n = n + 1 return n end"
  T.equal(type_in "up() + up()", 3)
  T.equal(type_in "n", 2)
  type_in "n = 10"
  T.equal(type_in "up()", 11)
  type_in "local n = n * 2"
  T.equal(type_in "n", 22)
  T.equal(type_in "up()", 12)
  T.equal(type_in "n", 22)
end)

T.test("locals shadow globals, nil too; globals stay globals", function()
  local env = setmetatable({}, { __index = _G })
  local type_in = new_session(env)
  type_in "g = 1"
  T.equal(rawget(env, "g"), 1)
  type_in "local g"
  T.equal(type_in "g", nil)
  type_in "g = 2"
  T.equal(rawget(env, "g"), 1)
  T.equal(type_in "_ENV.g", 1)
end)

T.test("what is closed at the end of a chunk is not kept", function()
  local type_in = new_session { closed = 0, setmetatable = setmetatable }
  type_in "local c <close> = setmetatable({}, { __close = function() closed = closed + 1 end })"
  T.equal(type_in "closed", 1)
  T.equal(type_in "c", nil)
end)

T.test("a chunk that raises keeps what was there", function()
  local type_in = new_session()
  type_in "local a = 1"
  T.raises("on purpose", type_in, "a = 2 local b = 3 error('on purpose')")
  T.equal(type_in "a", 2)
  T.equal(type_in "b", nil)
end)

T.test("texts that only work by themselves work all the same", function()
  local type_in = new_session()
  type_in "goto done; local skipped = 1 ::done::"
  T.equal(type_in "skipped", nil)
  T.equal(type_in "return ...", nil)
  T.equal(type_in "local a = 1 -- a comment at the end", nil)
  T.equal(type_in "a -- another", 1)
  T.equal(type_in "local t = {\n}\nreturn #t", 0)
end)

T.test("more locals than a function may have", function()
  local type_in, session = new_session()
  for i = 1, 400 do
    type_in(("local v%d = %d"):format(i, i))
  end
  T.equal(#session:names(), 400)
  T.equal(type_in "v1 + v400", 401)
  local sum = {}
  for i = 1, 140 do
    sum[i] = "v" .. i
  end
  T.equal(type_in(table.concat(sum, " + ")), 140 * 141 // 2)
end)

T.test("expressions before statements", function()
  local type_in = new_session()
  T.equal(select("#", type_in "1, nil, nil"), 3)
  T.equal(type_in "= 5", 5)
  T.equal(select("#", type_in "x = 1"), 0)
  T.equal(select("#", type_in "-- nothing"), 0)
  T.equal(type_in "(function() return 3 end)()", 3)
end)

T.test("what is wrong, and what is not complete", function()
  local _, session = new_session()
  for _, text in ipairs { "for i = 1, 2 do", "f(", "1 +", "x =", "[[open", "if a then", "local function f()", "{1,",
    "= 1 +", "--[[ open", "local", "x = 'open\\" } do
    local f, problem, cut = session:compile(text)
    T.equal(f, nil)
    T.match(problem, "^stdin:1: ")
    T.equal(cut, true, text)
  end
  for _, text in ipairs { "x = = 1", "end", "1 1", "'open", "local 1", "f(]", "goto nowhere", "break" } do
    local f, problem, cut = session:compile(text)
    T.equal(f, nil)
    T.match(problem, "^stdin:1: ")
    T.equal(cut, false, text)
  end
end)

T.test("values are set and looked at from outside", function()
  local type_in, session = new_session()
  session:set("_1", "first")
  T.equal(type_in "_1", "first")
  session:set("_1", nil)
  T.equal(type_in "_1", nil)
  T.equal(session:get("_1"), true)
  T.equal(session:get("other"), false)
  type_in "local mine = 'x'"
  T.equal(select(2, session:get("mine")), "x")
  T.equal(table.concat(session:names(), " "), "_1 mine")
end)

T.test("what nobody can use any more is collected", function()
  local type_in = new_session()
  type_in "local big = setmetatable({}, { __mode = 'k' })"
  local watched = setmetatable({ type_in "big" }, { __mode = "v" })
  type_in "local big = nil"
  T.collect()
  T.equal(watched[1], nil)
end)

T.test("nothing of the prompt's has globals where tracebacks look for the names of functions", function()
  -- They take the first that they find, in an order that differs from run to run.
  require("rsca.repl.globals").xpcall = xpcall -- as the prompt does where it has guarded the state
  local globals = {}
  for name, value in pairs(_G) do
    if type(value) == "function" then
      globals[value] = name
    end
  end
  for module, fields in pairs(package.loaded) do
    for name, value in pairs(module:find("^rsca") and type(fields) == "table" and fields or {}) do
      T.equal(globals[value], nil, module .. "." .. tostring(name))
    end
  end
end)

T.finish()
