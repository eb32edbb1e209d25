-- What others take to have a function run on a thread of a pool, and its result brought back: luv, a Lua function to a
-- Lua callback, and libuv below it, an empty C function to a C callback.
--
-- The size of their pool is settled at its first use: this program runs itself again for another one.

local bench = require "bench.bench"
local caller = require "bench.caller"
local core = require "bench.core"
local path = require "bench.path"

local size = ... or "1"
core.setenv("UV_THREADPOOL_SIZE", size)
local luv = require "luv"
local uv = require "bench.uv"

local text = path.text

local function echo(args)
  return args
end

-- luv has one callback for all calls of a function.
local callback
local context = luv.new_work(echo, function(response)
  callback(0, response)
end)

local function run(_, args, handler)
  callback = handler
  return luv.queue_work(context, args)
end

local function step()
  luv.run("once")
end

local function with_luv(in_flight)
  return function(n)
    caller.fly(n, in_flight, #text, "luv", text, run, step)
  end
end

local function with_libuv(in_flight)
  return function(n)
    uv.run(n, in_flight)
  end
end

local of = bench.rounds {
  { "bare", function(n) path.bare(n, echo) end },
  { "luv, 1", with_luv(1) },
  { "luv, 64", with_luv(64), unit = 64 },
  { "luv, 1024", with_luv(1024), unit = 1024 },
  { "libuv, 1", with_libuv(1) },
  { "libuv, 1024", with_libuv(1024), unit = 1024 },
}

local threads = size == "1" and ", a pool of 1" or ", a pool of " .. size
for _, row in ipairs {
  { "luv queue_work" .. threads .. ", one at a time", "luv, 1" },
  { "luv queue_work" .. threads .. ", 64 in flight", "luv, 64" },
  { "luv queue_work" .. threads .. ", 1024 in flight", "luv, 1024" },
  { "libuv uv_queue_work, no Lua" .. threads .. ", one at a time", "libuv, 1" },
  { "libuv uv_queue_work, no Lua" .. threads .. ", 1024 in flight", "libuv, 1024" },
} do
  bench.row { row[1], of[row[2]], than = of.bare, called = "bare" }
end

if not ... then
  bench.again("4")
end
