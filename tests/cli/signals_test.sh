#!/bin/sh
# Signals end what goes on, in an orderly way if that takes no longer than a second.
# shellcheck source=tests/cli/support.sh
. ./support.sh

# start ARGUMENT...: in the background, until the action has begun.
start() {
  what="rsca $*"
  forget
  "$program" "$@" <"$work/input" >"$work/output" 2>"$work/errors" &
  pid=$!
  comes begun "$work/errors"
}

# ends STATUS: by itself.
ends() {
  wait $pid
  status=$?
  [ $status -eq "$1" ] || fail "exit status $status, not $1"
}

for pair in 'INT 130' 'TERM 143' 'HUP 129'; do
  start watch actions.lua ticks
  comes 'tick 2' "$work/output"
  kill -s "${pair% *}" $pid
  ends "${pair#* }"
  complains begun closed

  start run actions.lua sleep 100
  kill -s "${pair% *}" $pid
  ends "${pair#* }"
  says ''
  grep -q -x -E 'rsca: .+ \(ERROR_CANCELLED 0x800704C7\)' "$work/errors" || fail "it doesn't say that it was cancelled"
  grep -q -x closed "$work/errors" || fail "the action was not closed"
done

start watch actions.lua sleep 100
kill -s INT $pid
ends 130
complains begun closed

start watch --json actions.lua sleep 100
kill -s INT $pid
ends 130
has_members <<'END'
status: 1
name: "S_FALSE"
response: ""
final: true
END

# What doesn't stop by itself is stopped.
start run actions.lua spin
kill -s TERM $pid
ends 143
grep -q -x closed "$work/errors" || fail "not closed"
start watch actions.lua spin
kill -s TERM $pid
ends 143
complains begun closed

# What can't be stopped ends all the same. Not for a runtime that keeps signals from a thread that computes.
if [ "$RSCA_SANITIZE" != thread ]; then
  start run actions.lua stuck
  kill -s TERM $pid
  ends 143
  complains begun "rsca: cancelled (ERROR_CANCELLED 0x800704C7)"
  start watch actions.lua stuck
  kill -s INT $pid
  ends 130
  complains begun

  start watch actions.lua spin.politely
  kill -s INT $pid
  ends 130
  says ''
  complains begun closed

  # In a coroutine of its own.
  start run actions.lua spin.nested
  kill -s INT $pid
  ends 130
  grep -q -x closed "$work/errors" || fail "not closed"

  # While the script is loaded.
  printf '%s\n' 'io.stderr:write("begun\n") while true do end' >"$work/input"
  start run - name
  kill -s INT $pid
  ends 130
  complains begun
fi

# A command hears Ctrl-C while the program itself ignores it.
start run actions.lua command.interrupted
ends 130
grep -q -x closed "$work/errors" || fail "not closed"

# nohup
what="with SIGHUP ignored"
forget
(
  trap '' HUP
  exec "$program" run actions.lua sleep 0.5
) >"$work/output" 2>"$work/errors" &
pid=$!
comes begun "$work/errors"
kill -s HUP $pid
ends 0
says slept

finish
