#!/bin/sh
# The module for any Lua: it exports its opener alone, is not linked to a liblua of its own, and stays loaded.
# usage: module.sh MODULE NM READELF
set -u

if [ $# -ne 3 ]; then
  echo "usage: $0 MODULE NM READELF" >&2
  exit 2
fi
module=$1 nm=$2 readelf=$3
failed=0

fail() {
  echo "FAIL $module: $1" >&2
  failed=1
}

exported=$("$nm" -D --defined-only "$module" | awk '{ print $NF }') || exit 1
echo "$exported" | grep -q '^luaopen_rsca_core$' || fail "does not export luaopen_rsca_core"
others=$(echo "$exported" | grep -v '^luaopen_')
[ -z "$others" ] || fail "exports more than its opener: $others"

dynamic=$("$readelf" -d "$module") || exit 1
echo "$dynamic" | grep -q NEEDED || fail "has no dynamic section to look at"
if echo "$dynamic" | grep NEEDED | grep -i lua; then
  fail "is linked to a liblua: the host's own would be a second one"
fi
echo "$dynamic" | grep -q 'FLAGS_1.*NODELETE' || fail "can be unloaded while its code is needed: no NODELETE"

[ $failed -eq 0 ] && echo "ok   $module"
exit $failed
