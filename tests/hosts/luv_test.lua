-- A program whose loop is luv's.

local T = require "lua.support"
local H = require "hosts.support"
local uv = require "luv"
local rsca = require "rsca"
local adapter = require("rsca.adapter.luv").start()

local manager = H.manager()
local host = H.thread()

-- Handles that a test leaves open would keep the loop of the next one alive.
local function close_all(...)
  for _, handle in ipairs { ... } do
    handle:close()
  end
end

local function after(ms, f)
  local timer = uv.new_timer()
  timer:start(ms, 0, function()
    timer:close()
    f()
  end)
end

-- ---- The loop delivers ----

T.test("results come to callbacks, on the loop's own thread", function()
  local heard = T.expect(2)
  assert(manager:run("echo", "hello", function(status, response)
    T.equal(uv.loop_mode(), "default")
    T.equal(status, 0)
    T.equal(response, "hello")
    T.equal(H.thread(), host)
    heard()
  end))
  assert(manager:run("where", "", function(_, response)
    T.equal(tonumber(response) ~= host, H.pool ~= nil, "actions of a pool run elsewhere")
    heard()
  end))
  adapter.run()
end)

T.test("streams come to their handlers in order, on the loop's own thread", function()
  local heard = {}
  assert(manager:subscribe("count", "5", function(status, response, final)
    T.equal(H.thread(), host)
    heard[#heard + 1] = final and rsca.describe(status):match("^%S+") or response
  end))
  adapter.run()
  T.equal(table.concat(heard, " "), "1 2 3 4 5 S_FALSE")
end)

T.test("the loop goes on meanwhile: a timer of luv's cancels a call that lasts", function()
  local heard = T.expect(1)
  local id = assert(manager:run("lasting", "", function(status)
    T.equal(status, rsca.status.ERROR_CANCELLED)
    heard()
  end))
  after(1, function()
    assert(manager:cancel(id))
  end)
  adapter.run()
end)

T.test("plain uv.run ends when nothing is pending any more, and not before", function()
  local heard = T.expect(6)
  uv.run()
  assert(manager:run("echo", "", heard))
  uv.run()
  assert(manager:subscribe("count", "2", heard))
  uv.run()
  rsca.spawn(heard)
  uv.run()
  local request = assert(manager:run("echo", "x"))
  uv.run()
  T.equal(request:await(0), "x")
  T.equal(manager:RunCustomAction("echo", "", heard), 0)
  uv.run()
end)

T.test("work that is queued in a callback of the last handle is done", function()
  local heard = T.expect(1)
  after(0, function()
    assert(manager:run("echo", "", heard))
  end)
  uv.run()
end)

T.test("a flood of calls leaves the loop's other handles their turns", function()
  local heard, turns = T.expect(1000), 0
  local check = uv.new_check()
  check:start(function()
    turns = turns + 1
  end)
  check:unref()
  for _ = 1, 1000 do
    assert(manager:run("echo", "", heard))
  end
  adapter.run()
  T.truthy(turns >= 5, "the loop came round " .. turns .. " times")
  close_all(check)
end)

T.test("a sleep that begins while the program blocks is over in the loop", function()
  local slept = T.expect(1)
  rsca.spawn(function()
    rsca.sleep(0.01)
    T.equal(uv.loop_mode(), "default")
    slept()
  end)
  rsca.wait(0) -- it sleeps now
  after(0, function() end)
  uv.run()
end)

T.test("a handler may run the loop itself; what is due for rsca waits meanwhile", function()
  local heard, passed = T.expect(2), false
  rsca.spawn(function()
    assert(manager:run("echo", "", heard))
    local timer = uv.new_timer()
    timer:start(5, 0, function()
      passed = true
      timer:close()
    end)
    while not passed do
      uv.run("once")
    end
    heard()
  end)
  adapter.run()
  T.equal(passed, true)
end)

-- ---- Waiting ----

T.test("in coroutines of the adapter every wait gives way to the loop", function()
  local done, ticks = T.expect(1), 0
  local ticker = uv.new_timer()
  ticker:start(0, 1, function()
    ticks = ticks + 1
  end)
  adapter.spawn(function(...)
    T.equal(select("#", ...), 3)
    T.equal((...), "a")
    T.equal(manager:call("echo", "called"), "called")
    local request = assert(manager:run("echo", "awaited"))
    T.equal(request:await(), "awaited")
    T.equal(rsca.sleep(0.005), true)
    T.truthy(ticks > 0)
    local heard = {}
    for response in manager:responses("count", "3") do
      heard[#heard + 1] = response
    end
    T.equal(table.concat(heard, " "), "1 2 3")
    local response, err = manager:call("fail", "on purpose")
    T.equal(response, nil)
    T.equal(tostring(err), "on purpose (E_ABORT)")
    T.equal(H.thread(), host)
    close_all(ticker)
    done()
  end, "a", nil, nil)
  adapter.run()
end)

T.test("a coroutine may be spawned in a handler, also while the program blocks", function()
  local done = T.expect(2)
  local function spawn()
    adapter.spawn(function()
      T.equal(manager:call("echo", "x"), "x")
      done()
    end)
  end
  rsca.spawn(spawn)
  rsca.wait(20)
  adapter.run()
  rsca.spawn(spawn)
  adapter.run()
end)

T.test("wrap is coroutine.wrap for coroutines that may wait", function()
  local finished
  local f = adapter.wrap(function(first)
    local second = coroutine.yield(first + 1)
    finished = manager:call("echo", second)
  end)
  T.equal(f(1), 2)
  T.equal(f("x"), nil)
  T.equal(finished, nil)
  adapter.run()
  T.equal(finished, "x")
  T.match(T.raises("cannot resume dead coroutine", f), "dead")
  T.raises("at once", adapter.wrap(function()
    error("at once")
  end))
end)

T.test("such a coroutine may also wait for luv's callbacks, resumed by them", function()
  local done = T.expect(1)
  adapter.spawn(function()
    local co = coroutine.running()
    T.equal(manager:call("echo", "one"), "one")
    uv.fs_stat("/", function(err, stat)
      T.equal(coroutine.resume(co, err, stat), true)
    end)
    local err, stat = coroutine.yield()
    T.equal(err, nil)
    T.equal(stat.type, "directory")
    T.equal(manager:call("echo", "two"), "two")
    done()
  end)
  adapter.run()
end)

T.test("what a spawned coroutine raises goes to on_error, with its traceback", function()
  local problem
  local before = rsca.on_error
  rsca.on_error = function(err)
    problem = err
  end
  local function culprit()
    error("unheard of")
  end
  adapter.spawn(function()
    assert(manager:call("echo"))
    culprit()
  end)
  adapter.run()
  rsca.on_error = before
  T.match(problem.message .. problem.traceback, "unheard of.*in upvalue 'culprit'")
end)

T.test("in a callback of luv a wait raises, and says what to do", function()
  local done = T.expect(2)
  after(0, function()
    T.raises("can't wait here: in a callback of luv; use a callback of your own, or adapter.spawn", rsca.sleep, 0)
    done()
    coroutine.wrap(function()
      T.raises("can't wait here: in a coroutine that rsca.adapter.luv doesn't know", rsca.sleep, 0)
      done()
    end)()
  end)
  adapter.run()
end)

T.test("inside a function that can't yield a wait raises", function()
  local done = T.expect(1)
  adapter.spawn(function()
    table.sort({ 1, 2 }, function()
      T.raises("can't wait here: inside a function that can't yield", rsca.sleep, 0)
      done()
      return false
    end)
  end)
  adapter.run()
end)

T.test("where the loop does not run, waits block", function()
  T.equal(manager:call("echo", "main"), "main")
  T.equal(rsca.sleep(0.001), true)
end)

T.test("closing a coroutine that waits leaves nothing behind", function()
  local co
  adapter.spawn(function()
    co = coroutine.running()
    rsca.sleep(math.huge)
  end)
  after(1, function()
    T.equal(coroutine.close(co), true)
  end)
  adapter.run() -- would not return if the sleep went on
  T.equal(coroutine.status(co), "dead")
end)

-- ---- Starting and stopping ----

T.test("a second adapter is an error", function()
  T.raises("the adapter 'luv' is set already", require("rsca.adapter.cqueues").start, require("cqueues").new())
end)

T.test("stopped, the loop knows nothing of rsca; started again, it goes on", function()
  local heard = T.expect(1)
  adapter.spawn(function()
    T.equal(manager:call("echo", "x"), "x")
    heard()
  end)
  after(0, function()
    adapter.stop()
    adapter.stop()
  end)
  uv.run()
  T.raises("has not been started", adapter.run)
  T.raises("has not been started", adapter.spawn, print)
  T.equal(adapter.start(), adapter)
  T.equal(adapter.start(), adapter) -- anew, as in the child of a fork
  adapter.run()
end)

-- ---- Limits ----

if H.pool then
  T.test("a call hits its time limit while the loop keeps ticking", function()
    local heard, ticks = T.expect(1), 0
    local ticker = uv.new_timer()
    ticker:start(0, 1, function()
      ticks = ticks + 1
    end)
    assert(manager:run("spinning", "", function(status)
      T.equal(status, rsca.status.ERROR_TIMEOUT)
      T.truthy(ticks > 1)
      close_all(ticker)
      heard()
    end))
    adapter.run()
  end)
end

-- ---- The end ----

local beginning = [[
  local rsca = require "rsca"
  local uv = require "luv"
  local adapter = require("rsca.adapter.luv").start()
  local manager = require("hosts.support").manager()
  local function never() print("never") end
  manager:run("lasting", "", never)
  manager:subscribe("lasting", "", never)
  adapter.spawn(function() manager:call("lasting") never() end)
  adapter.spawn(function() rsca.sleep(math.huge) never() end)
  uv.new_timer():start(5, 0, function() manager:run("lasting", "", never) print("the end") uv.stop() end)
]]

T.test("a program ends cleanly with work in flight", function()
  for name, ending in pairs {
    ["by itself"] = "",
    ["closing its state"] = "os.exit(0, true)",
    ["at once"] = "os.exit(0)",
    ["with the adapter stopped"] = "adapter.stop()",
    ["with the manager closed"] = "manager:close()",
  } do
    local output, how = H.child(beginning .. "uv.run()\n" .. ending)
    T.equal(output, "the end\n", name)
    T.equal(how, "exit 0", name)
  end
end)

T.test("it may also end inside a callback of luv", function()
  local output, how = H.child(beginning:gsub("uv.stop%(%)", "os.exit(0, true)") .. "uv.run()")
  T.equal(output, "the end\n")
  T.equal(how, "exit 0")
end)

T.finish()
