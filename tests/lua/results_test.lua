-- What an action may answer with, and what becomes of it: response [, status]; nil, message [, status]; or an error.

local T = require "lua.support"
local rsca = require "rsca"

-- Runs `action` three ways, with call, with a request and with a callback, which must agree. Answers with what the
-- callback got, (status, bytes), and then with what call answered: response, and status or err.
local function run(action)
  rsca.register("under_test", { replace = true }, action)
  local called = table.pack(rsca.call("under_test"))
  local awaited = table.pack(assert(rsca.run("under_test")):await())
  local status, bytes
  rsca.run("under_test", "", function(...)
    status, bytes = ...
  end)
  rsca.loop()
  T.equal(awaited.n, called.n)
  T.equal(awaited[1], called[1])
  if rsca.failed(status) then
    T.equal(called[1], nil)
    T.equal(called[2].status, status)
    T.equal(called[2].action, "under_test")
    T.equal(awaited[2].status, status)
    T.equal(awaited[2].message, called[2].message)
    local traceback = called[2].traceback
    T.equal(#called[2].message + (traceback and 1 + #traceback or 0), #bytes, "bytes: message, newline, traceback")
  else
    T.equal(called[1], bytes)
    T.equal(called[2], status ~= 0 and status or nil)
    T.equal(awaited[2], called[2])
    T.equal(called.n, status ~= 0 and 2 or 1)
  end
  return status, bytes, called[1], called[2]
end

local function responds(expected, action)
  local status, bytes = run(action)
  T.equal(status, 0)
  T.equal(bytes, expected)
end

local plain = {} -- a table that has no text of its own

-- A failure that was chosen or raised; returns the err.
local function fails(status, pattern, action)
  local got, _, _, err = run(action)
  T.equal(got, status)
  T.match(err.message, pattern)
  return err
end

T.test("a string is the response", function()
  responds("text", function() return "text" end)
  responds("", function() return "" end)
  responds("two\nlines\n", function() return "two\nlines\n" end)
end)

T.test("a number becomes its text", function()
  responds("42", function() return 42 end)
  responds("-1", function() return -1 end)
  responds("0", function() return 0 end)
  responds("9223372036854775807", function() return math.maxinteger end)
  responds("1.0", function() return 1.0 end)
  responds("0.5", function() return 0.5 end)
  responds("inf", function() return math.huge end)
end)

T.test("nothing, or nil, is the empty response", function()
  responds("", function() end)
  responds("", function() return nil end)
  responds("", function() return nil, nil end)
end)

T.test("any byte passes through unchanged, NUL included", function()
  local all = {}
  for i = 0, 255 do
    all[#all + 1] = string.char(i)
  end
  local bytes = table.concat(all)
  responds(bytes, function() return bytes end)
  responds(bytes:reverse(), function() return bytes:reverse() end)
  responds("\0", function() return "\0" end)
  responds("\0\0\0", function() return "\0\0\0" end)
end)

T.test("a response may be large", function()
  local block = {}
  for i = 0, 255 do
    block[#block + 1] = string.char(i)
  end
  local bytes = table.concat(block):rep(5 * 4096)
  T.equal(#bytes, 5 << 20)
  responds(bytes, function() return bytes end)
  responds("small", function() return "small" end)
end)

T.test("a response stays whole until its handler is called, whatever is collected meanwhile, and then goes", function()
  rsca.register("long", function(args)
    return ("x"):rep(1 << 20) .. args
  end)
  rsca.loop() -- what is left of other tests
  local heard
  assert(rsca.run("long", "the end", function(_, response)
    heard = #response .. response:sub(-8)
  end))
  T.equal(rsca.step(), 1)
  collectgarbage()
  collectgarbage()
  local held = collectgarbage("count")
  T.equal(rsca.step(), 1)
  T.equal(heard, (1 << 20) + 7 .. "xthe end")
  collectgarbage()
  collectgarbage()
  T.truthy(held - collectgarbage("count") > 1000, "KiB")
end)

T.test("a success status goes along with the response", function()
  local status, bytes, response, more = run(function() return "text", rsca.status.S_FALSE end)
  T.equal(status, 1)
  T.equal(bytes, "text")
  T.equal(response, "text")
  T.equal(more, 1)
  T.equal(run(function() return "text", 0x12345678 end), 0x12345678)
  T.equal(run(function() return 5, 3.0 end), 3)
  responds("text", function() return "text", 0 end)
  responds("text", function() return "text", nil end)
  responds("text", function() return "text", nil, "the third counts for nothing" end)
end)

T.test("a failure status with a response: it failed, and the response is the message", function()
  fails(0x80070005, "^text$", function() return "text", 0x80070005 end)
  fails(0x80070005, "^text$", function() return "text", 0x80070005 - (1 << 32) end)
  fails(0x80070005, "^5$", function() return 5, 2147942405.0 end)
end)

T.test("a status that is none is E_FAIL, and says where and what", function()
  for _, status in ipairs { 1.5, 1 << 32, -(1 << 31) - 1, "0", true, {}, 0 / 0, math.huge } do
    local err = fails(rsca.status.E_FAIL, "results_test%.lua:%d+: ", function() return "text", status end)
    T.match(err.message, "'under_test' returned a " .. type(status) .. " as its status")
    T.match(err.message, "an integer of 32 bits was expected")
  end
end)

T.test("anything else than a string, a number or nothing is E_FAIL, and says where and what", function()
  for _, value in ipairs { {}, true, false, print, coroutine.create(print), io.stdout, rsca.own_manager() } do
    local err = fails(rsca.status.E_FAIL, "results_test%.lua:%d+: ", function() return value end)
    T.match(err.message, "'under_test' returned a " .. type(value) .. "; ")
    T.match(err.message, "a string, a number or nothing was expected")
    T.equal(err.traceback, nil)
  end
  local place = debug.getinfo(1, "l").currentline + 1
  local err = fails(rsca.status.E_FAIL, "", function() return {} end)
  T.match(err.message, "results_test%.lua:" .. place .. ":")
end)

T.test("nil, message fails with E_FAIL and the message", function()
  local err = fails(rsca.status.E_FAIL, "^no luck$", function() return nil, "no luck" end)
  T.equal(err.name, "E_FAIL")
  T.equal(err.traceback, nil)
  fails(rsca.status.E_FAIL, "^5$", function() return nil, 5 end)
  fails(rsca.status.E_FAIL, "^false$", function() return nil, false end)
  fails(rsca.status.E_FAIL, "^table: ", function() return nil, plain end)
  fails(rsca.status.E_FAIL, "^said nicely$", function()
    return nil, setmetatable({}, { __tostring = function() return "said nicely" end })
  end)
end)

T.test("nil, message, status fails with that status", function()
  local err = fails(0x80070005, "^keep out$", function() return nil, "keep out", 0x80070005 end)
  T.equal(err.name, "E_ACCESSDENIED")
  fails(0x80070005, "", function() return nil, "keep out", 0x80070005 - (1 << 32) end)
  fails(0x80070005, "", function() return nil, "keep out", 2147942405.0 end)
  err = fails(0x8BADF00D, "^odd$", function() return nil, "odd", 0x8BADF00D end)
  T.equal(err.name, "0x8BADF00D")
end)

T.test("a status that is no failure, an errno say, means E_FAIL", function()
  for _, status in ipairs { 0, 1, 2, 13, 0x7FFFFFFF, 1.5, 1 << 32, "0x80070005", {}, true } do
    fails(rsca.status.E_FAIL, "^no luck$", function() return nil, "no luck", status end)
  end
  fails(rsca.status.E_FAIL, "no/such/file", function() return io.open("/no/such/file") end)
end)

T.test("nil, err hands a failure on with its status and message", function()
  rsca.register("refuses", function() return nil, "only on Sundays", rsca.status.E_ACCESSDENIED end)
  rsca.register("for_ever", function(_, ctx) ctx:sleep(math.huge) end)
  local err = fails(0x80070005, "^only on Sundays$", function() return rsca.call("refuses") end)
  T.equal(err.action, "under_test", "the action that was called")
  fails(0x80070490, "'nobody'", function() return rsca.call("nobody") end)
  fails(0x80070102, "", function()
    local request = rsca.run("for_ever")
    local response, why = request:await(0)
    request:cancel()
    return response, why
  end)
end)

T.test("error(err) keeps status and message too, and so does assert", function()
  rsca.register("refuses", function() return nil, "only on Sundays", rsca.status.E_ACCESSDENIED end)
  local err = fails(0x80070005, "^only on Sundays$", function() return assert(rsca.call("refuses")) end)
  T.match(err.traceback, "^stack traceback:\n")
  fails(0x80070005, "^only on Sundays$", function() error((select(2, rsca.call("refuses")))) end)
  fails(0x80070005, "^only on Sundays$", function()
    local _, problem = pcall(function() return assert(rsca.call("refuses")) end)
    error(problem, 0)
  end)
end)

T.test("a message may hold any byte", function()
  local bytes = "a\0b\xFF\n\0"
  local status, got = run(function() return nil, bytes end)
  T.equal(status, rsca.status.E_FAIL)
  T.equal(got, bytes)
  local _, _, _, err = run(function() return nil, bytes end)
  T.equal(err.message, bytes)
end)

T.test("raising is E_FAIL, with file and line, and a traceback of where it happened", function()
  local place
  local function breaks()
    place = debug.getinfo(1, "l").currentline + 1
    error("broken")
  end
  local err = fails(rsca.status.E_FAIL, "", function()
    breaks()
  end)
  T.match(err.message, "^[^\n]*results_test%.lua:" .. place .. ": broken$")
  T.match(err.traceback, "^stack traceback:\n")
  T.match(err.traceback, "results_test%.lua:" .. place .. ": in upvalue 'breaks'")
  T.equal(select(2, err.traceback:gsub("stack traceback:", "")), 1)
  err = fails(rsca.status.E_FAIL, "attempt to index a nil value", function()
    local nothing
    return nothing.field
  end)
  T.match(err.message, "results_test%.lua:%d+: ")
end)

T.test("the bytes of what raised are: message, newline, stack traceback:, newline, traceback", function()
  local _, bytes = run(function() error("broken", 0) end)
  T.match(bytes, "^broken\nstack traceback:\n\t%[C%]: in function 'error'\n")
end)

T.test("whatever is raised fails the call, and is told as its text", function()
  fails(rsca.status.E_FAIL, "^nil$", function() error(nil) end)
  fails(rsca.status.E_FAIL, "^nil$", function() error() end)
  fails(rsca.status.E_FAIL, "^5$", function() error(5) end)
  fails(rsca.status.E_FAIL, "^true$", function() error(true) end)
  fails(rsca.status.E_FAIL, "^table: ", function() error(plain) end)
  fails(rsca.status.E_FAIL, "^$", function() error("", 0) end)
  fails(rsca.status.E_FAIL, "^said nicely$", function()
    error(setmetatable({}, { __tostring = function() return "said nicely" end }))
  end)
end)

T.test("what is raised may hold any byte", function()
  local bytes = "a\0b\xFF\0"
  local _, got = run(function() error(bytes, 0) end)
  T.equal(got:sub(1, #bytes), bytes)
  T.match(got:sub(#bytes + 1), "^\nstack traceback:\n")
end)

T.test("a value whose text can't be had fails the call too", function()
  local mute = setmetatable({}, { __tostring = function() error("no text") end })
  local wrong = setmetatable({}, { __tostring = function() return {} end })
  fails(rsca.status.E_FAIL, "", function() error(mute) end)
  fails(rsca.status.E_FAIL, "", function() error(wrong) end)
  fails(rsca.status.E_FAIL, "", function() return nil, mute end)
  fails(rsca.status.E_FAIL, "", function() return nil, wrong end)
end)

T.test("an action that raises closes what it holds, whatever it raised", function()
  local closed = T.expect(9) -- each runs three times
  local mute = setmetatable({}, { __tostring = function() error("no text") end })
  for _, value in ipairs { "text", {}, mute } do
    fails(rsca.status.E_FAIL, "", function()
      local _ <close> = setmetatable({}, { __close = function() closed() end })
      error(value)
    end)
  end
end)

T.test("an error in a <close> variable is the one that counts", function()
  fails(rsca.status.E_FAIL, "second", function()
    local _ <close> = setmetatable({}, { __close = function() error("second") end })
    return "first"
  end)
end)

T.test("running out of stack is a failure like any other", function()
  local function deeper(n) return 1 + deeper(n + 1) end
  T.collect()
  collectgarbage("stop") -- Lua gives up a finalizer that runs where the stack is full, and with it what it would free
  fails(rsca.status.E_FAIL, "stack overflow", function() return deeper(1) end)
  collectgarbage("restart")
  responds("fine", function() return "fine" end)
end)

T.test("what ctx:report reported and what is returned arrive joined, in one", function()
  responds("abc", function(_, ctx)
    T.equal(ctx:report("a"), true)
    T.equal(ctx:report("b"), true)
    return "c"
  end)
  responds("ab", function(_, ctx)
    ctx:report("a")
    ctx:report("")
    ctx:report("b")
  end)
  responds("1\0\xFF2.57", function(_, ctx)
    ctx:report(1)
    ctx:report("\0\xFF")
    ctx:report(2.5)
    return 7
  end)
  responds("ab", function(_, ctx)
    ctx:report("a")
    coroutine.yield()
    ctx:sleep(0)
    return "b"
  end)
end)

T.test("reports keep the success status that was chosen", function()
  local status, bytes = run(function(_, ctx)
    ctx:report("a")
    return "b", rsca.status.S_FALSE
  end)
  T.equal(status, 1)
  T.equal(bytes, "ab")
end)

T.test("reports of one call don't show up in the next", function()
  responds("a", function(_, ctx) ctx:report("a") end)
  responds("", function() end)
  responds("b", function() return "b" end)
end)

T.test("reports may be large and many", function()
  local piece = ("0123456789abcdef"):rep(64)
  responds(piece:rep(2048), function(_, ctx)
    for _ = 1, 2048 do
      ctx:report(piece)
    end
  end)
end)

T.test("beyond the response limit a call fails with E_OUTOFMEMORY and a message, whatever it returns", function()
  local m <close> = rsca.manager { response_limit = 10 }
  local refused
  m:register("fits", function(_, ctx) ctx:report("12345") return "67890" end)
  m:register("returned", function() return "12345678901" end)
  m:register("joined", function(_, ctx) ctx:report("12345") return "678901" end)
  m:register("reported", function(_, ctx)
    ctx:report("12345")
    refused = select(2, ctx:report("678901"))
  end)
  m:register("after", function(_, ctx)
    ctx:report("12345678901")
    return "short"
  end)
  T.equal(m:call("fits"), "1234567890")
  for _, name in ipairs { "returned", "joined", "reported", "after" } do
    local response, err = m:call(name)
    T.equal(response, nil, name)
    T.equal(err.name, "E_OUTOFMEMORY", name)
    T.equal(err.message, "the response is larger than the response limit", name)
    T.equal(err.action, name)
  end
  T.equal(refused.name, "E_OUTOFMEMORY")
  -- Of a registration each response may have that many bytes.
  m:register("many", function(_, ctx)
    for _, response in ipairs { "1234567890", "12345678901", "1234567890" } do
      ctx:report(response)
    end
  end)
  local heard = {}
  local good, err = pcall(function()
    for response in m:responses("many") do
      heard[#heard + 1] = response
    end
  end)
  T.equal(table.concat(heard, " "), "1234567890 1234567890")
  T.equal(good, false)
  T.equal(err.name, "E_OUTOFMEMORY")
  T.equal(err.message, "the response is larger than the response limit")
end)

T.test("of an action that failed only the failure is told, not what it reported", function()
  fails(rsca.status.E_FAIL, "^no luck$", function(_, ctx)
    ctx:report("a")
    return nil, "no luck"
  end)
  fails(0x80070005, "^text$", function(_, ctx)
    ctx:report("a")
    return "text", 0x80070005
  end)
  fails(rsca.status.E_FAIL, "broken$", function(_, ctx)
    ctx:report("a")
    error("broken")
  end)
end)

T.test("an action that returns before its cancel reaches it is answered with all of its response", function()
  responds("abc", function(_, ctx)
    T.equal(ctx:report("a"), true)
    T.equal(rsca.cancel(ctx.id), true)
    T.equal(ctx:report("b"), true)
    return "c"
  end)
end)

T.test("ctx:report takes bytes, and says so", function()
  responds("", function(_, ctx)
    T.raises("bad argument #1 to 'report' %(response %(a string%) expected, got nil%)", function() ctx:report(nil) end)
    T.raises("bad argument #1 to 'report' %(response %(a string%) expected, got no value%)", function()
      ctx:report()
    end)
    T.raises("response %(a string%) expected, got table", function() ctx:report({}) end)
    T.raises("response %(a string%) expected, got boolean", function() ctx:report(true) end)
    T.raises("rsca.ctx expected, got string", function() ctx.report("text") end)
  end)
end)

T.finish()
