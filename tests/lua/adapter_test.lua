-- Adapters: on coroutines of a host's own, waits give way as the adapter says. The host is a loop of this file's own,
-- around rsca.wait.

local T = require "lua.support"
local rsca = require "rsca"

rsca.register("echo", function(args, ctx)
  ctx:sleep(0)
  return args
end)

rsca.register("count", function(args, ctx)
  for n = 1, math.tointeger(args) do
    assert(ctx:report(n))
    assert(ctx:sleep(0))
  end
end)

rsca.register("fail", function(_, ctx)
  ctx:sleep(0)
  return nil, "on purpose", rsca.status.E_ABORT
end)

local forever = { ended = 0 }
rsca.register("forever", function(_, ctx)
  local _ <close> = setmetatable({}, { __close = function()
    forever.ended = forever.ended + 1
  end })
  ctx:sleep(math.huge)
end)

-- ---- The host ----

local host = { ours = setmetatable({}, { __mode = "k" }), ready = {}, running = 0, turns = 0 }

local function resume(co, ...)
  local good, problem = coroutine.resume(co, ...)
  if coroutine.status(co) == "dead" then
    host.running = host.running - 1
  end
  if not good then
    error(debug.traceback(co, tostring(problem)), 0)
  end
end

function host.start(f, ...)
  local co = coroutine.create(f)
  host.ours[co] = true
  host.running = host.running + 1
  resume(co, ...)
  return co
end

-- One turn of its loop.
function host.turn()
  host.turns = host.turns + 1
  rsca.wait(20)
  local ready = host.ready
  host.ready = {}
  for _, co in ipairs(ready) do
    if coroutine.status(co) == "suspended" then
      resume(co)
    end
  end
end

function host.run()
  while host.running > 0 do
    host.turn()
  end
end

local adapter = {
  name = "the test's",
  may_wait = function()
    local co, main = coroutine.running()
    if not main and not host.ours[co] then
      return "this coroutine is nobody's"
    end
    return not main
  end,
  waiter = function()
    local co, over = coroutine.running()
    return function()
      while not over do
        coroutine.yield()
      end
    end, function()
      over = true
      table.insert(host.ready, co)
    end
  end,
}

-- Whatever is left of given up waits is gone after a step, and nothing is pending.
local function nothing_is_left()
  T.collect()
  rsca.step()
  T.equal(rsca.loop(20), true)
end

rsca.set_adapter(adapter)

-- ---- Setting one ----

T.test("a state has one adapter, and a second one is an error that names both", function()
  local problem = T.raises("the adapter 'the test's' is set already", rsca.set_adapter,
    { name = "another", may_wait = print, waiter = print })
  T.match(problem, "'another' can't be set")
end)

T.test("an adapter can be taken away and set again", function()
  rsca.set_adapter(nil)
  local co = coroutine.wrap(function()
    return rsca.call("echo", "blocks")
  end)
  T.equal(co(), "blocks")
  rsca.set_adapter(nil)
  rsca.set_adapter(adapter)
end)

T.test("what is no adapter raises, and the one that is set stays", function()
  for _, wrong in ipairs { 1, "luv", print } do
    T.raises("bad argument #1 to 'set_adapter' %(table expected", rsca.set_adapter, wrong)
  end
  T.raises("field 'name' must be a string", rsca.set_adapter, { may_wait = print, waiter = print })
  T.raises("field 'may_wait' must be a function", rsca.set_adapter, { name = "x", waiter = print })
  T.raises("field 'waiter' must be a function", rsca.set_adapter, { name = "x", may_wait = print })
  T.raises("field 'pending' must be a function", rsca.set_adapter,
    { name = "x", may_wait = print, waiter = print, pending = 1 })
  T.raises("is set already", rsca.set_adapter, adapter)
end)

T.test("rsca that is loaded again keeps the adapter", function()
  package.loaded["rsca"] = nil
  T.equal(require "rsca", rsca)
  T.raises("is set already", rsca.set_adapter, adapter)
end)

-- ---- Waiting ----

T.test("every wait gives way, and has its results", function()
  local done = T.expect(1)
  host.start(function()
    T.equal(rsca.call("echo", "called"), "called")
    T.equal(rsca.own_manager():call("echo", "its manager's"), "its manager's")
    T.equal(rsca.sleep(0), true)
    local request = assert(rsca.run("echo", "awaited"))
    T.equal(request:await(), "awaited")
    T.equal(request:await(), "awaited")
    local heard = {}
    for response in rsca.responses("count", "3") do
      heard[#heard + 1] = response
    end
    T.equal(table.concat(heard, " "), "1 2 3")
    done()
  end)
  T.equal(host.running, 1, "it waits")
  host.run()
  nothing_is_left()
end)

T.test("others go on meanwhile", function()
  local order = {}
  host.start(function()
    rsca.sleep(0.02)
    order[#order + 1] = "the one that sleeps"
  end)
  for n = 1, 3 do
    host.start(function()
      assert(rsca.call("echo"))
      order[#order + 1] = n
    end)
  end
  host.run()
  T.equal(table.concat(order, ", "), "1, 2, 3, the one that sleeps")
end)

T.test("failures come as they do elsewhere", function()
  local done = T.expect(1)
  host.start(function()
    local response, err = rsca.call("fail")
    T.equal(response, nil)
    T.equal(err.name, "E_ABORT")
    T.equal(err.action, "fail")
    response, err = rsca.call("missing")
    T.equal(response, nil)
    T.equal(err.name, "ERROR_NOT_FOUND")
    local request = assert(rsca.run("forever"))
    response, err = request:await(0)
    T.equal(response, nil)
    T.equal(err.name, "WAIT_TIMEOUT")
    assert(request:cancel())
    response, err = request:await(20)
    T.equal(response, nil)
    T.equal(err.name, "ERROR_CANCELLED")
    local problem = T.raises("on purpose", function()
      for _ in rsca.responses("fail") do
        error("not reached")
      end
    end)
    T.equal(problem.name, "E_ABORT")
    done()
  end)
  host.run()
  nothing_is_left()
end)

T.test("misuse raises at once, where it stands", function()
  local done = T.expect(1)
  host.start(function()
    local _, problem = pcall(function()
      rsca.call(1)
    end)
    T.match(problem, "^%S*adapter_test.lua:%d+: bad argument #1 to 'call'")
    T.raises("bad argument #1 to '.*sleep'", rsca.sleep, -1)
    T.raises("bad argument #1 to 'await'", function()
      assert(rsca.run("echo")):await("long")
    end)
    done()
  end)
  T.equal(host.running, 0)
  nothing_is_left()
end)

T.test("a request that is done, and a response that is there, are not waited for", function()
  local request = assert(rsca.run("echo", "done"))
  rsca.loop()
  local done = T.expect(1)
  host.start(function()
    T.equal(request:await(), "done")
    done()
  end)
  T.equal(host.running, 0)
end)

T.test("rsca's own coroutines wait as ever", function()
  local done = T.expect(2)
  rsca.spawn(function()
    T.equal(rsca.call("echo", "spawned"), "spawned")
    done()
  end)
  assert(rsca.run("echo", "", function()
    T.equal(rsca.call("echo", "in a handler"), "in a handler")
    done()
  end))
  rsca.loop()
end)

T.test("the main program blocks", function()
  T.equal(rsca.call("echo", "main"), "main")
  T.equal(rsca.sleep(0), true)
end)

-- ---- Where nothing may wait ----

T.test("where the adapter says no, the wait raises what it says", function()
  local generator = coroutine.wrap(function()
    rsca.call("echo")
  end)
  T.raises("can't wait here: this coroutine is nobody's", generator)
  nothing_is_left()
end)

T.test("inside a function that can't yield it raises", function()
  local done = T.expect(1)
  host.start(function()
    T.raises("can't wait here: inside a function that can't yield", table.sort, { 1, 2 }, function()
      rsca.call("echo")
    end)
    done()
  end)
  host.run()
end)

T.test("a host's coroutine that runs inside a step can't wait there", function()
  local done = T.expect(1)
  rsca.spawn(function()
    host.start(function()
      T.raises("can't wait here: this coroutine is not one that rsca resumes", rsca.call, "echo")
      done()
    end)
  end)
  rsca.loop()
end)

T.test("what may_wait raises comes out of the wait", function()
  rsca.set_adapter(nil)
  rsca.set_adapter { name = "broken", may_wait = function()
    error("out of order")
  end, waiter = print }
  T.raises("out of order", rsca.call, "echo")
  rsca.set_adapter(nil)
  rsca.set_adapter { name = "broken", may_wait = function()
    return true
  end, waiter = function()
    error("no waiter to be had")
  end }
  T.raises("no waiter to be had", coroutine.wrap(function()
    rsca.call("echo")
  end))
  rsca.set_adapter(nil)
  rsca.set_adapter(adapter)
  nothing_is_left()
end)

-- ---- Telling the host's loop that something has begun ----

T.test("pending is called once for what begins after loop has said that nothing is pending", function()
  local times = 0
  rsca.set_adapter(nil)
  rsca.set_adapter { name = "told", may_wait = adapter.may_wait, waiter = adapter.waiter, pending = function()
    times = times + 1
    error("goes nowhere")
  end }
  local manager = rsca.own_manager()
  for name, begin in pairs {
    run = function() assert(rsca.run("echo", "", function() end)) end,
    request = function() assert(rsca.run("echo", "")) end,
    method = function() T.equal(manager:RunCustomAction("echo", "", function() end), 0) end,
    registration = function() T.equal(manager:RegisterCustomActionCallback("count", "1", function() end), 0) end,
    subscribe = function() assert(rsca.subscribe("count", "1", function() end)) end,
    responses = function() assert(rsca.responses("count", "1")) end,
    spawn = function() rsca.spawn(function() end) end,
  } do
    T.collect()
    T.equal(rsca.loop(20), true)
    times = 0
    begin()
    T.equal(times, 1, name)
    assert(rsca.run("echo", "", function() end))
    T.equal(times, 1, name)
  end
  rsca.loop(20)
  rsca.set_adapter(nil)
  rsca.set_adapter(adapter)
end)

-- ---- Coroutines that are given up ----

-- Runs f on a coroutine of the host's until that waits, then closes the coroutine.
local function give_up(f)
  local co = host.start(f)
  rsca.step()
  T.equal(coroutine.status(co), "suspended")
  T.truthy(coroutine.close(co))
  host.running = host.running - 1
end

T.test("closing a coroutine that sleeps leaves nothing behind", function()
  give_up(function()
    rsca.sleep(math.huge)
  end)
  nothing_is_left()
end)

T.test("closing a coroutine that awaits a call leaves the call alone", function()
  local before = forever.ended
  local request = assert(rsca.run("forever"))
  give_up(function()
    request:await()
  end)
  T.equal(rsca.loop(0.01), false, "the call goes on")
  T.equal(forever.ended, before)
  request:cancel()
  nothing_is_left()
  T.equal(forever.ended, before + 1)
end)

T.test("closing a coroutine inside a loop over responses ends the action", function()
  local before = forever.ended
  give_up(function()
    for _ in rsca.responses("forever") do
      error("not reached")
    end
  end)
  nothing_is_left()
  T.equal(forever.ended, before + 1)
end)

T.test("a wait that was never begun is given up, too", function()
  local co = host.start(function()
    rsca.sleep(math.huge)
  end)
  T.truthy(coroutine.close(co))
  host.running = host.running - 1
  nothing_is_left()
end)

T.test("a coroutine that is collected while it waits leaves nothing behind", function()
  rsca.set_adapter(nil)
  rsca.set_adapter { name = "forgetful", may_wait = adapter.may_wait, waiter = function()
    return coroutine.yield, function() end
  end }
  local co = coroutine.create(function()
    rsca.sleep(math.huge)
  end)
  host.ours[co] = true
  assert(coroutine.resume(co))
  T.equal(rsca.loop(0.01), false)
  co = nil -- luacheck: ignore
  nothing_is_left()
  rsca.set_adapter(nil)
  rsca.set_adapter(adapter)
end)

T.test("a wait that the host resumes too early goes on", function()
  rsca.set_adapter(nil)
  rsca.set_adapter { name = "restless", may_wait = adapter.may_wait, waiter = function()
    local co = coroutine.running()
    return coroutine.yield, function()
      table.insert(host.ready, co)
    end
  end }
  local done = T.expect(1)
  local co = host.start(function()
    T.equal(rsca.call("echo", "patience"), "patience")
    done()
  end)
  resume(co)
  resume(co)
  host.run()
  rsca.set_adapter(nil)
  rsca.set_adapter(adapter)
end)

T.test("many coroutines wait at once", function()
  local done = T.expect(200)
  for n = 1, 200 do
    host.start(function()
      T.equal(rsca.call("echo", n), tostring(n))
      done()
    end)
  end
  host.run()
  nothing_is_left()
end)

-- Waiting coroutines while the state closes: nothing may be touched that is gone.
host.start(function()
  rsca.sleep(math.huge)
end)
host.start(function()
  for _ in rsca.responses("forever") do
    error("not reached")
  end
end)
rsca.step()

T.finish()
