#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# 32-bit x86 programs on a 64-bit kernel: notes with 4-byte addresses, their registers, addresses that wrap, semaphores.
. tests/lib.sh
. tests/kernel/lib.sh
need_kernel
"$CC" -m32 -O2 -fno-pie -no-pie -Iinclude tests/kernel/bits32.c -o "$T/bits32" 2>"$T/said" ||
	{ grep -q 'multilib\|cannot find\|No such file' "$T/said" && skip "$CC cannot build 32-bit programs: needs gcc-multilib"; fail "$(cat "$T/said")"; }
echo | "$T/bits32" >/dev/null || skip "this kernel does not run 32-bit programs"
at_end "probe-disable -q -s $S 2>/dev/null"

converse "$T/bits32"

for multi in $link_ways; do
	[ $multi = yes ] || export PROBEPOINT_NO_UPROBE_MULTI=1
	expect 0 probe-enable -q --json --record -s $S -p $pid --string arg1 'app:*'
	want "verified" true "$(json 'all(.armed[]; .verified)' <<<"$out")"
	ask semaphore
	want "semaphore" 1 "$answer"
	ask x
	want "hits" "8 8" "$(count $S app:hit) $(count $S app:guarded)"
	trace_kept "$T/records" --json -s $S
	want "arguments" "$(for i in 0 1 2 3 4 5 6 7; do
		at=$((i < 2 ? 2 : 0))
		n=$((at + 2 + i - 2))
		echo "[$((i - 2)),\"text of 32 bits\",$((i * 40 % 256)),$((10 + at)),$((n < 8 ? 10 + n : 0)),11]"
	done)" "$(jq -c 'select(.probe == "app:hit") | .args | [.arg0, .arg1, .arg2, .arg3, .arg4, .arg5]' "$T/records")"
	want "arguments of the guarded probe" '[0,1,2,3,4,5,6,7]' "$(jq -sc '[.[] | select(.probe == "app:guarded") | .args.arg0]' "$T/records")"
	expect 0 probe-disable -q -s $S
	gone $S
	ask semaphore
	want "semaphore at the end" 0 "$answer"
done
unset PROBEPOINT_NO_UPROBE_MULTI
expect 0 probe-enable -q -s $S -p $pid --if 'arg0 < 0 && arg1 == "text of 32 bits"' app:hit
ask x
want "hits and filtered hits" "8 6" "$(count $S app:hit) $(count $S app:hit filtered)"
expect 0 probe-disable -q -s $S
expect 1 probe-enable -s $S -p $pid func:main
want_like "func: in a 32-bit program" "*only be probed in 64-bit programs of x86 and ARM*" "$out"
exec {in}>&-
wait $pid || fail "the target ended with $?"
