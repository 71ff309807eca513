#!/bin/bash
# SPDX-License-Identifier: MIT
# Peers that lie, hang, flood or are somebody else; folders that are not the user's. The target notices nothing.
. tests/lib.sh
. tests/agent/lib.sh

agent_build simple
agent_build peer
S=s
target "$T/simple"
socket=$XDG_RUNTIME_DIR/probepoint/agents/$pid
poke arm $S 1 -p $pid "$T/simple" 'app:tick'
look >/dev/null
say "tick 10"
want "the socket's mode" 600 "$(stat -c %a "$socket")"

fds=$(ls /proc/$pid/fd)
"$T/peer" "$socket" 3 $$ || fail "the agent does not answer after bad questions"
say "tick 10"
want "counts" "hits 20 recorded 0 filtered 0 idle 20 lost 0" "$(counts 1)"
want "its descriptors" "$fds" "$(ls /proc/$pid/fd)"

# One that says nothing is sent away; who comes meanwhile gets his answer.
python3 - "$socket" "$T/hung" <<'P' &
import socket, sys, time
s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
s.connect(sys.argv[1])
open(sys.argv[2], "w").close()
time.sleep(60)
P
wait_for 10 test -e "$T/hung"
want "beside one that hangs" "segment 1 armed 1 pending 0 refused 0" "$(look)"

# Another user gets nothing, even where he can reach the socket.
if [ "$(id -u)" = 0 ]; then
	chmod 711 "$XDG_RUNTIME_DIR" "$XDG_RUNTIME_DIR/probepoint" "$XDG_RUNTIME_DIR/probepoint/agents"
	chmod 777 "$socket"
	nobody env XDG_RUNTIME_DIR="$XDG_RUNTIME_DIR" "$T/poke" look $pid $S >"$T/out" 2>&1 && fail "another user was served"
	chmod 700 "$XDG_RUNTIME_DIR" "$XDG_RUNTIME_DIR/probepoint" "$XDG_RUNTIME_DIR/probepoint/agents"
else
	part_skipped "another user at the socket needs root"
fi

# Others can write to the session's folder: it counts no more, and is disarmed.
chmod 777 "$XDG_RUNTIME_DIR/probepoint/$S"
look >/dev/null 2>&1
say "tick 10"
chmod 700 "$XDG_RUNTIME_DIR/probepoint/$S"
want "back again" "segment 1 armed 1 pending 0 refused 0" "$(look)"
say "tick 3"
want "what was not armed was not counted" "hits 3 recorded 0 filtered 0 idle 3 lost 0" "$(counts 1)"
target_end

# A state folder that is a link, or open to others: the agent sleeps, the program runs.
for bad in link open file; do
	rm -rf "$XDG_RUNTIME_DIR/probepoint" "$T/elsewhere"
	mkdir -m 700 "$T/elsewhere"
	case $bad in
	link) ln -s "$T/elsewhere" "$XDG_RUNTIME_DIR/probepoint" ;;
	open) mkdir -m 755 "$XDG_RUNTIME_DIR/probepoint" ;;
	file) : >"$XDG_RUNTIME_DIR/probepoint" ;;
	esac
	want "the program with a state folder that is bad ($bad)" ok "$(echo 'tick 5' | LD_PRELOAD=$AGENT "$T/simple")"
	want "nothing was made ($bad)" "" "$(find "$T/elsewhere" "$XDG_RUNTIME_DIR" -type s)"
done
