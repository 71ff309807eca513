#!/bin/bash
# SPDX-License-Identifier: MIT
# first
# 300 sites of one probe with different operands, or 30 with links that the kernel does not need; 10,000 sites
# (PROBEPOINT_LONG: 50,000) of 1000 probes in one session.
. tests/lib.sh
. tests/kernel/lib.sh
need_kernel

build_sites() { # NAME N PROBES
	tests/kernel/sites "$2" "$3" >"$T/sites.s" && "$CC" "$T/sites.s" -o "$T/$1" || fail "$2 sites do not build"
}
start_sites() { # NAME ROUNDS; its process is in $pid
	rm -f "$T/in" "$T/out"
	mkfifo "$T/in" "$T/out"
	"$T/$1" "$2" <"$T/in" >"$T/out" &
	exec 8>"$T/in" 9<"$T/out"
	read -r -t $patience _ pid <&9 || fail "$1 does not start"
}
pass_sites() { echo >&8; read -r -t $patience -u 9 answer || fail "the target has ended"; }
end_sites() { echo >&8; wait "$pid"; exec 8>&- 9<&-; }

# ---- each site is read by its own operands ----

for multi in $link_ways; do
	n=300
	# A kernel that has uprobe-multi links waits for all CPUs several times for each other link that it removes: 40 s for 300.
	[ $multi = yes ] || [ "$link_ways" = no ] || n=30
	build_sites three$n $n 1
	[ $multi = yes ] || export PROBEPOINT_NO_UPROBE_MULTI=1
	start_sites three$n 2
	expect 0 probe-enable -q --json --record -s $S -p $pid gen:p0
	want "sites armed" "[$n,true]" "$(json '.armed[0] | [.sites, .verified]' <<<"$out")"
	# The operands differ only in constants, so they share the code of a BPF program.
	[ $multi = no ] || want "BPF programs" 1 "$(ls "/sys/fs/bpf/probepoint/$S" | grep -c '^prog-')"
	pass_sites
	want "hits" $((2 * n)) "$(count $S gen:p0)"
	want "recorded" $((2 * n)) "$(count $S gen:p0 recorded)"
	trace_kept "$T/records" --json -s $S
	want "records" $((2 * n)) "$(wc -l <"$T/records")"
	for ((round = 2; round > 0; round--)); do
		for ((i = 0; i < n; i++)); do echo "$i $((3 * i)) $round"; done
	done | diff -u - <(jq -r '.args | "\(.arg0) \(.arg1) \(.arg2)"' "$T/records") >"$T/diff" ||
		fail "arguments differ: $(head -n 20 "$T/diff")"
	expect 0 probe-disable -q -s $S
	gone $S
	want "bytes at the end" "$n 90" "$(site_bytes $pid "$T/three$n")"
	end_sites
	unset PROBEPOINT_NO_UPROBE_MULTI
done

# ---- many sites of 1,000 probes ----

n=$((slow > 1 ? 1000 : 10000))
[ -z "${PROBEPOINT_LONG-}" ] || n=50000
each=$((n / 1000))       # sites of a probe
left=$((n - 111 * each)) # when p5, p50 to p59 and p500 to p599 have gone

build_sites many $n 1000
start_sites many 3
expect 0 probe-enable -q --yes --json -s $S -p $pid 'gen:*'
want "sites armed" "[1000,$n,true,0]" "$(json '[(.armed | length), ([.armed[].sites] | add), (.armed | all(.verified)), (.refused | length)]' <<<"$out")"
want "bytes when armed" "$n cc" "$(site_bytes $pid "$T/many")"
# a tenth is disarmed at once
expect 0 probe-disable -q -s $S 'gen:p5*'
want "bytes after a tenth was disarmed" "$((n - left)) 90 $left cc" "$(site_bytes $pid "$T/many")"
pass_sites
probe-stat --json -s $S >"$T/stat"
want "probes, their hits, and all" "[889,[$((3 * each))],$((3 * left))]" "$(json '[(.probes | length), ([.probes[].hits] | unique), ([.probes[].hits] | add)]' "$T/stat")"
adds_up $S
# it is armed again: the other points are not affected
expect 0 probe-enable -q --yes --json -s $S -p $pid 'gen:*'
want "sites armed, old and new" $n "$(json '[.armed[].sites] | add' <<<"$out")"
want "bytes when armed again" "$n cc" "$(site_bytes $pid "$T/many")"
want "hits of the other points" $((3 * left)) "$(probe-stat --json -s $S | jq '[.probes[].hits] | add')"
expect 0 probe-disable -q -s $S
gone $S
want "bytes at the end" "$n 90" "$(site_bytes $pid "$T/many")"
end_sites
