-- luacheck: globals print arg
--
-- Runs the script of a command; it registers its actions. Nothing if all is well, otherwise one line: what is wrong,
-- and in which line of which file.

local script = ... -- a file, or "-": standard input

-- stdout is for responses.
io.output(io.stderr)
function print(...)
  local texts = table.pack(...)
  for i = 1, texts.n do
    texts[i] = tostring(texts[i])
  end
  io.stderr:write(table.concat(texts, "\t") .. "\n")
end

local function text_of(err)
  local metatable = getmetatable(err)
  if type(err) == "string" or type(err) == "number" or type(metatable) == "table" and metatable.__tostring then
    return tostring(err)
  end
  return ("(error object is a %s value)"):format(type(err))
end

local function in_one_line(text)
  return (text:gsub("%s*\n%s*", " "))
end

-- Whether the text says itself where it is from, as that of error() does.
local function begins_with_place(text, file)
  return text:sub(1, #file + 1) == file .. ":" and text:find("^%d+: ", #file + 2)
end

-- The text, and before it the line of the innermost function in Lua that was running, unless it has one already.
local function explain(err)
  local text = in_one_line(text_of(err))
  local innermost = ""
  local level = 2
  local info = debug.getinfo(level, "Sl")
  while info do
    if info.currentline > 0 then
      if begins_with_place(text, info.short_src) then
        return text
      elseif innermost == "" then
        innermost = ("%s:%d: "):format(info.short_src, info.currentline)
      end
    end
    level = level + 1
    info = debug.getinfo(level, "Sl")
  end
  return innermost .. text
end

-- Signals end what the script does: in coroutines of its own and in commands, too.
require("rsca").guard()
require("rsca.repl.console").interruptible()

arg = { [0] = script }
local file = script ~= "-" and script or nil
local main, problem = loadfile(file)
if not main then
  return in_one_line(problem)
end
local ok, line = xpcall(main, explain)
if not ok then
  return tostring(line)
end
