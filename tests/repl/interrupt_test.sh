#!/bin/sh
# Ctrl-C ends what was started at the prompt, whatever it does, and nothing else.
# shellcheck source=tests/repl/support.sh
. ./support.sh

# stops LINE [PATTERN]: a chunk that says "begun" and would never end; a line of the screen matches after Ctrl-C.
stops() {
  what=$1
  clears
  enters "print('be' .. 'gun') $1"
  sees begun
  keys C-c
  sees "${2:-.*interrupted}" && prompts
}

# stops_shell COMMAND: the same for a loop of a command for the shell, which says "begun" itself.
stops_shell() {
  what=$1
  clears
  enters "while true do os.execute([[$1]]) end"
  sees begun
  keys C-c
  sees '.*interrupted' && prompts
}

# interrupts_to PATTERN: whether a line matches; if none does, Ctrl-C.
# shellcheck disable=SC2317 # for until_true
interrupts_to() {
  has_line "$1" || {
    keys C-c
    false
  }
}

starts
enters '.run gate g1 still here'
clears

stops 'rsca.sleep(1000)' interrupted
stops 'while true do pcall(rsca.sleep, 1000) end' interrupted
stops 'rsca.call("forever")' interrupted
stops 'rsca.run("forever"):await()' interrupted
stops 'for r in rsca.responses("forever") do end' interrupted
stops 'while true do coroutine.yield() end' interrupted
stops 'local c <close> = setmetatable({}, { __close = function() print("clo" .. "sed") end }) rsca.sleep(1000)' closed

# Not for a runtime that keeps signals from a thread that computes.
if [ "${RSCA_SANITIZE-}" != thread ]; then
  stops 'while true do end'
  stops 'while true do pcall(function() while true do end end) end'
  stops 'while true do pcall(error) end'
  stops 'while true do xpcall(function() while true do end end, function() while true do end end) end'
  stops 'coroutine.wrap(function() while true do end end)()'
  stops 'while true do coroutine.resume(coroutine.create(function() while true do end end)) end'
  stops 'local c = coroutine.create(function() while true do coroutine.yield() end end) while true do coroutine.resume(c) end'
  stops 'coroutine.wrap(function() coroutine.wrap(function() while true do pcall(error) end end)() end)()'
  stops 'repeat local t = setmetatable({}, { __index = function() while true do end end }) until t.x'
  stops 'local c <close> = setmetatable({}, { __close = function() print("clo" .. "sed") end }) while true do end' closed
  stops 'return setmetatable({}, { __tostring = function() while true do end end })' 'table, whose __tostring raises'

  # The shell is told by the terminal, and ends by itself or by saying so.
  stops_shell "echo be''gun; sleep 1000"
  stops_shell "trap 'exit 130' INT; echo be''gun; sleep 1000"

  what="what catches its being stopped has no results to show"
  clears
  enters "print('be' .. 'gun') return load(function() while true do end end)"
  sees begun
  keys C-c
  sees '.*interrupted'
  ! screen | grep -q userdata || fail "it shows what it came to"

  what="an action that computes for ever"
  rm -f "$work/spinning"
  clears
  enters '.run spin'
  until_true test -e "$work/spinning"
  # The first is for the line that is typed, unless the action has been in the way of that for long; the next is for it.
  until_true interrupts_to '.*spin: cancelled' || fail "it goes on"
  prompts

  what="a chunk that waits while an action computes for ever"
  rm -f "$work/spinning"
  clears
  enters 'rsca.run("spin") rsca.sleep(1000)'
  until_true test -e "$work/spinning"
  until_true interrupts_to interrupted || fail "it goes on"
  prompts

  what="a script"
  cat >"$work/busy.lua" <<'END'
print("be" .. "gun")
while true do pcall(function() while true do end end) end
END
  cat >"$work/nested.lua" <<'END'
print("be" .. "gun")
coroutine.wrap(function() while true do pcall(error) end end)()
END
  cat >"$work/waiting.lua" <<'END'
local rsca = require "rsca"
print("be" .. "gun")
rsca.run("forever", "", print)
while true do pcall(rsca.loop) end
END
  for script in busy nested waiting; do
    clears
    enters ".load $work/$script.lua"
    sees begun
    keys C-c
    sees '.*interrupted'
    prompts
  done
fi

what="a line that is typed, and one that is not complete"
clears
types 'some text'
ends_with '> some text'
keys C-c
enters 'for i = 1, 2 do'
ends_with '>>'
types 'print(i)'
ends_with '>> print(i)'
keys C-c
prompts
enters '"all " .. "well"'
shows <<'END'
> some text^C
> for i = 1, 2 do
>> print(i)^C
> "all " .. "well"
"all well"
>
END
keys C-c
sees 'Ctrl-D or .quit leaves'

what="what was going on all the while"
clears
opens g1
sees '\[1\] gate: still here'
enters .quit
exits 0

finish
