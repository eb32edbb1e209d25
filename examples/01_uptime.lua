-- The smallest script: an action is a function with a name, and a call asks for it by that name and waits for
-- its answer. A call that fails gives nil and an error, so assert suits it as it suits io.open.

local rsca = require "rsca"

rsca.register("uptime", function()
  local file <close> = assert(io.open("/proc/uptime"))
  return file:read("n") .. " seconds since boot"
end)

print(assert(rsca.call("uptime")))
