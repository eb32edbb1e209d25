#!/bin/sh
# --time-limit: ERROR_TIMEOUT, whether the action lets itself be ended or not.
# shellcheck source=tests/cli/support.sh
. ./support.sh

# Long enough for the action to begin.
limit=1.0
[ "$RSCA_IS_SLOW" = 0 ] || limit=5.0
over="rsca: the time limit of $limit s is over (ERROR_TIMEOUT 0x800705B4)"

exits 0 run --time-limit 60 actions.lua sleep 0.1
says slept
exits 0 run --time-limit 60.5 actions.lua echo
exits 0 watch --time-limit 100. actions.lua nothing
exits 1 run --time-limit .0000000001 actions.lua sleep 100
[ "$(tail -n 1 "$work/errors")" = 'rsca: the time limit of .0000000001 s is over (ERROR_TIMEOUT 0x800705B4)' ] ||
  fail "no time is not over"

# What waits is closed at once.
exits 1 watch --time-limit $limit actions.lua ticks
grep -q -x 'tick 1' "$work/output" || fail "no responses before the end"
complains begun closed "$over"

# What asks may still answer.
exits 0 run --time-limit $limit actions.lua spin.politely
says enough
complains begun closed

# What does neither is cut.
for pair in 'run sleep' 'run spin' 'run stuck' 'watch sleep' 'watch spin' 'watch stuck'; do
  name=${pair#* }
  exits 1 "${pair% *}" --json --time-limit $limit actions.lua "$name" 100
  case $name in
  sleep | spin) complains begun closed "$over" ;;
  stuck) complains begun "$over" ;;
  esac
  {
    echo 'status: 2147943860'
    echo 'name: "ERROR_TIMEOUT"'
    echo "message: \"the time limit of $limit s is over\""
    echo "action: \"$name\""
    [ "${pair% *}" = run ] || echo 'final: true'
  } >"$work/wanted"
  has_members <"$work/wanted"
done

# The time of the script counts.
echo 'while true do end' >"$work/input"
exits 1 run --time-limit $limit - name
says ''
complains "$over"

# A result that was in time is written to its end, however long its reader takes.
what="with a reader who takes his time"
{
  "$program" run --time-limit $limit actions.lua big 1000000 2>"$work/errors"
  echo $? >"$work/status"
} | {
  sleep 3
  wc -c
} >"$work/output"
[ "$(cat "$work/status") $(tr -d ' ' <"$work/output")" = '0 1000000' ] || fail "$(cat "$work/status" "$work/output")"
is_quiet

finish
