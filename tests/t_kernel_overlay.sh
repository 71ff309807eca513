#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Overlay file systems: the file above and the file below are one point, until the file is copied up.
. tests/lib.sh
. tests/kernel/lib.sh
need_kernel
mkdir "$T/fs"
mount -t tmpfs none "$T/fs" 2>/dev/null || skip "cannot mount anything here"
at_end "umount '$T/fs'"
cd "$T/fs" && mkdir 'low er' upper work merged && cd - >/dev/null
build_hits "$T/fs/low er/hits"
mount -t overlay overlay -o "lowerdir=$T/fs/low er,upperdir=$T/fs/upper,workdir=$T/fs/work" "$T/fs/merged" 2>/dev/null ||
	skip "this kernel has no overlayfs"
at_end "umount '$T/fs/merged'"
at_end "probe-disable -q -s $S 2>/dev/null"
above=$T/fs/merged/hits below="$T/fs/low er/hits"

start a "$above"
start b "$below"
for file in "$above" "$below"; do
	expect 0 probe-enable -q -s $S -f "$file" k:one
	tell a "run 1 10"
	tell b "run 1 5"
	want "both, by $file" 15 "$(count $S k:one)"
	expect 0 probe-disable -q -s $S
	gone $S
done
expect 0 probe-enable -q -s $S -f "$above" k:one
expect 0 probe-enable -s $S -f "$below" k:one
want_like "below, when it is armed above" "*armed in this session already*" "$out"
tell a "run 1 10"
want "once" 10 "$(count $S k:one)"
want "probe-list knows it by both names" "[\"$S\"] [\"$S\"]" "$(for f in "$above" "$below"; do
	probe-list --json "$f" | jq -c '.probes[] | select(.name == "one") | .sites[0].armed'
done | xargs -d '\n')"
# copied up: another file, of the same name, number and device
touch "$above"
tell a "run 1 1"
want "who runs the file below goes on" 11 "$(count $S k:one)"
start c "$above"
tell c "run 1 100"
want "the file above is another now" 11 "$(count $S k:one)"
probe-enable -q -s $S -f "$above" k:one >"$T/said" 2>&1
tell c "run 1 100"
tell a "run 1 1"
want "armed too, each counts once" 112 "$(count $S k:one)"
expect 0 probe-disable -q -s $S
gone $S
expect 0 probe-enable -q -s $S -p $c k:one
tell c "run 1 7"
want "by its process" 7 "$(count $S k:one)"
expect 0 probe-disable -q -s $S
gone $S
stop a
stop b
stop c
