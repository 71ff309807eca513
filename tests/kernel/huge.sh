#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Text in huge pages is armed if it is the file's. A copy in anonymous memory is refused with the reason, while other
# processes that map the file are armed.
. tests/lib.sh
. tests/kernel/lib.sh
need_kernel
"${PLUGIN_CC:-gcc}" -O2 -fno-toplevel-reorder -Iinclude tests/kernel/huge.c -Wl,-z,max-page-size=0x200000 -o "$T/huge" || fail "does not build"
at_end "probe-disable -q -s $S 2>/dev/null"
# Most kernels put only files of tmpfs into huge pages.
mkdir "$T/tmpfs"
mount -t tmpfs -o huge=always,mode=755 tmpfs "$T/tmpfs" 2>/dev/null && at_end "umount $T/tmpfs"
cp "$T/huge" "$T/tmpfs/"

start a "$T/tmpfs/huge"
send a collapse
if IFS= read -r -t 60 -u "${hits_out[a]}" answer && [ "$answer" = ok ] &&
	awk -v file="$T/tmpfs/huge" '$6 == file { ours = 1; next } /^[0-9a-f]+-/ { ours = 0 }
		ours && $1 ~ "^(File|Shmem)PmdMapped:" && $2 > 0 { found = 1 } END { exit !found }' "/proc/$a/smaps"; then
	expect 0 probe-enable -q --json -b kernel -s "$S" -p "$a" app:hit
	want "in huge pages of the file" true "$(json '.armed[0].verified' <<<"$out")"
	tell a "hit 1000"
	want "hits in huge pages of the file" 1000 "$(count "$S" app:hit)"
	expect 0 probe-disable -q -s "$S"
	gone "$S"
else
	part_skipped "this kernel does not put a file's text into huge pages"
fi
stop a

# by pid, and by file
start a "$T/huge"
tell a copy
start b "$T/huge"
expect 1 probe-enable -b kernel -s "$S" -p "$a" app:hit
want_like "a copy" "*pid $a has a copy of the text there, in memory that is not a mapping of the file*" "$out"
gone "$S"
expect 3 probe-enable --json -b kernel -s "$S" -f "$T/huge" app:hit
want_like "the process that is not armed" "pid $a has a copy of the text*" "$(jq -r '.refused[0].reason' <<<"$out")"
tell a "hit 10"
tell b "hit 7"
want "hits of the process that is armed" 7 "$(count "$S" app:hit)"
adds_up "$S"
expect 0 probe-disable -q -s "$S"
gone "$S"
tell a "hit 10"
tell b "hit 7"
stop a
stop b

# a file of hugetlbfs, which the kernel refuses
pages=$(cat /proc/sys/vm/nr_hugepages 2>/dev/null)
at_end "echo ${pages:-0} >/proc/sys/vm/nr_hugepages"
mkdir "$T/hugetlbfs"
if echo $((${pages:-0} + 2)) 2>/dev/null >/proc/sys/vm/nr_hugepages && [ "$(cat /proc/sys/vm/nr_hugepages)" -gt "$pages" ] &&
	mount -t hugetlbfs none "$T/hugetlbfs" 2>/dev/null; then
	at_end "umount '$T/hugetlbfs'"
	# a file of hugetlbfs can be written only through a mapping
	printf '#include <sys/sdt.h>\nint f(int n) { STAP_PROBE1(app, hit, n); return n; }\n' |
		"$CC" -O2 -shared -fPIC -Iinclude -xc - -o "$T/lib.so" || fail "does not build"
	python3 - "$T/lib.so" "$T/hugetlbfs/lib.so" <<-'P' || fail "cannot fill a huge page"
		import mmap, os, sys
		data = open(sys.argv[1], "rb").read()
		fd = os.open(sys.argv[2], os.O_RDWR | os.O_CREAT, 0o755)
		os.ftruncate(fd, 2 << 20)
		mmap.mmap(fd, 2 << 20)[:len(data)] = data
	P
	expect 1 probe-enable -b kernel -s "$S" -f "$T/hugetlbfs/lib.so" app:hit
	want_like "a file of hugetlbfs" "*refused*app:hit*the kernel cannot arm the file, because its file system has no page cache*" "$out"
	gone "$S"
else
	part_skipped "hugetlbfs: no huge pages are available"
fi
