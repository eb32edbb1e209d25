#!/bin/sh
# rsca list: names and what they are for.
# shellcheck source=tests/cli/support.sh
. ./support.sh

cat >"$work/input" <<'END'
local rsca = require "rsca"
rsca.register("short", { help = "one" }, function() end)
rsca.register("the.longest", { help = "two" }, function() end)
rsca.register("grüße", { help = "drei äöü" }, function() end)
rsca.register("bare", function() end)
rsca.register("strange\nname", { help = "with\27[1m\nmore" }, function() end)
END

exits 0 list -
is_quiet
says 'bare\ngrüße         drei äöü\nshort         one\nstrange name  with [1m more\nthe.longest   two\n'

exits 0 list --json -
has_members <<'END'
name: "bare"
help: ""
place: "stdin:5"
name: "gr\u00FC\u00DFe"
help: "drei \u00E4\u00F6\u00FC"
place: "stdin:4"
name: "short"
help: "one"
place: "stdin:2"
name: "strange\nname"
help: "with\u001B[1m\nmore"
place: "stdin:6"
name: "the.longest"
help: "two"
place: "stdin:3"
END

: >"$work/input"
for option in --json --; do
  exits 0 list $option -
  says ''
done

finish
