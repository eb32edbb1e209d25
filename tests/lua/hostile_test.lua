-- Scripts of a pool that mean harm: whatever they do, nobody waits for ever, nothing crashes, and the pool goes on.

local T = require "lua.support"
local pools = require "lua.pools"
local rsca = require "rsca"

local status = rsca.status

-- ---- While the script is loaded ----

-- A pool of this script can't be had, and why.
local function is_refused(text, pattern)
  local manager, err = rsca.manager { chunk = pools.prelude .. text, workers = 1 }
  T.equal(manager, nil)
  T.equal(err.status, status.E_FAIL, tostring(err))
  T.match(err.message, pattern)
end

for _, wait in ipairs { "rsca.sleep(1e6)", "rsca.call('works')", "rsca.run('works'):await()",
  "for _ in rsca.responses('works') do end" } do
  T.test("a script that is loaded can't wait: " .. wait, function()
    is_refused(wait, "can't wait here: the script of a pool is being loaded")
  end)
end

for _, wait in ipairs { "rsca.wait()", "rsca.loop()", "rsca.step()" } do
  T.test("a worker steps by itself: " .. wait, function()
    is_refused(wait, "can't wait here: a worker of a pool steps by itself")
  end)
end

T.test("what a script calls while it is loaded is done afterwards", function()
  local manager <close> = pools.open [[
    if number == 1 then
      rsca.run("works", "x", function(_, response) tell("run " .. response) end)
      rsca.subscribe("works", "x", function(_, response, final) if not final then tell("response " .. response) end end)
      rsca.spawn(function() rsca.sleep(0.001) tell("spawned") end)
    end
  ]]
  T.equal(manager:call("works", "y"), "y")
  pools.wait_for(manager, "run x")
  pools.wait_for(manager, "response x")
  pools.wait_for(manager, "spawned")
end)

T.test("what a script has called ends with it where it can't be loaded", function()
  is_refused([[
    rsca.run("works", "x", error)
    rsca.run("works", "x")
    rsca.subscribe("works", "x", error)
    rsca.spawn(error)
    error "on purpose"
  ]], "on purpose")
end)

T.test("a script that shuts its own pool down while it is loaded", function()
  for _, how in ipairs { "", "true" } do
    local manager <close> = rsca.manager { chunk = pools.prelude .. [[
      rsca.run("works", "x")
      rsca.own_manager():shutdown(]] .. how .. ")", workers = 1 }
    if manager then
      local response, err = manager:call("works")
      T.equal(response, nil)
      T.equal(err.status, status.ERROR_SHUTDOWN_IN_PROGRESS)
    end
  end
end)

-- ---- What a script makes others do ----

T.test("an action of a manager that a worker's script has made is stopped by the worker's time limit", function()
  local manager <close> = pools.open([[
    local own = rsca.manager()
    own:register("forever", function() while true do pcall(error) end end)
    rsca.register("act", function()
      own:run("forever", "", function(status, response)
        shared:set("status", status)
        shared:set("response", response)
      end)
    end)
  ]], { time_limit = 0.2 })
  T.equal(manager:call("act"), "")
  local shared = manager:shared()
  pools.wait_until(function() return shared:get("response") end)
  T.equal(shared:get("status"), status.ERROR_TIMEOUT)
  T.match(shared:get("response"), "^the time limit is over\nstack traceback:\n")
  T.equal(manager:call("works", "x", { time_limit = 60 }), "x")
  T.equal(manager:call("number", "", { time_limit = 60 }), "1")
end)

T.test("one that blocks in a C function is found: its worker is replaced", function()
  local fifo <close> = pools.fifo()
  local manager <close> = pools.open([[
    local own = rsca.manager()
    own:register("blocks", function(args)
      tell "blocks"
      block(args)
    end)
    rsca.register("act", function(args) return own:run("blocks", args).id end)
  ]], { time_limit = 0.2 })
  T.truthy(manager:call("act", fifo.path))
  pools.wait_for(manager, "blocks")
  T.equal(manager:call("works", "x", { time_limit = 60 }), "x")
  T.equal(manager:call("number", "", { time_limit = 60 }), "2")
  T.equal(manager:health().stuck, 1)
  fifo.open()
  pools.wait_until(function() return manager:health().stuck == 0 end)
end)

T.test("responses that requests hold are their worker's memory", function()
  local manager <close> = pools.open([[
    rsca.register("giant", function() return ("x"):rep(1 << 20) end)
    local held = {}
    rsca.register("hoards", function(args)
      for i = 1, tonumber(args) do
        held[i] = assert(rsca.run("giant"))
        local response, err = held[i]:await()
        if not response then
          held = {}
          return nil, err
        end
      end
    end)
    rsca.register("lets go", function(args)
      for _ = 1, tonumber(args) do
        assert(assert(rsca.run("giant")):await())
      end
      return "all"
    end)
  ]], { memory_limit = 8 << 20, time_limit = 60 })
  local response, err = manager:call("hoards", "100")
  T.equal(response, nil)
  T.equal(err.status, status.E_OUTOFMEMORY)
  T.equal(manager:call("lets go", "100"), "all")
end)

T.test("messages of workers are bounded in bytes while nobody listens, and what is lost is told", function()
  local on_log, on_error = rsca.on_log, rsca.on_error
  local restore <close> = setmetatable({}, { __close = function() rsca.on_log, rsca.on_error = on_log, on_error end })
  local heard, problem = 0, nil
  rsca.on_log = function(_, message) heard = heard + #message end
  rsca.on_error = function(err) problem = err end
  local manager <close> = pools.open [[
    rsca.register("prints", function(args)
      local text = ("x"):rep(tonumber(args))
      for _ = 1, 10 do
        print(text)
      end
      tell "printed"
    end)
  ]]
  T.truthy(manager:run("prints", tostring(1 << 19)))
  local shared = manager:shared()
  repeat until shared:get("printed") -- without a step
  pools.wait_until(function() return problem end)
  T.equal(heard, 1 << 20)
  T.match(problem.message, "^8 messages of workers were lost: ")

  heard, problem = 0, nil
  T.truthy(manager:run("prints", tostring(5 << 20)))
  repeat until shared:get("printed") == 2
  pools.wait_until(function() return problem end)
  T.equal(heard, 5 << 20, "one alone may be larger")
end)

T.test("an action that calls for itself without end keeps nobody out", function()
  for _, way in ipairs { "rsca.subscribe('breeds', args, print)", "rsca.run('breeds', args, print)" } do
    local manager <close> = pools.open(([[
      rsca.register("breeds", function(args)
        for _ = 1, 3 do
          local accepted, err = %s
          if not accepted then
            shared:set("refused", err.name)
          end
        end
      end)
    ]]):format(way), { queue_limit = 100 })
    assert(manager:run("breeds", ("x"):rep(10)))
    pools.wait_until(function() return manager:shared():get("refused") end)
    T.equal(manager:shared():get("refused"), "ERROR_BUSY")
    for i = 1, 200 do
      T.equal(manager:call("works", i), tostring(i))
    end
    local requests = {}
    for i = 1, 49 do
      requests[i] = assert(manager:run("works", i))
    end
    for i = 1, 49 do
      T.equal(requests[i]:await(), tostring(i))
    end
  end
end)

T.test("an error that a script has tampered with holds up nobody", function()
  local manager <close> = pools.open([[
    local function forever() while true do end end
    rsca.register("act", function()
      local _, err = rsca.call("there is none")
      getmetatable(err).__index = forever
      err.status, err.traceback = nil, nil
      rsca.on_error(err)
      return nil, err
    end)
  ]], { time_limit = 60 })
  local on_error = rsca.on_error
  rsca.on_error = function() end
  local response, err = manager:call("act")
  rsca.on_error = on_error
  T.equal(response, nil)
  T.equal(err.status, status.E_FAIL)
  T.match(err.message, "no action is registered under the name 'there is none'")
end)

T.test("an on_error hook that does not return is told of by name", function()
  local output = pools.child [[
    local rsca = require "rsca"
    local pool = rsca.manager { workers = 1, time_limit = 0.1, chunk = "local rsca = require 'rsca' " ..
      "rsca.on_error = function() rsca.shared:set('hook', 1) while true do end end " ..
      "rsca.register('act', function() rsca.spawn(error, 'x') end) " ..
      "rsca.register('works', function() end)" }
    pool:call("act")
    repeat until pool:shared():get("hook")
    pool:call("works", "", { time_limit = 60 })
    pool:close()
  ]]
  T.equal(output, "rsca: rsca.on_error did not return in time\n")
end)

T.test("a state whose memory stays full is replaced, and what waits in it ends", function()
  local manager <close> = pools.open([[
    rsca.register("fills", function()
      while true do
        rsca.spawn(rsca.sleep, 1e9)
      end
    end)
    rsca.register("waits", function(_, ctx)
      rsca.shared:set("waiting", 1)
      ctx:sleep(1e9)
    end)
  ]], { time_limit = 60, memory_limit = 4 << 20 })
  local problems, on_error = {}, rsca.on_error
  rsca.on_error = function(err)
    problems[#problems + 1] = err
  end
  for round = 1, 3 do
    manager:shared():set("waiting", nil)
    local waits = assert(manager:run("waits"))
    repeat until manager:shared():get("waiting")
    local response, err = manager:call("fills")
    T.equal(response, nil)
    T.equal(err.status, status.E_OUTOFMEMORY)
    response, err = waits:await()
    T.equal(response, nil)
    T.equal(err.status, status.RPC_E_DISCONNECTED)
    T.equal(manager:call("number"), tostring(round + 1), "another state")
    pools.wait_until(function() return #problems == round end)
    T.equal(problems[round].status, status.E_OUTOFMEMORY)
    T.match(problems[round].message, "^a worker's state is replaced")
  end
  T.equal(manager:health().workers, 1)
  T.equal(manager:health().stuck, 0)
  rsca.on_error = on_error
end)

-- Collects what on_error hears while `f` runs.
local function with_problems(f)
  local on_error, problems = rsca.on_error, {}
  local restore <close> = setmetatable({}, { __close = function() rsca.on_error = on_error end })
  rsca.on_error = function(err)
    problems[#problems + 1] = err
  end
  f(problems)
end

-- Fills the state for good: with what is spawned, and waits.
local fill = [[
  local function fill()
    while true do
      rsca.spawn(rsca.sleep, 1e9)
    end
  end
]]

T.test("garbage that waits for its finalizer does not fill a state: it stays", function()
  local manager <close> = pools.open([[
    local finalized = { __gc = function() end }
    rsca.register("litters", function()
      local kept = {}
      while true do
        kept[#kept + 1] = setmetatable({ ("x"):rep(10000) .. #kept }, finalized)
      end
    end)
  ]], { time_limit = 60, memory_limit = 4 << 20 })
  with_problems(function(problems)
    for _ = 1, 3 do
      local response, err = manager:call("litters")
      T.equal(response, nil)
      T.equal(err.status, status.E_OUTOFMEMORY)
      manager:call("works") -- may have been taken before the state was looked at
      T.equal(manager:call("number"), "1")
    end
    T.equal(#problems, 0)
  end)
end)

T.test("the host hears of a state that is replaced, whatever the script does with its hook", function()
  local manager <close> = pools.open(fill .. [[
    rsca.on_error = function() end
    rsca.register("fills", fill)
  ]], { time_limit = 60, memory_limit = 4 << 20 })
  with_problems(function(problems)
    local _, err = manager:call("fills")
    T.equal(err.status, status.E_OUTOFMEMORY)
    pools.wait_until(function() return #problems > 0 end)
    T.match(problems[1].message, "^a worker's state is replaced")
  end)
end)

T.test("nobody waits for what a state that is replaced has to close", function()
  local fifo <close> = pools.fifo()
  local manager <close> = pools.open(fill .. [[
    rsca.register("fills", function(path)
      if path == "" then
        fill()
      end
      rsca.spawn(function()
        local blocks <close> = closing(function() block(path) end)
        tell "waits"
        rsca.sleep(1e9)
      end)
    end)
  ]], { time_limit = 60, memory_limit = 4 << 20 })
  with_problems(function(problems)
    T.equal(manager:call("fills", fifo.path), "")
    pools.wait_for(manager, "waits")
    local _, err = manager:call("fills", "")
    T.equal(err.status, status.E_OUTOFMEMORY)
    pools.wait_until(function() return #problems > 0 end)
    T.equal(manager:call("number"), "2")
    T.equal(manager:health().workers, 1)
    fifo.open()
  end)
end)

-- What runs for ever and belongs to no call: thousands of it.
for what, start in pairs {
  ["spawned functions"] = "rsca.spawn(forever)",
  ["callbacks"] = "rsca.run('works', '', forever)",
  ["actions of a manager of its own"] = "own:run('forever', '', function() end)",
} do
  T.test("a state whose worker has no time for calls is replaced: " .. what, function()
    local manager <close> = pools.open([[
      local function forever()
        while true do end
      end
      local own = rsca.manager()
      own:register("forever", forever)
      rsca.register("starts", { time_limit = math.huge }, function()
        for _ = 1, 1000 do
          ]] .. start .. [[

        end
      end)
      rsca.register("waits", { time_limit = math.huge }, function(_, ctx)
        tell "waits"
        ctx:sleep(1e9)
      end)
    ]], { time_limit = 0.02 })
    with_problems(function(problems)
      local waits = assert(manager:run("waits"))
      pools.wait_for(manager, "waits")
      assert(manager:run("starts"))
      local response, err = waits:await()
      T.equal(response, nil)
      T.equal(err.status, status.RPC_E_DISCONNECTED)
      T.equal(manager:call("number", "", { time_limit = math.huge }), "2")
      pools.wait_until(function()
        local last = problems[#problems]
        return last and last.message:find("^a worker's state is replaced")
      end)
      T.equal(problems[#problems].status, status.ERROR_TIMEOUT)
    end)
  end)
end

T.test("calls have their turns among any number of functions that give way for ever", function()
  local manager <close> = pools.open [[
    rsca.register("starts", function()
      for _ = 1, 1000 do
        rsca.spawn(function()
          while true do
            coroutine.yield()
          end
        end)
      end
    end)
  ]]
  T.equal(manager:call("starts"), "")
  for round = 1, 10 do
    T.equal(manager:call("works", tostring(round)), tostring(round))
  end
  T.equal(manager:call("number"), "1")
end)

T.test("what is stopped now and then is no reason to replace a state", function()
  local manager <close> = pools.open([[
    rsca.register("starts", { time_limit = math.huge }, function()
      rsca.spawn(function()
        tell "starts"
        while true do end
      end)
    end)
  ]], { time_limit = 0.02 })
  with_problems(function(problems)
    for round = 1, 3 do
      assert(manager:run("starts"))
      pools.wait_until(function() return #problems == round end)
      T.match(problems[round].message, "^the time limit is over")
    end
    T.equal(manager:call("number", "", { time_limit = math.huge }), "1")
  end)
end)

T.test("what finalizers take while a worker's state is closed is limited as well", function()
  local output = pools.child [[
    local rsca = require "rsca"
    local pool = rsca.manager { workers = 1, memory_limit = 8 << 20, chunk = "local rsca = require 'rsca' " ..
      "kept = setmetatable({}, { __gc = function() " ..
      "  local all, megabyte = {}, ('x'):rep(1 << 20) " ..
      "  local whole, err = pcall(function() for i = 1, 100 do all[i] = megabyte .. i end end) " ..
      "  io.write(tostring(err)) " ..
      "end }) " ..
      "rsca.register('works', function() end)" }
    pool:call("works")
    pool:close()
  ]]
  T.equal(output, "not enough memory")
end)

T.test("coroutines that close each other without end meet an error, no end of the C stack", function()
  local manager <close> = pools.open([[
    -- Each closes the one before it, below as many calls of C functions as there may be.
    rsca.register("closes", function(args)
      local first
      for _ = 1, 20000 do
        local before = first
        local function close(depth)
          if depth == 0 then
            coroutine.close(before)
          else
            ("x"):gsub("x", function() close(depth - 1) end)
          end
        end
        first = coroutine.create(function()
          local closes <close> = closing(function()
            if before then
              close(tonumber(args))
            end
          end)
          coroutine.yield()
        end)
        coroutine.resume(first)
      end
      coroutine.close(first)
    end)
  ]], { time_limit = 60 })
  for _, depth in ipairs { "0", "1", "150" } do
    T.equal(manager:call("closes", depth), "")
    T.equal(manager:call("number"), "1")
  end
end)

T.test("os.exit is not there: nothing ends the host", function()
  local manager <close> = pools.open [[ rsca.register("exits", function() os.exit(0, true) end) ]]
  local response, err = manager:call("exits")
  T.equal(response, nil)
  T.match(err.message, "os.exit is not there in a worker: it would end the whole program")
  T.equal(manager:call("number"), "1")
end)

T.finish()
