#!/bin/bash
# SPDX-License-Identifier: MIT
# Unusual targets, files and session directories: points are armed where possible, and other cases have an error message.
. tests/lib.sh
. tests/kernel/lib.sh
need_kernel
build_hits
store=/sys/fs/bpf/probepoint

# ---- two commands at once on one session ----

start a
for ((i = 0; i < 10; i++)); do
	expect 0 probe-enable -q -s $S -p $a k:one m:p0
	for p in k:two k:three k:guarded m:p1 m:p2; do
		probe-enable -q --json -s $S -p $a $p >"$T/said.$p" 2>&1 &
		pids+=($!)
	done
	probe-disable -q -s $S m:p0 &
	pids+=($!)
	for pid in "${pids[@]}"; do wait $pid || fail "one of the concurrent commands ended with $?: $(cat "$T"/said.*)"; done
	pids=()
	want "armed concurrently" "30 90 7 cc" "$(site_bytes $a)"
	tell a "run 2 50"
	want "hits after concurrent arming" "100 100 100" "$(count $S k:one) $(count $S k:two) $(count $S k:three)"
	probe-disable -q -s $S k:one & pids=($!)
	probe-disable -q -s $S k:two m:p1 & pids+=($!)
	wait ${pids[0]} || fail "the first of two concurrent commands ended with $?"
	wait ${pids[1]} || fail "the second of two concurrent commands ended with $?"
	pids=()
	want "disarmed concurrently" "33 90 4 cc" "$(site_bytes $a)"
	# Both disarm all points. The second one may find none.
	probe-disable -q -s $S 2>"$T/said.1" & pids=($!)
	probe-disable -q -s $S 2>"$T/said.2" & pids+=($!)
	wait ${pids[0]}; one=$?
	wait ${pids[1]}; other=$?
	pids=()
	[ $one = 0 ] || [ $other = 0 ] || fail "neither disarmed all points: $(cat "$T"/said.?)"
	for n in 1 2; do
		[ ! -s "$T/said.$n" ] || want_like "error message of the second command" "*$S*" "$(cat "$T/said.$n")"
	done
	gone $S
	want "all disarmed concurrently" "37 90" "$(site_bytes $a)"
done

# ---- foreign files in the session's directory ----

expect 0 probe-enable -q -s $S -p $a k:one
mkdir $store/$S/mine $store/$S/desc-7 || fail "cannot create directories in the session's directory"
bpftool map create $store/$S/foreign type array key 4 value 4 entries 1 name foreign 2>/dev/null
bpftool map create $store/$S/desc-9 type array key 4 value 64 entries 1 name foreign 2>/dev/null
bpftool map create $store/$S/link type array key 4 value 4 entries 1 name foreign 2>/dev/null
tell a "run 1 5"
out=$(probe-stat -s $S 2>&1)
status=$?
[ $status = 1 ] || want "hits with foreign files" 5 "$(count $S k:one)"
[ $status = 0 ] || want_like "error message with foreign files" "*$store/$S/*" "$out"
rm -f $store/$S/foreign $store/$S/desc-9 $store/$S/link
rmdir $store/$S/mine $store/$S/desc-7
want "hits without foreign files" 5 "$(count $S k:one)"
expect 0 probe-disable -q -s $S
gone $S

# ---- a directory of another user, or open to other users ----

if [ "$(stat -c %i /proc/self/ns/mnt)" != "$(stat -c %i /proc/1/ns/mnt 2>/dev/null)" ]; then
	expect 0 probe-enable -q -s $S -p $a k:one
	chmod 755 $store
	expect 1 probe-enable -s $S -p $a k:two
	want_like "a directory that is open to other users" "*$store*mode 755*" "$out"
	chmod 700 $store
	expect 0 probe-disable -q -s $S
	gone $S

	# ---- another user has taken the directory's name: root's sessions are in another directory, and stay there ----
	rmdir $store
	setpriv --reuid=65534 --regid=65534 --clear-groups mkdir -m 777 $store || fail "cannot take the name"
	mkdir $store/theirs
	chown 65534 $store/theirs
	want "sessions of another user" "" "$(sessions | grep -x theirs)"
	expect 0 probe-enable -q -s $S -p $a k:one
	tell a "run 1 5"
	want "hits of a session in the other directory" 5 "$(count $S k:one)"
	want "list of sessions" $S "$(sessions | grep -x $S)"
	want "owner and mode of the directory" "0 700" "$(stat -c '%u %a' $store-own-*)"
	want "contents of the other user's directory" theirs "$(ls $store)"
	# The name is free again: both directories are searched, and a second session is created next to the first.
	rmdir $store/theirs $store
	expect 0 probe-enable -q -s ${S}b -p $a k:two
	want "directories" 1 "$(ls -d $store* | wc -l)"
	want "sessions" "$S ${S}b" "$(sessions | grep -x -e $S -e ${S}b | xargs)"
	# A session in the directory of the usual name, as another version creates it, is found too.
	mkdir -m 700 $store
	mv $store-own-*/${S}b $store/ 2>/dev/null || fail "cannot move a session"
	tell a "run 1 5"
	want "hits of both sessions" "10 5" "$(count $S k:one) $(count ${S}b k:two)"
	expect 0 probe-disable -q -s $S
	expect 0 probe-disable -q -s ${S}b
	gone $S
	gone ${S}b
	rmdir $store-own-*
	# Other users could replace a directory if bpffs is world-writable without a sticky bit.
	rmdir $store
	chmod 777 /sys/fs/bpf
	expect 1 probe-enable -s $S -p $a k:one
	want_like "bpffs without a sticky bit" "*'/sys/fs/bpf' has mode 777*chmod +t /sys/fs/bpf*" "$out"
	chmod 1777 /sys/fs/bpf
else
	part_skipped "a directory of another user: only if tests have a BPF file system of their own"
fi

# ---- text that is mapped shared or writable, which the kernel does not arm ----

for way in shared writable; do
	cp "$T/hits" "$T/other"
	tell a "map $T/other $way"
	expect 1 probe-enable -q --json -s $S -p $a -f "$T/other" 'k:*'
	want "$way: armed" 0 "$(json '.armed | length' <<<"$out")"
	want "$way: sites refused" 5 "$(json '.refused | length' <<<"$out")"
	want_like "$way: the reason" "*pid $a maps the text $way*" "$(json '.refused[0].reason' <<<"$out")"
	gone $S
	rm "$T/other"
done
# One process maps the text privately, another does not: the first is armed, and the other is reported.
build_hits "$T/other"
start b "$T/other"
tell a "map $T/other shared"
expect 3 probe-enable -q --json -s $S -f "$T/other" k:one
want "armed for all processes" "$(json '.armed[0].probe' <<<"$out")" '"k:one"'
want_like "the process that is not armed" "*pid $a*" "$(json '.refused[0].reason' <<<"$out")"
tell b "run 1 9"
want "hits of the process that is armed" 9 "$(count $S k:one)"
expect 0 probe-disable -q -s $S
gone $S
stop b

# ---- a binary replaced on disk, or deleted ----

cp "$T/hits" "$T/old"
start b "$T/old"
cp "$T/hits" "$T/new"
mv "$T/new" "$T/old"
expect 0 probe-enable -q --json -s $S -p $b k:one
tell b "run 1 3"
want "hits of the old file's process, by pid" 3 "$(count $S k:one)"
expect 0 probe-disable -q -s $S
gone $S
expect 0 probe-enable -q --json -s $S -p $b -f "$T/old" k:one
want "the new file in a process of the old one" '[0,"k:one"]' "$(json '[(.armed | length), .pending[0].probe]' <<<"$out")"
tell b "run 1 3"
want "hits of the old file" 0 "$(count $S k:one)"
expect 0 probe-disable -q -s $S
expect 0 probe-enable -s $S -p $b -f "$T/old" k:one
want_like "the reason for pending" "*pid $b runs an older '$T/old', which was replaced since*" "$out"
expect 0 probe-disable -q -s $S
# Armed, then replaced: the links of the remaining points cannot be replaced, and stay.
expect 0 probe-enable -q -s $S -f "$T/old" k:one k:two
start c "$T/old"
cp "$T/hits" "$T/new"
mv "$T/new" "$T/old"
expect 0 probe-disable -q -s $S k:two
tell c "run 1 4"
want "hits after the file was replaced" "4 0" "$(count $S k:one) $(count $S k:two)"
expect 0 probe-disable -q -s $S
gone $S
want "bytes in the process of the replaced file" "37 90" "$(site_bytes $c "$T/old")"
stop c
rm "$T/old"
expect 0 probe-enable -q --json -s $S -p $b k:two
want "a deleted file" '[1,true]' "$(json '[.armed[0].sites, .armed[0].verified]' <<<"$out")"
tell b "run 2 3"
want "hits of a deleted file's process" 6 "$(count $S k:two)"
adds_up $S
expect 0 probe-disable -q -s $S
gone $S
stop b

# ---- a process that ends before or while it is armed ----

start b
end=$b
stop b
expect 1 probe-enable -s $S -p $end k:one
want_like "a process that has ended" "*$end*" "$out"
gone $S
for ((i = 0; i < (slow > 1 ? 4 : 20); i++)); do
	start b
	probe-enable -q -s $S -p $b 'k:*' 2>"$T/said" &
	pid=$!
	sleep 0.0$((i % 3))$((RANDOM % 10))
	kill -KILL $b
	wait $pid
	status=$?
	wait $b 2>/dev/null
	case $status in
	0) ;; # it was armed before
	1) [[ $(cat "$T/said") == *process*ended* || $(cat "$T/said") == *$b* ]] || fail "a process that ends: $(cat "$T/said")"; gone $S ;;
	*) fail "a process that ends: $status: $(cat "$T/said")" ;;
	esac
	if [ $status = 0 ]; then
		expect 0 probe-stat -s $S
		expect 0 probe-disable -q -s $S
	fi
	gone $S
done

# ---- names ----

stop a
start a
long=$(printf 'x%.0s' {1..64})
expect 0 probe-enable -q -s "$long" -p $a k:one
tell a "run 1 1"
want "hits under a long name" 1 "$(count "$long" k:one)"
expect 0 probe-disable -q -s "$long"
gone "$long"
for name in "" . .. a/b "${long}x" -x 'a b' 'ä'; do
	expect 2 probe-enable "--session=$name" -p $a k:one
done
stop a
