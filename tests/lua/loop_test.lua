-- Delivery: step, wait, loop, timeout, fd, and spawn.

local T = require "lua.support"
local rsca = require "rsca"

rsca.register("echo", function(args)
  return args
end)

-- on_error's errors while f runs.
local function errors_of(f)
  local hook, errors = rsca.on_error, {}
  rsca.on_error = function(err)
    errors[#errors + 1] = err
  end
  f()
  rsca.on_error = hook
  return errors
end

-- ---- step ----

T.test("step runs what is due and answers how many pieces of work that were", function()
  T.equal(rsca.step(), 0)
  local ran = T.expect(3)
  for _ = 1, 3 do
    rsca.spawn(ran)
  end
  T.equal(rsca.step(), 3)
  T.equal(rsca.step(), 0)
end)

T.test("step(budget) runs so many pieces at most, in their order, and the rest later", function()
  local order = {}
  for i = 1, 5 do
    rsca.spawn(function()
      order[#order + 1] = i
    end)
  end
  T.equal(rsca.step(1), 1)
  T.equal(table.concat(order), "1")
  T.equal(rsca.step(2), 2)
  T.equal(table.concat(order), "123")
  T.equal(rsca.step(0), 2)
  T.equal(table.concat(order), "12345")
  T.equal(rsca.step(1), 0)
  T.equal(rsca.step(math.maxinteger), 0)
end)

T.test("what the budget left over comes before what was queued meanwhile", function()
  local order = {}
  local function note(name)
    return function()
      order[#order + 1] = name
    end
  end
  rsca.spawn(function()
    order[#order + 1] = "first"
    rsca.spawn(note("third"))
  end)
  rsca.spawn(note("second"))
  for _ = 1, 3 do
    T.equal(rsca.step(1), 1)
  end
  T.equal(table.concat(order, " "), "first second third")
end)

T.test("what a step queues is left for the next one", function()
  local steps = 0
  local function again()
    steps = steps + 1
    if steps < 5 then
      rsca.spawn(again)
    end
  end
  rsca.spawn(again)
  for i = 1, 5 do
    T.equal(rsca.step(), 1)
    T.equal(steps, i)
  end
  T.equal(rsca.step(), 0)
end)

T.test("a run is one piece of work, and its handler one more, in the next step", function()
  local heard = T.expect(1)
  rsca.run("echo", "x", heard)
  T.equal(rsca.step(), 1)
  T.equal(rsca.step(), 1)
  T.equal(rsca.step(), 0)
end)

T.test("a budget that is none raises", function()
  for _, wrong in ipairs { -1, 1.5, "many", {} } do
    T.raises("bad argument #1 to '.*step'", rsca.step, wrong)
  end
end)

-- ---- timeout and fd ----

T.test("timeout: nil when nothing will be due, 0 when something is, else the seconds until then", function()
  rsca.register("sleeps", function(args, ctx)
    ctx:sleep(tonumber(args))
  end)
  T.equal(rsca.timeout(), nil)
  local long = rsca.run("sleeps", 1000)
  T.equal(rsca.timeout(), 0.0)
  rsca.step()
  local seconds = rsca.timeout()
  T.equal(math.type(seconds), "float")
  T.truthy(seconds > 10 and seconds <= 1000, seconds)
  local short = rsca.run("sleeps", 10)
  rsca.step()
  seconds = rsca.timeout()
  T.truthy(seconds > 0 and seconds <= 10, seconds)
  short:cancel()
  T.equal(rsca.timeout(), 0.0)
  short:await()
  seconds = rsca.timeout()
  T.truthy(seconds > 10 and seconds <= 1000, seconds)
  long:cancel()
  long:await()
  T.equal(rsca.timeout(), nil)
end)

T.test("timeout and fd may be asked inside a step", function()
  local asked = T.expect(1)
  rsca.spawn(function()
    T.equal(rsca.timeout(), nil)
    rsca.spawn(function() end)
    T.equal(rsca.timeout(), 0.0)
    T.equal(math.type(rsca.fd()), "integer")
    asked()
  end)
  rsca.step()
  rsca.step()
end)

T.test("fd is an integer, the same every time", function()
  local fd = rsca.fd()
  T.equal(math.type(fd), "integer")
  T.truthy(fd >= 0)
  rsca.spawn(function() end)
  rsca.step()
  T.equal(rsca.fd(), fd)
end)

T.test("once fd was asked for, step and wait do as before", function()
  rsca.fd()
  local ran = T.expect(2)
  rsca.spawn(ran)
  T.equal(rsca.wait(), 1)
  rsca.spawn(ran)
  T.equal(rsca.step(), 1)
  T.equal(rsca.wait(0), 0)
  T.equal(rsca.call("echo", "x"), "x")
end)

-- ---- wait ----

T.test("wait runs what is due without waiting", function()
  local ran = T.expect(2)
  rsca.spawn(ran)
  rsca.spawn(ran)
  T.equal(rsca.wait(), 2)
end)

T.test("wait waits until something is due and runs it, or until its time is over", function()
  local woken = T.expect(1)
  T.equal(rsca.wait(0), 0)
  T.equal(rsca.wait(0.001), 0)
  rsca.spawn(function()
    rsca.sleep(0.001)
    woken()
  end)
  T.equal(rsca.wait(), 1)
  T.equal(rsca.wait(1000), 1)
end)

T.test("what is no time raises", function()
  for _, wrong in ipairs { -1, 0 / 0, "soon", {} } do
    T.raises("bad argument #1 to '.*wait'", rsca.wait, wrong)
    T.raises("bad argument #1 to '.*loop'", rsca.loop, wrong)
  end
end)

-- ---- loop ----

T.test("loop runs until nothing is pending: true", function()
  T.equal(rsca.loop(), true)
  local ended = T.expect(4)
  rsca.spawn(function()
    rsca.sleep(0.001)
    rsca.spawn(ended)
    ended()
  end)
  rsca.run("echo", "x", function()
    rsca.sleep(0)
    ended()
  end)
  rsca.run("echo", "x")
  rsca.spawn(function()
    coroutine.yield()
    ended()
  end)
  T.equal(rsca.loop(), true)
  T.equal(rsca.loop(1000), true)
end)

T.test("loop(seconds) answers false when the time is over, and what is pending goes on later", function()
  local open, ended = false, T.expect(1)
  rsca.spawn(function()
    repeat coroutine.yield() until open
    ended()
  end)
  T.equal(rsca.loop(0), false)
  T.equal(rsca.loop(0.001), false)
  open = true
  T.equal(rsca.loop(), true)
  rsca.register("sleeps", function(_, ctx)
    ctx:sleep(1e6)
  end)
  local request = rsca.run("sleeps")
  T.equal(rsca.loop(0.001), false)
  request:cancel()
  T.equal(rsca.loop(1000), true)
end)

T.test("loop waits for calls that only a request is waiting for, also one that was dropped", function()
  local ended = T.expect(2)
  rsca.register("ends", function(_, ctx)
    ctx:sleep(0)
    ended()
  end)
  local request = rsca.run("ends")
  rsca.run("ends")
  T.collect()
  T.equal(rsca.loop(), true)
  T.equal(request:await(0), "")
end)

T.test("loop runs the managers that the script made, too", function()
  local manager <close> = rsca.manager()
  local heard = T.expect(1)
  manager:register("echo", function(args)
    return args
  end)
  manager:run("echo", "", heard)
  T.equal(rsca.loop(), true)
end)

-- ---- spawn ----

T.test("spawn runs a function with its arguments in the next step", function()
  local got
  local function spawned(...)
    got = table.pack(...)
  end
  T.equal(select("#", rsca.spawn(spawned, 1, nil, "three", nil)), 0)
  T.equal(got, nil)
  rsca.step()
  T.equal(got.n, 4)
  T.equal(got[1], 1)
  T.equal(got[2], nil)
  T.equal(got[3], "three")
  T.equal(got[4], nil)
  rsca.spawn(spawned)
  rsca.step()
  T.equal(got.n, 0)
end)

T.test("spawn takes many arguments", function()
  local got
  for _, n in ipairs { 100, 10000, 200000 } do
    local arguments = {}
    for i = 1, n do
      arguments[i] = i
    end
    got = nil
    rsca.spawn(function(...)
      got = select("#", ...)
      T.equal((select(-1, ...)), n)
    end, table.unpack(arguments))
    rsca.step()
    T.equal(got, n)
  end
end)

T.test("spawn takes C functions, and nothing but functions", function()
  local object = {}
  rsca.spawn(rawset, object, "key", "value")
  rsca.step()
  T.equal(object.key, "value")
  for _, wrong in ipairs { "x", {}, 5, coroutine.create(print) } do
    T.raises("bad argument #1 to '.*spawn' %(function expected", rsca.spawn, wrong)
  end
  T.raises("bad argument #1 to '.*spawn'", rsca.spawn)
  T.equal(rsca.step(), 0)
end)

T.test("what a spawned function returns, few values or many, goes nowhere", function()
  rsca.spawn(function() return 1, 2, 3 end)
  rsca.spawn(function() return table.unpack({}, 1, 100000) end)
  rsca.spawn(function() return nil, "no failure", 5 end)
  T.equal(#errors_of(rsca.loop), 0)
end)

T.test("what a spawned function raises goes to on_error, with a traceback", function()
  local errors = errors_of(function()
    rsca.spawn(function() error("lost") end)
    rsca.spawn(function() rsca.sleep(0) error({}) end)
    rsca.spawn(function() error(nil) end)
    rsca.spawn(function() error(setmetatable({}, { __tostring = function() return "an object" end })) end)
    rsca.spawn(function() return rsca.call("no such action") end)
    rsca.spawn(function() assert(rsca.call("no such action")) end)
    T.equal(rsca.loop(), true)
  end)
  T.equal(#errors, 5)
  local by_message = {}
  for _, err in ipairs(errors) do
    by_message[#by_message + 1] = err.message:gsub("^.-:%d+: ", "")
    T.match(err.traceback, "^stack traceback:\n.*loop_test%.lua")
    T.equal(err.action, nil)
  end
  table.sort(by_message)
  T.equal(by_message[1], "an object")
  T.equal(by_message[2], "lost")
  T.equal(by_message[3], "nil")
  T.match(by_message[4], "^no action is registered under the name 'no such action'$")
  T.match(by_message[5], "^table: ")
end)

T.test("spawn keeps the order in which it was asked", function()
  local order = {}
  for i = 1, 9 do
    rsca.spawn(function()
      order[#order + 1] = i
    end)
  end
  rsca.step()
  T.equal(table.concat(order), "123456789")
end)

T.test("a spawned function that raises while it closes: its error goes to on_error", function()
  local errors = errors_of(function()
    rsca.spawn(function()
      local _ <close> = setmetatable({}, { __close = function() error("at the end") end })
    end)
    rsca.loop()
  end)
  T.equal(#errors, 1)
  T.match(errors[1].message, "at the end$")
end)

T.finish()
