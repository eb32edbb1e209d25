-- Waiting: actions, handlers and spawned functions run on coroutines that may wait. Where one can't wait it raises.

local T = require "lua.support"
local rsca = require "rsca"

rsca.register("echo", function(args)
  return args
end)

rsca.register("nothing", function() end)

rsca.register("waits", function(args, ctx)
  assert(ctx:sleep(0))
  return args
end)

local function closing(f)
  return setmetatable({}, { __close = f })
end

-- Defines an action of the body, calls it, and answers with what it answered.
local function inside(body)
  rsca.register("inside", function(_, ctx)
    return body(ctx)
  end)
  return assert(rsca.call("inside"))
end

-- Runs a script in a process of its own: its output, both streams, and how it ended.
local function child(script)
  local command = ("exec '%s' -e '%s' 2>&1"):format(arg[-1], script:gsub("'", "'\\''"))
  local pipe = assert(io.popen(command))
  local output = pipe:read("a")
  local _, how, code = pipe:close()
  return output, how .. " " .. code
end

-- ---- Where one can wait ----

T.test("actions run on coroutines of their own, which can yield", function()
  inside(function()
    local co, main = coroutine.running()
    T.equal(type(co), "thread")
    T.equal(main, false)
    T.equal(coroutine.isyieldable(), true)
    return ""
  end)
end)

T.test("an action can sleep, with ctx:sleep and with rsca.sleep", function()
  T.equal(inside(function(ctx)
    T.equal(ctx:sleep(0), true)
    T.equal(ctx:sleep(0.001), true)
    T.equal(rsca.sleep(0), true)
    T.equal(rsca.sleep(0.001), true)
    return "rested"
  end), "rested")
end)

T.test("what is no time to sleep raises", function()
  for _, wrong in ipairs { -1, -math.huge, 0 / 0, "long", {} } do
    T.raises("bad argument #1 to '.*sleep'", rsca.sleep, wrong)
    inside(function(ctx)
      T.raises("bad argument #1 to 'sleep'", function()
        ctx:sleep(wrong)
      end)
      return ""
    end)
  end
  T.raises("bad argument #1 to '.*sleep'", rsca.sleep)
end)

T.test("an action can wait for another one", function()
  T.equal(inside(function()
    return rsca.call("waits", "far") .. rsca.run("waits", "ther"):await()
  end), "farther")
end)

T.test("waits work inside pcall and xpcall, also when what waited raises", function()
  T.equal(inside(function(ctx)
    local good, response = pcall(rsca.call, "waits", "a")
    T.equal(good, true)
    T.equal(response, "a")
    T.equal(pcall(ctx.sleep, ctx, 0), true)
    local other, problem = pcall(function()
      rsca.call("waits")
      error("after", 0)
    end)
    T.equal(other, false)
    T.equal(problem, "after")
    T.equal(select(2, xpcall(function()
      rsca.call("waits")
      error("once more", 0)
    end, function(message)
      return message .. ", handled"
    end)), "once more, handled")
    T.equal(select(2, pcall(pcall, pcall, rsca.call, "waits", "deep")), true)
    return "fine"
  end), "fine")
end)

T.test("waits work in metamethods, iterators, tail calls, varargs and dofile-like calls", function()
  T.equal(inside(function()
    local object = setmetatable({}, {
      __index = function(_, key) return rsca.call("waits", key) end,
      __call = function(_, text) return (rsca.call("waits", text)) end,
      __add = function(_, text) return (rsca.call("waits", text)) end,
      __eq = function() return rsca.call("waits", "") == "" end,
      __lt = function() return rsca.call("waits", "") == "" end,
      __len = function() return #rsca.call("waits", "xxx") end,
      __concat = function(_, text) return (rsca.call("waits", text)) end,
      __newindex = function(_, _, value) rsca.call("waits", value) end,
      __unm = function() return (rsca.call("waits", "-")) end,
    })
    object.field = "x"
    T.equal(object == setmetatable({}, getmetatable(object)), true)
    T.equal(object < setmetatable({}, getmetatable(object)), true)
    T.equal(#object, 3)
    T.equal(-object, "-")
    local text = object.a .. object("b") .. (object + "c") .. (object .. "d")
    for part in function(_, last) return not last and rsca.call("waits", "e") or nil end do
      text = text .. part
    end
    local function tail(...)
      return rsca.call(...)
    end
    text = text .. tail("waits", "f")
    return text .. load("local rsca = ... return (rsca.call('waits', 'g'))")(rsca)
  end), "abcdefg")
end)

T.test("waits work in __close when a block ends in the ordinary way, or by an error that is caught", function()
  local order = {}
  inside(function(ctx)
    do
      local _ <close> = closing(function() order[#order + 1] = rsca.call("waits", "end") end)
    end
    T.equal(pcall(function()
      local _ <close> = closing(function() order[#order + 1] = rsca.call("waits", "error") end)
      error("x")
    end), false)
    T.equal(pcall(function()
      local _ <close> = closing(function() order[#order + 1] = rsca.call("waits", "late error") end)
      ctx:sleep(0)
      error("x")
    end), false)
    local _ <close> = closing(function() order[#order + 1] = rsca.call("waits", "return") end)
    return ""
  end)
  T.equal(table.concat(order, ", "), "end, error, late error, return")
end)

T.test("an action that raises: __close runs, waits in it answer nil, err, and the error is the call's", function()
  local closed = T.expect(1)
  rsca.register("raises", function(_, ctx)
    local _ <close> = closing(function(_, problem)
      T.match(problem, "the reason$")
      local slept, err = ctx:sleep(0)
      T.equal(slept, nil)
      T.match(tostring(err), "wait")
      T.equal(rsca.call("echo"), nil)
      closed()
    end)
    error("the reason")
  end)
  local response, err = rsca.call("raises")
  T.equal(response, nil)
  T.equal(err.status, rsca.status.E_FAIL)
  T.match(err.message, "the reason$")
end)

T.test("handlers can wait: functions and ReportResult methods", function()
  local heard = T.expect(2)
  local function wait_there(response)
    T.equal(response, "x")
    T.equal(rsca.sleep(0), true)
    T.equal(pcall(rsca.call, "waits"), true)
    T.equal(rsca.run("waits", "y"):await(), "y")
    heard()
  end
  rsca.run("echo", "x", function(_, response)
    wait_there(response)
  end)
  rsca.run("echo", "x", { ReportResult = function(_, _, response)
    wait_there(response)
  end })
  T.equal(rsca.loop(), true)
end)

T.test("spawned functions can wait", function()
  local heard = T.expect(1)
  rsca.spawn(function()
    T.equal(rsca.sleep(0), true)
    T.equal(rsca.call("waits", "x"), "x")
    T.equal(pcall(rsca.sleep, 0), true)
    heard()
  end)
  T.equal(rsca.loop(), true)
end)

T.test("outside of any step sleep, call and await block and deliver meanwhile", function()
  local meanwhile = T.expect(3)
  rsca.spawn(meanwhile)
  T.equal(rsca.sleep(0), true)
  rsca.spawn(meanwhile)
  T.equal(rsca.call("waits", "x"), "x")
  rsca.spawn(meanwhile)
  T.equal(rsca.run("waits", "y"):await(), "y")
end)

T.test("outside of any step a coroutine of the script's own may wait, too: it blocks", function()
  local co = coroutine.create(function(...)
    T.equal(rsca.call("waits", ...), "x")
    T.equal(rsca.sleep(0), true)
    T.equal(rsca.run("waits", "y"):await(), "y")
    return coroutine.yield("z")
  end)
  T.equal(select(2, coroutine.resume(co, "x")), "z")
  T.equal(coroutine.resume(co), true)
  T.equal(coroutine.status(co), "dead")
end)

-- ---- A yield of one's own ----

T.test("a bare yield gives way until the next step, in actions, handlers and spawned functions", function()
  local order = {}
  local function yields(name)
    for i = 1, 2 do
      order[#order + 1] = name .. i
      T.equal(select("#", coroutine.yield("nobody", "takes", "this")), 0)
    end
    order[#order + 1] = name .. "."
  end
  rsca.register("yields", function()
    yields("a")
  end)
  rsca.spawn(yields, "s")
  rsca.run("yields", "", function()
    yields("h")
  end)
  local steps = {}
  repeat
    local ran = rsca.step()
    steps[#steps + 1] = ran
  until ran == 0
  T.equal(table.concat(order, " "), "s1 a1 s2 a2 s. a. h1 h2 h.")
  T.equal(table.concat(steps, " "), "2 2 2 1 1 1 0")
end)

T.test("actions that run at the same time take turns", function()
  local order = {}
  rsca.register("turns", function(args, ctx)
    for i = 1, 3 do
      order[#order + 1] = args .. i
      ctx:sleep(0)
    end
    return args
  end)
  local requests = {}
  for _, name in ipairs { "a", "b", "c" } do
    requests[#requests + 1] = rsca.run("turns", name)
  end
  for i, name in ipairs { "a", "b", "c" } do
    T.equal(requests[i]:await(), name)
  end
  T.equal(table.concat(order, " "), "a1 b1 c1 a2 b2 c2 a3 b3 c3")
end)

-- ---- Where one can't ----

T.test("where a function can't yield, inside an action, waits raise", function()
  inside(function(ctx)
    local request = assert(rsca.run("waits"))
    for _, wait in ipairs {
      function() ctx:sleep(0) end,
      function() rsca.sleep(0) end,
      function() rsca.call("echo") end,
      function() request:await() end,
      function() request:await(0) end,
    } do
      T.raises("can't wait here", table.sort, { 1, 2 }, wait)
      T.raises("can't wait here", string.gsub, "x", "x", wait)
      T.raises("can't wait here", tostring, setmetatable({}, { __tostring = wait }))
      local chunk, problem = load(wait)
      T.equal(chunk, nil)
      T.match(problem, "can't wait here")
    end
    return ""
  end)
end)

T.test("there a request that has ended answers all the same", function()
  inside(function()
    local request = assert(rsca.run("echo", "x"))
    request:await()
    T.equal(("a"):gsub("a", function() return (request:await()) end), "x")
    return ""
  end)
end)

T.test("nothing is queued by a call that could not wait", function()
  local ran = T.expect(0)
  rsca.register("runs", function()
    ran()
  end)
  inside(function()
    T.raises("can't wait here", table.sort, { 1, 2 }, function() rsca.call("runs") end)
    return ""
  end)
  T.equal(rsca.loop(), true)
end)

T.test("in the script's own coroutine inside an action waits raise, and the coroutine can go on", function()
  inside(function(ctx)
    rsca.register("holds", function(_, other)
      other:sleep(1e6)
    end)
    local request = assert(rsca.run("holds"))
    for _, wait in ipairs {
      function() ctx:sleep(0) end,
      function() rsca.sleep(0) end,
      function() rsca.call("echo") end,
      function() request:await() end,
    } do
      local generator = coroutine.wrap(function()
        T.raises("can't wait here: this coroutine is not one that rsca resumes", wait)
        coroutine.yield("one")
        T.raises("can't wait here", wait)
        return "two"
      end)
      T.equal(generator(), "one")
      T.equal(ctx:sleep(0), true)
      T.equal(generator(), "two")
    end
    request:cancel()
    return ""
  end)
end)

T.test("step, wait and loop inside a step raise", function()
  local heard = T.expect(4)
  local function try()
    T.raises("can't wait here: inside a step", rsca.step)
    T.raises("can't wait here: inside a step", rsca.wait, 0)
    T.raises("can't wait here: inside a step", rsca.loop, 0)
    coroutine.wrap(function()
      T.raises("can't wait here: inside a step", rsca.step)
    end)()
    heard()
  end
  rsca.register("tries", try)
  rsca.run("tries", "", try)
  rsca.spawn(try)
  local cancelled
  rsca.register("closed", function(_, ctx)
    local _ <close> = closing(try)
    ctx:sleep(1e6)
  end)
  cancelled = rsca.run("closed")
  rsca.step()
  cancelled:cancel()
  T.equal(rsca.loop(), true)
end)

T.test("a finalizer inside a step can't wait, and one outside may", function()
  local tried = T.expect(2)
  local pattern
  local function finalizer()
    setmetatable({}, { __gc = function()
      if pattern then
        T.raises(pattern, rsca.call, "echo")
      else
        T.equal(rsca.call("echo", "outside"), "outside")
      end
      tried()
    end })
  end
  inside(function()
    pattern = "can't wait here"
    finalizer()
    T.collect()
    return ""
  end)
  pattern = nil
  finalizer()
  T.collect()
end)

-- ---- Many and deep ----

T.test("calls nest as deep as the queue allows", function()
  rsca.register("down", function(args)
    local depth = math.tointeger(tonumber(args))
    if depth == 0 then
      return "bottom"
    end
    return (assert(rsca.call("down", depth - 1)))
  end)
  T.equal(rsca.call("down", 50), "bottom")
  T.equal(rsca.call("down", 2000), "bottom")
  local response, err = rsca.call("down", 5000)
  T.equal(response, nil)
  T.match(err.message, "queue is full")
end)

T.test("two actions may call each other", function()
  local function other(name)
    return function(args)
      local depth = math.tointeger(tonumber(args))
      return depth == 0 and "" or args .. name .. " " .. assert(rsca.call(name, depth - 1))
    end
  end
  rsca.register("a", other("b"))
  rsca.register("b", other("a"))
  T.equal(rsca.call("a", 5), "5b 4a 3b 2a 1b ")
end)

T.test("a thousand actions sleep at once, and each wakes once", function()
  local woken = T.expect(1000)
  rsca.register("sleeps", function(args, ctx)
    ctx:sleep(tonumber(args))
    woken()
  end)
  local ended = T.expect(1000)
  for i = 1, 1000 do
    assert(rsca.run("sleeps", (i * 7919 % 1000) * 1e-6, ended))
  end
  T.equal(rsca.loop(), true)
  T.equal(rsca.timeout(), nil)
end)

T.test("those that wait wake in the order of their times", function()
  local order = {}
  rsca.register("sleeps", function(args, ctx)
    ctx:sleep(tonumber(args))
    order[#order + 1] = args
  end)
  for _, seconds in ipairs { "0.02", "0", "0.03", "0.01" } do
    rsca.run("sleeps", seconds)
  end
  rsca.loop()
  T.equal(table.concat(order, " "), "0 0.01 0.02 0.03")
end)

T.test("a ctx whose call has ended raises, in a coroutine of another call, too", function()
  local old
  rsca.register("first", function(_, ctx)
    old = ctx
  end)
  rsca.call("first")
  inside(function(ctx)
    for _, method in ipairs { "sleep", "cancelled", "report" } do
      T.raises("the call of this ctx has ended", function() old[method](old, 0) end)
    end
    T.raises("the call of this ctx has ended", function() return old.name end)
    T.equal(ctx:cancelled(), false)
    return ""
  end)
end)

T.test("the ctx of another call that waits can be asked, and sleeping with it is sleeping oneself", function()
  local other
  rsca.register("holds", function(_, ctx)
    other = ctx
    ctx:sleep(1e6)
  end)
  local request = rsca.run("holds")
  rsca.step()
  T.equal(other:cancelled(), false)
  T.equal(other.name, "holds")
  inside(function()
    T.equal(other:sleep(0), true)
    request:cancel()
    T.equal(other:cancelled(), true)
    return ""
  end)
  request:await()
  T.raises("has ended", other.cancelled, other)
end)

-- ---- Somebody else resumes or closes a coroutine that rsca resumes ----

-- Runs `kept` as an action until it waits for the first time: its coroutine and its request.
local function suspended(body)
  local co
  rsca.register("kept", function(_, ctx)
    co = coroutine.running()
    return body(ctx)
  end)
  local request = assert(rsca.run("kept"))
  rsca.step()
  T.equal(coroutine.status(co), "suspended")
  return co, request
end

T.test("who resumes a coroutine that waits for rsca makes its wait raise, and the call fails", function()
  local held = assert(rsca.run("waits"))
  for _, wait in ipairs {
    function(ctx) ctx:sleep(1e-3) end,
    function() rsca.call("waits") end,
    function() rsca.run("waits"):await() end,
    function() rsca.run("waits"):await(1e6) end,
  } do
    local co, request = suspended(wait)
    local good, problem = coroutine.resume(co)
    T.equal(good, false)
    T.match(problem, "was waiting for rsca, but somebody else resumed it")
    local response, err = request:await()
    T.equal(response, nil)
    T.equal(err.status, rsca.status.E_FAIL)
  end
  held:await()
end)

T.test("who closes a coroutine that waits for rsca makes the call fail", function()
  local closed = T.expect(3)
  for _, wait in ipairs {
    function(ctx) ctx:sleep(1e-3) end,
    function() rsca.call("waits") end,
    function() coroutine.yield() end,
  } do
    local co, request = suspended(function(ctx)
      local _ <close> = closing(closed)
      wait(ctx)
    end)
    T.equal(coroutine.close(co), true)
    local response, err = request:await()
    T.equal(response, nil)
    T.equal(err.status, rsca.status.E_FAIL)
    T.match(err.message, "dead coroutine$")
  end
end)

T.test("who resumes a coroutine that gave way takes its turn, and the call goes on or fails", function()
  local co, request = suspended(function()
    T.equal(coroutine.yield(), "from outside")
    T.equal(coroutine.yield("to the outside"), nil)
    return "done"
  end)
  local _, passed = coroutine.resume(co, "from outside")
  T.equal(passed, "to the outside")
  T.equal(request:await(), "done")
  co, request = suspended(function()
    coroutine.yield()
    return "to whoever resumed it"
  end)
  T.equal(select(2, coroutine.resume(co)), "to whoever resumed it")
  local response, err = request:await()
  T.equal(response, nil)
  T.equal(err.status, rsca.status.E_FAIL)
end)

T.test("an action of which somebody else took a wait can go on", function()
  local co, request = suspended(function(ctx)
    T.raises("somebody else resumed it", ctx.sleep, ctx, 0)
    coroutine.yield() -- to the somebody
    coroutine.yield() -- to rsca
    ctx:sleep(0)
    return "went on"
  end)
  T.equal(coroutine.resume(co), true)
  T.equal(request:await(5), "went on")
  if coroutine.status(co) == "suspended" then
    request:cancel()
    rsca.step()
  end
end)

T.test("an action that somebody else resumes inside a step can't wait there", function()
  local co, request = suspended(function(ctx)
    T.raises("somebody else resumed it", ctx.sleep, ctx, 1e-3)
    T.raises("can't wait here", ctx.sleep, ctx, 0)
    T.raises("can't wait here", rsca.call, "echo")
    return "to the other action"
  end)
  inside(function()
    T.equal(select(2, coroutine.resume(co)), "to the other action")
    return ""
  end)
  T.equal(request:await(), nil)
end)

-- These may end a process, so each has its own.
local outside = [[
  io.stdout:setvbuf("no")
  local rsca = require "rsca"
  local manager = rsca.manager()
  rsca.register("nothing", function() end)
  local co
  manager:register("kept", function(_, ctx)
    co = coroutine.running()
    %s
    return "end"
  end)
  local request = manager:run("kept")
  rsca.step()
  %s
  print(coroutine.status(co))
  print(request:await(5))
]]

for _, case in ipairs {
  { "that gave way, and which then calls an action", "coroutine.yield() print(pcall(rsca.call, 'nothing'))" },
  { "that gave way, and which then sleeps", "coroutine.yield() print(pcall(ctx.sleep, ctx, 0.001))" },
  { "that slept, and which then sleeps", "pcall(ctx.sleep, ctx, 0) print(pcall(ctx.sleep, ctx, 0.001))" },
  { "that slept, and which then steps", "pcall(ctx.sleep, ctx, 0) print(pcall(rsca.step))" },
  { "that gave way, and which then loops", "coroutine.yield() print(pcall(rsca.loop, 0.001))" },
  { "that slept, and which then closes its manager", "pcall(ctx.sleep, ctx, 1e6) manager:close()" },
  { "that gave way, and which then closes its manager", "coroutine.yield() manager:close()" },
  { "that gave way, and which then waits in __close", [[
    local _ <close> = setmetatable({}, { __close = function() print(pcall(rsca.call, "nothing")) end })
    coroutine.yield()]] },
} do
  T.test("who resumes, outside of any step, an action " .. case[1] .. ", runs it to its end unharmed", function()
    local output, ending = child(outside:format(case[2], "print(coroutine.resume(co))"))
    T.equal(ending, "exit 0", output)
    T.match(output, "%f[^\0\n]true\tend\ndead\nnil\t[^\n]+\n$")
  end)
end

T.test("who closes, outside of any step, an action that gave way and waits in __close, does no harm", function()
  local output, ending = child(outside:format([[
    local _ <close> = setmetatable({}, { __close = function() print(pcall(rsca.call, "nothing")) end })
    coroutine.yield()]], "print(coroutine.close(co))"))
  T.equal(ending, "exit 0", output)
  T.match(output, "\ntrue\ndead\nnil\t[^\n]+\n$")
end)

T.finish()
