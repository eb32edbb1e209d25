-- A program whose loop is select, by luasocket. An object with getfd and dirty is one of the sockets to read from:
-- select wakes up when rsca's descriptor is readable, and rsca.timeout says how long it may sleep.

local socket = require "socket"
local rsca = require "rsca"

local here = arg[0]:match("^(.*)/") or "."
local manager <close> = assert(rsca.manager { script = here .. "/actions.lua", workers = 2, time_limit = 1 })

-- ---- The recipe ----

local watched = {
  getfd = rsca.fd, -- asked for again and again, so it is right in the child of a fork, too
  dirty = function()
    return false -- nothing of it is buffered in Lua
  end,
}

-- One turn of the loop: sleeps until a socket is readable, rsca has something to do, or `seconds` are over.
local function turn(sockets, seconds)
  local reading = { watched, table.unpack(sockets) }
  local readable = socket.select(reading, nil, math.min(seconds, rsca.timeout() or seconds))
  rsca.step(100)
  return readable
end

-- ---- The program: a server on a port of its own, and a client that sends it a line ----

local server = assert(socket.bind("127.0.0.1", 0))
local address, port = server:getsockname()
local client = assert(socket.connect(address, port))
client:send("1 2 39\n")
local sockets = { server }

local over, ticks = false, 0

local function ended(status)
  print(rsca.describe(status):match("^%S+") .. ", and the loop " .. (ticks > 1 and "went on" or "stood still"))
  over = true
end

local function counted(_, response, final)
  if final then
    print("that was all")
    assert(manager:run("endless", "", ended))
  else
    print("response " .. response)
  end
end

local function serve(peer, line)
  assert(manager:run("sum", line, function(_, response)
    peer:send(response .. "\n")
    peer:close()
    print("the client got " .. client:receive("*l"))
    assert(manager:subscribe("count", "3", counted))
  end))
end

while not over do
  local readable = turn(sockets, 0.01)
  ticks = ticks + 1
  for _, ready in ipairs(readable) do
    if ready == server then
      table.insert(sockets, server:accept())
    elseif ready ~= watched then
      sockets = { server }
      serve(ready, ready:receive("*l"))
    end
  end
end

assert(manager:run("endless", "", print)) -- still on its way: it ends with the program
print("left")
