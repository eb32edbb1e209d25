-- A program whose loop is select, by luasocket. An object with getfd and dirty is one of the sockets to read from:
-- select wakes up when rsca's descriptor is readable, and rsca.timeout says how long it may sleep.

local socket = require "socket"
local rsca = require "rsca"

local here = arg[0]:match("^(.*)/") or "."
local manager <close> = assert(rsca.manager { script = here .. "/actions.lua", workers = 2, time_limit = 0.3 })

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

local pending, ticks = 3, 0
local function done()
  pending = pending - 1
end

assert(manager:subscribe("count", "3", function(_, response, final)
  print(final and "that was all" or "response " .. response)
  if final then
    done()
  end
end))

assert(manager:run("endless", "", function(status)
  print(rsca.describe(status):match("^%S+") .. ", and the loop " .. (ticks > 1 and "went on" or "stood still"))
  done()
end))

while pending > 0 do
  local readable = turn(sockets, 0.01)
  ticks = ticks + 1
  for _, ready in ipairs(readable) do
    if ready == server then
      table.insert(sockets, server:accept())
    elseif ready ~= watched then
      local line = ready:receive("*l")
      sockets = { server }
      assert(manager:run("sum", line, function(_, response)
        ready:send(response .. "\n")
        ready:close()
        print("the client got " .. client:receive("*l"))
        done()
      end))
    end
  end
end
