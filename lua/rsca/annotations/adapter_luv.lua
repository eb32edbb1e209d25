---@meta rsca.adapter.luv
-- luacheck: ignore 212
--
-- What require "rsca.adapter.luv" gives.

---rsca in a program whose loop is luv's. Once started, the loop runs what is due, and is kept alive while something is
---pending. In callbacks of luv nothing can wait; in coroutines of spawn and wrap call, await, sleep and responses give
---way to the loop. Where the loop does not run, they block.
---@class rsca.adapter.luv
local adapter = {}

---Joins luv's loop. May be said again, as in the child of a fork. Raises if the state has another adapter.
---@return rsca.adapter.luv adapter
function adapter.start() end

---Leaves the loop. What waits goes on when it is started again. Harmless when said again.
function adapter.stop() end

---As coroutine.wrap, for a coroutine that may wait: then the function returns, and the loop goes on with f later; an
---error that comes after that goes to rsca.on_error. In such a coroutine one may also yield to callbacks of luv that
---resume it.
---@param f fun(...: any): ...: any
---@return fun(...: any): ...: any
---@nodiscard
function adapter.wrap(f) end

---Runs f(...) from the loop's next turn on, on a coroutine that may wait. What it raises goes to rsca.on_error. Raises
---if the adapter has not been started.
---@param f fun(...: any)
---@param ... any
function adapter.spawn(f, ...) end

---Runs luv's loop until neither it nor rsca has anything left to do, or the adapter is stopped. Raises if it has not
---been started.
function adapter.run() end

return adapter
