-- Redis, which runs functions in Lua for whoever connects: FCALL of one that answers with its argument, over a unix
-- socket, measured by its own redis-benchmark.

local bench = require "bench.bench"
local caller = require "bench.caller"
local path = require "bench.path"
local process = require "bench.process"
local rsca = require "rsca"

rsca.guard() -- as the states of a pool are: coroutines are used again

local text = path.text

local function echo(args)
  return args
end
assert(rsca.register("echo", echo))

-- ---- The server ----

local scratch <close> = bench.directory()
local socket = scratch.path .. "/socket"
local server <close> = process.start("redis-server", "--port", "0", "--unixsocket", socket, "--save", "",
  "--appendonly", "no", "--dir", scratch.path, "--daemonize", "no")

local function output(command)
  local pipe <close> = assert(io.popen(command .. " 2>&1"))
  return pipe:read("a")
end

local function client(rest)
  return output(("redis-cli -s %s %s"):format(socket, rest))
end

-- It is there when it answers.
repeat
  assert(server:running(), "redis-server has ended")
until client("PING"):match("^PONG")

local library = scratch.path .. "/library"
do
  local file <close> = assert(io.open(library, "w"))
  file:write("#!lua name=bench\nredis.register_function('echo', function(keys, args) return args[1] end)\n")
end
local loaded = output(("redis-cli -s %s -x FUNCTION LOAD < %s"):format(socket, library))
assert(loaded:match("^bench"), loaded)
local answer = client(("FCALL echo 0 '%s'"):format(text))
assert(answer:match("^sixteen letters!"), answer)

-- ---- Rounds ----

-- One sample of redis-benchmark: ns per call.
local function measured(clients, pipeline, n)
  local command = ("redis-benchmark -s %s -c %d -P %d -n %d --csv FCALL echo 0 '%s'"):format(socket, clients, pipeline,
    n, text)
  local lines = output(command)
  local per_second = lines:match('\n"[^\n]-","([%d.]+)"')
  return 1e9 / assert(tonumber(per_second), lines)
end

local settings = { { 1, 1 }, { 1, 64 }, { 1, 256 }, { 4, 64 }, { 4, 256 }, { 16, 256 } }
local subjects = {
  { "bare", function(n) path.bare(n, echo) end },
  { "C", function(n) path.run(n, 64) end, unit = 64 },
  { "Lua", function(n) caller.fly(n, 64, #text, "echo", text, rsca.run, rsca.step) end, unit = 64 },
}
for _, setting in ipairs(settings) do
  local clients, pipeline = table.unpack(setting)
  local count = bench.size(pipeline == 1 and 5000 or 100000, 512)
  subjects[#subjects + 1] = { clients .. ", " .. pipeline, sample = function()
    return measured(clients, pipeline, count)
  end }
end
local of = bench.rounds(subjects)

local best = of["1, 64"]
local best_setting
for _, setting in ipairs(settings) do
  local sample = of[setting[1] .. ", " .. setting[2]]
  if bench.median(sample) <= bench.median(best) then
    best, best_setting = sample, setting
  end
end

bench.row { "Redis FCALL, unix socket, one at a time", of["1, 1"], than = of.bare, called = "bare" }
bench.row { "Redis FCALL, a pipeline of 64", of["1, 64"], than = of.bare, called = "bare" }
bench.row { ("Redis FCALL at its best: %d clients, a pipeline of %d"):format(best_setting[1], best_setting[2]), best,
  than = of.bare, called = "bare" }
bench.row { "C → Lua → C, one thread, 64 in flight, against Redis, 64", of.C, than = of["1, 64"],
  called = "Redis", faster = true }
bench.row { "Lua → Lua → Lua, one thread, 64 in flight, against the same", of.Lua, than = of["1, 64"], called = "Redis",
  faster = true }
