-- Actions for a program that embeds Lua: 09_embed_lua.c and 10_interfaces.cpp load this file. It speaks to the manager
-- of the state it is loaded in, whatever program that is. What the program itself offers comes in as globals.

local rsca = require "rsca"

local host = host or { name = "a program" } -- luacheck: globals host

rsca.register("uptime", { help = "seconds since boot" }, function()
  local file <close> = assert(io.open("/proc/uptime"))
  return file:read("n")
end)

rsca.register("host", { help = "what program this is" }, function()
  return ("%s, with %.0f KiB of Lua"):format(host.name, collectgarbage("count"))
end)

rsca.register("later", { help = "SECONDS: answers after them" }, function(args, ctx)
  local seconds = tonumber(args)
  if not seconds or seconds < 0 then
    return nil, "usage: SECONDS", rsca.status.E_INVALIDARG
  end
  assert(ctx:sleep(seconds))
  return ("%g s later"):format(seconds)
end)

rsca.register("broken", { help = "raises an error" }, function(args)
  return args.no.such.field
end)
