-- Children of a process whose loop is one of cqueues, or its own: they have a descriptor and a loop of their own, and
-- the parent's calls, callbacks and wake-ups stay the parent's.

local T = require "lua.support"
local H = require "hosts.support"
local cqueues = require "cqueues"
local fork = require "fork"
local socket = require "socket"
local rsca = require "rsca"

rsca.register("echo", function(args, ctx)
  ctx:sleep(0)
  return args
end)

rsca.register("lasting", function(_, ctx)
  ctx:sleep(math.huge)
end)

-- Runs f in a child; an error in it fails the test.
local function in_child(f)
  local child = fork.fork()
  if child == 0 then
    local good, problem = xpcall(f, debug.traceback)
    if not good then
      io.stderr:write("in the child: ", tostring(problem), "\n")
    end
    fork.quit(good and 0 or 1)
  end
  T.equal(fork.join(child), 0)
end

T.test("a loop of one's own: the child watches the same number, and hears of its own work only", function()
  local watched = { getfd = rsca.fd, dirty = function() return false end }
  local function readable()
    return socket.select({ watched }, nil, 0)[1] == watched
  end
  local heard, parent = T.expect(2), true
  local function hears()
    T.equal(parent, true, "a callback of the parent's was called in the child")
    heard()
  end
  local lasting = assert(rsca.run("lasting", "", hears))
  while rsca.step() > 0 do end -- luacheck: ignore
  assert(rsca.run("echo", "", hears))
  local number = rsca.fd()
  in_child(function()
    T.equal(rsca.fd(), number)
    T.equal(readable(), true) -- to be looked at once
    T.equal(rsca.timeout(), 0.0)
    parent = false
    while rsca.step() > 0 do end -- luacheck: ignore
    T.equal(readable(), false)
    T.equal(rsca.cancel(lasting), nil)
    T.equal(rsca.call("echo", "own"), "own")
  end)
  T.equal(readable(), true)
  T.equal(rsca.cancel(lasting), true)
  T.equal(rsca.loop(20), true)
end)

T.test("in the child of a program with cqueues the adapter is started again, after the controller is reset", function()
  local cq = cqueues.new()
  local adapter = require("rsca.adapter.cqueues").start(cq)
  local inherited, done = 0, T.expect(1)
  for _ = 1, 2 do
    cq:wrap(function()
      local slept = rsca.sleep(0.01)
      inherited = inherited + (slept and 1 or 0)
    end)
  end
  assert(cq:step(0))
  in_child(function()
    cq:reset()
    adapter.start(cq)
    local answers = {}
    cq:wrap(function()
      answers[1] = rsca.call("echo", "one")
    end)
    cq:wrap(function()
      cqueues.sleep(0.001)
      answers[2] = assert(rsca.run("echo", "two")):await()
    end)
    T.equal(adapter.loop(cq), true)
    T.equal(table.concat(answers, " "), "one two")
    T.equal(inherited, 0, "what slept has heard that it was forked")
  end)
  cq:wrap(function()
    T.equal(rsca.call("echo", "the parent goes on"), "the parent goes on")
    done()
  end)
  T.equal(adapter.loop(cq), true)
  T.equal(inherited, 2)
  adapter.stop()
end)

T.test("a daemon keeps what was queued", function()
  local heard, answered = {}, nil
  local function hears(name)
    return function(status)
      heard[#heard + 1] = name .. " " .. rsca.describe(status):match("^%S+")
    end
  end
  assert(rsca.run("lasting", "", hears "running"))
  while rsca.step() > 0 do end -- luacheck: ignore
  assert(rsca.run("echo", "", hears "queued"))
  rsca.spawn(function()
    answered = rsca.call("echo", "spawned")
  end)
  in_child(function()
    T.equal(rsca.after_fork { keep = true }, true)
    T.equal(rsca.loop(20), true)
    T.equal(table.concat(heard, ", "), "running ERROR_CANCELLED, queued S_OK")
    T.equal(answered, "spawned")
  end)
  T.equal(#heard, 0)
  T.equal(answered, nil)
end)

-- All its workers have made their states, and wait: the malloc of a sanitizer does not outlive a fork that comes while
-- another thread is in it.
local function settle(manager)
  local requests = {}
  for i = 1, H.pool.workers do
    requests[i] = assert(manager:run("meet", tostring(H.pool.workers)))
  end
  for _, request in ipairs(requests) do
    T.truthy(request:await())
  end
  for _ = 1, H.pool.workers do
    T.equal(manager:call("echo", "before"), "before")
  end
end

T.test("a pool works in the child, and goes on in the parent", function()
  local manager <close> = H.manager()
  local lasting = assert(manager:run("lasting"))
  settle(manager)
  in_child(function()
    local response, err = lasting:await(20)
    T.equal(response, nil)
    T.equal(err.name, "ERROR_CANCELLED")
    T.equal(manager:call("echo", "child"), "child")
    response, err = manager:call("spinning")
    T.equal(response, nil)
    T.equal(err.name, "ERROR_TIMEOUT")
    manager:close()
  end)
  T.equal(manager:call("echo", "parent"), "parent")
  local _, err = lasting:await()
  T.equal(err.name, "ERROR_TIMEOUT")
end)

T.finish()
