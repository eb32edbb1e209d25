-- A call on one thread, from the caller to the callback, against a bare protected call of the same function.

local bench = require "bench.bench"
local caller = require "bench.caller"
local path = require "bench.path"
local rsca = require "rsca"

rsca.guard() -- as the states of a pool are: coroutines are used again

local text = path.text

local function echo(args)
  return args
end

assert(rsca.register("echo", echo))
path.register_native("native")

-- Two managers beside the state's own, one of them with a time limit that is never due.
local unlimited = path.manager(0xFFFFFFFF)
local limited = path.manager(24 * 3600 * 1000)
assert(unlimited:register("echo", echo))
assert(limited:register("echo", echo))

local function run_lua(in_flight)
  return function(n)
    caller.fly(n, in_flight, #text, "echo", text, rsca.run, rsca.step)
  end
end

-- What a script can do without rsca.
local function run_by_hand(_, args, handler)
  local good, response = pcall(echo, args)
  handler(good and 0 or 1, response, true)
  return true
end

local of = bench.rounds {
  instructions = true,
  { "bare", function(n) path.bare(n, echo) end },
  { "bare, one", function(n) path.bare_one(n, echo) end },
  { "bare, distinct", function(n) path.bare_distinct(n, echo) end },
  { "C, 1", function(n) path.run(n, 1) end },
  { "C, 1024", function(n) path.run(n, 1024) end, unit = 1024 },
  { "interface, 1024", function(n) path.run_interface(n, 1024) end, unit = 1024 },
  { "C distinct, 1024", function(n) path.run_distinct(n, 1024) end, unit = 1024 },
  { "unlimited, 1024", function(n) path.run(n, 1024, "echo", nil, unlimited) end, unit = 1024 },
  { "limited, 1024", function(n) path.run(n, 1024, "echo", nil, limited) end, unit = 1024 },
  { "native, 1024", function(n) path.run(n, 1024, "native") end, unit = 1024 },
  { "by hand", function(n) caller.fly(n, 1, #text, "echo", text, run_by_hand) end },
  { "Lua, 1", run_lua(1) },
  { "Lua, 1024", run_lua(1024), unit = 1024 },
}

local function row(what, sample, at_most, baseline)
  bench.row { what, sample, than = baseline or of.bare, called = "bare", at_most = at_most }
end

bench.row { "bare lua_pcall of a Lua function, two strings", of.bare }
row("the same with one string", of["bare, one"])
row("the same with two distinct strings each time", of["bare, distinct"])
row("C caller → Lua action → C callback, one at a time", of["C, 1"], 1.4)
row("the same, 1024 in flight", of["C, 1024"], 1.4)
row("the same by RunCustomAction, in UTF-16", of["interface, 1024"], 1.4)
row("the same with distinct arguments, against bare with distinct ones", of["C distinct, 1024"], 1.3,
  of["bare, distinct"])
row("C caller → C action → C callback, 1024 in flight", of["native, 1024"])
row("Lua caller → Lua action → Lua handler, one at a time", of["Lua, 1"], 2.8)
row("the same, 1024 in flight", of["Lua, 1024"], 2.3)
row("by hand: the same loop in Lua around pcall and the handler, at once", of["by hand"])
row("an action that may yield: the Lua action less the C action", bench.combine(function(lua, native)
  return lua - native
end, of["C, 1024"], of["native, 1024"]), 1.05)
bench.row { "C caller → Lua action → C callback, a time limit that is not due", of["limited, 1024"],
  than = of["unlimited, 1024"], called = "none", at_most = 1.02 }
