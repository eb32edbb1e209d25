-- Runs the script of a command; it registers its actions. Nothing if all is well, otherwise one line: what is wrong, and
-- in which line of which file.

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

-- "FILE:LINE: " of the innermost function that is written in Lua and was running when the error was raised.
local function place()
  local level = 3
  repeat
    local info = debug.getinfo(level, "Sl")
    if info and info.currentline > 0 then
      return ("%s:%d: "):format(info.short_src, info.currentline)
    end
    level = level + 1
  until not info
  return ""
end

local function explain(err)
  local line = text_of(err):match("^[^\n]*")
  return line:find(":%d+: ") and line or place() .. line
end

arg = { [0] = script }
local file = script ~= "-" and script or nil
local main, problem = loadfile(file)
if not main then
  return problem:match("^[^\n]*")
end
local ok, line = xpcall(main, explain)
if not ok then
  return tostring(line)
end
