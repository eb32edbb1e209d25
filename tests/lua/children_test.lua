-- What actions of a pool start: os.execute and io.popen are as in any Lua, but for the signals that are blocked.

local T = require "lua.support"
local rsca = require "rsca"

local manager = assert(rsca.manager {
  workers = 1,
  chunk = [[
    local rsca = require "rsca"

    -- Runs a chunk, and answers with what it returned.
    rsca.register("lua", function(args)
      local results = table.pack(assert(load(args))())
      for i = 1, results.n do
        results[i] = tostring(results[i])
      end
      return table.concat(results, " ")
    end)
  ]],
})

-- The same here and in a worker.
local function same(chunk)
  local here = table.pack(assert(load(chunk))())
  for i = 1, here.n do
    here[i] = tostring(here[i])
  end
  T.equal(assert(manager:call("lua", chunk)), table.concat(here, " "), chunk)
end

T.test("children have no signals blocked but the host's", function()
  local own_mask = [[return io.open("/proc/thread-self/status"):read("a"):match("SigBlk:%s*(%x+)")]]
  T.match(manager:call("lua", own_mask), "[^0]")
  local mine = load(own_mask)()
  T.equal(manager:call("lua", [[
    local pipe <close> = io.popen("exec sed -n 's/SigBlk:.//p' /proc/self/status")
    return pipe:read("l")
  ]]), mine)
  T.equal(manager:call("lua", [[
    local name = os.tmpname()
    os.execute("exec sed -n 's/SigBlk:.//p' /proc/self/status >" .. name)
    local file <close> = io.open(name)
    os.remove(name)
    return file:read("l")
  ]]), mine)
end)

T.test("os.execute answers as Lua's own", function()
  same "return os.execute()"
  same "return os.execute('exit 0')"
  same "return os.execute('exit 3')"
  same "return os.execute('kill -s TERM $$')"
  same "return os.execute('no such command 2>/dev/null')"
  same "return pcall(os.execute, {})"
end)

T.test("io.popen reads", function()
  same "local p = io.popen('printf \"one\\\\ntwo\"') return p:read('l', 'a', 'a', 'l')"
  same "local p = io.popen('exit 3') return p:read('a'), p:close()"
  same "local p = io.popen('kill -s KILL $$', 'r') return p:close()"
  same "local p = io.popen('true') p:close() return pcall(p.read, p), io.type(p)"
  same "return io.type(io.popen('true'))"
  same "local all = {} for line in io.popen('seq 3'):lines() do all[#all + 1] = line end return table.concat(all)"
end)

T.test("io.popen writes", function()
  same [[
    local name = os.tmpname()
    local p = io.popen("tr a-z A-Z >" .. name, "w")
    p:write("hello ", 1)
    local closed = p:close()
    local file <close> = io.open(name)
    os.remove(name)
    return closed, file:read("a")
  ]]
end)

T.test("io.popen refuses what Lua's own refuses", function()
  same "return select('#', pcall(io.popen)), (pcall(io.popen, 'true', 'rw'))"
  same "return pcall(function() return io.popen('true', 'x') end)"
end)

T.test("a pipe that is open in a worker is not open in its other children", function()
  -- Files that the tests above have left open, here and in the worker, and that every child has.
  T.collect()
  assert(manager:call("lua", "collectgarbage() collectgarbage()"))
  local function open_in_child(before)
    return assert(manager:call("lua", before .. [[
      local pipe <close> = io.popen("exec ls /proc/self/fd")
      return pipe:read("a")
    ]]))
  end
  T.equal(open_in_child('local other <close> = io.popen("cat", "w")'), open_in_child(""))
end)

T.test("a pipe that is not closed is closed by the collector", function()
  T.equal(manager:call("lua", [[
    for _ = 1, 200 do
      io.popen("true")
    end
    collectgarbage()
    collectgarbage()
    return "all gone"
  ]]), "all gone")
end)

T.finish()
