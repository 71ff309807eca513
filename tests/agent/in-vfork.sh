#!/bin/bash
# SPDX-License-Identifier: MIT
# A child of vfork(2) uses its parent's memory. No agent is loaded or woken there, because its thread would end with the
# child's exec(2), and leave the parent's sites armed without an agent.
. tests/lib.sh
. tests/agent/lib.sh
need jq
[ "$(uname -m)" = x86_64 ] || skip "agents are loaded into running processes on x86-64 only"
agent_build in-vfork
mkfifo "$T/in"
exec {to}<>"$T/in"
site() {
	local base offset
	base=$(awk -v f="$T/in-vfork" '$6 == f { sub(/-.*/, "", $1); print $1; exit }' /proc/$pid/maps)
	offset=$(probe-list --json "$T/in-vfork" | jq '.probes[0].sites[0].offset')
	dd if=/proc/$pid/mem bs=1 count=6 skip=$((0x$base + offset)) status=none | od -An -tx1
}
for how in --inject "-b agent"; do
	preload=
	[ "$how" = --inject ] || preload=$AGENT
	env LD_PRELOAD="$preload" "$T/in-vfork" "$T/in" >"$T/out" & pid=$!
	wait_for 20 grep -q child "$T/out"
	child=$(sed -n 's/^child //p' "$T/out")
	expect 1 timeout 120 probe-enable -s $S $how -p "$child" deep:beat
	want_like "$how, child of vfork" "*pid $child: the process is just starting: it uses the memory of the process that has started it*try again" "$out"
	# A session of all processes does not report the child.
	if [ "$preload" ]; then
		probe-enable -s $S -b agent -f "$T/in-vfork" deep:beat >"$T/all" 2>&1
		! grep -q "pid $child" "$T/all" || fail "all processes: $(cat "$T/all")"
		probe-disable -q -s $S
	fi
	printf x >&$to
	wait_for 20 grep -q ended "$T/out"
	want "$how: the bytes of the parent's site" "$(site)" "$(dd if="$T/in-vfork" bs=1 count=6 skip="$(probe-list --json "$T/in-vfork" | jq '.probes[0].sites[0].offset')" status=none | od -An -tx1)"
	expect 0 timeout 120 probe-enable -q -s $S $how -p $pid deep:beat
	counted() { [ "$(probe-stat --json -s $S | jq '.probes[0].hits')" -gt 2 ]; }
	wait_for 20 counted
	expect 0 probe-disable -q -s $S
	printf x >&$to
	wait $pid || fail "$how: the program ends with $?: $(cat "$T/out")"
	want_like "$how: output" "*right" "$(cat "$T/out")"
	read -r -N 1 -u $to _
done
exit 0
