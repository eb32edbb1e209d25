-- A harness for tests of one file each: T.test runs at once and records, T.finish sums up and ends the program.
--
-- RSCA_GC_STRESS=1 makes the collector start over at once whenever it is done, and collects after every test.

local T = {}

local passed, failed = 0, 0
local promises -- of the test that runs: functions that raise where a promise was not kept
local broken   -- the first of the test's checks that failed: it counts even where the library catches what it raises
local stress = os.getenv("RSCA_GC_STRESS") == "1"

if stress then
  collectgarbage("setpause", 0)
  collectgarbage("setstepmul", 1000)
end

-- A value for a message: strings quoted and cut, statuses in hexadecimal too.
local function show(value)
  if type(value) == "string" then
    local text = #value > 300 and value:sub(1, 300) or value
    return ("%q"):format(text):gsub("\\\n", "\\n") .. (#value > 300 and ("... (%d bytes)"):format(#value) or "")
  elseif math.type(value) == "integer" and value > 0xFFFF then
    return ("%d (0x%X)"):format(value, value)
  end
  return tostring(value)
end

local function fail(what, text, level)
  local message = (what and what .. ": " or "") .. text
  broken = broken or debug.traceback(message, level + 1)
  error(message, level + 1)
end

-- Runs a test now. `body` must return; an error fails it.
function T.test(name, body)
  promises, broken = {}, nil
  local good, problem = xpcall(function()
    body()
    for _, check in ipairs(promises) do
      check()
    end
  end, function(message)
    return debug.traceback(tostring(message), 2)
  end)
  if broken then
    good, problem = false, broken
  end
  promises, broken = nil, nil
  if good then
    passed = passed + 1
  else
    failed = failed + 1
    io.stdout:write("FAILED: ", name, "\n  ", (problem:gsub("\n", "\n  ")), "\n")
  end
  if stress then
    T.collect()
  end
end

-- The same value, and for numbers the same kind of number.
function T.equal(got, expected, what)
  if got ~= expected or math.type(got) ~= math.type(expected) then
    fail(what, ("expected %s, got %s"):format(show(expected), show(got)), 2)
  end
end

function T.truthy(value, what)
  if not value then
    fail(what, ("expected something true, got %s"):format(show(value)), 2)
  end
  return value
end

-- `pattern` is one of Lua's.
function T.match(text, pattern, what)
  if type(text) ~= "string" then
    fail(what, ("expected a string that matches %s, got %s"):format(show(pattern), show(text)), 2)
  elseif not text:find(pattern) then
    fail(what, ("expected a match of %s, got %s"):format(show(pattern), show(text)), 2)
  end
end

-- f(...) must raise, and the error's text match. Returns the error value.
function T.raises(pattern, f, ...)
  local good, problem = pcall(f, ...)
  if good then
    fail(nil, ("expected an error that matches %s, got none"):format(show(pattern)), 2)
  elseif not tostring(problem):find(pattern) then
    fail(nil, ("expected an error that matches %s, got %s"):format(show(pattern), show(tostring(problem))), 2)
  end
  return problem
end

-- A function to be called exactly n times before the test returns. It returns how often it has been called.
function T.expect(n)
  local count = 0
  local place = debug.getinfo(2, "Sl")
  assert(promises, "T.expect belongs inside a test")
  promises[#promises + 1] = function()
    if count ~= n then
      error(("%s:%d: expected %d calls, got %d"):format(place.short_src, place.currentline, n, count), 0)
    end
  end
  return function()
    count = count + 1
    return count
  end
end

-- Several full collections: finalizers, then what they let go, then what that let go.
function T.collect()
  for _ = 1, 4 do
    collectgarbage("collect")
  end
end

-- The sum, and the end of the program. Closes the state, so that its finalizers run too.
function T.finish()
  print(("%d passed, %d failed"):format(passed, failed))
  os.exit(failed == 0 and passed > 0 and 0 or 1, true)
end

return T
