-- rsca: run-time status and control, scripted in Lua.
--
-- The C half, rsca.core, is the module table; this adds what is better said in Lua.

local rsca = require "rsca.core"

local levels = { error = true, warning = true, info = true, debug = true }

-- Hands a message to the hook rsca.on_log(level, message); without a hook it goes nowhere: a library doesn't print.
function rsca.log(level, message)
  if not levels[level] then
    error(("bad argument #1 to 'log' ('error', 'warning', 'info' or 'debug' expected, got %s)"):format(
      type(level) == "string" and ("%q"):format(level) or type(level)), 2)
  end
  local hook = rsca.on_log
  if hook then
    hook(level, tostring(message))
  end
end

-- Opens a prompt on standard input and standard output: whether all went well.
function rsca.repl(options)
  return require "rsca.repl".run(options)
end

return rsca
