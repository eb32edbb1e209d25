---@meta rsca.adapter.cqueues
-- luacheck: ignore 212
--
-- What require "rsca.adapter.cqueues" gives.

---rsca in a program whose loop is a controller of cqueues. Once started, a coroutine of the controller runs what is
---due. In the coroutines of any controller call, await, sleep and responses give way; where none runs, they block.
---@class rsca.adapter.cqueues
local adapter = {}

---Joins a controller. May be said again: for another controller, or, after cq:reset(), in the child of a fork. Raises
---if the state has another adapter.
---@param cq table a controller, as cqueues.new gives it
---@return rsca.adapter.cqueues adapter
function adapter.start(cq) end

---Leaves the controller, whose coroutine ends. What waits goes on when it is started again. Harmless when said again.
function adapter.stop() end

---As cq:loop(), for the controller of start, but returns when neither it nor rsca has anything left to do. cq:loop()
---does not return before stop.
---@param cq table
---@return boolean good false: what follows is the error of a coroutine, as cq:loop() gives it
---@return ... any
function adapter.loop(cq) end

return adapter
