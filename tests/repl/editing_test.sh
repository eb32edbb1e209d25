#!/bin/sh
# The line editor: completion, history across sessions, pasting, another size, stopping and going on.
# shellcheck source=tests/repl/support.sh
. ./support.sh

starts
# completes TEXT EXPECTED: Tab makes that of it.
completes() {
  what="completion of $1"
  prompts
  types "$1"
  keys Tab
  ends_with "> $2"
  keys C-u
}
completes '.act' '.actions'
completes '.run ec' '.run echo'
completes '.watch st' '.watch steps'
completes '.help ref' '.help refuse'
completes 'rsca.subs' 'rsca.subscribe'
completes 'string.rev' 'string.reverse'
completes 'x = math.hu' 'x = math.huge'
completes 'setmeta' 'setmetatable'
completes 'rsca.call("ec' 'rsca.call("echo'
completes 'func' 'function'
enters 'local own_thing, m = { inner = { deepest = 1 } }, rsca.own_manager()' 'local s = "text"' 'r = rsca.run("echo")'
prompts
completes 'own_t' 'own_thing'
completes 'own_thing.inner.dee' 'own_thing.inner.deepest'
completes 'm:subs' 'm:subscribe'
completes 's:rev' 's:reverse'
completes 'r:aw' 'r:await'
completes 'r.nothing' 'r.nothing'
completes ".load act" ".load actions.lua"
enters '.run forever'
completes '.cancel ' '.cancel 2'

what="several candidates"
clears
types 'rsca.st'
keys Tab Tab
shows <<'END'
> rsca.st
status  step
> rsca.st
END
keys C-u

what="bracketed paste"
clears
pastes <<'END'
local list = {}
for i = 1, 2 do
	list[i] = i * 10
end
list[2]
.run echo pasted
END
# Nothing runs before Enter.
ends_with '.run echo pasted'
keys Enter
sees 20
sees '\[3\] echo: <pasted>'
enters '#list'
sees 2

what="another size"
clears
enters '.run gate g1 above'
prompts
text=aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffffgggggggggghhhhhhhhhhiiiiiiiiii
types "\"$text\" .. '漢字"
resizes 51
types "'"
ends_with "字'"
opens g1
shows <<'END'
> .run gate g1 above
[4] is running
[4] gate: above
> "aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeee
eeffffffffffgggggggggghhhhhhhhhhiiiiiiiiii" .. '漢
字'
END
resizes 100
types ' .. 5'
shows <<'END'
> .run gate g1 above
[4] is running
[4] gate: above
> "aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffffgggggggggghhhhhhhhhhiiiiiiiiii" .. '
漢字' .. 5
END
keys Enter
sees "\"${text}漢字5\""

what="history"
enters 'local many = {'
continues '  1 }'
enters '"the last one"' .quit
exits 0
closes
starts
keys Up Up
ends_with '> "the last one"'
keys Up
sees '> local many = {'
ends_with '  1 }'
keys Enter
enters 'many[1] == 1'
sees true
enters .quit
exits 0
[ "$(stat -c %a "$work/.rsca_history")" = 600 ] || fail "others can read the history"
closes

# Not where it is valgrind that is stopped, nor for a runtime that raises signals later.
if [ "${RSCA_IS_EMULATED-0}" = 0 ] && [ "${RSCA_SANITIZE-}" != thread ]; then
  what="stopped by Ctrl-Z, and continued"
  cat >"$work/job" <<END
set -m
$program repl actions.lua
stty -a | grep -q -w icanon && echo edited 'lines are' as before
fg
END
  opens_terminal "bash $work/job"
  clears
  types 'x = "before'
  sees '> x = "before'
  keys C-z
  ends_with '> x = "before'
  sees '.*edited lines are as before'
  types ' and after"'
  keys Enter
  enters x
  sees '"before and after"'
  enters .quit
  exits 0
fi

what="killed in the middle of a line"
closes
opens_terminal "$program repl actions.lua"
clears
types 'half a line'
sees '> half a line'
pid=$(mux display-message -p -t 0 '#{pane_pid}')
kill -s TERM "$(cat "/proc/$pid/task/$pid/children")"
exits 143

what="no history where none is wanted"
closes
rm -f "$work/.rsca_history"
opens_terminal "env RSCA_HISTORY= $program repl actions.lua"
clears
enters '"once"' .quit
exits 0
[ ! -e "$work/.rsca_history" ] || fail "there is one"

finish
