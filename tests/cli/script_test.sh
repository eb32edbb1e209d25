#!/bin/sh
# The script: where it comes from, what it says, and what is wrong with it.
# shellcheck source=tests/cli/support.sh
. ./support.sh

cp actions.lua "$work/input"
exits 0 run - echo from stdin
says '<from stdin>'
exits 1 run - raise
grep -q '^rsca: stdin:33: ' "$work/errors" || fail "no line of stdin"
exits 0 list -
: >"$work/input"
exits 0 list -
says ''

# stdout is for responses.
exits 0 run actions.lua talk
says 'io.stdout response'
complains "$(printf 'print\t1\tnil')" io.write
exits 0 watch actions.lua talk
says 'io.stdout response\n'
echo 'print "loading" return' >"$work/input"
exits 0 list -
says ''
complains loading

exits 1 run missing.lua echo
says ''
complains_once 'rsca: cannot open missing\.lua.*'
exits 1 list missing.lua
complains_once 'rsca: cannot open missing\.lua.*'
exits 1 run . echo
complains_once 'rsca: cannot read \..*'

# wrong LINE SCRIPT: it fails with this line, in which a file stands for SCRIPT.
wrong() {
  printf '\n%s\n' "$2" >"$work/input"
  for command in 'list -' 'run - name' 'watch - name'; do
    # shellcheck disable=SC2086
    exits 1 $command
    what="$what: $2"
    says ''
    complains_once "rsca: $1"
  done
}

wrong "stdin:2: unexpected symbol near '='" 'x = = 1'
wrong 'stdin:2: gone' 'error("gone")'
wrong 'stdin:2: gone' 'error("gone", 0)'
wrong 'stdin:2: two lines' 'error("two\nlines")'
wrong 'stdin:2: \(error object is a table value\)' 'error({})'
wrong 'stdin:2: \(error object is a nil value\)' 'error()'
wrong 'stdin:2: its text' 'error(setmetatable({}, { __tostring = function() return "its text" end }))'
wrong "stdin:2: module 'no\.such' not found:.*" 'require "no.such"'
wrong "stdin:2: no action .* 'x' \(ERROR_NOT_FOUND\)" 'error((select(2, require "rsca".call("x"))))'
wrong '.*stack overflow.*' 'local function f() return f() + 1 end f()'

exits 1 run - --json name
has_members <<'END'
status: 2147500037
name: "E_FAIL"
message: "stdin:2: stack overflow"
action: "name"
END

# It may wait, and run its own actions.
echo 'local rsca = require "rsca" dofile "actions.lua" assert(rsca.call("echo") == "<>") rsca.sleep(0.01) rsca.loop()' \
  >"$work/input"
exits 0 run - echo more
says '<more>'

# arg as in any script, and the modules beside those of the program.
echo 'local support = require "support" print(arg[0], support)' >"$work/input"
echo 'return "its own module"' >"$work/support.lua"
LUA_PATH="$work/?.lua"
export LUA_PATH
exits 0 list -
complains "$(printf -- '-\tits own module')"
unset LUA_PATH

# A module in C finds Lua in the program.
echo "assert(package.loadlib('$RSCA_MODULE', 'luaopen_rsca_core'))" >"$work/input"
exits 0 list -
is_quiet

finish
