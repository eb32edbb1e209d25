-- The annotations name what there is at run time, all of it and nothing else, and document every parameter.

local T = require "lua.support"
local rsca = require "rsca"

local FILE = "lua/rsca/annotations/rsca.lua"

-- Names that are nil until somebody sets them.
local UNSET = { ["rsca.on_log"] = true }
-- What the C half has no table of: it answers for these by itself.
local COMPUTED = {
  ["rsca.request"] = { "id" },
  ["rsca.subscription"] = { "id" },
  ["rsca.ctx"] = { "id", "name", "args" },
}

-- ---- Reading the file: classes by name, each { fields = { NAME = text }, functions = { NAME = { ... } } } ----

local classes = {}
local problems = {}

local function read_annotations()
  local current, doc
  local variables = {}
  local number = 0
  for line in io.lines(FILE) do
    number = number + 1
    local function problem(text)
      problems[#problems + 1] = ("%s:%d: %s"):format(FILE, number, text)
    end

    local class = line:match("^%-%-%-@class%s+([%w_.]+)") or line:match("^%-%-%-@class%s+%(exact%)%s+([%w_.]+)")
    local field, text = line:match("^%-%-%-@field%s+([%w_]+)%??%s+(.+)$")
    local variable = line:match("^local ([%w_]+) = {}$")
    local owner, separator, name, parameters = line:match("^function ([%w_]+)([.:])([%w_]+)%((.-)%) end$")

    if line:find("^function ") and not owner then
      problem("not a function of one line")
    elseif class then
      if classes[class] then
        problem("class " .. class .. " again")
      end
      current = { fields = {}, functions = {} }
      classes[class] = current
    elseif field then
      if not current or current.fields[field] then
        problem("field " .. field .. " again, or of no class")
      else
        current.fields[field] = text
      end
    elseif variable then
      variables[variable] = { class = current, separator = variable == "rsca" and "." or ":" }
    elseif owner then
      local place = variables[owner]
      if not place or place.separator ~= separator or place.class.functions[name] then
        problem(("function %s%s%s is there already, or does not belong to %s"):format(owner, separator, name, owner))
      else
        place.class.functions[name] = { parameters = parameters, doc = doc or {}, line = number }
      end
    end

    if line:find("^%-%-%-") then
      doc = doc or {}
      doc[#doc + 1] = line
    else
      doc = nil
    end
  end
end

read_annotations()

-- ---- What there is ----

-- The metatables of our objects, by the name of their type.
local function find_types()
  require "rsca.repl.console".make_types()
  local types = {}
  for _, value in pairs(debug.getregistry()) do
    local name = type(value) == "table" and rawget(value, "__name")
    if type(name) == "string" and name:find("^rsca") then
      types[name] = value
    end
  end
  return types
end

-- The table of methods: __index itself, or what the C function there falls back on.
local function methods_of(metatable)
  local index = metatable.__index
  if type(index) ~= "function" then
    return index
  end
  local at = 1
  repeat
    local name, value = debug.getupvalue(index, at)
    at = at + 1
  until not name or type(value) == "table"
  return select(2, debug.getupvalue(index, at - 1))
end

local function keys(...)
  local set = {}
  for _, source in ipairs { ... } do
    for key in pairs(source) do
      set[key] = true
    end
  end
  return set
end

local function set_of(list)
  local set = {}
  for _, key in ipairs(list) do
    set[key] = true
  end
  return set
end

-- Both directions at once; what is wrong is added to the list.
local function compare(wrong, what, real, annotated)
  for name in pairs(real) do
    if not annotated[name] then
      wrong[#wrong + 1] = ("%s: %s is there, but not annotated"):format(what, name)
    end
  end
  for name in pairs(annotated) do
    if not real[name] then
      wrong[#wrong + 1] = ("%s: %s is annotated, but not there"):format(what, name)
    end
  end
end

local function none(wrong)
  table.sort(wrong)
  T.equal(table.concat(wrong, "\n"), "")
end

local function same_names(what, real, annotated)
  local wrong = {}
  compare(wrong, what, real, annotated)
  none(wrong)
end

-- ---- The tests ----

T.test("the file is well formed, and a program too", function()
  T.equal(table.concat(problems, "\n"), "")
  T.equal(type(assert(loadfile(FILE, "t", {}))()), "table")
  T.truthy(next(classes.rsca.functions))
end)

T.test("the module", function()
  local functions, fields = {}, {}
  for name, value in pairs(rsca) do
    local is_hook = name:find("^on_")
    local place = type(value) == "function" and not is_hook and functions or fields
    place[name] = true
  end
  for name in pairs(UNSET) do
    name = name:match("^rsca%.(.+)$")
    T.equal(rsca[name], nil)
    fields[name] = true
  end
  same_names("rsca, functions", functions, classes.rsca.functions)
  same_names("rsca, fields", fields, classes.rsca.fields)
end)

T.test("the hook that is nil at first is one", function()
  local heard
  rsca.on_log = function(level, message)
    heard = level .. " " .. message
  end
  rsca.log("info", "hello")
  rsca.on_log = nil
  T.equal(heard, "info hello")
end)

T.test("every type of object has a class, with its methods and fields", function()
  local types, wrong = find_types(), {}
  for _, name in ipairs { "manager", "request", "ctx", "callback", "callback2", "error" } do
    T.truthy(types["rsca." .. name], name .. " is in the registry")
  end
  for name, metatable in pairs(types) do
    local methods = methods_of(metatable)
    local class = classes[name]
    if class then
      compare(wrong, name .. ", methods", keys(methods or {}), class.functions)
      if name ~= "rsca.error" then
        compare(wrong, name .. ", fields", set_of(COMPUTED[name] or {}), class.fields)
      end
    elseif methods and next(methods) then
      wrong[#wrong + 1] = name .. " is a type of object, but not annotated"
    end
  end
  for name, class in pairs(classes) do
    if next(class.functions) and name ~= "rsca" and not types[name] then
      wrong[#wrong + 1] = name .. " is annotated, but no type of object"
    end
  end
  none(wrong)
end)

T.test("the fields that objects compute are there", function()
  local seen
  rsca.register("look", function(_, ctx)
    seen = seen or { id = ctx.id, name = ctx.name, args = ctx.args }
  end)
  local request = assert(rsca.run("look", "at this"))
  T.equal(math.type(request.id), "integer")
  T.equal(math.type(assert(rsca.subscribe("look", "", function() end)).id), "integer")
  assert(request:await())
  T.equal(seen.args, "at this")
  same_names("rsca.ctx", keys(seen), set_of(COMPUTED["rsca.ctx"]))
  rsca.unregister("look")
end)

T.test("errors have these fields", function()
  rsca.register("raise", function()
    error("on purpose")
  end)
  local _, raised = rsca.call("raise")
  local _, refused = rsca.call("missing")
  rsca.unregister("raise")
  same_names("rsca.error", keys(raised, refused), classes["rsca.error"].fields)
end)

T.test("a line of the list has these fields", function()
  rsca.register("listed", { help = "for the list" }, function() end)
  same_names("rsca.action", keys(assert(rsca.list())[1]), classes["rsca.action"].fields)
  rsca.unregister("listed")
end)

T.test("what health and stats tell has these fields", function()
  local manager <close> = assert(rsca.manager())
  same_names("rsca.health", keys(manager:health()), classes["rsca.health"].fields)
  same_names("rsca.stats", keys(manager:stats()), classes["rsca.stats"].fields)
end)

T.test("options are those that the functions know", function()
  local function known(f, ...)
    local names = T.raises("unknown option", f, ...):match("%(([%a_, ]+)%)%)?$")
    local set = {}
    for name in names:gmatch("[%a_]+") do
      set[name] = true
    end
    return set
  end
  same_names("rsca.register_options", known(rsca.register, "x", { unheard_of = 1 }, print),
    classes["rsca.register_options"].fields)
  same_names("rsca.repl_options", known(rsca.repl, { unheard_of = 1 }), classes["rsca.repl_options"].fields)
  same_names("rsca.manager_options", known(rsca.manager, { unheard_of = 1 }), classes["rsca.manager_options"].fields)
end)

T.test("statuses, with their numbers", function()
  local fields = classes["rsca.status"].fields
  same_names("rsca.status", keys(rsca.status), fields)
  for name, text in pairs(fields) do
    T.equal(tonumber(text:match("^integer (0x%x+): ")), rsca.status[name], name)
  end
end)

T.test("every function says what it does, and every parameter and result has a line", function()
  local wrong = {}
  for class_name, class in pairs(classes) do
    for name, entry in pairs(class.functions) do
      local expected = {}
      for parameter in entry.parameters:gmatch("[%w_.]+") do
        expected[#expected + 1] = parameter
      end
      local documented, says, returns = {}, false, false
      for _, line in ipairs(entry.doc) do
        documented[#documented + 1] = line:match("^%-%-%-@param%s+([%w_.]+)%??%s+%S")
        returns = returns or line:find("^%-%-%-@return") ~= nil
        says = says or line:find("^%-%-%-[^@]") ~= nil or line:find("^%-%-%-@return%s+%S+%s+%S+%s+%S") ~= nil
      end
      if not says or table.concat(documented, ", ") ~= table.concat(expected, ", ") then
        wrong[#wrong + 1] = ("%s:%d: %s.%s (%s) has lines for (%s)"):format(FILE, entry.line, class_name, name,
          entry.parameters, table.concat(documented, ", "))
      end
      local silent = { close = true, spawn = true, log = true, guard = true, set_adapter = true }
      if not returns and not silent[name] then
        wrong[#wrong + 1] = ("%s:%d: %s.%s returns something"):format(FILE, entry.line, class_name, name)
      end
    end
  end
  table.sort(wrong)
  T.equal(table.concat(wrong, "\n"), "")
end)

T.test("every type that is named is there", function()
  local aliases = {}
  for line in io.lines(FILE) do
    local alias = line:match("^%-%-%-@alias%s+([%w_.]+)")
    if alias then
      aliases[alias] = true
    end
  end
  for line in io.lines(FILE) do
    local annotation = line:match("^%-%-%-@%a+%s+(.*)$") or line:match("^%-%-%-|%s+(.*)$")
    for name in (annotation or ""):gmatch("%f[%w_.]rsca%.[%a_]+") do
      local short = name:match("^rsca%.(.+)$")
      T.truthy(classes[name] or aliases[name] or classes.rsca.functions[short] or classes.rsca.fields[short],
        "no such type: " .. name)
    end
  end
end)

-- Not all of them can be loaded here, so this looks at their text.
T.test("the adapters", function()
  local function functions_of(file)
    local found = {}
    for line in io.lines(file) do
      local name, parameters = line:match("^function adapter%.([%w_]+)(%b())")
      if name then
        found[name .. parameters] = true
      end
    end
    return found
  end
  for _, name in ipairs { "luv", "cqueues", "prosody" } do
    local file = ("lua/rsca/annotations/adapter_%s.lua"):format(name)
    T.equal(type(assert(loadfile(file, "t", {}))()), "table")
    local real = functions_of(("lua/rsca/adapter/%s.lua"):format(name))
    T.truthy(real["start()"] or real["start(cq)"])
    same_names("rsca.adapter." .. name, real, functions_of(file))
  end
end)

T.finish()
