#!/bin/sh
# The page of the manual has all that the help has, and what it shows is so.
# shellcheck source=tests/cli/support.sh
. ./support.sh

plain() {
  sed -e 's/\\-/-/g' -e 's/\\(dq/"/g' -e 's/\\(aq/'"'"'/g' -e 's/\\%//g' -e 's/\\f[BIR]//g' "$RSCA_MANUAL"
}

exits 0 --help
for word in $(grep -o -E -e '--[a-z][a-z-]+' "$work/output") run watch list repl; do
  plain | grep -q -E -e "^\\.(TP|B|BI|BR) .*$word" || fail "the page doesn't have $word"
done

plain | awk '/^\.I first\.lua/ || /^\.IR first\.lua/ { wanted = 1 } /^\.fi/ && inside { exit } inside { print }
             /^\.nf/ && wanted { inside = 1 }' >"$work/first.lua"
cd "$work" || exit 1
exits 0 list first.lua
says 'ticks   SECONDS: the time, again and again\nuptime  seconds since boot\n'
exits 0 --json list first.lua
plain | grep -F '"help":"seconds since boot"' >"$work/expected"
grep -q -x -F -f "$work/expected" "$work/output" || fail "the page shows another object"
exits 0 --json --time-limit 2 run first.lua uptime
grep -q -x -E '\{"status":0,"name":"S_OK","response":"[0-9.]+"\}' "$work/output" || fail "the page shows another object"
what="the watched example"
[ "$("$program" watch first.lua ticks 0.05 | head -n 3 | grep -c -x '[0-9][0-9]:[0-9][0-9]:[0-9][0-9]')" -eq 3 ] ||
  fail "not three lines"

# Where there is a formatter it has nothing to say against the page.
if command -v groff >/dev/null; then
  what=groff
  groff -man -ww -Tascii -z "$RSCA_MANUAL" 2>"$work/errors" || fail "exit status"
  is_quiet
fi

finish
