#!/bin/bash
# SPDX-License-Identifier: MIT
# A BPF program that sleeps in a page fault keeps the values that it has read, while another thread on the same CPU hits
# a probe: in filters, values and strings. (Linux 6.13 and later run a program with 64 bytes of stack on a per-CPU stack.)
. tests/lib.sh
. tests/kernel/lib.sh
need_kernel
build_once "$T/sleeps" "$CC" -O2 -Iinclude -pthread tests/kernel/sleeps.c || fail "tests/kernel/sleeps.c does not build"

# With a perf uprobe a hit keeps its CPU's buffer for arguments while it sleeps, so the thread that serves the page could wait for it.
mkfifo "$T/in"
"$T/sleeps" 1 1 <"$T/in" >"$T/out" &
pid=$!
exec {in}>"$T/in"
wait_for 20 grep -q . "$T/out"
if grep -q ready "$T/out"; then
	expect 1 env PROBEPOINT_NO_UPROBE_MULTI=1 probe-enable -s $S -p $pid 'sleeps:*'
	want_like "a program that serves its page faults" "*sleeps:*pid $pid has a userfaultfd*" "$out"
fi
echo >&$in
exec {in}>&-
wait $pid || fail "sleeps: $(cat "$T/out")"
rm "$T/in"
multi_links || skip "before Linux 6.6 the hits on a CPU wait for each other, so programs with a userfaultfd are refused"

[ "${PROBEPOINT_LONG-}" ] && times=5000 each=200 || times=$((300 / slow + 5)) each=20

both() {
	local file=$T/trace slow_hits fast_hits faults
	mkfifo "$T/in"
	"$T/sleeps" $times $each <"$T/in" >"$T/out" &
	pid=$!
	exec {in}>"$T/in"
	wait_for 20 grep -q . "$T/out"
	grep -q ready "$T/out" || { exec {in}>&-; part_skipped "$(cat "$T/out")"; return; }
	tracing "$file" --json --string arg1 -p $pid "$@"
	echo >&$in
	wait $pid || fail "sleeps: $(cat "$T/out")"
	exec {in}>&-
	wait $tracer
	rm "$T/in"
	read -r slow_hits fast_hits faults < <(tail -n 1 "$T/out")
	want "hits of sleeps:slow" $times "$slow_hits"
	[ "$faults" -ge $times ] || fail "only $faults page faults in $times hits"
	[ "$fast_hits" -ge $((times * each)) ] || fail "$fast_hits hits of sleeps:fast"
	jq -r 'select(.probe) | [(.probe | sub(".*:"; "")), (.args | if type == "array" then .[].value else .[] end)] | map(tostring) | join(" ")' "$file" >"$T/values" ||
		fail "$(head -n 3 "$file")"
	awk '{ n[$1]++; if ($1 != $3 || $2 != $4 || NF != 4) { bad++; if (bad < 5) print } }
		END { print bad + 0, n["slow"] + 0, n["fast"] + 0 }' "$T/values" >"$T/checked"
	echo "$*: $(tail -n 1 "$T/checked") (wrong, slow, fast)"
	read -r bad nslow nfast < <(tail -n 1 "$T/checked")
	want "wrong records" 0 "$bad"
	[ "$nfast" -gt 0 ] || fail "no record of sleeps:fast was read"
	if grep -q ', 0 lost' "$file.err"; then
		want "records of sleeps:slow" $times "$nslow"
		want "records of sleeps:fast" "$fast_hits" "$nfast"
	else
		[ "${PROBEPOINT_LONG-}" ] || fail "records were lost: $(cat "$file.err")"
	fi
}

both 'sleeps:*'
both --if 'arg1 =~ "slow *" || arg1 =~ "fast *"' 'sleeps:*'
