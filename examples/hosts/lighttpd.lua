-- A script of lighttpd's mod_magnet, which runs for each request while all of lighttpd waits for it: so it never waits.
-- One request submits an action and is answered with a number, later ones ask for the result by it.
--
--   GET /rsca/run/NAME?ARGS      202 and a number; 400, and why not
--   GET /rsca/result/NUMBER      200 and the response; 202: not yet; 404: no such number, or fetched already; 500: why
--                                it failed
--
-- In lighttpd.conf:
--
--   server.modules += ( "mod_magnet" )
--   $HTTP["url"] =~ "^/rsca/" { magnet.attract-raw-url-to = ( "/etc/lighttpd/rsca/lighttpd.lua" ) }
--
-- Each worker process has calls of its own. With server.max-worker above 1 a request may meet another one than the last
-- did: a number begins with its process, and who is asked for a number of another says 421, ask again.

-- luacheck: globals lighty

local rsca = require "rsca"

-- Globals go after each request; modules stay, also when this file is edited. When lighttpd reads its configuration
-- again (SIGUSR1) all goes: the pool is shut down, and calls in flight end.
local own = package.loaded["rsca.own"]
if not own then
  local here = debug.getinfo(1, "S").source:match("^@?(.*)/")
  own = {
    process = io.open("/proc/self/stat"):read("n"),
    manager = assert(rsca.manager { script = here .. "/actions.lua", workers = 2, time_limit = 1 }),
    requests = {},
  }
  package.loaded["rsca.own"] = own
end

local function answer(status, text)
  lighty.r.resp_header["Content-Type"] = "text/plain"
  lighty.r.resp_body.set(text .. "\n")
  return status
end

local function unescape(text)
  return (text:gsub("%%(%x%x)", function(digits)
    return string.char(tonumber(digits, 16))
  end))
end

local function submit(name, args)
  local request, err = own.manager:run(name, unescape(args))
  if not request then
    return answer(400, tostring(err))
  end
  own.requests[request.id] = request
  return answer(202, ("%d-%d"):format(own.process, request.id))
end

local function collect(process, id)
  if process ~= own.process then
    return answer(421, "another process has it")
  end
  local request = own.requests[id]
  if not request then
    return answer(404, "no such call")
  end
  local response, err = request:await(0)
  if not response and err.name == "WAIT_TIMEOUT" then
    return answer(202, "not yet")
  end
  own.requests[id] = nil
  return answer(response and 200 or 500, response or tostring(err))
end

rsca.step() -- what has arrived since the last request

local path, query = lighty.r.req_attr["uri.path"], lighty.r.req_attr["uri.query"] or ""
local name = path:match("^/rsca/run/([^/]+)$")
if name then
  return submit(unescape(name), query)
end
local process, id = path:match("^/rsca/result/(%d+)%-(%d+)$")
if process then
  return collect(math.tointeger(process), math.tointeger(id))
end
return answer(404, "/rsca/run/NAME?ARGS or /rsca/result/NUMBER")
