-- rsca in a program whose loop is luv's (libuv).
--
--   local adapter = require("rsca.adapter.luv").start()
--
-- From then on luv's loop runs what is due. Callbacks of luv can't wait, so there one uses rsca.run with a callback, or
-- starts a coroutine with adapter.spawn or adapter.wrap: in those call, await, sleep and responses give way.

local uv = require "luv"
local rsca = require "rsca"

local adapter = {}

local BUDGET <const> = 100 -- pieces of work before the loop's other handles have their turn

local started = false
local poll, timer, watched                      -- nil: never started; of the descriptor `watched`
local ours = setmetatable({}, { __mode = "k" }) -- the coroutines that may wait
local ready = {}                                -- those whose wait is over, in order
local in_turn = false
local paused = false

-- What a coroutine raised goes where an error of rsca.spawn's goes.
local function report(co, problem)
  if type(problem) == "string" then
    problem = debug.traceback(co, problem)
  end
  rsca.spawn(error, problem, 0)
end

local function resume(co, ...)
  local good, problem = coroutine.resume(co, ...)
  if not good then
    report(co, problem)
  end
end

local function resume_ready()
  local now = ready
  ready = {}
  for _, co in ipairs(now) do
    if coroutine.status(co) == "suspended" then -- and not closed meanwhile
      resume(co)
    end
  end
end

local turn

-- Has the loop come back soon, also where it would have ended.
local function wake()
  if started and not in_turn then
    timer:ref()
    timer:start(0, 0, turn)
  end
end

-- What the loop waits for next, but for `least_ms`. It is kept alive while something is pending, and no longer.
local function prepare(least_ms)
  local seconds = #ready > 0 and 0 or rsca.timeout()
  if seconds then
    timer:start(math.max(least_ms, math.ceil(math.min(seconds, 1e9) * 1000)), 0, turn)
  else
    timer:stop()
  end
  local pending = #ready > 0 or not rsca.loop(0)
  for _, handle in ipairs { poll, timer } do
    if pending then
      handle:ref()
    else
      handle:unref()
    end
  end
end

function turn()
  if in_turn then -- a callback of ours runs the loop: what is due waits for its end
    poll:stop()
    paused = true
    return
  end
  in_turn = true
  rsca.step(BUDGET)
  in_turn = false
  resume_ready()
  if started then -- and has not been stopped meanwhile
    if paused then
      poll:start("r", turn)
      paused = false
    end
    prepare(1) -- a timer that is due at once, set by one that is, would keep the loop from everything else
  end
end

local function may_wait()
  local co, main = coroutine.running()
  if ours[co] then
    return true
  elseif not uv.loop_mode() then
    return false -- the loop does not run: there is nothing to hold up
  elseif main then
    return "in a callback of luv; use a callback of your own, or adapter.spawn"
  end
  return "in a coroutine that rsca.adapter.luv doesn't know; start it with adapter.spawn or adapter.wrap"
end

local function waiter()
  local co, over = coroutine.running(), false
  poll:ref() -- there is something to wait for
  return function()
    while not over do
      coroutine.yield()
    end
  end, function()
    over = true
    ready[#ready + 1] = co
    wake()
  end
end

-- Begins. In the child of a fork it is said again.
function adapter.start()
  if not started then
    rsca.set_adapter { name = "luv", may_wait = may_wait, waiter = waiter, pending = wake }
    started = true
  end
  local fd = assert(rsca.fd())
  if fd ~= watched then
    if poll then
      poll:close()
    end
    poll, watched = assert(uv.new_poll(fd)), fd
  end
  timer = timer or assert(uv.new_timer())
  poll:start("r", turn)
  wake() -- to look whether anything is pending
  return adapter
end

-- Lets go of the loop. What waits goes on when it is started again.
function adapter.stop()
  if started then
    started = false
    rsca.set_adapter(nil)
    -- Not closed: luv crashes where a program ends before its loop has seen to that.
    poll:stop()
    timer:stop()
  end
end

-- As coroutine.wrap, but f may wait: then the function returns, and the loop goes on with f later.
function adapter.wrap(f)
  local co = coroutine.create(f)
  ours[co] = true
  local function finish(good, ...)
    if not good then
      coroutine.close(co)
      error((...), 0)
    end
    return ...
  end
  return function(...)
    return finish(coroutine.resume(co, ...))
  end
end

-- Runs f(...) from the loop's next turn on, on a coroutine of its own, which may wait. An error goes to rsca.on_error.
function adapter.spawn(f, ...)
  assert(started, "rsca.adapter.luv has not been started")
  local arguments = table.pack(...)
  local co = coroutine.create(function()
    f(table.unpack(arguments, 1, arguments.n))
  end)
  ours[co] = true
  ready[#ready + 1] = co
  wake()
end

-- Runs luv's loop until neither it nor rsca has anything left to do.
function adapter.run()
  assert(started, "rsca.adapter.luv has not been started")
  repeat
    prepare(0)
    uv.run()
  until not started or #ready == 0 and rsca.loop(0) and not uv.loop_alive()
end

return adapter
