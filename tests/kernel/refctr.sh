#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Notes of one site with different semaphores: the kernel accepts one ref_ctr offset per inode and offset. The first probe
# is armed and the others are refused with the reason, within a session and across sessions. Other sites are not affected.
. tests/lib.sh
. tests/kernel/lib.sh
need_kernel
build_once "$T/refctr" "$CC" -O2 -no-pie tests/kernel/refctr.c tests/kernel/refctr.S || fail "does not build"
at_end "probe-disable -q -s $S 2>/dev/null; probe-disable -q -s ${S}b 2>/dev/null"

start p "$T/refctr"
refused() { jq -c '[.refused[] | [.probe, .reason]]' <<<"$out"; }
armed() { jq -c '[.armed[].probe] | sort' <<<"$out"; }
for multi in $link_ways; do
	reason='it is at the same offset as r:a and has another semaphore, but the kernel accepts only one; arm one of the two'
	later='the kernel rejects the offset: a point with another semaphore is armed there, or the offset is past the end of the file'
	[ $multi = yes ] || export PROBEPOINT_NO_UPROBE_MULTI=1
	[ $multi = yes ] || reason=$later
	# all at once: the other probes are armed
	expect 3 probe-enable --json -b kernel -s "$S" -p "$p" 'r:*'
	want "armed" '["r:a","r:own"]' "$(armed)"
	want "refused" "[[\"r:b\",\"$reason\"],[\"r:c\",\"$reason\"],[\"r:d\",\"$reason\"]]" "$(refused)"
	tell p "run 10"
	want "semaphores" "1 1" "$answer"
	want "hits" "10 0 10" "$(count "$S" r:a) $(count "$S" r:b) $(count "$S" r:own)"
	# another session
	expect 3 probe-enable --json -b kernel -s "${S}b" -p "$p" r:a r:b
	want "in another session, armed" '["r:a"]' "$(armed)"
	want_like "in another session, refused" '*semaphore*' "$(jq -r '.refused[0].reason' <<<"$out")"
	tell p "run 10"
	want "hits in both sessions" "20 10" "$(count "$S" r:a) $(count "${S}b" r:a)"
	expect 0 probe-disable -q -s "$S"
	expect 0 probe-disable -q -s "${S}b"
	gone "$S"
	# probes without a semaphore, and the function that begins there, can be armed together; then the others are refused
	expect 0 probe-enable --json -b kernel -s "$S" -p "$p" r:c r:d func:places r:own
	expect 1 probe-enable --json -b kernel -s "${S}b" -p "$p" r:a
	want "a probe with a semaphore, later" "[[\"r:a\",\"$later\"]]" "$(refused)"
	tell p "run 10"
	want "semaphores" "0 1" "$answer"
	want "hits" "10 10 10 10" "$(for i in r:c r:d func:places r:own; do count "$S" $i; done | xargs)"
	expect 0 probe-disable -q -s "$S"
	gone "$S"
	expect 0 probe-enable -q -b kernel -s "$S" -p "$p" r:b
	tell p "run 1"
	want "semaphores when it is armed later" "0 1" "$answer"
	expect 0 probe-disable -q -s "$S"
	tell p "run 1"
	want "semaphores at the end" "0 0" "$answer"
done
stop p
