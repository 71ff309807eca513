#!/bin/bash
# SPDX-License-Identifier: MIT
# --buffer sets the size of the ring of the kernel backend, once for a session. The agent refuses it.
. tests/lib.sh
. tests/cmd/lib.sh
need_kernel
build_target
start p
at_end "probe-disable -q -s $S 2>/dev/null"
counts() { probe-stat --json -s "$S" | jq -c '.probes[0] | [.recorded, .lost]'; }

# A record of app:tick has 8 bytes of the ring's own, 32 of its thread and 24 of its own.
for size in 64K:1023 128K:2047 1M:5000 200000:4095; do
	expect 0 probe-enable -q -s "$S" --record --buffer "${size%:*}" -p "$p" app:tick
	tell p "tick 5000"
	read -r recorded lost < <(counts | tr -d '[]' | tr , ' ')
	want "recorded and lost with --buffer=${size%:*}" 5000 $((recorded + lost))
	[ "$recorded" -le $((${size#*:} + 1)) ] && [ "$recorded" -ge $((${size#*:} - 1)) ] ||
		fail "--buffer=${size%:*}: $recorded records, wanted ${size#*:}"
	expect 1 probe-enable -s "$S" --buffer 32M -p "$p" 'target:*'
	want_like "another size" "*session '$S' has a buffer of * bytes, which applies to the whole session*" "$out"
	expect 0 probe-enable -q -s "$S" --buffer "${size%:*}" -p "$p" 'target:*'
	expect 0 probe-disable -q -s "$S"
done
tracing "$T/trace" --buffer 8M --json -p "$p" app:tick
tell p "tick 5000"
kill -INT $tracer
wait $tracer
want "records of probe-trace --buffer" 5000 "$(wc -l <"$T/trace")"
for bad in 1K 63K 2G 0 -1 x 4Mx 99999999999999999999; do
	expect 2 probe-enable -s "$S" --buffer "$bad" -p "$p" app:tick
	want_like "--buffer $bad" "*--buffer: invalid size '$bad'*" "$out"
done
start q env LD_PRELOAD="$B/lib/libprobepoint-agent.so"
expect 1 probe-enable -s "$S" -b agent --buffer 1M -p "$q" app:tick
want_like "the agent" "*the agent's rings have a fixed size of 262144 bytes for each thread*" "$out"
