-- Managers that a script makes, and the state's own: options, limits, closing.

local T = require "lua.support"
local rsca = require "rsca"

local CANCELLED = rsca.status.ERROR_CANCELLED

local function closing(f)
  return setmetatable({}, { __close = f })
end

local function status_of(value, err)
  T.equal(value, nil)
  return err.status
end

-- A manager with the actions most tests need.
local function new(options)
  local manager = assert(rsca.manager(options))
  manager:register("echo", function(args)
    return args
  end)
  manager:register("forever", function(_, ctx)
    return ctx:sleep(1e6)
  end)
  return manager
end

-- A handler that must hear exactly once, that the call was cancelled.
local function hears_cancelled()
  local heard = T.expect(1)
  return function(status, response, final)
    T.equal(status, CANCELLED)
    T.truthy(#response > 0, "why")
    T.equal(final, true)
    heard()
  end
end

local function must_not_hear()
  return T.expect(0)
end

-- ---- Options ----

T.test("rsca.manager takes queue_limit and queue_bytes, or nothing", function()
  for _, options in ipairs { false, {}, { queue_limit = 1 }, { queue_bytes = 1 }, { queue_limit = 5.0 },
    { queue_limit = 2147483647, queue_bytes = 2147483647 } } do
    local manager <close> = new(options or nil)
    T.match(tostring(manager), "^rsca.manager: ")
    T.equal(getmetatable(manager), false)
    T.equal(manager:call("echo", "x"), "x")
  end
end)

T.test("options that are none, or of a wrong kind, raise and are named", function()
  for _, case in ipairs {
    { { queue_limit = 0 }, "queue_limit" }, { { queue_limit = -1 }, "queue_limit" },
    { { queue_limit = 1.5 }, "queue_limit" }, { { queue_limit = "5" }, "queue_limit" },
    { { queue_limit = 1 << 31 }, "queue_limit" }, { { queue_limit = {} }, "queue_limit" },
    { { queue_bytes = 0 }, "queue_bytes" }, { { queue_bytes = "many" }, "queue_bytes" },
    { { queue_limits = 5 }, "unknown option 'queue_limits'" }, { { 5 }, "unknown option" },
    { { [true] = 1 }, "unknown option" }, { 5, "table expected" }, { "x", "table expected" },
    { function() end, "table expected" },
  } do
    T.raises("bad argument #1 .*" .. case[2], rsca.manager, case[1])
  end
end)

T.test("queue_limit counts what is accepted and has not ended", function()
  local manager <close> = new { queue_limit = 2 }
  local waiting = assert(manager:run("forever"))
  rsca.step()
  local queued = assert(manager:run("echo", "x"))
  local request, err = manager:run("echo")
  T.equal(request, nil)
  T.equal(err.status, 0x800700AA)
  T.equal(err.name, "ERROR_BUSY")
  T.equal(status_of(manager:call("echo")), rsca.status.ERROR_BUSY)
  T.equal(status_of(manager:run("echo", "", must_not_hear())), rsca.status.ERROR_BUSY)
  T.equal(manager:RunCustomAction("echo", "", must_not_hear()), rsca.status.ERROR_BUSY)
  T.equal(queued:await(), "x")
  T.equal(manager:call("echo", "y"), "y")
  waiting:cancel()
  T.equal(status_of(waiting:await()), CANCELLED)
end)

T.test("with queue_limit = 1 a handler can hand in the next call", function()
  local manager <close> = new { queue_limit = 1 }
  local heard = T.expect(50)
  local function next_one(_, response)
    heard()
    local i = math.tointeger(tonumber(response))
    if i < 50 then
      T.equal(math.type(assert(manager:run("echo", i + 1, next_one))), "integer")
      T.equal(status_of(manager:run("echo")), rsca.status.ERROR_BUSY)
    end
  end
  assert(manager:run("echo", 1, next_one))
  T.equal(rsca.loop(), true)
end)

T.test("with queue_limit = 1 whoever awaited the call can make the next, and the action itself can't", function()
  local manager <close> = new { queue_limit = 1 }
  for i = 1, 3 do
    T.equal(manager:run("echo", i):await(), tostring(i))
  end
  rsca.register("inside", function()
    for i = 1, 3 do
      T.equal(manager:call("echo", i), tostring(i))
    end
    return ""
  end)
  assert(rsca.call("inside"))
  manager:register("again", function()
    T.equal(status_of(manager:call("echo")), rsca.status.ERROR_BUSY)
    return "refused"
  end)
  T.equal(manager:call("again"), "refused")
end)

T.test("queue_bytes counts the bytes of their arguments", function()
  local manager <close> = new { queue_bytes = 10 }
  local request = assert(manager:run("echo", "123456"))
  T.equal(status_of(manager:run("echo", "12345")), rsca.status.ERROR_BUSY)
  T.equal(manager:call("echo", "1234"), "1234")
  T.equal(request:await(), "123456")
  T.equal(manager:call("echo", "1234567890"), "1234567890")
  T.equal(status_of(manager:call("echo", "12345678901")), rsca.status.ERROR_BUSY)
  T.equal(manager:call("echo"), "")
end)

T.test("the limits of one manager are not those of another", function()
  local one <close> = new { queue_limit = 1 }
  local other <close> = new { queue_limit = 1 }
  local a, b = assert(one:run("echo", "a")), assert(other:run("echo", "b"))
  T.equal(a:await(), "a")
  T.equal(b:await(), "b")
end)

-- ---- The state's own ----

T.test("own_manager is the one that the functions of the module speak to, always the same object", function()
  local own = rsca.own_manager()
  T.equal(rsca.own_manager(), own)
  own:register("mine", function()
    return "own"
  end)
  T.equal(rsca.call("mine"), "own")
  T.equal(own:call("mine"), "own")
  local found = false
  for _, action in ipairs(rsca.list()) do
    found = found or action.name == "mine"
  end
  T.truthy(found)
  T.equal(own:unregister("mine"), true)
  T.equal(status_of(rsca.call("mine")), rsca.status.ERROR_NOT_FOUND)
end)

T.test("a manager's methods need a manager", function()
  local manager <close> = new()
  for _, method in ipairs { "register", "unregister", "call", "run", "cancel", "list", "close", "RunCustomAction",
    "AddRef", "Release" } do
    T.raises("rsca.manager", manager[method], {})
    T.raises("rsca.manager", manager[method], io.stdout)
    T.raises("rsca.manager", manager[method])
  end
  T.equal(manager.nothing, nil)
end)

-- ---- Closing ----

T.test("close can be said again, and <close> says it too", function()
  local manager = new()
  do
    local _ <close> = manager
    T.equal(manager:call("echo", "x"), "x")
  end
  T.equal(tostring(manager), "rsca.manager: closed")
  T.equal(select("#", manager:close()), 0)
  T.equal(select("#", manager:close()), 0)
end)

T.test("what a closed manager is asked raises", function()
  local manager = new()
  manager:close()
  local closed = "this manager has been closed"
  T.raises(closed, manager.register, manager, "x", print)
  T.raises(closed, manager.unregister, manager, "echo")
  T.raises(closed, manager.call, manager, "echo")
  T.raises(closed, manager.run, manager, "echo", "", must_not_hear())
  T.raises(closed, manager.cancel, manager, 1)
  T.raises(closed, manager.list, manager)
  T.raises(closed, manager.RunCustomAction, manager, "echo", "", must_not_hear())
  T.raises(closed, manager.AddRef, manager)
  T.raises(closed, manager.Release, manager)
end)

T.test("close ends queued and waiting calls: each is told once, and <close> variables run", function()
  local manager = new()
  local closed = T.expect(1)
  local ran = T.expect(0)
  manager:register("holds", function(_, ctx)
    local _ <close> = closing(closed)
    ctx:sleep(1e6)
  end)
  manager:register("runs", function()
    ran()
  end)
  manager:run("holds", "", hears_cancelled())
  local waiting = manager:run("forever")
  rsca.step()
  manager:run("runs", "", hears_cancelled())
  local heard = hears_cancelled()
  manager:RunCustomAction("runs", "", { ReportResult = function(_, ...) heard(...) end })
  local queued = manager:run("runs")
  manager:close()
  T.equal(status_of(waiting:await()), CANCELLED)
  T.equal(status_of(queued:await()), CANCELLED)
  T.equal(rsca.loop(), true)
end)

T.test("what has ended before the close keeps its result", function()
  local manager = new()
  local heard = T.expect(1)
  manager:run("echo", "x", function(status, response)
    T.equal(status, rsca.status.S_OK)
    T.equal(response, "x")
    heard()
  end)
  local request = manager:run("echo", "y")
  rsca.step(2)
  manager:close()
  T.equal(request:await(), "y")
  T.equal(rsca.loop(), true)
end)

T.test("close inside an action of its own: the action goes on until its next wait, and no other starts", function()
  local manager = new()
  local went_on, ran = T.expect(1), T.expect(0)
  manager:register("closes", function(_, ctx)
    manager:close()
    T.equal(tostring(manager), "rsca.manager: closed")
    T.raises("closed", manager.run, manager, "echo")
    went_on()
    ctx:sleep(0)
    ran()
  end)
  manager:register("runs", ran)
  manager:run("forever", "", hears_cancelled())
  rsca.step()
  local request = manager:run("closes")
  manager:run("runs", "", hears_cancelled())
  T.equal(status_of(request:await()), CANCELLED)
  T.equal(rsca.loop(), true)
end)

T.test("close inside an action of its own that then returns: what it returns counts", function()
  local manager = new()
  manager:register("closes", function()
    manager:close()
    T.collect()
    return "closed it"
  end)
  T.equal(manager:call("closes"), "closed it")
end)

T.test("close inside a handler of its own", function()
  local manager = new()
  local heard = T.expect(1)
  manager:run("forever", "", hears_cancelled())
  rsca.step()
  manager:run("echo", "x", function(status, response)
    T.equal(status, rsca.status.S_OK)
    T.equal(response, "x")
    manager:close()
    manager:close()
    T.collect()
    heard()
  end)
  rsca.step()
  assert(manager:run("echo", "y", hears_cancelled()))
  rsca.step(1)
  T.equal(rsca.loop(), true)
end)

T.test("close inside __close of an action that its close ends", function()
  local manager = new()
  local closed = T.expect(2)
  manager:register("holds", function(_, ctx)
    local _ <close> = closing(function()
      manager:close()
      closed()
    end)
    ctx:sleep(1e6)
  end)
  manager:run("holds", "", hears_cancelled())
  manager:run("holds", "", hears_cancelled())
  rsca.step()
  manager:close()
  T.equal(rsca.loop(), true)
end)

T.test("close while other managers' actions wait for its calls", function()
  local manager = new()
  rsca.register("outer", function()
    return manager:call("forever")
  end)
  local outer = assert(rsca.run("outer"))
  rsca.step()
  rsca.step()
  manager:close()
  local response, err = outer:await()
  T.equal(response, nil)
  T.equal(err.status, CANCELLED)
end)

T.test("after close, requests of its calls answer, and their cancel finds nothing", function()
  local manager = new()
  local request = manager:run("forever")
  rsca.step()
  manager:close()
  T.equal(status_of(request:await(0)), CANCELLED)
  T.equal(status_of(request:cancel()), rsca.status.ERROR_NOT_FOUND)
end)

T.test("a handler hears of a close only in a step", function()
  local manager = new()
  local heard = 0
  manager:run("forever", "", function() heard = heard + 1 end)
  rsca.step()
  manager:close()
  T.equal(heard, 0)
  T.equal(rsca.loop(), true)
  T.equal(heard, 1)
end)

-- ---- References ----

T.test("AddRef and Release answer with the updated count, and the last Release closes", function()
  local manager = new()
  local count = manager:AddRef()
  T.equal(manager:AddRef(), count + 1)
  T.equal(manager:Release(), count)
  T.equal(manager:Release(), count - 1)
  T.equal(manager:call("echo", "still"), "still")
  manager:run("forever", "", hears_cancelled())
  rsca.step()
  T.equal(manager:Release(), 0)
  T.equal(tostring(manager), "rsca.manager: closed")
  T.raises("closed", manager.Release, manager)
  manager:close()
  T.equal(rsca.loop(), true)
end)

T.test("close gives back what was added", function()
  local manager = new()
  for _ = 1, 10 do
    manager:AddRef()
  end
  manager:run("forever", "", hears_cancelled())
  manager:close()
  T.raises("closed", manager.Release, manager)
  T.equal(rsca.loop(), true)
end)

-- ---- Dropped ----

T.test("a manager that is garbage with calls in flight lives until they have ended", function()
  local heard, open = T.expect(1), false
  local weak = setmetatable({}, { __mode = "v" })
  do
    local manager = new()
    manager:register("gated", function(args)
      repeat coroutine.yield() until open
      return args
    end)
    manager:run("gated", "x", function(status, response)
      T.equal(status, rsca.status.S_OK)
      T.equal(response, "x")
      heard()
    end)
    weak.manager = manager
  end
  for _ = 1, 3 do
    rsca.step()
    T.collect()
    T.truthy(weak.manager, "collected too early")
  end
  open = true
  T.equal(rsca.loop(), true)
  T.collect()
  T.equal(weak.manager, nil, "not collected")
  rsca.step()
end)

T.test("a manager that is garbage with a call queued runs it", function()
  local heard = T.expect(1)
  new():run("echo", "x", function(_, response)
    T.equal(response, "x")
    heard()
  end)
  T.collect()
  T.equal(rsca.loop(), true)
end)

T.test("call on a manager that nothing else names", function()
  T.equal(new():call("echo", "x"), "x")
  rsca.register("inside", function()
    return new():call("echo", "y")
  end)
  T.equal(rsca.call("inside"), "y")
  T.equal(new():run("echo", "z"):await(), "z")
end)

-- The last one: afterwards the functions of the module have no manager.
T.test("closing the state's own manager gives it back: what is in flight goes on, what asks for it raises", function()
  local heard = T.expect(1)
  rsca.register("waits", function(_, ctx)
    ctx:sleep(0)
    return "done"
  end)
  rsca.run("waits", "", function(status, response)
    T.equal(status, rsca.status.S_OK)
    T.equal(response, "done")
    heard()
  end)
  local request = rsca.run("waits")
  rsca.step()
  local own <close> = rsca.own_manager()
  own:close()
  own:close()
  local released = "this state's manager has been released"
  T.raises(released, rsca.own_manager)
  T.raises(released, rsca.register, "x", print)
  T.raises(released, rsca.unregister, "waits")
  T.raises(released, rsca.call, "waits")
  T.raises(released, rsca.run, "waits")
  T.raises(released, rsca.cancel, 1)
  T.raises(released, rsca.list)
  T.raises("closed", own.call, own, "waits")
  T.equal(request:await(), "done")
  local other <close> = new()
  T.equal(other:call("echo", "x"), "x")
  rsca.spawn(function() rsca.sleep(0) end)
  T.equal(rsca.loop(), true)
end)

T.finish()
