-- The prompt: reads lines, runs them, and shows results whenever they arrive.
--
-- The main loop waits for input and for work at once, outside of any step. A chunk runs as the action of a manager of
-- its own, so it may wait as any action does, and is cancelled like one. What a step writes while a prompt is on the
-- screen is held back until it is over; then the prompt is taken away, that is written, and the prompt put back.

local _ENV = require "rsca.repl.globals"
local rsca = require "rsca.core"
local chunks = require "rsca.repl.chunk"
local commands = require "rsca.repl.commands"
local complete = require "rsca.repl.complete"
local console = require "rsca.repl.console"
local lines = require "rsca.repl.lines"
local live = require "rsca.repl.live"
local option_ = require "rsca.repl.options"
local print_ = require "rsca.repl.print"
local scripts = require "rsca.repl.scripts"
local trace = require "rsca.repl.trace"

local M = {}

local Session = {}
Session.__index = Session

local MOST_RESULTS = 9

-- ---- Saying things ----

function Session.say(_, text)
  console.say(text)
end

-- `style` is one of rsca.repl.print.
function Session:paint(text, style)
  return print_.paint(text, style, self.colour)
end

-- A remark, for people only.
function Session:note(text)
  if self.interactive then
    self:say(self:paint(text, "dim") .. "\n")
  end
end

local function text_of(problem)
  local metatable = debug and debug.getmetatable and debug.getmetatable(problem)
  if type(problem) == "string" then
    return print_.plain(problem)
  elseif type(metatable) == "table" and rawget(metatable, "__tostring") then
    local good, text = pcall(tostring, problem)
    return good and print_.plain(text) or "an error whose __tostring raises"
  end
  return print_.value(problem)
end

-- Something went wrong: an error value, or a text. `before` stands in front of it.
function Session:complain(problem, before, traceback)
  self.failed = true
  traceback = traceback or type(problem) == "table" and rawget(problem, "traceback")
  local text = (before or "") .. self:paint(text_of(problem), "error") .. "\n"
  if type(traceback) == "string" then
    text = text .. print_.plain(traceback) .. "\n"
  end
  console.say(text, not self.interactive)
end

-- ---- Running ----

-- Runs what is due; what that writes goes above the prompt.
function Session:step()
  console.step(rsca.step, self.shown)
  if self.shown and console.held() then
    self.terminal.hide()
    console.flush(true)
    self.terminal.show()
  end
end

-- One round without input: whether Ctrl-C was pressed.
function Session:wait()
  local timeout = rsca.timeout()
  if timeout ~= 0 then -- what a chunk has written is looked at now; a line that it leaves open at its end is closed
    console.flush()
  end
  local _, interrupted, event = console.wait(false, rsca.fd(), timeout)
  self.left = self.left or event == "unheard"
  self.pressed = self.pressed or interrupted
  self:step()
  return interrupted
end

-- What xpcall gave. What is made to stop raises something else, which goes on here: who called tells of it.
function Session:complain_raised(raised)
  if trace.is_raised(raised) then
    self:complain(raised.problem, nil, raised.traceback)
  else
    error(raised, 0)
  end
end

-- Runs f() on a coroutine of its own until it has ended, or Ctrl-C has ended it.
function Session:execute(f)
  local ended = false
  self.job, self.pressed = f, false
  local id, err = self.runner:run("chunk", "", function(status, response)
    ended = true
    if rsca.failed(status) then
      local message, traceback = response:match("^(.-)\n(stack traceback:\n.*)$")
      local problem = self.pressed and "interrupted" or message or response
      self:complain(problem, nil, traceback and trace.above_prompt(traceback))
    end
  end)
  if not id then
    return self:complain(err)
  end
  while not ended do
    if self:wait() then
      self.queue = {} -- of what was pasted
      self.runner:cancel(id)
    end
  end
end

-- Keeps the values of a chunk: _1, _2, ...
function Session:remember_results(values)
  local results = table.move(self.results, 1, self.results.n, values.n + 1, table.move(values, 1, values.n, 1, {}))
  results.n = math.max(values.n, math.min(MOST_RESULTS, values.n + self.results.n))
  for i = 1, results.n do
    self.chunks:set("_" .. i, results[i])
  end
  self.results = results
end

-- As text: in one line, unless one of them takes more.
function Session:text_of(values)
  local texts, in_lines = {}, false
  local options = { width = self.interactive and console.columns() or 80, colour = self.colour }
  for i = 1, values.n do
    local value = values[i]
    texts[i] = print_.value(value, options)
    local traceback = type(value) == "table" and rawget(value, "traceback")
    if i == 2 and values[1] == nil and type(traceback) == "string" then -- nil, err
      texts[i] = texts[i] .. "\n" .. print_.plain(traceback)
    end
    in_lines = in_lines or texts[i]:find("\n") ~= nil
  end
  return table.concat(texts, in_lines and "\n" or "\t")
end

function Session:show_results(values)
  if values.n == 0 then
    return
  end
  local shown = live.is_iterator(self, values) and { n = 1, values[4] } or values
  self:remember_results(shown)
  self:say(self:text_of(shown) .. "\n")
  live.begin(self, values)
end

-- Runs what was compiled and shows what it gives; then calls `after`.
function Session:evaluate(f, after)
  self:execute(function()
    console.chunk((coroutine.running()))
    local values = table.pack(xpcall(f, trace.explain))
    if console.interrupted() then
      return -- what it has come to after that is nobody's business
    elseif values[1] then
      self:show_results(table.pack(table.unpack(values, 2, values.n)))
    else
      self:complain_raised(values[2])
    end
    if after then
      after()
    end
  end)
  console.chunk()
end

-- Runs a script, here and not on a coroutine, so that all of it works as it does elsewhere, rsca.loop too. Whether it
-- went well.
function Session:run_file(file)
  local main, problem = loadfile(file, "t", self.chunks.env)
  if not main then
    self:complain(problem)
    return false
  end
  local ran, good, failure = pcall(console.run, function()
    return xpcall(main, trace.explain, file)
  end)
  local _, pressed = console.wait(false, -1, 0)
  if pressed then
    self:complain("interrupted")
  elseif not ran or not good then
    self:complain_raised(ran and failure or good)
  end
  return ran and good and not pressed
end

-- The same for a script whose actions replace those of its last run: see rsca.repl.scripts.
function Session:load(file)
  return scripts.load(self, file, function()
    return self:run_file(file)
  end)
end

-- ---- Lines ----

-- Carries out one line.
function Session:take(line)
  if not self.text and commands.is_command(line) then
    self.terminal.remember(line)
    commands.run(self, line)
    return
  end
  local text = self.text and self.text .. "\n" .. line or line
  if not text:find("%S") then
    return
  end
  local f, problem, cut = self.chunks:compile(text)
  self.text = cut and text or nil
  if f then
    self.terminal.remember(text)
    self:evaluate(f)
  elseif not cut then
    self.terminal.remember(text)
    self:complain(problem)
  end
end

-- The input has ended inside of a chunk.
function Session:give_up_text()
  local _, problem = self.chunks:compile(self.text)
  self.text = nil
  self:complain(problem)
end

-- ---- The loop ----

function Session:show_prompt()
  if self.interactive then
    console.flush(true)
    console.buffer(true)
  end
  self.terminal.prompt(self.text and ">> " or "> ")
  self.shown = self.interactive
end

function Session:hide_prompt()
  self.shown = false
  if self.interactive then
    console.buffer(false)
  end
end

-- Input has come.
function Session:read()
  local line = self.terminal.read()
  if line == nil then
    return
  end
  self:hide_prompt()
  self.prompted = false
  if line == false then
    self.ended = true
    return
  end
  for part in (line .. "\n"):gmatch("(.-)\n") do
    self.queue[#self.queue + 1] = part
  end
end

-- Ctrl-C at the prompt.
function Session:discard()
  local typed = self.terminal.discard() or self.text
  self:hide_prompt()
  self.prompted = false
  self.text = nil
  if not typed then
    self:note("Ctrl-D or .quit leaves")
  end
end

function Session:listen()
  if not self.prompted then
    self:show_prompt()
    self.prompted = true
  end
  if not self.interactive then
    console.flush() -- somebody may wait for it, to write the next line
  end
  local input, interrupted, event = console.wait(true, rsca.fd(), rsca.timeout())
  if event == "resized" then
    self.terminal.resize()
  elseif event == "continued" then
    self.terminal.show()
  end
  self.left = self.left or event == "unheard"
  if interrupted then
    self:discard()
  elseif input then
    self:read()
  end
  self:step()
end

-- What is in flight in the manager.
function Session:running()
  return self.manager:running() or {}
end

-- The loop ends; says what does not.
function Session:leave()
  if self.interactive and #self:running() > 0 then
    self:note("still running:")
    commands.show_running(self)
  end
  self.left = true
end

-- That was all of the input. Where nobody types, what was asked for is waited for.
function Session:finish()
  if self.text then
    self:give_up_text()
    self.ended = not self.interactive
    return
  end
  if self.interactive then
    self:say("\n")
  else
    while self.live_count > 0 and not self.left and not rsca.loop(0) do
      self:wait()
    end
  end
  self:leave()
end

function Session:loop()
  while not self.left do
    if #self.queue > 0 then
      self:take(table.remove(self.queue, 1))
    elseif self.ended then
      self:finish()
    else
      self:listen()
    end
  end
end

-- ---- Opening ----

local function open_terminal(session, options)
  -- The program rsca has one with a line editor.
  local editor = session.interactive and package.preload["rsca.repl.editor"] and require "rsca.repl.editor"
  local terminal = editor or lines.new(console, session.interactive)
  terminal.open {
    history = option_.history(options),
    breaks = complete.breaks,
    complete = function(line, word)
      return complete.complete(session, line, word)
    end,
  }
  return terminal
end

local function new_session(options, interactive)
  local session = setmetatable({
    console = console, interactive = interactive, colour = interactive and option_.wants_colour(),
    manager = options.manager or rsca.own_manager(), runner = assert(rsca.manager()),
    chunks = chunks.new(options.env or _G), results = { n = 0 }, queue = {}, scripts = {},
    live = {}, live_count = 0, awaited = setmetatable({}, { __mode = "k" }), failed = false,
  }, Session)
  session.runner:register("chunk", function()
    local job = session.job
    session.job = nil
    job()
  end)
  session.chunks:set("rsca", require "rsca")
  return session
end

-- Errors of callbacks and log messages are shown, unless the script has hooks of its own.
local function hook_up(session)
  local on_error, on_log = rsca.on_error, rsca.on_log
  local function show_error(err)
    session:complain(err, "in the background: ")
  end
  local function show_message(level, message)
    session:note(level .. ": " .. print_.plain(message))
  end
  rsca.on_error = show_error
  rsca.on_log = on_log or show_message
  return setmetatable({}, {
    __close = function()
      if rsca.on_error == show_error then
        rsca.on_error = on_error
      end
      if rsca.on_log == show_message then
        rsca.on_log = nil
      end
    end,
  })
end

local function greet(session, options)
  if options.greeting then
    session:note(print_.plain(options.greeting))
  elseif options.greeting == nil then
    session:note(("%s, %s; .help tells more, Ctrl-D leaves"):format(rsca._VERSION, _VERSION))
  end
end

-- Everything as it was; a terminal that can't be closed is no reason to leave the rest.
local function closing(session)
  return setmetatable({}, {
    __close = function()
      session.left = true
      session:hide_prompt()
      session.terminal.close()
      console.flush()
      session.runner:close()
    end,
  })
end

-- What rsca.repl(options) calls: true, or false where something has gone wrong and nobody was there to see it.
function M.run(options)
  options = options == nil and {} or options
  local wrong = option_.check(options)
  if wrong then
    error(wrong, 3)
  end
  local interactive = console.is_terminal(0) and console.is_terminal(1)
  local opened <close>, problem = console.open(interactive)
  if not opened then
    error(problem, 3)
  end
  if interactive then
    rsca.guard()
    _ENV.xpcall = _G.xpcall -- it is another one now
    console.interruptible()
  end
  local session = new_session(options, interactive)
  local _ <close> = hook_up(session)
  session.terminal = open_terminal(session, options)
  local _ <close> = closing(session)
  greet(session, options)
  for _, file in ipairs(options.scripts or {}) do
    if not session:load(file) and not interactive then
      return false
    end
  end
  session:loop()
  return interactive or not session.failed
end

return M
