-- Streams: actions that respond any number of times, and who hears them: handlers, loops, documented callbacks.

local T = require "lua.support"
local listener = require "lua.listener"
local rsca = require "rsca"

local status = rsca.status
-- Fewer of everything where everything takes longer.
local stress = os.getenv("RSCA_GC_STRESS") == "1" or os.getenv("RSCA_IS_SLOW") == "1"

-- ---- Actions ----

-- Reports the numbers from 1 to `args`.
local function count(args, ctx)
  for i = 1, tonumber(args) do
    assert(ctx:report(i))
  end
end

-- Reports what was put into `mail`, and waits for more of it.
local mail = {}
local function post(_, ctx)
  while true do
    local letter = table.remove(mail, 1)
    if letter == "end" then
      return
    elseif letter then
      assert(ctx:report(letter))
    else
      coroutine.yield()
    end
  end
end

rsca.register("count", count)
rsca.register("post", post)
rsca.register("forever", function(_, ctx)
  while ctx:report("again") do
    ctx:sleep(0)
  end
end)
rsca.register("waits", function(_, ctx)
  ctx:report("first")
  ctx:sleep(1e6)
end)
rsca.register("says", function(args, ctx)
  ctx:report("reported")
  return args
end)
rsca.register("raises", function(args, ctx)
  ctx:report("before")
  error("no " .. args, 0)
end)
rsca.register("refuses", function(_, ctx)
  ctx:report("before")
  return nil, "not today", status.ERROR_BUSY
end)

-- ---- What the tests share ----

local function drain()
  T.equal(rsca.loop(60), true, "it all ends")
end

-- What on_error hears while `body` runs.
local function errors(body)
  local heard, before = {}, rsca.on_error
  rsca.on_error = function(err)
    heard[#heard + 1] = err
  end
  body()
  rsca.on_error = before
  return heard
end

local function in_flight(manager)
  return (manager or rsca.own_manager()):stats().in_flight
end

-- ---- subscribe ----

T.test("each report is one response, then one final", function()
  local l = listener()
  local sub = T.truthy(rsca.subscribe("count", 5, l.handler))
  T.equal(math.type(sub.id), "integer")
  T.match(tostring(sub), "^rsca%.subscription: call %d+$")
  T.equal(#l.responses, 0, "never called from inside subscribe")
  drain()
  T.equal(l.text(), "1;2;3;4;5")
  T.equal(l.final, status.S_FALSE)
  T.equal(l.why, "")
  T.match(tostring(sub), "ended")
end)

T.test("what the action returns is its last response, if it is not empty", function()
  for args, text in pairs { [""] = "reported", last = "reported;last", ["a\nb"] = "reported;a\nb" } do
    local l = listener()
    rsca.subscribe("says", args, l.handler)
    drain()
    T.equal(l.text(), text)
    T.equal(l.final, status.S_FALSE)
  end
end)

T.test("an action that reports nothing has the final alone; the success status is not told", function()
  rsca.register("quiet", function() end)
  rsca.register("chosen", function() return "x", 0x40000 end)
  local quiet, chosen = listener(), listener()
  rsca.subscribe("quiet", nil, quiet.handler)
  rsca.subscribe("chosen", nil, chosen.handler)
  drain()
  T.equal(#quiet.responses, 0)
  T.equal(quiet.final, status.S_FALSE)
  T.equal(chosen.text(), "x")
  T.equal(chosen.final, status.S_FALSE)
end)

T.test("any bytes, numbers as text, empty ones", function()
  rsca.register("bytes", function(_, ctx)
    T.equal(ctx:report("a\0b\xFF"), true)
    T.equal(ctx:report(""), true)
    T.equal(ctx:report(1.5), true)
    T.raises("response %(a string%) expected, got no value", ctx.report, ctx)
    T.raises("response %(a string%) expected, got nil", ctx.report, ctx, nil)
    T.raises("response %(a string%) expected, got table", ctx.report, ctx, {})
    ctx:report(("x"):rep(3 * 1024 * 1024)) -- more than a whole stream's bytes: one always fits
  end)
  local l = listener()
  rsca.subscribe("bytes", "", l.handler)
  drain()
  T.equal(#l.responses, 4)
  T.equal(l.responses[1], "a\0b\xFF")
  T.equal(l.responses[2], "")
  T.equal(l.responses[3], "1.5")
  T.equal(#l.responses[4], 3 * 1024 * 1024)
  T.equal(l.final, status.S_FALSE)
end)

T.test("a handler may be a table with ReportResult, looked up each time", function()
  local heard = {}
  local object = {}
  function object:ReportResult(_, response)
    T.equal(self, object)
    heard[#heard + 1] = response
    function self.ReportResult(_, again)
      heard[#heard + 1] = again
    end
  end
  T.truthy(rsca.subscribe("count", "2", object))
  drain()
  T.equal(#heard, 3)
  T.equal(heard[1], "1")
  T.equal(heard[2], 0)
  T.equal(heard[3], status.S_FALSE)
end)

T.test("failures end it with their status and message", function()
  local l = listener()
  rsca.subscribe("raises", "disk", l.handler)
  drain()
  T.equal(l.text(), "before")
  T.equal(l.final, status.E_FAIL)
  T.match(l.why, "^no disk\nstack traceback:\n")
  l = listener()
  rsca.subscribe("refuses", "", l.handler)
  drain()
  T.equal(l.text(), "before")
  T.equal(l.final, status.ERROR_BUSY)
  T.equal(l.why, "not today")
end)

T.test("refused: nil, err, and the handler is neither called nor kept", function()
  local held = setmetatable({}, { __mode = "k" })
  local function handler()
    local function f() error("called") end
    held[f] = true
    return function() return f() end
  end
  local sub, err = rsca.subscribe("nobody", "", handler())
  T.equal(sub, nil)
  T.equal(err.status, status.ERROR_NOT_FOUND)
  T.match(err.message, "nobody")
  local manager <close> = rsca.manager { queue_limit = 1 }
  manager:register("count", count)
  T.truthy(manager:run("count", "1"))
  sub, err = manager:subscribe("count", "1", handler())
  T.equal(sub, nil)
  T.equal(err.status, status.ERROR_BUSY)
  rsca.loop()
  manager:shutdown()
  err = select(2, manager:subscribe("count", "1", handler()))
  T.equal(err.status, status.ERROR_SHUTDOWN_IN_PROGRESS)
  T.collect()
  drain()
  T.collect()
  T.equal(next(held), nil)
end)

T.test("misuse raises", function()
  T.raises("action name", rsca.subscribe)
  T.raises("action name", rsca.subscribe, "", "", print)
  T.raises("arguments %(a string%) expected before the handler", rsca.subscribe, "count", print)
  T.raises("handler", rsca.subscribe, "count", "1")
  T.raises("handler", rsca.subscribe, "count", "1", 42)
  T.raises("ReportResult", rsca.subscribe, "count", "1", {})
  T.raises("NUL", rsca.subscribe, "count", "1\0", print)
  T.raises("UTF%-8", rsca.subscribe, "count\xFF", "1", print)
  local manager = rsca.manager()
  manager:close()
  T.raises("closed", manager.subscribe, manager, "count", "", print)
  T.raises("closed", manager.responses, manager, "count", "")
  T.equal(in_flight(), 0)
end)

-- ---- Ending one ----

T.test("close: no response follows, the final is S_FALSE, and it says whether it was open", function()
  local l = listener()
  local sub = rsca.subscribe("forever", "", l.handler)
  for _ = 1, 10 do
    rsca.step()
  end
  local before = #l.responses
  T.truthy(before > 0)
  T.equal(sub:close(), true)
  T.equal(l.final, nil, "not on this stack")
  T.equal(sub:close(), false)
  drain()
  T.equal(#l.responses, before)
  T.equal(l.final, status.S_FALSE)
  T.equal(l.why, "")
  T.equal(sub:close(), false)
  T.equal(in_flight(), 0)
end)

T.test("closed before it has started the action never runs", function()
  local ran = T.expect(0)
  rsca.register("runs", function() ran() end)
  local l = listener()
  T.equal(rsca.subscribe("runs", "", l.handler):close(), true)
  drain()
  T.equal(l.final, status.S_FALSE)
  T.equal(#l.responses, 0)
end)

T.test("closing one that has ended by itself: false", function()
  local l = listener()
  local sub = rsca.subscribe("count", "1", l.handler)
  drain()
  T.equal(sub:close(), false)
end)

T.test("closed by the end of a block", function()
  local l = listener()
  do
    local sub <close> = rsca.subscribe("waits", "", l.handler)
    rsca.step()
    rsca.step()
    T.equal(l.text(), "first")
  end
  drain()
  T.equal(l.final, status.S_FALSE)
end)

T.test("the action is told: its <close> variables run, reports are cancelled", function()
  local closed, answer, err
  rsca.register("told", function(_, ctx)
    local _ <close> = setmetatable({}, { __close = function()
      closed = ctx:cancelled()
      answer, err = ctx:report("too late")
    end })
    ctx:sleep(1e6)
  end)
  local l = listener()
  local sub = rsca.subscribe("told", "", l.handler)
  rsca.step()
  sub:close()
  drain()
  T.equal(closed, true)
  T.equal(answer, nil)
  T.equal(err.status, status.ERROR_CANCELLED)
  T.equal(#l.responses, 0)
  T.equal(l.final, status.S_FALSE)
end)

T.test("cancel by its number ends it with ERROR_CANCELLED", function()
  local l = listener()
  local sub = rsca.subscribe("waits", "", l.handler)
  rsca.step()
  T.equal(rsca.cancel(sub.id), true)
  drain()
  T.equal(l.text(), "first")
  T.equal(l.final, status.ERROR_CANCELLED)
  T.truthy(#l.why > 0)
end)

T.test("dropping the object ends nothing", function()
  local l = listener()
  mail = {}
  T.truthy(rsca.subscribe("post", "", l.handler))
  for i = 1, 5 do
    T.collect()
    mail[1] = i
    rsca.step()
    rsca.step()
  end
  mail[1] = "end"
  drain()
  T.equal(l.text(), "1;2;3;4;5")
  T.equal(l.final, status.S_FALSE)
end)

T.test("each subscription is one of its own: the same name any number of times", function()
  local ls, subs = {}, {}
  for i = 1, 10 do
    ls[i] = listener()
    subs[i] = T.truthy(rsca.subscribe("waits", "", ls[i].handler))
    for k = 1, i - 1 do
      T.truthy(subs[k].id ~= subs[i].id)
    end
  end
  rsca.step()
  T.equal(subs[3]:close(), true)
  rsca.step()
  rsca.step()
  for i = 1, 10 do
    T.equal(ls[i].text(), i == 3 and "" or "first") -- reported, but not told yet when it was closed
    T.equal(ls[i].final, i == 3 and status.S_FALSE or nil)
    subs[i]:close()
  end
  drain()
end)

T.test("unregistering the action touches no subscription", function()
  rsca.register("gone", post)
  mail = {}
  local l = listener()
  rsca.subscribe("gone", "", l.handler)
  rsca.step()
  T.equal(rsca.unregister("gone"), true)
  T.collect()
  mail = { "1", "2" }
  rsca.step()
  T.collect()
  mail = { "3", "end" }
  drain()
  T.equal(l.text(), "1;2;3")
  T.equal(l.final, status.S_FALSE)
end)

T.test("shutdown ends subscriptions at once, with or without patience", function()
  for _, immediate in ipairs { true, false } do
    local manager = rsca.manager()
    manager:register("waits", function(_, ctx) ctx:sleep(1e6) end)
    local l = listener()
    manager:subscribe("waits", "", l.handler)
    rsca.step()
    local began = os.clock()
    T.equal(manager:shutdown(immediate), true)
    drain()
    T.equal(l.final, status.ERROR_CANCELLED)
    T.truthy(os.clock() - began < 3)
    manager:close()
  end
end)

-- ---- What the handler answers ----

T.test("a handler that returns a failure status ends it with ERROR_CANCELLED", function()
  local l = listener()
  l.on = function(response, final)
    return not final and response == "3" and status.E_FAIL or nil
  end
  local sub = rsca.subscribe("count", 1000, l.handler)
  drain()
  T.equal(l.text(), "1;2;3")
  T.equal(l.final, status.ERROR_CANCELLED)
  T.truthy(#l.why > 0)
  T.equal(sub:close(), false)
  T.equal(in_flight(), 0)
end)

T.test("other answers are none: success statuses, nil, what is not a status", function()
  for _, answer in ipairs { 0, 1, 0x40000, "E_FAIL", true, 0x80004005 << 8, 2 ^ 60 } do
    local l = listener()
    l.on = function() return answer end
    rsca.subscribe("count", 3, l.handler)
    drain()
    T.equal(l.text(), "1;2;3")
    T.equal(l.final, status.S_FALSE)
  end
end)

T.test("a handler that raises ends it with ERROR_CANCELLED, and on_error hears", function()
  local l = listener()
  l.on = function(_, final)
    if not final then
      error("oops", 0)
    end
  end
  local heard = errors(function()
    rsca.subscribe("count", 1000, l.handler)
    drain()
  end)
  T.equal(l.text(), "1")
  T.equal(l.final, status.ERROR_CANCELLED)
  T.equal(#heard, 1)
  T.match(heard[1].message, "oops")
  T.match(heard[1].traceback, "stack traceback")
end)

T.test("raising in the final is heard by on_error, and ends nothing more", function()
  local l = listener()
  l.on = function(_, final)
    if final then
      error("in final", 0)
    end
  end
  local heard = errors(function()
    rsca.subscribe("count", 2, l.handler)
    drain()
  end)
  T.equal(l.text(), "1;2")
  T.equal(l.final, status.S_FALSE)
  T.equal(#heard, 1)
end)

-- ---- Handlers that wait; back-pressure ----

T.test("a handler that waits never gets two at a time, and all of them in order", function()
  local l = listener()
  l.on = function(response)
    l.inside = true
    if tonumber(response) and response % 2 == 0 then
      rsca.sleep(0)
    else
      T.equal(rsca.call("count", "2"), "12")
    end
    l.inside = false
  end
  rsca.subscribe("count", 600, l.handler) -- more than wait for it at once
  drain()
  T.equal(#l.responses, 600)
  for i = 1, 600 do
    T.equal(l.responses[i], tostring(i))
  end
  T.equal(l.final, status.S_FALSE)
end)

T.test("the final waits for a handler that waits", function()
  local l = listener()
  l.on = function(_, final)
    l.inside = not final
    if not final then
      rsca.sleep(0.01)
      l.inside = false
    end
  end
  local sub = rsca.subscribe("waits", "", l.handler)
  rsca.step()
  rsca.step()
  T.equal(l.inside, true)
  sub:close()
  rsca.step()
  rsca.step()
  T.equal(l.final, nil)
  drain()
  T.equal(l.final, status.S_FALSE)
end)

-- The action is `ahead` of the consumer by no more than what may wait: 256 responses, or 1 MiB of them.
local function lagging(total, size, most_ahead)
  local reported, ahead, late = 0, 0, 0
  local filler = ("x"):rep(size)
  rsca.register("fast", function(_, ctx)
    for i = 1, total do
      if not ctx:report(i .. ":" .. filler) then
        return
      end
      reported = i
    end
  end)
  local heard = 0
  local final
  rsca.subscribe("fast", "", function(_, response, is_final)
    if is_final then
      final = true
      return
    end
    heard = heard + 1
    T.equal(response, heard .. ":" .. filler)
    ahead = math.max(ahead, reported - heard)
    if heard % 64 == 1 then
      rsca.sleep(0)
    end
  end)
  collectgarbage()
  local before = collectgarbage("count")
  local most = 0
  local watch = true
  rsca.spawn(function()
    while watch do
      most = math.max(most, collectgarbage("count") - before)
      coroutine.yield()
      watch = not final
    end
  end)
  drain()
  T.equal(heard, total, "nothing is dropped")
  T.equal(reported, total)
  T.equal(final, true)
  T.truthy(ahead <= most_ahead, ("%d ahead"):format(ahead))
  return most
end

T.test("back-pressure: a hundred thousand responses to a handler that waits", function()
  local most = lagging(stress and 10000 or 100000, 10, 257)
  T.truthy(most < 20000, most .. " KiB")
end)

T.test("back-pressure in bytes", function()
  local most = lagging(stress and 100 or 1000, 100000, 12)
  T.truthy(most < 20000, most .. " KiB")
end)

T.test("back-pressure holds the action's coroutine, not the thread: others go on", function()
  local l = listener()
  l.on = function(_, final)
    while not final and not l.open do
      rsca.sleep(0)
    end
  end
  local reported = 0
  rsca.register("held", function(_, ctx)
    for i = 1, 2000 do
      assert(ctx:report(i))
      reported = i
    end
  end)
  rsca.subscribe("held", "", l.handler)
  for _ = 1, 20 do
    T.equal(rsca.call("says", "me"), "reportedme")
  end
  T.truthy(reported < 300, reported)
  T.equal(l.text(), "1")
  l.open = true
  drain()
  T.equal(#l.responses, 2000)
end)

T.test("an action that waits for room is closed like any other", function()
  for _, how in ipairs { "close", "cancel", "fail" } do
    local closed = false
    local l = listener()
    l.on = function(_, final)
      if not final then
        if #l.responses == 1 then
          rsca.sleep(0.02)
        end
        return how == "fail" and status.E_FAIL or nil
      end
    end
    rsca.register("stuck", function(_, ctx)
      local _ <close> = setmetatable({}, { __close = function() closed = true end })
      repeat until not ctx:report("x")
      return "never"
    end)
    local sub = rsca.subscribe("stuck", "", l.handler)
    for _ = 1, 5 do
      rsca.step()
    end
    T.equal(closed, false)
    if how == "close" then
      sub:close()
    elseif how == "cancel" then
      rsca.cancel(sub.id)
    end
    if how ~= "cancel" then
      drain()
      T.equal(l.text(), "x", how)
    else
      drain() -- what was reported before is still told
      T.truthy(#l.responses >= 1 and #l.responses <= 300)
    end
    T.equal(closed, true, how)
    T.equal(l.final, how == "close" and status.S_FALSE or status.ERROR_CANCELLED)
    T.equal(in_flight(), 0)
  end
end)

T.test("two actions and two consumers don't hold up each other", function()
  local slow, quick = listener(), listener()
  slow.on = function(_, final)
    if not final then
      rsca.sleep(0.001)
    end
  end
  local slow_sub = rsca.subscribe("count", 100000, slow.handler)
  rsca.subscribe("count", 2000, quick.handler)
  while not quick.final do
    T.truthy(rsca.wait(10) > 0)
  end
  T.equal(#quick.responses, 2000)
  T.truthy(#slow.responses < 2000)
  slow_sub:close()
  drain()
  T.equal(slow.final, status.S_FALSE)
end)

T.test("a stream of very many responses keeps memory flat", function()
  local total = stress and 20000 or 1000000
  rsca.register("many", function(_, ctx)
    for _ = 1, total do
      ctx:report("a response of some bytes")
    end
  end)
  local heard, most = 0, 0
  collectgarbage()
  local before = collectgarbage("count")
  rsca.subscribe("many", "", function(_, _, final)
    if not final then
      heard = heard + 1
      if heard % 10000 == 0 then
        most = math.max(most, collectgarbage("count") - before)
      end
    end
  end)
  drain()
  T.equal(heard, total)
  T.truthy(most < 10000, most .. " KiB")
end)

-- ---- Handlers that end what calls them ----

T.test("a handler that closes its own subscription", function()
  local l = listener()
  local sub
  l.on = function(response)
    if response == "3" then
      T.equal(sub:close(), true)
      T.equal(sub:close(), false)
    end
  end
  sub = rsca.subscribe("count", 1000, l.handler)
  drain()
  T.equal(l.text(), "1;2;3")
  T.equal(l.final, status.S_FALSE)
end)

T.test("a handler that closes its own subscription and fails: closed counts", function()
  local l = listener()
  local sub
  l.on = function(_, final)
    if not final then
      sub:close()
      return status.E_FAIL
    end
  end
  sub = rsca.subscribe("count", 10, l.handler)
  drain()
  T.equal(l.text(), "1")
  T.equal(l.final, status.S_FALSE)
end)

T.test("a handler that unregisters the action it hears of", function()
  rsca.register("fleeting", count)
  local l = listener()
  l.on = function(response)
    if response == "1" then
      T.equal(rsca.unregister("fleeting"), true)
      T.collect()
    end
  end
  rsca.subscribe("fleeting", 400, l.handler)
  drain()
  T.equal(#l.responses, 400)
  T.equal(l.final, status.S_FALSE)
  T.equal(rsca.subscribe("fleeting", "", l.handler), nil)
end)

T.test("a handler that closes the manager that is calling it", function()
  for _, wait in ipairs { false, true } do
    local manager = rsca.manager()
    manager:register("count", count)
    manager:register("waits", function(_, ctx) ctx:sleep(1e6) end)
    local l, other = listener(), listener()
    l.on = function(_, final)
      if not final then
        manager:close()
        T.collect()
        if wait then
          rsca.sleep(0.001)
          T.collect()
        end
      end
    end
    manager:subscribe("waits", "", other.handler)
    manager:subscribe("count", 1000, l.handler)
    drain()
    T.equal(l.final, status.ERROR_CANCELLED)
    T.truthy(#l.responses >= 1)
    T.equal(other.final, status.ERROR_CANCELLED)
  end
end)

T.test("a handler that shuts down the manager that is calling it", function()
  for _, immediate in ipairs { false, true } do
    local manager <close> = rsca.manager()
    manager:register("forever", function(_, ctx)
      while ctx:report("again") do
        ctx:sleep(0)
      end
    end)
    local l = listener()
    l.on = function(_, final)
      if not final then
        T.equal(manager:shutdown(immediate), false)
      end
    end
    manager:subscribe("forever", "", l.handler)
    drain()
    T.truthy(#l.responses <= 2, l.text()) -- what had been reported before
    T.equal(l.final, status.ERROR_CANCELLED)
  end
end)

T.test("a handler that subscribes again in its final", function()
  local ends = T.expect(3)
  local function again(_, _, final)
    if final and ends() < 3 then
      T.truthy(rsca.subscribe("count", "1", again))
    end
  end
  rsca.subscribe("count", "1", again)
  drain()
end)

-- A manager that was closed is forgotten, though its address may be another's soon: handlers still hear the end.
T.test("the handlers of a closed manager hear its end, whatever is made in its place", function()
  local ls = {}
  for i = 1, 50 do
    local manager = rsca.manager()
    manager:register("waits", function(_, ctx) ctx:sleep(1e6) end)
    ls[i] = { final = false }
    local l = ls[i]
    manager:subscribe("waits", "", function(_, _, final) l.final = final end)
    if i % 2 == 0 then
      rsca.step()
    end
    manager:close()
    manager = nil
    local successor = rsca.manager()
    successor:register("waits", function() end)
    T.collect()
  end
  drain()
  for i = 1, 50 do
    T.equal(ls[i].final, true, i)
  end
end)

T.test("what a handler of a closed manager answers ends no other manager's subscription", function()
  for _ = 1, 50 do
    local manager = rsca.manager()
    manager:register("count", count)
    local place = tostring(manager)
    local done
    local sub = manager:subscribe("count", "5", function(_, _, final)
      if not final then
        rsca.sleep(0.001)
        return status.E_FAIL
      end
      done = true
    end)
    rsca.step()
    rsca.step()
    manager:close()
    manager = nil
    rsca.step()
    local others = {}
    for i = 1, 20 do
      local other = rsca.manager()
      other:register("waits", function(_, ctx) ctx:sleep(1e6) end)
      local l = listener()
      others[i] = { manager = other, l = l, same = tostring(other) == place }
      T.equal(other:subscribe("waits", "", l.handler).id, sub.id)
    end
    while not done do
      T.truthy(rsca.wait(10) > 0)
    end
    for _ = 1, 5 do
      rsca.step()
    end
    for _, other in ipairs(others) do
      T.equal(other.l.final, nil, other.same and "the one at its address" or "another")
      other.manager:close()
    end
    drain()
  end
end)

-- ---- The documented methods ----

T.test("RegisterCustomActionCallback: statuses, one registration per name", function()
  local manager = rsca.own_manager()
  local l = listener()
  local never = T.expect(0)
  T.equal(manager:RegisterCustomActionCallback("nobody", "", never), status.ERROR_NOT_FOUND)
  T.equal(manager:RegisterCustomActionCallback(nil, "", never), status.E_INVALIDARG)
  T.equal(manager:RegisterCustomActionCallback("", "", never), status.E_INVALIDARG)
  T.equal(manager:RegisterCustomActionCallback("count", "", nil), status.E_INVALIDARG)
  T.equal(manager:RegisterCustomActionCallback("count", ""), status.E_INVALIDARG)
  T.equal(manager:RegisterCustomActionCallback("a\0", "", never), status.E_INVALIDARG)
  T.equal(manager:RegisterCustomActionCallback("a\xFF", "", never), status.ERROR_NO_UNICODE_TRANSLATION)
  T.equal(manager:RegisterCustomActionCallback("count", "\xFF", never), status.ERROR_NO_UNICODE_TRANSLATION)
  T.raises("string expected", manager.RegisterCustomActionCallback, manager, {}, "", never)
  T.raises("function", manager.RegisterCustomActionCallback, manager, "count", "", 42)
  T.raises("ReportResult", manager.RegisterCustomActionCallback, manager, "count", "", {})
  T.equal(manager:RegisterCustomActionCallback("waits", nil, l.handler), 0)
  T.equal(manager:RegisterCustomActionCallback("waits", "", never), status.ERROR_ALREADY_EXISTS)
  rsca.step()
  T.equal(manager:RegisterCustomActionCallback("waits", "", never), status.ERROR_ALREADY_EXISTS)
  T.collect()
  rsca.step()
  T.equal(l.text(), "first")
  T.equal(manager:UnregisterCustomActionCallback("waits"), 0)
  T.equal(manager:UnregisterCustomActionCallback("waits"), status.ERROR_NOT_FOUND)
  local again = listener()
  T.equal(manager:RegisterCustomActionCallback("waits", "", again.handler), 0)
  rsca.step()
  rsca.step()
  T.equal(l.final, status.S_FALSE)
  T.equal(again.text(), "first")
  T.equal(manager:UnregisterCustomActionCallback("waits"), 0)
  drain()
  T.equal(again.final, status.S_FALSE)
end)

T.test("UnregisterCustomActionCallback: statuses", function()
  local manager = rsca.own_manager()
  T.equal(manager:UnregisterCustomActionCallback("count"), status.ERROR_NOT_FOUND)
  T.equal(manager:UnregisterCustomActionCallback(), status.E_INVALIDARG)
  T.equal(manager:UnregisterCustomActionCallback(""), status.E_INVALIDARG)
  T.equal(manager:UnregisterCustomActionCallback("a\0b"), status.E_INVALIDARG)
  T.equal(manager:UnregisterCustomActionCallback("\xFF"), status.ERROR_NO_UNICODE_TRANSLATION)
  T.raises("string expected", manager.UnregisterCustomActionCallback, manager, {})
end)

T.test("the documented session and subscriptions don't meet", function()
  local manager = rsca.own_manager()
  local documented, own = listener(), listener()
  T.equal(manager:RegisterCustomActionCallback("waits", "", documented.handler), 0)
  local sub = T.truthy(rsca.subscribe("waits", "", own.handler))
  rsca.step()
  T.equal(manager:UnregisterCustomActionCallback("waits"), 0)
  rsca.step()
  rsca.step()
  T.equal(documented.final, status.S_FALSE)
  T.equal(own.final, nil)
  T.equal(manager:UnregisterCustomActionCallback("waits"), status.ERROR_NOT_FOUND)
  sub:close()
  drain()
end)

T.test("the name is free in the final, and a handler may unregister itself", function()
  local manager = rsca.own_manager()
  local ends = T.expect(3)
  local function object()
    local self = {}
    function self.ReportResult(_, _, response, final)
      if not final then
        T.equal(response, "again")
        T.equal(manager:UnregisterCustomActionCallback("forever"), 0)
      elseif ends() < 3 then
        T.equal(manager:RegisterCustomActionCallback("forever", "", object()), 0)
      end
    end
    return self
  end
  T.equal(manager:RegisterCustomActionCallback("forever", "", object()), 0)
  drain()
end)

T.test("a loop over responses in the clean-up of a cancelled action raises: it is not at its end", function()
  local looped, err
  rsca.register("cleans", function(_, ctx)
    local _ <close> = setmetatable({}, {
      __close = function()
        looped, err = pcall(function()
          for _ in rsca.responses("count", "3") do
          end
        end)
      end,
    })
    ctx:sleep(1000)
  end)
  local request = T.truthy(rsca.run("cleans"))
  rsca.step()
  request:cancel()
  rsca.loop()
  T.equal(looped, false)
  T.equal(err.name, "ERROR_CANCELLED")
end)

-- ---- A streaming action that is run once ----

T.test("call and run hear the responses joined, in one", function()
  T.equal(rsca.call("count", "12"), "123456789101112")
  T.equal(rsca.call("says", "me"), "reportedme")
  T.equal(rsca.call("says", ""), "reported")
  local response, err = rsca.call("refuses")
  T.equal(response, nil)
  T.equal(err.message, "not today")
  response, err = rsca.call("raises", "x")
  T.equal(response, nil)
  T.equal(err.message, "no x")
  local big = rsca.call("count", "100000")
  T.equal(#big, 488895)
  local heard = T.expect(1)
  rsca.run("count", "3", function(code, bytes, final)
    heard()
    T.equal(code, 0)
    T.equal(bytes, "123")
    T.equal(final, true)
  end)
  drain()
end)

-- ---- Loops over responses ----

-- Runs `body` where it blocks, in an action, in a handler and in a spawned function.
local function everywhere(body)
  body("outside")
  local told = T.expect(3)
  rsca.register("inside", function()
    body("action")
    told()
  end)
  local answer, err = rsca.call("inside")
  T.equal(answer, "", err and err.message)
  rsca.run("says", "", function()
    body("handler")
    told()
  end)
  drain()
  rsca.spawn(function()
    body("spawned")
    told()
  end)
  drain()
end

T.test("a loop over responses, wherever one may wait", function()
  everywhere(function(where)
    local heard = {}
    for response in rsca.responses("count", 5) do
      heard[#heard + 1] = response
    end
    T.equal(table.concat(heard, ";"), "1;2;3;4;5", where)
    heard = 0
    for response in rsca.own_manager():responses("count", 1000) do
      heard = heard + 1
      T.equal(response, tostring(heard))
      if heard % 100 == 0 then
        rsca.sleep(0)
      end
    end
    T.equal(heard, 1000, where)
    for _ in rsca.responses("quiet") do
      error("it has no responses")
    end
    heard = {}
    for response in rsca.responses("says", "last") do
      heard[#heard + 1] = response
    end
    T.equal(table.concat(heard, ";"), "reported;last")
  end)
  T.equal(in_flight(), 0)
end)

T.test("leaving the loop ends the subscription", function()
  everywhere(function(where)
    for response in rsca.responses("forever") do -- luacheck: ignore 512
      T.equal(response, "again")
      break
    end
    T.equal(pcall(function()
      for _ in rsca.responses("forever") do
        error("out")
      end
    end), false)
    local function find()
      for response in rsca.responses("waits") do -- luacheck: ignore 512
        return response
      end
    end
    T.equal(find(), "first", where)
  end)
  drain()
  T.equal(in_flight(), 0)
end)

T.test("a failed end raises the err, after the responses", function()
  everywhere(function(where)
    for name, expected in pairs { raises = "no x", refuses = "not today" } do
      local heard = 0
      local good, err = pcall(function()
        for response in rsca.responses(name, "x") do
          T.equal(response, "before")
          heard = heard + 1
        end
      end)
      T.equal(good, false, where)
      T.equal(heard, 1)
      T.equal(err.message, expected)
      T.equal(err.action, name)
      T.equal(err.status, name == "raises" and status.E_FAIL or status.ERROR_BUSY)
      T.equal(err.traceback ~= nil, name == "raises")
    end
  end)
end)

T.test("refused raises the err; misuse raises", function()
  everywhere(function()
    local err = T.raises("nobody", function()
      for _ in rsca.responses("nobody") do
        error("a response")
      end
    end)
    T.equal(err.status, status.ERROR_NOT_FOUND)
    T.equal(err.action, "nobody")
    T.raises("action name", rsca.responses, 42)
  end)
end)

T.test("the iterator goes on answering nil after the end", function()
  local iterator = rsca.responses("count", "1")
  T.equal(iterator(), "1")
  for _ = 1, 3 do
    T.equal(iterator(), nil)
  end
  iterator = rsca.responses("raises", "x")
  T.equal(iterator(), "before")
  T.raises("no x", iterator)
  T.equal(iterator(), nil)
end)

T.test("its fourth value is the subscription", function()
  local iterator, _, _, sub = rsca.responses("waits")
  T.equal(math.type(sub.id), "integer")
  T.equal(iterator(), "first")
  T.equal(rsca.cancel(sub.id), true)
  local err = T.raises(".", iterator)
  T.equal(err.status, status.ERROR_CANCELLED)
  iterator, _, _, sub = rsca.responses("waits")
  T.equal(iterator(), "first")
  T.equal(sub:close(), true)
  T.equal(iterator(), nil)
  drain()
  T.equal(in_flight(), 0)
end)

T.test("back-pressure: a loop that lags holds up the action, and nothing is dropped", function()
  local reported = 0
  rsca.register("ahead", function(_, ctx)
    for i = 1, 5000 do
      assert(ctx:report(i))
      reported = i
    end
  end)
  local heard = 0
  rsca.spawn(function()
    for response in rsca.responses("ahead") do
      heard = heard + 1
      T.equal(response, tostring(heard))
      T.truthy(reported - heard <= 257)
      if heard % 50 == 0 then
        rsca.sleep(0)
      end
    end
    heard = heard + 0.5
  end)
  drain()
  T.equal(heard, 5000.5)
end)

-- ---- Collecting ----

local function weak_keys()
  return setmetatable({}, { __mode = "k" })
end

local function size(weak)
  local n = 0
  for _ in pairs(weak) do
    n = n + 1
  end
  return n
end

T.test("an iterator that is abandoned and collected ends its registration", function()
  local closed = 0
  rsca.register("notices", function(_, ctx)
    local _ <close> = setmetatable({}, { __close = function() closed = closed + 1 end })
    while ctx:report("x") do
      ctx:sleep(0.001)
    end
  end)
  for _ = 1, 20 do
    local iterator = rsca.responses("notices")
    T.equal(iterator(), "x")
  end
  rsca.responses("notices")
  T.collect()
  drain()
  T.equal(closed, 20)
  T.equal(in_flight(), 0)
end)

T.test("a coroutine that was left in the middle of a loop ends its registration when it is collected", function()
  for _ = 1, 20 do
    local next_response = coroutine.wrap(function()
      for response in rsca.responses("forever") do
        coroutine.yield(response)
      end
    end)
    T.equal(next_response(), "again")
    T.equal(next_response(), "again")
  end
  T.collect()
  drain()
  T.equal(in_flight(), 0)
end)

T.test("handlers are let go when the final has been told", function()
  local held = weak_keys()
  for _ = 1, 100 do
    local object = {}
    held[object] = true
    rsca.subscribe("count", 2, function() return object and nil end)
  end
  T.collect()
  T.equal(size(held), 100)
  drain()
  T.collect()
  T.equal(size(held), 0)
end)

-- A manager with open registrations whose handlers, actions and coroutines name it in every way a script might.
local function entangled(notes)
  local manager = rsca.manager()
  local sub
  manager:register("stream", function(_, ctx)
    local _ <close> = notes and setmetatable({}, { __close = function() notes.closed = notes.closed + 1 end })
    while manager and ctx:report("x") do
      ctx:sleep(1e6)
    end
  end)
  local function handler(_, _, final)
    if notes then
      notes[final and "finals" or "heard"] = notes[final and "finals" or "heard"] + 1
    end
    return manager and sub and nil
  end
  sub = T.truthy(manager:subscribe("stream", "", handler))
  local object = { manager = manager }
  function object:ReportResult(...)
    assert(self.manager)
    return handler(...)
  end
  T.equal(manager:RegisterCustomActionCallback("stream", "", object), 0)
  return manager
end

T.test("ten thousand managers with open registrations that name them are collected", function()
  local alive = weak_keys()
  local notes = { closed = 0, heard = 0, finals = 0 }
  local total, started = stress and 1000 or 10000, 0
  for i = 1, total do
    alive[entangled(notes)] = true
    if i % 10 == 0 then
      rsca.step()
      rsca.step()
    end
  end
  T.collect()
  rsca.step()
  T.collect()
  drain()
  T.collect()
  T.equal(size(alive), 0)
  T.equal(notes.finals, 0, "handlers that nobody can reach are not called")
  T.truthy(notes.closed >= total / 10, notes.closed)
  T.truthy(notes.heard <= notes.closed)
end)

T.test("collected in the middle of everything: all coroutines are closed by the next step", function()
  for round = 1, 20 do
    local notes = { closed = 0, heard = 0, finals = 0 }
    for _ = 1, 20 do
      entangled(notes)
    end
    T.equal(rsca.step() > 0, true)
    T.equal(notes.closed, stress and notes.closed or 0)
    T.collect()
    rsca.step()
    rsca.step()
    T.equal(notes.closed, 40, round)
    T.equal(notes.finals, 0)
  end
  drain()
end)

T.test("a manager that is named is kept, and its registrations with it", function()
  local notes = { closed = 0, heard = 0, finals = 0 }
  local manager = entangled(notes)
  for _ = 1, 5 do
    T.collect()
    rsca.step()
  end
  T.equal(notes.heard, 2)
  T.equal(notes.closed, 0)
  manager:close()
  T.equal(notes.closed, 2)
  drain()
  T.equal(notes.finals, 2)
end)

T.test("a subscription that is kept keeps its manager", function()
  local notes = { closed = 0, heard = 0, finals = 0 }
  local sub
  do
    local manager = rsca.manager()
    manager:register("waits", function(_, ctx)
      local _ <close> = setmetatable({}, { __close = function() notes.closed = notes.closed + 1 end })
      ctx:sleep(1e6)
    end)
    sub = manager:subscribe("waits", "", function(_, _, final) notes.finals = notes.finals + (final and 1 or 0) end)
  end
  for _ = 1, 5 do
    T.collect()
    rsca.step()
  end
  T.equal(notes.closed, 0)
  T.equal(sub:close(), true)
  drain()
  T.equal(notes.closed, 1)
  T.equal(notes.finals, 1)
end)

T.test("a loop over the responses of a manager that nothing else names", function()
  local heard = 0
  rsca.spawn(function()
    local iterator, a, b, sub
    do
      local manager = rsca.manager()
      manager:register("count", count)
      iterator, a, b, sub = manager:responses("count", 1000)
    end
    for _ in iterator, a, b, sub do
      heard = heard + 1
      if heard % 100 == 0 then
        T.collect()
        rsca.sleep(0)
      end
    end
  end)
  drain()
  T.equal(heard, 1000)
end)

-- ---- The end of the program ----

-- Runs a script in a process of its own: its output, both streams in one.
local function run(script)
  local quoted = ([[
    io.stdout:setvbuf("no")
    local rsca = require "rsca"
    local function note(name)
      return setmetatable({}, { __close = function() print("closed " .. name) end })
    end
    rsca.register("holds", function(args, ctx)
      local _ <close> = note(args)
      ctx:report("first")
      ctx:sleep(1e6)
    end)
    local function tells(_, response, final) print(response, final) end
  ]] .. script):gsub("'", "'\\''")
  local pipe = assert(io.popen(("exec '%s' -e '%s' 2>&1"):format(arg[-1], quoted)))
  local output = pipe:read("a")
  local _, how, code = pipe:close()
  return ("%s%s %d\n"):format(output, how, code)
end

local function case(name, script, output)
  T.test(name, function()
    T.equal(run(script), output .. (output:find("exit %d+\n$") and "" or "exit 0\n"))
  end)
end

case("open subscriptions go with the program: their actions are closed, their handlers hear nothing more", [[
  rsca.subscribe("holds", "a", tells)
  local sub = rsca.subscribe("holds", "b", tells)
  rsca.own_manager():RegisterCustomActionCallback("holds", "c", tells)
  rsca.step()
  rsca.step()
  rsca.subscribe("holds", "never started", tells)
  print("end")
]], ("first\tfalse\n"):rep(3) .. "end\nclosed c\nclosed b\nclosed a\n")

case("those of managers that the script made and dropped too", [[
  collectgarbage("stop") -- what is collected before it begins is not closed
  for i = 1, 3 do
    local manager = rsca.manager()
    manager:register("holds", function(args, ctx)
      local _ <close> = note(args)
      ctx:sleep(1e6)
      return manager and ""
    end)
    manager:subscribe("holds", "dropped", function() return manager and print("never") end)
  end
  rsca.step()
  print("end")
]], "end\n" .. ("closed dropped\n"):rep(3))

case("a handler that waits, an iterator that waits and an action that waits for room are closed", [[
  rsca.register("fast", function(_, ctx)
    local _ <close> = note("fast")
    while ctx:report("x") do end
  end)
  rsca.subscribe("fast", "", function() local _ <close> = note("handler") rsca.sleep(1e6) end)
  rsca.spawn(function()
    local _ <close> = note("loop")
    for _ in rsca.responses("holds", "inner") do end
  end)
  for _ = 1, 5 do rsca.step() end
  print("end")
]], "end\nclosed inner\nclosed handler\nclosed fast\nclosed loop\n")

case("os.exit in a handler of a stream, with and without closing", [[
  rsca.subscribe("holds", "a", function() print("exits") os.exit(3, true) end)
  rsca.loop()
]], "exits\nclosed a\nexit 3\n")

-- ---- Whose turn it is: several functions on one stream ----

case("closed from elsewhere while it is waited for, the loop ends", [[
  local iterator, _, _, sub = rsca.responses("holds", "a")
  rsca.spawn(function()
    for response in iterator do
      print(response)
    end
    print("over")
  end)
  for _ = 1, 5 do rsca.step() end
  print(sub:close())
  print(rsca.loop(1))
]], "first\ntrue\nclosed a\nover\ntrue\n")

case("two functions that share an iterator: each response goes to one of them, and both end", [[
  rsca.register("slow", function(_, ctx)
    for i = 1, 5 do
      ctx:sleep(0.001)
      ctx:report(i)
    end
  end)
  local iterator = rsca.responses("slow")
  for _ = 1, 2 do
    rsca.spawn(function()
      for response in iterator do
        print(response)
      end
      print("over")
    end)
  end
  print(rsca.loop(1))
]], "1\n2\n3\n4\n5\nover\nover\ntrue\n")

case("a function that an action spawned reports with its ctx: it waits for room like the action", [[
  rsca.register("spawns", function(_, ctx)
    local done = 0
    for _ = 1, 2 do
      rsca.spawn(function()
        for _ = 1, 1000 do
          assert(ctx:report("x"))
        end
        done = done + 1
      end)
    end
    while done < 2 do
      ctx:sleep(0.001)
    end
  end)
  local heard = 0
  rsca.subscribe("spawns", "", function(_, _, final)
    if final then
      print(heard)
    else
      heard = heard + 1
      if heard % 100 == 1 then
        rsca.sleep(0)
      end
    end
  end)
  print(rsca.loop(2))
]], "2000\ntrue\n")

local lends = [[
  local ctx
  rsca.register("lends", function(_, lent)
    ctx = lent
    coroutine.yield()
    local _ = LAST
  end)
  rsca.subscribe("lends", "", tells)
  rsca.step()
  for i = 1, 3 do
    print(ctx:report(i))
  end
  print(rsca.loop(1))
]]

case("reported outside any step: told before the end", (lends:gsub("LAST", "nil")),
  "true\ntrue\ntrue\n1\tfalse\n2\tfalse\n3\tfalse\n\ttrue\ntrue\n")

case("reported outside any step: told before what the action reports next",
  (lends:gsub("LAST", "lent:report(4)")),
  "true\ntrue\ntrue\n1\tfalse\n2\tfalse\n3\tfalse\n4\tfalse\n\ttrue\ntrue\n")

T.finish()
