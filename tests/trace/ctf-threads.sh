#!/bin/bash
# SPDX-License-Identifier: MIT
# Events of busy threads: at most 16 bytes on disk for 2 integers, with the right thread, in order. The index of packets is
# what the packets say, and babeltrace2 uses it, unless it does not describe the whole file.
. tests/lib.sh
need babeltrace2 python3

expect 0 "$B/tests/unit/ctf" pairs "$T/trace"
babeltrace2 --clock-cycles --no-delta --names=payload "$T/trace" >"$T/read" || fail "the trace cannot be read"
awk '{
	n = NR - 1; tid = n % 100000 == 99999 ? 103 : n % 200 < 100 ? 101 : 102
	sub(/^\[0*/, "", $1); sub(/\]$/, "", $1)
	if ($1 + 0 != 1000 + n * 50000 || !index($0, "{ 100, " tid ", \"worker\" }, { n = " n ", m = " (n ? "-" n : "0"))) { print NR ": " $0; exit 1 }
} END { exit NR != 300000 }' "$T/read" || fail "events are missing, out of order or of another thread"
bytes=$(find "$T/trace" -name 'stream_*' -printf '%s\n' | awk '{ n += $1 } END { print n }')
[ "$bytes" -le $((16 * 300000)) ] || fail "300000 events take $bytes bytes"
want_like "streams" "*stream_0*stream_1*stream_2*" "$(echo $(ls "$T/trace"))"

# ---- the index ----

python3 - "$T/trace" <<'P' || fail "the index differs from the packets"
import os, struct, sys
for name in sorted(os.listdir(sys.argv[1])):
    if not name.startswith("stream_"):
        continue
    data = open(f"{sys.argv[1]}/{name}", "rb").read()
    index = open(f"{sys.argv[1]}/index/{name}.idx", "rb").read()
    assert struct.unpack(">4I", index[:16]) == (0xC1F1DCC1, 1, 0, 56), "header"
    at, seen = 0, 16
    while at < len(data):
        magic, stream, begin, end, content, size, lost = struct.unpack_from("<I16xIQQQQQ", data, at)
        assert magic == 0xC1FC1FC1
        entry = struct.unpack_from(">7Q", index, seen)
        assert entry == (at, size, content, begin, end, lost, stream), f"{name} at {at}: {entry}"
        at += size // 8
        seen += 56
    assert seen == len(index), f"{name}: {len(index)} bytes"
P
used() { babeltrace2 --log-level=INFO "$T/trace" 2>&1 >"$T/again" | grep -c 'falling back to stream indexing'; }
want "streams whose index is not used" 0 "$(used)"
cp "$T/again" "$T/all"
truncate -s -56 "$T/trace/index/stream_0.idx"
[ "$(used)" -ge 1 ] || fail "a short index is used" # babeltrace2 2.1 says so twice
cmp "$T/all" "$T/again" || fail "events are missing with a short index"
rm -r "$T/trace/index"
[ "$(used)" -ge 3 ] || fail "an index is used that does not exist"
cmp "$T/all" "$T/again" || fail "events are missing without an index"
