#!/bin/bash
# SPDX-License-Identifier: MIT
# Traces of a program with threads and recursive calls, by both backends: each slice of the report is a call of the program's
# own log, in its thread, with its arguments, its result and its times. babeltrace2 and probe-trace --json have the same
# records. The same is true of a trace in parts, and of one that has lost records, where calls are certain only if they are right.
. tests/lib.sh
need babeltrace2 python3 jq
[ -x "$B/bin/probe-report" ] || skip "probe-report is not built"
[ -f "$B/lib/probepoint.so" ] || skip "needs the plugin"
backends=agent
if [ "$(id -u)" = 0 ] && [ -d /sys/bus/event_source/devices/uprobe ]; then
	backends="agent kernel"
else
	part_skipped "the kernel backend needs root and uprobes"
fi
"${PLUGIN_CC:-gcc}" -O2 -g -pthread -Iinclude -fplugin="$B/lib/probepoint.so" -fplugin-arg-probepoint-provider=real \
	-fplugin-arg-probepoint-functions=work,leaf tests/report/real.c -o "$T/real" || fail "tests/report/real.c does not compile"

# reported BACKEND NAME ROUNDS PAUSE OPTION...: traces the program and compares the outputs of the report.
reported() {
	local backend=$1 dir=$T/$1-$2 rounds=$3 pause=$4 more=()
	shift 4
	probe-trace -b "$backend" -o "$dir" "$@" 'real:*' -- "$T/real" "$rounds" "$pause" ${storm-} >"$dir.log" 2>"$dir.err" ||
		fail "probe-trace: $(cat "$dir.err")"
	expect 0 probe-report --json --perfetto="$dir.chrome" "$dir"
	echo "$out" >"$dir.json"
	expect 0 probe-report -q --folded --html="$dir.html" "$dir"
	echo "$out" >"$dir.folded"
	babeltrace2 --no-delta --names=none "$dir" >"$dir.events" 2>"$dir.warnings" || fail "babeltrace2: $(cat "$dir.warnings")"
	[ ! -e "$T/$backend.records" ] || more=("$T/$backend.records")
	out=$(python3 tests/report/real.py "$dir.log" "$backend" "$dir" "$dir.chrome" "$dir.json" "$dir.folded" "$dir.events" "${more[@]}" 2>&1) ||
		fail "$dir: $out"
	echo "$out"
	out=$(python3 tests/report/page.py "$dir.html" "$dir.json" "$dir.folded" 2>&1) || fail "the page of $dir: $out"
	want_like "the summary of probe-trace" "*$(jq .records "$dir.json") recorded, $(jq .lost "$dir.json") lost in *" "$(cat "$dir.err")"
	want "lost or more" false "$(jq .lost_unknown "$dir.json")"
	expect 0 probe-report -n0 "$dir"
	want_like "the text" "$(jq .records "$dir.json") records of [1-4] threads in 1 process,*
$(jq .lost "$dir.json") records were lost*
real:work__entry *$(jq '.probes[] | select(.probe == "real:work__entry") | .records' "$dir.json") *" "$out"
}

# knows_losses DIR: since the last call of this function, the report of the growing trace in DIR has 100 more certain calls, and
# no more losses. So these calls cannot be in a time in which records were lost.
losses=0 certain=0
knows_losses() {
	local lost=$losses before=$certain
	read -r losses certain < <(probe-report --json "$1" 2>/dev/null | jq -r '"\(.lost) \([.calls[].ended] | add // 0)"')
	[ "${losses:-0}" -gt 0 ] && [ "$losses" = "$lost" ] && [ "$certain" -ge $((before + 100)) ]
}

# measured BACKEND NAME FUNCTION OPTION...: traces calls whose returns have their duration.
measured() {
	local dir=$T/$1-$2 backend=$1 function=$3
	shift 3
	probe-trace -b "$backend" -o "$dir" "$@" -- "$T/real" 40 3000 >"$dir.log" 2>"$dir.err" || fail "probe-trace: $(cat "$dir.err")"
	expect 0 probe-report --json --perfetto="$dir.chrome" "$dir"
	echo "$out" >"$dir.json"
	# Begins of calls have no records, and so no classes.
	[ "${dir##*-}" != latency ] || want "event classes" "$(grep -c '^event {' "$dir/metadata")" "$(grep -c 'u64 _duration;' "$dir/metadata")"
	out=$(python3 tests/report/measured.py "$dir.log" "$dir.chrome" "$dir.json" "$function" 2>&1) || fail "$dir: $out"
	echo "$backend: $out"
}

has_calls() { [ -e "$1/stream_1" ] && probe-report --json "$1" | jq -e '[.calls[].ended] | add > 0'; }

for backend in $backends; do
	# The program's lines would be in the middle of those of probe-trace.
	expect 0 probe-trace -q --json -b "$backend" -f "$T/real" 'real:*' -- sh -c 'exec "$0" 40 3000 >/dev/null' "$T/real"
	grep '^{"time"' <<<"$out" >"$T/$backend.records"
	reported "$backend" whole 40 3000
	[ "$(find "$T/$backend-whole" -name 'stream_*' ! -name '*.idx' | wc -l)" -ge 2 ] || fail "$backend: no thread has a stream"
	rm "$T/$backend.records"
	if [ $backend = agent ] || [ "${PROBEPOINT_LONG-}" ]; then
		reported "$backend" parts 900 3000 --max-size 1M
		[ "$(find "$T/$backend-parts" -name 'part-*' | wc -l)" -ge 2 ] || fail "$backend: there is one part only"
		# The time of day is adjusted between two parts.
		cp -r "$T/$backend-parts" "$T/stepped"
		offset=$(sed -n 's/^\toffset_s = \(.*\);/\1/p' "$T/stepped/part-000002/metadata")
		sed -i "s/offset_s = $offset;/offset_s = $((offset - 3600));/" "$T/stepped/part-000002/metadata"
		probe-report --json "$T/stepped" | jq .calls >"$T/stepped.calls"
		jq .calls "$T/$backend-parts.json" | cmp - "$T/stepped.calls" || fail "the time of day changes durations"
		rm -r "$T/stepped"
	fi
	# The program does not pause at first, and the buffers are small. It ends when the report has certain calls after that.
	{ wait_for 120 knows_losses "$T/$backend-lossy"; touch "$T/$backend-certain"; } &
	storm="400 $T/$backend-certain" reported "$backend" lossy 100 50000 --buffer 64K
	[ "$(jq .lost "$T/$backend-lossy.json")" -gt 0 ] || fail "$backend: nothing is lost"
	[ "$(jq '[.calls[].uncertain] | add' "$T/$backend-lossy.json")" -gt 0 ] || fail "$backend: all calls are certain"
	measured "$backend" latency real:work --latency real:work__entry real:work__return
	[ "$backend" = agent ] || measured "$backend" pairs func:work func:work func:work%return
	# probe-trace is killed: the report has all events that are in the trace, which is no error.
	probe-trace -q -b "$backend" -o "$T/killed" 'real:*' -- "$T/real" 2000 10000 >"$T/out" 2>&1 &
	tracer=$!
	wait_for 30 has_calls "$T/killed"
	kill -KILL $tracer
	wait $tracer 2>/dev/null
	expect 0 probe-report --json "$T/killed"
	want "$backend: records of a killed probe-trace" "$(babeltrace2 "$T/killed" | wc -l)" "$(jq .records <<<"$out")"
	want "$backend: pids" 1 "$(jq '.processes | length' <<<"$out")"
	[ "$(jq '[.calls[].ended] | add' <<<"$out")" -gt 0 ] || fail "$backend: no call has ended"
	rm -r "$T/killed"
done
