-- rsca.run: queues a call. With a callback it answers with the call's number, without one with a request.

local T = require "lua.support"
local rsca = require "rsca"

rsca.register("echo", function(args)
  return args
end)
rsca.register("refuse", function()
  return nil, "not today", rsca.status.E_ACCESSDENIED
end)
rsca.register("for_ever", function(_, ctx)
  ctx:sleep(math.huge)
end)

T.test("a callback function gets (status, response, final), once", function()
  local hit = T.expect(1)
  T.truthy(rsca.run("echo", "text", function(...)
    hit()
    T.equal(select("#", ...), 3)
    local status, response, final = ...
    T.equal(status, rsca.status.S_OK)
    T.equal(response, "text")
    T.equal(final, true)
  end))
  T.equal(rsca.loop(), true)
end)

T.test("a callback hears of a failure: its status, and the message as bytes", function()
  local hit = T.expect(1)
  rsca.run("refuse", "", function(status, response, final)
    hit()
    T.equal(status, 0x80070005)
    T.equal(response, "not today")
    T.equal(final, true)
  end)
  rsca.loop()
end)

T.test("a callback table gets its ReportResult called as a method", function()
  local hit = T.expect(1)
  local handler = {}
  function handler.ReportResult(...)
    hit()
    T.equal(select("#", ...), 4)
    local self, status, response, final = ...
    T.truthy(rawequal(self, handler))
    T.equal(status, 0)
    T.equal(response, "text")
    T.equal(final, true)
  end
  rsca.run("echo", "text", handler)
  rsca.loop()
end)

T.test("ReportResult may be inherited", function()
  local class = { hits = 0 }
  class.__index = class
  function class:ReportResult()
    self.hits = self.hits + 1
  end
  local object = setmetatable({}, class)
  rsca.run("echo", "", object)
  rsca.run("echo", "", object)
  rsca.loop()
  T.equal(object.hits, 2)
  T.equal(class.hits, 0)
end)

T.test("one callback can serve any number of calls", function()
  local heard = {}
  local function callback(_, response)
    heard[#heard + 1] = response
  end
  for i = 1, 100 do
    rsca.run("echo", i, callback)
  end
  rsca.loop()
  T.equal(#heard, 100)
  for i = 1, 100 do
    T.equal(heard[i], tostring(i))
  end
end)

T.test("with a callback run answers with the call's number, with none it answers with a request", function()
  local hit = T.expect(1)
  local id = rsca.run("echo", "", hit)
  T.equal(math.type(id), "integer")
  local request = rsca.run("echo")
  T.equal(type(request), "userdata")
  T.equal(math.type(request.id), "integer")
  T.truthy(request.id ~= id, "two calls have two numbers")
  T.equal(request.nothing, nil)
  T.match(tostring(request), "%f[%w]" .. request.id .. "%f[%W].*echo")
  rsca.loop()
  T.match(tostring(request), "ended")
end)

T.test("the number is the one that ctx says", function()
  local seen
  rsca.register("tell", function(_, ctx)
    seen = ctx.id
  end)
  local request = rsca.run("tell")
  request:await()
  T.equal(seen, request.id)
  local id = rsca.run("tell", "", function() end)
  rsca.loop()
  T.equal(seen, id)
end)

T.test("nothing runs before a step: neither the action nor the callback", function()
  local ran, heard = 0, 0
  rsca.register("count", function()
    ran = ran + 1
  end)
  rsca.run("count", "", function()
    heard = heard + 1
  end)
  rsca.run("count")
  T.equal(ran + heard, 0)
  rsca.loop()
  T.equal(ran, 2)
  T.equal(heard, 1)
end)

T.test("a callback never runs on the stack of the run that was accepted, nor inside another one's frame", function()
  local inside, hit = false, T.expect(3)
  local function callback(_, response)
    T.equal(inside, false)
    inside = true
    hit()
    if response ~= "3" then
      rsca.run("echo", response + 1, callback)
    end
    inside = false
  end
  rsca.run("echo", "1", callback)
  rsca.loop()
end)

T.test("actions begin in the order in which they were queued", function()
  local order = {}
  rsca.register("note", function(args)
    order[#order + 1] = args
  end)
  for i = 1, 20 do
    rsca.run("note", i)
  end
  rsca.loop()
  T.equal(table.concat(order, " "), "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20")
end)

T.test("a callback runs on a coroutine of its own and may wait", function()
  local hit = T.expect(1)
  rsca.run("echo", "a", function(_, response)
    T.equal(coroutine.isyieldable(), true)
    T.equal(rsca.call("echo", response .. "b"), "ab")
    T.equal(rsca.sleep(0), true)
    hit()
  end)
  T.equal(rsca.loop(), true)
end)

T.test("ReportResult may wait too", function()
  local hit = T.expect(1)
  rsca.run("echo", "a", { ReportResult = function(_, _, response)
    T.equal(rsca.call("echo", response .. "b"), "ab")
    hit()
  end })
  rsca.loop()
end)

T.test("a callback lives as long as its call, and no longer", function()
  local weak = setmetatable({}, { __mode = "k" })
  local hit = T.expect(1)
  do
    local callback = function()
      hit()
    end
    weak[callback] = true
    rsca.run("echo", "", callback)
  end
  T.collect()
  T.truthy(next(weak), "it is still to be called")
  rsca.loop()
  T.collect()
  T.equal(next(weak), nil)
end)

T.test("dropping a request ends nothing", function()
  local hit = T.expect(1)
  rsca.register("hit", function()
    hit()
  end)
  rsca.run("hit")
  T.collect()
  T.equal(rsca.loop(), true)
  T.collect()
end)

T.test("await answers as call does, as often as it is asked", function()
  local request = rsca.run("echo", "text")
  T.equal(request:await(), "text")
  T.equal(request:await(0), "text")
  T.equal(select("#", request:await()), 1)
  request = rsca.run("refuse")
  local _, first = request:await()
  T.equal(first.status, 0x80070005)
  T.equal(first.message, "not today")
  T.equal(first.action, "refuse")
  local response, second = request:await()
  T.equal(response, nil)
  T.equal(second.status, first.status)
end)

T.test("several may await one request", function()
  local hit = T.expect(3)
  local request = rsca.run("echo", "for all")
  for _ = 1, 3 do
    rsca.spawn(function()
      T.equal(request:await(), "for all")
      hit()
    end)
  end
  T.equal(rsca.loop(), true)
end)

T.test("await's own limit answers WAIT_TIMEOUT, and the call goes on", function()
  local go = false
  rsca.register("gated", function()
    while not go do
      coroutine.yield()
    end
    return "done"
  end)
  local request = rsca.run("gated")
  local response, err = request:await(0)
  T.equal(response, nil)
  T.equal(err.status, 0x80070102)
  T.equal(err.name, "WAIT_TIMEOUT")
  T.equal(err.action, "gated")
  go = true
  T.equal(request:await(), "done")
end)

T.test("await's own limit in an action likewise", function()
  rsca.register("impatient", function()
    local request = rsca.run("for_ever")
    local response, err = request:await(0)
    T.equal(response, nil)
    T.equal(err.name, "WAIT_TIMEOUT")
    T.equal(request:cancel(), true)
    response, err = request:await()
    T.equal(response, nil)
    return err.name
  end)
  T.equal(rsca.call("impatient"), "ERROR_CANCELLED")
end)

T.test("a call that has not started can be cancelled: it never runs", function()
  local ran = T.expect(0)
  rsca.register("never", function()
    ran()
  end)
  local request = rsca.run("never")
  T.equal(request:cancel(), true)
  local response, err = request:await()
  T.equal(response, nil)
  T.equal(err.status, 0x800704C7)
  T.equal(err.name, "ERROR_CANCELLED")
end)

T.test("a callback hears of a cancel once, with ERROR_CANCELLED and why", function()
  local hit = T.expect(2)
  local function callback(status, response, final)
    hit()
    T.equal(status, 0x800704C7)
    T.equal(response, "cancelled")
    T.equal(final, true)
  end
  T.equal(rsca.cancel(rsca.run("for_ever", "", callback)), true)
  local id = rsca.run("for_ever", "", callback)
  rsca.step()
  T.equal(rsca.cancel(id), true)
  rsca.loop()
end)

T.test("a waiting action that is cancelled closes what it holds, and its waits answer nil, err meanwhile", function()
  local hit = T.expect(1)
  rsca.register("holds", function(_, ctx)
    local _ <close> = setmetatable({}, { __close = function()
      hit()
      local good, err = ctx:sleep(1)
      T.equal(good, nil)
      T.equal(err.name, "ERROR_CANCELLED")
      T.equal(ctx:cancelled(), true)
      local response, why = rsca.call("echo")
      T.equal(response, nil)
      T.equal(why.name, "ERROR_CANCELLED")
    end })
    ctx:sleep(math.huge)
  end)
  rsca.on_error = T.expect(0)
  local request = rsca.run("holds")
  rsca.step()
  request:cancel()
  local _, err = request:await()
  T.equal(err.name, "ERROR_CANCELLED")
end)

-- Cancels an action that waits and whose clean-up raises `value`.
local function cancel_with_error(value)
  local closed = T.expect(1)
  rsca.register("holds", function(_, ctx)
    local _ <close> = setmetatable({}, { __close = function() closed() end })
    local _ <close> = setmetatable({}, { __close = function() error(value) end })
    ctx:sleep(math.huge)
  end)
  local request = rsca.run("holds")
  rsca.step()
  request:cancel()
  local _, err = request:await()
  T.equal(err.name, "ERROR_CANCELLED")
  T.equal(err.message, "cancelled")
end

T.test("a clean-up that raises is heard of by on_error, and the call ends as cancelled all the same", function()
  local heard = T.expect(1)
  rsca.on_error = function(err)
    heard()
    T.equal(err.status, rsca.status.E_FAIL)
    T.equal(err.action, "holds")
    T.match(err.message, "^[^\n]+run_test%.lua:%d+: dirty$")
  end
  cancel_with_error("dirty")
end)

T.test("a clean-up that raises what has no text is heard of too", function()
  rsca.on_error = T.expect(1)
  cancel_with_error(setmetatable({}, { __tostring = function() error("no text") end }))
end)

T.test("a running action sees that it was cancelled, and what it returns counts", function()
  local id
  rsca.register("sees", function(_, ctx)
    T.equal(ctx:cancelled(), false)
    T.equal(rsca.cancel(ctx.id), true)
    T.equal(ctx:cancelled(), true)
    id = ctx.id
    return "returned all the same"
  end)
  T.equal(rsca.call("sees"), "returned all the same")
  local good, err = rsca.cancel(id)
  T.equal(good, nil)
  T.equal(err.name, "ERROR_NOT_FOUND")
end)

T.test("what has ended, or never was, can't be cancelled", function()
  local request = rsca.run("echo")
  request:await()
  for _, result in ipairs { table.pack(request:cancel()), table.pack(rsca.cancel(request.id)),
    table.pack(rsca.cancel(0)), table.pack(rsca.cancel(-1)), table.pack(rsca.cancel(math.maxinteger)) } do
    T.equal(result[1], nil)
    T.equal(result[2].status, 0x80070490)
    T.match(result[2].message, "no such call")
  end
end)

T.test("a handler that raises is heard of by on_error, with file, line and traceback", function()
  local hit = T.expect(1)
  rsca.on_error = function(err)
    hit()
    T.equal(err.status, rsca.status.E_FAIL)
    T.match(err.message, "run_test%.lua:%d+: oh dear$")
    T.match(err.traceback, "^stack traceback:\n")
    T.equal(err.action, "echo")
  end
  rsca.run("echo", "", function()
    error("oh dear")
  end)
  T.equal(rsca.loop(), true)
end)

T.test("a handler that raises hurts no other", function()
  local heard, hit = T.expect(2), T.expect(3)
  rsca.on_error = function()
    heard()
  end
  for i = 1, 5 do
    rsca.run("echo", "", function()
      if i % 2 == 0 then
        error("even")
      end
      hit()
    end)
  end
  T.equal(rsca.loop(), true)
end)

T.test("on_error hears of a handler's error whatever it raised, even what has no text", function()
  local heard = T.expect(6)
  rsca.on_error = function(err)
    heard()
    T.equal(type(err.message), "string")
  end
  local mute = setmetatable({}, { __tostring = function() error("no text") end })
  local wrong = setmetatable({}, { __tostring = function() return {} end })
  for _, value in ipairs { {}, true, mute, wrong, 5 } do
    rsca.run("echo", "", function()
      error(value)
    end)
  end
  rsca.run("echo", "", function()
    error(nil)
  end)
  rsca.loop()
end)

T.test("without on_error nothing is said; a handler's answer is of no consequence for a run", function()
  local hit = T.expect(3)
  rsca.on_error = nil
  rsca.run("echo", "", function()
    hit()
    error("unheard")
  end)
  rsca.run("echo", "", function()
    hit()
    return rsca.status.E_FAIL
  end)
  rsca.run("echo", "", function()
    hit()
    return {}, "nonsense"
  end)
  T.equal(rsca.loop(), true)
end)

T.finish()
