-- A caller in Lua, as scripts are: runs an action many times, and looks at every response.

local caller = {}

-- Calls `run(name, args, handler)` n times, at most `in_flight` of them at once, and `step()` until all have ended.
-- Each must answer with `size` bytes. The loops do no more than a caller has to.
function caller.fly(n, in_flight, size, name, args, run, step)
  local ended = 0
  local function handler(status, response)
    if status == 0 and #response == size then
      ended = ended + 1
    else
      error(("%s failed: 0x%08X %s"):format(name, status, response), 0)
    end
  end
  local function refused()
    error(name .. " was refused", 0)
  end
  if in_flight == 1 then
    for i = 1, n do
      if not run(name, args, handler) then
        refused()
      end
      while ended < i do
        step()
      end
    end
    return
  end
  for submitted = in_flight, n + in_flight - 1, in_flight do
    submitted = math.min(submitted, n)
    for _ = ended + 1, submitted do
      if not run(name, args, handler) then
        refused()
      end
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
