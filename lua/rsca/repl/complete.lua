-- What could stand where the cursor is: commands, names of actions, globals and locals, fields and methods. Nothing of
-- the script's is called to find out.

local _ENV = require "rsca.repl.globals"
local commands = require "rsca.repl.commands"
local console = require "rsca.repl.console"
local scan = require "rsca.repl.scan"

local M = {}

console.make_types() -- or objects have no methods to be seen, until one is called

local KEYWORDS = {
  "and", "break", "do", "else", "elseif", "end", "false", "for", "function", "goto", "if", "in", "local", "nil", "not",
  "or", "repeat", "return", "then", "true", "until", "while",
}
local BREAKS_IN_LUA = " \t\n\"'`@$><=;|&{}()[],+-*/%^#~?!\\"
local DEEPEST = 8 -- __index after __index

-- ---- Looking into values ----

local function metatable_of(value)
  return debug and debug.getmetatable and debug.getmetatable(value) or nil
end

-- The table of methods that a function of ours looks things up in.
local function table_behind(f)
  local info = debug.getinfo(f, "S")
  for i = 1, info.what == "C" and 8 or 0 do
    local name, value = debug.getupvalue(f, i)
    if not name then
      return nil
    elseif type(value) == "table" then
      return value
    end
  end
end

-- The tables in which the fields of a value are found, without calling anything.
local function tables_of(value)
  local tables = {}
  for _ = 1, DEEPEST do
    if type(value) == "table" then
      tables[#tables + 1] = value
    end
    local metatable = metatable_of(value)
    value = type(metatable) == "table" and rawget(metatable, "__index") or nil
    if type(value) == "function" then
      value = table_behind(value)
    end
    if value == nil then
      break
    end
  end
  return tables
end

local function field_of(value, name)
  for _, t in ipairs(tables_of(value)) do
    local field = rawget(t, name)
    if field ~= nil then
      return field
    end
  end
end

-- ---- Candidates ----

local function starts_with(text, start)
  return text:sub(1, #start) == start
end

-- As a sorted list without doubles; `before` stands in front of each.
local function sorted(set, before)
  local list = {}
  for name in pairs(set) do
    list[#list + 1] = before .. name
  end
  table.sort(list)
  return list
end

local function fields(value, start, only_functions)
  local found = {}
  for _, t in ipairs(tables_of(value)) do
    for name, field in next, t do
      if type(name) == "string" and name:find("^[%a_][%w_]*$") and starts_with(name, start) and
        (start ~= "" or not starts_with(name, "__")) and (not only_functions or type(field) == "function") then
        found[name] = true
      end
    end
  end
  return found
end

local function action_names(session, start)
  local found = {}
  local good, actions = pcall(session.manager.list, session.manager)
  for _, action in ipairs(good and actions or {}) do
    if starts_with(action.name, start) then
      found[action.name] = true
    end
  end
  return found
end

local function value_of(session, name)
  local is_local, value = session.chunks:get(name)
  if is_local then
    return value
  end
  return field_of(session.chunks.env, name)
end

-- a.b.c or a.b:c
local function complete_lua(session, word)
  local before, separator, start = word:match("^(.*)([.:])([%w_]*)$")
  if not before then
    local found = fields(session.chunks.env, word, false)
    for _, name in ipairs(session.chunks:names()) do
      found[name] = starts_with(name, word) or nil
    end
    for _, name in ipairs(KEYWORDS) do
      found[name] = found[name] or starts_with(name, word) or nil
    end
    return sorted(found, "")
  elseif not before:find("^[%a_][%w_.]*$") then
    return {}
  end
  local value
  for name in before:gmatch("[^.]+") do
    if value == nil then
      value = value_of(session, name)
    else
      value = field_of(value, name)
    end
    if value == nil then
      return {}
    end
  end
  return sorted(fields(value, start, separator == ":"), before .. separator)
end

-- ---- What the line is ----

-- The place of a quote whose string the line ends in; nil: it ends elsewhere.
local function open_string(line)
  local open
  scan.tokens(line, function(kind, _, place)
    if kind == "open" then
      open = place
    end
  end)
  return open
end

-- What the cursor is in, after this much of the line: "command", "action", "file", "help", "id", "lua".
local function place_of(line)
  if commands.is_command(line) then
    local name, gap = line:match("^%s*%.(%a+)(%s?)")
    if gap == "" then
      return "command"
    elseif name == "load" then
      return "file"
    elseif name == "help" then
      return "help"
    elseif name == "cancel" or name == "running" then
      return "id"
    elseif name == "time" then
      return "lua"
    elseif name == "run" or name == "watch" then
      return line:find("^%s*%.%a+%s+%S*$") and "action" or "nothing"
    end
    return "nothing"
  elseif line:find("^%s*%.$") then
    return "command"
  end
  local open = open_string(line)
  if open then
    -- The first argument of what takes the name of an action.
    local called = line:sub(1, open - 1):match("([%w_]+)%s*%(?%s*$")
    local takes = { call = 1, run = 1, subscribe = 1, responses = 1, unregister = 1 }
    return takes[called] and "action" or "file"
  end
  return "lua"
end

-- Where words begin, in the line up to the cursor: a set of characters.
function M.breaks(line)
  local place = place_of(line)
  if place == "lua" then
    return BREAKS_IN_LUA
  end
  return open_string(line) and not commands.is_command(line) and "\"'" or " \t"
end

-- The candidates for the word that ends at the end of `line`; nil: names of files.
function M.complete(session, line, word)
  local place = place_of(line)
  if place == "command" then
    local found = {}
    for _, name in ipairs(commands.names) do
      found["." .. name] = starts_with("." .. name, word) or nil
    end
    return sorted(found, "")
  elseif place == "action" then
    return sorted(action_names(session, word), "")
  elseif place == "help" then
    local found = action_names(session, word)
    for _, name in ipairs(commands.names) do
      found[name] = found[name] or starts_with(name, word) or nil
    end
    for name in pairs(fields(require "rsca", word:match("^rsca%.(.*)$") or "\0", true)) do
      found["rsca." .. name] = true
    end
    return sorted(found, "")
  elseif place == "id" then
    local found = {}
    for _, call in ipairs(session:running()) do
      found[tostring(call.id)] = starts_with(tostring(call.id), word) or nil
    end
    return sorted(found, "")
  elseif place == "lua" then
    return complete_lua(session, word)
  elseif place == "file" then
    return nil
  end
  return {}
end

return M
