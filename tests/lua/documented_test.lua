-- The documented methods: RunCustomAction, AddRef and Release. They answer with a status, or a count, and never raise
-- for what can fail at run time; only wrong types and released objects raise.

local T = require "lua.support"
local rsca = require "rsca"

local S_OK, E_INVALIDARG, NOT_UNICODE, NOT_FOUND, BUSY = 0, 0x80070057, 0x80070459, 0x80070490, 0x800700AA

-- A manager with a few actions.
local function manager(options)
  local m = rsca.manager(options)
  m:register("echo", function(args) return args end)
  m:register("refuse", function() return nil, "not today", rsca.status.E_ACCESSDENIED end)
  m:register("raise", function() error("broken") end)
  m:register("for_ever", function(_, ctx) ctx:sleep(math.huge) end)
  return m
end

T.test("RunCustomAction answers S_OK at once, and the callback hears the result once, in a later step", function()
  local m <close> = manager()
  local hit = T.expect(1)
  local count = 0
  T.equal(select("#", m:RunCustomAction("echo", "text", function() end)), 1)
  local status = m:RunCustomAction("echo", "text", function(...)
    count = hit()
    T.equal(select("#", ...), 3)
    local result, response, final = ...
    T.equal(result, S_OK)
    T.equal(response, "text")
    T.equal(final, true)
  end)
  T.equal(status, S_OK)
  T.equal(count, 0)
  T.equal(rsca.loop(), true)
end)

T.test("the callback may be an object with ReportResult", function()
  local m <close> = manager()
  local hit = T.expect(1)
  local object = {}
  function object:ReportResult(status, response)
    hit()
    T.truthy(rawequal(self, object))
    T.equal(status, S_OK)
    T.equal(response, "text")
  end
  T.equal(m:RunCustomAction("echo", "text", object), S_OK)
  rsca.loop()
end)

T.test("arguments may be nil, or left out where nothing follows: the empty string", function()
  local m <close> = manager()
  local hit = T.expect(2)
  local function callback(status, response)
    hit()
    T.equal(status, S_OK)
    T.equal(response, "")
  end
  T.equal(m:RunCustomAction("echo", nil, callback), S_OK)
  T.equal(m:RunCustomAction("echo", "", callback), S_OK)
  rsca.loop()
end)

T.test("a failure of the action is a status and a message as bytes", function()
  local m <close> = manager()
  local hit = T.expect(2)
  m:RunCustomAction("refuse", "", function(status, response, final)
    hit()
    T.equal(status, 0x80070005)
    T.equal(response, "not today")
    T.equal(final, true)
  end)
  m:RunCustomAction("raise", "", function(status, response)
    hit()
    T.equal(status, 0x80004005)
    T.match(response, "^[^\n]+documented_test%.lua:%d+: broken\nstack traceback:\n\t")
  end)
  rsca.loop()
end)

T.test("what is refused answers with its status; it neither raises nor calls nor holds the callback", function()
  local m <close> = manager()
  local never = T.expect(0)
  local held = setmetatable({}, { __mode = "k" })
  local function refused(expected, name, args)
    local callback = function() never() end
    held[callback] = true
    local status = m:RunCustomAction(name, args, callback)
    T.equal(status, expected, ("RunCustomAction(%q, %q)"):format(tostring(name), tostring(args)))
    T.equal(math.type(status), "integer")
  end
  refused(E_INVALIDARG, nil, "")
  refused(E_INVALIDARG, "", "")
  refused(E_INVALIDARG, "ec\0ho", "")
  refused(E_INVALIDARG, "\0", "")
  refused(E_INVALIDARG, "echo\0", "")
  refused(E_INVALIDARG, "echo", "\0")
  refused(E_INVALIDARG, "echo", "a\0b")
  refused(NOT_UNICODE, "\xFF", "")
  refused(NOT_UNICODE, "echo", "\xC0\x80")
  refused(NOT_UNICODE, "echo", "\xED\xA0\x80")
  refused(NOT_UNICODE, "echo", "caf\xE9")
  refused(NOT_FOUND, "nobody", "")
  refused(NOT_FOUND, "Echo", "")
  refused(NOT_FOUND, "ech", "")
  refused(NOT_FOUND, "echo ", "")
  T.collect()
  T.equal(next(held), nil, "held")
  T.equal(rsca.loop(), true)
end)

T.test("no callback is E_INVALIDARG, and nothing is queued", function()
  local m <close> = rsca.manager()
  m:register("ran", T.expect(0))
  T.equal(m:RunCustomAction("ran", "", nil), E_INVALIDARG)
  T.equal(m:RunCustomAction("ran", ""), E_INVALIDARG)
  T.equal(m:RunCustomAction("ran"), E_INVALIDARG)
  T.equal(m:RunCustomAction(), E_INVALIDARG)
  T.equal(m:RunCustomAction("nobody", ""), E_INVALIDARG)
  T.equal(rsca.loop(), true)
end)

T.test("a full queue is ERROR_BUSY, in calls and in bytes, until one has ended", function()
  local never = T.expect(0)
  local m <close> = manager { queue_limit = 2 }
  local hit = T.expect(3)
  T.equal(m:RunCustomAction("echo", "", hit), S_OK)
  T.equal(m:RunCustomAction("echo", "", hit), S_OK)
  T.equal(m:RunCustomAction("echo", "", never), BUSY)
  rsca.loop()
  T.equal(m:RunCustomAction("echo", "", hit), S_OK)
  rsca.loop()
  local n <close> = manager { queue_bytes = 4 }
  T.equal(n:RunCustomAction("echo", "12345", never), BUSY)
  T.equal(n:RunCustomAction("echo", "1234", function() end), S_OK)
  T.equal(n:RunCustomAction("echo", "5", never), BUSY)
end)

T.test("wrong types raise, and name the argument", function()
  local m <close> = manager()
  local never = T.expect(0)
  for _, value in ipairs { {}, true, print } do
    T.raises("bad argument #1 to 'RunCustomAction' %(.*string.* expected, got " .. type(value), function()
      m:RunCustomAction(value, "", never)
    end)
    T.raises("bad argument #2 to 'RunCustomAction' %(.*string.* expected, got " .. type(value), function()
      m:RunCustomAction("echo", value, never)
    end)
  end
  for _, value in ipairs { 5, "f", true, false, io.stdout, m } do
    T.raises("bad argument #3 to 'RunCustomAction' %(callback %(.*%) expected, got ", function()
      m:RunCustomAction("echo", "", value)
    end)
  end
  T.raises("bad argument #3 to 'RunCustomAction' %(table with a ReportResult method expected", function()
    m:RunCustomAction("echo", "", {})
  end)
  T.equal(rsca.loop(), true)
end)

T.test("RunCustomAction may be said inside an action and inside ReportResult", function()
  local m <close> = manager()
  local hit = T.expect(3)
  m:register("nests", function()
    T.equal(m:RunCustomAction("echo", "from an action", hit), S_OK)
    return "outer"
  end)
  T.equal(m:RunCustomAction("nests", "", { ReportResult = function(_, _, response)
    hit()
    T.equal(response, "outer")
    T.equal(m:RunCustomAction("echo", "from a callback", hit), S_OK)
  end }), S_OK)
  T.equal(rsca.loop(), true)
end)

T.test("a callback that raises is heard of by on_error, and hurts nothing", function()
  local m <close> = manager()
  local heard, hit = T.expect(2), T.expect(1)
  rsca.on_error = function(err)
    heard()
    T.equal(err.status, 0x80004005)
    T.equal(err.action, "echo")
    T.match(err.message, "documented_test%.lua:%d+: oh dear$")
    T.match(err.traceback, "^stack traceback:\n")
  end
  T.equal(m:RunCustomAction("echo", "", function() error("oh dear") end), S_OK)
  T.equal(m:RunCustomAction("echo", "", { ReportResult = function() error("oh dear") end }), S_OK)
  T.equal(m:RunCustomAction("echo", "", hit), S_OK)
  T.equal(rsca.loop(), true)
end)

T.test("a handler's ReportResult that has gone when it is to be called is heard of by on_error", function()
  local m <close> = manager()
  local heard = T.expect(1)
  rsca.on_error = function(err)
    heard()
    T.match(err.message, "nil value")
  end
  local object = { ReportResult = print }
  T.equal(m:RunCustomAction("echo", "", object), S_OK)
  object.ReportResult = nil
  T.equal(rsca.loop(), true)
end)

T.test("AddRef and Release answer with the updated count", function()
  local m = manager()
  T.equal(m:AddRef(), 2)
  T.equal(m:AddRef(), 3)
  T.equal(m:Release(), 2)
  T.equal(m:AddRef(), 3)
  T.equal(m:Release(), 2)
  T.equal(m:Release(), 1)
  T.equal(m:call("echo", "still there"), "still there")
  T.equal(m:Release(), 0)
end)

T.test("one Release too many is an error, not a crash", function()
  local m = manager()
  T.equal(m:Release(), 0)
  for _ = 1, 3 do
    T.raises("this manager has been closed", function() m:Release() end)
    T.raises("this manager has been closed", function() m:AddRef() end)
  end
  T.match(tostring(m), "closed")
  m:close()
  T.collect()
end)

T.test("what a script took with AddRef and never gave back goes with the object", function()
  local weak = setmetatable({}, { __mode = "k" })
  do
    local m = manager()
    for i = 1, 10 do
      T.equal(m:AddRef(), i + 1)
    end
    weak[m] = true
    m:close()
    T.raises("this manager has been closed", function() m:Release() end)
    m = manager()
    m:AddRef()
    weak[m] = true
  end
  T.collect()
  T.equal(next(weak), nil)
end)

T.test("the last Release ends what is in flight: each callback hears ERROR_CANCELLED, once", function()
  local m = manager()
  local hit, closed = T.expect(2), T.expect(1)
  m:register("holds", function(_, ctx)
    local _ <close> = setmetatable({}, { __close = function() closed() end })
    ctx:sleep(math.huge)
  end)
  local function callback(status, response, final)
    hit()
    T.equal(status, 0x800704C7)
    T.match(response, "%w")
    T.equal(final, true)
  end
  T.equal(m:RunCustomAction("holds", "", callback), S_OK)
  rsca.step()
  T.equal(m:RunCustomAction("echo", "", callback), S_OK)
  T.equal(m:Release(), 0)
  T.equal(rsca.loop(), true)
end)

T.test("close does the same, and says why", function()
  local hit = T.expect(2)
  local function callback(status, response)
    hit()
    T.equal(status, 0x800704C7)
    T.equal(response, "the manager was shut down")
  end
  do
    local m <close> = manager()
    m:RunCustomAction("for_ever", "", callback)
    rsca.step()
    m:RunCustomAction("echo", "", callback)
  end
  T.equal(rsca.loop(), true)
end)

T.test("Release and close inside an action and inside a callback of the same manager don't crash", function()
  local hit = T.expect(4)
  for _, method in ipairs { "Release", "close" } do
    local m = manager()
    m:register("ends", function()
      m[method](m)
      return "returned"
    end)
    m:RunCustomAction("ends", "", hit)
    rsca.loop()
    T.raises("closed", function() m:AddRef() end)
    local n = manager()
    n:RunCustomAction("echo", "", function()
      hit()
      n[method](n)
    end)
    rsca.loop()
    T.raises("closed", function() n:AddRef() end)
  end
  T.collect()
end)

T.finish()
