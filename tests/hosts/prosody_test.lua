-- Prosody with the module mod_rsca_test, in the foreground and as a daemon, which forks after modules are loaded.

local T = require "lua.support"
local socket = require "socket"

local plugins = arg[1] or error("usage: prosody_test.lua FOLDER PROSODY")
local program = arg[2] or "prosody"

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

-- Runs Prosody until the module is done, then ends it: what the module noted, by name.
local function prosody(option, settings)
  local folder = run("mktemp -d")
  local file <close> = assert(io.open(folder .. "/prosody.cfg.lua", "w"))
  file:write((([[
    run_as_root = true
    pidfile = "FOLDER/pid"
    data_path = "FOLDER"
    certificates = "FOLDER"
    plugin_paths = { "PLUGINS" }
    modules_enabled = { "rsca_test" }
    modules_disabled = { "s2s" }
    log = { info = "FOLDER/log" }
    network_backend = "epoll"
    interfaces = { "127.0.0.1" }
    c2s_ports = {} c2s_direct_tls_ports = {} s2s_ports = {} http_ports = {} https_ports = {}
    rsca_results = "FOLDER/results"
    SETTINGS
    VirtualHost "localhost"
  ]]):gsub("%u%u%u%u%u+", { FOLDER = folder, PLUGINS = plugins, SETTINGS = settings or "" })))
  file:close()
  local command = ("echo $$; exec '%s' %s --config '%s/prosody.cfg.lua' 2>&1"):format(program, option, folder)
  local pipe = assert(io.popen(command))
  local first = pipe:read("n", "l")
  local output, how, code
  local function join()
    output = pipe:read("a")
    how, code = select(2, pipe:close())
  end
  if option == "-D" then
    join()
  end

  -- The watchdog of the test is that of CTest.
  local noted
  repeat
    socket.select(nil, nil, 0.01)
    noted = read_file(folder .. "/results")
    if option == "-F" and not is_alive(first) or code and code > 0 then
      error("Prosody has ended: " .. (output or pipe:read("a")) .. read_file(folder .. "/log"))
    end
  until noted:find("done=", 1, true)
  local process = noted:match("process=(%d+)")
  T.equal(process == tostring(first), option == "-F", "the process that serves is the one that was started")
  assert(os.execute("kill -s TERM " .. process))
  while is_alive(process) do
    socket.select(nil, nil, 0.01)
  end
  if option == "-F" then
    join()
  end

  local log = read_file(folder .. "/log")
  assert(os.execute("rm -r " .. folder))
  T.equal(noted:match("problem=[^\n]*"), nil, noted)
  T.match(noted, "\ndone=0\n")
  T.equal(log:match("[^\n]*error\t[^\n]*"), nil, "its log has no errors")
  T.match(log, "Shutdown complete")
  T.equal(how .. " " .. code, "exit 0", output)
  local notes = {}
  for name, value in noted:gmatch("([^\n=]+)=([^\n]*)") do
    notes[name] = value
  end
  return notes
end

T.test("in the foreground", function()
  local notes = prosody("-F")
  T.equal(notes.early, "queued in " .. notes.process)
  T.equal(notes.slept, notes.process)
end)

T.test("as a daemon: what was queued before the fork is done after it, by the daemon", function()
  local notes = prosody("-D")
  T.equal(notes.early, "queued in " .. notes.process)
  T.equal(notes.slept, notes.process)
end)

T.test("a module may wait while it is loaded, in the foreground", function()
  local notes = prosody("-F", "rsca_hold_up_start = true")
  T.equal(notes["held up"], "called in " .. notes.process)
end)

T.test("a module may wait while it is loaded, as a daemon", function()
  local notes = prosody("-D", "rsca_hold_up_start = true")
  T.match(notes["held up"], "^called in %d+$")
  T.truthy(notes["held up"] ~= "called in " .. notes.process, "the loop ran before the fork")
end)

for _, backend in ipairs { "select", "event" } do
  T.test("with the backend " .. backend, function()
    local notes = prosody("-D", ("network_backend = %q"):format(backend))
    T.equal(notes.early, "queued in " .. notes.process)
  end)
end

T.finish()
