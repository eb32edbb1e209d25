#!/bin/sh
# rsca run: the response on stdout as it is, a failure on stderr.
# shellcheck source=tests/cli/support.sh
. ./support.sh

exits 0 run actions.lua echo
says '<>'
is_quiet
exits 0 run actions.lua echo one
says '<one>'
exits 0 run actions.lua echo one 'two  three' '' four
says '<one two  three  four>'
exits 0 run actions.lua echo 'grüße'
says '<grüße>'

exits 0 run actions.lua bytes 00ff0a00
says '\000\377\n\000'
exits 0 run actions.lua bytes 610a
says 'a\n'
exits 0 run actions.lua nothing
says ''
is_quiet
exits 0 run actions.lua chosen
says 'half'

exits 0 run actions.lua big 3000000
[ "$(wc -c <"$work/output")" -eq 3000000 ] || fail "not all of a big response"

# On a terminal the line is ended, unless there is none.
# on_terminal BYTES EXPECTED: a terminal ends lines with \r\n.
on_terminal() {
  what="on a terminal: $1"
  script -q -e -c "'$program' run actions.lua bytes '$1'" /dev/null <"$work/input" >"$work/output" 2>"$work/errors" ||
    fail "exit status"
  says "$2"
}

if command -v script >/dev/null; then
  on_terminal 616263 'abc\r\n'
  on_terminal 6162630a 'abc\r\n'
  on_terminal '' ''
fi

exits 1 run actions.lua unknown
says ''
complains "rsca: no action is registered under the name 'unknown' (ERROR_NOT_FOUND 0x80070490)"

exits 1 run actions.lua raise
says ''
complains "rsca: actions.lua:33: attempt to index a nil value (field 'no') (E_FAIL 0x80004005)" \
  'stack traceback:' "$(printf '\tactions.lua:33: in function <actions.lua:32>')"

exits 1 run actions.lua refuse
says ''
complains 'rsca: low or high, please (E_INVALIDARG 0x80070057)'
exits 1 run actions.lua refuse.lines
complains 'rsca: first second [1m end (E_FAIL 0x80004005)'
exits 1 run actions.lua refuse.silently
complains 'rsca: failed without a message (0x80041234)'

# A reader who has gone is none of its business; a full disk is.
what="into a pipe that is closed"
{
  "$program" run actions.lua sleep 0.1 2>"$work/errors"
  echo $? >"$work/status"
} | true
[ "$(cat "$work/status")" -eq 0 ] || fail "exit status $(cat "$work/status")"
complains begun closed
if [ -c /dev/full ]; then
  what="into /dev/full"
  "$program" run actions.lua echo >/dev/full 2>"$work/errors"
  [ $? -eq 1 ] || fail "exit status not 1"
  complains_once "rsca: can't write to standard output: .+"
fi
what="with stdout closed"
"$program" run actions.lua echo >&- 2>"$work/errors"
[ $? -eq 1 ] || fail "exit status not 1"
complains_once "rsca: can't write to standard output: .+"

finish
