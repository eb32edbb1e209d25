-- Misuse raises, and says which argument and what was expected. What can fail at run time answers nil, err.

local T = require "lua.support"
local rsca = require "rsca"

local function nothing() end

rsca.register("nothing", nothing)

-- f(...) must raise "bad argument #ARG to 'NAME' (TEXT)", where `text` is plain text from its beginning.
local function bad(arg, name, text, f)
  local problem = T.raises("", f)
  local expected = ("bad argument #%d to '%s' (%s"):format(arg, name, text)
  T.truthy(tostring(problem):find(expected, 1, true), ("expected: %s, got: %s"):format(expected, problem))
  T.match(problem, "errors_test%.lua:%d+: ")
end

local bad_utf8 = {
  "\xFF", "\x80", "a\xC3", "\xC0\xAF", "\xE0\x80\x80", "\xED\xA0\x80",
  "\xED\xBF\xBF", "\xF4\x90\x80\x80", "\xF0\x82\x82\xAC",
  "\xF8\x88\x80\x80\x80", "fine\xFE",
}

T.test("a name of a wrong type raises, in every function that takes one", function()
  for _, value in ipairs { 5, true, {}, print } do
    local text = "action name (a string) expected, got " .. type(value)
    bad(1, "register", text, function() rsca.register(value, nothing) end)
    bad(1, "unregister", text, function() rsca.unregister(value) end)
    bad(1, "call", text, function() rsca.call(value) end)
    bad(1, "run", text, function() rsca.run(value) end)
  end
  bad(1, "call", "action name (a string) expected, got no value", function() rsca.call() end)
  bad(1, "call", "action name (a string) expected, got nil", function() rsca.call(nil) end)
  bad(1, "run", "action name (a string) expected, got no value", function() rsca.run() end)
  bad(1, "register", "action name (a string) expected, got no value", function() rsca.register() end)
  bad(1, "unregister", "action name (a string) expected, got no value", function() rsca.unregister() end)
end)

T.test("methods count their arguments as they are written", function()
  local m <close> = rsca.manager()
  bad(1, "register", "action name", function() m:register(5, nothing) end)
  bad(1, "unregister", "action name", function() m:unregister() end)
  bad(1, "call", "action name", function() m:call({}) end)
  bad(1, "run", "action name", function() m:run(true) end)
  bad(2, "call", "arguments (a string) expected, got table", function() m:call("x", {}) end)
  bad(3, "run", "callback (", function() m:run("x", "", 5) end)
  bad(2, "register", "function expected, got no value", function() m:register("x") end)
  bad(1, "cancel", "number expected, got no value", function() m:cancel() end)
end)

T.test("an empty name raises", function()
  for _, name in ipairs { "register", "unregister", "call", "run" } do
    local f = rsca[name]
    T.raises("bad argument #1 .*action name expected, got an empty string", f, "", nothing)
  end
end)

T.test("a NUL inside a name or arguments raises", function()
  for _, text in ipairs { "\0", "a\0", "\0a", "a\0b" } do
    bad(1, "register", "action name without a NUL byte expected", function() rsca.register(text, nothing) end)
    bad(1, "unregister", "action name without a NUL byte expected", function() rsca.unregister(text) end)
    bad(1, "call", "action name without a NUL byte expected", function() rsca.call(text) end)
    bad(1, "run", "action name without a NUL byte expected", function() rsca.run(text) end)
    bad(2, "call", "arguments without a NUL byte expected", function() rsca.call("nothing", text) end)
    bad(2, "run", "arguments without a NUL byte expected", function() rsca.run("nothing", text) end)
  end
end)

T.test("a name or arguments that are not UTF-8 raise", function()
  for _, text in ipairs(bad_utf8) do
    local expected = " in UTF-8 expected, got bytes that are not well formed"
    bad(1, "register", "action name" .. expected, function() rsca.register(text, nothing) end)
    bad(1, "unregister", "action name" .. expected, function() rsca.unregister(text) end)
    bad(1, "call", "action name" .. expected, function() rsca.call(text) end)
    bad(1, "run", "action name" .. expected, function() rsca.run(text) end)
    bad(2, "call", "arguments" .. expected, function() rsca.call("nothing", text) end)
    bad(2, "run", "arguments" .. expected, function() rsca.run("nothing", text) end)
  end
end)

T.test("well-formed UTF-8 up to U+10FFFF is taken", function()
  local texts = {
    "\u{7F}", "\u{80}", "\u{7FF}", "\u{800}", "\u{D7FF}",
    "\u{E000}", "\u{FFFF}", "\u{10000}", "\u{10FFFF}",
  }
  for _, text in ipairs(texts) do
    T.equal(rsca.register(text, nothing), true)
    T.equal(rsca.call(text, text), "")
    T.equal(rsca.unregister(text), true)
  end
end)

T.test("arguments of a wrong type raise", function()
  for _, value in ipairs { true, false, {}, io.stdout } do
    local text = "arguments (a string) expected, got "
    bad(2, "call", text, function() rsca.call("nothing", value) end)
    bad(2, "run", text, function() rsca.run("nothing", value) end)
  end
  bad(2, "call", "arguments (a string) expected, got function", function() rsca.call("nothing", print) end)
  bad(2, "run", "arguments (a string) expected before the callback", function() rsca.run("nothing", print) end)
end)

T.test("a callback of a wrong type raises, and nothing is queued", function()
  local ran = T.expect(0)
  rsca.register("ran", ran)
  for _, value in ipairs { 5, "f", true, false, io.stdout, rsca.own_manager(), coroutine.create(print) } do
    local text = "callback (a function, a table with ReportResult, or a native callback) expected, got "
    bad(3, "run", text, function() rsca.run("ran", "", value) end)
  end
  bad(3, "run", "table with a ReportResult method expected", function() rsca.run("ran", "", {}) end)
  bad(3, "run", "table with a ReportResult method expected", function()
    rsca.run("ran", "", setmetatable({}, { __call = print }))
  end)
  T.equal(rsca.loop(), true)
end)

T.test("register raises on what is no function, and on options that it doesn't know or can't use", function()
  local not_registered = T.expect(0)
  bad(2, "register", "function expected, got no value", function() rsca.register("none") end)
  bad(2, "register", "function expected, got nil", function() rsca.register("none", nil) end)
  bad(2, "register", "function expected, got string", function() rsca.register("none", "f") end)
  bad(3, "register", "function expected, got no value", function() rsca.register("none", {}) end)
  bad(3, "register", "function expected, got table", function() rsca.register("none", {}, {}) end)
  bad(2, "register", "unknown option 'helf' (help, replace, time_limit)", function()
    rsca.register("none", { helf = "x" }, nothing)
  end)
  bad(2, "register", "unknown option", function() rsca.register("none", { "x" }, nothing) end)
  bad(2, "register", "option 'help' must be a string", function() rsca.register("none", { help = 5 }, nothing) end)
  bad(2, "register", "option 'help' must be UTF-8 without a NUL", function()
    rsca.register("none", { help = "\0" }, nothing)
  end)
  bad(2, "register", "option 'help' must be UTF-8", function() rsca.register("none", { help = "\xFF" }, nothing) end)
  bad(2, "register", "option 'replace' must be a boolean", function()
    rsca.register("none", { replace = 1 }, nothing)
  end)
  for _, action in ipairs(rsca.list()) do
    if action.name == "none" then
      not_registered()
    end
  end
end)

T.test("manager raises on options that it doesn't know or can't use", function()
  bad(1, "manager", "table expected, got number", function() rsca.manager(5) end)
  bad(1, "manager", "unknown option 'quue_limit' (", function() rsca.manager { quue_limit = 1 } end)
  bad(1, "manager", "unknown option", function() rsca.manager { 1 } end)
  for _, value in ipairs { 0, -1, 1.5, "4", true, 1 << 40 } do
    for _, option in ipairs { "queue_limit", "queue_bytes" } do
      bad(1, "manager", "option '" .. option .. "' must be an integer from 1 to ", function()
        rsca.manager { [option] = value }
      end)
    end
  end
  local m <close> = rsca.manager { queue_limit = 2.0, queue_bytes = 10 }
  T.match(tostring(m), "^rsca%.manager: ")
end)

T.test("seconds, budgets, numbers of calls and functions to spawn are checked", function()
  for _, name in ipairs { "wait", "loop", "sleep" } do
    local f = rsca[name]
    for _, value in ipairs { -1, -0.001, 0 / 0, -math.huge } do
      T.raises("bad argument #1 .*seconds expected, a number not below 0", f, value)
    end
    T.raises("bad argument #1 .*number expected, got table", f, {})
  end
  bad(1, "sleep", "number expected, got no value", function() rsca.sleep() end)
  bad(1, "step", "budget expected, an integer not below 0", function() rsca.step(-1) end)
  bad(1, "step", "number expected, got table", function() rsca.step({}) end)
  bad(1, "step", "number has no integer representation", function() rsca.step(0.5) end)
  bad(1, "cancel", "number expected, got no value", function() rsca.cancel() end)
  bad(1, "cancel", "number expected, got table", function() rsca.cancel({}) end)
  bad(1, "cancel", "number has no integer representation", function() rsca.cancel(1.5) end)
  bad(1, "spawn", "function expected, got no value", function() rsca.spawn() end)
  bad(1, "spawn", "function expected, got string", function() rsca.spawn("f") end)
  local request = rsca.run("nothing")
  bad(1, "await", "seconds expected, a number not below 0", function() request:await(-1) end)
  bad(1, "await", "number expected, got table", function() request:await({}) end)
  request:await()
end)

T.test("methods raise on what isn't theirs", function()
  local request <const> = rsca.run("nothing")
  local m <close> = rsca.manager()
  for _, value in ipairs { {}, "text", io.stdout, request } do
    T.raises("rsca%.manager expected, got ", m.call, value, "nothing")
    T.raises("rsca%.manager expected, got ", m.RunCustomAction, value, "nothing", "", nothing)
    T.raises("rsca%.manager expected, got ", m.close, value)
    T.raises("rsca%.manager expected, got ", m.AddRef, value)
  end
  for _, value in ipairs { {}, "text", io.stdout, m } do
    T.raises("rsca%.request expected, got ", request.await, value)
    T.raises("rsca%.request expected, got ", request.cancel, value)
  end
  T.raises("rsca%.manager expected, got no value", m.list)
  T.equal(getmetatable(m), false, "finalizers are not for scripts to call")
  T.equal(getmetatable(request), false)
  request:await()
end)

T.test("a manager that is closed raises, but can be closed again", function()
  local m = rsca.manager()
  m:register("nothing", nothing)
  m:close()
  m:close()
  local closed = "this manager has been closed"
  T.raises(closed, function() m:call("nothing") end)
  T.raises(closed, function() m:run("nothing") end)
  T.raises(closed, function() m:register("nothing", nothing) end)
  T.raises(closed, function() m:unregister("nothing") end)
  T.raises(closed, function() m:list() end)
  T.raises(closed, function() m:cancel(1) end)
  T.raises(closed, function() m:RunCustomAction("nothing", "", nothing) end)
  T.raises(closed, function() m:AddRef() end)
  T.raises(closed, function() m:Release() end)
  T.match(tostring(m), "closed")
end)

T.test("an unknown name answers nil, err with status, name, message and action", function()
  local function check(what, ...)
    T.equal(select("#", ...), 2, what)
    local value, err = ...
    T.equal(value, nil, what)
    T.equal(err.status, 0x80070490, what)
    T.equal(err.status, rsca.status.ERROR_NOT_FOUND, what)
    T.equal(err.name, "ERROR_NOT_FOUND", what)
    T.equal(err.message, "no action is registered under the name 'nobod\u{FF}'", what)
    T.equal(err.action, "nobod\u{FF}", what)
    T.equal(err.traceback, nil, what)
    T.equal(tostring(err), err.message .. " (ERROR_NOT_FOUND)", what)
  end
  local never = T.expect(0)
  check("call", rsca.call("nobod\u{FF}"))
  check("run", rsca.run("nobod\u{FF}"))
  check("run with a callback", rsca.run("nobod\u{FF}", "", never))
  check("unregister", rsca.unregister("nobod\u{FF}"))
  rsca.register("asks", function()
    check("call in an action", rsca.call("nobod\u{FF}"))
    check("run in an action", rsca.run("nobod\u{FF}", "", never))
  end)
  assert(rsca.call("asks"))
  rsca.loop()
end)

T.test("a full queue answers nil, err, and takes calls again once one has ended", function()
  local m <close> = rsca.manager { queue_limit = 1 }
  local never, hit = T.expect(0), T.expect(1)
  m:register("nothing", nothing)
  T.truthy(m:run("nothing", "", hit))
  local refused = {
    table.pack(m:run("nothing", "", never)), table.pack(m:run("nothing")), table.pack(m:call("nothing")),
  }
  for _, result in ipairs(refused) do
    T.equal(result[1], nil)
    T.equal(result[2].status, 0x800700AA)
    T.equal(result[2].name, "ERROR_BUSY")
    T.equal(result[2].action, "nothing")
    T.match(tostring(result[2]), "%w.* %(ERROR_BUSY%)$")
  end
  rsca.loop()
  T.equal(m:call("nothing"), "")
end)

T.test("the queue's bytes are limited too", function()
  local m <close> = rsca.manager { queue_bytes = 10 }
  m:register("nothing", nothing)
  local request = T.truthy(m:run("nothing", "123456"))
  T.truthy(m:run("nothing", "7890"))
  local value, err = m:run("nothing", "1")
  T.equal(value, nil)
  T.equal(err.name, "ERROR_BUSY")
  T.truthy(m:run("nothing", ""), "no bytes at all fit")
  request:await()
  rsca.loop()
  value, err = m:run("nothing", "12345678901")
  T.equal(value, nil)
  T.equal(err.name, "ERROR_BUSY")
  T.equal(m:call("nothing", "1234567890"), "")
end)

T.test("an error reads well as text: its message and, in brackets, its status by name", function()
  local function err_of(f)
    rsca.register("fails", { replace = true }, f)
    return select(2, rsca.call("fails"))
  end
  T.equal(tostring(err_of(function() return nil, "no luck" end)), "no luck (E_FAIL)")
  T.equal(tostring(err_of(function() return nil, "no luck", 0x80070005 end)), "no luck (E_ACCESSDENIED)")
  T.equal(tostring(err_of(function() return nil, "no luck", 0x8BADF00D end)), "no luck (0x8BADF00D)")
  T.match(tostring(err_of(function() error("no luck") end)), "^[^\n]+errors_test%.lua:%d+: no luck %(E_FAIL%)$")
  T.raises("^no luck %(E_FAIL%)$", function() assert(nil, err_of(function() return nil, "no luck" end)) end)
end)

T.test("an error with an empty message reads well too", function()
  rsca.register("fails", { replace = true }, function() return nil, "" end)
  local _, err = rsca.call("fails")
  T.match(tostring(err), "^%w[^\n]* %(E_FAIL%)$")
end)

T.test("an error's text has all of its message, NUL included", function()
  rsca.register("fails", { replace = true }, function() return nil, "before\0after" end)
  local _, err = rsca.call("fails")
  T.equal(tostring(err), "before\0after (E_FAIL)")
end)

T.test("an error whose fields a script has changed still has a text", function()
  local _, err = rsca.call("nobody")
  err.message, err.name, err.status = nil, nil, nil
  T.match(tostring(err), "%w")
  rsca.register("relays", function() return nil, err end)
  local _, relayed = rsca.call("relays")
  T.equal(relayed.status, rsca.status.E_FAIL)
  rsca.register("raises", function() error(err) end)
  _, relayed = rsca.call("raises")
  T.equal(relayed.status, rsca.status.E_FAIL)
end)

T.test("rsca.status knows the statuses by name, as unsigned numbers of 32 bits", function()
  local expected = {
    S_OK = 0, S_FALSE = 1, E_FAIL = 0x80004005, E_INVALIDARG = 0x80070057, E_OUTOFMEMORY = 0x8007000E,
    RPC_E_DISCONNECTED = 0x80010108, ERROR_BUSY = 0x800700AA, ERROR_ALREADY_EXISTS = 0x800700B7,
    ERROR_NO_UNICODE_TRANSLATION = 0x80070459, ERROR_SHUTDOWN_IN_PROGRESS = 0x8007045B,
    ERROR_NOT_FOUND = 0x80070490, ERROR_CANCELLED = 0x800704C7, ERROR_TIMEOUT = 0x800705B4, WAIT_TIMEOUT = 0x80070102,
  }
  for name, status in pairs(expected) do
    T.equal(rsca.status[name], status, name)
  end
  for name, status in pairs(rsca.status) do
    T.equal(math.type(status), "integer", name)
    T.truthy(status >= 0 and status < 1 << 32, name)
    T.match(rsca.describe(status), "^" .. name .. " %(0x" .. ("%08X"):format(status) .. "%): %w", name)
  end
  T.equal(rsca.status.NO_SUCH_STATUS, nil)
end)

T.test("describe and failed take either sign, and integral floats", function()
  local text = rsca.describe(0x80070490)
  T.match(text, "^ERROR_NOT_FOUND %(0x80070490%): ")
  T.equal(rsca.describe(0x80070490 - (1 << 32)), text)
  T.equal(rsca.describe(0x80070490 + 0.0), text)
  T.equal(rsca.describe(0x80070490 - 2.0 ^ 32), text)
  local known = {
    [0] = false, [1] = false, [0x7FFFFFFF] = false,
    [0x80000000] = true, [0xFFFFFFFF] = true, [-1] = true, [-(1 << 31)] = true,
  }
  for status, expected in pairs(known) do
    T.equal(rsca.failed(status), expected)
    T.equal(rsca.failed(status + 0.0), expected)
  end
  T.match(rsca.describe(0x8BADF00D), "^0x8BADF00D: a failure")
  T.match(rsca.describe(7), "^0x00000007: a success")
end)

T.test("describe and failed raise on what is no status", function()
  for _, value in ipairs { "5", 1.5, 1 << 32, -(1 << 31) - 1, math.huge, 0 / 0, true, {} } do
    local text = "status (an integer of 32 bits) expected, got " .. type(value)
    bad(1, "describe", text, function() rsca.describe(value) end)
    bad(1, "failed", text, function() rsca.failed(value) end)
  end
  bad(1, "describe", "status (an integer of 32 bits) expected, got no value", function() rsca.describe() end)
  bad(1, "failed", "status (an integer of 32 bits) expected, got no value", function() rsca.failed() end)
end)

T.test("log hands level and message to on_log, and is silent without it", function()
  local heard = {}
  T.equal(rsca.on_log, nil)
  T.equal(select("#", rsca.log("error", "to nobody")), 0)
  function rsca.on_log(level, message)
    heard[#heard + 1] = level .. ":" .. message
  end
  for _, level in ipairs { "error", "warning", "info", "debug" } do
    rsca.log(level, "text")
  end
  rsca.log("info", 5)
  rsca.log("info", nil)
  T.equal(table.concat(heard, " "), "error:text warning:text info:text debug:text info:5 info:nil")
  local expected = "'error', 'warning', 'info' or 'debug' expected, got "
  bad(1, "log", expected .. '"loud")', function() rsca.log("loud", "text") end)
  bad(1, "log", expected .. "nil)", function() rsca.log(nil, "text") end)
  bad(1, "log", expected .. "number)", function() rsca.log(1, "text") end)
  bad(1, "log", expected .. "table)", function() rsca.log({}, "text") end)
  rsca.on_log = nil
end)

-- Runs a script in a program of its own; answers with what it said, stderr included, and how it ended.
local function script(text)
  local path = os.tmpname()
  local file = assert(io.open(path, "w"))
  file:write('local rsca = require "rsca"\n', text)
  file:close()
  local pipe = assert(io.popen(("'%s' '%s' 2>&1"):format(arg[-1], path)))
  local said = pipe:read("a")
  local good, how, code = pipe:close()
  os.remove(path)
  T.equal(how, "exit", said)
  return said, good and code
end

local boom = [[
rsca.register("nothing", function() end)
rsca.run("nothing", "", function() error("first line\nsecond line") end)
rsca.loop()
]]

T.test("the default on_error writes one line to stderr", function()
  local said, code = script(boom)
  T.match(said, "^rsca: [^\n]*:3: first line\n$")
  T.equal(code, 0)
end)

T.test("an on_error that fails itself ends nothing, and is heard of on stderr, in one line", function()
  local said, code = script('rsca.on_error = function() error("hook failed\\nbadly") end\n'
    .. boom .. 'print(rsca.call("nothing"))')
  T.match(said, "^rsca: [^\n]*hook failed\n\n$")
  T.equal(code, 0)
  said, code = script("rsca.on_error = 5\n" .. boom)
  T.match(said, "^rsca: [^\n]*attempt to call a number value[^\n]*\n$")
  T.equal(code, 0)
end)

T.test("nothing else prints: not failures, not raising actions, not an end with calls under way", function()
  local said, code = script [[
    rsca.register("fails", function() return nil, "no" end)
    rsca.register("raises", function() error("no") end)
    rsca.register("for_ever", function(_, ctx) ctx:sleep(math.huge) end)
    rsca.call("fails") rsca.call("raises") rsca.call("nobody")
    rsca.run("for_ever") rsca.run("for_ever", "", print) rsca.step()
    rsca.run("raises", "", function() end) rsca.log("error", "x")
  ]]
  T.equal(said, "")
  T.equal(code, 0)
end)

T.test("spawned functions that raise are heard of by on_error", function()
  local heard = T.expect(3)
  rsca.on_error = function(err)
    heard()
    T.equal(err.status, rsca.status.E_FAIL)
    T.equal(err.action, nil)
  end
  local mute = setmetatable({}, { __tostring = function() error("no text") end })
  for _, value in ipairs { "text", {}, mute } do
    rsca.spawn(error, value)
  end
  T.equal(rsca.loop(), true)
end)

T.finish()
