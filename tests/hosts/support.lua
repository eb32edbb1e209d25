-- What the tests of the hosts share: the manager under test, and scripts that end in processes of their own.

local rsca = require "rsca"

local H = {}

local actions = debug.getinfo(1, "S").source:match("^@(.*)/[^/]*$") .. "/actions.lua"

-- The actions of actions.lua, in workers of their own (options for rsca.manager), or in this state (nil).
H.pool = { workers = 2, time_limit = 1 }

-- The manager that all hosts use.
function H.manager()
  if H.pool then
    return assert(rsca.manager { script = actions, workers = H.pool.workers, time_limit = H.pool.time_limit })
  end
  dofile(actions)
  return rsca.own_manager()
end

-- The thread that asks.
function H.thread()
  local file <close> = assert(io.open("/proc/thread-self/stat"))
  return file:read("n")
end

-- The program that README.md calls by that name.
function H.readme_program(readme, name)
  local file <close> = assert(io.open(readme))
  local mark = ("<!-- file: %s -->\n```lua\n"):format(name)
  local _, before = assert(file:read("a")):find(mark, 1, true)
  file:seek("set", assert(before, "README.md has no " .. name))
  return (assert(file:read("a"):match("^(.-\n)```\n")))
end

-- Runs a script by this same Lua in a process of its own: its output, both streams in one, and how it ended.
function H.child(script)
  local command = ("exec '%s' -e '%s' 2>&1"):format(arg[-1], script:gsub("'", "'\\''"))
  local pipe = assert(io.popen(command))
  local output = pipe:read("a")
  local _, how, code = pipe:close()
  return output, how .. " " .. code
end

return H
