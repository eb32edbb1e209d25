#!/bin/sh
# Who may include whom. The rooms, lowest first: include (what the outside sees), src/core, src/lua. A file includes its
# own room and lower ones, nothing of Lua below src/lua but in rsca/lua.h, and no file includes itself on any way round.
# usage: includes.sh SOURCE_DIR [levels]      (levels: prints the level of each file, 0 for who includes nothing of ours)
set -u

if [ $# -lt 1 ]; then
  echo "usage: $0 SOURCE_DIR [levels]" >&2
  exit 2
fi
cd "$1" || exit 1

files=$(find include src/core src/lua -name '*.[ch]' | LC_ALL=C sort)
[ -n "$files" ] || { echo "FAIL: no sources under $1" >&2; exit 1; }

# File names have no blanks.
# shellcheck disable=SC2086
awk -v levels="${2:-}" '
function fail(why) {
  printf "FAIL %s: %s\n", FILENAME ":" FNR, why > "/dev/stderr"
  failed = 1
}

function room(file) {
  return file ~ /^include\// ? 0 : file ~ /^src\/core\// ? 1 : 2
}

# The file of ours that is meant, or "" where it is none of ours.
function ours(name, quoted,    dir) {
  dir = FILENAME
  sub(/[^\/]*$/, "", dir)
  if (quoted && ((dir name) in exists))
    return dir name
  if (quoted && (("src/" name) in exists))
    return "src/" name
  if (("include/" name) in exists)
    return "include/" name
  return ""
}

# Depth first; prints the way round where there is one. Returns the level.
function visit(file, way,    i, n, next_files, deepest, level) {
  if (state[file] == "done")
    return level_of[file]
  if (state[file] == "open") {
    printf "FAIL include cycle:%s %s\n", way, file > "/dev/stderr"
    failed = 1
    return 0
  }
  state[file] = "open"
  deepest = -1
  n = split(edges[file], next_files, " ")
  for (i = 1; i <= n; i++) {
    level = visit(next_files[i], way " " file)
    if (level > deepest)
      deepest = level
  }
  state[file] = "done"
  level_of[file] = deepest + 1
  return deepest + 1
}

BEGIN {
  for (i = 1; i < ARGC; i++)
    exists[ARGV[i]] = 1
}

/^[ \t]*#[ \t]*include/ {
  name = $0
  sub(/^[ \t]*#[ \t]*include[ \t]*/, "", name)
  quoted = name ~ /^"/
  sub(/^["<]/, "", name)
  sub(/[">].*$/, "", name)
  seen++

  if (name ~ /^(lua|lauxlib|lualib|luaconf)\.h(pp)?$/ && room(FILENAME) < 2 && FILENAME != "include/rsca/lua.h")
    fail("nothing below src/lua includes " name)
  if (name ~ /^(\.\.|\/)/)
    fail("a path out of its room: " name)
  target = ours(name, quoted)
  if (target == "") {
    if (quoted && name != "embedded.h") # that one is generated
      fail("no such file of ours: " name)
    else if (!quoted && name ~ /^(rsca|core)\//)
      fail("no such public header: " name)
    next
  }
  if (target !~ /\.h$/)
    fail("includes a file that is no header: " name)
  if (room(target) > room(FILENAME))
    fail("a lower room includes a higher one: " target)
  if (quoted && room(target) == 0)
    fail("public headers are included as the outside does: <" name ">")
  if (room(FILENAME) == 2 && room(target) == 1 && name !~ /^core\/[a-z_]+\.h$/)
    fail("of core, src/lua includes \"core/....h\": " name)
  edges[FILENAME] = edges[FILENAME] " " target
}

END {
  if (seen == 0) {
    print "FAIL: no include lines" > "/dev/stderr"
    failed = 1
  }
  for (i = 1; i < ARGC; i++)
    visit(ARGV[i], "")
  if (levels != "")
    for (i = 1; i < ARGC; i++)
      print level_of[ARGV[i]], ARGV[i] | "sort -n -k1,1 -k2"
  if (!failed)
    printf "ok   %d includes in %d files\n", seen, ARGC - 1
  exit failed
}
' $files
