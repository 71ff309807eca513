#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# --for and --until-exit: the points are disarmed when the owner process ends, however it ends.
. tests/lib.sh
. tests/kernel/lib.sh
need_kernel
build_hits
at_end "probe-disable -q -s $S 2>/dev/null"
start a
clean=$(site_bytes $a)
# over: the bytes are the original ones, the session is removed, and the owner has ended
ended() { case $(ps -o stat= -p "$1") in '' | Z*) ;; *) false ;; esac; } # its parent may have ended without waiting for it
over() { [ "$(site_bytes $a)" = "$clean" ] && no_session "$S" && ended "$owner"; }
hold() {
	expect 0 probe-enable "$@"
	owner=$(pgrep -n -r S,R,D -f "^probe-enable .*$S ") || fail "\"$*\": no owner process"
	[ "$(site_bytes $a)" != "$clean" ] || fail "\"$*\": not armed"
}

hold -s $S --for $((slow > 1 ? 60 : 5))s -p $a 'k:*'
wait_for 60 over
gone $S
tell a "run 1 1000"

hold -s $S --for 1h -p $a 'k:*'
tell a "run 1 1000"
want "hits while it is held" 1000 "$(count $S k:one)"
sessions | grep -qx $S || fail "not listed"
ls "/sys/fs/bpf/probepoint/$S" | grep -qE '^(even|odd)' && fail "links are pinned: $(ls "/sys/fs/bpf/probepoint/$S")"
# other commands inspect the session, disarm a part, arm more, and disarm all
tell a "run 1 10"
expect 0 probe-disable -s $S k:two k:three
want "rows of the disarmed part" 0 "$(probe-stat --json -s $S | jq '[.probes[] | select(.probe == "k:two" or .probe == "k:three")] | length')"
tell a "run 1 10"
want "hits of the rest" 1020 "$(count $S k:one)"
adds_up $S
expect 0 probe-enable -s $S -p $a k:two
tell a "run 1 5"
want "hits of the added probe" 5 "$(count $S k:two)"
expect 0 probe-disable -s $S
wait_for 10 over
gone $S

# killed: nothing is armed any more, and the next command removes the rest
hold -s $S --for 1h -p $a 'k:*'
kill -KILL $owner
disarmed() { [ "$(site_bytes $a)" = "$clean" ]; }
wait_for 10 disarmed
wait_for 10 no_session $S
gone $S
tell a "run 1 10"
# other points of the session stay armed
expect 0 probe-enable -s $S -p $a k:two
hold -s $S --for 1h -p $a 'k:*'
kill -KILL $owner
wait_for 10 eval '[ "$(probe-stat --json -s $S | jq -c "[.probes[].probe]")" = "[\"k:two\"]" ]'
tell a "run 1 3"
want "hits of the point that stays" 3 "$(count $S k:two)"
expect 0 probe-disable -s $S
gone $S
# ended by a signal
hold -s $S --for 1h -p $a 'k:*'
kill -TERM $owner
wait_for 10 over
gone $S

# ended by the end of the target, or of another process
start b
hold -s $S --until-exit -p $b -p $a 'k:*'
tell b "run 1 7"
want "hits of both targets" 7 "$(count $S k:one)"
stop b
sleep 0.2
sessions | grep -qx $S || fail "it ended with the first of two targets"
expect 0 probe-disable -s $S
wait_for 10 over
sleep 1000 &
other=$!
hold -s $S --until-exit=$other -p $a 'k:*'
kill $other
wait_for 10 over
gone $S
# with a command
expect 0 probe-enable -q -s $S --until-exit 'k:*' -- "$T/hits" <<<end
wait_for 10 no_session $S
gone $S
expect 125 probe-enable -q -s $S --for 10s k:no_such_probe -- "$T/hits" <<<end
gone $S
expect 1 probe-enable -s $S --for 10s -p $a k:no_such_probe
expect 2 probe-enable -s $S --for 10x -p $a 'k:*'
expect 2 probe-enable -s $S --until-exit -f "$T/hits" 'k:*'
expect 2 probe-enable -s $S --until-exit=4294967297 -p $a 'k:*'
for gone in "--until-exit=4194303 -p $a" "--until-exit -p $a -p 4194303"; do
	expect 1 probe-enable -s $S $gone 'k:*'
	want "a process that does not exist ($gone)" "probe-enable: pid 4194303: cannot open the process: No such process" "$out"
done
expect 0 probe-enable --json -s $S --for 300ms -p $a 'k:*'
want "JSON" "$S" "$(json .session <<<"$out" | tr -d '"')"
owner=
no_more() { no_session $S; }
wait_for 10 no_more
want "bytes at the end" "$clean" "$(site_bytes $a)"
stop a
