#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# 4 processes with 4 threads hit 100 probes at full speed: counts are exact in a session that counts, in one that filters,
# and in one that records more than its reader reads. 1000 processes map an image.
. tests/lib.sh
. tests/kernel/lib.sh
need_kernel
[ "${PROBEPOINT_LONG-}" ] && seconds=30 || seconds=3
build_once "$T/load" "$CC" -O2 -Iinclude -pthread tests/kernel/load.c || fail "load.c does not build"
for s in $S ${S}f ${S}r; do at_end "probe-disable -q -s $s 2>/dev/null"; done

pids=()
for i in 0 1 2 3; do
	mkfifo "$T/in$i"
	"$T/load" 4 <"$T/in$i" >"$T/turns$i" &
	pids+=($!)
	exec {fd}>"$T/in$i"
	runs ${pids[i]} "$T/load"
	ins[i]=$fd
done
of=()
for p in "${pids[@]}"; do of+=(-p "$p"); done
expect 0 probe-enable -q --json -s $S "${of[@]}" 'load:*'
want "armed" '[400,true]' "$(json '[.armed[].sites] | add' <<<"$out" | sed 's/.*/[&,true]/')"
expect 0 probe-enable -q -s ${S}f -f "$T/load" --if 'arg0 % 4 == 1' 'load:p1?'
expect 0 probe-enable -q -s ${S}r --record --buffer 64K "${of[@]}" 'load:*'
(trap '' INT; exec env --default-signal=INT probe-trace -q -s ${S}r >"$T/records") &
reader=$!
for i in 0 1 2 3; do echo >&${ins[i]}; done
wait_for 60 test -s "$T/records"
# The reader has two seconds to be missed: then hits are counted as idle. If a busy machine made too few hits in them to fill the
# ring, the reader runs again for a while.
overflown() {
	kill -STOP $reader
	sleep $seconds
	[ "$(probe-stat --json -s ${S}r | jq '[.probes[].lost] | add')" -gt 0 ] && return
	kill -CONT $reader
	sleep 1
	false
}
wait_for 300 overflown
for i in 0 1 2 3; do echo >&${ins[i]}; done
all=0
for i in 0 1 2 3; do
	wait_for 60 test -s "$T/turns$i"
	turns=$(cat "$T/turns$i")
	[ "$turns" -gt 100 ] || fail "process $i made only $turns turns"
	all=$((all + turns))
	want "hits of each probe in process $i" "[100,$turns,$turns]" "$(probe-stat --json -s $S |
		jq -c "[.probes[] | select(.pid == ${pids[i]}) | .hits] | [length, min, max]")"
done
adds_up $S
adds_up ${S}f
adds_up ${S}r
want "hits of all processes" "[10,$all,$all]" "$(probe-stat --json -s ${S}f | jq -c '[.probes[].hits] | [length, min, max]')"
passed=$(probe-stat --json -s ${S}f | jq '[.probes[] | .hits - .filtered] | unique | .[]')
[ "$(wc -l <<<"$passed")" = 1 ] && [ "$passed" -gt $((all / 5)) ] && [ "$passed" -lt $((all / 3)) ] ||
	fail "the filter passed $(xargs <<<"$passed") of $all"
kill -CONT $reader
# The reader reads the rest. Then each record was read, and each hit was recorded or lost.
drained() {
	local n=$(stat -c %s "$T/records")
	sleep 0.5
	[ "$(stat -c %s "$T/records")" = "$n" ]
}
wait_for 120 drained
kill -INT $reader
wait $reader
read -r hits recorded lost idle < <(probe-stat --json -s ${S}r |
	jq -r '[.probes[]] | "\(map(.hits) | add) \(map(.recorded) | add) \(map(.lost) | add) \(map(.idle) | add)"')
want "hits of the session that records" $((100 * all)) "$hits"
want "recorded, lost and idle" "$hits" "$((recorded + lost + idle))"
want "records read" "$recorded" "$(wc -l <"$T/records")"
[ "$lost" -gt 0 ] || fail "no hit was lost"
for i in 0 1 2 3; do echo >&${ins[i]}; done
for p in "${pids[@]}"; do wait "$p" || fail "a target ended with $?"; done
for s in $S ${S}f ${S}r; do expect 0 probe-disable -q -s $s; gone $s; done
echo "$all turns of 100 probes; $recorded records, $lost lost, $idle idle"

# ---- 1000 processes ----
processes=$((slow > 1 ? 100 : 1000))
mkfifo "$T/many"
exec {many}<>"$T/many"
for ((i = 0; i < processes; i++)); do "$T/load" <"$T/many" >/dev/null & done
running() { [ "$(pgrep -c -f "^$T/load$")" -ge $processes ]; }
wait_for 60 running
expect 0 probe-enable -q --json -s $S -f "$T/load" 'load:p0?'
want "armed for all processes" '[10,true]' "$(json '[([.armed[].sites] | add), all(.armed[]; .verified)]' <<<"$out")"
expect 0 probe-disable -q -s $S
gone $S
kill $(jobs -p)
wait
