-- Stock Lua: no loop of its own; a program blocks in wait, call, sleep and loop, and signals get through.

local T = require "lua.support"
local H = require "hosts.support"
local socket = require "socket"
local rsca = require "rsca"

local manager = H.manager()
local host = H.thread()

-- Whether a loop that watches the descriptor would be told.
local watched = { getfd = rsca.fd, dirty = function() return false end }
local function readable()
  return socket.select({ watched }, nil, 0)[1] == watched
end

-- ---- Blocking ----

T.test("results and streams are delivered while the program waits, on its own thread", function()
  local heard = {}
  assert(manager:run("echo", "result", function(_, response)
    T.equal(H.thread(), host)
    heard[#heard + 1] = response
  end))
  assert(manager:subscribe("count", "3", function(_, response, final)
    T.equal(H.thread(), host)
    heard[#heard + 1] = final and "final" or response
  end))
  while #heard < 5 do
    rsca.wait(20)
  end
  table.sort(heard)
  T.equal(table.concat(heard, " "), "1 2 3 final result")
  T.equal(tonumber(manager:call("where")) ~= host, H.pool ~= nil)
end)

T.test("every wait blocks, and has its results", function()
  T.equal(manager:call("echo", "called"), "called")
  T.equal(assert(manager:run("echo", "awaited")):await(), "awaited")
  T.equal(rsca.sleep(0.001), true)
  local heard = {}
  for response in manager:responses("count", "3") do
    heard[#heard + 1] = response
  end
  T.equal(table.concat(heard, " "), "1 2 3")
end)

T.test("a bounded wait does not cost more than its bound, and the call goes on", function()
  local request = assert(manager:run("lasting"))
  local response, err = request:await(0.001)
  T.equal(response, nil)
  T.equal(err.name, "WAIT_TIMEOUT")
  T.equal(request:cancel(), true)
  response, err = request:await()
  T.equal(response, nil)
  T.equal(err.name, "ERROR_CANCELLED")
end)

-- ---- Stepping ----

T.test("step(n) leaves the descriptor readable while anything is left", function()
  rsca.loop()
  T.equal(readable(), false)
  local heard = T.expect(3)
  for _ = 1, 3 do
    rsca.spawn(heard)
  end
  for left = 3, 1, -1 do
    T.equal(readable(), true, left .. " are left")
    T.equal(rsca.step(1), 1)
  end
  T.equal(readable(), false)
  T.equal(rsca.step(1), 0)
end)

T.test("timeout says when a sleep is over", function()
  T.equal(rsca.timeout(), nil)
  local slept = T.expect(1)
  rsca.spawn(function()
    rsca.sleep(0.01)
    slept()
  end)
  rsca.step()
  T.equal(readable(), false)
  T.truthy(rsca.timeout() <= 0.01)
  while rsca.timeout() do
    socket.select({ watched }, nil, rsca.timeout())
    rsca.step()
  end
end)

if H.pool then
  T.test("a call hits its time limit while others are delivered", function()
    local request, heard = assert(manager:run("spinning")), T.expect(1)
    assert(manager:run("echo", "", function()
      T.equal(request:await(0), nil)
      heard()
    end))
    local response, err = request:await()
    T.equal(response, nil)
    T.equal(err.name, "ERROR_TIMEOUT")
  end)

  T.test("children of actions don't inherit the mask of the thread that runs them", function()
    T.match(manager:call("mask"), "SigBlk:%s*0+\n")
  end)
end

-- ---- Signals ----

-- A script of its own that says its number, and what it says and how it ends once `signal` has come while it waits.
local function interrupted(script, signal)
  local child = [[
    io.stdout:setvbuf("no")
    local rsca = require "rsca"
    local manager = require("hosts.support").manager()
    manager:run("lasting")
    rsca.step()
    print(require("hosts.support").thread())
  ]] .. script
  local pipe = assert(io.popen(("exec '%s' -e '%s' 2>&1"):format(arg[-1], child:gsub("'", "'\\''"))))
  local id = assert(pipe:read("n", "l"))
  repeat -- until it sleeps
    local stat <close> = assert(io.open("/proc/" .. id .. "/stat"))
  until stat:read("a"):match("^.*%) (%u)") == "S"
  assert(os.execute(("kill -s %s %d"):format(signal, id)))
  local output = pipe:read("a")
  local _, how, code = pipe:close()
  return output, how .. " " .. code
end

T.test("Ctrl-C gets through all that waits", function()
  for _, wait in ipairs { "rsca.wait()", "rsca.loop()", "rsca.sleep(1e6)", "manager:call('lasting')",
    "manager:run('lasting'):await()", "for _ in manager:responses('lasting') do end" } do
    local output, how = interrupted(wait, "INT")
    T.match(output, "interrupted!", wait)
    T.equal(how, "exit 1", wait)
  end
end)

T.test("a program that catches what Ctrl-C raises goes on", function()
  local output, how = interrupted([[
    print(pcall(rsca.wait))
    print(manager:call("echo", "on"))
  ]], "INT")
  T.match(output, "^false.*interrupted!.*\non\n$")
  T.equal(how, "exit 0")
end)

T.test("wait returns when a handler of the host's has run", function()
  local output, how = interrupted([[
    print(rsca.wait())
  ]], "USR1")
  T.equal(how, "signal 10", "without a handler it ends the program: " .. output)
  output, how = interrupted([[
    require("luv").new_signal():start("sigusr1", print)
    print("returned", rsca.wait())
  ]], "USR1")
  T.equal(output, "returned\t0\n")
  T.equal(how, "exit 0")
end)

T.test("a signal does not shorten a sleep", function()
  local output, how = interrupted([[
    require("luv").new_signal():start("sigusr1", print)
    local began = require("luv").hrtime()
    rsca.sleep(0.2)
    print(require("luv").hrtime() - began >= 200000000)
  ]], "USR1")
  T.equal(output, "true\n")
  T.equal(how, "exit 0")
end)

-- ---- The end ----

T.test("a program ends cleanly with work in flight", function()
  for name, ending in pairs {
    ["by itself"] = "",
    ["closing its state"] = "os.exit(0, true)",
    ["at once"] = "os.exit(0)",
    ["with the manager closed"] = "manager:close()",
  } do
    local output, how = H.child([[
      local rsca = require "rsca"
      local manager = require("hosts.support").manager()
      local function never() print("never") end
      manager:run("lasting", "", never)
      manager:subscribe("lasting", "", never)
      rsca.spawn(function() rsca.sleep(math.huge) never() end)
      rsca.step()
      manager:run("lasting", "", never)
    ]] .. ending)
    T.equal(output, "", name)
    T.equal(how, "exit 0", name)
  end
end)

T.test("an interactive Lua delivers when its user steps", function()
  local pipe = assert(io.popen(([[printf '%%s\n' \
    'rsca = require "rsca"' \
    'manager = require("hosts.support").manager()' \
    'manager:run("echo", "hello", print)' \
    'rsca.loop()' | exec '%s' -i 2>&1]]):format(arg[-1])))
  local output = pipe:read("a")
  pipe:close()
  T.match(output, "0%s+hello%s+true")
end)

T.finish()
