#!/bin/bash
# SPDX-License-Identifier: MIT
# On a full disk the writer fails with the file and the reason, and the trace can be read up to there.
. tests/lib.sh
need babeltrace2
need_root

for size in 100k 1000k 1M 4001k; do
	mkdir "$T/small"
	mount -t tmpfs -o size=$size,mode=755 tmpfs "$T/small" || skip "cannot mount a tmpfs"
	at_end umount "'$T/small'"
	expect 1 "$B/tests/unit/ctf" endless "$T/small/trace"
	want_like "$size" "*write: cannot write '$T/small/trace/stream_0': No space left on device*" "$out"
	want_like "$size" "*close: cannot write '$T/small/trace/stream_0': No space left on device*" "$out"
	expect 0 sh -c 'babeltrace2 --clock-cycles --no-delta "$1" >"$2"' sh "$T/small/trace" "$T/events"
	# The events that were in memory when the disk was full.
	want_like "$size: warning" "WARNING: Tracer discarded [0-9]* events between *" "$out"
	[ -s "$T/events" ] || fail "$size: the trace is empty"
	awk '{ sub(/^\[0*/, "", $1); sub(/\]$/, "", $1); if ($1 + 0 != NR - 1) { print NR ": " $0; exit 1 } }' "$T/events" ||
		fail "$size: events are missing"
	umount "$T/small"
	at_end=()
	rmdir "$T/small"
done

# Without space for the metadata, the directory is removed.
mkdir "$T/small"
mount -t tmpfs -o size=4k,mode=755 tmpfs "$T/small" || skip "cannot mount a tmpfs"
at_end umount "'$T/small'"
head -c 4096 /dev/zero >"$T/small/filler"
expect 1 "$B/tests/unit/ctf" empty "$T/small/trace"
want "no space for metadata" "create: cannot write '$T/small/trace/metadata': No space left on device" "$out"
[ ! -e "$T/small/trace" ] || fail "the directory of a failed trace is left"
