-- What rsca.set_adapter does: says how waits wait on coroutines of the host's own, where the host has an event loop.
-- The adapters below rsca.adapter call it. A state has one adapter at most; set_adapter(nil) takes it away.

local LEVEL = 4 -- who called rsca.set_adapter, as seen from check_adapter

local function check_adapter(adapter)
  if type(adapter) ~= "table" then
    error(("bad argument #1 to 'set_adapter' (table expected, got %s)"):format(type(adapter)), LEVEL)
  end
  for field, expected in pairs { name = "string", may_wait = "function", waiter = "function", pending = "function" } do
    if type(adapter[field]) ~= expected and not (field == "pending" and adapter.pending == nil) then
      error(("bad argument #1 to 'set_adapter' (field '%s' must be a %s)"):format(field, expected), LEVEL)
    end
  end
end

-- `set` is the C half's: the name of an adapter that is set already, or nothing.
return function(adapter, set)
  check_adapter(adapter)
  local waiter = adapter.waiter

  -- The wait that was asked for, f(...), goes on where it can yield, and this coroutine waits for that. `spawn` is
  -- rsca.spawn, but for what it returns: closing that, as when this coroutine is given up, ends what it runs.
  local there = set(adapter.may_wait, function(spawn, f, ...)
    local good, first, second -- no wait has more results; and there may be no memory for a table of them
    local wait, done = waiter()
    local task <close> = spawn(function(...)
      good, first, second = pcall(f, ...)
      done()
    end, ...)
    repeat
      wait()
    until good ~= nil
    if not good then
      error(first, 0)
    elseif second == nil then
      return first
    end
    return first, second
  end, adapter.pending, adapter.name)
  if there then
    error(("the adapter '%s' is set already; a Lua state has one, so '%s' can't be set"):format(there, adapter.name),
      LEVEL - 1)
  end
end
