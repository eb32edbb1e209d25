-- The commands of the prompt: lines that begin with a dot.

local _ENV = require "rsca.repl.globals"
local rsca = require "rsca"
local help = require "rsca.repl.help"
local live = require "rsca.repl.live"
local print_ = require "rsca.repl.print"

local M = {}

local commands = {} -- by name: { usage, text, run }

-- ---- Words ----

-- The first word, which may be in quotes, and the rest as it is.
local function split(text)
  local quote, name, rest = text:match("^([\"'])(.-)%1%s?(.*)$")
  if not quote then
    name, rest = text:match("^(%S+)%s?(.*)$")
  end
  return name, rest or ""
end

-- Lines of two columns.
local function put_columns(session, rows)
  local width = 0
  for _, row in ipairs(rows) do
    width = math.max(width, print_.width(row[1]))
  end
  for _, row in ipairs(rows) do
    local gap = row[2] ~= "" and (" "):rep(width - print_.width(row[1]) + 2) or ""
    session:say(row[1] .. gap .. session:paint(row[2], "dim") .. "\n")
  end
end

local function misused(session, name)
  session:complain("usage: " .. commands[name][1])
end

-- The list of actions; nothing, and that has been said, where there is none to be had.
local function list_actions(session)
  local actions, err = session.manager:list()
  if not actions then
    session:complain(err)
  end
  return actions
end

-- ---- Actions and calls ----

local function show_actions(session, filter)
  local rows = {}
  for _, action in ipairs(list_actions(session) or {}) do
    if action.name:find(filter, 1, true) then
      rows[#rows + 1] = { print_.plain(action.name), print_.plain(action.help) }
    end
  end
  put_columns(session, rows)
  if #rows == 0 then
    session:note(filter == "" and "there are no actions; .load FILE brings some" or "no action has that in its name")
  end
end

-- What answers within a step or two needs no word about its having begun.
local function settle(session, call)
  for _ = 1, 3 do
    session:step()
  end
  if session.live[call] and not call.shown then
    session:note(("[%d] is running"):format(call.id))
  end
end

local function run_action(session, text)
  local name, args = split(text)
  if not name then
    return misused(session, "run")
  end
  local request, err = session.manager:run(name, args)
  if not request then
    return session:complain(err)
  end
  session:remember_results { n = 1, request }
  settle(session, live.await(session, request))
end

local function watch_action(session, text)
  local name, args = split(text)
  if not name then
    return misused(session, "watch")
  end
  local subscription, call_or_err = live.watch(session, name, args)
  if not subscription then
    return session:complain(call_or_err)
  end
  session:remember_results { n = 1, subscription }
  settle(session, call_or_err)
end

-- The number of a call; nil where there is none.
local function to_id(digits)
  return digits and math.tointeger(tonumber(digits))
end

local function age_of(seconds)
  return seconds < 60 and ("%.1f s"):format(seconds) or ("%d min"):format(seconds // 60)
end

-- One line of .running.
local function describe_call(call)
  local args = call.args ~= "" and " " .. print_.plain(call.args):gsub("\n", " ") or ""
  return { ("[%d] %s%s"):format(call.id, print_.plain(call.action), args), age_of(call.age) .. ", " .. call.state }
end

-- Tells what is in flight: whether there was anything.
function M.show_running(session)
  local rows = {}
  for _, call in ipairs(session:running()) do
    rows[#rows + 1] = describe_call(call)
  end
  put_columns(session, rows)
  return #rows > 0
end

local function show_call(session, id)
  for _, call in ipairs(session:running()) do
    if call.id == id then
      put_columns(session, { describe_call(call) })
      if call.traceback then
        session:say(print_.plain(call.traceback) .. "\n")
      end
      return
    end
  end
  session:complain("nothing of that number is running")
end

local function show_running(session, text)
  local id = to_id(text:match("^%[?(%d+)%]?$"))
  if id then
    show_call(session, id)
  elseif text ~= "" then
    misused(session, "running")
  elseif not M.show_running(session) then
    session:note("nothing is running")
  end
end

local function cancel_call(session, text)
  local digits, rest = text:match("^%[?(%d+)%]?%s*(%S*)$")
  local id, grace = to_id(digits), tonumber(rest or "")
  if not id or rest ~= "" and not grace then
    return misused(session, "cancel")
  end
  local good, err = session.manager:cancel(id, grace)
  if not good then
    session:complain(err)
  end
end

-- ---- Files ----

local function list_of(names)
  return print_.plain(table.concat(names, ", "))
end

local function load_file(session, file)
  if file == "" then
    return misused(session, "load")
  end
  local good, brought, gone = session:load(file)
  if good then
    session:note("loaded " .. print_.plain(file) .. (#brought > 0 and ": " .. list_of(brought) or ""))
    if #gone > 0 then
      session:note("taken away: " .. list_of(gone))
    end
  end
end

-- ---- Help ----

local KEYS = {
  { "an expression", "is evaluated and shown; a request is awaited, a subscription shown live" },
  { "a statement", "runs; its locals stay. What is not complete goes on in the next line" },
  { "_1, _2, ...", "the last results, newest first" },
  { "Ctrl-C", "stops what you have started, or gives up the line" },
  { "Ctrl-D", "leaves" },
}
local ORDER = { "actions", "run", "watch", "running", "cancel", "load", "help", "time", "quit" }

local function show_all_help(session)
  local rows = {}
  for _, name in ipairs(ORDER) do
    rows[#rows + 1] = { commands[name][1], commands[name][2] }
  end
  for _, row in ipairs(KEYS) do
    rows[#rows + 1] = row
  end
  put_columns(session, rows)
end

local function show_action_help(session, action)
  session:say(print_.plain(action.name) .. (action.help ~= "" and "  " .. print_.plain(action.help) or "") .. "\n")
  session:note("an action, from " .. print_.plain(action.place))
end

local function show_help(session, name)
  if name == "" then
    return show_all_help(session)
  end
  local found = false
  for _, action in ipairs(list_actions(session) or {}) do
    if action.name == name then
      show_action_help(session, action)
      found = true
    end
  end
  local command = commands[name:match("^%.?(.*)$")]
  if command then
    put_columns(session, { { command[1], command[2] } })
  end
  local f = name:match("^rsca%.([%w_]+)$") or name
  if help[f] and rsca[f] then
    put_columns(session, { { "rsca." .. f .. help[f][1], help[f][2] } })
  end
  if not found and not command and not (help[f] and rsca[f]) then
    session:complain("there is no command, action or function of that name: " .. name)
  end
end

-- ---- The rest ----

local function time_text(session, text)
  if text == "" then
    return misused(session, "time")
  end
  local f, problem = session.chunks:compile(text)
  if not f then
    return session:complain(problem)
  end
  local began, cpu_began
  local console = session.console
  session:evaluate(function()
    began, cpu_began = console.now(), os.clock()
    return f()
  end, function()
    session:say(("%.6f s, %.6f s of them computing\n"):format(console.now() - began, os.clock() - cpu_began))
  end)
end

local function quit(session)
  session:leave()
end

commands.actions = { ".actions [TEXT]", "the actions, or those with TEXT in their name", show_actions }
commands.run = { ".run NAME [ARGS]", "runs an action and shows its result", run_action }
commands.watch = { ".watch NAME [ARGS]", "shows every response of an action, until it ends", watch_action }
commands.running = { ".running [ID]", "what is in flight, by number; or one call, and where it is", show_running }
commands.cancel = { ".cancel ID [GRACE]", "ends what has that number, at the latest after GRACE seconds", cancel_call }
commands.load = { ".load FILE", "runs a script; again, its actions replace those that it had", load_file }
commands.help = { ".help [NAME]", "this, or about a command, an action or a function of rsca", show_help }
commands.time = { ".time EXPR", "evaluates EXPR and tells how long that takes", time_text }
commands.quit = { ".quit", "leaves", quit }

-- Their names, in the order of the help.
M.names = ORDER

-- Carries out a line that begins with a dot.
function M.run(session, line)
  local name, rest = line:match("^%s*%.(%a+)%s*(.-)%s*$")
  local command = name and commands[name]
  if not command then
    return session:complain("no such command: " .. line:match("^%s*(%S*)") .. " (.help tells which there are)")
  end
  local good, problem = pcall(command[3], session, rest)
  if not good then
    -- What is wrong with an argument is said without where in here that was found.
    session:complain(type(problem) == "string" and problem:match("bad argument #%d+ to %S+ %((.*)%)$") or problem)
  end
end

-- Whether a line is a command, and no Lua.
function M.is_command(line)
  return line:find("^%s*%.%a") ~= nil
end

return M
