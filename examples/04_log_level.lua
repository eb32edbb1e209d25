-- Control: an action that changes the running process, here how much its logger lets through, and answers with what
-- was there before. It refuses a level that does not exist and changes nothing then.
-- The logger is rsca.on_log, which hears every rsca.log; without one, nothing is printed.

local rsca = require "rsca"

local weight = { debug = 1, info = 2, warning = 3, error = 4 }
local threshold = "warning"

function rsca.on_log(level, message)
  if weight[level] >= weight[threshold] then
    print(("  [%s] %s"):format(level, message))
  end
end

rsca.register("log.level", { help = "[LEVEL]: sets the log level, answers with the old one" }, function(level)
  if level ~= "" and not weight[level] then
    return nil, ("no level '%s'; there are debug, info, warning and error"):format(level), rsca.status.E_INVALIDARG
  end
  local old = threshold
  if level ~= "" then
    threshold = level
  end
  return old
end)

-- Stands for the work that the process does all the time.
local function work()
  rsca.log("debug", "looking for work")
  rsca.log("info", "3 jobs done")
  rsca.log("warning", "job 4 is late")
end

local function set_level(level)
  local old, err = rsca.call("log.level", level)
  print(old and ("log.level %s: was %s"):format(level, old) or ("log.level %s: %s"):format(level, err))
end

work()
set_level("debug")
work()
set_level("loud")
print("log.level is " .. rsca.call("log.level"))
