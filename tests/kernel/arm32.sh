#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# 32-bit ARM programs on an aarch64 kernel, which Linux does not arm: listed, refused with the reason, and left alone.
. tests/lib.sh
. tests/kernel/lib.sh
[ "$(uname -m)" = aarch64 ] || skip "needs an aarch64 kernel; make check-arm64 boots one"
need_kernel
program=$B/tests/arm32
[ -e "$program" ] || skip "scripts/arm64 has not built it: needs clang and lld"
echo | "$program" >/dev/null || skip "this kernel does not run 32-bit programs"

expect 0 probe-list --json "$program"
want "the probe" '["app:hit",1]' "$(json '[.probes[] | .provider + ":" + .name, (.sites | length)]' <<<"$out")"
converse "$program"
before=$(cksum <"/proc/$pid/exe")
text=$(awk -v f="$program" '$6 == f && $2 ~ /x/ { print $1; exit }' "/proc/$pid/maps")
[ "$text" ] || fail "the program has no mapping of code"
code() { memory "$pid" $((16#${text%-*})) $((16#${text#*-} - 16#${text%-*})) | cksum; }
bytes=$(code)
for backend in kernel agent auto; do
	expect 1 probe-enable -s $S -b $backend -p $pid app:hit
	[ $backend = agent ] || want_like "refused by -b $backend" "*Linux does not arm 32-bit ARM programs*" "$out"
	expect 1 probe-enable -s $S -b $backend -p $pid func:_start
	[ "$out" ] || fail "-b $backend refuses func: without a reason"
	gone $S
done
ask x
want "the program after refusals" ok "$answer"
want "its code after refusals" "$bytes" "$(code)"
want "its file after refusals" "$before" "$(cksum <"/proc/$pid/exe")"
exec {in}>&-
wait $pid || fail "the target ended with $?"
