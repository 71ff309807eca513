#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Runs the session of README.md and compares the output, except numbers and times.
. tests/lib.sh
need_root
need jq

"$B/examples/weblog" -t 3600 >"$T/log" 2>&1 &
weblog=$!
runs $weblog "$B/examples/weblog"
pidof() { echo "$weblog"; }
# README.md uses the session `default`. A test must use its own.
for command in probe-enable probe-stat probe-trace probe-disable; do
	eval "$command() { command $command -s '$S' \"\$@\"; }"
done
at_end "command probe-disable -q -s $S"
is_hit() { command probe-stat --json -s "$S" | jq -e '[.probes[].hits] | min > 0'; }

mask() {
	sed -E "s#$B#build#g; s/\b$S\b/default/g; s/^[0-9:.]+ [0-9]+\/[0-9]+ (weblog .* path=).*/\1P/; s/pid [0-9]+/pid N/" |
		sed -E 's/^ +[0-9]+( +1 +weblog:\S+) +[0-9]+/HITS\1 N/; s/ +PID/ PID/' |
		sed -E 's/[0-9]+ sites?/N sites/g; s/^(  weblog:\S+) +[0-9]+ /\1 N /'
}
awk '/<!-- session -->/ { on = 1 } on && /^```$/ { if (n++) exit; next } on && n' README.md >"$T/wanted"
[ -s "$T/wanted" ] || fail "README.md has no session"
grep '^\$ ' "$T/wanted" | sed 's/^\$ //' >"$T/commands"
while IFS= read -r command; do
	echo "\$ $command"
	eval "$command" 2>"$T/stderr" || fail "\"$command\" failed: $(cat "$T/stderr")"
	case $command in probe-enable*) wait_for 20 is_hit ;; esac
done <"$T/commands" >"$T/got"
mask <"$T/wanted" >"$T/wanted.masked"
mask <"$T/got" >"$T/got.masked"
diff -u "$T/wanted.masked" "$T/got.masked" || fail "the output differs from README.md"
