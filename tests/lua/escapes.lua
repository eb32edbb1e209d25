-- The ways in which a script may escape its time limit, each the body of an action: nothing here ends by itself.
--
-- They are text, because they run in other Lua states too. Before all of them comes escapes.prelude; they may use
-- `args` and `ctx`. Those in escapes.nested hide in coroutines, or where a handler of messages or a finalizer runs: of
-- a host's own state they ask rsca.guard().

local escapes = { plain = {}, nested = {} }

escapes.prelude = [[
local rsca = require "rsca"

local function forever()
  while true do
  end
end

-- Goes on whatever hits it.
local function stubborn()
  while true do
    pcall(forever)
  end
end

local function closing(f)
  return setmetatable({}, { __close = f })
end

-- Made when nothing was due; it waits in the middle of something.
local function early(f)
  local co = coroutine.create(function()
    coroutine.yield()
    f()
  end)
  coroutine.resume(co)
  return co
end

local early_coroutines = {}
for i = 1, 1000 do
  early_coroutines[i] = early(stubborn)
end

-- Makes the place of an error a place to stay.
local function stay(f, ...)
  while true do
    xpcall(f, forever, ...)
  end
end
]]

local function plain(name, body)
  table.insert(escapes.plain, { name = name, body = body })
end

local function nested(name, body)
  table.insert(escapes.nested, { name = name, body = body })
end

-- ---- Loops, and catching what ends them ----

plain("a loop", [[ while true do end ]])
plain("a loop that does something", [[ local t = {} while true do t[1] = (t[1] or 0) + #tostring(t) end ]])
plain("a goto", [[ ::again:: goto again ]])
plain("tail calls", [[ local function f() return f() end f() ]])
plain("recursion", [[ local function f() f() f() end while true do pcall(f) end ]])
plain("a loop in pcall, in a loop", [[ stubborn() ]])
plain("a loop after pcall", [[ pcall(forever) forever() ]])
plain("pcall in pcall in pcall", [[ while true do pcall(pcall, pcall, stubborn) end ]])
plain("a loop that ends when it is hit, and an action that returns then", [[ pcall(forever) return "as if nothing" ]])
plain("one that raises something else then", [[ pcall(forever) error({}) ]])
plain("one that raises the same again, in a loop",
  [[ while true do pcall(function() local _, e = pcall(forever) error(e, 0) end) end ]])
plain("a loop of bare yields", [[ while true do coroutine.yield() end ]])
plain("a loop of bare yields in pcall", [[ while true do pcall(coroutine.yield) end ]])
plain("a loop of sleeps", [[ while true do ctx:sleep(0) end ]])
plain("a loop of sleeps in pcall", [[ while true do pcall(ctx.sleep, ctx, 0) end ]])
plain("a sleep", [[ ctx:sleep(1e6) ]])
plain("a wait for somebody who sleeps", [[ return rsca.call("sleeps") ]])
plain("a loop of calls", [[ while true do rsca.call("works") end ]])
plain("a loop of errors", [[ while true do pcall(error, {}) end ]])
if os.getenv("RSCA_SANITIZE") ~= "thread" then -- there the hook asks, every so many instructions: those take too long
  plain("a loop of collections", [[ while true do collectgarbage() end ]])
end
plain("a loop of loads", [[ while true do load("return 1")() end ]])
plain("a wait for a condition", [[ while not ctx:cancelled() do end while true do end ]])

-- ---- Functions that Lua's own call ----

plain("a comparison for table.sort", [[ table.sort({ 3, 2, 1 }, function() forever() end) ]])
plain("a stubborn comparison for table.sort", [[ table.sort({ 3, 2, 1 }, function() stubborn() end) ]])
plain("a replacement for string.gsub", [[ ("abc"):gsub(".", function() stubborn() end) ]])
plain("a loop of string.gsub", [[ while true do pcall(string.gsub, ("x"):rep(100), ".", function() end) end ]])
plain("a reader for load", [[ load(function() stubborn() end) ]])
plain("a searcher of require", [[
  table.insert(package.searchers, 1, function() stubborn() end)
  local _ <close> = closing(function() table.remove(package.searchers, 1) end)
  require "whatever"
]])
plain("a module that never ends", [[ package.preload.endless = stubborn require "endless" ]])
plain("an iterator", [[ for _ in function() stubborn() end do end ]])
plain("an endless iterator", [[ for _ in function() return 1 end do end ]])
plain("calls nested as deep as they may be", [[
  local function deeper(n)
    if n == 0 then stubborn() end
    return ("x"):gsub(".", function() deeper(n - 1) end)
  end
  deeper(150)
]])
plain("the end of the stack", [[
  local function deeper() pcall(deeper) forever() end
  deeper()
]])

-- ---- Metamethods ----

for _, event in ipairs { "add", "concat", "unm", "len", "eq", "lt", "le", "index", "newindex", "call" } do
  local use = {
    add = "x = x + 1", concat = "x = x .. ''", unm = "x = -x", len = "x = #x", eq = "x = x == y", lt = "x = x < y",
    le = "x = x <= y", index = "x = x.field", newindex = "x.field = 1", call = "x()",
  }
  plain("the metamethod __" .. event, ([[
    local meta = { __%s = function() stubborn() end }
    local x, y = setmetatable({}, meta), setmetatable({}, meta)
    %s
  ]]):format(event, use[event]))
end
plain("the metamethod __tostring", [[ tostring(setmetatable({}, { __tostring = stubborn })) ]])
plain("the metamethod __tostring in string.format",
  [[ string.format("%s", setmetatable({}, { __tostring = stubborn })) ]])
plain("the metamethod __pairs", [[ for _ in pairs(setmetatable({}, { __pairs = stubborn })) do end ]])
plain("the metamethod __index in table.concat",
  [[ table.concat(setmetatable({}, { __index = stubborn, __len = function() return 5 end })) ]])
plain("a chain of metamethods without an end", [[
  local t = {}
  setmetatable(t, { __index = function(_, key) return t[key] end })
  while true do pcall(function() return t.x end) end
]])

-- ---- __close ----

plain("__close at the end of a block", [[ do local _ <close> = closing(stubborn) end ]])
plain("__close of what was stopped", [[ local _ <close> = closing(stubborn) forever() ]])
plain("many __close of what was stopped", [[
  local function holds(n)
    local _ <close> = closing(stubborn)
    if n > 0 then holds(n - 1) end
    forever()
  end
  holds(50)
]])
plain("__close in a loop", [[ while true do pcall(function() local _ <close> = closing(forever) forever() end) end ]])
plain("__close of an iterator", [[ for _ in next, { 1 }, nil, closing(stubborn) do forever() end ]])
plain("__close of what waits", [[ local _ <close> = closing(stubborn) ctx:sleep(1e6) ]])
plain("__close that waits", [[ local _ <close> = closing(function() while true do ctx:sleep(1) end end) forever() ]])

-- ---- What rsca calls for the script ----

plain("__tostring of an error", [[ error(setmetatable({}, { __tostring = stubborn })) ]])
plain("__tostring of a message", [[ return nil, setmetatable({}, { __tostring = stubborn }) ]])

-- ---- Coroutines ----

nested("a coroutine", [[ coroutine.resume(coroutine.create(forever)) ]])
nested("a stubborn coroutine", [[ coroutine.resume(coroutine.create(stubborn)) ]])
nested("coroutines without an end", [[ while true do coroutine.resume(coroutine.create(forever)) end ]])
nested("coroutines without an end, in pcall",
  [[ while true do pcall(function() coroutine.resume(coroutine.create(stubborn)) end) end ]])
nested("coroutine.wrap", [[ coroutine.wrap(stubborn)() ]])
nested("coroutine.wrap without an end", [[ while true do pcall(coroutine.wrap(forever)) end ]])
nested("coroutine.wrap as an iterator", [[ for _ in coroutine.wrap(stubborn) do end ]])
nested("an endless generator", [[
  for _ in coroutine.wrap(function() while true do coroutine.yield(1) end end) do end
]])
nested("a coroutine in a coroutine in a coroutine", [[
  local function deeper(n)
    if n == 0 then stubborn() end
    while true do coroutine.resume(coroutine.create(deeper), n - 1) end
  end
  deeper(20)
]])
nested("a coroutine made early", [[ coroutine.resume(table.remove(early_coroutines)) ]])
nested("coroutines made early, one after the other", [[
  while #early_coroutines > 0 do coroutine.resume(table.remove(early_coroutines)) end
  forever()
]])
nested("coroutines made when it is late", [[
  local made = {}
  pcall(function() while true do made[#made + 1] = coroutine.create(stubborn) end end)
  for _, co in ipairs(made) do coroutine.resume(co) end
  forever()
]])
nested("the resumer of a coroutine that was stopped", [[
  pcall(coroutine.resume, coroutine.create(forever))
  stubborn()
]])
nested("coroutine.close", [[
  local co = coroutine.create(function() local _ <close> = closing(stubborn) coroutine.yield() end)
  coroutine.resume(co)
  coroutine.close(co)
]])
nested("__close of a coroutine that raised",
  [[ coroutine.wrap(function() local _ <close> = closing(stubborn) error("x") end)() ]])
nested("a metamethod in a coroutine",
  [[ coroutine.wrap(function() return setmetatable({}, { __index = stubborn }).x end)() ]])
nested("table.sort in a coroutine", [[ coroutine.wrap(function() table.sort({ 2, 1 }, stubborn) end)() ]])

-- ---- Message handlers ----

nested("a handler of xpcall", [[ xpcall(error, forever, "x") ]])
nested("a stubborn handler of xpcall", [[ xpcall(error, stubborn, "x") ]])
nested("a handler of xpcall for what was stopped", [[ xpcall(forever, forever) ]])
nested("handlers of xpcall without an end", [[ stay(error) ]])
nested("handlers of xpcall for what was stopped, without an end", [[ stay(forever) ]])
nested("a handler of xpcall that raises", [[ while true do xpcall(forever, error) end ]])
nested("xpcall in a handler of xpcall", [[ xpcall(error, function() stay(forever) end) ]])
nested("a handler of xpcall in a coroutine", [[ coroutine.wrap(stay)(forever) ]])

return escapes
