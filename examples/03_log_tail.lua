-- An action with arguments: "PATH N" gives the last N lines of a log. What callers send is checked before it is used,
-- and whoever asks for a file that is not there, or not readable, gets a status that says so.
-- usage: 03_log_tail.lua [PATH [N]]

local rsca = require "rsca"

local MOST_LINES = 1000
local BLOCK = 4096
local ENOENT, EACCES = 2, 13 -- as io.open numbers its failures
local status_of = { [ENOENT] = rsca.status.ERROR_FILE_NOT_FOUND, [EACCES] = rsca.status.E_ACCESSDENIED }

-- The last `count` lines: read backwards, so that the size of the log does not matter.
local function last_lines(file, count)
  local start = assert(file:seek("end"))
  local tail = ""
  -- One newline more than lines are wanted: the one before the first of them.
  while start > 0 and select(2, tail:gsub("\n", "")) <= count do
    local size = math.min(BLOCK, start)
    start = start - size
    assert(file:seek("set", start))
    tail = assert(file:read(size)) .. tail
  end
  if tail ~= "" and tail:sub(-1) ~= "\n" then
    tail = tail .. "\n"
  end
  local lines = {}
  for line in tail:gmatch("([^\n]*)\n") do
    lines[#lines + 1] = line
  end
  return table.concat(lines, "\n", math.max(1, #lines - count + 1))
end

rsca.register("log.tail", { help = "PATH N: the last N lines of a log" }, function(args)
  local path, count = args:match("^(.+)%s+(%d+)$")
  count = math.tointeger(count)
  if not count or count < 1 or count > MOST_LINES then
    return nil, ("usage: PATH N, with N from 1 to %d"):format(MOST_LINES), rsca.status.E_INVALIDARG
  end
  local file <close>, message, errno = io.open(path)
  if not file then
    return nil, message, status_of[errno]
  end
  return last_lines(file, count)
end)

local function exists(path)
  local file <close> = io.open(path)
  return file ~= nil
end

local path = arg[1] or (exists("/var/log/dpkg.log") and "/var/log/dpkg.log" or arg[0])
local count = arg[2] or "3"
local missing = "/var/log/no-such.log"

for _, args in ipairs { path .. " " .. count, missing .. " " .. count, path .. " many" } do
  print("log.tail " .. args)
  local lines, err = rsca.call("log.tail", args)
  if lines then
    print(lines)
  else
    print(("  %s: %s"):format(err.name, err.message))
  end
end
