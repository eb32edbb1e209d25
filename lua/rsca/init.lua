-- rsca: run-time status and control, scripted in Lua.
--
-- The C half is the module. What is better said in Lua (rsca.adapter, rsca.repl) it loads when that is called first.

return require "rsca.core"
