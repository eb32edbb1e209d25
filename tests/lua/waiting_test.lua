-- Waiting: actions, handlers and spawned functions run on coroutines that may wait, and where nothing can wait it says so.

local T = require "lua.support"
local rsca = require "rsca"

rsca.register("echo", function(args)
  return args
end)

rsca.register("nothing", function() end)

rsca.register("waits", function(args, ctx)
  assert(ctx:sleep(0))
  return args
end)

local function closing(f)
  return setmetatable({}, { __close = f })
end

-- Defines an action of the body, calls it, and answers with what it answered.
local function inside(body)
  rsca.register("inside", function(_, ctx)
    return body(ctx)
  end)
  return assert(rsca.call("inside"))
end

-- on_error's errors while f runs.
local function errors_of(f)
  local hook, errors = rsca.on_error, {}
  rsca.on_error = function(err)
    errors[#errors + 1] = err
  end
  f()
  rsca.on_error = hook
  return errors
end

-- Runs a script in a process of its own: its output, both streams, and how it ended.
local function child(script)
  local command = ("exec '%s' -e '%s' 2>&1"):format(arg[-1], script:gsub("'", "'\\''"))
  local pipe = assert(io.popen(command))
  local output = pipe:read("a")
  local _, how, code = pipe:close()
  return output, how .. " " .. code
end

-- ---- Where one can wait ----

T.test("actions run on coroutines of their own, which can yield", function()
  inside(function()
    local co, main = coroutine.running()
    T.equal(type(co), "thread")
    T.equal(main, false)
    T.equal(coroutine.isyieldable(), true)
    return ""
  end)
end)

T.test("an action can sleep, with ctx:sleep and with rsca.sleep", function()
  T.equal(inside(function(ctx)
    T.equal(ctx:sleep(0), true)
    T.equal(ctx:sleep(0.001), true)
    T.equal(rsca.sleep(0), true)
    T.equal(rsca.sleep(0.001), true)
    return "rested"
  end), "rested")
end)

T.test("a sleep takes no less than it says", function()
  inside(function(ctx)
    local cpu = os.time()
    ctx:sleep(0.002)
    T.truthy(os.time() >= cpu)
    return ""
  end)
  for _, wrong in ipairs { -1, 0 / 0, "long", {} } do
    T.raises("bad argument #1 to 'sleep'", rsca.sleep, wrong)
    inside(function(ctx)
      T.raises("bad argument #1 to 'sleep'", function()
        ctx:sleep(wrong)
      end)
      return ""
    end)
  end
  T.raises("bad argument #1 to 'sleep'", rsca.sleep)
end)

T.test("an action can wait for another one", function()
  T.equal(inside(function()
    return rsca.call("waits", "far") .. rsca.run("waits", "ther"):await()
  end), "farther")
end)

T.test("waits work inside pcall and xpcall, also when what waited raises", function()
  T.equal(inside(function(ctx)
    local good, response = pcall(rsca.call, "waits", "a")
    T.equal(good, true)
    T.equal(response, "a")
    T.equal(pcall(ctx.sleep, ctx, 0), true)
    local other, problem = pcall(function()
      rsca.call("waits")
      error("after", 0)
    end)
    T.equal(other, false)
    T.equal(problem, "after")
    T.equal(select(2, xpcall(function()
      rsca.call("waits")
      error("once more", 0)
    end, function(message)
      return message .. ", handled"
    end)), "once more, handled")
    T.equal(select(2, pcall(pcall, pcall, rsca.call, "waits", "deep")), true)
    return "fine"
  end), "fine")
end)

T.test("waits work in metamethods, iterators, tail calls, varargs and dofile-like calls", function()
  T.equal(inside(function()
    local object = setmetatable({}, {
      __index = function(_, key) return rsca.call("waits", key) end,
      __call = function(_, text) return (rsca.call("waits", text)) end,
      __add = function(_, text) return (rsca.call("waits", text)) end,
      __eq = function() return rsca.call("waits", "") == "" end,
      __lt = function() return rsca.call("waits", "") == "" end,
      __len = function() return #rsca.call("waits", "xxx") end,
      __concat = function(_, text) return (rsca.call("waits", text)) end,
      __newindex = function(_, _, value) rsca.call("waits", value) end,
      __unm = function() return (rsca.call("waits", "-")) end,
    })
    object.field = "x"
    T.equal(object == setmetatable({}, getmetatable(object)), true)
    T.equal(object < setmetatable({}, getmetatable(object)), true)
    T.equal(#object, 3)
    T.equal(-object, "-")
    local text = object.a .. object("b") .. (object + "c") .. (object .. "d")
    for part in function(_, last) return not last and rsca.call("waits", "e") or nil end do
      text = text .. part
    end
    local function tail(...)
      return rsca.call(...)
    end
    text = text .. tail("waits", "f")
    return text .. load("local rsca = ... return (rsca.call('waits', 'g'))")(rsca)
  end), "abcdefg")
end)

T.test("waits work in __close when a block ends in the ordinary way, or by an error that is caught", function()
  local order = {}
  inside(function(ctx)
    do
      local _ <close> = closing(function() order[#order + 1] = rsca.call("waits", "end") end)
    end
    T.equal(pcall(function()
      local _ <close> = closing(function() order[#order + 1] = rsca.call("waits", "error") end)
      error("x")
    end), false)
    T.equal(pcall(function()
      local _ <close> = closing(function() order[#order + 1] = rsca.call("waits", "late error") end)
      ctx:sleep(0)
      error("x")
    end), false)
    local _ <close> = closing(function() order[#order + 1] = rsca.call("waits", "return") end)
    return ""
  end)
  T.equal(table.concat(order, ", "), "end, error, late error, return")
end)

T.test("an action that raises: __close runs, waits in it answer nil, err, and the error is the call's", function()
  local closed = T.expect(1)
  rsca.register("raises", function(_, ctx)
    local _ <close> = closing(function(_, problem)
      T.match(problem, "the reason$")
      local slept, err = ctx:sleep(0)
      T.equal(slept, nil)
      T.match(tostring(err), "wait")
      T.equal(rsca.call("echo"), nil)
      closed()
    end)
    error("the reason")
  end)
  local response, err = rsca.call("raises")
  T.equal(response, nil)
  T.equal(err.status, rsca.status.E_FAIL)
  T.match(err.message, "the reason$")
end)

T.test("handlers can wait: functions and ReportResult methods", function()
  local heard = T.expect(2)
  local function wait_there(response)
    T.equal(response, "x")
    T.equal(rsca.sleep(0), true)
    T.equal(pcall(rsca.call, "waits"), true)
    T.equal(rsca.run("waits", "y"):await(), "y")
    heard()
  end
  rsca.run("echo", "x", function(_, response)
    wait_there(response)
  end)
  rsca.run("echo", "x", { ReportResult = function(_, _, response)
    wait_there(response)
  end })
  T.equal(rsca.loop(), true)
end)

T.test("spawned functions can wait", function()
  local heard = T.expect(1)
  rsca.spawn(function()
    T.equal(rsca.sleep(0), true)
    T.equal(rsca.call("waits", "x"), "x")
    T.equal(pcall(rsca.sleep, 0), true)
    heard()
  end)
  T.equal(rsca.loop(), true)
end)

T.finish()
