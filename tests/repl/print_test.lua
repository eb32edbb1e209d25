-- Values as the prompt shows them.

local T = require "lua.support"
local print_ = require "rsca.repl.print"

local function shown(value, options)
  return print_.value(value, options)
end

T.test("scalars", function()
  T.equal(shown(nil), "nil")
  T.equal(shown(true), "true")
  T.equal(shown(42), "42")
  T.equal(shown(1.0), "1.0")
  T.equal(shown("text"), '"text"')
  T.equal(shown(print), "function: C")
  T.match(shown(shown), "^function: .*print_test%.lua:%d+$")
  T.match(shown(io.stdout), "^file %(")
  T.match(shown(coroutine.create(print)), "^thread: ")
end)

T.test("strings: nothing in them controls the terminal, and what is not UTF-8 is seen", function()
  T.equal(shown('a"b\\c'), [["a\"b\\c"]])
  T.equal(shown("\0\27[1m\r\127"), [["\x00\27[1m\r\x7F"]])
  T.equal(shown("é漢\u{1F600}"), '"é漢\u{1F600}"')
  T.equal(shown("a\xFFb\xC3"), [["a\xFFb\xC3"]])
  T.equal(shown("\u{85}\u{9B}1m"), '"??1m"')
  T.equal(shown("one\ntwo\tthree"), '"one\ntwo\tthree"')
  T.equal(shown { "one\ntwo" }, [[{"one\ntwo"}]])
end)

T.test("long strings are cut, between characters", function()
  T.match(shown(("x"):rep(30000)), '^"x+" %.%.%. %(30000 bytes%)$')
  T.equal(#shown(("x"):rep(30000), { bytes = 10 }), #'"xxxxxxxxxx" ... (30000 bytes)')
  T.equal(shown("漢漢漢", { bytes = 4 }), '"漢" ... (9 bytes)')
  T.equal(shown("", { bytes = 0 }), '""')
end)

T.test("tables: lists, then keys in order", function()
  T.equal(shown {}, "{}")
  T.equal(shown { 1, 2, nil, 4 }, "{1, 2, [4] = 4}")
  T.equal(shown { b = 1, a = 2, 10, [0] = 0, [2.5] = 3, ["a b"] = 4, ["end"] = 5 },
    '{10, [0] = 0, [2.5] = 3, a = 2, ["a b"] = 4, b = 1, ["end"] = 5}')
  T.match(shown { [true] = 1, [{}] = 2 }, "^{%[table%] = 2, %[true%] = 1}$")
end)

T.test("tables: cycles, depth and width", function()
  local cycle = { name = "c" }
  cycle.self = { back = cycle }
  T.equal(shown(cycle), '{name = "c", self = {back = <cycle>}}')
  local shared = { 1 }
  T.equal(shown { shared, shared }, "{{1}, {1}}")
  T.equal(shown({ { { { { {} } } } } }, { depth = 2 }), "{{{...}}}")
  T.equal(shown({ a = "aaaaaaaaaa", b = { 1, 2 } }, { width = 20 }), '{\n  a = "aaaaaaaaaa",\n  b = {1, 2}\n}')
  T.equal(shown({ 100, 200, 300, 400, x = 5 }, { width = 14 }), "{\n  100, 200,\n  300, 400,\n  x = 5\n}")
  T.equal(shown({ 1, 2, 3, 4, x = 5 }, { items = 3 }), "{1, 2, 3, ... 2 more}")
end)

T.test("a huge table is a small text, and soon there", function()
  local huge = {}
  for i = 1, 100000 do
    huge[i] = { i, { i } }
  end
  T.truthy(#shown(huge) < 10000)
  local wide = { huge, huge, huge, huge, huge, huge, huge, huge }
  for _ = 1, 20 do
    wide = { wide, wide, wide, wide }
  end
  T.truthy(#shown(wide, { depth = 30 }) < 200000)
end)

T.test("metatables: __tostring is called, and may do what it likes; __index and __pairs are not asked", function()
  T.equal(shown(setmetatable({}, { __tostring = function() return "mine\27" end })), "mine\\27")
  T.match(shown(setmetatable({}, { __tostring = function() error("no") end })), "^table, whose __tostring raises$")
  T.match(shown(setmetatable({}, { __tostring = function() return {} end })), "^table, whose __tostring raises$")
  T.equal(shown(setmetatable({ 1 }, { __name = "thing" })), "thing {1}")
  local hostile = setmetatable({ a = 1 }, { __index = error, __pairs = error, __len = error })
  T.equal(shown(hostile), "{a = 1}")
end)

T.test("colours do not count as width", function()
  local plain = shown({ 1, "two", true }, { width = 16 })
  local coloured = shown({ 1, "two", true }, { width = 16, colour = true })
  T.equal(plain, '{1, "two", true}')
  T.equal(coloured:gsub("\27%[%d+m", ""), plain)
  T.truthy(#coloured > #plain)
end)

T.test("how wide text is", function()
  T.equal(print_.width("abc"), 3)
  T.equal(print_.width("é漢"), 3)
  T.equal(print_.width("e\u{301}"), 1)
  T.equal(print_.width("\xFF"), 1)
end)

T.test("text as lines", function()
  T.equal(print_.plain("a\nb\tc\\d\27e\xFF"), "a\nb\tc\\d\\27e\\xFF")
end)

T.finish()
