#!/bin/bash
# SPDX-License-Identifier: MIT
# Bytes of a site that other tools write: a jump that was overwritten is noticed when counts are read, any nop of ten
# bytes is armed, other code goes to the kernel, and a command with sites that the agent cannot arm is not started.
. tests/lib.sh
. tests/agent/lib.sh
need jq
need_root # for /proc/PID/mem

[ "$(uname -m)" = x86_64 ] || skip "these are the bytes of x86-64"
agent_build simple
hits() { probe-stat --json -s $S 2>"$T/said" | jq '[.probes[].hits] | add // 0'; }
offset=$(probe-list --json "$T/simple" | jq '[.probes[] | select(.name == "tick")][0].sites[0].offset')
target "$T/simple"
start=$(awk -v f="$T/simple" -v at="$offset" '$2 ~ /x/ && $6 == f { print $1, $3; exit }' "/proc/$pid/maps")
address=$((0x${start%%-*} - 0x${start##* } + offset))
put() { # AT BYTES (hexadecimal)
	printf "$(sed 's/../\\x&/g' <<<"$2")" | dd of=/proc/$pid/mem bs=1 seek=$((address + $1)) conv=notrunc status=none || fail "cannot write"
}
bytes() { dd if=/proc/$pid/mem bs=1 skip=$((address + $1)) count=$2 status=none | od -An -tx1 | tr -d ' \n'; }

nop=662e0f1f840000000000
want "the site" $nop "$(bytes 1 10)"
expect 0 probe-enable -q -s $S -b agent -p $pid app:tick
say "tick 10"
want "hits" 10 "$(hits)"
want "armed" e9 "$(bytes 1 1)"

# Two 5-byte nops, which another tool has written over the jump.
put 1 0f1f4400000f1f440000
say "tick 10"
want "hits" 10 "$(hits)"
want_like "message of probe-stat" "*pid $pid: 1 of 1 site is not armed: *0f 1f 44 00 00*" "$(cat "$T/said")"
tracing "$T/trace" -s $S
wait_for 10 grep -q "pid $pid: 1 of 1 site is not armed" "$T/trace.err"
kill -INT $tracer
wait $tracer || fail "probe-trace: $(cat "$T/trace.err")"
# When the nop is back, the point is armed again.
put 1 $nop
want "hits" 10 "$(hits)"
say "tick 5"
want "hits, armed again" 15 "$(hits)"
want "no message after the jump is back" "" "$(cat "$T/said")"
expect 0 probe-disable -q -s $S
want "state is unchanged" $nop "$(bytes 1 10)"

# Five bytes are enough: the rest is the address of a nop, or is jumped over.
for now in 662e0f1f841122334455 eb080f1f84aabbccddee; do
	put 1 $now
	expect 0 probe-enable -q -s $S -b agent -p $pid app:tick
	say "tick 5"
	want "$now: hits" 5 "$(hits)"
	want "$now: the rest" ${now:10} "$(bytes 6 5)"
	expect 0 probe-disable -q -s $S
	say "tick 5"
	want "$now: the rest" ${now:10} "$(bytes 6 5)"
	put 1 $nop
done

# Other code is refused, and with -b auto the kernel arms it.
put 1 0f1f4400000f1f440000
expect 1 probe-enable -s $S -b agent -p $pid app:tick
want_like "point that is refused" "*the site is not followed by the 10-byte nop, but by 0f 1f 44 00 00 0f 1f 44 00 00*" "$out"
expect 0 probe-enable -s $S -p $pid app:tick
want_like "armed by the kernel" "armed    app:tick  pid $pid  1 site  kernel*" "$out"
say "tick 7"
want "hits" 7 "$(hits)"
expect 0 probe-disable -q -s $S
put 1 $nop
target_end

# A bare nop is refused before the command starts.
build_once "$T/mixed" $CC -O2 -Iinclude -I. tests/agent/mixed.c || fail "cannot build"
expect 125 probe-enable -s $S -b agent mixed:older -- "$T/mixed" <<<end
want_like "refusal before the command starts" "*the site is not followed by the 10-byte nop*" "$out"
[[ $out == *$'\n'ok* ]] && fail "the command was started: $out"
# If another point can be armed, only the bare nop is refused, and the command starts.
expect 0 probe-enable -s $S -b agent 'mixed:*' -- "$T/mixed" <<<end
want_like "the other point is pending" "*pending  mixed:ours*" "$out"
want_like "the bare nop is refused" "*refused  mixed:older*not followed by the 10-byte nop*" "$out"
expect 0 probe-disable -q -s $S
