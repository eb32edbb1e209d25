-- The globals that the prompt's own code uses: as they were when it was loaded. What is typed may make others of them.

local globals = {}
for name, value in next, _G do
  globals[name] = value
end

-- A traceback looks for the names of functions in the tables that modules are: not here.
return setmetatable({}, { __index = globals, __newindex = globals })
