-- Responses of several sizes: what they take, and how often they are copied. Bare is a pcall of the same action, and
-- for Lua one copy of its response and a pcall of the handler.
--
-- Copies are counted in a second run of this program, with a library preloaded that looks at every memcpy: see
-- copies.c.

local bench = require "bench.bench"
local caller = require "bench.caller"
local path = require "bench.path"
local process = require "bench.process"
local rsca = require "rsca"

rsca.guard() -- as the states of a pool are: coroutines are used again

local sizes = { { "16 B", 16 }, { "1 KiB", 1 << 10 }, { "64 KiB", 64 << 10 }, { "16 MiB", 16 << 20 } }
local mark = "response"

local actions, native, streams = {}, {}, {} -- by size: names
local functions = {}                        -- by size: what a Lua action is
for _, of in ipairs(sizes) do
  local name, size = of[1], of[2]
  local response = mark .. ("."):rep(size - #mark)
  functions[size] = function()
    return response
  end
  actions[size], native[size], streams[size] = "Lua " .. name, "C " .. name, "stream " .. name
  assert(rsca.register(actions[size], functions[size]))
  path.register_native(native[size], response)
  assert(rsca.register(streams[size], function(args, ctx)
    for _ = 1, args do
      assert(ctx:report(response))
    end
  end))
end

local function run_lua(name, size, n)
  caller.fly(n, 1, size, name, "", rsca.run, rsca.step)
end

local function stream_lua(name, size, n)
  caller.follow(n, size, name, tostring(n), rsca.subscribe, rsca.step)
end

-- By way: what is counted, and how many copies there may be.
local ways = {
  { "Lua action → Lua handler", 1, function(size) run_lua(actions[size], size, 1) end },
  { "C action → Lua handler", 1, function(size) run_lua(native[size], size, 1) end },
  { "Lua stream → Lua handler", 1, function(size) stream_lua(streams[size], size, 1) end },
  { "Lua action → C callback", 0, function(size) path.run(1, 1, actions[size], size) end },
  { "C action → C callback", 0, function(size) path.run(1, 1, native[size], size) end },
}

-- ---- The second run ----

local results = os.getenv("RSCA_BENCH_COPIES")
local library = arg[-1]:match("^.*/") .. "copies.so"
if results then
  local copies = assert(package.loadlib(library, "luaopen_copies"))()
  local file <close> = assert(io.open(results, "w"))
  for _, way in ipairs(ways) do
    for _, of in ipairs(sizes) do
      local size = of[2]
      way[3](size) -- what is kept for the next time is there from here on
      copies.watch(functions[size]())
      way[3](size)
      file:write(copies.count(), "\n")
    end
  end
  return
end

local function counted_copies()
  local scratch <close> = bench.directory()
  local path_of_counts = scratch.path .. "/copies"
  local child <close> = process.start("env", "LD_PRELOAD=" .. library, "RSCA_BENCH_COPIES=" .. path_of_counts,
    table.unpack(arg, -1))
  assert(child:wait() == 0, "the run that counts copies failed")
  local lines = io.lines(path_of_counts, "n")
  local counts = {}
  for i, _ in ipairs(ways) do
    counts[i] = {}
    for k, _ in ipairs(sizes) do
      counts[i][k] = math.tointeger(lines())
    end
  end
  return counts
end

-- ---- Rows ----

local function handler(_, response)
  return #response
end

local subjects = {}
local function subject(what, name, f)
  subjects[#subjects + 1] = { what .. name, f }
end
for _, of in ipairs(sizes) do
  local name, size = of[1], of[2]
  local action = functions[size]
  subject("bare to Lua, ", name, function(n) path.bare_response(n, action, size, handler) end)
  subject("bare to C, ", name, function(n) path.bare_response(n, action, size) end)
  subject("to Lua, ", name, function(n) run_lua(actions[size], size, n) end)
  subject("to C, ", name, function(n) path.run(n, 1, actions[size], size) end)
end
local of = bench.rounds(subjects)

for _, to in ipairs { "Lua", "C" } do
  for _, size in ipairs(sizes) do
    local bare = of["bare to " .. to .. ", " .. size[1]]
    local what = to == "Lua" and "Lua action → Lua handler, " or "Lua action → C callback, "
    bench.row { what .. size[1] .. ", one at a time", of["to " .. to .. ", " .. size[1]], than = bare, called = "bare" }
  end
end

local counts = counted_copies()
for i, way in ipairs(ways) do
  local most = math.max(table.unpack(counts[i]))
  bench.figure { "copies of a response, " .. way[1], most, at_most = way[2], show = function(n)
    return ("%d"):format(n)
  end, note = table.concat(counts[i], ", ") .. " by size" }
end
