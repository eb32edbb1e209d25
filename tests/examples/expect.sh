#!/bin/sh
# Runs a command and holds its output against patterns; says what is wrong, and shows the output, if they disagree.
# usage: expect.sh STATUS PATTERNS COMMAND [ARGUMENT...]
#   STATUS     how the command must exit
#   PATTERNS   a file of extended regular expressions, one a line; each must match a whole line of the output, in this
#              order, and other lines may stand in between. The output is all of stdout, then all of stderr.
#              Lines that are empty or begin with "# " are not patterns.
set -u

if [ $# -lt 3 ]; then
  echo "usage: $0 STATUS PATTERNS COMMAND [ARGUMENT...]" >&2
  exit 2
fi
expected=$1 patterns=$2
shift 2
[ -s "$patterns" ] || { echo "FAIL: no patterns in $patterns" >&2; exit 1; }

work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM

"$@" >"$work/output" 2>"$work/errors" </dev/null
status=$?
cat "$work/errors" >>"$work/output"

failed=0
if [ "$status" -ne "$expected" ]; then
  echo "FAIL: exit status $status, expected $expected: $*" >&2
  failed=1
fi

next=1
while IFS= read -r pattern || [ -n "$pattern" ]; do
  case $pattern in '' | '# '*) continue ;; esac
  found=$(tail -n "+$next" "$work/output" | grep -n -x -E -m 1 -e "$pattern" | cut -d: -f1)
  if [ -z "$found" ]; then
    echo "FAIL: from line $next on, no line of the output matches: $pattern" >&2
    failed=1
    break
  fi
  next=$((next + found))
done <"$patterns"

if [ "$failed" -ne 0 ]; then
  echo "---- output ----" >&2
  cat "$work/output" >&2
fi
exit "$failed"
