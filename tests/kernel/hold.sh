#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# --for and --until-exit: what is armed ends by itself, with whatever becomes of the process that holds it.
. tests/lib.sh
. tests/kernel/lib.sh
need_kernel
build_hits
at_end "probe-disable -q -s $S 2>/dev/null"
start a
clean=$(site_bytes $a)
# bytes back, session gone, nobody left who held it
ended() { case $(ps -o stat= -p "$1") in '' | Z*) ;; *) false ;; esac; } # nobody may be there to wait for it
over() { [ "$(site_bytes $a)" = "$clean" ] && no_session "$S" && ended "$holder"; }
hold() {
	expect 0 probe-enable "$@"
	holder=$(pgrep -n -r S,R,D -f "^probe-enable .*$S ") || fail "\"$*\": nobody holds it"
	[ "$(site_bytes $a)" != "$clean" ] || fail "\"$*\": not armed"
}

hold -s $S --for 6s -p $a 'k:*'
tell a "run 1 1000"
want "counted meanwhile" 1000 "$(count $S k:one)"
sessions | grep -qx $S || fail "not listed"
ls "/sys/fs/bpf/probepoint/$S" | grep -qE '^(even|odd)' && fail "links are pinned: $(ls "/sys/fs/bpf/probepoint/$S")"
wait_for 60 over
gone $S
tell a "run 1 1000"

hold -s $S --for 1h -p $a 'k:*'
# others look, take out a part, add to it, and take out all
tell a "run 1 10"
expect 0 probe-disable -s $S k:two k:three
want "a part is out" 0 "$(probe-stat --json -s $S | jq '[.probes[] | select(.probe == "k:two" or .probe == "k:three")] | length')"
tell a "run 1 10"
want "the rest counts on" 20 "$(count $S k:one)"
adds_up $S
expect 0 probe-enable -s $S -p $a k:two
tell a "run 1 5"
want "what was added" 5 "$(count $S k:two)"
expect 0 probe-disable -s $S
wait_for 10 over
gone $S

# killed: nothing is armed any more, and the next look removes the rest
hold -s $S --for 1h -p $a 'k:*'
kill -KILL $holder
disarmed() { [ "$(site_bytes $a)" = "$clean" ]; }
wait_for 10 disarmed
wait_for 10 no_session $S
gone $S
tell a "run 1 10"
# beside what is kept otherwise, that alone stays
expect 0 probe-enable -s $S -p $a k:two
hold -s $S --for 1h -p $a 'k:*'
kill -KILL $holder
wait_for 10 eval '[ "$(probe-stat --json -s $S | jq -c "[.probes[].probe]")" = "[\"k:two\"]" ]'
tell a "run 1 3"
want "stays" 3 "$(count $S k:two)"
expect 0 probe-disable -s $S
gone $S
# asked to end
hold -s $S --for 1h -p $a 'k:*'
kill -TERM $holder
wait_for 10 over
gone $S

# with the target's end, or another's
start b
hold -s $S --until-exit -p $b -p $a 'k:*'
tell b "run 1 7"
want "of both" 7 "$(count $S k:one)"
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
# a command
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
	want "who is gone ($gone)" "probe-enable: process 4194303: No such process" "$out"
done
expect 0 probe-enable --json -s $S --for 300ms -p $a 'k:*'
want "JSON" "$S" "$(json .session <<<"$out" | tr -d '"')"
holder=
no_more() { no_session $S; }
wait_for 10 no_more
want "bytes at the end" "$clean" "$(site_bytes $a)"
stop a
