-- m:running(): what is in flight, with its state and where it is just now; and what a shutdown says it has cut.

local T = require "lua.support"
local pools = require "lua.pools"
local rsca = require "rsca"

local chunk = [[
local function forever()
  while not shared:get "end" do
  end
end

rsca.register("computes", function()
  tell "computes"
  forever()
end)
rsca.register("computes in a coroutine", function()
  tell "computes in a coroutine"
  coroutine.wrap(function() forever() end)()
end)
rsca.register("waits", function(_, ctx)
  tell "waits"
  await(ctx, "end")
end)
rsca.register("waits for another", function()
  return rsca.call("waits")
end)
rsca.register("blocks", function(path)
  tell "blocks"
  block(path)
end)
rsca.register("asks", function()
  local list = {}
  for i, call in ipairs(rsca.running()) do
    list[i] = call.action .. " " .. call.state .. " " .. tostring(call.traceback ~= nil)
  end
  return table.concat(list, ", ")
end)
]]

local function open(options)
  options = options or {}
  options.time_limit = math.huge
  return pools.open(chunk, options)
end

-- The call of this number, when it is so and its thread has answered.
local function find(manager, id, state, traceback)
  return pools.wait_until(function()
    for _, call in ipairs(manager:running()) do
      if call.id == id and call.state == state and (call.traceback ~= nil) == traceback then
        return call
      end
    end
  end, state)
end

T.test("nothing in flight is an empty list", function()
  local manager <close> = open()
  T.equal(#manager:running(), 0)
  T.equal(manager:call("works", "x"), "x")
  T.equal(#manager:running(), 0)
end)

T.test("running, waiting and queued, oldest first, each with its arguments' head and its age", function()
  local manager <close> = open()
  local waits = assert(manager:run("waits", "w"))
  pools.wait_for(manager, "waits")
  local computes = assert(manager:run("computes", ("ä"):rep(100)))
  pools.wait_for(manager, "computes")
  local queued = assert(manager:subscribe("works", "q", function() end))

  local call = find(manager, computes.id, "running", true)
  T.equal(call.action, "computes")
  T.equal(call.args, ("ä"):rep(31), "63 bytes, and no half characters")
  T.equal(call.registration, false)
  T.match(call.traceback, "^stack traceback:\n.*in upvalue 'forever'.*in function <script:%d+>$")
  T.equal(math.type(call.age), "float")
  local age = call.age
  pools.wait_until(function()
    return find(manager, computes.id, "running", true).age > age
  end)

  call = find(manager, waits.id, "waiting", true)
  T.equal(call.args, "w")
  T.match(call.traceback, "^stack traceback:\n.*'await'.*in function <script:%d+>$")

  call = find(manager, queued.id, "queued", false)
  T.equal(call.registration, true)
  T.equal(call.args, "q")

  local ids = {}
  for i, each in ipairs(manager:running()) do
    ids[i] = each.id
  end
  T.equal(table.concat(ids, " "), ("%d %d %d"):format(waits.id, computes.id, queued.id))

  pools.go(manager, "end")
  computes:await()
  waits:await()
  rsca.loop()
  T.equal(#manager:running(), 0)
end)

T.test("the traceback is live: of the innermost coroutine, and of what waits for another", function()
  local manager <close> = open { workers = 2 }
  local nested = assert(manager:run("computes in a coroutine"))
  local outer = assert(manager:run("waits for another"))
  T.match(find(manager, nested.id, "running", true).traceback, "in upvalue 'forever'")
  T.match(find(manager, outer.id, "waiting", true).traceback, "in function 'rsca[%w.]*%.call'")
  pools.go(manager, "end")
  T.equal(nested:await(), "")
  T.equal(outer:await(), "")
end)

T.test("what is inside a C function can't say where it is; the others can", function()
  local fifo <close> = pools.fifo()
  local manager <close> = open { workers = 2 }
  local blocks = assert(manager:run("blocks", fifo.path))
  pools.wait_for(manager, "blocks")
  local computes = assert(manager:run("computes"))
  pools.wait_for(manager, "computes")
  find(manager, blocks.id, "running", false)
  find(manager, computes.id, "running", true)
  fifo.open()
  T.equal(blocks:await(), "")
  pools.go(manager, "end")
  T.equal(computes:await(), "")
end)

T.test("from inside an action", function()
  local manager <close> = open()
  local waits = assert(manager:run("waits"))
  pools.wait_for(manager, "waits")
  T.equal(manager:call("asks"), "waits waiting true, asks running true")
  pools.go(manager, "end")
  T.equal(waits:await(), "")
end)

T.test("a traceback is of 16 KiB at most", function()
  local manager <close> = pools.open [[
    local module, name = {}, ("n"):rep(100000)
    package.loaded.module = module
    module[name] = function() rsca.sleep(1e6) end
    local waits = module[name]
    rsca.register("waits", function() tell "waits" waits() return 1 end)
  ]]
  assert(manager:run("waits"))
  pools.wait_for(manager, "waits")
  local traceback = pools.wait_until(function() return manager:running()[1].traceback end)
  T.equal(#traceback, 16 << 10)
  T.match(traceback, "^stack traceback:")
end)

T.test("asking leaves what runs as it is", function()
  local manager <close> = open { workers = 2 }
  local requests = { assert(manager:run("computes")), assert(manager:run("computes in a coroutine")) }
  for _ = 1, 300 do
    manager:running()
  end
  pools.go(manager, "end")
  for _, request in ipairs(requests) do
    T.equal(request:await(), "")
  end
  T.equal(manager:health().stuck, 0)
end)

T.test("here: what waits, and what asks", function()
  local manager <close> = rsca.manager()
  manager:register("asks", function(_, ctx)
    ctx:sleep(0)
    local list = manager:running()
    T.equal(#list, 2)
    T.equal(list[1].state, "waiting")
    T.match(list[1].traceback, "running_test%.lua")
    T.equal(list[2].state, "running")
    T.match(list[2].traceback, "running_test%.lua")
  end)
  manager:register("waits", function(_, ctx) ctx:sleep(1e6) end)
  local waits = assert(manager:run("waits"))
  T.equal(manager:running()[1].state, "queued")
  assert(manager:call("asks"))
  waits:cancel()
end)

T.test("a shutdown says what it has cut: oldest first, and without a traceback", function()
  local manager <close> = open()
  local waits = assert(manager:run("waits", "w"))
  pools.wait_for(manager, "waits")
  local computes = assert(manager:run("computes", "c"))
  pools.wait_for(manager, "computes")
  local queued = assert(manager:subscribe("works", "q", function() end))
  local done, cut = manager:shutdown(true)
  T.equal(done, true)
  T.equal(#cut, 3)
  for i, expected in ipairs { { waits.id, "waits", "w", "waiting", false },
    { computes.id, "computes", "c", "running", false }, { queued.id, "works", "q", "queued", true } } do
    local call = cut[i]
    T.equal(call.id, expected[1])
    T.equal(call.action, expected[2])
    T.equal(call.args, expected[3])
    T.equal(call.state, expected[4])
    T.equal(call.registration, expected[5])
    T.equal(call.traceback, nil)
    T.truthy(call.age >= 0)
  end
  rsca.loop()
  for _, request in ipairs { waits, computes } do
    T.equal(select(2, request:await()).status, rsca.status.ERROR_CANCELLED)
  end
  local again, still = manager:shutdown(true)
  T.equal(again, true)
  T.equal(#still, 3)
end)

T.test("a shutdown that has nothing to cut says so", function()
  local manager <close> = open()
  local request = assert(manager:run("works", "x"))
  local done, cut = manager:shutdown()
  T.equal(done, true)
  T.equal(#cut, 0)
  T.equal(request:await(), "x")
end)

T.finish()
