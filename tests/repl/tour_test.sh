#!/bin/sh
# The tour of the prompt in README.md: what stands there after a prompt is typed, and then the screen is as it says.
# shellcheck source=tests/repl/support.sh
. ./support.sh

awk -v folder="$work" '
  /^<!-- file: .* -->$/ { name = $3; next }
  /^```/ && name != "" && !inside { inside = 1; next }
  /^```/ && inside { inside = 0; name = ""; next }
  inside { print > (folder "/" (name ~ /^tour-/ ? "tour" : name)) }
' ../../README.md
[ -s "$work/tour" ] || { fail "README.md has no tour"; finish; }

# Figures of time are what they are.
without_times() {
  sed -E -e 's/[0-9]+\.[0-9]{6} s/TIME/g' -e 's/ [0-9]+\.[0-9] s, / TIME, /'
}

# shown LINE: the screen is what the tour has shown so far, and then this, if it is not empty.
# shellcheck disable=SC2317 # for until_true
is_shown() {
  { cat "$work/so-far"; [ -z "$1" ] || echo "$1"; } | without_times >"$work/expected"
  screen | without_times | cmp -s "$work/expected" -
}
shown() {
  until_true is_shown "$1" && return 0
  fail "the screen is not as README.md says:"
  screen | without_times | diff -u "$work/expected" - >&2
  return 1
}

mkdir "$work/bin"
ln -s "$program" "$work/bin/rsca"
: >"$work/so-far"
read -r first <"$work/tour"
cat >"$work/shell" <<END
cd $work
PATH=$work/bin:\$PATH PS1='\$ ' exec sh -i
END
mux new-session -d -x 120 -y 300 "env -i HOME=$work TERM=\$TERM LC_ALL=C.UTF-8 sh $work/shell"
what=$first

while IFS= read -r line; do
  case $line in
  '$ '*) prompt='$' text=${line#\$ } ;;
  '> '*) prompt='>' text=${line#> } ;;
  '>> '*) prompt='>>' text=${line#>> } ;;
  '^C'*) prompt='' text='' ;;
  *)
    printf '%s\n' "$line" >>"$work/so-far"
    continue
    ;;
  esac
  what=$line
  shown "$prompt" || break
  if [ -n "$prompt" ]; then
    types "$text"
    keys Enter
  else
    keys C-c
  fi
  printf '%s\n' "$line" >>"$work/so-far"
done <"$work/tour"
what="the end"
[ $failed -ne 0 ] || shown '$'

finish
