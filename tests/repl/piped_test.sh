#!/bin/sh
# Without a terminal: no prompt, values to standard output, errors to standard error, and an exit status.
# shellcheck source=tests/repl/support.sh
. ./support.sh

# feeds STATUS [ARGUMENT...]: what stands on stdin, to the prompt.
feeds() {
  expected=$1
  shift
  what="rsca repl $* <<$(cat >"$work/input"; head -n 3 "$work/input")"
  # shellcheck disable=SC2086
  $program repl "$@" <"$work/input" >"$work/output" 2>"$work/errors"
  status=$?
  [ $status -eq "$expected" ] || fail "exit status $status, not $expected: $(cat "$work/errors")"
}

# says LINE...: that is what stdout is; complains LINE...: stderr.
says() {
  printf '%s\n' "$@" | diff -u - "$work/output" >&2 || fail "that is not what it says"
}
complains() {
  printf '%s\n' "$@" | diff -u - "$work/errors" >&2 || fail "that is not what it complains"
}
is_quiet() {
  [ ! -s "$work/errors" ] || fail "stderr: $(cat "$work/errors")"
}

feeds 0 actions.lua <<'END'
6 * 7
local x = "kept"
x, nil
for i = 1, 2 do
  print(i)
end
rsca.call("echo", "called")
.run echo run
_1:await()
{1, {2}}
END
says 42 '"kept"	nil' 1 2 '"<called>"' '[2] echo: <run>' '"<run>"' '{1, {2}}'
is_quiet

: | feeds 0
[ ! -s "$work/output" ] || fail "it says something"
is_quiet
printf '6 * 7' | feeds 0
says 42
printf 'x = 1\r\nx + 1\r\n' | feeds 0
says 2

# What was asked for is waited for, unless .quit says otherwise.
: >"$work/g1"
: >"$work/s1"
: >"$work/s2"
feeds 0 actions.lua <<'END'
.watch steps s 2
rsca.subscribe("steps", "s 1", function(status, response) print("handler", response) end)
END
grep -q '^\[1\] steps: step 2$' "$work/output" || fail "not all was shown: $(cat "$work/output")"
grep -q '^\[1\] steps: ended$' "$work/output" || fail "the end was not shown: $(cat "$work/output")"
grep -q '^handler	step 1$' "$work/output" || fail "the handler was not called: $(cat "$work/output")"
feeds 0 actions.lua <<'END'
.run forever
.quit
error("never")
END
is_quiet

# Errors, of whatever kind: the rest is carried out all the same.
feeds 1 <<'END'
error("broken")
1
END
says 1
complains 'stdin:1: broken' 'stack traceback:' "	[C]: in function 'error'" '	stdin:1: in main chunk'
feeds 1 <<'END'
x = = 1
END
complains "stdin:1: unexpected symbol near '='"
feeds 1 <<'END'
for i = 1, 2 do
END
complains "stdin:1: 'end' expected near <eof>"
printf '1 +' | feeds 1
complains 'stdin:1: unexpected symbol near <eof>'
feeds 1 actions.lua <<'END'
.run refuse
END
complains '[1] refuse: low or high, please (E_INVALIDARG)'
feeds 1 <<'END'
.nonsense
END
complains 'no such command: .nonsense (.help tells which there are)'
feeds 1 actions.lua <<'END'
rsca.run("echo", "", function() error("in a handler", 0) end)
rsca.sleep(0)
END
grep -q -x 'in the background: in a handler (E_FAIL)' "$work/errors" || fail "stderr: $(cat "$work/errors")"
# A failure that is looked at is none.
feeds 0 actions.lua <<'END'
local _, err = rsca.call("refuse")
err.name
END
says '"E_INVALIDARG"'

# What is typed may make anything of the globals: the prompt has its own.
feeds 0 actions.lua <<'END'
type, next, select, tostring, ipairs, pairs, print = 1, 2, 3, 4, 5, 6, 7
table, string, math, os, io, debug, coroutine, utf8 = {}
{ next, {} }
local kept = error
kept
xpcall, pcall, error, load, setmetatable, getmetatable, rawget, assert, require = nil
_G, rsca = nil
.run echo still here
.actions ech
.help run
1 + 1
END
grep -q '^{2, {}}$' "$work/output" || fail "a table was not shown: $(cat "$work/output")"
grep -q '^\[1\] echo: <still here>$' "$work/output" || fail "it did not run: $(cat "$work/output")"
[ "$(tail -n 1 "$work/output")" = 2 ] || fail "it did not go on: $(cat "$work/output")"
is_quiet

# Scripts.
feeds 1 missing.lua <<'END'
error("never")
END
complains 'cannot open missing.lua: No such file or directory'
echo 'error("in it", 0)' >"$work/broken.lua"
feeds 1 "$work/broken.lua" <<'END'
print("never")
END
[ ! -s "$work/output" ] || fail "it goes on"
cat >"$work/loops.lua" <<'END'
local rsca = require "rsca"
rsca.register("one", function() return 1 end)
rsca.run("one", "", function(_, response) print("heard " .. response) end)
rsca.loop()
END
feeds 0 "$work/loops.lua" "$work/loops.lua" <<'END'
io.read()
this is read by the line before
END
says 'heard 1' 'heard 1' '"this is read by the line before"'
is_quiet

# Another program at the other end: it has an answer before it says the next thing.
what="a conversation"
mkfifo "$work/there" "$work/back"
$program repl actions.lua <"$work/there" >"$work/back" 2>"$work/errors" &
exec 3>"$work/there" 4<"$work/back"
for number in 1 2; do
  echo "'answer ' .. $number" >&3
  read -r answer <&4
  [ "$answer" = "\"answer $number\"" ] || fail "answered: $answer"
done
echo 'rsca.subscribe("steps", "s 1", function() end) m = rsca.manager()' >&3
echo 'm:register("quiet", function() rsca.sleep(1000) end) m:subscribe("quiet", "", function() end)' >&3
echo 'm:close()' >&3
exec 3>&-
wait $! || fail "exit status $?"
exec 4<&-
is_quiet

# Where nobody reads, or writes.
what="no reader"
echo '.watch forever' | $program repl actions.lua 2>"$work/errors" | true
what="closed streams"
$program repl actions.lua <&- >"$work/output" 2>"$work/errors" || fail "exit status $?"
is_quiet

# Nothing of a terminal, ever.
printf '{1}\nerror("x")\n.help\n' | $program repl >"$work/output" 2>&1
! grep -q "$(printf '\033')" "$work/output" || fail "escape sequences in what is no terminal"

what="in a program of somebody else's"
printf 'counter\n.run hosted by\nlocal x = rsca.call("hosted", "it")\nx\nrsca.repl()\n' |
  $lua host.lua nil >"$work/output" 2>"$work/errors" || fail "exit status $?"
cat >"$work/expected" <<'END'
1
[1] hosted: hosted by
"hosted it"
first	false
second	true
can't open a prompt here: inside a step
END
sed -n 1,6p "$work/output" | diff -u "$work/expected" - >&2 || fail "that is not what it says"
grep -q "can't open a prompt here: inside a step" "$work/errors" || fail "stderr: $(cat "$work/errors")"

# misused PATTERN ARGUMENT...
misused() {
  pattern=$1
  shift
  what="rsca $*"
  # shellcheck disable=SC2086
  $program "$@" </dev/null >"$work/output" 2>"$work/errors"
  status=$?
  [ $status -eq 2 ] || fail "exit status $status, not 2"
  grep -q -x -E -e "rsca: $pattern" "$work/errors" || fail "stderr: $(cat "$work/errors")"
}
misused 'repl takes no --json and no time limit; usage: rsca repl .*' repl --json
misused 'repl takes no --json and no time limit; usage: rsca repl .*' repl --time-limit 1 actions.lua
misused 'no such option: -x .*' repl -x
what="--help repl"
$program repl --help | grep -q '^usage: rsca repl \[SCRIPT\]\.\.\.$' || fail "no usage"

finish
