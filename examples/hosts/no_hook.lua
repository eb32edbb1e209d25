-- A host that calls a script now and then, and has no loop that the script could join: a web server for each request, a
-- mail server for each login, a mail reader for each key. Two ways fit all of them; lighttpd.lua is the first one in
-- lighttpd, and dovecot, dnsmasq and neomutt are like it.
--
-- 1. Submit, then collect: one call of the script begins the action and returns, a later one asks for the result. The
--    host is never held up. What it costs: somebody has to ask again.
-- 2. A bounded wait: request:await(seconds). What it costs: the host stands still meanwhile, with everything else that
--    it does, for as long as the bound allows. After it the action goes on, and the result can be collected.

local rsca = require "rsca"

local here = arg[0]:match("^(.*)/") or "."
local manager <close> = assert(rsca.manager { script = here .. "/actions.lua", workers = 2, time_limit = 1 })

-- ---- The recipe ----

local requests = {} -- in flight, or done and not collected, by number

-- Begins an action. Its number, or nil and why not.
local function submit(name, args)
  local request, err = manager:run(name, args)
  if not request then
    return nil, err
  end
  requests[request.id] = request
  return request.id
end

-- What has become of it: a response; or nil and an error, ERROR_NOT_FOUND if there is no such number. With seconds it
-- waits that long at most; WAIT_TIMEOUT says that it is not done yet.
local function collect(number, seconds)
  local request = requests[number]
  if not request then
    return nil, { status = rsca.status.ERROR_NOT_FOUND, name = "ERROR_NOT_FOUND", message = "no such call" }
  end
  rsca.step() -- what has arrived since the last time
  local response, err = request:await(seconds or 0)
  if response or err.name ~= "WAIT_TIMEOUT" then
    requests[number] = nil
  end
  return response, err
end

-- ---- What a host does: calls that are far apart, and never wait ----

local function show(response, err)
  print(response or err.name)
end

local sum, endless = submit("sum", "1 2 39"), submit("endless")

show(collect(endless)) -- not yet
show(collect(sum, 10)) -- here the host stands still until it is there
show(collect(sum))     -- collected already
local response, err
repeat -- somebody asks again and again
  response, err = collect(endless)
until response or err.name ~= "WAIT_TIMEOUT"
show(response, err)
show(collect(submit("sum", "one"), 10))

assert(submit("endless")) -- nobody will ask for it: it ends with the program
print("left")
