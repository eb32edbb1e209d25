-- Runs benchmarks, each as a program of its own, and prints their rows in one table.
-- usage: rsca_bench run.lua [NAME]...     (default: all)

local bench = require "bench.bench"
local core = require "bench.core"
local process = require "bench.process"

local names = { "path", "responses", "streams", "sleepers", "footprint", "workers", "pool", "luv", "redis" }

local function first_match(path, pattern)
  local file <close> = io.open(path)
  return file and file:read("a"):match(pattern) or "unknown"
end

local function wrong_usage(name)
  io.stderr:write(("no such benchmark: %s (there are %s)\n"):format(name, table.concat(names, ", ")))
  os.exit(2)
end

local wanted = { ... }
if #wanted == 0 then
  wanted = names
end
for _, name in ipairs(wanted) do
  if not (" " .. table.concat(names, " ") .. " "):find(" " .. name .. " ", 1, true) then
    wrong_usage(name)
  end
end

print(("%s, %d CPUs, Linux %s, %s, %s, %s"):format(first_match("/proc/cpuinfo", "model name%s*: ([^\n]+)"), core.cpus(),
  first_match("/proc/sys/kernel/osrelease", "^[%d.]+"), core.compiler, core.lua_release, os.date("%Y-%m-%d")))
print()
bench.head()
core.setenv("RSCA_BENCH_ROWS", "1")
local failed = {}
for _, name in ipairs(wanted) do
  local program <close> = process.start_here(arg[-1], (arg[0]:gsub("run%.lua$", name .. "_bench.lua")))
  if program:wait() ~= 0 then
    failed[#failed + 1] = name
  end
end
if #failed > 0 then
  io.stderr:write("failed: ", table.concat(failed, ", "), "\n")
  os.exit(1)
end
