#!/bin/bash
# SPDX-License-Identifier: MIT
# Both backends show arguments alike: an operand that cannot be read does not hide the others, a symbol has its value at
# each site, and char * is a string.
. tests/lib.sh
. tests/cmd/lib.sh
need_kernel
[ "$(uname -m)" = x86_64 ] || skip "the operands are for x86-64; unit/fetch has those of aarch64"
[ -f "$B/lib/probepoint.so" ] || skip "needs the plugin"
"${PLUGIN_CC:-gcc}" -O1 -g -no-pie -fno-pic -Iinclude -fplugin="$B/lib/probepoint.so" \
	-fplugin-arg-probepoint-functions=fill tests/trace/values.c tests/trace/values.S -o "$T/values" || fail "no target"

# shown STATUS ARGUMENT...: traces one run of the target. Its output is in $T/out, its errors are in $T/err.
shown() {
	local wanted=$1 status
	shift
	probe-trace -b "$b" "$@" -- "$T/values" <<<go >"$T/out" 2>"$T/err"
	status=$?
	want "status of probe-trace -b $b $*" "$wanted" $status
	sed -i '/^ok$/d' "$T/out"
}
args() { jq -c "select(.probe == \"$1\") | .args" "$T/out" | xargs -d '\n'; }

for b in kernel agent; do
	shown 0 --json --string arg2 'values:*'
	want "$b: one operand is missing, the others are shown" \
		'{"arg0":null,"arg1":-77,"arg2":"hello"} {"arg0":null,"arg1":5,"arg2":"other"}' "$(args values:mixed)"
	want "$b: a symbol at two sites" '{"arg0":4711,"arg1":1} {"arg0":4711,"arg1":1}' "$(args values:twice)"
	shown 0 'values:mixed'
	want "$b: text" "arg0=<missing> arg1=-77" "$(head -n 1 "$T/out" | grep -o 'arg0=.* arg1=[^ ]*')"
	want_like "$b: the reason for a missing operand" '*values:mixed: 1 of 3 arguments is missing: operand "8@%xmm0" *vector registers*' "$(cat "$T/err")"
	shown 0 --json --if 'arg1 == 5 && arg2 == "other"' values:mixed
	want "$b: a filter on the other arguments" 5 "$(jq .args.arg1 "$T/out")"
	shown 125 --if 'arg0 == 5' values:mixed
	want_like "$b: a filter on the missing argument" "*'arg0' cannot be read at this site*" "$(cat "$T/err")"

	shown 0 --json '*:fill__entry' '*:fill__return'
	want "$b: char * is a string" '["mutable","utable","text",43968]' "$(jq -c 'select(.probe|endswith("entry")) | [.args[]]' "$T/out")"
	want "$b: a char * result is a string" '"mutable"' "$(jq -c 'select(.probe|endswith("return")) | .args.result' "$T/out")"
	shown 0 --json --no-string buffer --no-string arg1 '*:fill__entry'
	want "$b: --no-string" '["number","number","string","number"]' "$(jq -c '[.args[]|type]' "$T/out")"
	shown 0 -q --json --if 'buffer != 0 && fixed == "utable"' '*:fill__entry'
	want "$b: a filter compares char * with numbers and strings" 1 "$(wc -l <"$T/out")"
	shown 0 -q -o "$T/ctf.$b" values:mixed '*:fill__entry'
	if have babeltrace2; then
		expect 0 babeltrace2 "$T/ctf.$b"
		want_like "$b: CTF" '*arg1 = -77*arg1 = 5*buffer = "mutable"*' "$out"
	fi
	for option in --string --no-string; do
		shown 125 $option nothing '*:fill__entry'
		want_like "$b: $option with an unknown argument" "probe-trace: no matching probe has an argument 'nothing'" "$(cat "$T/err")"
	done
done
have babeltrace2 || part_skipped "babeltrace2 is not installed: no CTF trace is read"
