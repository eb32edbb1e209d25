-- What a chunk or a script has raised, with a traceback that ends where the prompt begins.

local _ENV = require "rsca.repl.globals"

local M = {}

-- An error value, and where it was raised. What is made to stop raises something else.
local Raised = {}

-- A traceback without what lies below a chunk: the prompt, and the protected call in it. nil: nothing is left.
function M.above_prompt(traceback)
  local kept = {}
  for line in traceback:gmatch("[^\n]+") do
    if line:find("rsca/repl%.lua:") then
      break
    end
    kept[#kept + 1] = line
  end
  if #kept > 0 and kept[#kept]:find("^%s*%[C%]: in ") then
    kept[#kept] = nil
  end
  if #kept > 0 then
    kept[#kept] = kept[#kept]:gsub("in function <stdin:%d+>$", "in main chunk")
  end
  return #kept > 1 and table.concat(kept, "\n") or nil
end

-- The level of the code that raised, for the caller: above it are `handler` and, in a guarded state, who calls that.
local function raising_level(handler)
  local level = 2
  while debug.getinfo(level, "f").func ~= handler do
    level = level + 1
  end
  local caller = debug.getinfo(level + 1, "fS")
  local guards = false
  for i = 1, caller and caller.what == "C" and 2 or 0 do
    guards = guards or select(2, debug.getupvalue(caller.func, i)) == handler
  end
  return level + (guards and 1 or 0)
end

-- A message handler, for xpcall in the prompt.
function M.explain(problem)
  local traceback = debug and debug.getinfo and
    M.above_prompt(debug.traceback("", raising_level(M.explain)))
  return setmetatable({ problem = problem, traceback = traceback or nil }, Raised)
end

-- Whether that made it: then `problem` is what was raised, and `traceback` where, or nil.
function M.is_raised(value)
  return getmetatable(value) == Raised
end

return M
