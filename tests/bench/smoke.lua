-- Shows that a benchmark works: runs it, hardly measuring, and looks at the rows that it prints.
-- usage: rsca_bench smoke.lua NAME

local core = require "bench.core"

core.setenv("RSCA_BENCH_SMOKE", "1")
local run = arg[0]:gsub("smoke%.lua$", "run.lua")
local pipe = assert(io.popen(("'%s' '%s' %s"):format(arg[-1], run, ...)))
local rows, instructions, wrong = 0, 0, {}
for line in pipe:lines() do
  print(line)
  local what, figure, counted = line:match("^| (.-) +| +(.-) | .- | .- | +(%S*) |")
  if what and what ~= "what" and not what:match("^%-+$") then
    rows = rows + 1
    instructions = instructions + (tonumber(counted) and 1 or 0)
    -- Memory may shrink; nothing else is negative, and nothing is no number.
    if not figure:match("^%-?%d") or line:find("nan", 1, true) or line:find("inf", 1, true) then
      wrong[#wrong + 1] = what
    end
  end
end
assert(pipe:close(), "the program failed")
assert(rows > 0, "it printed no row")
assert(#wrong == 0, "no figure: " .. table.concat(wrong, "; "))
assert((instructions > 0) == ((...) == "path"), "instructions are counted by path, and by path alone")
