#!/bin/sh
# C++ clients with the library as it was built: the tests of the clients written from the reference pages, compiled with
# other compilers and flags than librsca.a, and run. What can't be built is a failure.
# usage: client_matrix.sh BUILD_DIR SOURCE_DIR CLIENT...
#   BUILD_DIR   has librsca.a, built without sanitizers
#   CLIENT      seed_page or seed_page2
set -u

if [ $# -lt 3 ]; then
  echo "usage: $0 BUILD_DIR SOURCE_DIR CLIENT..." >&2
  exit 2
fi
library=$1/librsca.a source=$2
shift 2
clients=$*
[ -f "$library" ] || { echo "FAIL: no such library: $library" >&2; exit 1; }
pkg-config --exists cmocka || { echo "FAIL: pkg-config has no cmocka" >&2; exit 1; }
cmocka_cflags=$(pkg-config --cflags cmocka) cmocka_libs=$(pkg-config --libs cmocka)

work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM

here=$source/tests/border
warnings="-Wall -Wextra -Wpedantic -Werror"
ran=0
failed=0

# step WHAT COMMAND...: silent unless it fails.
step() {
  what=$1
  shift
  "$@" >"$work/log" 2>&1 && return 0
  echo "FAIL $name: $what"
  sed 's/^/     /' "$work/log"
  failed=$((failed + 1))
  return 1
}

# variant CC CXX LINK_FLAGS FLAGS...: every client in it.
variant() {
  for client in $clients; do
    build_and_run "$client" "$@"
  done
}

# build_and_run CLIENT CC CXX LINK_FLAGS FLAGS...
build_and_run() {
  test_file=$here/$1_test.c client_file=$here/seed_page_client${1#seed_page}.cpp
  cc=$2 cxx=$3 link_flags=$4
  name="$1 with $3"
  shift 4
  name="$name $*"
  ran=$((ran + 1))
  # Flags are lists of words without blanks inside.
  # shellcheck disable=SC2086
  step "compiling the test" "$cc" -std=c11 $warnings -I "$source/include" $cmocka_cflags "$@" \
    -c "$test_file" -o "$work/test.o" &&
    step "compiling the client" "$cxx" -std=c++17 $warnings -Wnon-virtual-dtor -Woverloaded-virtual \
      -I "$source/include" "$@" -c "$client_file" -o "$work/client.o" &&
    step "linking" "$cxx" "$@" $link_flags "$work/test.o" "$work/client.o" "$library" $cmocka_libs -pthread \
      -o "$work/client" &&
    step "running" "$work/client" &&
    echo "ok   $name"
}

for pair in gcc:g++ clang:clang++; do
  cc=${pair%%:*} cxx=${pair#*:}
  for compiler in "$cc" "$cxx"; do
    command -v "$compiler" >/dev/null || { echo "FAIL: no such compiler: $compiler"; failed=$((failed + 1)); continue 2; }
  done
  lto_link=
  if [ "$cxx" = clang++ ]; then
    lto_link=-fuse-ld=lld
  fi
  variant "$cc" "$cxx" "" -O0
  variant "$cc" "$cxx" "" -O2
  variant "$cc" "$cxx" "" -O2 -fvisibility=hidden
  variant "$cc" "$cxx" "$lto_link" -O2 -flto
  variant "$cc" "$cxx" "$lto_link" -O2 -flto -fvisibility=hidden
done
variant clang clang++ -fuse-ld=lld -O2 -flto -fwhole-program-vtables -fvisibility=hidden

echo "$ran variant(s), $failed failure(s)"
[ "$failed" -eq 0 ] && [ "$ran" -gt 0 ]
