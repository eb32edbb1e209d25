-- The end of a Lua state with calls still in flight. Every script here runs in a process of its own.

local T = require "lua.support"

-- What every script begins with. `note` is a <close> variable that says so.
local prelude = [[
  io.stdout:setvbuf("no")
  local rsca = require "rsca"
  local function note(name)
    return setmetatable({}, { __close = function() print("closed " .. name) end })
  end
  rsca.register("echo", function(args) return args end)
  rsca.register("holds", function(args, ctx)
    local _ <close> = note(args)
    ctx:sleep(1e6)
    print("never")
  end)
  local function never() print("never") end
]]

-- Runs a script, and `first` before all of it: its output, both streams in one, and its ending, "exit CODE".
local function run(script, first)
  local quoted = ((first or "") .. prelude .. script):gsub("'", "'\\''")
  local pipe = assert(io.popen(("exec '%s' -e '%s' 2>&1"):format(arg[-1], quoted)))
  local output = pipe:read("a")
  local _, how, code = pipe:close()
  return output, how .. " " .. code
end

local function case(name, script, output, ending)
  T.test(name, function()
    local got, got_ending = run(script)
    T.equal(got, output)
    T.equal(got_ending, ending or "exit 0", got)
  end)
end

-- ---- The script ends ----

case("a script that ends with nothing in flight", [[rsca.call("echo")]], "")

case("calls that are queued go, and nobody is told", [[
  rsca.run("holds", "a", never)
  rsca.run("holds", "b")
  rsca.spawn(never)
]], "")

case("calls that wait are closed: their <close> variables run", [[
  rsca.run("holds", "a", never)
  local request = rsca.run("holds", "b")
  rsca.step()
  print("end")
]], "end\nclosed b\nclosed a\n")

case("what handlers, spawned functions and bare yields hold is closed, too", [[
  rsca.run("echo", "h", function(_, response)
    local _ <close> = note(response)
    rsca.sleep(1e6)
  end)
  rsca.step()
  rsca.step()
  rsca.spawn(function(name)
    local _ <close> = note(name)
    rsca.call("holds", "inner")
  end, "s")
  rsca.spawn(function(name)
    local _ <close> = note(name)
    while true do coroutine.yield() end
  end, "y")
  rsca.step()
  rsca.step()
  print("end")
]], "end\nclosed inner\nclosed y\nclosed s\nclosed h\n")

case("handlers whose results are there but were not delivered go with the state", [[
  rsca.run("echo", "x", never)
  rsca.run("echo", "y", { ReportResult = never })
  rsca.step()
]], "")

case("what an action uses is whole while it is closed", [[
  rsca.register("uses", function(_, ctx)
    local file = assert(io.tmpfile())
    local _ <close> = setmetatable({}, { __close = function()
      print(io.type(file), file:write("x") == file)
    end })
    ctx:sleep(1e6)
  end)
  rsca.run("uses")
  rsca.step()
]], "file\ttrue\n")

case("calls of managers that the script made end likewise", [[
  for _, name in ipairs { "kept", "dropped" } do
    local manager = rsca.manager()
    manager:register("holds", function(_, ctx)
      local _ <close> = note(name)
      ctx:sleep(1e6)
      return manager and ""
    end)
    manager:run("holds", "", never)
    manager:run("holds")
    kept = name == "kept" and manager
  end
  rsca.step()
  print("end")
]], "end\n" .. ("closed dropped\n"):rep(2) .. ("closed kept\n"):rep(2))

case("a closed manager whose handlers were not told yet", [[
  local manager = rsca.manager()
  manager:register("holds", function(_, ctx) local _ <close> = note("a") ctx:sleep(1e6) end)
  manager:run("holds", "", never)
  rsca.step()
  manager:close()
  print("end")
]], "closed a\nend\n")

case("in __close waits answer nil, err, as after any stop", [[
  rsca.register("waits", function(_, ctx)
    local request = rsca.run("holds", "request")
    local _ <close> = setmetatable({}, { __close = function()
      print(ctx:sleep(0) == nil, rsca.sleep(0) == nil, rsca.call("echo") == nil, request:await() == nil)
    end })
    ctx:sleep(1e6)
  end)
  rsca.run("waits")
  rsca.step()
]], "true\ttrue\ttrue\ttrue\n")

case("in __close ctx can still be asked", [[
  rsca.register("asks", function(_, ctx)
    local _ <close> = setmetatable({}, { __close = function()
      print(ctx.name, ctx.args, math.type(ctx.id), type(ctx:cancelled()))
    end })
    ctx:sleep(1e6)
  end)
  rsca.run("asks", "x")
  rsca.step()
]], "asks\tx\tinteger\tboolean\n")

case("what __close raises goes to on_error, one line to stderr, and the rest is closed", [[
  rsca.register("raises", function(_, ctx)
    local _ <close> = note("first")
    local _ <close> = setmetatable({}, { __close = function() error("in the way", 0) end })
    ctx:sleep(1e6)
  end)
  rsca.run("holds", "other")
  rsca.run("raises")
  rsca.step()
]], "closed first\nrsca: in the way (E_FAIL)\nclosed other\n")

case("a handler that raised before the end has been heard of, one that did not run yet is silent", [[
  rsca.run("echo", "", function() error("heard", 0) end)
  rsca.step()
  rsca.step()
  rsca.run("echo", "", function() error("silent", 0) end)
  rsca.step()
]], "rsca: heard (E_FAIL)\n")

-- ---- An error ends the script ----

T.test("error in the main chunk with calls in flight", function()
  local got, ending = run([[
    rsca.run("holds", "waiting", never)
    rsca.step()
    rsca.run("holds", "queued", never)
    error(setmetatable({}, { __tostring = function() return "the script failed" end }))
  ]])
  T.equal(ending, "exit 1", got)
  T.match(got, "^[^\n]*: the script failed\nclosed waiting\n$")
end)

case("error in the main chunk inside a coroutine that waits", [[
  rsca.run("holds", "waiting", never)
  rsca.step()
  print(pcall(coroutine.wrap(function()
    rsca.call("echo")
    error("wrapped", 0)
  end)))
]], "false\twrapped\nclosed waiting\n")

-- ---- os.exit ----

case("os.exit(true, true) with calls queued, waiting and not delivered", [[
  rsca.run("holds", "waiting", never)
  rsca.run("echo", "", never)
  rsca.step()
  rsca.run("holds", "queued", never)
  os.exit(true, true)
]], "closed waiting\n")

case("os.exit(7, true) has its status", [[
  rsca.run("holds", "waiting", never)
  rsca.step()
  os.exit(7, true)
]], "closed waiting\n", "exit 7")

case("os.exit without closing the state closes nothing", [[
  rsca.run("holds", "waiting", never)
  rsca.step()
  os.exit(3)
]], "", "exit 3")

-- Ways to be inside when os.exit is called; `go` calls it.
for _, where in ipairs {
  { "an action", [[rsca.register("x", go) rsca.run("x", "", never)]] },
  { "an action that had waited", [[rsca.register("x", function() rsca.sleep(0) go() end) rsca.run("x", "", never)]] },
  { "a handler", [[rsca.run("echo", "", go)]] },
  { "a spawned function", [[rsca.spawn(go)]] },
  { "a coroutine of the script's own in an action", [[rsca.spawn(function() coroutine.wrap(go)() end)]] },
  { "a comparison function in an action", [[rsca.spawn(function() table.sort({ 1, 2 }, go) end)]] },
  { "pcall in an action", [[rsca.spawn(function() pcall(go) end)]] },
  { "__close of a block in an action", [[
    rsca.spawn(function() local _ <close> = setmetatable({}, { __close = go }) end)]] },
  { "__close of an action that raised", [[
    rsca.spawn(function() local _ <close> = setmetatable({}, { __close = go }) error("x") end)]] },
  { "__close of an action that is cancelled", [[
    rsca.register("x", function() local _ <close> = setmetatable({}, { __close = go }) rsca.sleep(1e6) end)
    local request = rsca.run("x")
    rsca.step()
    request:cancel()]] },
  { "__close of an action whose manager is closed", [[
    local manager = rsca.manager()
    manager:register("x", function() local _ <close> = setmetatable({}, { __close = go }) rsca.sleep(1e6) end)
    manager:run("x")
    rsca.step()
    manager:close()]] },
  { "on_error", [[rsca.on_error = go rsca.spawn(error)]] },
  { "__tostring of what an action raised", [[
    rsca.spawn(function() error(setmetatable({}, { __tostring = function() go() end })) end)]] },
  { "a finalizer in a step", [[
    rsca.spawn(function() setmetatable({}, { __gc = go }) collectgarbage() end)]] },
  { "a finalizer outside of any step", [[setmetatable({}, { __gc = go }) collectgarbage()]] },
  { "a coroutine that waits for a call", [[coroutine.wrap(function() rsca.spawn(go) rsca.call("holds", "b") end)()]] },
} do
  T.test("os.exit(true, true) inside " .. where[1], function()
    local got, ending = run([[
      rsca.run("holds", "waiting", never)
      rsca.step()
      rsca.run("holds", "queued", never)
      local function go()
        print("exit")
        os.exit(5, true)
      end
    ]] .. where[2] .. [[
      rsca.run("holds", "last", never)
      rsca.loop()
      print("never")
    ]])
    T.equal(ending, "exit 5", got)
    T.match(got, "^exit\nclosed ")
    T.match(got, "\nclosed waiting\n")
    T.equal(got:find("never", 1, true), nil)
  end)
end

-- ---- Finalizers ----

-- `kept` is finalized after rsca is: it was made first.
local before = [[
  kept = setmetatable({}, { __gc = function(self) print(pcall(self.f)) end })
]]

T.test("a finalizer made before require finds everything closed, and nothing breaks", function()
  local script = [[
    local names = {}
    for name, f in pairs(rsca) do
      if type(f) == "function" and name ~= "on_error" then
        names[#names + 1] = name
      end
    end
    table.sort(names)
    local manager = rsca.manager()
    manager:register("echo", function(args) return args end)
    local request = rsca.run("holds")
    local context
    rsca.register("context", function(_, ctx) context = ctx ctx:sleep(1e6) end)
    rsca.run("context")
    rsca.step()
    local _, err = rsca.call("nothing")
    local await, cancel, ask, report = request.await, request.cancel, context.cancelled, context.report
    function kept.f()
      for _, name in ipairs(names) do
        local good = pcall(rsca[name], "x", "y", print)
        if good and name ~= "log" and name ~= "describe" and name ~= "failed" then
          print("works", name)
        end
        pcall(rsca[name])
        pcall(rsca[name], print)
        pcall(rsca[name], 0)
        pcall(manager[name], manager, "echo", "", print)
      end
      for _, method in ipairs { "close", "AddRef", "Release", "RunCustomAction" } do
        pcall(manager[method], manager)
      end
      for _, f in ipairs { await, cancel, tostring, function(r) return r.id end } do
        pcall(f, request, 0)
      end
      for _, f in ipairs { ask, report, tostring, function(c) return c.args end } do
        pcall(f, context, "x")
      end
      return tostring(manager), tostring(err), rsca.describe(rsca.status.S_OK):match("S_OK"), rsca.failed(1)
    end
  ]]
  local got, ending = run(script, before)
  T.equal(ending, "exit 0", got)
  T.match(got, "^closed \ntrue\trsca.manager: closed\tno action is registered [^\n]*\tS_OK\tfalse\n$")
end)

-- Finalized while rsca is whole: it was made later. (A coroutine that began to wait later still has been closed.)
for _, what in ipairs {
  { "calls an action", [[return rsca.call("echo", "x")]], "true\tx\n" },
  { "calls one that waits", [[
    rsca.register("waits", function(args) rsca.sleep(0) return args end)
    return rsca.call("waits", "x")]], "true\tx\n" },
  { "awaits a request", [[return rsca.run("echo", "x"):await()]], "true\tx\n" },
  { "loops", [[rsca.run("echo", "x", function(_, response) print(response) end) return rsca.loop()]],
    "x\ntrue\ttrue\n" },
  { "queues calls", [[return type(rsca.run("echo", "", never)), type(rsca.run("holds", "q"))]],
    "true\tnumber\tuserdata\n" },
  { "leaves calls waiting", [[rsca.run("holds", "left", never) rsca.spawn(rsca.sleep, 1e6) return rsca.step()]],
    "true\t2\nclosed left\n" },
  { "makes a manager and drops it", [[
    local manager = rsca.manager()
    manager:register("echo", function(args) return manager and args end)
    manager:run("echo", "", never)
    return manager:call("echo", "x")]], "true\tx\n" },
  { "closes a manager that waits", [[
    local manager = rsca.manager()
    manager:register("holds", function() local _ <close> = note("m") rsca.sleep(1e6) end)
    manager:run("holds", "", never)
    rsca.step()
    return manager:close()]], "closed m\ntrue\n" },
  { "raises", [[error("x", 0)]], "false\tx\n" },
} do
  case("a finalizer made after require that " .. what[1], [[
    kept = setmetatable({}, { __gc = function()
      print(pcall(function() ]] .. what[2] .. [[ end))
    end })
  ]], what[3])
end

T.finish()
