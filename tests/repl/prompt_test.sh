#!/bin/sh
# A prompt for Lua: values, locals, results, errors, chunks of many lines, leaving.
# shellcheck source=tests/repl/support.sh
. ./support.sh

opens_terminal "$program repl actions.lua"
what="the greeting"
sees 'rsca [0-9.]+, Lua 5\.4; \.help tells more, Ctrl-D leaves'
clears

what="expressions and statements"
enters '6 * 7' '= 1, nil, "two"' 'x = 5' 'x' '-- nothing' 'print(x) io.write("open")' 'print("next")' 'return x, x' \
  'math.huge' '("a\tb\27\255"):rep(2)'
shows <<'END'
> 6 * 7
42
> = 1, nil, "two"
1       nil     "two"
> x = 5
> x
5
> -- nothing
> print(x) io.write("open")
5
open
> print("next")
next
> return x, x
5       5
> math.huge
inf
> ("a\tb\27\255"):rep(2)
"a      b\27\xFFa       b\27\xFF"
>
END

what="locals stay, as variables"
clears
enters 'local n = 0' 'local function up() n = n + 1 return n end' 'up() up()' 'n' 'local n = n + 10' 'n, up()' \
  'local text, c <const> = tostring, 7' 'text(c) .. "!"' 'local function fact(k) return k < 2 and 1 or k * fact(k - 1) end' \
  'fact(5)' 'rawget(_G, "n"), rawget(_G, "rsca")'
shows <<'END'
> local n = 0
> local function up() n = n + 1 return n end
> up() up()
> n
2
> local n = n + 10
> n, up()
12      3
> local text, c <const> = tostring, 7
> text(c) .. "!"
"7!"
> local function fact(k) return k < 2 and 1 or k * fact(k - 1) end
> fact(5)
120
> rawget(_G, "n"), rawget(_G, "rsca")
nil     nil
>
END

what="the last results"
clears
enters '"a"' '"b", "c"' '_1, _2, _3' '_1 .. _2' 'nil' '_1, _2'
shows <<'END'
> "a"
"a"
> "b", "c"
"b"     "c"
> _1, _2, _3
"b"     "c"     "a"
> _1 .. _2
"bc"
> nil
nil
> _1, _2
nil     "bc"
>
END

what="tables"
clears
enters '{}' '{1, "two", {3, x = {y = {z = {}}}}}' 'local t = {name = "t"} t.self = t return t' \
  '{[1.5] = 1, [true] = 2, ["a b"] = 3, ["end"] = 4}' 'setmetatable({}, {__tostring = function() return "mine" end})' \
  'local l = {} for i = 1, 60 do l[i] = i end return l' 'rsca.call("refuse")'
shows <<'END'
> {}
{}
> {1, "two", {3, x = {y = {z = {}}}}}
{1, "two", {3, x = {y = {z = {}}}}}
> local t = {name = "t"} t.self = t return t
{name = "t", self = <cycle>}
> {[1.5] = 1, [true] = 2, ["a b"] = 3, ["end"] = 4}
{[1.5] = 1, ["a b"] = 3, ["end"] = 4, [true] = 2}
> setmetatable({}, {__tostring = function() return "mine" end})
mine
> local l = {} for i = 1, 60 do l[i] = i end return l
{
  1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22,
  23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40, 41,
  42, 43, 44, 45, 46, 47, 48, 49, 50,
  ... 10 more
}
> rsca.call("refuse")
nil     low or high, please (E_INVALIDARG)
>
END

what="errors"
clears
enters 'x = = 1' 'local function inner() error("broken") end inner()' 'error({code = 5})'
shows <<'END'
> x = = 1
stdin:1: unexpected symbol near '='
> local function inner() error("broken") end inner()
stdin:1: broken
stack traceback:
        [C]: in function 'error'
        stdin:1: in local 'inner'
        stdin:1: in main chunk
> error({code = 5})
{code = 5}
stack traceback:
        [C]: in function 'error'
        stdin:1: in main chunk
>
END
clears
enters 'nothing.at.all' 'error(setmetatable({}, {__tostring = function() return "mine" end}))' 'error()' 'n'
shows <<'END'
> nothing.at.all
stdin:1: attempt to index a nil value (global 'nothing')
stack traceback:
        stdin:1: in main chunk
> error(setmetatable({}, {__tostring = function() return "mine" end}))
mine
stack traceback:
        [C]: in function 'error'
        stdin:1: in main chunk
> error()
nil
stack traceback:
        [C]: in function 'error'
        stdin:1: in main chunk
> n
12
>
END

what="chunks of many lines"
clears
enters 'for i = 1, 2 do'
continues 'local double = 2 * i' 'print(i, double)' 'end'
enters 'local text = [[one'
continues 'two]]'
enters 'text' '1 +'
continues '2'
enters 'local function f('
ends_with '>>'
keys C-d
shows <<'END'
> for i = 1, 2 do
>> local double = 2 * i
>> print(i, double)
>> end
1       2
2       4
> local text = [[one
>> two]]
> text
"one
two"
> 1 +
>> 2
3
> local function f(
>>
stdin:1: <name> or '...' expected near <eof>
>
END

what="waiting: others go on"
clears
enters '.run gate g1 meanwhile'
enters 'rsca.call("gate", "g2 waited for")'
opens g1
sees '\[[0-9]+\] gate: meanwhile'
opens g2
sees '"waited for"'

what="leaving, with something running"
clears
enters '.run gate g3' '.watch forever with words'
prompts
keys C-d
sees 'still running:'
sees '\[[0-9]+\] gate g3 +[0-9.]+ s.*'
sees '\[[0-9]+\] forever with words +[0-9.]+ s.*'
exits 0

finish
