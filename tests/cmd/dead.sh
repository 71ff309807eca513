#!/bin/bash
# SPDX-License-Identifier: MIT
# A session whose process has ended, whose pid is another's, or whose file was replaced says so, and the new process can
# be armed beside the old one.
. tests/lib.sh
. tests/cmd/lib.sh
need_kernel
build_target
"$CC" -O1 tests/trace/again.c -o "$T/again" || fail "the helper does not build"
at_end "probe-disable -q -s $S 2>/dev/null"
states() { probe-stat --json -s "$S" | jq -c '[.probes[] | [.hits, .state, .file_state]] | sort'; }
listed() { probe-list --json --sessions | jq -c ".sessions[] | select(.session == \"$S\") | [.state, .dead, .replaced]"; }

for b in kernel agent; do
	preload=()
	[ $b = kernel ] || preload=(env LD_PRELOAD="$B/lib/libprobepoint-agent.so")
	start "first_$b" "${preload[@]}"
	declare -n first=first_$b
	pid=$first
	expect 0 probe-enable -q -s "$S" -b $b -p "$pid" app:tick
	tell "first_$b" "tick 10"
	want "$b: alive" '[[10,"live","present"]]' "$(states)"
	want "$b: alive, in the list" '["live",0,0]' "$(listed)"
	stop "first_$b"
	want "$b: ended" '[[10,"ended","present"]]' "$(states)"
	want "$b: ended, in the list" '["dead",1,0]' "$(listed)"
	expect 0 probe-stat -s "$S"
	want_like "$b: ended, as text" "*  process has ended*session '$S' is dead*" "$out"
	expect 0 probe-list --sessions
	want_like "$b: ended, in the list, as text" "*$S *  dead: its processes have ended*" "$out"

	for ((try = 0; try < 20; try++)); do # somebody else may have the id for a moment
		start "second_$b" "$T/again" "$pid" "${preload[@]}" 2>/dev/null && break
	done
	[ "/proc/$pid/exe" -ef "$T/target" ] || fail "$b: the process did not get the id $pid"
	tell "second_$b" "tick 5"
	want "$b: another process" '[[10,"pid reused","present"]]' "$(states)"
	expect 0 probe-enable -s "$S" -b $b -p "$pid" app:tick
	want_like "$b: the new process is armed" "armed *" "$out"
	[[ $out != *already* ]] || fail "$b: says $out"
	tell "second_$b" "tick 100"
	want "$b: both" '[[10,"pid reused","present"],[100,"live","present"]]' "$(states)"
	want "$b: both, in the list" '["part",1,0]' "$(listed)"
	expect 0 probe-disable -q -s "$S"

	# The file is typed relative to where the command runs; the session knows it from anywhere.
	mkdir "$T/$b" && cp "$T/target" "$T/$b/it"
	(cd "$T/$b" && probe-enable --json -s "$S" -b $b -f ./it app:tick) >"$T/enabled" || fail "$b: $(cat "$T/enabled")"
	want "$b: the file, as armed" "\"$T/$b/it\"" "$(json '(.armed + .pending)[0].file' "$T/enabled")"
	want "$b: the file, in the session" "\"$T/$b/it\"" "$(probe-stat --json -s "$S" | json '.probes[0].file')"
	want "$b: the file is there" '[[0,"live","present"]]' "$(states)"
	cp "$T/target" "$T/$b/new" && mv "$T/$b/new" "$T/$b/it"
	want "$b: replaced" '[[0,"file replaced","replaced"]]' "$(states)"
	want "$b: replaced, in the list" '["part",0,1]' "$(listed)"
	expect 0 probe-enable -q -s "$S" -b $b -f "$T/$b/it" app:tick
	want "$b: the new file is another row" '[[0,"file replaced","replaced"],[0,"live","present"]]' "$(states)"
	rm "$T/$b/it"
	want "$b: deleted" '[[0,"file deleted","deleted"],[0,"file deleted","deleted"]]' "$(states)"
	expect 0 probe-stat -s "$S"
	want_like "$b: deleted, as text" "*/it (deleted)*" "$out"
	expect 0 probe-disable -q -s "$S"

	# A process of a deleted file.
	cp "$T/target" "$T/$b/gone"
	mv "$T/target" "$T/kept" && ln -s "$T/$b/gone" "$T/target"
	start "third_$b" "${preload[@]}"
	rm "$T/$b/gone" "$T/target" && mv "$T/kept" "$T/target"
	declare -n third=third_$b
	expect 0 probe-enable --json -s "$S" -b $b -p "$third" app:tick
	want "$b: a deleted file, as armed" "\"$T/$b/gone\"" "$(json '.armed[0].file' <<<"$out")"
	tell "third_$b" "tick 3"
	want "$b: a deleted file is hit" '[[3,"live","deleted"]]' "$(states)"
	want "$b: a deleted file, listed" "\"$T/$b/gone\"" "$(probe-list --json -p "$third" -m app:tick | json '.probes[0].file')"
	expect 0 probe-disable -q -s "$S"
	stop "third_$b"
done

# Hits by process of a row for all, from agents too.
start fourth env LD_PRELOAD="$B/lib/libprobepoint-agent.so"
start fifth env LD_PRELOAD="$B/lib/libprobepoint-agent.so"
expect 0 probe-enable -q -s "$S" -b agent -f "$T/target" app:tick
tell fourth "tick 3"
tell fifth "tick 4"
stop fifth
want "processes" "[7,[[3,$fourth],[4,$fifth]],0]" \
	"$(probe-stat --json -s "$S" | json '.probes[0] | [.hits, ([.processes[] | [.hits, .pid]] | sort), .other]')"
