#!/bin/sh
# Both forms of ICustomAction2ResultCallback::ReportResult: builds the core and the C++ client of the protocol manager
# as somebody who has this source in a folder of his own would, and runs the client. Which form it is, the client hears
# from the library's target; and what is installed says the same. All tests that a registration crosses the border in
# run in the form that is not the default, too.
# usage: forms_test.sh SOURCE_DIR CC CXX
set -u

if [ $# -ne 3 ]; then
  echo "usage: $0 SOURCE_DIR CC CXX" >&2
  exit 2
fi
source=$1 cc=$2 cxx=$3

work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
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

mkdir "$work/outside" || exit 1
cat >"$work/outside/CMakeLists.txt" <<'END'
cmake_minimum_required(VERSION 3.20)
project(outside LANGUAGES C CXX)
add_subdirectory(${SOURCE_DIR} rsca)
add_executable(client ${SOURCE_DIR}/tests/border/protocol_manager_test.cpp)
target_compile_features(client PRIVATE cxx_std_17)
target_compile_options(client PRIVATE -Wall -Wextra -Wpedantic -Werror)
target_compile_definitions(client PRIVATE EXPECTED_FORM=${EXPECTED_FORM})
target_link_libraries(client PRIVATE rsca_core)
END

# form NUMBER OPTION...: in a build of its own.
form() {
  number=$1 build=$work/$1 name="form $1"
  shift
  step "configuring" cmake -S "$work/outside" -B "$build" -G Ninja -DCMAKE_C_COMPILER="$cc" -DCMAKE_CXX_COMPILER="$cxx" \
    -DCMAKE_BUILD_TYPE=RelWithDebInfo -DSOURCE_DIR="$source" -DEXPECTED_FORM="$number" "$@" &&
    step "building" cmake --build "$build" --target client &&
    step "running" "$build/client" &&
    cat "$work/log"
}

# installed NUMBER OPTION...: what pkg-config and CMake tell the outside; nothing needs to be built for that.
installed() {
  number=$1 build=$work/installed$1 name="installed form $1"
  shift
  step "configuring" cmake -S "$source" -B "$build" -G Ninja -DCMAKE_C_COMPILER="$cc" -DRSCA_TESTS=OFF "$@" || return
  said=0
  grep -q '^Cflags:.*-DRSCA_SDK_REPORTRESULT=1' "$build/rsca.pc" && said=1
  [ $said = "$number" ] || { echo "FAIL $name: rsca.pc says $said"; failed=$((failed + 1)); }
  targets=$(find "$build" -name rscaTargets.cmake)
  [ -n "$targets" ] || { echo "FAIL $name: no rscaTargets.cmake"; failed=$((failed + 1)); return; }
  # librsca, static and shared; their Lua halves build on them.
  said=$(grep -c 'INTERFACE_COMPILE_DEFINITIONS.*RSCA_SDK_REPORTRESULT=1' "$targets")
  if [ "$number" = 1 ]; then
    [ "$said" -ge 2 ] || { echo "FAIL $name: rscaTargets.cmake says it $said times"; failed=$((failed + 1)); }
  else
    [ "$said" -eq 0 ] || { echo "FAIL $name: rscaTargets.cmake says it $said times"; failed=$((failed + 1)); }
  fi
}

# tested TARGET...: programs of the tests in form 1; a target is their folder and their name.
tested() {
  build=$work/tested name="tests in form 1"
  step "configuring" cmake -S "$source" -B "$build" -G Ninja -DCMAKE_C_COMPILER="$cc" -DCMAKE_CXX_COMPILER="$cxx" \
    -DRSCA_TESTS=ON -DRSCA_CLI=OFF -DRSCA_SDK_REPORTRESULT=ON || return
  for target; do
    step "building $target" cmake --build "$build" --target "${target#*/}" &&
      step "running $target" "$build/tests/$target" &&
      tail -n 1 "$work/log"
  done
}

form 0
form 1 -DRSCA_SDK_REPORTRESULT=ON
installed 0
installed 1 -DRSCA_SDK_REPORTRESULT=ON

tested core/test_core_registration core/test_core_protocol_manager bridge/test_bridge_streams bridge/test_bridge_foreign \
  bridge/test_bridge_callback2

[ $failed -eq 0 ] && echo "ok   both forms"
exit $failed
