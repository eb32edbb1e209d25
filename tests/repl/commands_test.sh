#!/bin/sh
# The commands that begin with a dot.
# shellcheck source=tests/repl/support.sh
. ./support.sh

cat >"$work/more.lua" <<'END'
local rsca = require "rsca"
rsca.register("greet", { help = "says hello" }, function() return "hello" end)
END
starts
what=.actions
enters '.actions' '.actions ech' '.actions xyz'
shows <<'END'
> .actions
bytes
echo     gives its arguments back
forever
gate     GATE [RESPONSE]: waits until GATE exists
lines
print    GATE TEXT: prints it
raise
refuse
spin
steps    GATE N: N responses, each at GATE1, GATE2, ...
> .actions ech
echo  gives its arguments back
> .actions xyz
no action has that in its name
>
END

what=".load, and again"
clears
enters ".load $work/more.lua" '.run greet'
sees '\[1\] greet: hello'
sed -i 's/"hello"/"hello again"/' "$work/more.lua"
enters ".load $work/more.lua" '.run greet'
sees '\[2\] greet: hello again'
sed -i 's/"greet"/"welcome"/' "$work/more.lua"
enters ".load $work/more.lua"
sees "loaded $work/more\.lua: welcome"
sees 'taken away: greet'
enters '.run greet' '.run welcome'
sees "no action is registered under the name 'greet' \\(ERROR_NOT_FOUND\\)"
sees '\[3\] welcome: hello again'
what=".load again, where something else has taken the place, or it fails"
cp "$work/more.lua" "$work/pair.lua"
sed -i 's/"welcome"/"one"/; $a rsca.register("two", print)' "$work/pair.lua"
enters ".load $work/pair.lua" 'rsca.register("one", { replace = true }, function() return "mine" end)'
echo 'error("not yet", 0)' >"$work/pair.lua"
clears
enters ".load $work/pair.lua" '.actions two'
sees 'not yet'
sees 'two'
: >"$work/pair.lua"
enters ".load $work/pair.lua" '.actions two' '.run one'
sees 'taken away: two'
sees 'no action has that in its name'
sees '\[4\] one: mine'
clears
enters '.load' ".load $work/missing.lua"
sees 'usage: \.load FILE'
sees 'cannot open .*missing\.lua.*'
echo 'error("in the file")' >"$work/broken.lua"
enters ".load $work/broken.lua"
sees '.*broken\.lua:1: in the file'
sees ' +.*broken\.lua:1: in main chunk'

what=".run, .running and .cancel"
clears
enters '.running' '.run forever a b' '.watch forever' '.running'
sees '\[5\] forever a b +[0-9.]+ s.*'
sees '\[6\] forever +[0-9.]+ s.*'
enters '.running 5' '.running 99'
sees ' +actions\.lua:[0-9]+: in function <actions\.lua:[0-9]+>'
sees 'nothing of that number is running'
enters '.cancel 5' '.cancel [6]'
sees '\[5\] forever: cancelled'
sees '\[6\] forever: cancelled'
enters '.cancel 5' '.cancel x' '.run' '.watch' '.run missing' '.nonsense' '.running'
sees 'there is no such call, or it has ended \(ERROR_NOT_FOUND\)'
sees 'usage: \.cancel ID \[GRACE\]'
sees 'usage: \.run NAME \[ARGS\]'
sees 'usage: \.watch NAME \[ARGS\]'
sees "no action is registered under the name 'missing' \\(ERROR_NOT_FOUND\\)"
sees 'no such command: \.nonsense \(\.help tells which there are\)'
sees 'nothing is running'
enters '_1'
sees 'rsca\.subscription: call 6, ended'
enters '.run forever' '.cancel 7 -1' '.run ""' '.watch ""' '.cancel 7 0'
sees 'seconds expected, a number not below 0'
sees 'action name expected, got an empty string'
sees '\[7\] forever: cancelled'

what="the result of .run is at hand"
clears
enters '.run echo x' '_1:await()' '.run "echo" quoted name'
sees '"<x>"'
sees '\[9\] echo: <quoted name>'

what=.help
clears
enters .help
for word in .actions .run .watch .running .cancel .load .help .time .quit; do
  sees "\\$word( .*)?  .*"
done
clears
enters '.help run' '.help echo' '.help .cancel' '.help rsca.call' '.help nonsense'
sees '\.run NAME \[ARGS\]  runs an action and shows its result'
sees 'rsca\.run\(.*'
sees 'echo  gives its arguments back'
sees 'an action, from actions\.lua:[0-9]+'
sees '\.cancel ID \[GRACE\]  .*'
sees 'rsca\.call\(name.*'
sees 'there is no command, action or function of that name: nonsense'

what=.time
clears
enters '.time 1 + 1' '.time rsca.sleep(0.05)' '.time local timed = 5' 'timed' '.time' '.time x = = 2' '.time error("e")'
sees 2
sees 0\\.0[5-9][0-9]*' s, 0\.[0-9]+ s of them computing'
sees 5
sees 'usage: \.time EXPR'
sees 'stdin:1: e'

what="after a failure of an action's own"
clears
enters '.run raise x'
sees '\[[0-9]+\] raise: actions\.lua:[0-9]+: raised x \(E_FAIL\)'
sees 'stack traceback:'
enters .quit
exits 0

finish
