#!/bin/sh
# The core knows no Lua: its archive needs no symbol of Lua, and none of the binding.
# usage: core_symbols.sh ARCHIVE NM
set -u

if [ $# -ne 2 ]; then
  echo "usage: $0 ARCHIVE NM" >&2
  exit 2
fi
archive=$1 nm=$2

symbols=$("$nm" "$archive") || { echo "FAIL: $nm can't read $archive" >&2; exit 1; }
echo "$symbols" | grep -q ' T rsca_manager_create$' || { echo "FAIL: $archive is not the core" >&2; exit 1; }

foreign=$(echo "$symbols" | awk 'NF >= 2 && $(NF - 1) == "U" && $NF ~ /^_*(lua_|luaL_|luaopen_|rscl_)/ { print $NF }' | sort -u)
if [ -n "$foreign" ]; then
  echo "FAIL: $archive needs:" >&2
  echo "$foreign" >&2
  exit 1
fi
echo "ok   $archive needs nothing of Lua"
