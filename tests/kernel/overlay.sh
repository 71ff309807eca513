#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Overlay file systems: a file of the overlay and its file in the lower layer are one point, until copy-up.
. tests/lib.sh
. tests/kernel/lib.sh
need_kernel
mkdir "$T/fs"
mount -t tmpfs none "$T/fs" 2>/dev/null || skip "cannot mount a tmpfs"
at_end "umount '$T/fs'"
cd "$T/fs" && mkdir 'low er' upper work merged && cd - >/dev/null || exit
build_hits "$T/fs/low er/hits"
mount -t overlay overlay -o "lowerdir=$T/fs/low er,upperdir=$T/fs/upper,workdir=$T/fs/work" "$T/fs/merged" 2>/dev/null ||
	skip "this kernel does not have overlayfs"
at_end "umount '$T/fs/merged'"
at_end "probe-disable -q -s $S 2>/dev/null"
above=$T/fs/merged/hits below="$T/fs/low er/hits"

start a "$above"
start b "$below"
for file in "$above" "$below"; do
	expect 0 probe-enable -q -s $S -f "$file" k:one
	tell a "run 1 10"
	tell b "run 1 5"
	want "hits in both processes, armed by $file" 15 "$(count $S k:one)"
	expect 0 probe-disable -q -s $S
	gone $S
done
expect 0 probe-enable -q -s $S -f "$above" k:one
expect 0 probe-enable -s $S -f "$below" k:one
want_like "the lower file, after the overlay's was armed" "*armed in this session already*" "$out"
tell a "run 1 10"
want "hits counted once" 10 "$(count $S k:one)"
want "probe-list by both names" "[\"$S\"] [\"$S\"]" "$(for f in "$above" "$below"; do
	probe-list --json "$f" | jq -c '.probes[] | select(.name == "one") | .sites[0].armed'
done | xargs -d '\n')"
multi_links || { part_skipped "after copy-up: before Linux 6.6 the kernel does not report the file of a uprobe, so the new file is refused"; exit 0; }
# after copy-up: another file with the same name, inode number and device
touch "$above"
tell a "run 1 1"
want "hits of a process of the lower file" 11 "$(count $S k:one)"
start c "$above"
tell c "run 1 100"
want "hits without the overlay's new file" 11 "$(count $S k:one)"
probe-enable -q -s $S -f "$above" k:one >"$T/said" 2>&1
tell c "run 1 100"
tell a "run 1 1"
want "hits of both files" 112 "$(count $S k:one)"
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

# three overlays of one layer, two of them in other mount namespaces: one file by any path
pod() {
	mkdir "$T/fs/upper$1" "$T/fs/work$1" "$T/fs/merged$1"
	start "$1" unshare -m --propagation private sh -c 'mount -t overlay overlay -o "lowerdir=$1/low er,upperdir=$1/upper$2,workdir=$1/work$2" \
		"$1/merged$2" && exec "$1/merged$2/hits"' sh "$T/fs" "$1"
}
pod p
pod q
start b "$below"
umount "$T/fs/merged" && mkdir "$T/fs/bound" "$T/fs/uppern" "$T/fs/workn"
mount -t overlay overlay -o "lowerdir=$T/fs/low er,upperdir=$T/fs/uppern,workdir=$T/fs/workn" "$T/fs/merged" ||
	fail "cannot mount the overlays"
mount --bind "$T/fs/merged" "$T/fs/bound" && at_end "umount '$T/fs/bound'"
start c "$above"
in_p=/proc/$p/root$T/fs/mergedp/hits in_q=/proc/$q/root$T/fs/mergedq/hits
for files in "$in_p:$in_q" "$below:$in_p" "$in_q:$below:$in_p:$T/fs/bound/hits"; do
	IFS=: read -ra named <<<"$files"
	options=()
	for file in "${named[@]}"; do options+=(-f "$file"); done
	expect 0 probe-enable --json -s $S "${options[@]}" k:one
	[[ $out == "{"*"}" ]] || fail "$out"
	want "armed by each of $files" ${#named[@]} "$(jq '[.armed[] | select(.verified or .reason != null)] | length' <<<"$out")"
	expect 0 probe-enable -q -s ${S}o -f "$in_p" k:one
	tell p "run 1 100"
	tell q "run 1 20"
	tell b "run 1 3"
	want "hits by $files" 123 "$(count $S k:one)"
	want "hits in another session" 123 "$(count ${S}o k:one)"
	expect 0 probe-enable -q -s $S "${options[@]}" k:one
	tell p "run 1 1"
	want "hits after it was armed again" 124 "$(count $S k:one)"
	expect 0 probe-disable -q -s $S
	expect 0 probe-disable -q -s ${S}o
done
# after copy-up in one of them, there are two files
nsenter -t $p -m touch "$T/fs/mergedp/hits"
stop p
start p nsenter -t $q -m sh -c 'exec "$1/mergedq/hits"' sh "$T/fs"
touch "$above"
expect 0 probe-enable --json -s $S -f "$above" -f "$in_q" k:one
want "two files" '[null,null]' "$(jq -c '[.armed[], .pending[] | .reason]' <<<"${out%%$'\n'*}")"
stop c
start c "$above"
tell c "run 1 7"
tell q "run 1 5"
want "hits of each file" 12 "$(count $S k:one)"
expect 0 probe-disable -q -s $S
gone $S
for each in p q b c; do stop $each; done
