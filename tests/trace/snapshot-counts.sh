#!/bin/bash
# SPDX-License-Identifier: MIT
# While a program records, a flight recorder whose memory is not full reports no record as overwritten. When the program has
# stopped, what is overwritten and what is in memory add up to what was recorded.
. tests/lib.sh
. tests/agent/lib-ends.sh
need jq
overwritten() { probe-stat --json -s $S | json '[.probes[] | .recorded, .overwritten] | tostring' | tr -d '"[]'; }

backends=agent
[ "$(id -u)" = 0 ] && backends+=" kernel" || part_skipped "the kernel backend: needs root"
for b in $backends; do
	run
	expect 0 probe-enable -q -b $b -s $S --flight-recorder=64M -p $pid app:end
	# The program hits until it has read the last line.
	for i in {1..300}; do echo "own $((2000 / slow))"; done >&"$to" & writer=$!
	for ((i = 0; i < 300; i++)); do read -t $patience -r _ <&"$from" || break; done & reader=$!
	n=0
	while [ $n = 0 ] || kill -0 $reader 2>/dev/null; do
		now=$(overwritten)
		want "$b: overwritten of ${now%,*} records" 0 "${now#*,}"
		expect 0 probe-trace --snapshot -s $S -o "$T/snapshot$((n += 1))-$b"
		want_like "$b: message of a snapshot" "*; in the session so far 0 overwritten, 0 lost*" "$out"
		rm -rf "$T/snapshot$n-$b"
	done
	wait $writer $reader
	want "$b: recorded, overwritten" "$((300 * (2000 / slow))),0" "$(overwritten)"
	echo "end exit" >&"$to"
	wait $pid
	expect 0 probe-disable -q -s $S
done

# A memory that is full
run
expect 0 probe-enable -q -b agent -s $S --flight-recorder=1M -p $pid app:end
say "own 500000"
now=$(overwritten)
expect 0 probe-trace --snapshot -s $S -o "$T/full"
held=$(sed -n 's/.*: \([0-9]*\) records in .*/\1/p' <<<"$out")
want "recorded" 500000 "${now%,*}"
want "overwritten and in memory" 500000 $((${now#*,} + held))
want_like "message of a snapshot of a full memory" "*so far ${now#*,} overwritten, 0 lost*" "$out"
