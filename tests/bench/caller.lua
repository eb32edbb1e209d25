-- A caller in Lua, as scripts are: runs an action many times, and looks at every response.

local caller = {}

-- Calls `run(name, args, handler)` n times, at most `in_flight` of them at once, and `step()` until all have ended. Each
-- must answer with `size` bytes.
function caller.fly(n, in_flight, size, name, args, run, step)
  local ended = 0
  local function handler(status, response)
    if status ~= 0 or #response ~= size then
      error(("%s failed: 0x%08X %s"):format(name, status, response), 0)
    end
    ended = ended + 1
  end
  local submitted = 0
  while submitted < n do
    for _ = 1, math.min(in_flight, n - submitted) do
      assert(run(name, args, handler))
      submitted = submitted + 1
    end
    while ended < submitted do
      step()
    end
  end
end

-- Subscribes to an action that responds n times, and steps until it has ended.
function caller.follow(n, size, name, args, subscribe, step)
  local heard, ended = 0, nil
  assert(subscribe(name, args, function(status, response, final)
    if final then
      ended = status
    elseif #response ~= size then
      error(name .. " responded something else", 0)
    else
      heard = heard + 1
    end
  end))
  while not ended do
    step()
  end
  assert(heard == n and ended == 1, "the registration failed")
end

return caller
