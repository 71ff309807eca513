#!/bin/bash
# SPDX-License-Identifier: MIT
# A configuration says that it cannot read a session whose lock another command has, also if only one backend's part is locked. Other
# entries are armed.
. tests/lib.sh
. tests/cmd/lib.sh
. tests/config/lib.sh
need flock
need_kernel
build_version 1
at_end "for s in a foreign; do probe-disable -q -s $S-\$s 2>/dev/null; done"
cat >"$T/config.yaml" <<E2
sessions:
  - session: $S-a
    arm:
      - probes: svc:hit
        file: $T/version.1
E2
for backend in kernel agent; do
	expect 0 probe-enable -q -b $backend -s "$S-foreign" -f "$T/version.1" svc:line
done
expect 0 probe-enable -q --config "$T/config.yaml"
locked=$(ls -d /sys/fs/bpf/probepoint*/"$S-foreign")
flock --no-fork "$locked" sleep 60 &
locker=$!
wait_for 10 eval '! flock -n "$locked" true'
expect 0 probe-enable --config "$T/config.yaml"
kill $locker
want "the error" "probe-enable: session '$S-foreign': cannot be read: '$locked': another command has the lock of this session; try again; probes of $(realpath "$T/config.yaml") in it stay armed until the next probe-enable --config" \
	"$(grep "another command" <<<"$out")"
want_like "other entries" "*same*svc:hit*" "$out"
