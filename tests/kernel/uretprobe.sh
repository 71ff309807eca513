#!/bin/bash
# SPDX-License-Identifier: MIT
# --uretprobe counts and records calls as without it, ends nothing that longjmp crosses, and is refused where a stack may be
# unwound. Without it, func:SYMBOL%return uses the sites that the plugin has made for returns.
. tests/lib.sh
. tests/kernel/lib.sh
need_kernel
build_once "$T/calls" "$CC" -O2 -g -pthread tests/kernel/uretprobe.c || fail "does not compile"
at_end "probe-disable -q -s $S 2>/dev/null"

# counts WHAT: compares the counts of f's calls with the program's, which $answer has.
counts() {
	read -r began returned <<<"$answer"
	expect 0 probe-stat --json -s "$S"
	want "$1: began, returned, and all calls" "$((began0 + began)) $((returned0 + returned)) true" "$(jq -r \
		'.probes[0] | "\(.entries) \(.hits) \(.entries == .hits + .missed + .under_way + .abandoned)"' <<<"$out")"
	began0=$((began0 + began)) returned0=$((returned0 + returned))
}

for multi in "" 1; do
	export PROBEPOINT_NO_UPROBE_MULTI=$multi
	began0=0 returned0=0
	start p "$T/calls"
	expect 0 probe-enable -q -s "$S" --uretprobe --record -p "$p" func:f%return
	for o in "plain 100" "deep 20" "jump 30" "threads 100" "plain 10"; do
		tell p "$o"
		counts "$o"
	done
	trace_kept "$T/records" --json -s "$S"
	want "records: results of their own calls" "$returned0 0" \
		"$(jq -rs '"\(length) \([.[] | select(.args.ret != 3 * (.args.id // .args.arg0) + 1)] | length)"' "$T/records" )"
	expect 0 probe-disable -q -s "$S"
	tell p "plain 100"
	stop p
done
unset PROBEPOINT_NO_UPROBE_MULTI

# one of two functions is disarmed: the link of the other one is made again
start p "$T/calls"
expect 0 probe-enable -q -s "$S" --uretprobe -p "$p" func:f%return func:run%return
expect 0 probe-disable -q -s "$S" func:run%return
began0=0 returned0=0
tell p "plain 100"
counts "after another function was disarmed"
expect 0 probe-disable -q -s "$S"

# ---- refusals ----
expect 2 probe-enable -s "$S" --uretprobe -p "$p" func:f
expect 1 probe-enable -s "$S" --uretprobe -f "$T/calls" func:f%return
want_like "without a process" "*--uretprobe needs the processes*" "$out"
tell p "load libgcc_s.so.1"
expect 1 probe-enable -s "$S" --uretprobe -p "$p" func:f%return
want_like "an unwinder" "*pid $p has libgcc_s.so.1, which unwinds stacks*leave out --uretprobe*" "$out"
stop p

# ---- the plugin's returns ----
[ -f "$B/lib/probepoint.so" ] || { part_skipped "the plugin is not built"; exit 0; }
"${PLUGIN_CC:-gcc}" -O2 -g -pthread -fplugin="$B/lib/probepoint.so" -fplugin-arg-probepoint-functions=f \
	-fplugin-arg-probepoint-provider=app tests/kernel/uretprobe.c -o "$T/probed" || fail "does not compile with the plugin"
start p "$T/probed"
expect 0 probe-enable -q -s "$S" --record -p "$p" func:f%return
at=$(probe-list --json "$T/probed" | jq -c '[.probes[] | select(.name == "f__return") | .sites[].armed | length] | add > 0')
began0=0 returned0=0
for o in "plain 100" "deep 20" "jump 30" "threads 100" "plain 10"; do
	tell p "$o"
	counts "the plugin's sites, $o"
done
trace_kept "$T/records" --json -s "$S"
want "the plugin's sites: results of their own calls" "$returned0 0" \
	"$(jq -rs '"\(length) \([.[] | select(.args.ret != 3 * (.args.id // .args.arg0) + 1)] | length)"' "$T/records" )"
want "the plugin's sites are armed" true "$at"
want "names" '["id","n","ret","duration"]' "$(head -n 1 "$T/records" | jq -c '.args | keys_unsorted')"
expect 0 probe-disable -q -s "$S"
stop p
