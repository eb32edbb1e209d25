-- lighttpd's mod_magnet with the script in examples/hosts, on a socket in a folder of its own: with two worker
-- processes, and in one; the script edited while it runs, SIGUSR1 and SIGINT with calls in flight.

local T = require "lua.support"
local H = require "hosts.support"
local socket = require "socket"
local unix = require "socket.unix"

local source, readme = arg[1], arg[2]
local program = arg[3] or error("usage: lighttpd_test.lua FOLDER README LIGHTTPD")

local function run(format, ...)
  local pipe = assert(io.popen(format:format(...)))
  local output = pipe:read("a")
  assert(pipe:close(), format)
  return (output:gsub("%s+$", ""))
end

local function read_file(name)
  local file <close> = assert(io.open(name))
  return file:read("a")
end

-- In one piece, so that the server finds the old file or the new one.
local function write_file(name, text)
  local file <close> = assert(io.open(name .. ".new", "w"))
  assert(file:write(text))
  file:close()
  assert(os.rename(name .. ".new", name))
end

-- ---- A server ----

local server = {}
server.__index = server

-- With files for its folder, by name; one of them is lighttpd.lua.
local function start(workers, files)
  local self = setmetatable({ folder = run("mktemp -d") }, server)
  for name, text in pairs(files) do
    write_file(self.folder .. "/" .. name, text)
  end
  write_file(self.folder .. "/lighttpd.conf", ([[
    server.modules = ( "mod_magnet" )
    server.document-root = "FOLDER"
    server.errorlog = "FOLDER/errors"
    server.pid-file = "FOLDER/pid"
    server.bind = "FOLDER/socket"
    server.max-worker = WORKERS
    server.stat-cache-engine = "disable"
    $HTTP["url"] =~ "^/rsca/" { magnet.attract-raw-url-to = ( "FOLDER/lighttpd.lua" ) }
  ]]):gsub("%u%u%u%u+", { FOLDER = self.folder, WORKERS = workers }))
  -- A session of its own, as the server sends signals to all of it.
  self.pipe = assert(io.popen(("exec setsid -w '%s' -D -f '%s/lighttpd.conf' 2>&1"):format(program, self.folder)))
  return self
end

-- Where a test fails half-way, nothing is left behind.
function server:__close()
  if self.pipe then
    self:signal("KILL")
    self.pipe:close()
    print(self:log())
    os.execute("rm -r " .. self.folder)
  end
end

-- Asks until it is answered: the socket may not be there yet, or not any more for a moment.
function server:get(path)
  while true do
    local client = assert(unix())
    local response
    if client:connect(self.folder .. "/socket") then
      client:send("GET " .. path .. " HTTP/1.0\r\n\r\n")
      response = client:receive("*a")
    end
    client:close()
    local status, body = (response or ""):match("^HTTP/%d%.%d (%d+).-\r\n\r\n(.*)$")
    if status then
      return math.tointeger(status), (body:gsub("\n$", ""))
    end
    socket.select(nil, nil, 0.01)
  end
end

-- Submits a call: its number, and that of the process that has it.
function server:submit(what)
  local status, number = self:get("/rsca/run/" .. what)
  T.equal(status, 202, number)
  return number, number:match("^%d+")
end

-- Asks for a result until the process that has it has answered, and it is there.
function server:collect(number)
  local status, body
  repeat
    status, body = self:get("/rsca/result/" .. number)
  until status ~= 421 and status ~= 202
  return status, body
end

function server:log()
  return read_file(self.folder .. "/errors")
end

function server:signal(name)
  assert(os.execute(("kill -s %s %s"):format(name, read_file(self.folder .. "/pid"))))
end

-- Ends it: it must exit well, and have had nothing to complain of.
function server:stop()
  self:signal("INT") -- TERM would make it exit with 1 where a connection is still being closed
  local output = self.pipe:read("a")
  local _, how, code = self.pipe:close()
  self.pipe = nil
  local log = self:log()
  assert(os.execute("rm -r " .. self.folder))
  T.equal(output, "")
  T.equal(how .. " " .. code, "exit 0", log)
  T.equal(log:find("lua:"), nil, log)
  T.equal(log:find("signal"), nil, log) -- of a worker that was killed by one
end

-- ---- What holds in one process and in several ----

local function common(self)
  local number = self:submit("sum?1%202%2039")
  local status, body = self:collect(number)
  T.equal(status, 200, body)
  T.equal(body, "42")

  status, body = self:get("/rsca/run/nope")
  T.equal(status, 400)
  T.match(body, "no action is registered under the name 'nope' %(ERROR_NOT_FOUND%)")
  status, body = self:collect(self:submit("sum?one"))
  T.equal(status, 500)
  T.match(body, "numbers, please")
  T.equal(self:get("/rsca/"), 404)

  -- The server goes on answering while an action computes, and the time limit ends that.
  local endless, answered = self:submit("endless"), 0
  repeat
    T.equal(self:collect(self:submit("sum?1%201")), 200)
    answered = answered + 1
    status, body = self:get("/rsca/result/" .. endless)
  until status ~= 421 and status ~= 202
  T.equal(status, 500)
  T.match(body, "ERROR_TIMEOUT")
  T.truthy(answered > 1)
end

-- The script is edited while it runs: the new one knows of the calls of the old one.
local function edit(self)
  local before = self:submit("sum?1%202")
  local name = self.folder .. "/lighttpd.lua"
  write_file(name, (read_file(name):gsub("no such call", "no such call any more")))
  repeat
    local status, body = self:collect(before:match("^%d+") .. "-999999")
    T.equal(status, 404)
  until body == "no such call any more"
  local status, body = self:collect(before)
  T.equal(status, 200)
  T.equal(body, "3")
end

local recipe = {
  ["lighttpd.lua"] = read_file(source .. "/lighttpd.lua"),
  ["actions.lua"] = read_file(source .. "/actions.lua"),
}

T.test("two worker processes", function()
  local self <close> = start(2, recipe)
  common(self)

  local _, first = self:submit("sum?1")
  local other
  repeat
    other = select(2, self:submit("sum?1"))
  until other ~= first

  edit(self)

  for _ = 1, 4 do
    self:submit("endless")
  end
  self:signal("USR1")
  local process
  repeat
    process = select(2, self:submit("sum?1"))
  until process ~= first and process ~= other
  common(self)

  for _ = 1, 4 do
    self:submit("endless")
  end
  self:stop()
end)

T.test("one process, which closes its states and opens new ones", function()
  local self <close> = start(0, recipe)
  common(self)
  edit(self)

  local number, process = self:submit("endless")
  self:submit("endless")
  self:signal("USR1")
  repeat
    local status = self:get("/rsca/result/" .. number)
  until status == 404
  T.equal(select(2, self:submit("sum?1")), process)
  common(self)
  self:submit("endless")
  self:submit("endless")
  self:stop()
end)

T.test("the script in README.md answers", function()
  local work = os.tmpname()
  write_file(work, H.readme_program(readme, "work.lua"))
  local self <close> = start(0, {
    ["lighttpd.lua"] = H.readme_program(readme, "primes.lua"):gsub("/etc/lighttpd/work.lua", work),
  })
  for _ = 1, 2 do
    local status, body
    repeat
      status, body = self:get("/rsca/?100000")
    until status ~= 202
    T.equal(status, 200, body)
    T.equal(body, "9592")
  end
  local status, body
  repeat
    status, body = self:get("/rsca/?many")
  until status ~= 202
  T.equal(status, 500)
  T.match(body, "^" .. work:gsub("%W", "%%%0") .. ":%d+: .* %(E_FAIL%)$")
  self:stop()
  assert(os.remove(work))
end)

T.finish()
