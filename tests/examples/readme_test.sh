#!/bin/sh
# The programs in README.md, exactly as they stand there, do what it says.
# usage: readme_test.sh ROOT LUA CC CXX [PROGRAM]
#   LUA       a command that runs Lua scripts that can require "rsca"
#   PROGRAM   rsca, if it is built
# A fenced block that follows a line <!-- file: NAME --> is that file. NAME.txt is what NAME prints. The file `session`
# is what a terminal shows: lines that begin with "$ " are commands, and what each prints stands below it. So is
# `session-piped`. The files `tour-N` are typed by tests/repl/tour_test.sh.
set -eu

if [ $# -ne 4 ] && [ $# -ne 5 ]; then
  echo "usage: $0 ROOT LUA CC CXX [PROGRAM]" >&2
  exit 2
fi
root=$1 lua=$2 cc=$3 cxx=$4 program=${5-}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
cd "$work"

awk '
  /^<!-- file: .* -->$/ { name = $3; next }
  /^```/ && name != "" && !inside { inside = 1; next }
  /^```/ && inside { close(name); inside = 0; name = ""; next }
  inside { print > name }
' "$root/README.md"

fail() {
  echo "FAIL: $*" >&2
  exit 1
}

# says NAME COMMAND...: prints what stands in NAME.txt.
says() {
  expected=$1.txt
  shift
  [ -s "$expected" ] || fail "README.md has no $expected"
  "$@" >output || fail "exit status $? of $*"
  diff -u "$expected" output || fail "$* doesn't print what README.md says"
}

"$lua" first.lua >output || fail "exit status $? of first.lua"
grep -q -x -E 'it is up for [0-9.]+ seconds' output || fail "first.lua doesn't print the uptime: $(cat output)"
grep -q -x -E 'S_OK	[0-9.]+' output || fail "the callback of first.lua wasn't called: $(cat output)"
says errors "$lua" errors.lua
says streams "$lua" streams.lua
says with_luv "$lua" with_luv.lua
cp with_luv.txt with_cqueues.txt
says with_cqueues "$lua" with_cqueues.lua
says shared "$lua" shared.lua
says pool "$lua" pool.lua

# A newline after what does not end in one, as a terminal gets it.
if [ -n "$program" ]; then
  mkdir bin
  ln -s "$program" bin/rsca
  for session in session session-piped; do
    [ -s $session ] || fail "README.md has no $session"
    sed -n 's/^\$ //p' $session | while IFS= read -r command; do
      printf '$ %s\n' "$command"
      output=$(PATH=$work/bin:$PATH sh -c "$command" 2>&1 </dev/null) || :
      [ -z "$output" ] || printf '%s\n' "$output"
    done >shown
    diff -u $session shown || fail "rsca doesn't show what README.md says"
  done
fi

ln -s "$root" rsca
if ! { CC=$cc CXX=$cxx cmake -S . -B build -G Ninja && cmake --build build; } >log 2>&1; then
  cat log
  fail "the project of README.md can't be built"
fi
says host build/host
says words build/words
says interfaces build/interfaces
says protocol build/protocol
