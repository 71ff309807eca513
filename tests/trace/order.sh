#!/bin/bash
# SPDX-License-Identifier: MIT
# probe-trace prints the records of several threads, processes and backends in the order of time, each record once, and holds
# none of them back for longer than the delay.
. tests/lib.sh
. tests/cmd/lib.sh
need_kernel
need jq
build_once "$T/order" "$CC" -O1 -Iinclude -pthread tests/trace/order.c || fail "the target does not build"
at_end "probe-disable -q -s $S 2>/dev/null"
# begin NAME [PREFIX...]: starts a target with the pid $NAME
begin() {
	local name=$1 line
	shift
	mkfifo "$T/$name.in" "$T/$name.out"
	"$@" "$T/order" <"$T/$name.in" >"$T/$name.out" &
	printf -v "$name" %d $!
	exec {fd}>"$T/$name.in"
	printf -v "${name}_in" %d "$fd"
	exec {fd}<"$T/$name.out"
	printf -v "${name}_out" %d "$fd"
	read -r -t $patience -u "$fd" line || fail "the target does not start"
}
begin traps
begin jumps env LD_PRELOAD="$B/lib/libprobepoint-agent.so"
expect 0 probe-enable -q -s "$S" -b kernel -p "$traps" order:hit
expect 0 probe-enable -q -s "$S" -b agent -p "$jumps" order:hit

n=$((1000 / slow))
tracing "$T/json" --json --delay=1s -s "$S" # on a busy machine a thread may stop for 0.1 s while it writes a record
for round in 1 2 3; do
	echo $n >&"$traps_in"
	echo $n >&"$jumps_in"
	read -r -t $patience -u "$traps_out" line && read -r -t $patience -u "$jumps_out" line || fail "a target has ended"
done
wait_for 20 sh -c "[ \$(wc -l <'$T/json') = $((2 * 3 * 4 * n)) ]"
kill -INT $tracer
wait $tracer
want "status" 0 $?
want_like "summary" "*: $((2 * 3 * 4 * n)) recorded, 0 lost" "$(tail -n 1 "$T/json.err")"
jq -r '"\(.time) \(.pid) \(.args.arg0) \(.args.arg1)"' "$T/json" >"$T/rows"
want "records out of the order of time" 0 "$(awk '$1 < before { n++ } { before = $1 } END { print n + 0 }' "$T/rows")"
want "records out of their thread's order" 0 \
	"$(awk '$4 != next_number[$2, $3]++ { n++ } END { print n + 0 }' "$T/rows")"
want "pairs of records of different processes" true \
	"$(awk 'NR > 1 && $2 != before { n++ } { before = $2 } END { print (n > 2) ? "true" : n }' "$T/rows")"

# A single record is printed after the delay, and with --delay=0 at once.
for delay in 0 300ms; do
	tracing "$T/one" --delay=$delay --format='{arg0} {arg1}' -s "$S"
	from=${EPOCHREALTIME/[.,]/}
	echo 1 >&"$jumps_in"
	wait_for 20 test -s "$T/one"
	us=$((${EPOCHREALTIME/[.,]/} - from))
	read -r -t $patience -u "$jumps_out" line || fail "the target has ended" # each thread has hit
	kill -INT $tracer
	wait $tracer
	want "records with --delay=$delay" 4 "$(wc -l <"$T/one")"
	[ $delay = 0 ] || [ $us -gt 250000 ] || fail "with --delay=$delay the record came after $us us"
done
for bad in -1 x 2m ''; do
	expect 2 probe-trace --delay="$bad" -s "$S"
done
