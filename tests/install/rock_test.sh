#!/bin/sh
# LuaRocks builds the checkout into a tree, without a network, and the module there works.
# usage: rock_test.sh ROOT LUA
set -u

if [ $# -ne 2 ]; then
  echo "usage: $0 ROOT LUA" >&2
  exit 2
fi
root=$1 lua=$2

work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM

fail() {
  echo "FAIL: $*" >&2
  exit 1
}

if command -v luarocks-5.4 >/dev/null; then
  luarocks() {
    luarocks-5.4 "$@"
  }
elif command -v luarocks >/dev/null; then
  luarocks() {
    command luarocks --lua-version 5.4 "$@"
  }
else
  fail "there is no luarocks-5.4 and no luarocks (on Debian, package luarocks)"
fi

# Nothing of the user's, nothing of the checkout's, no network; and Ninja, as everywhere.
export HOME="$work/home" LUAROCKS_CONFIG="$work/config.lua" CMAKE_GENERATOR=Ninja
export http_proxy=http://127.0.0.1:9 https_proxy=http://127.0.0.1:9
unset LUA_PATH LUA_CPATH LUA_PATH_5_4 LUA_CPATH_5_4 DESTDIR LD_PRELOAD
mkdir "$work/home" "$work/source"
: >"$work/config.lua"
cd "$work/source" || exit 1
for name in CMakeLists.txt cmake include src lua LICENSE; do
  cp -R "$root/$name" . || fail "this is not the whole checkout"
done
cp "$root"/*.rockspec . || fail "this is not the whole checkout"

for rockspec in *.rockspec; do
  luarocks lint "$rockspec" >"$work/log" 2>&1 || { cat "$work/log" >&2; fail "luarocks lint $rockspec"; }
done
if ! luarocks --tree "$work/tree" make >"$work/log" 2>&1 </dev/null; then
  cat "$work/log" >&2
  fail "luarocks make"
fi
# Gone before it is used: it may not be needed any more.
cd / && rm -rf "$work/source"

module=$work/tree/lib/lua/5.4/rsca/core.so
[ -f "$module" ] || fail "there is no $module: $(cd "$work/tree" && find . -type f)"
others=$(find "$work/tree" -name '*.h' -o -name 'lib*' ! -type d)
[ -z "$others" ] || fail "more than the module was installed: $others"
eval "$(luarocks --tree "$work/tree" path)"
output=$("$lua" "$root/tests/install/outside/module.lua" "$work/tree") || fail "the module doesn't work"
version=$(sed -n 's/^#define RSCA_VERSION "\(.*\)"/\1/p' "$root/include/rsca/version.h")
[ "$output" = "module rsca $version abab" ] || fail "it says: $output"

luarocks --tree "$work/tree" remove rsca >"$work/log" 2>&1 || { cat "$work/log" >&2; fail "luarocks remove"; }
left=$(find "$work/tree" -name '*rsca*')
[ -z "$left" ] || fail "removing it leaves: $left"
echo "ok   luarocks make"
