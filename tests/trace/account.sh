#!/bin/bash
# SPDX-License-Identifier: MIT
# Recorded means written: with a disk that is full, a quota, a limit, an I/O error or a closed pipe every record is
# recorded or lost, to the last one, in what probe-trace says, in probe-stat and in the trace itself.
. tests/lib.sh
. tests/cmd/lib.sh
need_kernel
build_target
AGENT=$B/lib/libprobepoint-agent.so
"$CC" -O1 -shared -fPIC tests/trace/fail.c -o "$T/fail.so" || fail "the shim does not build"
at_end "probe-disable -q -s $S 2>/dev/null"
said() { sed -n "s/.*[: ]\([0-9]*\) $1.*/\1/p" "$T/err"; }
stat_of() { probe-stat --json -s "$S" | jq "[.probes[].$1] | add"; }

# failing PREFIX... -- ARGUMENT...: traces session S until it fails, under hits.
failing() {
	local prefix=()
	while [ "$1" != -- ]; do prefix+=("$1"); shift; done
	shift
	"${prefix[@]}" probe-trace -v -s "$S" "$@" >"$T/lines" 2>"$T/err" &
	tracer=$!
	SECONDS=0
	while kill -0 $tracer 2>/dev/null; do
		tell "$it" "tick 3000"
		[ $SECONDS -lt 60 ] || fail "$what: the trace goes on"
	done
	wait $tracer
	want "$what: status" 1 $?
}

# balance THERE: hits are idle, there, lost, or left for the next reader, who gets the rest.
balance() {
	local there=$1 lost hits idle rest
	want "$what: recorded, as probe-trace says" "$there" "$(said recorded)"
	lost=$(said lost)
	want "$what: lost, as probe-stat says" "$lost" "$(stat_of lost)"
	hits=$(stat_of hits) idle=$(stat_of idle)
	trace_kept "$T/rest" -s "$S"
	rest=$(wc -l <"$T/rest")
	want "$what: all of $hits hits ($idle idle, $there there, $lost lost, $rest left)" "$hits" $((idle + there + lost + rest))
	want "$what: recorded, as probe-stat says" $((there + rest)) "$(stat_of recorded)"
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
				have babeltrace2 || { part_skipped "babeltrace2 is not installed: no CTF trace is read"; continue; }
				babeltrace2 "$T/ctf" >"$T/events" 2>"$T/warnings" || fail "$what: $(cat "$T/warnings")"
				told=$(sed -n 's/.*Tracer discarded \([0-9]*\) event.*/\1/p' "$T/warnings" | awk '{ n += $1 } END { print n + 0 }')
				want "$what: lost, as the trace says" "$(said lost)" "$told"
				balance "$(wc -l <"$T/events")"
			else
				balance "$(wc -l <"$T/lines")"
				[ "$(said lost)" -gt 0 ] || fail "$what: nothing was in the buffer"
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
	# What is in the pipe counts as written: nobody can know what of it was read.
	want "$what: lost" "$(stat_of lost)" "$(said lost)"
	[ "$(said lost)" -gt 0 ] && [ "$(said recorded)" -gt 0 ] || fail "$what: says $(cat "$T/err")"
	expect 0 probe-disable -q -s "$S"
	stop "$it"
done
