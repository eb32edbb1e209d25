-- Cancelling calls of a pool: request:cancel([grace]), m:cancel(id [, grace]), subscription:close(), from wherever.

local T = require "lua.support"
local pools = require "lua.pools"
local rsca = require "rsca"

local status = rsca.status

local chunk = [[
local function forever()
  while true do
  end
end

local function note(name)
  return closing(function() tell(name) end)
end

rsca.register("computes", function()
  local _ <close> = note "closed"
  tell "computes"
  forever()
end)
rsca.register("waits", function(_, ctx)
  local _ <close> = note "closed"
  tell "waits"
  ctx:sleep(1e6)
end)
rsca.register("waits for another", function(_, ctx)
  local _ <close> = note "closed"
  tell "waits for another"
  return rsca.call("waits")
end)
rsca.register("asks", function(_, ctx)
  tell "asks"
  repeat until ctx:cancelled()
  return "as you like"
end)
rsca.register("computes, then waits", function(_, ctx)
  local _ <close> = note "closed"
  tell "computes, then waits"
  repeat until ctx:cancelled()
  ctx:sleep(0)
  tell "went on"
end)
rsca.register("reports", function(_, ctx)
  local _ <close> = note "closed"
  for i = 1, math.huge do
    ctx:report(i)
  end
end)
rsca.register("reports, then computes", function(_, ctx)
  local _ <close> = note "closed"
  ctx:report("first")
  forever()
end)
rsca.register("cancels", function(args)
  local id, grace = args:match("(%S+) (%S+)")
  local good, err = rsca.cancel(math.tointeger(id), tonumber(grace))
  return good and "true" or err.name
end)
rsca.register("cancels itself", function(_, ctx)
  assert(rsca.cancel(ctx.id, 0))
  forever()
end)
]]

local function open(options)
  options = options or {}
  options.time_limit = math.huge
  return pools.open(chunk, options)
end

local function was_cancelled(response, err)
  T.equal(response, nil)
  T.equal(err.status, status.ERROR_CANCELLED, tostring(err))
  T.truthy(#err.message > 0, "it says why")
  return err
end

-- Starts one, and waits until it has got there.
local function start(manager, name)
  local before = manager:shared():get(name) or 0
  local request = assert(manager:run(name))
  pools.wait_for(manager, name, before + 1)
  return request
end

T.test("a call that has not started: it never starts, though all workers are busy", function()
  local manager <close> = open()
  local busy = start(manager, "computes")
  local queued = assert(manager:run("waits"))
  T.equal(queued:cancel(), true)
  was_cancelled(queued:await())
  T.equal(manager:shared():get("waits"), nil)
  T.equal(busy:cancel(0), true)
  was_cancelled(busy:await())
end)

T.test("a waiting action's coroutine is closed: its <close> variables run", function()
  local manager <close> = open()
  for i, name in ipairs { "waits", "waits for another" } do
    local request = start(manager, name)
    pools.wait_for(manager, "waits", i)
    T.equal(request:cancel(), true)
    was_cancelled(request:await())
    pools.wait_for(manager, "closed", i)
  end
  T.equal(manager:call("number"), "1")
end)

T.test("a running action sees that it was cancelled, and what it returns counts", function()
  local manager <close> = open()
  local request = start(manager, "asks")
  T.equal(request:cancel(1e6), true)
  T.equal(request:await(), "as you like")
end)

T.test("a running action is closed at its next wait", function()
  local manager <close> = open()
  local request = start(manager, "computes, then waits")
  T.equal(request:cancel(1e6), true)
  was_cancelled(request:await())
  pools.wait_for(manager, "closed")
  T.equal(manager:shared():get("went on"), nil)
end)

T.test("after the grace, or at once with grace 0, it is stopped, and hears where it was", function()
  local manager <close> = open()
  local set_aside = false
  for _, grace in ipairs { 0, 0.05, "none" } do
    pools.wait_until(function() -- told if its thread could still be asked; else that is replaced
      local request = start(manager, "computes")
      T.equal(request:cancel(tonumber(grace)), true)
      local err = was_cancelled(request:await())
      T.equal(err.message, "cancelled")
      local told = err.traceback and err.traceback:find("^stack traceback:\n.*in upvalue 'forever'")
      set_aside = set_aside or not told
      return told
    end)
  end
  T.truthy(set_aside or manager:call("number") == "1", "the state is the same")
  local shared = manager:shared()
  T.equal(shared:get("closed"), shared:get("computes"))
end)

T.test("m:cancel(id) is the same, for runs and registrations with a callback too", function()
  local manager <close> = open()
  for _, submit in ipairs { manager.run, manager.subscribe } do
    local code
    local id = submit(manager, "computes", "", function(code_, _, final)
      T.equal(final, true)
      code = code_
    end)
    id = math.type(id) and id or id.id
    pools.wait_until(function() return manager:running()[1].state == "running" end)
    T.equal(manager:cancel(id, 0), true)
    pools.wait_until(function() return code end)
    T.equal(code, status.ERROR_CANCELLED)
    local good, err = manager:cancel(id, 0)
    T.equal(good, nil)
    T.equal(err.status, status.ERROR_NOT_FOUND)
  end
  T.equal(select(2, manager:cancel(12345)).status, status.ERROR_NOT_FOUND)
end)

T.test("cancelling again changes the grace, if it is shorter", function()
  local manager <close> = open()
  local request = start(manager, "computes")
  T.equal(request:cancel(1e6), true)
  T.equal(request:cancel(0), true)
  was_cancelled(request:await())
end)

T.test("from an action: on another worker, in the same state, and itself", function()
  local manager <close> = open { workers = 2 }
  local running, waiting = start(manager, "computes"), start(manager, "waits")
  for _, request in ipairs { running, waiting } do
    T.equal(manager:call("cancels", request.id .. " 0"), "true")
    was_cancelled(request:await())
    T.equal(manager:call("cancels", request.id .. " 0"), "ERROR_NOT_FOUND")
  end
  was_cancelled(manager:call("cancels itself"))
  T.equal(manager:health().stuck, 0)
end)

T.test("from a callback, and from a coroutine of the one that waits for it", function()
  local manager <close> = open()
  local request = start(manager, "computes")
  assert(rsca.own_manager():register("later", function() end))
  assert(rsca.run("later", "", function()
    T.equal(request:cancel(0), true)
  end))
  was_cancelled(request:await())
  request = start(manager, "computes")
  rsca.spawn(function()
    rsca.sleep(0)
    T.equal(request:cancel(0), true)
  end)
  was_cancelled(request:await())
  rsca.unregister("later")
end)

T.test("close of a subscription: no response follows, only S_FALSE, and the action is stopped", function()
  local manager <close> = open()
  for i, name in ipairs { "reports", "reports, then computes", "waits" } do
    local subscription, code
    local closed = false
    subscription = assert(manager:subscribe(name, "", function(code_, _, final)
      assert(not code, "something after the final")
      assert(final or not closed, "a response after the close")
      code = final and code_
      if not final and not closed then
        closed = subscription:close()
        T.equal(closed, true)
        T.equal(subscription:close(), false)
      end
    end))
    if name == "waits" then
      pools.wait_for(manager, "waits")
      closed = subscription:close()
    end
    pools.wait_until(function() return code end)
    T.equal(code, status.S_FALSE)
    pools.wait_for(manager, "closed", i)
  end
  T.equal(manager:call("number"), "1")
end)

T.test("cancel of what has ended by itself meanwhile: one end, whichever was first", function()
  local manager <close> = open { workers = 2 }
  for i = 1, 300 do
    local told = T.expect(1)
    local id = assert(manager:run("works", i, function(code, response)
      told()
      if code == status.S_OK then
        T.equal(response, tostring(i))
      else
        T.equal(code, status.ERROR_CANCELLED)
      end
    end))
    local good, err = manager:cancel(id, 0)
    T.truthy(good or err.status == status.ERROR_NOT_FOUND)
  end
  rsca.loop()
  local stats = manager:stats()
  T.equal(stats.accepted, stats.ended)
  T.equal(manager:call("works", "on"), "on")
end)

T.finish()
