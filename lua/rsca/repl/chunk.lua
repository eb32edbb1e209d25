-- What is typed becomes a function. The locals of one chunk are there for the next ones, as the same variables: each
-- chunk is compiled inside a function that has them for upvalues, which are then joined.

local _ENV = require "rsca.repl.globals"
local scan = require "rsca.repl.scan"

local M = {}
M.__index = M

local MOST = 150 -- locals of earlier chunks that one chunk can use; a function of Lua takes 200 in all
local EXPORT = "_rsca_export" -- what the text calls at its end, with a function that has its locals for upvalues
local NAME = "=stdin"

-- A memory of locals. Globals are in `env`.
function M.new(env)
  return setmetatable({ env = env, cells = {} }, M)
end

-- A cell is an upvalue of a function: { f, index }.
local function new_cell(value)
  return { function()
    return value
  end, 1 }
end

local has_upvalues = debug and debug.getupvalue and debug.setupvalue and debug.upvaluejoin

-- Makes a local of the session, or changes it. Where there is no debug library it is a global.
function M:set(name, value)
  if not has_upvalues then
    self.env[name] = value
  elseif self.cells[name] then
    debug.setupvalue(self.cells[name][1], self.cells[name][2], value)
  else
    self.cells[name] = new_cell(value)
  end
end

-- Whether there is such a local, and its value.
function M:get(name)
  local cell = self.cells[name]
  if cell then
    return true, select(2, debug.getupvalue(cell[1], cell[2]))
  end
  return false
end

-- Their names.
function M:names()
  local names = {}
  for name in pairs(self.cells) do
    names[#names + 1] = name
  end
  table.sort(names)
  return names
end

-- Makes the upvalues of a function that was given away at the end of a chunk the locals of the session.
local function export(self, names, f)
  local values = nil
  local places = {}
  for i = 1, math.huge do
    local name = debug.getupvalue(f, i)
    if not name then
      break
    end
    places[name] = i
  end
  for i, name in ipairs(names) do
    if places[name] then
      self.cells[name] = { f, places[name] }
    else -- a constant that the compiler has put in place
      values = values or { f() }
      self.cells[name] = new_cell(values[i])
    end
  end
end

-- The text, and before its `return` or at its end the call that gives its locals away.
local function with_export(text, locals, returns)
  if #locals == 0 then
    return text
  end
  local call = ("%s(function() return %s end)"):format(EXPORT, table.concat(locals, ","))
  if returns then
    return text:sub(1, returns - 1) .. call .. " " .. text:sub(returns)
  end
  return text .. "\n" .. call
end

-- A text that is right by itself, inside of a function; nil where it isn't right there. `exported`: the same, with the
-- call at its end.
local function load_inside(self, text, locals, exported)
  local names, used = { EXPORT }, scan.names(text)
  for _, name in ipairs(self:names()) do
    if used[name] and #names < MOST then
      names[#names + 1] = name
    end
  end
  local source = ("local %s;return function(...) %s\nend"):format(table.concat(names, ","), exported)
  local outer = load(source, NAME, "t", self.env)
  local inner = outer and outer()
  for i = 1, inner and math.huge or 0 do
    local name = debug.getupvalue(inner, i)
    if not name then
      break
    elseif name == EXPORT then
      debug.upvaluejoin(inner, i, new_cell(function(f)
        export(self, locals, f)
      end)[1], 1)
    elseif self.cells[name] then
      debug.upvaluejoin(inner, i, self.cells[name][1], self.cells[name][2])
    end
  end
  return inner
end

local function load_text(self, text, plain)
  if not has_upvalues then
    return plain
  end
  local locals, returns = scan.top_level(text)
  return load_inside(self, text, locals, with_export(text, locals, returns)) or load_inside(self, text, {}, text) or
    plain
end

-- Quotes end in the line where they begin, unless a backslash stands before its end.
local function is_cut(problem, text)
  if problem:find("unfinished string near <eof>$") then
    return text:find("\\$") ~= nil
  end
  return problem:find("<eof>$") ~= nil
end

-- A function for what was typed: an expression, or statements. Otherwise nil, the problem, and whether what follows may
-- make it right.
function M:compile(text)
  local expression = "return " .. text:gsub("^%s*=", "", 1)
  local f, expression_problem = load(expression, NAME, "t", self.env)
  if f then
    return load_text(self, expression, f)
  end
  local problem
  f, problem = load(text, NAME, "t", self.env)
  if f then
    return load_text(self, text, f)
  end
  local is_expression = is_cut(expression_problem, text) and not is_cut(problem, text) or text:find("^%s*=") ~= nil
  problem = is_expression and expression_problem or problem
  return nil, problem, is_cut(problem, text)
end

return M
