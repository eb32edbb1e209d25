#!/bin/sh
# Options wherever they stand; and misuse, which is one line and exit status 2.
# shellcheck source=tests/cli/support.sh
. ./support.sh

for arguments in '--json run actions.lua echo a' 'run --json actions.lua echo a' 'run actions.lua --json echo a' \
  'run actions.lua echo a --json' '--json --time-limit 60 run -- actions.lua echo a'; do
  # shellcheck disable=SC2086
  exits 0 $arguments
  has_members <<'END'
status: 0
name: "S_OK"
response: "<a>"
END
done

exits 0 run actions.lua echo -- --json -x
says '<--json -x>'
exits 0 run -- actions.lua echo --json
says '<--json>'
exits 0 run actions.lua echo -- a -- b
says '<a -- b>'

exits 0 --version
says "rsca $(sed -n 's/^#define RSCA_VERSION "\(.*\)"/\1/p' ../../include/rsca/version.h)\n"
is_quiet
for command in '' run watch list repl; do
  # shellcheck disable=SC2086
  exits 0 --help $command
  is_quiet
  grep -q "^usage: rsca $command" "$work/output" || fail "no usage"
  cp "$work/output" "$work/first"
  # shellcheck disable=SC2086
  exits 0 $command -h
  cmp -s "$work/first" "$work/output" || fail "-h is not --help"
done

# misused PATTERN ARGUMENT...
misused() {
  pattern=$1
  shift
  exits 2 "$@"
  says ''
  complains_once "rsca: $pattern"
}

misused 'which command\?.*'
misused 'which command\?.*' --json
misused 'no such command: walk .*' walk
misused 'no such command: walk .*' --help walk
misused 'no such command:  .*' ''
misused 'no such command: two lines .*' 'two
lines'
for command in run watch; do
  misused "SCRIPT is missing; usage: rsca $command .*" $command
  misused "NAME is missing; usage: rsca $command .*" $command actions.lua
  misused 'NAME is empty; .*' $command actions.lua ''
  misused 'NAME and ARGs have to be UTF-8' $command actions.lua echo "$(printf 'a\377')"
  misused 'NAME and ARGs have to be UTF-8' $command actions.lua "$(printf 'a\377')"
done
misused 'SCRIPT is missing; usage: rsca list .*' list
misused 'too many operands: echo; .*' list actions.lua echo
misused 'list takes no time limit; .*' list --time-limit 1 actions.lua

misused 'no such option: --jason .*' --jason run actions.lua echo
misused 'no such option: --jason .*' run actions.lua echo --jason
misused 'no such option: -x .*' run -x actions.lua echo
misused 'no such option: -5 .*' run actions.lua echo -5
misused 'this option takes no value: --json=yes .*' run --json=yes actions.lua echo
misused '--time-limit needs a value .*' run actions.lua echo --time-limit
for seconds in '' 0 0.0 -1 +1 ' 1' 1s 1e3 0x10 inf nan . 1.2.3 1,5 99999999999; do
  misused '--time-limit takes a positive number of seconds, not .*' run --time-limit "$seconds" actions.lua echo
done

finish
