-- luacheck: globals counter
--
-- A program that opens a prompt, twice, and tells what came of it.
-- usage: host.lua OPTIONS [signal]     (OPTIONS: an expression, for rsca.repl)

local rsca = require "rsca"

rsca.register("hosted", { help = "an action of the host's" }, function(args)
  return "hosted " .. args
end)

dofile("actions.lua")

local options = load("return " .. arg[1])()
counter = 1
print("first", rsca.repl(options))
counter = counter + 1
print("second", rsca.repl(options))
-- What goes on goes on.
local good, problem = pcall(rsca.spawn, rsca.repl)
assert(good, problem)
rsca.on_error = function(err)
  print(err.message)
end
rsca.step()
-- Signals are whose they were.
if arg[2] == "signal" then
  io.popen("kill -s INT $PPID"):close()
  rsca.sleep(60)
end
