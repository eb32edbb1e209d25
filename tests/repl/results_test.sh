#!/bin/sh
# Results arrive while somebody types: above the line, which stays as it is.
# shellcheck source=tests/repl/support.sh
. ./support.sh

starts
what="a result in the middle of typing"
enters '.run gate g1 one'
prompts
types 'x = "half'
opens g1
shows <<'END'
> .run gate g1 one
[1] is running
[1] gate: one
> x = "half
END
cursor_is 11 3
types ' done"'
keys Enter
enters x
shows <<'END'
> .run gate g1 one
[1] is running
[1] gate: one
> x = "half done"
> x
"half done"
>
END

what="responses, one by one, with the cursor inside of the line"
clears
enters '.watch steps s 3'
sees '\[2\] is running'
types 'return "abcdef"'
keys Left Left Left
opens s1
sees '\[2\] steps: step 1'
types X
opens s2
sees '\[2\] steps: step 2'
types Y
opens s3
shows <<'END'
> .watch steps s 3
[2] is running
[2] steps: step 1
[2] steps: step 2
[2] steps: step 3
[2] steps: ended
> return "abcdXYef"
END
cursor_is 16 6
keys Enter
sees '"abcdXYef"'

what="wide characters"
clears
enters '.run gate g2 二'
prompts
types 's = "漢字かな交じり文"'
keys Left Left Left
opens g2
shows <<'END'
> .run gate g2 二
[3] is running
[3] gate: 二
> s = "漢字かな交じり文"
END
cursor_is 19 3
types '長'
keys End
types ' #s'
keys C-u
types 's = "漢字かな交じ長り文"; print(utf8.len(s))'
keys Enter
sees 9

what="a line that goes over the edge, wide characters in it"
clears
enters '.run gate g3 three'
prompts
types 'w = "漢字漢字漢字漢字漢字漢字漢字漢字漢字漢字漢字漢字漢字漢字漢字漢字漢字漢字漢字漢字漢字漢字" .. "end"'
opens g3
shows <<'END'
> .run gate g3 three
[4] is running
[4] gate: three
> w = "漢字漢字漢字漢字漢字漢字漢字漢字漢字漢字漢字漢字漢字漢字漢字漢字漢字漢字
漢字漢字漢字漢字" .. "end"
END
cursor_is 26 4
keys Enter
enters 'print(utf8.len(w))'
sees 47

what="many in a row, over the edge"
clears
enters '.watch steps m 5'
prompts
types "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaabbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
keys Home Right Right
for i in 1 2 3 4 5; do
  opens m$i
  sees "\\[5\\] steps: step $i"
done
shows <<'END'
> .watch steps m 5
[5] is running
[5] steps: step 1
[5] steps: step 2
[5] steps: step 3
[5] steps: step 4
[5] steps: step 5
[5] steps: ended
> aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb
END
cursor_is 4 8
keys C-c

what="what an action prints, and a callback that fails"
clears
enters '.run print p1 from an action' 'rsca.run("gate", "g5", function() error("in a handler") end)'
sees 7
types 'typed'
opens p1
sees 'from an action'
opens g5
shows <<'END'
> .run print p1 from an action
[6] is running
> rsca.run("gate", "g5", function() error("in a handler") end)
7
from an action
[6] print: printed
in the background: stdin:1: in a handler (E_FAIL)
stack traceback:
        [C]: in function 'error'
        stdin:1: in function <stdin:1>
> typed
END
keys C-c

what="requests, subscriptions and iterators that a chunk gives back"
clears
enters 'rsca.run("gate", "g6 six")' 'rsca.subscribe("steps", "t 2", function() end)' 'rsca.responses("steps", "u 1")'
sees 'rsca.subscription: call 10'
opens g6
sees '\[8\] gate: six'
opens t1
sees '\[9\]( steps)?: step 1'
opens t2
sees '\[9\]( steps)?: ended'
opens u1
sees '\[10\]( steps)?: step 1'
sees '\[10\]( steps)?: ended'
enters '_3:await()'
sees '"six"'

what="responses of all kinds"
clears
enters '.run bytes' '.run lines' '.run raise x' '.run refuse' '.run echo' '.run echo a  b ' '.run missing'
shows <<'END'
> .run bytes
[11] bytes: a\x00\27[31m\xFFz
> .run lines
[12] lines:
first
second
> .run raise x
[13] raise: actions.lua:54: raised x (E_FAIL)
stack traceback:
        [C]: in function 'error'
        actions.lua:54: in function <actions.lua:53>
> .run refuse
[14] refuse: low or high, please (E_INVALIDARG)
> .run echo
[15] echo: <>
> .run echo a  b
[16] echo: <a  b>
> .run missing
no action is registered under the name 'missing' (ERROR_NOT_FOUND)
>
END
enters .quit
exits 0

finish
