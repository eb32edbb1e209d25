#!/bin/sh
# Builds and runs the layout test in every variant: two forms of ReportResult, optimization, link-time optimization,
# language standards, and the C++ client written from the reference pages. A variant that can't be built is a failure.
# usage: border_matrix.sh OUTPUT_DIR [CC:CXX]...     (default: gcc:g++ clang:clang++)
set -u

if [ $# -lt 1 ]; then
  echo "usage: $0 OUTPUT_DIR [CC:CXX]..." >&2
  exit 2
fi
out=$1
shift
[ $# -gt 0 ] || set -- gcc:g++ clang:clang++

here=$(cd "$(dirname "$0")" && pwd) || exit 1
include=$here/../../include
mkdir -p "$out" || exit 1

warnings="-Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wsign-conversion -Werror"
c_warnings="$warnings -Wstrict-prototypes -Wmissing-prototypes"
cxx_warnings="$warnings -Wnon-virtual-dtor -Woverloaded-virtual -Wold-style-cast"
ran=0
failed=0

# step WHAT COMMAND...: silent unless it fails.
step() {
  what=$1
  shift
  "$@" >"$work.log" 2>&1 && return 0
  echo "FAIL $name: $what"
  sed 's/^/     /' "$work.log"
  failed=$((failed + 1))
  return 1
}

# variant NAME CXX_STANDARD LINK_FLAGS COMPILE_FLAGS...: for $cc and $cxx.
variant() {
  standard=$2 link_flags=$3 name="$(basename "$cxx") $1"
  work=$out/$(echo "$name" | tr -c 'A-Za-z0-9\n' _)
  shift 3
  ran=$((ran + 1))
  # Flags are lists of words without blanks inside.
  # shellcheck disable=SC2086
  step "compiling C" "$cc" -std=c11 $c_warnings -I "$include" "$@" -c "$here/layout_test.c" -o "$work.c.o" &&
    step "compiling C++" "$cxx" -std=$standard $cxx_warnings -I "$include" "$@" \
      -c "$here/layout_test.cpp" -o "$work.cpp.o" &&
    step "compiling the client" "$cxx" -std=$standard $cxx_warnings -I "$include" "$@" \
      -c "$here/seed_page_client.cpp" -o "$work.client.o" &&
    step "linking" "$cxx" -Werror "$@" $link_flags "$work.c.o" "$work.cpp.o" "$work.client.o" -o "$work" -pthread &&
    step "running" "$work" &&
    echo "ok   $name"
}

# A linker that can do clang's link-time optimization, as a flag; fails where there is none.
clang_lto_linker() {
  for linker in lld gold; do
    echo 'int main() {}' | "$cxx" -x c++ -flto -fuse-ld=$linker - -o "$out/probe" 2>"$out/probe.log" || continue
    echo "-fuse-ld=$linker"
    return 0
  done
  echo "FAIL $cxx: link-time optimization needs lld (package lld), or gold and LLVMgold.so" >&2
  return 1
}

for pair in "$@"; do
  cc=${pair%%:*} cxx=${pair#*:}
  missing=0
  for compiler in "$cc" "$cxx"; do
    command -v "$compiler" >/dev/null || { echo "FAIL no such compiler: $compiler"; missing=1; }
  done
  if [ $missing -ne 0 ]; then
    failed=$((failed + 1))
    continue
  fi

  is_clang=0 lto_link=
  if "$cxx" --version | grep -q clang; then
    is_clang=1
    lto_link=$(clang_lto_linker) || { failed=$((failed + 1)); continue; }
  fi

  for form in 0 1; do
    define=-DRSCA_SDK_REPORTRESULT=$form
    [ $form = 0 ] && label="page form" || label="SDK form"
    variant "O0, $label" c++17 "" -O0 $define
    variant "O2, $label" c++17 "" -O2 $define
    variant "O2 hidden, $label" c++17 "" -O2 -fvisibility=hidden $define
    variant "O2 LTO, $label" c++17 "$lto_link" -O2 -flto $define
    variant "O2 LTO hidden, $label" c++17 "$lto_link" -O2 -flto -fvisibility=hidden $define
    if [ $is_clang = 1 ]; then
      variant "O2 LTO whole-program-vtables hidden, $label" c++17 "$lto_link" \
        -O2 -flto -fwhole-program-vtables -fvisibility=hidden $define
    fi
  done
  # No form asked for: the platform's own.
  for standard in c++11 c++14 c++20; do
    variant "O2 $standard" $standard "" -O2
  done
done

echo "$ran variant(s), $failed failure(s)"
[ "$failed" -eq 0 ] && [ "$ran" -gt 0 ]
