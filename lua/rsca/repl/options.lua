-- What rsca.repl takes, and what the environment says.

local _ENV = require "rsca.repl.globals"
local console = require "rsca.repl.console"

local M = {}

local TYPES = { env = "table", greeting = "string", history = "string", manager = "userdata", scripts = "table" }
local CAN_BE_FALSE = { greeting = true, history = true }
local HISTORY = ".rsca_history"

local function bad(...)
  return ("bad argument #1 to 'repl' (%s)"):format(string.format(...))
end

-- What is wrong with them, or nothing.
function M.check(options)
  if type(options) ~= "table" then
    return bad("table expected, got %s", type(options))
  end
  for name, value in pairs(options) do
    local expected = TYPES[name]
    if not expected then
      return bad("unknown option '%s' (env, greeting, history, manager, scripts)", tostring(name))
    elseif type(value) ~= expected and not (value == false and CAN_BE_FALSE[name]) then
      return bad("option '%s' must be a %s", name, expected)
    end
  end
  if options.manager and console.kind(options.manager) ~= "manager" then
    return bad("option 'manager' must be a manager that is open")
  end
  for _, file in ipairs(options.scripts or {}) do
    if type(file) ~= "string" then
      return bad("option 'scripts' must have names of files")
    end
  end
end

function M.wants_colour()
  local no_colour = os.getenv("NO_COLOR")
  return (not no_colour or no_colour == "") and os.getenv("TERM") ~= "dumb"
end

-- The file for what was typed, or nil.
function M.history(options)
  if options.history ~= nil then
    return options.history or nil
  end
  local file, home = os.getenv("RSCA_HISTORY"), os.getenv("HOME")
  if file then
    return file ~= "" and file or nil
  end
  return home and home .. "/" .. HISTORY or nil
end

return M
