#!/bin/bash
# SPDX-License-Identifier: MIT
# A record that is not written counts as lost, whether the disk is full, a quota or limit is reached, an I/O error occurs
# or a pipe is closed. The numbers of probe-trace, of probe-stat and of the trace itself agree to the last record.
. tests/lib.sh
. tests/cmd/lib.sh
need_kernel
build_target
AGENT=$B/lib/libprobepoint-agent.so
build_once "$T/fail.so" "$CC" -O1 -shared -fPIC tests/trace/fail.c || fail "fail.so does not build"
at_end "probe-disable -q -s $S 2>/dev/null"
said() { sed -n "s/.*[: ]\([0-9]*\) $1.*/\1/p" "$T/err"; }
stat_of() { probe-stat --json -s "$S" | jq "[.probes[].$1] | add"; }

# failing PREFIX... -- ARGUMENT...: traces session S, while it is hit, until the trace fails. $told: the number of hits.
failing() {
	local prefix=()
	told=0
	while [ "$1" != -- ]; do prefix+=("$1"); shift; done
	shift
	"${prefix[@]}" probe-trace -v -s "$S" "$@" >"$T/lines" 2>"$T/err" &
	tracer=$!
	SECONDS=0
	while kill -0 $tracer 2>/dev/null; do
		tell "$it" "tick 3000"
		told=$((told + 3000))
		[ $SECONDS -lt 300 ] || fail "$what: the trace does not end"
	done
	wait $tracer
	want "$what: status" 1 $?
}

# balance WRITTEN: each hit is idle, written, lost, or left for the next reader.
has_rest() { [ "$(wc -l <"$T/rest")" -ge "$1" ]; }
balance() {
	local written=$1 lost idle left rest
	want "$what: recorded, by probe-trace" "$written" "$(said recorded)"
	lost=$(said lost)
	want "$what: lost, by probe-stat" "$lost" "$(stat_of lost)"
	want "$what: hits, by probe-stat" $told "$(stat_of hits)"
	idle=$(stat_of idle) left=$(($(stat_of recorded) - written))
	# An interrupt would give a slow machine 10 s for the rest. What it did not print in them would be lost.
	tracing "$T/rest" -s "$S"
	wait_for 300 has_rest $left
	kill -INT $tracer
	wait $tracer
	want "$what: status of the next reader" 0 $?
	rest=$(wc -l <"$T/rest")
	want "$what: the next reader's message" "probe-trace: $left recorded, 0 lost" "$(tail -n 1 "$T/rest.err")"
	want "$what: all of $told hits ($idle idle, $written written, $lost lost, $rest left)" $told $((idle + written + lost + rest))
	want "$what: recorded and lost, by probe-stat" "$((written + rest)) $lost" "$(stat_of recorded) $(stat_of lost)"
}

for b in kernel agent; do
	if [ $b = agent ]; then it=two; start two env LD_PRELOAD="$AGENT"; else it=one; start one; fi
	for way in text json ctf; do
		for error in 5 28 122; do # EIO, ENOSPC, EDQUOT
			[ "$way-$error" = text-5 ] || [ "$way-$error" = json-122 ] || [ "$way-$error" = ctf-28 ] ||
				[ "${PROBEPOINT_LONG-}" ] || continue
			what="$b, $way, error $error"
			expect 0 probe-enable -q -s "$S" -b $b -p "${!it}" app:tick
			rm -rf "$T/ctf"
			case $way in
			text) options=() ;;
			json) options=(--json) ;;
			ctf) options=(-o "$T/ctf") ;;
			esac
			failing env LD_PRELOAD="$T/fail.so" FAIL_AFTER=300001 FAIL_ERRNO=$error -- "${options[@]}"
			if [ $way = ctf ]; then
				have babeltrace2 || {
					part_skipped "babeltrace2 is not installed: no CTF trace is read"
					expect 0 probe-disable -q -s "$S"
					continue
				}
				babeltrace2 "$T/ctf" >"$T/events" 2>"$T/warnings" || fail "$what: $(cat "$T/warnings")"
				discarded=$(sed -n 's/.*Tracer discarded \([0-9]*\) event.*/\1/p' "$T/warnings" | awk '{ n += $1 } END { print n + 0 }')
				want "$what: lost, by the trace" "$(said lost)" "$discarded"
				balance "$(wc -l <"$T/events")"
			else
				balance "$(wc -l <"$T/lines")"
				[ "$(said lost)" -gt 0 ] || fail "$what: the buffer was empty"
			fi
			expect 0 probe-disable -q -s "$S"
		done
	done
	what="$b, file size limit"
	expect 0 probe-enable -q -s "$S" -b $b -p "${!it}" app:tick
	failing bash -c 'ulimit -f 200; exec "$@"' bash --
	balance "$(wc -l <"$T/lines")"
	expect 0 probe-disable -q -s "$S"

	what="$b, closed pipe"
	expect 0 probe-enable -q -s "$S" -b $b -p "${!it}" app:tick
	mkfifo "$T/pipe.$b"
	probe-trace -s "$S" >"$T/pipe.$b" 2>"$T/err" &
	tracer=$!
	exec {pipe}<"$T/pipe.$b"
	until read -r -t 0.1 -u $pipe; do tell "$it" "tick 1"; done
	tell "$it" "tick 3000" # more than a pipe holds
	exec {pipe}<&-
	wait $tracer
	want "$what: status" 0 $?
	# Records in the pipe count as written, because it is not known how many of them were read.
	want "$what: lost" "$(stat_of lost)" "$(said lost)"
	[ "$(said lost)" -gt 0 ] && [ "$(said recorded)" -gt 0 ] || fail "$what: $(cat "$T/err")"
	expect 0 probe-disable -q -s "$S"
	stop "$it"
done
