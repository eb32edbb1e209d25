---@meta rsca.adapter.prosody
-- luacheck: ignore 212
--
-- What require "rsca.adapter.prosody" gives, in a module of Prosody.

---rsca in Prosody. Once started, Prosody's loop runs what is due. In what util.async runs call, await, sleep and
---responses give way to the loop; elsewhere they raise. What is queued while modules are loaded is kept when Prosody
---becomes a daemon.
---@class rsca.adapter.prosody
local adapter = {}

---Joins Prosody's loop. May be said again, by other modules too. Raises if the state has another adapter.
---@return rsca.adapter.prosody adapter
function adapter.start() end

---Leaves the loop, for all modules. What waits goes on when it is started again. Harmless when said again.
function adapter.stop() end

return adapter
