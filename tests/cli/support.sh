#!/bin/sh
# What the tests of the program have in common; they say: . ./support.sh
# usage of each test: NAME_test.sh PROGRAM JSON_LINES, in the folder of this file
set -u

if [ $# -ne 2 ]; then
  echo "usage: $0 PROGRAM JSON_LINES" >&2
  exit 2
fi
program=$1 json_lines=$2
failed=0
what=

work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
unset POSIXLY_CORRECT LUA_PATH LUA_CPATH LUA_PATH_5_4 LUA_CPATH_5_4

fail() {
  echo "FAIL: $what: $*" >&2
  sed 's/^/  stderr: /' "$work/errors" >&2
  failed=1
}

# exits STATUS ARGUMENT...: runs the program; stdin is $work/input.
: >"$work/input"
exits() {
  expected=$1
  shift
  what="rsca $*"
  "$program" "$@" <"$work/input" >"$work/output" 2>"$work/errors"
  status=$?
  [ "$status" -eq "$expected" ] || fail "exit status $status, not $expected"
}

# says TEXT: stdout is this, byte by byte, where TEXT is a format of printf.
says() {
  # shellcheck disable=SC2059
  printf "$1" >"$work/expected"
  cmp -s "$work/expected" "$work/output" || fail "stdout is $(od -A n -c "$work/output"), not: $1"
}

# has_members: stdout is objects with the members on stdin, see json_lines.c.
has_members() {
  cat >"$work/expected"
  "$json_lines" <"$work/output" >"$work/members" || fail "stdout is not JSON"
  diff -u "$work/expected" "$work/members" >&2 || fail "these are not the members"
}

# is_quiet: stderr is empty.
is_quiet() {
  [ ! -s "$work/errors" ] || fail "stderr is not empty"
}

# complains LINE...: stderr is these lines, and no other.
complains() {
  printf '%s\n' "$@" >"$work/expected"
  cmp -s "$work/expected" "$work/errors" || fail "stderr is not: $*"
}

# complains_once PATTERN: stderr is one line, and it matches.
complains_once() {
  [ "$(wc -l <"$work/errors")" -eq 1 ] || fail "stderr is not one line"
  grep -q -x -E -e "$1" "$work/errors" || fail "stderr does not match: $1"
}

# Nothing that was said before is there any more.
forget() {
  : >"$work/output"
  : >"$work/errors"
}

# comes PATTERN FILE: waits until a line of the file matches.
comes() {
  tries=0
  until grep -q -x -E -e "$1" "$2"; do
    tries=$((tries + 1))
    if [ $tries -gt 600 ]; then
      fail "there is no line $1 in $2"
      return 1
    fi
    sleep 0.05
  done
}

finish() {
  [ $failed -eq 0 ] && echo "ok   $0"
  exit $failed
}
