-- rsca: run-time status and control, scripted in Lua.
--
-- The C half, rsca.core, is the module table; this adds what is better said in Lua.

local rsca = require "rsca.core"

if rsca.repl then -- taken out of package.loaded, and loaded again
  return rsca
end

-- Says how waits wait on coroutines of the host's own, where the host has an event loop: the adapters below
-- rsca.adapter do. A state has one adapter at most; set_adapter(nil) takes it away.

local set_adapter = rsca.set_adapter
local adapter_name

local function check_adapter(adapter)
  if type(adapter) ~= "table" then
    error(("bad argument #1 to 'set_adapter' (table expected, got %s)"):format(type(adapter)), 3)
  end
  for field, expected in pairs { name = "string", may_wait = "function", waiter = "function", pending = "function" } do
    if type(adapter[field]) ~= expected and not (field == "pending" and adapter.pending == nil) then
      error(("bad argument #1 to 'set_adapter' (field '%s' must be a %s)"):format(field, expected), 3)
    end
  end
  if adapter_name then
    error(("the adapter '%s' is set already; a Lua state has one, so '%s' can't be set"):format(adapter_name,
      adapter.name), 3)
  end
end

function rsca.set_adapter(adapter)
  if adapter == nil then
    adapter_name = nil
    set_adapter()
    return
  end
  check_adapter(adapter)
  local waiter = adapter.waiter

  -- The wait that was asked for, f(...), goes on where it can yield, and this coroutine waits for that. `spawn` is
  -- rsca.spawn, but for what it returns: closing that, as when this coroutine is given up, ends what it runs.
  set_adapter(adapter.may_wait, function(spawn, f, ...)
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
  end, adapter.pending)
  adapter_name = adapter.name
end

-- Opens a prompt on standard input and standard output: whether all went well.
function rsca.repl(options)
  return require "rsca.repl".run(options)
end

return rsca
