-- The harness of the benchmarks: measures subjects in interleaved rounds, and prints rows of one table.
--
--   local bench = require "bench.bench"
--   local of = bench.rounds {
--     { "bare", function(n) ... end },                 -- does its work n times
--     { "ours", function(n) ... end, unit = 1024 },    -- n is a multiple of its unit
--   }
--   bench.row { "ours", of.ours, than = of.bare, called = "bare", at_most = 1.4 }
--
-- Every round measures every subject once, one after the other, so that what slows the machine for a while slows all
-- of them. A ratio is that of two samples of one round; a row shows the median and the quartiles over all rounds.
--
-- RSCA_BENCH_SMOKE=1 measures hardly at all: to see that a program works.
-- RSCA_BENCH_ROWS=1 leaves out the head of the table, which else comes before the first row.
-- RSCA_BENCH_COUNT=FILE is how a program runs itself below callgrind: see rounds.

local core = require "bench.core"
local process = require "bench.process"

local bench = {}

bench.smoke = os.getenv("RSCA_BENCH_SMOKE") == "1"
local counting = os.getenv("RSCA_BENCH_COUNT")

local ROUNDS = bench.smoke and 3 or 15
local SAMPLE_NS = bench.smoke and 100e3 or 20e6
local COUNTED = bench.smoke and 64 or 16384

-- `full`, or in a smoke run `quick`.
function bench.size(full, quick)
  return bench.smoke and quick or full
end

-- ---- Numbers ----

-- The value below which `part` of them lie.
local function quantile(sorted, part)
  local place = 1 + (#sorted - 1) * part
  local low = math.floor(place)
  local high = math.min(low + 1, #sorted)
  return sorted[low] + (sorted[high] - sorted[low]) * (place - low)
end

local function summary(values)
  local sorted = table.move(values, 1, #values, 1, {})
  table.sort(sorted)
  return { median = quantile(sorted, 0.5), low = quantile(sorted, 0.25), high = quantile(sorted, 0.75) }
end

local function digits(value)
  if value >= 99.95 or value <= -99.95 then
    return ("%.0f"):format(value)
  elseif value >= 9.995 or value <= -9.995 then
    return ("%.1f"):format(value)
  end
  return ("%.2f"):format(value)
end

function bench.time(ns)
  if ns >= 1e9 then
    return digits(ns / 1e9) .. " s"
  elseif ns >= 1e6 then
    return digits(ns / 1e6) .. " ms"
  elseif ns >= 1e3 then
    return digits(ns / 1e3) .. " µs"
  end
  return digits(ns) .. " ns"
end

function bench.bytes(size)
  if size >= 1 << 20 or size <= -(1 << 20) then
    return digits(size / (1 << 20)) .. " MiB"
  elseif size >= 1 << 10 or size <= -(1 << 10) then
    return digits(size / (1 << 10)) .. " KiB"
  end
  return ("%.0f B"):format(size)
end

-- ---- The table ----

local COLUMNS = {
  { "what", 68 }, { "figure", 8 }, { "ratio", 20 }, { "quartiles", 9 }, { "instr.", 7 }, { "ratio", 5 },
  { "goal", 10 }, { "met", 3 },
}

local head_is_due = os.getenv("RSCA_BENCH_ROWS") ~= "1"

local function print_cells(cells)
  local line = {}
  for i, column in ipairs(COLUMNS) do
    local cell = cells[i] or ""
    local padding = (" "):rep(column[2] - utf8.len(cell))
    line[i] = i == 1 and cell .. padding or padding .. cell
  end
  io.write("| ", table.concat(line, " | "), " |\n")
  io.flush()
end

function bench.head()
  local names, rules = {}, {}
  for i, column in ipairs(COLUMNS) do
    names[i] = column[1]
    rules[i] = ("-"):rep(column[2] - (i > 1 and 1 or 0)) .. (i > 1 and ":" or "")
  end
  head_is_due = false
  print_cells(names)
  print_cells(rules)
end

local function print_row(cells)
  if head_is_due then
    bench.head()
  end
  print_cells(cells)
end

local function verdict(value, row)
  if row.at_most then
    return "≤ " .. (row.show or digits)(row.at_most), value <= row.at_most and "yes" or "no"
  elseif row.at_least then
    return "≥ " .. (row.show or digits)(row.at_least), value >= row.at_least and "yes" or "no"
  end
end

-- A row about what `rounds` gave for a subject, per operation:
-- { what, sample, than =, called = [, faster = true] [, at_most = | at_least =]}.
-- The ratio is how many times as long it takes as `than`, a sample of the same rounds whose short name is `called`;
-- with `faster` it is how many times as long that takes.
function bench.row(row)
  local what, sample = row[1], row[2]
  local cells = { what, bench.time(summary(sample).median) }
  if row.than then
    local ratios = {}
    for i, ns in ipairs(sample) do
      ratios[i] = row.faster and row.than[i] / ns or ns / row.than[i]
    end
    local ratio = summary(ratios)
    cells[3] = digits(ratio.median) .. " × " .. row.called .. (row.faster and "'s speed" or "")
    cells[4] = digits(ratio.low) .. "–" .. digits(ratio.high)
    cells[7], cells[8] = verdict(ratio.median, row)
  end
  if sample.instructions then
    cells[5] = ("%.0f"):format(sample.instructions)
    if row.than and row.than.instructions then
      cells[6] = digits(sample.instructions / row.than.instructions)
    end
  end
  print_row(cells)
end

-- A row about something that is not measured in rounds:
-- { what, value, show = function [, note =] [, at_most = | at_least =]}.
-- `show` makes a text of the value and of the goal, which is for the value, or for `judged`.
function bench.figure(row)
  local goal, met = verdict(row.judged or row[2], row)
  print_row { row[1], row.show(row[2]), row.note, nil, nil, nil, goal, met }
end

-- A row about what this process takes of a core while `wait(seconds)` waits for something that doesn't come.
function bench.idle(what, wait)
  local start_ns, cpu_ns = core.now(), core.cpu()
  wait(bench.size(2, 0.05))
  bench.figure { what, 100 * (core.cpu() - cpu_ns) / (core.now() - start_ns), show = function(percent)
    return ("%.2f %%"):format(percent)
  end, at_most = 0.1 }
end

-- ---- Measuring ----

local function timed(run, n)
  local start = core.now()
  run(n)
  return core.now() - start
end

local function rounded_up(n, unit)
  return (n + unit - 1) // unit * unit
end

-- How many operations a sample takes; also warms up.
local function calibrated(subject)
  local unit = subject.unit or 1
  local n = unit
  while true do
    local ns = timed(subject[2], n)
    if ns >= SAMPLE_NS / 4 then
      return rounded_up(math.max(1, math.floor(n * SAMPLE_NS / ns)), unit)
    end
    n = n * 2
  end
end

-- Instructions per operation, of this program as it is run below callgrind: it comes here, and no further. The function
-- `counted` makes one dump for each subject.
local function count_here(subjects)
  local file <close> = assert(io.open(counting, "w"))
  for _, subject in ipairs(subjects) do
    local n = rounded_up(COUNTED, subject.unit or 1)
    subject[2](n)
    core.counted(subject[2], n)
    file:write(n, "\n")
  end
  file:close()
  os.exit(0)
end

-- The sum of a dump.
local function dumped(path)
  for line in io.lines(path) do
    local sum = line:match("^totals: (%d+)")
    if sum then
      return tonumber(sum)
    end
  end
  error("callgrind wrote no totals to " .. path)
end

-- A new directory for files of this program's own, to be closed; `.path`.
function bench.directory()
  return setmetatable({ path = process.directory() }, { __close = function(directory)
    assert(os.execute("rm -r " .. directory.path))
  end })
end

local function count(subjects, samples)
  local scratch <close> = bench.directory()
  local directory = scratch.path
  local operations = directory .. "/operations"
  local valgrind <close> = process.start("env", "RSCA_BENCH_COUNT=" .. operations, "valgrind", "--quiet",
    "--tool=callgrind", "--collect-atstart=no", "--toggle-collect=bench_counted", "--dump-after=bench_counted",
    "--callgrind-out-file=" .. directory .. "/out", table.unpack(arg, -1))
  assert(valgrind:wait() == 0, "valgrind failed")
  local i = 0
  for line in io.lines(operations) do
    i = i + 1
    samples[subjects[i][1]].instructions = dumped(directory .. "/out." .. i) / tonumber(line)
  end
  assert(i == #subjects, "valgrind counted something else")
end

-- Measures each subject, { name, function(n) [, unit =] } or { name, sample = function() return ns end }, once in each
-- round. Returns a table by name of samples: ns per operation, one for each round.
--
-- With `instructions = true` beside the subjects it counts these too, for what one thread does alone. At most one call
-- in a program says so, and before any other.
function bench.rounds(subjects)
  if counting then
    count_here(subjects)
  end
  local samples, counts = {}, {}
  for i, subject in ipairs(subjects) do
    counts[i] = subject[2] and calibrated(subject)
    samples[subject[1]] = {}
  end
  for round = 1, ROUNDS do
    for i, subject in ipairs(subjects) do
      samples[subject[1]][round] = subject.sample and subject.sample() or timed(subject[2], counts[i]) / counts[i]
    end
  end
  if subjects.instructions then
    count(subjects, samples)
  end
  return samples
end

function bench.median(sample)
  return summary(sample).median
end

-- Of a list of numbers.
function bench.quantile(values, part)
  table.sort(values)
  return quantile(values, part)
end

local function follow(...)
  core.setenv("RSCA_BENCH_ROWS", "1")
  local child <close> = process.start_here(...)
  assert(child:wait() == 0, "a second run failed")
end

-- Runs the program again, with these arguments; its rows follow.
function bench.again(...)
  follow(arg[-1], arg[0], ...)
end

-- The same, on one core.
function bench.again_on_one_core(...)
  follow("taskset", "--cpu-list", "0", arg[-1], arg[0], ...)
end

-- A sample made of others of the same rounds: bench.combine(function(a, b) return a - b end, of.a, of.b).
function bench.combine(f, ...)
  local result = {}
  local others = { ... }
  for round = 1, ROUNDS do
    local values = {}
    for i, other in ipairs(others) do
      values[i] = other[round]
    end
    result[round] = f(table.unpack(values))
  end
  local counted = {}
  for i, other in ipairs(others) do
    counted[i] = other.instructions
  end
  if #counted == #others then
    result.instructions = f(table.unpack(counted))
  end
  return result
end

return bench
