-- Prosody with the module mod_rsca_test, in the foreground and as a daemon, which forks after modules are loaded.

local T = require "lua.support"
local H = require "hosts.support"
local socket = require "socket"

local plugins, readme = arg[1], arg[2]
local program = arg[3] or error("usage: prosody_test.lua FOLDER README PROSODY")

local function run(command)
  local pipe = assert(io.popen(command))
  local output = pipe:read("a")
  assert(pipe:close(), command)
  return (output:gsub("%s+$", ""))
end

local function read_file(name)
  local file = io.open(name)
  if not file then
    return ""
  end
  local text = file:read("a")
  file:close()
  return text
end

local function is_alive(process)
  local file = io.open("/proc/" .. process .. "/stat")
  if not file then
    return false
  end
  local state = file:read("a"):match("^.*%) (%u)")
  file:close()
  return state ~= "Z"
end

local function write_file(name, text)
  local file <close> = assert(io.open(name, "w"))
  assert(file:write(text))
end

-- ---- A Prosody that runs ----

local server = {}
server.__index = server

-- With these settings in its configuration, where FOLDER stands for its own.
local function start(option, settings)
  local self = setmetatable({ option = option, folder = run("mktemp -d") }, server)
  local config = ([[
    run_as_root = true
    pidfile = "FOLDER/pid"
    data_path = "FOLDER"
    certificates = "FOLDER"
    modules_disabled = { "s2s" }
    log = { info = "FOLDER/log" }
    interfaces = { "127.0.0.1" }
    c2s_ports = {} c2s_direct_tls_ports = {} s2s_ports = {} https_ports = {}
    SETTINGS
    VirtualHost "localhost"
  ]]):gsub("SETTINGS", { SETTINGS = settings }):gsub("FOLDER", { FOLDER = self.folder })
  write_file(self.folder .. "/prosody.cfg.lua", config)
  local command = ("echo $$; exec '%s' %s --config '%s/prosody.cfg.lua' 2>&1"):format(program, option, self.folder)
  self.pipe = assert(io.popen(command))
  self.first = self.pipe:read("n", "l")
  if option == "-D" then -- the process that was started ends
    self:join()
    self:check()
  end
  return self
end

-- Where a test fails half-way, nothing is left behind.
function server:__close()
  local process = read_file(self.folder .. "/pid")
  if process ~= "" then
    os.execute("kill -s KILL " .. process)
  end
  if self.option == "-F" and not self.how then
    self.pipe:close()
  end
  os.execute("rm -rf " .. self.folder)
end

function server:log()
  return read_file(self.folder .. "/log")
end

function server:join()
  self.output = self.pipe:read("a")
  local _, how, code = self.pipe:close()
  self.how = how .. " " .. code
end

-- Raises if it has failed, so that nobody waits for what will not come.
function server:check()
  if self.how and self.how ~= "exit 0" or self.option == "-F" and not is_alive(self.first) then
    error("Prosody has ended: " .. (self.output or self.pipe:read("a")) .. self:log())
  end
end

-- Ends it: it must exit well, and have had nothing to complain of.
function server:stop()
  local process = read_file(self.folder .. "/pid")
  T.equal(process == tostring(self.first), self.option == "-F", "the process that serves is the one that was started")
  assert(os.execute("kill -s TERM " .. process))
  while is_alive(process) do
    socket.select(nil, nil, 0.01)
  end
  if self.option == "-F" then
    self:join()
  end
  local log = self:log()
  T.equal(log:match("[^\n]*error\t[^\n]*"), nil, "its log has no errors")
  T.match(log, "Shutdown complete")
  T.equal(self.how, "exit 0", self.output)
end

-- ---- The module of these tests ----

-- Runs it to its end: what it noted, by name.
local function try(option, settings)
  local self <close> = start(option, ([[
    plugin_paths = { "PLUGINS" }
    modules_enabled = { "rsca_test" }
    http_ports = {}
    rsca_results = "FOLDER/results"
    SETTINGS]]):gsub("%u%u%u%u%u%u%u+", { PLUGINS = plugins, SETTINGS = settings or "" }))
  local noted
  repeat -- the watchdog is that of CTest
    socket.select(nil, nil, 0.01)
    noted = read_file(self.folder .. "/results")
    self:check()
  until noted:find("done=", 1, true)
  self:stop()
  T.equal(noted:match("problem=[^\n]*"), nil, noted)
  T.match(noted, "\ndone=0\n")
  local notes = {}
  for name, value in noted:gmatch("([^\n=]+)=([^\n]*)") do
    notes[name] = value
  end
  return notes
end

T.test("in the foreground", function()
  local notes = try("-F")
  T.equal(notes.early, "queued in " .. notes.process)
  T.equal(notes.slept, notes.process)
end)

T.test("as a daemon: what was queued before the fork is done after it, by the daemon", function()
  local notes = try("-D")
  T.equal(notes.early, "queued in " .. notes.process)
  T.equal(notes.slept, notes.process)
end)

T.test("a module may wait while it is loaded, in the foreground", function()
  local notes = try("-F", "rsca_hold_up_start = true")
  T.equal(notes["held up"], "called in " .. notes.process)
end)

T.test("a module may wait while it is loaded, as a daemon", function()
  local notes = try("-D", "rsca_hold_up_start = true")
  T.match(notes["held up"], "^called in %d+$")
  T.truthy(notes["held up"] ~= "called in " .. notes.process, "the loop ran before the fork")
end)

for _, backend in ipairs { "select", "event" } do
  T.test("with the backend " .. backend, function()
    local notes = try("-D", ("network_backend = %q"):format(backend))
    T.equal(notes.early, "queued in " .. notes.process)
  end)
end

-- ---- The module of README.md ----

-- A port that nobody has just now.
local function free_port()
  local probe = assert(socket.bind("127.0.0.1", 0))
  local _, port = probe:getsockname()
  probe:close()
  return math.tointeger(port)
end

local function get(port, path)
  local client = assert(socket.tcp())
  local response
  if client:connect("127.0.0.1", port) then
    client:send("GET " .. path .. " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    response = client:receive("*a")
  end
  client:close()
  return (response or ""):match("^HTTP/%d%.%d (%d+).-\r\n\r\n(.*)$")
end

T.test("the module in README.md answers", function()
  local port, folder = free_port(), run("mktemp -d")
  write_file(folder .. "/mod_primes.lua", H.readme_program(readme, "mod_primes.lua"))
  write_file(folder .. "/work.lua", H.readme_program(readme, "work.lua"))
  local self <close> = start("-F", ([[
    plugin_paths = { "%s" }
    modules_enabled = { "http", "primes" }
    http_interfaces = { "127.0.0.1" }
    http_ports = { %d }
    primes_script = "%s/work.lua"]]):format(folder, port, folder))
  local status, body
  repeat
    socket.select(nil, nil, 0.01)
    self:check()
    status, body = get(port, "/primes/100000")
  until status
  T.equal(status, "200", body)
  T.equal(body, "9592 primes\n")
  status, body = get(port, "/primes/many")
  T.equal(status, "500")
  T.match(body, "work.lua:%d+: ")
  self:stop()
  assert(os.execute("rm -r " .. folder))
end)

T.finish()
