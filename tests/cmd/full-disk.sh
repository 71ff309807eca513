#!/bin/bash
# SPDX-License-Identifier: MIT
# probe-trace -o on a full disk ends with an error message, leaves a valid trace, and disarms its probes.
. tests/lib.sh
. tests/cmd/lib.sh
need_kernel
build_target
know_sites
start p
mkdir "$T/small"
mount -t tmpfs -o size=256k none "$T/small" 2>/dev/null || skip "cannot mount a small tmpfs"
at_end "umount $T/small"

# ends MESSAGE: hits the probe until the trace ends, and checks its error message.
ends() {
	SECONDS=0
	while kill -0 $tracer 2>/dev/null; do
		tell p "tick 1000"
		[ $SECONDS -lt 100 ] || fail "the trace does not end"
	done
	wait $tracer
	want "status of probe-trace" 1 $?
	want_like "error message" "$1" "$(head -n 1 "$T/err")"
	want "bytes after the trace" "3 90" "$(site_bytes "$p")"
}

probe-trace -p "$p" -o "$T/small/trace" app:tick >"$T/out" 2>"$T/err" &
tracer=$!
written() { tell p "tick 1000"; [ -n "$(find "$T/small/trace" -name 'stream*' -size +0 2>/dev/null)" ]; }
wait_for 60 written
ends "probe-trace: *$T/small/trace*No space left on device*"
want "standard output" "" "$(cat "$T/out")"
want "sessions left" "" "$(sessions)"
[ "$(df --output=avail "$T/small" | tail -n 1)" -lt 16 ] || fail "the disk is not full"
if have babeltrace2; then
	expect 0 babeltrace2 "$T/small/trace"
	n=$(grep -c 'app:tick' <<<"$out")
	[ "$n" -gt 0 ] || fail "the trace has no events"
	gaps=$(grep -o 'arg0 = [0-9]*' <<<"$out" | awk 'NR > 1 && $3 != (before + 1) % 1000 { n++ } { before = $3 } END { print n + 0 }')
	! grep -q ' 0 lost' "$T/err" || want "gaps between the first and the last record" 0 "$gaps"
else
	part_skipped "reading the trace needs babeltrace2"
fi
# JSON, on a disk that is full from the start.
expect 1 probe-trace -q --json -p "$p" -o "$T/small/more" app:tick
want "JSON keys" '["error"]' "$(json keys <<<"$out")"
# A limit on the file size has the same effect.
(ulimit -f 64; exec probe-trace -p "$p" -o "$T/limited.d" app:tick) >"$T/out" 2>"$T/err" &
tracer=$!
ends "probe-trace: *$T/limited.d*File too large*"
# A command continues until it ends.
rm -rf "$T/small/trace"
dd if=/dev/zero of="$T/small/filler" bs=4k 2>/dev/null
truncate -s -32k "$T/small/filler"
{ for ((i = 0; i < 20; i++)); do echo "tick 1000"; done; echo "exit 6"; } >"$T/in"
expect 6 probe-trace -q -o "$T/small/trace" app:tick -- "$T/target" <"$T/in"
want_like "error message with a command" "*No space left on device*" "$out"
stop p
