-- The scripts that a prompt has run, and what each has registered. One that is run again takes away what it does not
-- register any more; what somebody else has put in the place of that stays.

local _ENV = require "rsca.repl.globals"
local console = require "rsca.repl.console"

local M = {}

-- The actions of a manager, by name: the number of the registration.
local function registered(manager)
  local numbers = {}
  for _, action in ipairs(manager:list() or {}) do
    numbers[action.name] = console.registration(manager, action.name)
  end
  return numbers
end

-- Runs a script by run(), which answers whether that went well: that answer, and the names of what it has registered
-- and of what it has taken away, both in order. Where it did not go well nothing is taken away.
function M.load(session, file, run)
  local manager = session.manager
  local before = registered(manager)
  local good = run()
  local after = registered(manager)
  local earlier, brought, gone = session.scripts[file] or {}, {}, {}
  local numbers = {}
  for name, number in pairs(after) do
    if number ~= before[name] then
      brought[#brought + 1] = name
      numbers[name] = number
    elseif number == earlier[name] and good then
      manager:unregister(name)
      gone[#gone + 1] = name
    elseif number == earlier[name] then
      numbers[name] = number
    end
  end
  session.scripts[file] = numbers
  table.sort(brought)
  table.sort(gone)
  return good, brought, gone
end

return M
