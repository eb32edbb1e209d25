-- Results that arrive while somebody types: those of requests, subscriptions and iterators, each shown when it comes.
--
-- What is shown begins with the number of its call, as in "[3] uptime: 5034.27"; .cancel takes that number.

local _ENV = require "rsca.repl.globals"
local rsca = require "rsca"
local print_ = require "rsca.repl.print"

local M = {}

local MOST = 20000 -- bytes of a response

-- ---- What the session knows of calls that it has been asked to show ----

local function begin(session, id, name)
  local call = { id = id, action = name }
  session.live[call] = true
  session.live_count = session.live_count + 1
  return call
end

local function finish(session, call)
  if session.live[call] then
    session.live[call] = nil
    session.live_count = session.live_count - 1
  end
end

-- ---- Lines ----

local function label(session, call)
  return session:paint(("[%d]"):format(call.id), "dim") .. (call.action and " " .. print_.plain(call.action) or "")
end

local function text_of(response)
  if response == "" then
    return "(nothing)"
  end
  local kept, rest = print_.cut(response, MOST)
  local text = print_.plain(kept:gsub("\r?\n$", "", 1)) .. rest
  return text:find("\n") and "\n" .. text or text
end

local function show_response(session, call, response, status)
  local text = text_of(response)
  if status and status ~= rsca.status.S_OK then
    text = text .. " (" .. (rsca.describe(status):match("^%S+")) .. ")"
  end
  call.shown = true
  session:say(label(session, call) .. ":" .. (text:find("^\n") and "" or " ") .. text .. "\n")
end

-- How a call ended that did not go well. What somebody has cancelled has not failed.
local function show_failure(session, call, err)
  local text = label(session, call) .. ": "
  if err.status == rsca.status.ERROR_CANCELLED then
    session:say(text .. session:paint("cancelled", "dim") .. "\n")
  else
    session:complain(err, text)
  end
end

-- As an rsca.error, what a handler is told.
local function error_of(status, response)
  local message, traceback = response:match("^(.-)\n(stack traceback:\n.*)$")
  local name = rsca.describe(status):match("^%S+"):gsub(":$", "")
  return setmetatable({ status = status, name = name, message = message or response, traceback = traceback }, {
    __tostring = function(err)
      return ("%s (%s)"):format(err.message ~= "" and err.message or "failed without a message", err.name)
    end,
  })
end

-- ---- Showing ----

-- "call 3 of 'slow'", as requests and subscriptions call themselves.
local function call_of(object)
  local text = tostring(object)
  return object.id, text:match(" of '(.*)'")
end

-- The name of an action that is on its way, if the manager can tell.
local function action_of(session, id)
  for _, call in ipairs(session:running()) do
    if call.id == id then
      return call.action
    end
  end
end

-- Awaits a request in the background and shows its result: what is known of its call.
function M.await(session, request)
  if session.awaited[request] then
    return
  end
  session.awaited[request] = true
  local id, name = call_of(request)
  local call = begin(session, id, name)
  rsca.spawn(function()
    local response, status_or_err = request:await()
    session.awaited[request] = nil
    finish(session, call)
    if session.left then
      return
    elseif response then
      show_response(session, call, response, status_or_err)
    else
      show_failure(session, call, status_or_err)
    end
  end)
  return call
end

-- One report of a registration.
local function show_report(session, call, status, response, final)
  if final then
    finish(session, call)
  end
  if session.left then
    return
  elseif not final then
    show_response(session, call, response, status)
  elseif rsca.failed(status) then
    show_failure(session, call, error_of(status, response))
  else
    session:say(label(session, call) .. ": " .. session:paint("ended", "dim") .. "\n")
  end
end

-- Subscribes, and shows what comes: the subscription and what is known of its call, or nil, err.
function M.watch(session, name, args)
  local call
  local subscription, err = session.manager:subscribe(name, args, function(status, response, final)
    show_report(session, call, status, response, final)
  end)
  if subscription then
    call = begin(session, subscription.id, name)
  end
  return subscription or nil, call or err
end

local function call_handler(handler, ...)
  if type(handler) == "table" then
    return handler:ReportResult(...)
  end
  return handler(...)
end

-- Shows what comes to a subscription, unless its own handler prints something itself. Where nobody looks on, the
-- handler is enough.
function M.tap(session, subscription)
  if session.awaited[subscription] then
    return
  end
  session.awaited[subscription] = true
  local id = subscription.id
  local call = begin(session, id, action_of(session, id))
  local tapped = session.console.tap(subscription, function(handler)
    return function(status, response, final)
      local before = session.console.written()
      local answer = call_handler(handler, status, response, final)
      if session.interactive and (final or session.console.written() == before) then
        show_report(session, call, status, response, final)
      elseif final then
        finish(session, call)
      end
      return answer
    end
  end)
  if not tapped then
    finish(session, call)
  end
end

-- Runs through what rsca.responses gave, and shows it.
function M.follow(session, next_response, subscription)
  local call = begin(session, subscription.id, action_of(session, subscription.id))
  rsca.spawn(function()
    local good, err = pcall(function()
      for response in next_response, nil, nil, subscription do
        if not session.left then
          show_response(session, call, response)
        end
      end
    end)
    finish(session, call)
    if session.left then
      return
    elseif good then
      session:say(label(session, call) .. ": " .. session:paint("ended", "dim") .. "\n")
    elseif type(err) == "table" then
      show_failure(session, call, err)
    else
      session:complain(err, label(session, call) .. ": ")
    end
  end)
end

-- ---- What a chunk has given back ----

-- Whether the values are those of rsca.responses.
function M.is_iterator(session, values)
  return values.n == 4 and type(values[1]) == "function" and session.console.kind(values[4]) == "subscription"
end

-- Begins to show what they stand for.
function M.begin(session, values)
  if M.is_iterator(session, values) then
    M.follow(session, values[1], values[4])
    return
  end
  for i = 1, values.n do
    local kind = session.console.kind(values[i])
    if kind == "request" then
      M.await(session, values[i])
    elseif kind == "subscription" then
      M.tap(session, values[i])
    end
  end
end

return M
