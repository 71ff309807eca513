#!/bin/bash
# SPDX-License-Identifier: MIT
# Kernel and agent on the same sites of one process: both count every hit, each may leave first, and no function fails.
. tests/lib.sh
. tests/agent/lib.sh

need_root
need perf
events=
for dir in /sys/kernel/tracing /sys/kernel/debug/tracing; do
	[ -w $dir/uprobe_events ] && events=$dir/uprobe_events && break
done
if [ -z "$events" ]; then
	mkdir "$T/tracing"
	mount -t tracefs tracefs "$T/tracing" 2>/dev/null || skip "no tracefs here"
	at_end "umount '$T/tracing'"
	events=$T/tracing/uprobe_events
fi
agent_build simple
site=$(poke site "$T/simple" app:tick)
name=t$$
echo "p:$name/tick $T/simple:$(printf 0x%x "$site")" >>"$events" 2>/dev/null || skip "no uprobes here"
at_end "echo '-:$name/tick' >>'$events'"
target "$T/simple"

# perf arms the site some time before it counts hits. It acknowledges when it counts.
mkfifo "$T/control" "$T/answer"
kernel_begins() {
	perf stat -x, -o "$T/stat" -D -1 --control fifo:"$T/control,$T/answer" -e "$name:tick" -p $pid & perf=$!
	exec {control}<>"$T/control" {answer}<>"$T/answer"
	echo enable >&$control
	read -r -t $patience -u $answer || fail "perf does not begin"
	say byte0
	want "the kernel's breakpoint" cc "$said"
}
kernel_ends() {
	kill -INT $perf
	wait $perf
	wait_for 10 eval "say byte0; [ \"\$said\" = 90 ]"
	kernel=$(sed -n "s/^\([0-9]*\),.*$name:tick.*/\1/p" "$T/stat")
}

kernel_begins
poke arm $S 1 -p $pid "$T/simple" app:tick
want "armed together with the kernel's breakpoint" "attachment 1 armed 1 pending 0 refused 0" "$(rescan)"
say "tick 1000"
want "the agent's count" "hits 1000 recorded 0 filtered 0 idle 1000 lost 0" "$(counts 1)"
kernel_ends
want "the kernel's count" 1000 "$kernel"
say "tick 500"
want "agent's counts after the kernel left first" "hits 1500 recorded 0 filtered 0 idle 1500 lost 0" "$(counts 1)"
kernel_begins
poke drop $S 1
rescan >/dev/null
say "tick 300"
kernel_ends
want "kernel's count after the agent left first" 300 "$kernel"
target_end

# The storm, while the kernel arms and disarms the same site.
agent_build storm -O1 tests/agent/storm-asm.c
site=$(poke site "$T/storm" app:always)
echo "p:$name/always $T/storm:$(printf 0x%x "$site")" >>"$events"
at_end "echo '-:$name/always' >>'$events'"
target "$T/storm" 2
say go
poke storm $pid $S "$T/storm" 'app:*' 3 $$ >"$T/out" & storm=$!
for i in 1 2 3 4 5; do perf stat -o "$T/stat" -e "$name:always" -p $pid sleep 0.3; done
wait $storm || fail "$(cat "$T/out")"
say stop
want "wrong results" 0 "$(sed 's/.*wrong //' <<<"$said")"
target_end
