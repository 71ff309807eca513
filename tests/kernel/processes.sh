#!/bin/bash
# SPDX-License-Identifier: MIT
# Which hits count: of a named process, of all processes, in several sessions; and semaphores.
. tests/lib.sh
. tests/kernel/lib.sh
need_kernel
build_hits

semaphore() { tell "$1" semaphore; want "the semaphore of $1 $2" "$3" "$answer"; }

all_tests() {
	local S=$S$1 i

	# ---- one process, without other processes, its forks, and programs that it starts ----

	start a
	start b
	expect 0 probe-enable -q -s $S -p $a 'k:*'
	tell b "run 2 1000"
	want "hits of another process" 0 "$(count $S k:one)"
	tell a "run 2 1000"
	tell a "fork 2 300"
	tell a "spawn 2 300"
	want "hits of the process alone" 2000 "$(count $S k:one)"
	want "bytes of the other" "37 90" "$(site_bytes $b)"
	adds_up $S

	# ---- two processes in one session ----

	expect 0 probe-enable -q -s $S -p $b k:one
	tell a "run 1 10"
	tell b "run 1 7"
	want "hits by process" "[[$a,2010],[$b,7]]" "$(probe-stat --json -s $S |
		jq -c '[.probes[] | select(.probe == "k:one") | [.pid, .hits]] | sort_by(-.[1])')"
	expect 0 probe-disable -q -s $S -p $b
	want "bytes of the other again" "37 90" "$(site_bytes $b)"
	tell b "run 1 1"
	tell a "run 1 1"
	want "hits of the process that stays armed" 2011 "$(count $S k:one)"
	want "rows of the other" 0 "$(probe-stat --json -s $S | jq "[.probes[] | select(.pid == $b)] | length")"

	# ---- two sessions on one point: both count all hits, also while another is disarmed ----

	expect 0 probe-enable -q -s ${S}x -p $a k:one
	expect 0 probe-enable -q -s ${S}y -f "$T/hits" 'k:*'
	tell a "run 4 1000"
	tell b "run 1 5"
	want "hits of the first session" 6011 "$(count $S k:one)"
	want "hits of the second session" 4000 "$(count ${S}x k:one)"
	want "hits of the third session, of all processes" 4005 "$(count ${S}y k:one)"
	expect 0 probe-disable -q -s ${S}x
	gone ${S}x
	want "bytes of a" "32 90 5 cc" "$(site_bytes $a)"
	tell a "run 2 100"
	want "hits of the first session, later" 6211 "$(count $S k:one)"
	want "hits of the third session, later" 4205 "$(count ${S}y k:one)"
	# at full speed
	tell a "start 3"
	for ((i = 0; i < 3; i++)); do
		expect 0 probe-enable -q -s ${S}x -p $a 'k:*'
		expect 0 probe-disable -q -s ${S}x
	done
	tell a stop
	want "hits of the first session while another came and went" $((6211 + answer)) "$(count $S k:one)"
	want "hits of the third session while another came and went" $((4205 + answer)) "$(count ${S}y k:one)"
	adds_up $S
	adds_up ${S}y
	expect 0 probe-disable -q -s ${S}y
	expect 0 probe-disable -q -s $S
	gone $S
	gone ${S}y
	want "bytes at the end" "37 90" "$(site_bytes $a)"

	# ---- a file: running processes, forks, and processes that start later ----

	expect 0 probe-enable -q -s $S -f "$T/hits" k:two
	tell a "run 1 100"
	tell b "run 1 10"
	tell a "fork 1 1000"
	tell a "spawn 1 10000"
	want "all processes of a file" 11110 "$(count $S k:two)"
	expect 0 probe-disable -q -s $S
	gone $S

	# ---- semaphores ----

	semaphore a "before" 0
	tell a "guarded 100"
	want "arguments computed while unarmed" 0 "$answer"
	expect 0 probe-enable -q -s $S -p $a k:guarded
	semaphore a "of two sites" 2
	semaphore b "of another process" 0
	tell a "guarded 100"
	want "arguments computed while armed" 200 "$answer"
	want "hits of both sites" 200 "$(count $S k:guarded)"
	tell b "guarded 100"
	want "arguments computed in an unarmed process" 0 "$answer"
	expect 0 probe-enable -q -s ${S}x -p $a k:guarded
	semaphore a "of two sessions: the kernel counts sites" 2
	expect 0 probe-disable -q -s $S
	semaphore a "of the session that stays" 2
	tell a "guarded 100"
	want "arguments computed for the session that stays" 200 "$answer"
	expect 0 probe-disable -q -s ${S}x
	semaphore a "afterwards" 0
	tell a "guarded 100"
	want "arguments computed after disarming" 0 "$answer"
	# disarmed while other points of its link stay
	expect 0 probe-enable -q -s $S -p $a 'k:*'
	semaphore a "with others" 2
	expect 0 probe-disable -q -s $S k:one k:two
	semaphore a "when others went" 2
	expect 0 probe-disable -q -s $S k:guarded
	semaphore a "when it went" 0
	expect 0 probe-disable -q -s $S
	gone $S

	# ---- a process whose first thread has ended ----

	tell a leave
	wait_for 10 grep -q "^State:	Z" /proc/$a/task/$a/status
	expect 0 probe-enable -q -s $S -p $a k:one k:guarded
	tell a "run 4 1000"
	tell b "run 1 5"
	want "hits without a first thread" 4000 "$(count $S k:one)"
	tell a "guarded 10"
	want "its guarded hits" 20 "$(count $S k:guarded)"
	tell a "start 2"
	expect 0 probe-disable -q -s $S k:guarded
	tell a stop
	want "hits while the other was disarmed" $((4000 + answer)) "$(count $S k:one)"
	expect 0 probe-disable -q -s $S
	gone $S
	stop a
	stop b
}

all_tests m
PROBEPOINT_NO_UPROBE_MULTI=1 all_tests p
