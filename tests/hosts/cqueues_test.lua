-- A program whose loop is a controller of cqueues.

local T = require "lua.support"
local H = require "hosts.support"
local cqueues = require "cqueues"
local condition = require "cqueues.condition"
local signal = require "cqueues.signal"
local rsca = require "rsca"

local cq = cqueues.new()
local adapter = require("rsca.adapter.cqueues").start(cq)

local manager = H.manager()
local host = H.thread()

local function run()
  assert(adapter.loop(cq))
end

-- ---- The controller delivers ----

T.test("results come to callbacks, on the controller's own thread", function()
  local heard = T.expect(2)
  assert(manager:run("echo", "hello", function(status, response)
    T.equal(cqueues.running(), cq)
    T.equal(status, 0)
    T.equal(response, "hello")
    T.equal(H.thread(), host)
    heard()
  end))
  assert(manager:run("where", "", function(_, response)
    T.equal(tonumber(response) ~= host, H.pool ~= nil, "actions of a pool run elsewhere")
    heard()
  end))
  run()
end)

T.test("streams come to their handlers in order, on the controller's own thread", function()
  local heard = {}
  assert(manager:subscribe("count", "5", function(status, response, final)
    T.equal(H.thread(), host)
    heard[#heard + 1] = final and rsca.describe(status):match("^%S+") or response
  end))
  run()
  T.equal(table.concat(heard, " "), "1 2 3 4 5 S_FALSE")
end)

T.test("the controller goes on meanwhile: a coroutine of its own cancels a call that lasts", function()
  local heard = T.expect(1)
  local id = assert(manager:run("lasting", "", function(status)
    T.equal(status, rsca.status.ERROR_CANCELLED)
    heard()
  end))
  cq:wrap(function()
    cqueues.sleep(0.001)
    assert(manager:cancel(id))
  end)
  run()
end)

T.test("a flood of calls leaves other coroutines their turns", function()
  local heard, turns, left = T.expect(1000), 0, 1000
  for _ = 1, 1000 do
    assert(manager:run("echo", "", function()
      heard()
      left = left - 1
    end))
  end
  cq:wrap(function()
    repeat
      turns = turns + 1
      cqueues.sleep(0)
    until left == 0
  end)
  run()
  T.truthy(turns >= 5, "it had its turn " .. turns .. " times")
end)

T.test("a sleep that begins while the program blocks is over in the controller", function()
  local slept = T.expect(1)
  rsca.spawn(function()
    rsca.sleep(0.01)
    T.equal(cqueues.running(), cq)
    slept()
  end)
  rsca.wait(0) -- it sleeps now
  run()
end)

-- ---- Waiting ----

T.test("in the controller's coroutines every wait gives way to it", function()
  local done, ticks, over = T.expect(1), 0, false
  cq:wrap(function()
    repeat
      cqueues.sleep(0.001)
      ticks = ticks + 1
    until over
  end)
  cq:wrap(function()
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
    over = true
    done()
  end)
  run()
end)

T.test("so do those of another controller, run beside", function()
  local done = T.expect(1)
  local other = cqueues.new()
  other:wrap(function()
    T.equal(manager:call("echo", "elsewhere"), "elsewhere")
    done()
  end)
  cq:wrap(function()
    assert(other:loop())
  end)
  run()
end)

T.test("coroutines that wait for rsca and for cqueues wake each other", function()
  local done = T.expect(2)
  local cond = condition.new()
  cq:wrap(function()
    T.equal(cond:wait(), true)
    T.equal(manager:call("echo", "b"), "b")
    done()
  end)
  cq:wrap(function()
    T.equal(manager:call("echo", "a"), "a")
    cond:signal()
    done()
  end)
  run()
end)

T.test("in a coroutine of one's own inside the controller's a wait raises", function()
  local done = T.expect(1)
  cq:wrap(function()
    coroutine.wrap(function()
      T.raises("can't wait here: in a coroutine of your own inside one of cqueues'", rsca.sleep, 0)
      done()
    end)()
  end)
  run()
end)

T.test("inside a function that can't yield a wait raises", function()
  local done = T.expect(1)
  cq:wrap(function()
    table.sort({ 1, 2 }, function()
      T.raises("can't wait here: inside a function that can't yield", rsca.sleep, 0)
      done()
      return false
    end)
  end)
  run()
end)

T.test("where no controller runs, waits block", function()
  T.equal(manager:call("echo", "main"), "main")
  T.equal(rsca.sleep(0.001), true)
end)

T.test("a controller that goes with coroutines that wait leaves nothing behind", function()
  local other = cqueues.new()
  other:wrap(function()
    rsca.sleep(math.huge)
  end)
  other:wrap(function()
    for _ in manager:responses("lasting") do
      error("not reached")
    end
  end)
  other:step(0)
  rsca.wait(0)
  T.equal(rsca.loop(0), false)
  other:close()
  other = nil -- luacheck: ignore
  T.collect()
  rsca.step() -- the waits are given up, and with them the loop over responses, whose subscription is garbage then
  T.collect()
  T.equal(rsca.loop(20), true)
end)

-- ---- Starting, stopping, errors ----

T.test("what a coroutine raises comes out of loop, as out of cq:loop", function()
  cq:wrap(error, "on purpose", 0)
  local good, problem, _, thread = adapter.loop(cq)
  T.equal(good, false)
  T.equal(problem, "on purpose")
  T.equal(type(thread), "thread")
  run()
end)

T.test("start takes a controller and nothing else", function()
  for _, wrong in ipairs { 1, "cq", {}, io.stdout } do
    T.raises("bad argument #1 to 'start' %(a controller of cqueues expected", adapter.start, wrong)
  end
  T.raises("bad argument #1 to 'start'", adapter.start)
end)

T.test("a second adapter is an error", function()
  T.raises("the adapter 'cqueues' is set already", require("rsca.adapter.luv").start)
end)

T.test("stopped, the controller comes to its end; started again, it goes on", function()
  local heard = T.expect(1)
  adapter.stop()
  adapter.stop()
  T.equal(cq:loop(20), true)
  T.equal(cq:count(), 0)
  T.equal(adapter.start(cq), adapter)
  T.equal(adapter.start(cq), adapter) -- anew, as in the child of a fork
  cq:wrap(function()
    T.equal(manager:call("echo", "x"), "x")
    heard()
  end)
  run()
  T.equal(cq:count(), 1)
end)

-- ---- Signals and limits ----

T.test("a signal that the program listens for comes to it while calls are in flight", function()
  local heard = T.expect(1)
  signal.block(signal.SIGTERM)
  local listener = signal.listen(signal.SIGTERM)
  local request = assert(manager:run("lasting"))
  cq:wrap(function()
    T.equal(listener:wait(), signal.SIGTERM)
    assert(request:cancel())
    heard()
  end)
  cq:wrap(function()
    T.equal(manager:call("echo", "x"), "x")
    signal.raise(signal.SIGTERM)
  end)
  run()
  signal.unblock(signal.SIGTERM)
end)

if H.pool then
  T.test("a call hits its time limit while the controller keeps ticking", function()
    local heard, ticks, over = T.expect(1), 0, false
    cq:wrap(function()
      repeat
        cqueues.sleep(0.001)
        ticks = ticks + 1
      until over
    end)
    cq:wrap(function()
      local response, err = manager:call("spinning")
      T.equal(response, nil)
      T.equal(err.name, "ERROR_TIMEOUT")
      T.truthy(ticks > 1)
      over = true
      heard()
    end)
    run()
  end)
end

-- ---- The end ----

local beginning = [[
  local rsca = require "rsca"
  local cqueues = require "cqueues"
  local cq = cqueues.new()
  local adapter = require("rsca.adapter.cqueues").start(cq)
  local manager = require("hosts.support").manager()
  local function never() print("never") end
  manager:run("lasting", "", never)
  manager:subscribe("lasting", "", never)
  cq:wrap(function() manager:call("lasting") never() end)
  cq:wrap(function() rsca.sleep(math.huge) never() end)
  cq:wrap(function() cqueues.sleep(0.005) manager:run("lasting", "", never) print("the end") error("out", 0) end)
]]

T.test("a program ends cleanly with work in flight", function()
  for name, ending in pairs {
    ["by itself"] = "",
    ["closing its state"] = "os.exit(0, true)",
    ["at once"] = "os.exit(0)",
    ["with the adapter stopped"] = "adapter.stop()",
    ["with the manager closed"] = "manager:close()",
    ["with the controller closed"] = "cq:close()",
  } do
    local output, how = H.child(beginning .. "cq:loop()\n" .. ending)
    T.equal(output, "the end\n", name)
    T.equal(how, "exit 0", name)
  end
end)

T.test("it may also end inside a coroutine of the controller's", function()
  local output, how = H.child(beginning:gsub('error%("out", 0%)', "os.exit(0, true)") .. "cq:loop()")
  T.equal(output, "the end\n")
  T.equal(how, "exit 0")
end)

T.finish()
