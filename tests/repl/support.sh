#!/bin/sh
# What the tests of the prompt have in common; they say: . ./support.sh
# usage of each test: NAME_test.sh PROGRAM LUA, in the folder of this file
#   LUA   a command that runs Lua scripts that can require "rsca"
#
# A terminal is one of tmux's, under a server of the test's own. Nothing here waits for a time: what is waited for is
# seen on the screen, or the test fails after a time that is far too long.
set -u

if [ $# -ne 2 ]; then
  echo "usage: $0 PROGRAM LUA" >&2
  exit 2
fi
program=$1
# shellcheck disable=SC2034 # for some of the tests
lua=$2
failed=0
what=

command -v tmux >/dev/null || { echo "FAIL: there is no tmux" >&2; exit 1; }
work=$(mktemp -d) || exit 1
export TMUX_TMPDIR="$work" HOME="$work" LC_ALL=C.UTF-8
unset TMUX NO_COLOR RSCA_HISTORY INPUTRC LUA_PATH LUA_CPATH LUA_PATH_5_4 LUA_CPATH_5_4 LUA_INIT LUA_INIT_5_4

server=0 # each terminal has a server of its own: one that ends may be in the way of the next
mux() {
  tmux -L "prompt$server" -f /dev/null "$@"
}

clean_up() {
  mux kill-server >/dev/null 2>&1
  rm -rf "$work"
}
trap clean_up EXIT
trap 'exit 1' HUP INT TERM

fail() {
  echo "FAIL: $what: $*" >&2
  failed=1
}

# opens_terminal COMMAND [COLUMNS ROWS]: runs it, a line for the shell, in a new terminal; what it exits with goes into
# $work/status, and the screen stays.
opens_terminal() {
  what=$1
  rm -f "$work/status"
  cat >"$work/run" <<END
trap : INT
stty -echoctl
$1
echo \$? >$work/ended
mv $work/ended $work/status
stty -echo
exec cat >/dev/null
END
  mux new-session -d -x "${2:-80}" -y "${3:-24}" "sh $work/run"
}

# starts: the prompt of the program, with the actions, on an empty screen.
starts() {
  opens_terminal "$program repl actions.lua"
  clears
}

# The screen, with what has left it at its top, and without what is blank at its end.
screen() {
  mux capture-pane -p -t 0 -S "${1:--}" | sed -e 's/ *$//' | sed -e :a -e '/^\n*$/{$d;N;ba' -e '}'
}

# until_true COMMAND...: waits until it succeeds; false when that takes far too long.
until_true() {
  tries=0
  until "$@"; do
    tries=$((tries + 1))
    [ $tries -lt 1200 ] || return 1
    sleep 0.05
  done
}

has_line() {
  screen | grep -q -x -E -e "$1"
}

# sees PATTERN: a line of the screen matches, sooner or later.
sees() {
  until_true has_line "$1" && return 0
  fail "there is no line '$1' on the screen:"
  screen >&2
  return 1
}

last_line_is() {
  [ "$(screen | tail -n 1)" = "$1" ]
}

# ends_with LINE: that is the last line, sooner or later.
ends_with() {
  until_true last_line_is "$1" && return 0
  fail "the screen does not end with '$1':"
  screen >&2
  return 1
}

# prompts: a prompt waits for input on the last line.
prompts() {
  ends_with '>'
}

screen_is() {
  [ "$(screen)" = "$(cat "$work/expected")" ]
}

# shows: the screen is what stands on stdin, sooner or later.
shows() {
  cat >"$work/expected"
  until_true screen_is && return 0
  fail "the screen is not as expected:"
  screen | diff -u "$work/expected" - >&2
  return 1
}

cursor_at() {
  [ "$(mux display-message -p -t 0 '#{cursor_x} #{cursor_y}')" = "$1 $2" ]
}

# cursor_is X Y: counted from 0.
cursor_is() {
  until_true cursor_at "$1" "$2" && return 0
  fail "the cursor is at $(mux display-message -p -t 0 '#{cursor_x} #{cursor_y}'), not at $1 $2:"
  screen >&2
}

# types TEXT: as it is; keys KEY...: as tmux calls them.
types() {
  mux send-keys -t 0 -l -- "$1"
}
keys() {
  mux send-keys -t 0 "$@"
}

# enters LINE...: each with Enter, when a prompt has come; none is empty.
last_line_is_not() {
  ! last_line_is "$1"
}
enters_after() {
  ends_with "$1" || return 1
  types "$2"
  until_true last_line_is_not "$1" || fail "what is typed is not seen: $2"
  keys Enter
}
enters() {
  for line in "$@"; do
    enters_after '>' "$line" || return 1
  done
}

# continues LINE...: the same for a chunk that is not complete.
continues() {
  for line in "$@"; do
    enters_after '>>' "$line" || return 1
  done
}

# pastes: what stands on stdin, as a terminal does it that knows of bracketed paste.
pastes() {
  mux load-buffer -
  mux paste-buffer -p -t 0
}

# resizes COLUMNS: and the program has been told. It looks at that before it takes what is typed next.
has_columns() {
  [ "$(stty size <"$(mux display-message -p -t 0 '#{pane_tty}')")" = "24 $1" ]
}
resizes() {
  mux resize-window -t 0 -x "$1" -y 24
  until_true has_columns "$1" || fail "the terminal does not get $1 columns"
}

# opens GATE: lets an action go on that waits at it, see actions.lua.
opens() {
  : >"$work/$1"
}

# clears: an empty screen with a prompt, and nothing that has left it.
is_clear() {
  [ "$(screen 0)" = '>' ]
}
clears() {
  prompts
  keys C-l
  until_true is_clear || { fail "the screen is not cleared:"; screen >&2; }
  mux clear-history -t 0
}

# exits STATUS: the program has ended.
exits() {
  until_true test -e "$work/status" || { fail "it does not end"; screen >&2; return 1; }
  [ "$(cat "$work/status")" = "$1" ] || fail "exit status $(cat "$work/status"), not $1"
}

# closes: takes the terminal away.
closes() {
  mux kill-server >/dev/null 2>&1
  server=$((server + 1))
}

finish() {
  [ $failed -eq 0 ] && echo "ok   $0"
  exit $failed
}
