#!/bin/sh
# --json: one object in a line for each result.
# shellcheck source=tests/cli/support.sh
. ./support.sh

exits 0 run --json actions.lua echo "grüße \"\\"
is_quiet
[ "$(wc -l <"$work/output")" -eq 1 ] || fail "not one line"
has_members <<'END'
status: 0
name: "S_OK"
response: "<gr\u00FC\u00DFe \"\\>"
END

exits 0 run --json actions.lua bytes 61000a62
has_members <<'END'
status: 0
name: "S_OK"
response: "a\u0000\nb"
END

exits 0 run --json actions.lua nothing
has_members <<'END'
status: 0
name: "S_OK"
response: ""
END

exits 0 run --json actions.lua chosen
has_members <<'END'
status: 1
name: "S_FALSE"
response: "half"
END

# Bytes that are no text, of every length that base64 treats in its own way.
for bytes in ff ff00 ff00fe ff00fe61 eda080 c080; do
  exits 0 run --json actions.lua bytes $bytes
  "$json_lines" <"$work/output" >"$work/members"
  grep -q -x 'encoding: "base64"' "$work/members" || fail "no encoding"
  decoded=$(sed -n 's/^response: "\(.*\)"$/\1/p' "$work/members" | base64 -d | od -A n -t x1 | tr -d ' \n')
  [ "$decoded" = $bytes ] || fail "the response is $decoded"
done

exits 1 run --json actions.lua refuse
complains 'rsca: low or high, please (E_INVALIDARG 0x80070057)'
has_members <<'END'
status: 2147942487
name: "E_INVALIDARG"
message: "low or high, please"
action: "refuse"
END

exits 1 run --json actions.lua raise
has_members <<'END'
status: 2147500037
name: "E_FAIL"
message: "actions.lua:33: attempt to index a nil value (field 'no')"
action: "raise"
traceback: "stack traceback:\n\tactions.lua:33: in function <actions.lua:32>"
END

exits 1 run --json actions.lua refuse.lines
has_members <<'END'
status: 2147500037
name: "E_FAIL"
message: "first\nsecond\u001B[1m\u0000end"
action: "refuse.lines"
END

exits 1 run --json actions.lua refuse.bytes
has_members <<'END'
status: 2147500037
name: "E_FAIL"
message: "caf?"
action: "refuse.bytes"
END

exits 1 run --json actions.lua refuse.silently
has_members <<'END'
status: 2147750452
name: "0x80041234"
message: "failed without a message"
action: "refuse.silently"
END

exits 1 run --json actions.lua unknown
has_members <<'END'
status: 2147943568
name: "ERROR_NOT_FOUND"
message: "no action is registered under the name 'unknown'"
action: "unknown"
END

exits 0 watch --json actions.lua three
has_members <<'END'
status: 0
name: "S_OK"
response: "one"
final: false
status: 0
name: "S_OK"
response: "two\n"
final: false
status: 0
name: "S_OK"
response: ""
final: false
status: 0
name: "S_OK"
response: "a\u0000b\n\n"
final: false
status: 0
name: "S_OK"
response: "last words"
final: false
status: 1
name: "S_FALSE"
response: ""
final: true
END

exits 1 watch --json actions.lua refuse
has_members <<'END'
status: 2147942487
name: "E_INVALIDARG"
message: "low or high, please"
action: "refuse"
final: true
END

exits 1 list --json missing.lua
[ "$("$json_lines" <"$work/output" | cut -d: -f1 | tr '\n' ' ')" = 'status name message ' ] || fail "other members"

finish
