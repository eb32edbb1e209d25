-- What the tests of pools share: pools whose workers can be told when to go on, and waits for what others do.

local rsca = require "rsca"

local pools = {}

-- Something that ought to happen soon has not: far longer than any machine takes.
local PATIENCE = 120

-- What each script begins with.
--   shared           the pool's values
--   number           of this state, from 1
--   tell(key)        says that this place was reached
--   await(ctx, key)  waits for the test to say so, on its coroutine
--   block(path)      waits in a C function, until the test opens the fifo there
pools.prelude = [[
local rsca = require "rsca"
local shared = rsca.shared
local number = shared:add("states", 1)

local function tell(key)
  shared:add(key, 1)
end

local function await(ctx, key)
  while not shared:get(key) do
    assert(ctx:sleep(0.001))
  end
end

local function block(path)
  assert(io.open(path)):close()
end

local function closing(f)
  return setmetatable({}, { __close = f })
end

rsca.register("works", function(args) return args end)
rsca.register("number", function() return number end)
]]

-- A pool that runs the prelude and this text; options as for rsca.manager.
function pools.open(text, options)
  options = options or {}
  options.chunk = pools.prelude .. text
  options.workers = options.workers or 1
  return assert(rsca.manager(options))
end

-- Steps until `condition` gives something, and returns that.
function pools.wait_until(condition, what)
  local start = os.time()
  local result = condition()
  while not result do
    if os.time() - start > PATIENCE then
      error((what or "what was waited for") .. " has not come", 2)
    end
    rsca.wait(0.002)
    result = condition()
  end
  return result
end

-- Waits until the workers have said so `times` times.
function pools.wait_for(manager, key, times)
  local shared = manager:shared()
  pools.wait_until(function()
    return (shared:get(key) or 0) >= (times or 1)
  end, "'" .. key .. "'")
end

-- Lets those go on who await it.
function pools.go(manager, key)
  manager:shared():set(key, true)
end

-- A fifo: whoever opens it for reading waits in a C function until it is opened. Removed at the end of the block.
function pools.fifo()
  local path = os.tmpname()
  assert(os.remove(path))
  assert(os.execute("mkfifo -m 600 " .. path))
  local fifo = { path = path }
  function fifo.open()
    io.open(path, "w"):close()
  end
  return setmetatable(fifo, { __close = function()
    os.remove(path)
  end })
end

-- Runs a script in a process of its own: its output, both streams, and how it ended.
function pools.child(script)
  local command = ("exec '%s' -e '%s' 2>&1"):format(arg[-1], script:gsub("'", "'\\''"))
  local pipe = assert(io.popen(command))
  local output = pipe:read("a")
  local _, how, code = pipe:close()
  return output, how .. " " .. code
end

return pools
