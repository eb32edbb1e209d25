-- What the prompt offers where the cursor is.

local T = require "lua.support"
local rsca = require "rsca"
local chunks = require "rsca.repl.chunk"
local complete = require "rsca.repl.complete"

rsca.register("uptime", function() end)
rsca.register("upper.case", function() end)
rsca.register("with space", function() end)

local env = setmetatable({}, { __index = _G })
local session = { manager = rsca.own_manager(), chunks = chunks.new(env) }
function session.running()
  return { { id = 12 }, { id = 13 } }
end
session.chunks:set("rsca", rsca)
session.chunks:set("own", { field = { deep = 1 }, method = print, ["no name"] = 1, __hidden = 1 })
session.chunks:set("request", rsca.run("uptime"))
env.thing = 1

-- The candidates at the end of a line, as one text; the word is what the breaks make of it.
local function offered(line)
  local breaks = complete.breaks(line)
  local at = #line
  while at > 0 and not breaks:find(line:sub(at, at), 1, true) do
    at = at - 1
  end
  local list = complete.complete(session, line, line:sub(at + 1))
  return list and table.concat(list, " ")
end

T.test("commands", function()
  T.equal(offered ".ru", ".run .running")
  T.equal(offered "  .q", ".quit")
  T.truthy(offered("."):find(".help", 1, true))
  T.equal(offered ".nonsense", "")
end)

T.test("names of actions", function()
  T.equal(offered ".run up", "upper.case uptime")
  T.equal(offered ".watch upt", "uptime")
  T.equal(offered ".run uptime up", "")
  T.equal(offered 'rsca.call("upt', "uptime")
  T.equal(offered "rsca.run 'upper.c", "upper.case")
  T.equal(offered 'rsca.call("with s', "with space")
  T.equal(offered 'local r <const> = rsca.responses("up', "upper.case uptime")
end)

T.test("what the other commands take", function()
  T.equal(offered ".help upt", "uptime")
  T.equal(offered ".help rsca.cal", "rsca.call")
  T.equal(offered ".help runn", "running")
  T.equal(offered ".cancel 1", "12 13")
  T.equal(offered ".load fi", nil)
  T.equal(offered ".time own.fie", "own.field")
  T.equal(offered ".actions x", "")
end)

T.test("Lua: globals, locals, keywords, fields, methods", function()
  T.equal(offered "thi", "thing")
  T.equal(offered "x = own.f", "own.field")
  T.equal(offered "print(own.field.de", "own.field.deep")
  T.equal(offered "own:me", "own:method")
  T.equal(offered "own:fi", "")
  T.equal(offered "own.", "own.field own.method")
  T.equal(offered "ret", "return")
  T.equal(offered "setmeta", "setmetatable")
  T.equal(offered "request:", "request:await request:cancel")
  T.truthy(offered("rsca.own_manager"):find("rsca.own_manager", 1, true))
  T.equal(offered "nothing.at.a", "")
  T.equal(offered "own.field.deep.x", "")
  T.equal(offered "f().x", "")
  T.equal(offered "'text'.x", "")
end)

T.test("methods of strings and of managers", function()
  session.chunks:set("text", "text")
  session.chunks:set("m", rsca.own_manager())
  T.equal(offered "text:rev", "text:reverse")
  T.truthy(offered("m:"):find("m:subscribe", 1, true))
end)

T.test("in strings that name no action there are files", function()
  T.equal(offered 'io.open("some', nil)
  T.equal(offered 'x = "', nil)
end)

T.test("nothing of the script's is called", function()
  env.hostile = setmetatable({}, { __index = function() error("called") end, __pairs = error })
  local parent = setmetatable({ inherited = 1 }, { __index = env.hostile })
  session.chunks:set("chain", setmetatable({}, { __index = parent }))
  T.equal(offered "hostile.x", "")
  T.equal(offered "hostile.x.y", "")
  T.equal(offered "chain.inh", "chain.inherited")
  local circle = setmetatable({}, {})
  getmetatable(circle).__index = circle
  session.chunks:set("circle", circle)
  T.equal(offered "circle.x", "")
end)

T.test("every function of the module has its line of help, and nothing else has", function()
  local help = require "rsca.repl.help"
  for name, value in pairs(rsca) do
    if type(value) == "function" and not name:find("^on_") then
      T.equal(type(help[name]), "table", name)
    end
  end
  for name in pairs(help) do
    T.equal(type(rsca[name]), "function", name)
  end
end)

T.test("options that are none", function()
  T.raises("table expected, got number", rsca.repl, 5)
  T.raises("unknown option 'prompt' %(env, greeting, history, manager, scripts%)", rsca.repl, { prompt = ">" })
  T.raises("option 'scripts' must be a table", rsca.repl, { scripts = "x.lua" })
  T.raises("option 'scripts' must have names of files", rsca.repl, { scripts = { 5 } })
  T.raises("option 'history' must be a string", rsca.repl, { history = 5 })
  local closed = rsca.manager()
  closed:close()
  for _, manager in ipairs { {}, io.stdout, closed } do
    T.raises("option 'manager' must be a", rsca.repl, { manager = manager })
  end
end)

T.finish()
