-- rsca.call: runs an action by name, waits for it, and answers response [, status] or nil, err.

local T = require "lua.support"
local rsca = require "rsca"

T.test("call answers with what the action returned", function()
  rsca.register("greet", function(args)
    return "hello " .. args
  end)
  local response, more = rsca.call("greet", "you")
  T.equal(response, "hello you")
  T.equal(more, nil)
  T.equal(select("#", rsca.call("greet", "you")), 1)
end)

T.test("the action gets its arguments as they were: none, text, any UTF-8, a number as its text", function()
  local got
  rsca.register("take", function(args)
    got = args
  end)
  for _, case in ipairs { { nil, "" }, { "", "" }, { "a b", "a b" }, { "gr\u{FC}n \u{10FFFF}", "gr\u{FC}n \u{10FFFF}" },
    { 5, "5" }, { 2.5, "2.5" }, { "line\nline\t", "line\nline\t" } } do
    got = nil
    T.equal(rsca.call("take", case[1]), "")
    T.equal(got, case[2])
  end
  got = nil
  rsca.call("take")
  T.equal(got, "")
end)

T.test("arguments may be long", function()
  rsca.register("length", function(args)
    return #args
  end)
  for _, size in ipairs { 255, 256, 257, 4096, 3 << 20 } do
    T.equal(rsca.call("length", ("x"):rep(size)), tostring(size))
  end
  T.equal(rsca.call("length", "short"), "5")
end)

T.test("a name may be any UTF-8 text, and long", function()
  for _, name in ipairs { "a", "with space", "\u{1F600}", "gr\u{FC}n", "a.b/c:d", ("n"):rep(3000) } do
    rsca.register(name, function(_, ctx)
      return ctx.name
    end)
    T.equal(rsca.call(name), name)
    T.equal(rsca.unregister(name), true)
  end
end)

T.test("ctx says the name, the arguments and the number of the call", function()
  local ids = {}
  rsca.register("context", function(args, ctx)
    T.equal(ctx.name, "context")
    T.equal(ctx.args, args)
    T.equal(math.type(ctx.id), "integer")
    T.equal(ctx.nothing, nil)
    T.match(tostring(ctx), "%f[%w]" .. ctx.id .. "%f[%W]")
    T.equal(ids[ctx.id], nil, "an id used twice")
    ids[ctx.id] = true
    T.equal(ctx:cancelled(), false)
    return "seen"
  end)
  T.equal(rsca.call("context", "one"), "seen")
  T.equal(rsca.call("context", "two"), "seen")
end)

T.test("an action that takes its arguments as ... gets ctx as well", function()
  rsca.register("dots", function(...)
    T.equal(select("#", ...), 2)
    return (select(2, ...)).name
  end)
  T.equal(rsca.call("dots"), "dots")
end)

T.test("a function written in C can be an action", function()
  rsca.register("upper", string.upper)
  T.equal(rsca.call("upper", "abc"), "ABC")
end)

T.test("ctx is of no use after the call has ended, and says so", function()
  local kept
  rsca.register("keep", function(_, ctx)
    kept = ctx
  end)
  rsca.call("keep")
  T.equal(math.type(kept.id), "integer")
  local ended = "the call of this ctx has ended"
  T.raises(ended, function() return kept.args end)
  T.raises(ended, function() return kept.name end)
  T.raises(ended, kept.report, kept, "late")
  T.raises(ended, kept.cancelled, kept)
  T.raises(ended, kept.sleep, kept, 0)
  T.match(tostring(kept), "call")
end)

local function keep_ctx()
  local kept = {}
  rsca.register("keep", { replace = true }, function(_, ctx)
    kept[#kept + 1] = ctx
    if #kept == 2 then
      T.raises("has ended", kept[1].report, kept[1], "not mine")
    end
    return "own"
  end)
  T.equal(rsca.call("keep"), "own")
  T.equal(rsca.call("keep"), "own")
end

T.test("an old ctx doesn't speak for a new call", keep_ctx)

T.test("an action can call another action, and itself", function()
  rsca.register("factorial", function(args)
    local n = math.tointeger(tonumber(args))
    if n <= 1 then
      return 1
    end
    return n * math.tointeger(tonumber((assert(rsca.call("factorial", n - 1)))))
  end)
  T.equal(rsca.call("factorial", 15), "1307674368000")
end)

T.test("a failure in an inner call reaches the outer caller with its status", function()
  rsca.register("inner", function()
    return nil, "no", rsca.status.E_ACCESSDENIED
  end)
  rsca.register("outer", function()
    return rsca.call("inner")
  end)
  local response, err = rsca.call("outer")
  T.equal(response, nil)
  T.equal(err.status, rsca.status.E_ACCESSDENIED)
  T.equal(err.message, "no")
end)

T.test("call waits inside pcall, in metamethods and in iterators of an action", function()
  rsca.register("echo", function(args)
    return args
  end)
  rsca.register("uses", function()
    local _, first = pcall(rsca.call, "echo", "a")
    local second = setmetatable({}, { __index = function(_, key) return (rsca.call("echo", key)) end }).b
    local all = first .. second
    for text in function(_, last) return not last and rsca.call("echo", "c") or nil end do
      all = all .. text
    end
    return all
  end)
  T.equal(rsca.call("uses"), "abc")
end)

T.test("call inside an action can't wait where it can't yield, and raises instead of standing still", function()
  rsca.register("nothing", function() end)
  rsca.register("sorts", function()
    table.sort({ 1, 2, 3 }, function(a, b)
      rsca.call("nothing")
      return a < b
    end)
  end)
  local response, err = rsca.call("sorts")
  T.equal(response, nil)
  T.equal(err.status, rsca.status.E_FAIL)
  T.match(err.message, "can't wait here")
end)

T.test("call never yields through a coroutine of somebody else's", function()
  rsca.register("nothing", function() end)
  rsca.register("own_coroutine", function()
    local good, problem = coroutine.resume(coroutine.create(function()
      return rsca.call("nothing")
    end))
    T.equal(good, false)
    T.match(problem, "can't wait here")
    return "raised"
  end)
  T.equal(rsca.call("own_coroutine"), "raised")
end)

T.test("outside any step call waits on a coroutine of the script's own, by stepping", function()
  rsca.register("echo", function(args)
    return args
  end)
  local co = coroutine.wrap(function()
    return rsca.call("echo", "from a coroutine")
  end)
  T.equal(co(), "from a coroutine")
end)

T.test("what else is queued runs while call waits", function()
  local ran = T.expect(2)
  rsca.register("other", function()
    ran()
  end)
  rsca.register("slow", function()
    coroutine.yield()
    coroutine.yield()
    return "at last"
  end)
  rsca.run("other")
  rsca.run("other")
  T.equal(rsca.call("slow"), "at last")
end)

T.test("a plain yield in an action gives way and passes nothing", function()
  local order = {}
  rsca.register("yields", function(args)
    for i = 1, 3 do
      order[#order + 1] = args .. i
      T.equal(select("#", coroutine.yield("lost", 1, 2)), 0)
    end
    return args
  end)
  local a, b = rsca.run("yields", "a"), rsca.run("yields", "b")
  T.equal(a:await(), "a")
  T.equal(b:await(), "b")
  T.equal(table.concat(order, " "), "a1 b1 a2 b2 a3 b3")
end)

T.test("a manager that a script made has actions of its own", function()
  local one <close> = rsca.manager()
  one:register("where", function()
    return "one"
  end)
  rsca.register("where", function()
    return "own"
  end)
  T.equal(one:call("where"), "one")
  T.equal(rsca.call("where"), "own")
  T.equal(rsca.own_manager():call("where"), "own")
  rsca.unregister("where")
  T.equal(one:call("where"), "one")
  T.equal(rsca.call("where"), nil)
end)

T.test("an action can call one of another manager, and that one back", function()
  local other <close> = rsca.manager()
  rsca.register("base", function(args)
    return "<" .. args .. ">"
  end)
  other:register("middle", function(args)
    return (assert(rsca.call("base", args)))
  end)
  rsca.register("top", function(args)
    return other:call("middle", args)
  end)
  T.equal(rsca.call("top", "x"), "<x>")
end)

T.test("nor where coroutines are used again", function()
  rsca.guard() -- from here on
  keep_ctx()
end)

T.finish()
