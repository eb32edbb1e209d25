#!/bin/sh
# rsca watch: every response in a line of its own, at once, until the end.
# shellcheck source=tests/cli/support.sh
. ./support.sh

exits 0 watch actions.lua three
says 'one\ntwo\n\na\000b\n\nlast words\n'
is_quiet
exits 0 watch actions.lua echo a b
says '<a b>\n'
exits 0 watch actions.lua nothing
says ''

exits 1 watch actions.lua break
says 'one\n'
first=$(sed -n '/register("break"/=' actions.lua)
line=$(sed -n '/error("broken/=' actions.lua)
complains "rsca: actions.lua:$line: broken (E_FAIL 0x80004005)" 'stack traceback:' \
  "$(printf "\\t[C]: in function 'error'")" "$(printf '\tactions.lua:%d: in function <actions.lua:%d>' "$line" "$first")"
exits 1 watch actions.lua refuse
says ''
complains 'rsca: low or high, please (E_INVALIDARG 0x80070057)'
exits 1 watch actions.lua unknown
complains "rsca: no action is registered under the name 'unknown' (ERROR_NOT_FOUND 0x80070490)"

# A response is there before the next one.
what="with a reader"
forget
mkfifo "$work/fifo"
"$program" watch actions.lua ticks 0.3 >"$work/fifo" 2>"$work/errors" &
pid=$!
{
  read -r line
  [ "$line" = 'tick 1' ] || fail "the first response is $line"
} <"$work/fifo"

# And when the reader has gone it ends quietly.
wait $pid
status=$?
[ $status -eq 0 ] || fail "exit status $status"
complains begun closed

# Even if there is nothing to write, or the action doesn't notice.
for name in 'sleep 100' flood; do
  what="watch $name into a pipe that is closed"
  forget
  {
    # shellcheck disable=SC2086
    "$program" watch actions.lua $name 2>"$work/errors"
    echo $? >"$work/status"
  } | head -n 1 >"$work/output" &
  case $name in
  flood) wait $! ;;
  *)
    comes begun "$work/errors"
    kill $! # head, the last of the two
    wait $!
    comes '[0-9]+' "$work/status"
    ;;
  esac
  tries=0
  until [ -s "$work/status" ] || [ $tries -gt 200 ]; do
    tries=$((tries + 1))
    sleep 0.05
  done
  [ "$(cat "$work/status")" -eq 0 ] || fail "exit status $(cat "$work/status")"
  case $name in
  flood)
    [ "$(cat "$work/output")" = more ] || fail "stdout: $(cat "$work/output")"
    is_quiet
    ;;
  *) complains begun closed ;;
  esac
  rm "$work/status"
done

if [ -c /dev/full ]; then
  what="into /dev/full"
  "$program" watch actions.lua ticks >/dev/full 2>"$work/errors"
  [ $? -eq 1 ] || fail "exit status not 1"
  [ "$(grep -c "^rsca: can't write to standard output: " "$work/errors")" -eq 1 ] || fail "not one line about it"
fi

finish
