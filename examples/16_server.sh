#!/bin/sh
# Starts the server, asks it for this and that, and ends it while it is busy.
# usage: 16_server.sh SERVER CLIENT
set -eu

examples=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
socket=$work/socket client=$2
mkfifo "$work/said" "$work/answers"

"$1" "$socket" "$examples/16_server.lua" >"$work/said" &
server=$!
exec 3<"$work/said"
read -r line <&3 # it listens
echo "server: $line"

ask() {
  echo "asked: $*"
  "$client" "$socket" "$@"
}

ask "primes 100"
ask "visits"
ask "visits"
ask "spin"
ask "hog"
ask "match"
ask "unknown"
ask "primes many"
ask "nap 0.2" "nap 0.2" "nap 0.2" "nap 0.2" "nap 0.2"
ask "primes 1000"

# With work in flight: when the last of these is answered, the others have been accepted.
"$client" "$socket" "patient" "nap 0.4" "primes 10" >"$work/answers" &
busy=$!
exec 4<"$work/answers"
read -r line <&4
echo "$line"
kill -TERM "$server"
cat <&4
cat <&3
wait "$busy"
wait "$server"
