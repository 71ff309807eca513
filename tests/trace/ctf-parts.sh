#!/bin/bash
# SPDX-License-Identifier: MIT
# A trace in parts: each part is read alone and all together, no event is missing between two parts, and no part is larger
# than the limit. With --max-files only the newest parts are left, and the number of removed events is reported.
. tests/lib.sh
need babeltrace2 gcc python3

numbers() { babeltrace2 --clock-cycles --no-delta --names=payload "$@" | sed -n 's/.*{ n = \([0-9]*\), .*/\1/p'; }

# ---- by the library, 150,000 events of 3 threads ----

for files in 0 2; do
	dir=$T/parts$files
	[ $files = 0 ] && case=parts || case=parts-kept
	expect 0 "$B/tests/unit/ctf" $case "$dir"
	read -r written removed <<<"$out"
	want "events written" 150000 "$written"
	[ "$(find "$dir" -mindepth 1 -maxdepth 1 | wc -l)" -ge 2 ] || fail "there are no parts: $(ls "$dir")"
	for part in "$dir"/part-*; do
		size=$(find "$part" -type f -printf '%s\n' | awk '{ n += $1 } END { print n }')
		[ "$size" -le 1048576 ] || fail "$part has $size bytes"
		numbers "$part" >>"$T/alone$files" || fail "$part cannot be read"
	done
	numbers "$dir" >"$T/together$files" || fail "the parts cannot be read together"
	want "$files files: events left" $((written - removed)) "$(wc -l <"$T/together$files")"
	sort -n "$T/alone$files" | cmp - <(sort -n "$T/together$files") || fail "the parts alone have other events"
	[ "$(sort -u "$T/together$files" | wc -l)" = "$(wc -l <"$T/together$files")" ] || fail "$files: events are repeated"
	sort -n "$T/together$files" | tail -n 1 | grep -qx 149999 || fail "$files files: the last event is missing"
done
want "parts left" 2 "$(ls "$T/parts2" | wc -l)"
want "not removed without --max-files" 150000 "$(wc -l <"$T/together0")"

# ---- by probe-trace ----

expect 2 probe-trace --max-size 1M 'x:*' -p $$
want_like "--max-size without -o" "*--max-size needs -o*" "$out"
expect 2 probe-trace -o "$T/x" --max-files 2 'x:*' -p $$
want_like "--max-files without --max-size" "*--max-files needs --max-size*" "$out"
expect 2 probe-trace -o "$T/x" --max-size 5K 'x:*' -p $$
want_like "a size that is too small" "*--max-size: invalid size '5K'*" "$out"

need jq
cat >"$T/count.c" <<'C'
#include <stdlib.h>
#include <sys/probe.h>
__attribute__((noipa)) static void hit(int n, int m) { STAP_PROBE2(app, tick, n, m); }
int main(int argc, char **argv)
{
	for (int i = 0; i < atoi(argv[1]); i++)
		hit(i, argc);
	return 0;
}
C
expect 0 gcc -O2 -Iinclude "$T/count.c" -o "$T/count"
# ---- metadata that leaves no room for records in a part: refused before the program runs ----

{
	echo '#include <sys/probe.h>'
	echo 'int main(int argc, char **argv) {'
	for ((i = 0; i < 1200; i++)); do
		printf 'STAP_PROBE3(app, %0150d%d, argc, argc, argc);\n' 0 $i | sed 's/, 0/, n/'
	done
	echo 'return !argv; }'
} >"$T/many.c"
expect 0 gcc -O1 -Iinclude "$T/many.c" -o "$T/many"
expect 125 probe-trace -q -b agent -o "$T/small" --max-size 1M 'app:*' -- "$T/many"
want_like "parts that are too small" "*each part of the trace describes all probes, which takes * KiB, so parts of 1024 KiB*give them * KiB or more*" "$out"
[ ! -e "$T/small" ] || fail "a refused trace leaves its directory"
size=$(sed -nE 's/.*give them ([0-9]+) KiB or more.*/\1/p' <<<"$out")
expect 0 probe-trace -q -b agent -o "$T/small" --max-size "${size}K" 'app:*' -- "$T/many"
want "events of a trace that has room" 1200 "$(babeltrace2 "$T/small" | wc -l)"

# ---- modes: other users cannot read arguments, and all files have one mode ----

expect 0 sh -c "umask 000; exec probe-trace -q -b agent -o '$T/modes' app:tick -- '$T/count' 10"
want "the mode of the trace" 700 "$(stat -c %a "$T/modes")"
want "modes of files" 644 "$(find "$T/modes" -type f -printf '%m\n' | sort -u | paste -sd,)"

for backend in kernel agent; do
	[ $backend = agent ] || [ "$(id -u)" = 0 ] || { part_skipped "the kernel backend needs root"; continue; }
	expect 0 probe-trace -b $backend -o "$T/$backend" --max-size 1M --max-files 2 app:tick -- "$T/count" 250000
	echo "$backend: $out"
	about=$T/$backend/about/probepoint.json
	read -r recorded lost removed < <(jq -r '"\(.recorded) \(.lost) \(.removed)"' "$about")
	want "$backend: all hits" 250000 $((recorded + lost))
	rest=
	[ "$removed" = 0 ] || rest="; --max-files removed $removed of the records"
	want_like "$backend: summary" "*$recorded recorded, $lost lost in $T/$backend$rest" "$out"
	[ "$(find "$T/$backend" -name 'part-*' | wc -l)" -le 2 ] || fail "$backend: more than 2 parts are left"
	babeltrace2 --names=payload "$T/$backend" >"$T/events" 2>"$T/warnings" || fail "$(cat "$T/warnings")"
	want "$backend: events left" $((recorded - removed)) "$(wc -l <"$T/events")"
	want "$backend: armed" app:tick "$(jq -r '(.arming.armed + .arming.pending)[0].probe' "$about")"
	want "$backend: ended" true "$(jq .ended "$about")"
	want "$backend: recorded, by the counters" "$recorded" "$(jq '[.probes[].recorded] | add' "$about")"
done
