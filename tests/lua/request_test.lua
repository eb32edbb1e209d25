-- Requests, which rsca.run answers without a callback: awaiting and cancelling them.

local T = require "lua.support"
local rsca = require "rsca"

-- For actions that must not end yet: gives way until `gate.open`.
local gate = {}
local function close_gate()
  gate.open = false
  rsca.register("gated", function(args)
    while not gate.open do
      coroutine.yield()
    end
    return args
  end)
end

rsca.register("echo", function(args)
  return args
end)

rsca.register("forever", function(_, ctx)
  return ctx:sleep(1e6)
end)

-- A <close> variable that calls f.
local function closing(f)
  return setmetatable({}, { __close = f })
end

local function status_of(value, err)
  T.equal(value, nil)
  return err.status
end

T.test("await answers with what the action returned, as often as it is asked", function()
  local request = assert(rsca.run("echo", "hello"))
  for _ = 1, 3 do
    T.equal(request:await(), "hello")
    T.equal(select("#", request:await()), 1)
  end
end)

T.test("await of a call that failed answers nil, err", function()
  rsca.register("fails", function()
    return nil, "not today", rsca.status.E_ACCESSDENIED
  end)
  local request = assert(rsca.run("fails"))
  for _ = 1, 2 do
    local response, err = request:await()
    T.equal(response, nil)
    T.equal(err.status, rsca.status.E_ACCESSDENIED)
    T.equal(err.message, "not today")
    T.equal(err.action, "fails")
    T.equal(err.traceback, nil)
  end
end)

T.test("await of an action that raised has the traceback", function()
  rsca.register("raises", function()
    error("broken")
  end)
  local response, err = rsca.run("raises"):await()
  T.equal(response, nil)
  T.equal(err.status, rsca.status.E_FAIL)
  T.match(err.message, "request_test%.lua:%d+: broken$")
  T.match(err.traceback, "^stack traceback:\n")
end)

T.test("a success status comes after the response", function()
  rsca.register("half", function()
    return "some", rsca.status.S_FALSE
  end)
  local response, status = rsca.run("half"):await()
  T.equal(response, "some")
  T.equal(status, rsca.status.S_FALSE)
end)

T.test("await with a limit answers nil, err with WAIT_TIMEOUT, and the call goes on", function()
  close_gate()
  local request = assert(rsca.run("gated", "late"))
  for _, seconds in ipairs { 0, 0.001, 0 } do
    local response, err = request:await(seconds)
    T.equal(response, nil)
    T.equal(err.status, 0x80070102)
    T.equal(err.name, "WAIT_TIMEOUT")
    T.equal(err.action, "gated")
  end
  gate.open = true
  T.equal(request:await(), "late")
  T.equal(request:await(0), "late")
end)

T.test("await with a limit does the same inside an action", function()
  close_gate()
  local request = assert(rsca.run("gated", "late"))
  rsca.register("waiter", function()
    for _, seconds in ipairs { 0, 0.001, 0 } do
      T.equal(status_of(request:await(seconds)), rsca.status.WAIT_TIMEOUT)
    end
    gate.open = true
    T.equal(request:await(1e6), "late")
    T.equal(request:await(0), "late")
    return "through"
  end)
  T.equal(rsca.call("waiter"), "through")
end)

T.test("await(0) runs what is due", function()
  local request = assert(rsca.run("echo", "now"))
  T.equal(request:await(0), "now")
  rsca.register("waiter", function()
    return rsca.run("echo", "inside"):await(0)
  end)
  T.equal(rsca.call("waiter"), "inside")
end)

T.test("a very large limit is no limit, and one that is no time raises", function()
  local request = assert(rsca.run("echo", "x"))
  T.equal(request:await(math.huge), "x")
  T.equal(rsca.run("echo", "y"):await(1e300), "y")
  T.equal(rsca.run("echo", "z"):await(nil), "z")
  for _, wrong in ipairs { -1, -math.huge, 0 / 0, "soon", {} } do
    T.raises("bad argument #1 to 'await'", function()
      request:await(wrong)
    end)
  end
end)

T.test("several actions may await one request: each hears its result", function()
  close_gate()
  local request = assert(rsca.run("gated", "shared"))
  rsca.register("waiter", function()
    return (request:await())
  end)
  local waiters = {}
  for i = 1, 5 do
    waiters[i] = rsca.run("waiter")
  end
  rsca.step()
  rsca.step()
  gate.open = true
  for i = 1, 5 do
    T.equal(waiters[i]:await(), "shared")
  end
  T.equal(request:await(), "shared")
end)

T.test("of several that await one request, one may give up or be cancelled without harm to the others", function()
  close_gate()
  local request = assert(rsca.run("gated", "shared"))
  rsca.register("waiter", function(args)
    return request:await(tonumber(args))
  end)
  local first, cancelled = rsca.run("waiter"), rsca.run("waiter")
  local short, last = rsca.run("waiter", "0"), rsca.run("waiter")
  rsca.step()
  T.equal(cancelled:cancel(), true)
  T.equal(status_of(cancelled:await()), rsca.status.ERROR_CANCELLED)
  T.equal(status_of(short:await()), rsca.status.WAIT_TIMEOUT)
  gate.open = true
  T.equal(first:await(), "shared")
  T.equal(last:await(), "shared")
end)

T.test("a request may be awaited while the script awaits it too", function()
  close_gate()
  local request = assert(rsca.run("gated", "both"))
  local heard = T.expect(1)
  rsca.spawn(function()
    T.equal(request:await(), "both")
    heard()
  end)
  rsca.spawn(function()
    gate.open = true
  end)
  T.equal(request:await(), "both")
  T.equal(rsca.loop(), true)
end)

T.test("a handler can await a request", function()
  local heard = T.expect(1)
  rsca.run("echo", "outer", function(_, response)
    T.equal(response, "outer")
    T.equal(rsca.run("echo", "inner"):await(), "inner")
    heard()
  end)
  rsca.loop()
end)

T.test("an action that awaits itself can give up, and can be cancelled", function()
  local self
  rsca.register("selfish", function(args)
    return self:await(tonumber(args))
  end)
  self = assert(rsca.run("selfish", "0"))
  T.equal(status_of(self:await()), rsca.status.WAIT_TIMEOUT)
  self = assert(rsca.run("selfish"))
  rsca.step()
  T.equal(self:cancel(), true)
  T.equal(status_of(self:await()), rsca.status.ERROR_CANCELLED)
end)

T.test(".id is the number of the call: ctx.id has it, rsca.cancel takes it", function()
  local seen
  rsca.register("see", function(_, ctx)
    seen = ctx.id
  end)
  local request = assert(rsca.run("see"))
  T.equal(math.type(request.id), "integer")
  request:await()
  T.equal(seen, request.id)
  request = assert(rsca.run("forever"))
  rsca.step()
  T.equal(rsca.cancel(request.id), true)
  T.equal(status_of(request:await()), rsca.status.ERROR_CANCELLED)
  T.equal(status_of(rsca.cancel(request.id)), rsca.status.ERROR_NOT_FOUND)
end)

T.test("a request says what it is, and has no other fields", function()
  local request = assert(rsca.run("echo"))
  T.match(tostring(request), "call " .. request.id .. " of 'echo'$")
  request:await()
  T.match(tostring(request), "ended")
  T.equal(request.nothing, nil)
  T.equal(request[1], nil)
  T.equal(getmetatable(request), false)
  T.raises("request", request.await, {})
  T.raises("request", request.cancel)
  T.raises("", function() request.id = 1 end)
end)

T.test("dropping a request ends nothing", function()
  local ended = T.expect(2)
  rsca.register("counts", function(_, ctx)
    ctx:sleep(0)
    ended()
  end)
  rsca.run("counts")
  T.collect() -- queued
  rsca.step()
  rsca.run("counts")
  rsca.step(1)
  T.collect() -- waiting
  T.equal(rsca.loop(), true)
end)

T.test("a request keeps its result when the manager is gone", function()
  local request
  do
    local manager <close> = rsca.manager()
    manager:register("echo", function(args)
      return args
    end)
    request = assert(manager:run("echo", "kept"))
    T.equal(request:await(), "kept")
  end
  T.collect()
  T.equal(request:await(), "kept")
  T.equal(status_of(request:cancel()), rsca.status.ERROR_NOT_FOUND)
end)

T.test("the name's registration may go while the call is on its way", function()
  rsca.register("brief", function()
    return "still"
  end)
  local request = assert(rsca.run("brief"))
  T.equal(rsca.unregister("brief"), true)
  T.collect()
  T.equal(request:await(), "still")
end)

-- ---- Cancelling ----

T.test("cancel of a queued call: it never starts", function()
  local ran = T.expect(0)
  rsca.register("runs", function()
    ran()
  end)
  local request = assert(rsca.run("runs"))
  T.equal(request:cancel(), true)
  local response, err = request:await()
  T.equal(response, nil)
  T.equal(err.status, 0x800704C7)
  T.equal(err.name, "ERROR_CANCELLED")
  T.equal(err.action, "runs")
  T.truthy(#err.message > 0, "it says why")
end)

T.test("cancel of a waiting call: its <close> variables run, last one first", function()
  local order = {}
  local function note(name)
    return closing(function(_, problem)
      order[#order + 1] = name
      T.equal(problem, nil)
    end)
  end
  rsca.register("holds", function(_, ctx)
    local first <close> = note("first")
    local second <close> = note("second")
    pcall(function()
      local third <close> = note("third")
      ctx:sleep(1e6)
    end)
    order[#order + 1] = "went on"
  end)
  local request = assert(rsca.run("holds"))
  rsca.step()
  T.equal(request:cancel(), true)
  T.equal(#order, 0)
  T.equal(status_of(request:await()), rsca.status.ERROR_CANCELLED)
  T.equal(table.concat(order, " "), "third second first")
end)

T.test("cancel reaches every way to wait", function()
  close_gate()
  local gated = assert(rsca.run("gated", "inner"))
  local ways = {
    function(ctx) ctx:sleep(1e6) end,
    function() rsca.sleep(1e6) end,
    function() rsca.call("gated") end,
    function() gated:await() end,
    function() gated:await(1e6) end,
    function() while true do coroutine.yield() end end,
  }
  local closed = T.expect(#ways)
  rsca.register("way", function(args, ctx)
    local _ <close> = closing(closed)
    ways[math.tointeger(tonumber(args))](ctx)
  end)
  for i = 1, #ways do
    local request = assert(rsca.run("way", i))
    rsca.step()
    rsca.step()
    T.equal(request:cancel(), true)
    T.equal(status_of(request:await()), rsca.status.ERROR_CANCELLED, "way " .. i)
  end
  gate.open = true
  T.equal(gated:await(), "inner")
  T.equal(rsca.loop(), true)
end)

T.test("an action that cancels itself goes on until its next wait", function()
  local order = {}
  rsca.register("self", function(_, ctx)
    local _ <close> = closing(function() order[#order + 1] = "closed" end)
    T.equal(ctx:cancelled(), false)
    T.equal(rsca.cancel(ctx.id), true)
    T.equal(ctx:cancelled(), true)
    order[#order + 1] = "goes on"
    ctx:sleep(0)
    order[#order + 1] = "never"
  end)
  T.equal(status_of(rsca.call("self")), rsca.status.ERROR_CANCELLED)
  T.equal(table.concat(order, ", "), "goes on, closed")
end)

T.test("if a cancelled action returns first, what it returns counts", function()
  rsca.register("self", function(_, ctx)
    rsca.cancel(ctx.id)
    return "all the same"
  end)
  T.equal(rsca.call("self"), "all the same")
end)

T.test("what a cancelled action reports counts if it returns, and is dropped if it waits", function()
  rsca.register("self", function(args, ctx)
    T.equal(ctx:report("before "), true)
    rsca.cancel(ctx.id)
    T.equal(ctx:report("after "), true)
    if args == "wait" then
      ctx:sleep(0)
    end
    return "end"
  end)
  T.equal(rsca.call("self"), "before after end")
  local response, err = rsca.call("self", "wait")
  T.equal(response, nil)
  T.equal(err.status, rsca.status.ERROR_CANCELLED)
  T.equal(err.message:find("before"), nil)
end)

T.test("cancel of a call that has ended answers nil, err with NOT_FOUND", function()
  local request = assert(rsca.run("echo"))
  request:await()
  local done, err = request:cancel()
  T.equal(done, nil)
  T.equal(err.status, 0x80070490)
  T.equal(err.name, "ERROR_NOT_FOUND")
  request = assert(rsca.run("forever"))
  rsca.step()
  request:cancel()
  request:await()
  T.equal(status_of(request:cancel()), rsca.status.ERROR_NOT_FOUND)
  for _, id in ipairs { 0, -1, math.maxinteger, math.mininteger } do
    T.equal(status_of(rsca.cancel(id)), rsca.status.ERROR_NOT_FOUND)
  end
  T.raises("bad argument #1", rsca.cancel, "first")
  T.raises("bad argument #1", rsca.cancel)
end)

T.test("cancelling twice is cancelling once", function()
  local closed = T.expect(1)
  local told = T.expect(1)
  rsca.register("holds", function(_, ctx)
    local _ <close> = closing(closed)
    ctx:sleep(1e6)
  end)
  local id = assert(rsca.run("holds", "", function(status)
    T.equal(status, rsca.status.ERROR_CANCELLED)
    told()
  end))
  rsca.step()
  T.equal(rsca.cancel(id), true)
  T.equal(rsca.cancel(id), true)
  T.equal(rsca.loop(), true)
end)

T.test("cancelling a call leaves the calls that it waits for alone", function()
  close_gate()
  local inner
  rsca.register("outer", function()
    inner = assert(rsca.run("gated", "goes on"))
    return inner:await()
  end)
  local outer = assert(rsca.run("outer"))
  rsca.step()
  rsca.step()
  outer:cancel()
  T.equal(status_of(outer:await()), rsca.status.ERROR_CANCELLED)
  gate.open = true
  T.equal(inner:await(), "goes on")
end)

T.test("in __close after a cancel waits answer nil, err", function()
  close_gate()
  local gated = assert(rsca.run("gated"))
  local closed = T.expect(1)
  rsca.register("holds", function(_, ctx)
    local _ <close> = closing(function()
      T.equal(ctx:cancelled(), true)
      T.equal(ctx.name, "holds")
      T.equal(status_of(ctx:sleep(1e6)), rsca.status.ERROR_CANCELLED)
      T.equal(status_of(rsca.sleep(0)), rsca.status.ERROR_CANCELLED)
      T.equal(status_of(rsca.call("echo")), rsca.status.ERROR_CANCELLED)
      T.equal(status_of(gated:await()), rsca.status.ERROR_CANCELLED)
      T.equal(status_of(gated:await(0)), rsca.status.ERROR_CANCELLED)
      closed()
    end)
    ctx:sleep(1e6)
  end)
  local request = assert(rsca.run("holds"))
  rsca.step()
  request:cancel()
  T.equal(status_of(request:await()), rsca.status.ERROR_CANCELLED)
  gate.open = true
  gated:await()
end)

T.test("in __close after a cancel what needs no wait works", function()
  local done = T.expect(2)
  rsca.register("holds", function(_, ctx)
    local _ <close> = closing(function()
      assert(rsca.run("echo", "after", function(_, response)
        T.equal(response, "after")
        done()
      end))
      rsca.spawn(done)
    end)
    ctx:sleep(1e6)
  end)
  local request = assert(rsca.run("holds"))
  rsca.step()
  request:cancel()
  T.equal(status_of(request:await()), rsca.status.ERROR_CANCELLED)
  T.equal(rsca.loop(), true)
end)

T.test("what __close raises after a cancel goes to on_error, and the call ends as cancelled", function()
  local heard = T.expect(1)
  local hook = rsca.on_error
  rsca.on_error = function(err)
    T.match(err.message, "request_test%.lua:%d+: in the way$")
    T.equal(err.status, rsca.status.E_FAIL)
    T.equal(err.action, "holds")
    heard()
  end
  local closed = T.expect(1)
  rsca.register("holds", function(_, ctx)
    local _ <close> = closing(closed)
    local _ <close> = closing(function() error("in the way") end)
    ctx:sleep(1e6)
  end)
  local request = assert(rsca.run("holds"))
  rsca.step()
  request:cancel()
  T.equal(status_of(request:await()), rsca.status.ERROR_CANCELLED)
  rsca.on_error = hook
end)

T.test("cancel in the step in which the call would have ended on its own", function()
  rsca.register("short", function(_, ctx)
    ctx:sleep(0)
    return "ended"
  end)
  for _ = 1, 20 do
    local request = assert(rsca.run("short"))
    rsca.step()
    request:cancel()
    local response, err = request:await()
    T.truthy(response == "ended" or err.status == rsca.status.ERROR_CANCELLED)
  end
end)

T.finish()
