-- Stopping what won't stop. The list of escapes comes first, in a pool and for actions that run here; then what is
-- promised to what is stopped: its clean-up, and that whatever runs after it finds everything as it was.

local T = require "lua.support"
local escapes = require "lua.escapes"
local pools = require "lua.pools"
local rsca = require "rsca"

local status = rsca.status

-- ---- Escapes ----

local helpers = [[
rsca.register("sleeps", function(_, ctx) ctx:sleep(1e6) end)
rsca.register("hook", function() return tostring((debug.gethook())) end)
]]

-- All escapes of these kinds as actions.
local function script_of(...)
  local parts = { escapes.prelude, helpers }
  for _, kind in ipairs { ... } do
    for _, escape in ipairs(escapes[kind]) do
      parts[#parts + 1] = ("rsca.register(%q, function(args, ctx) %s end)\n"):format(escape.name, escape.body)
    end
  end
  return table.concat(parts)
end

-- Every call of it hears of its time limit. Where it was is told if its thread could still be asked, which takes a
-- machine that is not too busy: some call must tell.
local function is_stopped(manager, name, unharmed)
  local before = unharmed()
  for attempt = 1, 50 do
    local response, err = manager:call(name, "", { time_limit = 0.05 * attempt })
    T.equal(response, nil)
    T.equal(err.status, status.ERROR_TIMEOUT, tostring(err))
    T.equal(err.message, "the time limit is over")
    T.equal(manager:call("works", "still"), "still")
    if err.traceback and unharmed() == before then
      T.match(err.traceback, "^stack traceback:\n")
      return
    end
    before = unharmed()
  end
  error("nobody ever told where it was, or its state was always given up")
end

local function stops_all(where, manager, kind, unharmed)
  for _, escape in ipairs(escapes[kind]) do
    T.test(("%s: %s"):format(where, escape.name), function()
      is_stopped(manager, escape.name, unharmed)
    end)
  end
end

do
  local manager <close> = pools.open(script_of("plain", "nested"))
  local hook = manager:call("hook")
  -- The state is the same, and no hook has stayed.
  local function unharmed()
    T.equal(manager:call("hook"), hook)
    return manager:call("number")
  end
  stops_all("in a pool", manager, "plain", unharmed)
  stops_all("in a pool", manager, "nested", unharmed)

  T.test("nothing in all that is stuck", function()
    pools.wait_until(function()
      return manager:health().stuck == 0
    end)
    T.equal(manager:health().workers, 1)
  end)
end

-- The same here, on a manager without workers.
local function open_here(...)
  local manager = rsca.manager()
  local env = setmetatable({
    rsca = setmetatable({
      register = function(...) return manager:register(...) end,
      call = function(...) return manager:call(...) end,
    }, { __index = rsca }),
    print = T.expect,
  }, { __index = _G })
  env.require = function(name)
    return name == "rsca" and env.rsca or require(name)
  end
  assert(load(script_of(...) .. [[rsca.register("works", function(args) return args end)]], "=escapes", "t", env))()
  return manager
end

do
  local function unharmed() end
  do
    local manager <close> = open_here("plain")
    stops_all("here", manager, "plain", unharmed)
  end
  rsca.guard()
  local manager <close> = open_here("plain", "nested")
  stops_all("here, guarded", manager, "plain", unharmed)
  stops_all("here, guarded", manager, "nested", unharmed)
end

T.finish()
