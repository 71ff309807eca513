#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Which file a path means for a process, which processes and mappings are armed, and how others are reported.
. tests/lib.sh
. tests/kernel/lib.sh
need_kernel
at_end "probe-disable -q -s $S 2>/dev/null"

build_once "$T/pages" "$CC" -O1 -Iinclude tests/kernel/pages.c &&
	build_once "$T/inside" "$CC" -O1 -Iinclude -DNAME=inside tests/kernel/pages.c ||
	fail "does not compile"
# begin COMMAND...: starts a process, sets $pid, and waits for its first answer
begin() {
	rm -f "$T/in" "$T/out"
	mkfifo "$T/in" "$T/out"
	"$@" <"$T/in" >"$T/out" &
	pid=$!
	exec {in}>"$T/in" {reply}<"$T/out"
	ask x
}
end() { exec {in}>&- {reply}<&-; wait "$pid" || fail "the target ended with $?"; }
hits() { ask x; probe-stat --json -s "$S" | jq '[.probes[].hits] | add'; }

# ---- 150 mappings of one file, half of them not readable by the process itself ----
begin "$T/pages" split
[ "$(grep -c " $T/pages$" "/proc/$pid/maps")" -gt 150 ] || fail "the text has too few mappings"
unreadable=$(awk -v f="$T/pages" '$6 == f && $2 == "--xp" { print $1; exit }' "/proc/$pid/maps")
[ "$unreadable" ] || fail "no mapping can be executed and not read"
verified=true
if [ "$(memory "$pid" $((16#${unreadable%-*})) 1 | wc -c)" = 0 ]; then
	verified=false
	part_skipped "verified sites in code that cannot be read: this kernel lets only tracers read it by /proc/PID/mem"
fi
expect 0 probe-enable --json -s "$S" -p "$pid" pages:hit
want "150 mappings" "[[150,$verified]]" "$(json '[.armed[] | [.sites, .verified]]' <<<"$out")"
[ $verified = true ] || want_like "why they are not verified" "*not verified: pid $pid: cannot read the process*" "$(json '.armed[0].reason' <<<"$out")"
want "150 mappings: pending, refused" '[]' "$(json '.pending + .refused' <<<"$out")"
want "hits" 150 "$(hits)"
expect 0 probe-disable -s "$S"
end

begin env LD_PRELOAD="$B/lib/libprobepoint-agent.so" "$T/pages" mark
[ "$(grep -c " $T/pages$" "/proc/$pid/maps")" -gt 150 ] || fail "the text has too few mappings"
expect 0 probe-enable --json -b agent -s "$S" -p "$pid" pages:hit
want "150 mappings, by the agent" '[[150,true]]' "$(json '[.armed[] | [.sites, .verified]]' <<<"$out")"
want "hits" 150 "$(hits)"
expect 0 probe-disable -s "$S"
end

# ---- more processes than descriptors: the last one is looked at as well ----
if multi_links; then
	begin "$T/pages" 40
	last=$(for p in $(pgrep -P "$pid"); do grep -l "^[^ ]* rwxp .* $T/pages$" "/proc/$p/maps"; done | cut -d/ -f3)
	expect 3 bash -c 'ulimit -n 24; exec "$@"' bash probe-enable --json -s "$S" -f "$T/pages" pages:hit
	want "the process in which one site cannot be armed" "[[$last]]" "$(json '[.refused[].pid] | unique | [.]' <<<"$out")"
	want "the sites armed elsewhere" 150 "$(json '.armed[0].sites' <<<"$out")"
	expect 0 probe-disable -s "$S"
	end
else
	part_skipped "more processes than descriptors: before Linux 6.6 each site needs a descriptor"
fi

# ---- a process that has another root ----
mkdir "$T/app"
if unshare -m true 2>/dev/null; then
	begin unshare -m sh -c 'mount -t tmpfs none "$1/app" && cp "$1/inside" "$1/app/srv" && ln -s "$1/app/srv" "$1/app/link" &&
		exec "$1/app/srv"' sh "$T"
	for there in none other; do
		[ $there = none ] || cp "$T/pages" "$T/app/srv"
		for name in srv link "../app/srv"; do
			expect 0 probe-enable --json -s "$S" -p "$pid" -f "$T/app/$name" pages:inside
			want "app/$name, here: $there" '[[150,true]]' "$(json '[.armed[] | [.sites, .verified]]' <<<"$out")"
			want "hits" 150 "$(hits)"
			expect 0 probe-disable -s "$S"
		done
	done
	# a file that the process maps and that is outside of its root
	expect 1 probe-enable -s "$S" -p "$pid" -f "$T/app/nothing" pages:inside
	want_like "no file" "*$T/app/nothing*No such file*" "$out"
	expect 0 probe-enable --json -s "$S" -p "$pid" -f "/proc/$pid/exe" pages:inside
	want "a path in /proc" '[150]' "$(json '[.armed[].sites]' <<<"$out")"
	expect 0 probe-disable -s "$S"
	end
else
	part_skipped "mount namespaces: cannot be created"
fi

# ---- two files that have one device and inode in maps ----
if have mkfs.btrfs && truncate -s 120M "$T/image" && mkfs.btrfs -q "$T/image" >/dev/null 2>&1 && mkdir "$T/btrfs" &&
	mount -o loop "$T/image" "$T/btrfs" 2>/dev/null; then
	at_end "umount -l '$T/btrfs'"
	for k in one two; do
		btrfs -q subvolume create "$T/btrfs/$k"
		printf '#include <sys/sdt.h>\nvoid %s(void) { STAP_PROBE(twins, %s); }\n' $k $k >"$T/$k.c"
		"$CC" -O1 -fPIC -shared -Iinclude -o "$T/lib$k.so" "$T/$k.c" || fail "does not compile"
		cp "$T/lib$k.so" "$T/btrfs/$k"
	done
	printf '%s\n' '#include <stdio.h>' 'void one(void), two(void);' \
		'int main(void) { while (getchar() != EOF) { getchar(); one(); two(); puts("x"); fflush(stdout); } return 0; }' >"$T/twins.c"
	"$CC" -O1 "$T/twins.c" -L"$T" -lone -ltwo -Wl,-rpath,"$T/btrfs/one:$T/btrfs/two" -o "$T/twins" || fail "does not link"
	begin "$T/twins"
	expect 0 probe-enable --json -s "$S" -p "$pid" 'twins:*'
	want "both" '["twins:one","twins:two"]' "$(json '[.armed[].probe] | sort' <<<"$out")"
	want "hits of both" 2 "$(hits)"
	expect 0 probe-disable -s "$S"
	end
else
	part_skipped "btrfs: cannot be created and mounted"
fi
