#!/bin/bash
# SPDX-License-Identifier: MIT
# A session reports that a process has ended, that its pid belongs to another process, or that a file was replaced. The
# new process can be armed in the same session.
. tests/lib.sh
. tests/cmd/lib.sh
need_kernel
build_target
build_once "$T/again" "$CC" -O1 tests/trace/again.c || fail "the helper does not build"
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
	want "$b: state of a live process" '[[10,"live","present"]]' "$(states)"
	want "$b: listed state of a live process" '["live",0,0]' "$(listed)"
	stop "first_$b"
	want "$b: state of an ended process" '[[10,"ended","present"]]' "$(states)"
	want "$b: listed state of an ended process" '["dead",1,0]' "$(listed)"
	expect 0 probe-stat -s "$S"
	want_like "$b: text about an ended process" "*  process has ended*session '$S' is dead*" "$out"
	expect 0 probe-list --sessions
	want_like "$b: listed text about an ended process" "*$S *  dead: its processes have ended*" "$out"

	for ((try = 0; try < 20; try++)); do # another process may have the pid for a moment
		start "second_$b" "$T/again" "$pid" "${preload[@]}" 2>/dev/null && break
	done
	[ "/proc/$pid/exe" -ef "$T/target" ] || fail "$b: the process did not get the pid $pid"
	tell "second_$b" "tick 5"
	want "$b: state if the pid is reused" '[[10,"pid reused","present"]]' "$(states)"
	expect 0 probe-enable -s "$S" -b $b -p "$pid" app:tick
	want_like "$b: row of the new process" "armed *" "$out"
	[[ $out != *already* ]] || fail "$b: reported as armed already: $out"
	tell "second_$b" "tick 100"
	want "$b: states of both processes" '[[10,"pid reused","present"],[100,"live","present"]]' "$(states)"
	want "$b: listed state of both processes" '["part",1,0]' "$(listed)"
	expect 0 probe-disable -q -s "$S"

	# A relative path is stored as an absolute path.
	mkdir "$T/$b" && cp "$T/target" "$T/$b/it"
	(cd "$T/$b" && probe-enable --json -s "$S" -b $b -f ./it app:tick) >"$T/enabled" || fail "$b: $(cat "$T/enabled")"
	want "$b: file in the report" "\"$T/$b/it\"" "$(json '(.armed + .pending)[0].file' "$T/enabled")"
	want "$b: file in the session" "\"$T/$b/it\"" "$(probe-stat --json -s "$S" | json '.probes[0].file')"
	want "$b: state of a present file" '[[0,"live","present"]]' "$(states)"
	cp "$T/target" "$T/$b/new" && mv "$T/$b/new" "$T/$b/it"
	want "$b: state of a replaced file" '[[0,"file replaced","replaced"]]' "$(states)"
	want "$b: listed state of a replaced file" '["part",0,1]' "$(listed)"
	expect 0 probe-enable -q -s "$S" -b $b -f "$T/$b/it" app:tick
	want "$b: rows of the old and the new file" '[[0,"file replaced","replaced"],[0,"live","present"]]' "$(states)"
	rm "$T/$b/it"
	want "$b: states of a deleted file" '[[0,"file deleted","deleted"],[0,"file deleted","deleted"]]' "$(states)"
	expect 0 probe-stat -s "$S"
	want_like "$b: text about a deleted file" "*/it (deleted)*" "$out"
	expect 0 probe-disable -q -s "$S"

	# A process whose file is deleted.
	cp "$T/target" "$T/$b/gone"
	mv "$T/target" "$T/kept" && ln -s "$T/$b/gone" "$T/target"
	start "third_$b" "${preload[@]}"
	rm "$T/$b/gone" "$T/target" && mv "$T/kept" "$T/target"
	declare -n third=third_$b
	expect 0 probe-enable --json -s "$S" -b $b -p "$third" app:tick
	want "$b: deleted file in the report" "\"$T/$b/gone\"" "$(json '.armed[0].file' <<<"$out")"
	tell "third_$b" "tick 3"
	want "$b: state of a process whose file is deleted" '[[3,"live","deleted"]]' "$(states)"
	want "$b: deleted file in probe-list" "\"$T/$b/gone\"" "$(probe-list --json -p "$third" -m app:tick | json '.probes[0].file')"
	expect 0 probe-disable -q -s "$S"
	stop "third_$b"
done

# A row of all processes has the hits of each process, also with the agent.
start fourth env LD_PRELOAD="$B/lib/libprobepoint-agent.so"
start fifth env LD_PRELOAD="$B/lib/libprobepoint-agent.so"
expect 0 probe-enable -q -s "$S" -b agent -f "$T/target" app:tick
tell fourth "tick 3"
tell fifth "tick 4"
stop fifth
want "hits of processes" "[7,[[3,$fourth],[4,$fifth]],0]" \
	"$(probe-stat --json -s "$S" | json '.probes[0] | [.hits, ([.processes[] | [.hits, .pid]] | sort), .other]')"
