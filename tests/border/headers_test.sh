#!/bin/sh
# Every public header compiles alone, and twice in a row, as C11 and as C++17, with warnings as errors.
# usage: headers_test.sh INCLUDE_DIR CC CXX
set -u

if [ $# -ne 3 ]; then
  echo "usage: $0 INCLUDE_DIR CC CXX" >&2
  exit 2
fi
include=${1%/} cc=$2 cxx=$3

[ -d "$include" ] || { echo "FAIL: no such directory: $include" >&2; exit 1; }
for compiler in "$cc" "$cxx"; do
  command -v "$compiler" >/dev/null || { echo "FAIL: no such compiler: $compiler" >&2; exit 1; }
done

work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM

common="-Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wsign-conversion -Werror"
c_flags="-x c -std=c11 $common -Wstrict-prototypes"
cxx_flags="-x c++ -std=c++17 $common -Wnon-virtual-dtor -Woverloaded-virtual"

# Whether the header reaches lua.h, itself or through another of ours. -MG lets lua.h be missing.
needs_lua() {
  "$cc" -x c -std=c11 -I "$include" -M -MG "$work/alone" 2>/dev/null | grep -Eq '(^|[ /])lua\.h( |$)'
}

# compile LABEL COMPILER FLAGS...: one translation unit; prints the compiler's words only if it fails.
compile() {
  label=$1
  shift
  "$@" -I "$include" -c "$work/alone" -o "$work/alone.o" 2>"$work/messages" && return 0
  echo "FAIL $header does not compile alone as $label with $1:" >&2
  cat "$work/messages" >&2
  return 1
}

find "$include" -type f -name '*.h' | LC_ALL=C sort >"$work/headers"
[ -s "$work/headers" ] || { echo "FAIL: no headers under $include" >&2; exit 1; }

failed=0
while IFS= read -r path; do
  header=${path#"$include"/}
  # A header of macros only would leave the unit empty, which C forbids.
  printf '#include <%s>\n#include <%s>\ntypedef int not_empty;\n' "$header" "$header" >"$work/alone"
  lua_flags=
  if needs_lua; then
    lua_flags=$(pkg-config --cflags lua5.4) || { echo "FAIL $header needs Lua; pkg-config has no lua5.4" >&2; exit 1; }
  fi
  # Flags are lists of words without blanks inside.
  # shellcheck disable=SC2086
  if compile C11 "$cc" $c_flags $lua_flags && compile C++17 "$cxx" $cxx_flags $lua_flags; then
    echo "ok   $header${lua_flags:+ (with Lua)}"
  else
    failed=$((failed + 1))
  fi
done <"$work/headers"

if [ "$failed" -ne 0 ]; then
  echo "FAIL: $failed header(s) do not compile alone with $cc and $cxx" >&2
  exit 1
fi
