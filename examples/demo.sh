#!/bin/sh
# Runs the examples, one after the other, from a finished build; stops at the first that fails.
# usage: demo.sh BUILD_DIR
set -eu

if [ $# -ne 1 ]; then
  echo "usage: $0 BUILD_DIR" >&2
  exit 2
fi
build=$(cd "$1" && pwd)
examples=$(cd "$(dirname "$0")" && pwd)
root=$(dirname "$examples")

lua=
for name in lua5.4 lua54 lua; do
  if command -v "$name" >/dev/null; then
    lua=$name
    break
  fi
done
[ -n "$lua" ] || { echo "$0: no Lua 5.4 found" >&2; exit 1; }
[ -e "$build/lua/rsca/core.so" ] || { echo "$0: nothing built in $build" >&2; exit 1; }

LUA_PATH="$root/lua/?.lua;$root/lua/?/init.lua;;"
LUA_CPATH="$build/lua/?.so;;"
export LUA_PATH LUA_CPATH
unset LUA_PATH_5_4 LUA_CPATH_5_4
cd "$examples"

# show TITLE COMMAND...
show() {
  printf '\n==== %s\n     %s\n\n' "$1" "$(shift && echo "$*" | sed "s|$build|BUILD|g")"
  shift
  "$@" || {
    status=$?
    printf '\n%s: this failed with exit status %d: %s\n' "$0" "$status" "$*" >&2
    exit 1
  }
}

echo "rsca: status and control of a running program, scripted in Lua"
show "Lua: the first script" "$lua" 01_uptime.lua
show "Lua: actions about the machine and this process" "$lua" 02_system.lua
show "Lua: the end of a log" "$lua" 03_log_tail.lua
show "Lua: changing the log level of a running program" "$lua" 04_log_level.lua
show "Lua: failures on purpose, and what the caller gets to know" "$lua" 05_failures.lua
show "Lua: waiting, awaiting, cancelling" "$lua" 06_waiting.lua
show "Lua: the documented names" "$lua" 07_documented_names.lua
show "C: a program with a loop of its own" "$build/examples/example_08_embed"
show "C: a program with its actions in Lua files, two of which can't be loaded" \
  "$build/examples/example_09_embed_lua" actions.lua 09_broken.lua missing.lua
show "C++: the documented interfaces" "$build/examples/example_10_interfaces" actions.lua
show "Lua: actions that respond many times" "$lua" 11_streams.lua
if [ -x "$build/examples/example_12_registrations" ]; then # not where the interface has its other form
  show "C++: registrations, at the documented interfaces" "$build/examples/example_12_registrations"
fi
show "Lua: values that the workers of a pool share" "$lua" 13_shared.lua
show "C: a server whose script can't hang, starve or exhaust it" \
  ./16_server.sh "$build/examples/example_16_server" "$build/examples/example_16_client"
show "Lua: a pool of workers, and streams" "$lua" 17_pool.lua
printf '\nAll examples ran to their end.\n'
