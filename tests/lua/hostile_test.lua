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

T.finish()
