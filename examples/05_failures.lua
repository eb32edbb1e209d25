-- Actions that fail on purpose, and what the caller gets to know: the status, its name, a message, which action it
-- was, and the traceback where an error was raised. tostring(err) has message and name in one line.

local rsca = require "rsca"

-- Fails with a status of its own choice.
rsca.register("refuses", function()
  return nil, "only on Sundays", rsca.status.E_ACCESSDENIED
end)

-- Raises: E_FAIL, a message with file and line, and a traceback.
rsca.register("raises", function()
  local nothing
  return nothing.field
end)

-- Returns what is no response. Responses are bytes: a string, or a number, which becomes its text.
rsca.register("returns_table", function()
  return { 1, 2, 3 }
end)

-- Hands on the failure of an action that it needs; the status stays.
rsca.register("relays", function()
  local answer, err = rsca.call("refuses")
  if not answer then
    return nil, err
  end
  return answer
end)

local function show(name)
  local response, err = rsca.call(name)
  assert(not response, "it was meant to fail")
  print(name)
  print(("  status    0x%08X"):format(err.status))
  print("  name      " .. err.name)
  print("  message   " .. err.message)
  print("  action    " .. tostring(err.action))
  if err.traceback then
    print("  " .. err.traceback:gsub("\n", "\n  "))
  end
  print("  in short  " .. tostring(err))
end

show("refuses")
show("raises")
show("returns_table")
show("relays")
show("nobody_registered_this")

-- Where it was registered helps to find it.
for _, action in ipairs(rsca.list()) do
  print(("%-14s at %s"):format(action.name, action.place))
end
