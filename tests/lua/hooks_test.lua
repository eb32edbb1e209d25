-- The hooks: on_error hears what nobody else hears of, on_log hears what scripts log.

local T = require "lua.support"
local rsca = require "rsca"

rsca.register("echo", function(args)
  return args
end)

-- Runs f with on_error as given.
local function with_hook(hook, f)
  local before = rsca.on_error
  rsca.on_error = hook
  f()
  rsca.on_error = before
end

-- Runs a script in a process of its own: what it wrote to stdout and to stderr, each with the streams swapped in turn.
local function child(script)
  local command = ("exec '%s' -e '%s'"):format(arg[-1], script:gsub("'", "'\\''"))
  local outputs = {}
  for i, redirected in ipairs { " 2>/dev/null", " 2>&1 >/dev/null" } do
    local pipe = assert(io.popen(command .. redirected))
    outputs[i] = pipe:read("a")
    local good, how, code = pipe:close()
    T.truthy(good, ("%s %d: %s"):format(how, code, outputs[i]))
  end
  return outputs[1], outputs[2]
end

-- ---- on_error ----

T.test("on_error hears what a handler raises, with the action and the traceback", function()
  local heard = T.expect(1)
  with_hook(function(...)
    T.equal(select("#", ...), 1)
    local err = ...
    T.equal(err.status, rsca.status.E_FAIL)
    T.equal(err.name, "E_FAIL")
    T.equal(err.action, "echo")
    T.match(err.message, "hooks_test%.lua:%d+: in the handler$")
    T.match(err.traceback, "^stack traceback:\n.*hooks_test%.lua")
    T.match(tostring(err), "in the handler %(E_FAIL%)$")
    heard()
  end, function()
    rsca.run("echo", "", function()
      error("in the handler")
    end)
    T.equal(rsca.loop(), true)
  end)
end)

T.test("on_error hears the status of an error that has one", function()
  local heard = T.expect(2)
  with_hook(function(err)
    T.equal(err.status, rsca.status.ERROR_NOT_FOUND)
    T.match(err.message, "no action is registered")
    heard()
  end, function()
    rsca.run("echo", "", function()
      assert(rsca.call("no such action"))
    end)
    rsca.spawn(function()
      assert(rsca.call("no such action"))
    end)
    T.equal(rsca.loop(), true)
  end)
end)

T.test("on_error hears of a ReportResult method that raises, or is gone by then", function()
  local messages = {}
  with_hook(function(err)
    messages[#messages + 1] = err.message
  end, function()
    rsca.run("echo", "", { ReportResult = function() error("method", 0) end })
    local gone = { ReportResult = print }
    rsca.run("echo", "", gone)
    gone.ReportResult = nil
    T.equal(rsca.loop(), true)
  end)
  T.equal(#messages, 2)
  T.equal(messages[1], "method")
  T.match(messages[2], "call a nil value")
end)

T.test("on_error does not hear of an action that raises: its caller does", function()
  with_hook(T.expect(0), function()
    rsca.register("raises", error)
    T.equal(rsca.call("raises", "x"), nil)
    rsca.run("raises", "x", function() end)
    rsca.run("raises", "x") -- dropped
    T.equal(rsca.loop(), true)
  end)
end)

T.test("without on_error nothing happens", function()
  local went_on = T.expect(1)
  with_hook(nil, function()
    rsca.spawn(error, "x")
    rsca.run("echo", "", function() error("y") end)
    rsca.spawn(went_on)
    T.equal(rsca.loop(), true)
  end)
end)

T.test("on_error may be a callable object, and change in between", function()
  local heard, other = T.expect(1), T.expect(1)
  with_hook(setmetatable({}, { __call = function(_, err)
    T.match(err.message, "first")
    heard()
    rsca.on_error = function(second)
      T.match(second.message, "second")
      other()
    end
  end }), function()
    rsca.spawn(error, "first")
    rsca.spawn(error, "second")
    T.equal(rsca.loop(), true)
  end)
end)

T.test("on_error may run and spawn, and can't wait", function()
  local heard, response_heard = T.expect(1), T.expect(2)
  with_hook(function()
    rsca.run("echo", "", response_heard)
    rsca.spawn(response_heard)
    T.raises("can't wait here", rsca.call, "echo")
    T.raises("can't wait here", rsca.sleep, 0)
    T.raises("can't wait here", rsca.step)
    heard()
  end, function()
    rsca.spawn(error, "x")
    T.equal(rsca.loop(), true)
  end)
end)

T.test("an error that on_error raises breaks nothing", function()
  local output, errors = child [[
    local rsca = require "rsca"
    rsca.on_error = function(err) error("the hook failed", 0) end
    rsca.register("echo", function(args) return args end)
    rsca.spawn(error, "first", 0)
    rsca.run("echo", "", function() error("second", 0) end)
    print(rsca.loop(), rsca.call("echo", "on"))
  ]]
  T.equal(output, "true\ton\n")
  T.equal(errors, "rsca: the hook failed\nrsca: the hook failed\n")
end)

T.test("a hook that can't be called, or raises what can't be shown, breaks nothing", function()
  local output, errors = child [[
    local rsca = require "rsca"
    for _, hook in ipairs { "no function", { }, 5, true,
      function() error(setmetatable({}, { __tostring = function() error("worse") end })) end,
      function() error() end,
      function() error(setmetatable({}, { __tostring = function() return 5 end })) end } do
      rsca.on_error = hook
      rsca.spawn(error, "x")
      assert(rsca.loop())
    end
    print("on")
  ]]
  T.equal(output, "on\n")
  for line in errors:gmatch("[^\n]*\n") do
    T.match(line, "^rsca: ")
  end
end)

T.test("at first on_error writes one line to stderr", function()
  local output, errors = child [[
    local rsca = require "rsca"
    rsca.register("echo", function(args) return args end)
    rsca.spawn(error, "one\ntwo\nthree", 0)
    rsca.run("echo", "", function() error("in a handler", 0) end)
    rsca.spawn(function() error({ "no text" }) end)
    rsca.spawn(function() error("zero\0byte", 0) end)
    rsca.loop()
    rsca.on_error("called by hand")
    rsca.on_error(nil)
    rsca.on_error({ 1 })
  ]]
  T.equal(output, "")
  local lines = {}
  for line in errors:gmatch("[^\n]*\n") do
    lines[#lines + 1] = line
  end
  T.equal(#lines, 7, errors)
  T.equal(errors:sub(-1), "\n")
  for _, line in ipairs(lines) do
    T.match(line, "^rsca: ")
  end
  T.match(errors, "rsca: one")
  T.equal(errors:find("two", 1, true), nil)
  T.match(errors, "rsca: in a handler %(E_FAIL%)\n")
  T.match(errors, "rsca: zero")
  T.match(errors, "rsca: called by hand\n")
end)

T.test("nothing else is ever written", function()
  local output, errors = child [[
    local rsca = require "rsca"
    rsca.register("raises", error)
    rsca.call("raises", "x")
    rsca.run("raises", "x")
    rsca.call("nothing")
    rsca.log("error", "not shown")
    pcall(rsca.run)
    rsca.run("raises", "x", function() return 0x80004005 end)
    rsca.loop()
    rsca.manager():register("x", print)
  ]]
  T.equal(output, "")
  T.equal(errors, "")
end)

-- ---- on_log ----

T.test("log hands level and message to on_log", function()
  local got = {}
  rsca.on_log = function(...)
    T.equal(select("#", ...), 2)
    got[#got + 1] = table.concat({ ... }, " ")
  end
  for _, level in ipairs { "error", "warning", "info", "debug" } do
    T.equal(select("#", rsca.log(level, "message")), 0)
  end
  rsca.log("info", 5)
  rsca.log("info", nil)
  rsca.log("info", true)
  rsca.log("info", setmetatable({}, { __tostring = function() return "object" end }))
  rsca.on_log = nil
  T.equal(table.concat(got, ", "), "error message, warning message, info message, debug message, info 5, info nil, "
    .. "info true, info object")
end)

T.test("without on_log a message goes nowhere", function()
  rsca.on_log = nil
  T.equal(select("#", rsca.log("error", "lost")), 0)
end)

T.test("a level that is none raises, with a hook and without, and names the caller's line", function()
  for _, hook in ipairs { false, function() end } do
    rsca.on_log = hook or nil
    for _, wrong in ipairs { "fatal", "ERROR", "", 1, true, {}, "a\nb" } do
      T.raises("^[^:]*hooks_test%.lua:%d+: bad argument #1 to 'log'", function()
        rsca.log(wrong, "x")
      end)
    end
    T.raises("bad argument #1 to 'log'", rsca.log)
  end
  rsca.on_log = nil
  T.raises('got "fatal"', rsca.log, "fatal", "x")
  T.raises("got table", rsca.log, {}, "x")
end)

T.test("what on_log raises comes out of log", function()
  rsca.on_log = function() error("full", 0) end
  T.equal(T.raises("^full$", rsca.log, "info", "x"), "full")
  rsca.on_log = nil
end)

T.test("log works in actions and handlers, and on_log may wait there", function()
  local heard = T.expect(2)
  rsca.on_log = function()
    T.equal(rsca.sleep(0), true)
    heard()
  end
  rsca.register("logs", function()
    rsca.log("info", "x")
  end)
  rsca.run("logs", "", function()
    rsca.log("info", "y")
  end)
  T.equal(rsca.loop(), true)
  rsca.on_log = nil
end)

T.finish()
