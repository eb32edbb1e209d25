-- What things take that do nothing, and how long it is until they do something.

local bench = require "bench.bench"
local core = require "bench.core"
local footprint = require "bench.footprint"
local process = require "bench.process"
local rsca = require "rsca"

local count = bench.size(1000, 50)

-- What malloc has handed out after f() beyond what it had before, and what Lua counts of that; f's result is kept
-- meanwhile, and then closed.
local function growth(f)
  collectgarbage()
  collectgarbage()
  local allocated, of_lua = core.allocated(), collectgarbage("count") * 1024
  local kept <close> = f()
  collectgarbage()
  collectgarbage()
  return core.allocated() - allocated, collectgarbage("count") * 1024 - of_lua
end

local function row(what, size, of_lua)
  bench.figure { what, size, show = bench.bytes, note = of_lua and "of Lua's: " .. bench.bytes(of_lua) }
end

-- ---- Memory ----

local function keep_managers()
  return footprint.keep(count)
end
growth(keep_managers)
local size, of_lua = growth(keep_managers)
row("idle manager, in C", (size - of_lua) / count) -- the table of them is Lua's

size, of_lua = growth(function()
  local managers = setmetatable(table.pack(), { __close = function(managers)
    for _, m in ipairs(managers) do
      m:close()
    end
  end })
  for i = 1, count do
    managers[i] = assert(rsca.manager {})
  end
  return managers
end)
row("idle manager, in a script", size / count, of_lua / count)

local state, in_lua
local plain = growth(function()
  state = footprint.state(false)
  return state
end)
size = growth(function()
  state = footprint.state(true)
  in_lua = state:of_lua()
  return state
end)
row("Lua state with its libraries and an action", plain)
row("the same with rsca", size, in_lua)

-- ---- Queued calls ----

local function queued(args, with_handler)
  local m <close> = assert(rsca.manager { queue_limit = 2 * count })
  assert(m:register("echo", function() end))
  local allocated, lua_size = growth(function()
    for _ = 1, count do
      assert(m:run("echo", args, with_handler))
    end
  end)
  return allocated / count, lua_size / count
end
local function handler() end
row("queued call, 16 bytes of arguments, with a handler", queued("sixteen letters!", handler))
row("queued call that somebody awaits", queued("sixteen letters!"))

-- ---- Time ----

local of = bench.rounds {
  { "managers", footprint.managers },
  { "plain", footprint.plain_states },
  { "rsca", footprint.rsca_states },
}
bench.row { "manager: create + destroy", of.managers }
bench.row { "Lua state: create, script, pcall, close", of.plain }
bench.row { "the same with rsca, and a call through it: start to first result", of.rsca, than = of.plain,
  called = "plain" }

-- ---- A process of stock Lua ----

local lua = os.getenv("LUA_PROGRAM") or "lua5.4"
local scratch <close> = bench.directory()
local function script(name, text)
  local path = scratch.path .. "/" .. name
  local file <close> = assert(io.open(path, "w"))
  file:write(text)
  return function(n)
    for _ = 1, n do
      local child <close> = process.start(lua, path)
      assert(child:wait() == 0, "a script failed")
    end
  end
end
of = bench.rounds {
  { "plain", script("plain.lua", "local function echo(args) return args end assert(echo('first') == 'first')") },
  { "rsca", script("rsca.lua", [[
    local rsca = require "rsca"
    rsca.register("echo", function(args) return args end)
    assert(rsca.call("echo", "first") == "first")
  ]]) },
}
bench.row { "process of stock Lua, start to end", of.plain }
bench.row { "the same with the module: start to first result", of.rsca, than = of.plain, called = "plain" }

-- ---- Idle ----

rsca.loop()
bench.idle("idle process, of a core", function(seconds)
  local end_ns = core.now() + seconds * 1e9
  while core.now() < end_ns do
    rsca.wait((end_ns - core.now()) / 1e9)
  end
end)
