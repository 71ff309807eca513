#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# -f: hits are counted by process, also of ended processes, up to a maximum. Hits of further processes are counted
# together. The sum is exactly the number of hits.
. tests/lib.sh
. tests/kernel/lib.sh
need_kernel
build_hits
build_once "$T/load" "$CC" -O2 -Iinclude -pthread tests/kernel/load.c || fail "load.c does not build"
at_end "probe-disable -q -s $S 2>/dev/null"

start a
start b
start c
expect 0 probe-enable -q -s $S -f "$T/hits" k:one k:two func:hit%return
tell a "run 2 100"
tell b "run 1 5"
stop c
expect 0 probe-stat --json -s $S
for probe in k:one k:two func:hit%return; do
	want "$probe, by process" "[[[$a,200],[$b,5]],0]" "$(jq -c ".probes[] | select(.probe == \"$probe\") |
		[([.processes[] | [.pid, .hits]] | sort_by(-.[1])), .other]" <<<"$out")"
done
expect 0 probe-stat -v -s $S
want_like "in the table" "*200  of these, pid $a*" "$out"
expect 0 probe-enable -q -s $S -f "$T/hits" k:three
tell b "run 1 5"
want "of two attachments" "[[$a,200],[$b,10]]" "$(probe-stat --json -s $S |
	jq -c '.probes[] | select(.probe == "k:one") | [.processes[] | [.pid, .hits]] | sort_by(-.[1])')"
expect 0 probe-disable -q -s $S
expect 0 probe-enable -q -s $S -p $a k:one
want "by process, of points for one process" null "$(probe-stat --json -s $S | jq -c '.probes[0].processes')"
expect 0 probe-disable -q -s $S
stop a
stop b

# more processes and points than the maximum: 100 probes in 210 processes, of which 10 hit nothing themselves
expect 0 probe-enable -q -s $S -f "$T/load" 'load:*'
pids=()
for ((k = 0; k < 10; k++)); do "$T/load" -20 <<<"" & pids+=($!); done
for pid in "${pids[@]}"; do wait $pid || fail "a process that forks ended with $?"; done
probe-stat --json -s $S >"$T/stat" || fail "probe-stat fails"
want "hits" "[200,200]" "$(jq -c '[.probes[].hits] | [min, max]' "$T/stat")"
want "by process and other" true "$(jq 'all(.probes[]; .hits == ([.processes[].hits] | add) + .other)' "$T/stat")"
# Programs on several CPUs that add the last element at once exceed the maximum.
elements=$(jq '[.probes[].processes | length] | add' "$T/stat")
[ "$elements" -ge 16384 ] && [ "$elements" -lt $((16384 + $(nproc --all))) ] || fail "$elements elements"
want "hits beyond the maximum" $((200 * 100 - elements)) "$(jq '[.probes[].other] | add' "$T/stat")"
expect 0 probe-disable -q -s $S
gone $S
