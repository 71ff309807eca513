#!/bin/bash
# SPDX-License-Identifier: MIT
# The metadata names the host, its boot and the build ids, and traces of two hosts with different clocks merge by the time of
# day.
. tests/lib.sh
need babeltrace2

expect 0 "$B/tests/unit/ctf" late "$T/one"
cp -r "$T/one" "$T/two"
meta=$T/two/metadata
grep -q "hostname = \"$(hostname)\";" "$meta" || fail "no hostname: $(cat "$meta")"
boot=$(cat /proc/sys/kernel/random/boot_id)
grep -q "host_id = \"$boot\";" "$meta" || fail "no host_id"
grep -q "uuid = \"$boot\";" "$meta" || fail "the clock has no uuid"
want "images" '/bin/it c0ffee' "$(sed -n 's/^\timage_0 = "\(.*\)";/\1/p; s/^\tbuild_id_0 = "\(.*\)";/\1/p' "$meta" | tr '\n' ' ' | sed 's/ $//')"

# The other host: booted 5 ns and an hour later, so that its clock has another offset and another id.
read -r seconds < <(sed -n 's/^\toffset_s = \(.*\);/\1/p' "$meta")
read -r ns < <(sed -n 's/^\toffset = \(.*\);/\1/p' "$meta")
[ "$ns" -lt 999999990 ] || ns=999999990
sed -i "s/^\toffset = .*/\toffset = $ns;/" "$T/one/metadata"
sed -i "s/$boot/00000000-1111-4222-8333-444444444444/; s/hostname = .*/hostname = \"other\";/; s/^\toffset_s = .*/\toffset_s = $((seconds - 3600));/
	s/^\toffset = .*/\toffset = $((ns + 5));/" "$meta"
uuid=$(sed -n 's/^\tuuid = "\(.*\)";/\1/p' "$meta" | head -n 1)
other=${uuid:0:35}$([ "${uuid:35}" = 0 ] && echo 1 || echo 0)
sed -i "s/$uuid/$other/" "$meta"
# The packets have the UUID, too, and times of an hour more.
python3 - "$T/two" "$other" <<'P' || fail "cannot edit the packets"
import os, struct, sys, uuid
hour = 3600 * 10**9
for name in os.listdir(sys.argv[1]):
    if not name.startswith("stream_"):
        continue
    data = bytearray(open(f"{sys.argv[1]}/{name}", "rb").read())
    for at in range(0, len(data), 4096):
        data[at + 4:at + 20] = uuid.UUID(sys.argv[2]).bytes
        begin, end, content = struct.unpack_from("<3Q", data, at + 24)
        struct.pack_into("<2Q", data, at + 24, begin + hour, end + hour)
        event = at + 64
        while event < at + content // 8:
            time, = struct.unpack_from("<Q", data, event + 4)
            struct.pack_into("<Q", data, event + 4, time + hour)
            id, = struct.unpack_from("<I", data, event)
            event = data.index(0, event + 20) + 1
            event += 2 + 4 if id == 2 else 8
            if id != 2:
                event = data.index(0, event) + 1 + 8
    open(f"{sys.argv[1]}/{name}", "wb").write(data)
P
rm -r "$T/two/index"
expect 0 babeltrace2 --names=none --no-delta "$T/two" "$T/one"
want "the order" "$(hostname) other $(hostname) other $(hostname) other $(hostname) other" \
	"$(awk '{ print $2 }' <<<"$out" | tr '\n' ' ' | sed 's/ $//')"
awk '$1 < before { exit 1 } { before = $1 }' <<<"$out" || fail "not in order: $out"
