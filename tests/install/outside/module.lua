-- The installed module in a Lua of somebody else's. usage: module.lua PREFIX
local prefix = arg[1] .. "/"
local rsca = require "rsca"

for _, name in ipairs { "rsca", "rsca.core" } do
  local path = name == "rsca" and package.path or package.cpath
  local file = assert(package.searchpath(name, path))
  assert(file:sub(1, #prefix) == prefix, file)
end
rsca.register("twice", function(args, ctx)
  assert(ctx:sleep(0.01))
  return args .. args
end)
print("module " .. rsca._VERSION .. " " .. assert(rsca.call("twice", "ab")))
