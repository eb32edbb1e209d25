-- The names of the public reference pages, for those who know them: a manager has RunCustomAction, AddRef and Release,
-- and a callback may be an object with a ReportResult method. These answer with a status instead of nil and an error.

local rsca = require "rsca"

local manager = rsca.manager { queue_limit = 2 } -- one of its own, beside the one that rsca.register speaks to

manager:register("greet", function(name)
  return "hello, " .. name
end)

local Printer = {}
Printer.__index = Printer

function Printer:ReportResult(status, response)
  print(("%s: %s"):format(self.title, rsca.failed(status) and rsca.describe(status) or response))
  return rsca.status.S_OK
end

local function run(name, args, callback)
  local status = manager:RunCustomAction(name, args, callback)
  print(("RunCustomAction %-8s 0x%08X  %s"):format(name, status, rsca.describe(status)))
  return status
end

local printer = setmetatable({ title = "printer" }, Printer)

assert(run("greet", "Ada", printer) == rsca.status.S_OK)
assert(run("greet", "Grace", printer) == 0)
assert(run("greet", "Edsger", printer) == rsca.status.ERROR_BUSY) -- two are queued already
assert(run("gret", "", printer) == 0x80070490)                    -- as the reference writes it
assert(run("greet", "", nil) == rsca.status.E_INVALIDARG)         -- nobody to tell
rsca.loop()

print("AddRef  " .. manager:AddRef())
print("Release " .. manager:Release())
print("Release " .. manager:Release()) -- the script's own reference: from here on the object is closed
print(manager)
print(pcall(manager.list, manager))
