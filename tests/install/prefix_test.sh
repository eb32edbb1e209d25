#!/bin/sh
# Installs into a prefix, throws away the sources and the build, moves the prefix, and then uses what is there as others
# would: from CMake and with pkg-config, shared and static, in C, in C++ and in Lua.
# usage: prefix_test.sh ROOT CC CXX LUA NM READELF
set -u

if [ $# -ne 6 ]; then
  echo "usage: $0 ROOT CC CXX LUA NM READELF" >&2
  exit 2
fi
root=$1 cc=$2 cxx=$3 lua=$4 nm=$5 readelf=$6
outside=$root/tests/install/outside

work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
unset DESTDIR LD_LIBRARY_PATH LUA_PATH_5_4 LUA_CPATH_5_4 CMAKE_PREFIX_PATH
failed=0

fail() {
  echo "FAIL: $*" >&2
  failed=1
}

# must COMMAND...: silent, or the end of the test.
must() {
  "$@" >"$work/log" 2>&1 && return 0
  echo "FAIL: exit status $? of $*" >&2
  cat "$work/log" >&2
  exit 1
}

# says LINE COMMAND...: what it prints on stdout.
says() {
  line=$1
  shift
  if ! "$@" >"$work/output" 2>"$work/errors"; then
    fail "exit status not 0: $*"
    cat "$work/errors" >&2
  elif [ "$(cat "$work/output")" != "$line" ]; then
    fail "$* says '$(cat "$work/output")', not '$line'"
  fi
}

# same WHAT EXPECTED ACTUAL: two files of lines.
same() {
  diff -u "$2" "$3" >"$work/log" || { fail "$1"; cat "$work/log" >&2; }
}

# list DIR: the files and links below it.
list() {
  (cd "$1" && find . ! -type d | sed 's,^\./,,' | LC_ALL=C sort)
}

# ---- Building from nothing but what a release has, and installing ----
source=$work/source build=$work/build
mkdir "$source"
must cp -R "$root/CMakeLists.txt" "$root/cmake" "$root/include" "$root/src" "$root/lua" "$root/LICENSE" \
  "$root/CHANGELOG.md" "$source"
must cmake -S "$source" -B "$build" -G Ninja -DCMAKE_C_COMPILER="$cc" -DCMAKE_BUILD_TYPE=Release -DRSCA_TESTS=OFF \
  -DCMAKE_INSTALL_LIBDIR=lib
must cmake --build "$build"
must cmake --install "$build" --prefix "$work/first"

version=$(sed -n 's/^#define RSCA_VERSION "\(.*\)"/\1/p' "$root/include/rsca/version.h")
case $version in
'') fail "no version in include/rsca/version.h" ;;
0.*) soversion=${version%.*} ;;
*) soversion=${version%%.*} ;;
esac

{
  (cd "$root/include" && find . -name '*.h' | sed 's,^\./,include/,')
  (cd "$root/lua" && find . -name '*.lua' ! -path '*/annotations/*' | sed 's,^\./,share/lua/5.4/,')
  (cd "$root/lua/rsca" && find annotations -name '*.lua' | sed 's,^,share/rsca/,')
  for name in rsca rsca_lua; do
    printf 'lib/lib%s%s\n' $name .a $name .so $name ".so.$soversion" $name ".so.$version"
  done
  for name in rscaConfig rscaConfigVersion rscaTargets rscaTargets-release; do
    echo "lib/cmake/rsca/$name.cmake"
  done
  printf 'lib/pkgconfig/%s.pc\n' rsca rsca-lua
  printf '%s\n' lib/lua/5.4/rsca/core.so bin/rsca share/man/man1/rsca.1
  printf 'share/doc/rsca/%s\n' LICENSE CHANGELOG.md
} | LC_ALL=C sort >"$work/expected"
list "$work/first" >"$work/actual"
same "this is not what is to be installed" "$work/expected" "$work/actual"

# Again for a package; then everything in the manifest is removed.
must env DESTDIR="$work/dest" cmake --install "$build" --prefix /opt/rsca
must diff -r "$work/first" "$work/dest/opt/rsca"
[ "$(ls "$work/dest")" = opt ] || fail "something was installed beside /opt: $(ls "$work/dest")"
while IFS= read -r file || [ -n "$file" ]; do
  must rm "$work/dest$file"
done <"$build/install_manifest.txt"
list "$work/dest" >"$work/actual"
same "the manifest leaves something behind" /dev/null "$work/actual"

# The module alone, to places of its own.
must cmake -S "$source" -B "$work/module-build" -G Ninja -DCMAKE_C_COMPILER="$cc" -DCMAKE_BUILD_TYPE=Release \
  -DRSCA_MODULE_ONLY=ON -DRSCA_INSTALL_CMODULE_DIR=here -DRSCA_INSTALL_LUA_DIR=there
must cmake --build "$work/module-build"
must cmake --install "$work/module-build" --prefix "$work/module"
{
  echo here/rsca/core.so
  sed -n -e 's,share/lua/5.4/,there/,p' -e '/^share\/rsca/p' "$work/expected"
} | LC_ALL=C sort >"$work/module-expected"
list "$work/module" >"$work/actual"
same "this is not what the module alone is" "$work/module-expected" "$work/actual"

# ---- From here on there are only installed files, at a place that nobody told them ----
must rm -rf "$source" "$build" "$work/module-build" "$work/module"
prefix=$work/prefix
must mv "$work/first" "$prefix"
lib=$prefix/lib

for path in "$source" "$build" "$work/first" "$root"; do
  ! grep -r -l -F "$path" "$prefix" >&2 || fail "these know of $path"
done

# ---- Libraries: names, dependencies, symbols ----
dynamic() {
  "$readelf" -d "$1" | sed -n "s/.*($2).*\\[\\(.*\\)\\]/\\1/p"
}

# defined FILE: the symbols that it exports, each with its version.
defined() {
  "$nm" -D --defined-only "$1" | awk '$2 != "A" { print $NF }' | LC_ALL=C sort
}

# The functions that headers declare as API. usage: api HEADER...
api() {
  for header in "$@"; do
    echo "#include <$header>"
  done | "$cc" -x c -std=c11 -I "$prefix/include" -E -P - | tr '\n' ' ' | sed 's/[;{}]/\n/g' |
    sed -n 's/.*__attribute__((visibility("default")))[^(]*[ *]\([A-Za-z0-9_]*\) *(.*/\1/p' | LC_ALL=C sort -u
}

for name in rsca rsca_lua; do
  so=$lib/lib$name.so
  [ "$(dynamic "$so" SONAME)" = "lib$name.so.$soversion" ] || fail "SONAME of $so: $(dynamic "$so" SONAME)"
  [ "$(readlink -f "$so")" = "$lib/lib$name.so.$version" ] || fail "$so leads to $(readlink -f "$so")"
  "$readelf" -d "$so" | grep -q 'FLAGS_1.*NODELETE' || fail "$so can be unloaded while its code is needed"
done
runpath=$(dynamic "$lib/librsca_lua.so" RUNPATH)$(dynamic "$lib/librsca_lua.so" RPATH)
[ "$runpath" = "\$ORIGIN" ] || fail "librsca_lua looks for librsca in '$runpath'"
for file in "$lib/librsca.so" "$lib/lua/5.4/rsca/core.so" "$prefix/bin/rsca"; do
  ! "$readelf" -d "$file" | grep -E 'RPATH|RUNPATH' >&2 || fail "$file has a path"
done
for file in "$lib/lua/5.4/rsca/core.so" "$prefix/bin/rsca"; do
  [ -n "$(dynamic "$file" NEEDED)" ] || fail "$readelf can't read $file"
  ! dynamic "$file" NEEDED | grep rsca >&2 || fail "$file is not all in one"
done
for file in "$lib/librsca.so" "$lib/librsca_lua.so" "$lib/lua/5.4/rsca/core.so"; do
  ! dynamic "$file" NEEDED | grep liblua >&2 || fail "$file brings a Lua of its own"
  ! dynamic "$file" NEEDED | grep readline >&2 || fail "$file needs readline, which is for the program alone"
done
! "$nm" -u "$lib/librsca.a" "$lib/librsca_lua.a" | grep -w rl_callback_read_char >&2 || fail "an archive needs readline"
[ "$(dynamic "$lib/librsca_lua.so" NEEDED | grep rsca)" = "librsca.so.$soversion" ] ||
  fail "librsca_lua does not need librsca"

headers=$(cd "$prefix/include" && find Wpframework.h rsca -name '*.h' ! -path rsca/lua.h)
# shellcheck disable=SC2086
api $headers >"$work/core-api"
api rsca/lua.h | LC_ALL=C comm -23 - "$work/core-api" >"$work/lua-api"
for half in core lua; do
  [ -s "$work/$half-api" ] || fail "there is no API of $half in the headers"
done

sed "s/\$/@@RSCA_$soversion/" "$work/core-api" | LC_ALL=C sort >"$work/expected"
defined "$lib/librsca.so" | grep -v "^rsci_.*@@RSCA_PRIVATE_$version\$" >"$work/actual"
same "librsca exports something else than its API" "$work/expected" "$work/actual"
defined "$lib/librsca_lua.so" >"$work/actual"
same "librsca_lua exports something else than its API" "$work/lua-api" "$work/actual"
echo luaopen_rsca_core >"$work/expected"
defined "$lib/lua/5.4/rsca/core.so" >"$work/actual"
same "the module exports something else than its opener" "$work/expected" "$work/actual"

{
  "$nm" -D "$lib/librsca.so"
  "$nm" "$lib/librsca.a"
} 2>/dev/null | awk '{ print $NF }' >"$work/actual"
grep -q '^rsca_manager_create' "$work/actual" || fail "$nm can't read librsca"
! grep -E '^lua(L|open)?_' "$work/actual" >&2 || fail "librsca knows Lua"
# What is private is asked for under the version of this very release.
"$nm" -D --undefined-only "$lib/librsca_lua.so" | awk '{ print $NF }' | grep '^rsc' >"$work/needed"
grep -q "^rsci_.*@RSCA_PRIVATE_$version\$" "$work/needed" || fail "librsca_lua is not tied to this librsca"
! grep -v -E "^(rsca_.*@RSCA_$soversion|rsci_.*@RSCA_PRIVATE_$version)\$" "$work/needed" >&2 ||
  fail "librsca_lua needs these of any librsca"

# ---- CMake ----
# configure DIR OPTION...
configure() {
  dir=$1
  shift
  cmake -S "$outside" -B "$work/$dir" -G Ninja -DCMAKE_C_COMPILER="$cc" -DCMAKE_CXX_COMPILER="$cxx" \
    -DCMAKE_PREFIX_PATH="$prefix" "$@"
}

# results DIR SUFFIX [COMMAND...]: what the programs there print.
results() {
  dir=$1 suffix=$2
  shift 2
  says "core $version 0x00000000 pong" "$@" "$dir/core$suffix"
  says "interfaces 0x00000000 hello" "$@" "$dir/interfaces$suffix"
  says "host 0x00000000 hello, from rsca $version" "$@" "$dir/host$suffix"
}

# cores DIR SUFFIX: how the programs there come by their core: one, and either in themselves or from librsca.
cores() {
  for program in core interfaces host; do
    file=$1/$program$2
    own=$("$nm" "$file" | grep -c ' [Tt] rsca_manager_create$')
    needed=$(dynamic "$file" NEEDED | grep -c '^librsca\.so\.')
    case $2 in
    '') [ "$own $needed" = "0 1" ] || fail "$file: $own cores of its own, $needed from librsca" ;;
    *) [ "$own $needed" = "1 0" ] || fail "$file: $own cores of its own, $needed from librsca" ;;
    esac
    ! dynamic "$file" NEEDED | grep -q rsca || [ -z "$2" ] || fail "$file is not static"
  done
}

must configure cmake -DRSCA_WANTED="$version"
must cmake --build "$work/cmake"
for suffix in '' _static; do
  results "$work/cmake" "$suffix"
  cores "$work/cmake" "$suffix"
done
grep -q DRSCA_STATIC "$work/cmake/build.ninja" || fail "static targets don't define RSCA_STATIC"

if configure wrong-version -DRSCA_WANTED="$((${version%%.*} + 1)).0" >"$work/log" 2>&1; then
  fail "CMake takes this for the next major version"
fi
if configure mixed -DRSCA_WANTED="$version" -DMIXED=ON >"$work/log" 2>&1; then
  fail "CMake links a program with two cores"
elif ! grep -q RSCA_LINKAGE "$work/log"; then
  fail "CMake doesn't say why a program can't be linked with two cores"
  cat "$work/log" >&2
fi

# ---- pkg-config ----
export PKG_CONFIG_PATH="$lib/pkgconfig"
lua_package=
for name in lua5.4 lua-5.4 lua54 lua; do
  if pkg-config --exists "$name >= 5.4"; then
    lua_package=$name
    break
  fi
done
[ -n "$lua_package" ] || fail "pkg-config has no Lua 5.4"
[ "$(pkg-config --modversion rsca)" = "$version" ] || fail "pkg-config: rsca is $(pkg-config --modversion rsca)"
# Words without blanks.
# shellcheck disable=SC2046,SC2086
compile() {
  out=$1 flags=$2 link=$3
  must "$cc" $link $(pkg-config $flags --cflags rsca) "$outside/core.c" -o "$out/core" $(pkg-config $flags --libs rsca)
  must "$cxx" -std=c++17 $link $(pkg-config $flags --cflags rsca) "$outside/interfaces.cpp" -o "$out/interfaces" \
    $(pkg-config $flags --libs rsca)
  must "$cc" $link $(pkg-config $flags --cflags rsca-lua $lua_package) "$outside/host.c" -o "$out/host" \
    $(pkg-config $flags --libs rsca-lua $lua_package)
}

mkdir "$work/shared" "$work/static"
compile "$work/shared" "" ""
results "$work/shared" "" env LD_LIBRARY_PATH="$lib"
cores "$work/shared" ""
compile "$work/static" --static -static
results "$work/static" ""
for program in core interfaces host; do
  [ -z "$(dynamic "$work/static/$program" NEEDED)" ] || fail "$program is not static"
done
pkg-config --static --cflags rsca | grep -q -e -DRSCA_STATIC || fail "pkg-config --static doesn't define RSCA_STATIC"
! pkg-config --cflags rsca-lua | grep -q -e -DRSCA_STATIC || fail "pkg-config defines RSCA_STATIC without --static"

# A librsca of another release, in front of the right one: refused when it is loaded, not when it goes wrong.
mkdir "$work/other"
sed "s/RSCA_PRIVATE_$version/RSCA_PRIVATE_$(echo "$version" | tr 0-9 9)/g" "$lib/librsca.so" \
  >"$work/other/librsca.so.$soversion"
if LD_LIBRARY_PATH=$work/other:$lib "$work/shared/host" >"$work/log" 2>&1; then
  fail "librsca_lua works with the private functions of another librsca"
elif ! grep -q "RSCA_PRIVATE_$version" "$work/log"; then
  fail "librsca_lua doesn't say which librsca it needs"
  cat "$work/log" >&2
fi

# ---- The module, and the program, which needs none of the other files ----
(
  cd / || exit 1
  export LUA_PATH="$prefix/share/lua/5.4/?.lua;$prefix/share/lua/5.4/?/init.lua" LUA_CPATH="$lib/lua/5.4/?.so"
  says "module rsca $version abab" "$lua" "$outside/module.lua" "$prefix"
  unset LUA_PATH LUA_CPATH
  mkdir "$work/alone"
  must cp "$prefix/bin/rsca" "$work/alone"
  echo 'require("rsca").register("echo", function(args) return args end)' >"$work/echo.lua"
  says "a b" "$work/alone/rsca" run "$work/echo.lua" echo a b
  exit $failed
) || failed=1

[ $failed -eq 0 ] && echo "ok   installed with $cc"
exit $failed
