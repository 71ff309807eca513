#!/bin/bash
# SPDX-License-Identifier: MIT
# --buffer sets the size of the rings of a session: of the kernel's, and of each thread's in the agent.
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
wait_for 20 eval '[ "$(wc -l <"$T/trace")" -ge 5000 ]' # an interrupt would give a slow machine 10 s for the rest
kill -INT $tracer
wait $tracer
want "records of probe-trace --buffer" 5000 "$(wc -l <"$T/trace")"
for bad in 1K 63K 2G 0 -1 x 4Mx 99999999999999999999; do
	expect 2 probe-enable -s "$S" --buffer "$bad" -p "$p" app:tick
	want_like "--buffer $bad" "*--buffer: invalid size '$bad'*" "$out"
done

# ---- the agent: for each thread ----
start q env LD_PRELOAD="$B/lib/libprobepoint-agent.so"
for size in 256K:10922 64K:2730 100000:5461 1M:20000; do
	expect 0 probe-enable -q -s "$S" -b agent --record --buffer "${size%:*}" -p "$q" app:tick
	tell q "tick 20000"
	want "recorded and lost with the agent's --buffer ${size%:*}" "[${size#*:},$((20000 - ${size#*:}))]" "$(counts)"
	expect 1 probe-enable -s "$S" -b agent --buffer 32M -p "$q" 'target:*'
	want_like "another size" "*session '$S' has buffers of * bytes for each thread, which applies to the whole session*" "$out"
	expect 0 probe-enable -q -s "$S" -b agent -p "$q" 'target:*'
	expect 0 probe-disable -q -s "$S"
done

# By default the first four threads have 4 MiB, and the others 256 KiB.
build_once "$T/sampled" $CC -std=gnu17 -D_GNU_SOURCE -Wall -Wextra -O2 -pthread -Iinclude tests/cmd/sampled.c || fail "sampled.c does not build"
coproc TARGET { exec env LD_PRELOAD="$B/lib/libprobepoint-agent.so" "$T/sampled"; }
many=$TARGET_PID
exec {to}>&"${TARGET[1]}" {from}<&"${TARGET[0]}"
runs_agent "$many" "$T/sampled"
expect 0 probe-enable -q -s "$S" -b agent --record -p "$many" sampled:hit
echo "6 200000" >&"$to"
read -t $patience -r _ <&"$from" || fail "no reply"
want "recorded and lost by 6 threads with the default" "[$((4 * 174762 + 2 * 10922)),$((1200000 - 4 * 174762 - 2 * 10922))]" "$(counts)"
expect 1 probe-enable -s "$S" -b agent --buffer 256K -p "$many" 'sampled:*'
want_like "a size, after the default" "*session '$S' has buffers of the default size, which applies to the whole session*" "$out"
expect 0 probe-disable -q -s "$S"
exec {to}>&- {from}<&-

expect 1 probe-enable -s "$S" -b agent --buffer 128M -p "$q" app:tick
want_like "too large for the agent" "*the agent's buffers have at most 67108864 bytes for each thread*" "$out"
tracing "$T/trace" -b agent --buffer 4M --json -p "$q" app:tick
n=$((slow > 1 ? 2000 : 20000))
tell q "tick $n"
wait_for 20 eval '[ "$(wc -l <"$T/trace")" -ge $n ]'
kill -INT $tracer
wait $tracer
want "records of probe-trace --buffer with the agent" $n "$(wc -l <"$T/trace")"

# ---- the agent: a process has eight sizes at most; after that a session gets the next larger ones ----
for size in 512K 8M 16M; do # and those above: 64K 128K 256K 1M 4M
	expect 0 probe-enable -q -s "$S" -b agent --buffer $size -p "$q" app:tick
	expect 0 probe-disable -q -s "$S"
done
expect 0 probe-enable -q -s "$S" -b agent --record --buffer 2M -p "$q" app:tick
tell q "tick 90000" # 2M would have room for 87381
want "recorded and lost with a ninth size" "[90000,0]" "$(counts)"
expect 0 probe-disable -q -s "$S"
expect 1 probe-enable -s "$S" -b agent --buffer 32M -p "$q" app:tick
want_like "a ninth size that is larger than all" "*give --buffer a size that an ended session had, or none*" "$out"
expect 0 probe-enable -q -s "$S" -b agent --record -p "$q" app:tick
tell q "tick 20000"
want "recorded and lost with the default after eight sizes" "[10922,9078]" "$(counts)"
expect 0 probe-disable -q -s "$S"
