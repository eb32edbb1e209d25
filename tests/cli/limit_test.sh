#!/bin/sh
# --time-limit: ERROR_TIMEOUT, whether the action lets itself be ended or not.
# shellcheck source=tests/cli/support.sh
. ./support.sh

timeout='rsca: the time limit of 0.2 s is over (ERROR_TIMEOUT 0x800705B4)'

exits 0 run --time-limit 60 actions.lua sleep 0.1
says slept
exits 0 run --time-limit 60.5 actions.lua echo
exits 0 watch --time-limit .5 actions.lua three

exits 1 run --time-limit 0.2 actions.lua sleep 100
says ''
complains begun closed "$timeout"

exits 1 run --time-limit 0.2 actions.lua spin
says ''
complains begun "$timeout"

exits 0 run --time-limit 0.2 actions.lua spin.politely
says enough

exits 1 watch --time-limit 0.2 actions.lua ticks
grep -q -x 'tick 2' "$work/output" || fail "no responses before the end"
complains begun closed "$timeout"

exits 1 watch --time-limit 0.2 actions.lua spin
complains begun "$timeout"

for command in run watch; do
  for name in 'sleep 100' spin; do
    # shellcheck disable=SC2086
    exits 1 $command --json --time-limit 0.2 actions.lua $name
    {
      echo 'status: 2147943860'
      echo 'name: "ERROR_TIMEOUT"'
      echo 'message: "the time limit of 0.2 s is over"'
      echo "action: \"${name%% *}\""
      [ $command = run ] || echo 'final: true'
    } >"$work/wanted"
    has_members <"$work/wanted"
  done
done

# The time of the script counts.
echo 'while true do end' >"$work/input"
exits 1 run --time-limit 0.2 - name
complains "$timeout"

# A result that was in time is written to its end, however long its reader takes.
what="with a reader who takes his time"
{
  "$program" run --time-limit 0.5 actions.lua big 1000000 2>"$work/errors"
  echo $? >"$work/status"
} | {
  sleep 2
  wc -c
} >"$work/output"
[ "$(cat "$work/status") $(tr -d ' ' <"$work/output")" = '0 1000000' ] || fail "$(cat "$work/status" "$work/output")"
is_quiet

finish
