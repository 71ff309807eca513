#!/bin/bash
# SPDX-License-Identifier: MIT
# Records that no reader has read survive the end of their process: exit(3), _exit(2), SIGKILL, exec(2). A reader gets each once.
# Those that find no room in the keeper are lost, and counted so.
. tests/lib.sh
. tests/agent/lib-ends.sh
need jq
ends() { echo "end $1" >&"$to"; wait $pid 2>/dev/null; }
# counted KEY...: prints the sums of the session's rows
counted() { probe-stat --json -s $S | json "[.probes | [map($(printf '.%s),map(' "$@")0)] | .[:$#][] | add]" | tr -d '[]' | tr , ' '; }
# read_all LABEL RECORDS: reads what is there, and then nothing more.
read_all() {
	local n
	trace_kept "$T/trace" -s $S --json
	n=$(wc -l <"$T/trace")
	want "$1: records" "$2" "$n"
	want_like "$1: account" "*: $n recorded, 0 lost*" "$(cat "$T/trace.err")"
	want "$1: each once" "$n" "$(jq -c '[.pid, .tid, .time, .args]' "$T/trace" | sort -u | wc -l)"
	trace_kept "$T/trace" -s $S --json
	want "$1: records that were read already" 0 "$(wc -l <"$T/trace")"
}

# ---- ways of ending ----

expect 0 probe-enable -q -b agent -s $S --record -f "$T/ends" app:end
for how in exit _exit kill exec; do
	run
	say "own 7"
	ends $how
done
want "hits, recorded, lost" "28 28 0" "$(counted hits recorded lost)"
read_all "four ends" 28
run
say "own 3"
for i in 1 2 3 4; do say "child _exit 2"; say "child exec 1"; done
ends kill
want "recorded and lost with children" "43 0" "$(counted recorded lost)"
read_all "children" 15
expect 0 probe-disable -q -s $S

expect 0 probe-enable -q -b agent -s $S --record --overwrite -f "$T/ends" app:end
run
say "child _exit 2"
say "own 3"
ends exec
read_all "a session that overwrites" 5
expect 0 probe-disable -q -s $S

# ---- a process that is killed while it hits ----

expect 0 probe-enable -q -b agent -s $S --record -f "$T/ends" app:end
hitting() { [ "$(counted hits)" -gt $((before + 100)) ]; }
for i in 1 2; do
	run
	say "own 1"
	before=$(counted hits)
	echo "own 2000000000" >&"$to"
	wait_for 20 hitting
	kill -KILL $pid
	wait $pid 2>/dev/null
done
read -r hits recorded lost filtered idle <<<"$(counted hits recorded lost filtered idle)"
want "the sum of $recorded + $lost + $filtered + $idle" "$hits" $((recorded + lost + filtered + idle))
trace_kept "$T/trace" -s $S -o "$T/killed"
read -r n rest <<<"$(sed -n 's/^.*: \([0-9]*\) recorded, .*/\1/p' "$T/trace.err")"
[ "$n" -gt 2 ] || fail "records of killed processes: $n of $recorded"
# A thread that is killed in a hit has counted a record that is not complete, or not counted one that is.
[ $((recorded - n)) -le 2 ] && [ $((n - recorded)) -le 2 ] || fail "$n records were read, and $recorded counted"
expect 0 probe-disable -q -s $S

# ---- processes that end while a reader reads ----

expect 0 probe-enable -q -b agent -s $S --record -f "$T/ends" app:end
run
say "child exit 5"
tracing "$T/trace" -s $S --json
for how in exit _exit kill exec; do say "child $how 5"; done
sleep 0.3
for how in exit _exit kill exec; do say "child $how 5"; done
ends kill
kill -INT $tracer
wait $tracer
want "records of a reader" 45 "$(wc -l <"$T/trace")"
want "each once" 45 "$(jq -c '[.pid, .tid, .time, .args]' "$T/trace" | sort -u | wc -l)"
read_all "after the reader" 0

# ---- more than the keeper holds ----

expect 0 probe-disable -q -s $S
expect 0 probe-enable -q -b agent -s $S --record --buffer=16M -f "$T/ends" app:end
run
for i in 1 2 3 4 5; do say "child _exit 800000"; done
ends exit
read -r hits recorded lost <<<"$(counted hits recorded lost)"
want "hits of full rings" 4000000 "$hits"
want "$recorded recorded and $lost lost" "$hits" $((recorded + lost))
one=$(((16 << 20) / 32)) # records of a full ring, at least
[ "$recorded" -ge $((3 * one)) ] && [ "$lost" -ge $one ] || fail "the keeper held $recorded records and lost $lost"
trace_kept "$T/trace" -s $S -o "$T/full"
want_like "account of full rings" "*: $recorded recorded, 0 lost in *" "$(cat "$T/trace.err")"
want "counts after reading" "$hits $recorded $lost" "$(counted hits recorded lost)"
expect 0 probe-disable -q -s $S
wait_for 10 test ! -e "$XDG_RUNTIME_DIR/probepoint/agents/keeper" # it ends with the last session

# ---- readers that stop early ----

# each FILE...: prints the number of different records by process and argument, because two readers can print different times
each() { jq -c '[.pid, .args]' "$@" | sort -u | wc -l; }
for how in live ended exec; do for overwrite in "" --overwrite; do
	what="-n, $how $overwrite"
	# shellcheck disable=SC2086 # an option or none
	expect 0 probe-enable -q -b agent -s $S --record $overwrite -f "$T/ends" app:end
	run
	say "own 2000"
	case $how in ended) ends exit ;; exec) ends exec ;; esac
	for i in 1 2 3; do
		expect 0 probe-trace -s $S -n 100 --json
		grep '^{' <<<"$out" >"$T/part$i"
		want_like "$what: message" "*probe-trace: 100 recorded, 0 lost" "$out"
	done
	want "$what: counts" "2000 2000 0" "$(counted hits recorded lost)"
	more=0
	[ $how != live ] || { more=500; say "own $more"; ends exit; }
	trace_kept "$T/rest" -s $S --json
	want_like "$what: the rest" "* recorded, 0 lost*" "$(cat "$T/rest.err")"
	want "$what: records" $((2000 + more)) "$(cat "$T"/part? "$T/rest" | wc -l)"
	want "$what: each" 2000 "$(each "$T"/part? "$T/rest")"
	read_all "$what, after the rest" 0
	expect 0 probe-disable -q -s $S
done; done

# A reader that is killed leaves what it has not written.
mkfifo "$T/fifo" "$T/go"
for overwrite in "" --overwrite; do
	what="a reader that is killed $overwrite"
	# shellcheck disable=SC2086 # an option or none
	expect 0 probe-enable -q -b agent -s $S --record $overwrite -f "$T/ends" app:end
	run
	for i in 1 2 3; do say "child _exit 2000"; done
	ends exit
	rm -f "$T/first"
	# The pipe has room for fewer than the records, so probe-trace waits in write(2) when it is killed.
	{ head -c 1 >"$T/first"; read -r _ <"$T/go"; cat >"$T/part"; } <"$T/fifo" & to_file=$!
	probe-trace -q -s $S --json >"$T/fifo" & tracer=$!
	wait_for 10 test -s "$T/first"
	kill -KILL $tracer
	wait $tracer 2>/dev/null
	echo >"$T/go"
	wait $to_file
	want "$what: counts" "6000 6000 0" "$(counted hits recorded lost)"
	trace_kept "$T/rest" -s $S --json
	want_like "$what: account" "* recorded, 0 lost*" "$(cat "$T/rest.err")"
	want_like "$what: message" "*an earlier reader of the session was killed*" "$(cat "$T/rest.err")"
	cat "$T/first" "$T/part" | grep '}$' | cat - "$T/rest" >"$T/all"
	want "$what: each" 6000 "$(each "$T/all")"
	[ "$(wc -l <"$T/all")" -le 8100 ] || fail "$what: $(wc -l <"$T/all") records, more than a buffer of the output twice"
	read_all "$what, after the rest" 0
	expect 0 probe-disable -q -s $S
done

# ---- a session whose processes have ended ----

run
expect 0 probe-enable -q -b agent -s $S --record -p $pid app:end
say "own 30"
ends exit
expect 0 probe-trace -s $S -n 100
want_like "fewer records than --count" "*all processes of session '$S' have ended*: 30 recorded, 0 lost" "$out"
expect 0 probe-trace -s $S
want_like "no records" "*all processes of session '$S' have ended*: 0 recorded, 0 lost" "$out"
expect 0 probe-disable -q -s $S

# ---- a reader that does not write all that it has read ----

expect 0 probe-enable -q -b agent -s $S --record -f "$T/ends" app:end
run
say "own 20000"
ends exit
probe-trace -s $S 2>"$T/err" | head -n 3 >"$T/out"
want "lines" 3 "$(wc -l <"$T/out")"
want_like "the account" "*the session may have more records" "$(cat "$T/err")"
first=$(sed -n 's/^probe-trace: \([0-9]*\) recorded, .*/\1/p' "$T/err")
trace_kept "$T/trace" -s $S
want "records of two readers, and lost ones" 20000 $((first + $(wc -l <"$T/trace") + $(counted lost)))
want "records of two readers" "$(counted recorded)" $((first + $(wc -l <"$T/trace")))
expect 0 probe-disable -q -s $S

# ---- without the keeper ----

for first in process keeper; do
	expect 0 probe-enable -q -b agent -s $S --record -f "$T/ends" app:end
	run
	say "own 5"
	keeper_find
	[ $first = keeper ] || ends exit
	[ $first = keeper ] || counted hits >/dev/null
	kill -KILL "$keeper"
	[ $first = process ] || ends exit
	expect 0 probe-trace -s $S --for 200ms
	want_like "the $first ended first" "*the background process that holds the records of processes that have ended was killed*" "$out"
	expect 0 probe-disable -q -s $S
done
