-- Streams: actions that respond any number of times, and who hears them: handlers, loops, documented callbacks.

local T = require "lua.support"
local rsca = require "rsca"

local status = rsca.status
local stress = os.getenv("RSCA_GC_STRESS") == "1"

-- ---- Actions ----

-- Reports the numbers from 1 to `args`.
local function count(args, ctx)
  for i = 1, tonumber(args) do
    assert(ctx:report(i))
  end
end

-- Reports what was put into `mail`, and waits for more of it.
local mail = {}
local function post(args, ctx)
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

-- ---- Listeners ----

-- A handler that writes everything down: `responses`, and `final` with `why` once. It raises where a rule was broken.
local function listener()
  local self = { responses = {} }
  function self.handler(code, response, final)
    assert(not self.final, "something after the final")
    assert(not self.inside, "two at a time")
    assert(math.type(code) == "integer" and type(response) == "string" and type(final) == "boolean")
    assert(final == (code ~= 0), "a final has another status than S_OK")
    if final then
      self.final, self.why = code, response
    else
      self.responses[#self.responses + 1] = response
    end
    if self.on then
      return self.on(response, final)
    end
  end
  function self.text()
    return table.concat(self.responses, ";")
  end
  return self
end

local function drain()
  T.equal(rsca.loop(20), true, "it all ends")
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
    T.raises("response %(a string%) expected, got nil", ctx.report, ctx)
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
  function object:ReportResult(code, response, final)
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
  sub, err = manager:subscribe("count", "1", handler())
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
    T.equal(ls[i].text(), "first")
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
        rsca.sleep(0.02)
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
    for i = 1, total do
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
