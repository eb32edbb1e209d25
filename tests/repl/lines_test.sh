#!/bin/sh
# The prompt in a Lua program, where lines are those of the terminal; colours; and the program as it was afterwards.
# shellcheck source=tests/repl/support.sh
. ./support.sh

# What popen starts does not survive the runtime of the thread sanitizer.
signal=signal
[ "${RSCA_SANITIZE-}" != thread ] || signal=
opens_terminal "$lua host.lua nil $signal"
what="lines without an editor"
enters 'counter' '.run hosted x' 'local n = 1' 'n + 1' 'for i = 1, 2 do'
continues 'print(i) end'
prompts
sees 'rsca [0-9.]+, Lua 5\.4; \.help tells more, Ctrl-D leaves'
sees '\[1\] hosted: hosted x'
sees 2

what="a result arrives, and what the prompt is in the way of"
enters '.run gate g1 arrived' '.run print g2 printed'
prompts
opens g1
sees '\[2\] gate: arrived'
prompts
opens g2
sees 'printed'
sees '\[3\] print: printed'

what="Ctrl-C"
# Not for a runtime that keeps signals from a thread that computes.
if [ "${RSCA_SANITIZE-}" != thread ]; then
  enters 'print("be" .. "gun") while true do pcall(error) end'
  sees begun
  keys C-c
  sees '.*interrupted'
fi
enters 'print("wait" .. "ing") rsca.sleep(1000)'
sees waiting
keys C-c
prompts
keys C-c
sees 'Ctrl-D or \.quit leaves'

what="leaving, and a second prompt"
prompts
keys C-d
sees 'first +true'
enters 'counter'
sees 2
enters '.run forever' .quit
sees 'still running:'
sees '\[[0-9]+\] forever +[0-9.]+ s.*'
sees 'second +true'

what="Ctrl-C is what it was: the interpreter's own"
if [ -n "$signal" ]; then
  sees '.*interrupted!'
  exits 1
else
  exits 0
fi
closes

# coloured PATTERN: with escape sequences, as tmux writes them.
has_colour() {
  mux capture-pane -p -e -t 0 | grep -q -e "$1"
}
escape=$(printf '\033')
what="colours"
opens_terminal "$program repl"
enters '"text"' '{1}' 'error("broken", 0)'
sees broken
until_true has_colour "$escape\[3[0-9]m\"text\"" || fail "no colour"
until_true has_colour "$escape\[3[0-9]mbroken" || fail "no colour of errors"
closes
for settings in NO_COLOR=1 TERM=dumb; do
  what=$settings
  opens_terminal "env $settings $program repl"
  enters '"text"' 'error("broken", 0)'
  sees broken
  ! has_colour "$escape\[3" || fail "colours"
  enters .quit
  exits 0
  closes
done

finish
