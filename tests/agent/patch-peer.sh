#!/bin/bash
# SPDX-License-Identifier: MIT
# Peers that lie, hang, flood or belong to another user, and directories that do not belong to the user. The target is
# not affected.
. tests/lib.sh
. tests/agent/lib.sh

agent_build simple
agent_build peer
S=s
target "$T/simple"
socket=$XDG_RUNTIME_DIR/probepoint/agents/$pid
poke arm $S 1 -p $pid "$T/simple" 'app:tick'
rescan >/dev/null
say "tick 10"
want "mode of the socket" 600 "$(stat -c %a "$socket")"

fds=$(ls /proc/$pid/fd)
"$T/peer" "$socket" 3 $$ || fail "the agent does not reply after malformed requests"
say "tick 10"
want "counts" "hits 20 recorded 0 filtered 0 idle 20 lost 0" "$(counts 1)"
want "the target's descriptors" "$fds" "$(ls /proc/$pid/fd)"

# A silent peer is disconnected. A peer that comes meanwhile gets its reply.
python3 - "$socket" "$T/hung" <<'P' &
import socket, sys, time
s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
s.connect(sys.argv[1])
open(sys.argv[2], "w").close()
time.sleep(60)
P
wait_for 10 test -e "$T/hung"
want "reply while another peer hangs" "attachment 1 armed 1 pending 0 refused 0" "$(rescan)"

# Another user gets no reply, even if the user can reach the socket.
if [ "$(id -u)" = 0 ]; then
	chmod 711 "$XDG_RUNTIME_DIR" "$XDG_RUNTIME_DIR/probepoint" "$XDG_RUNTIME_DIR/probepoint/agents"
	chmod 777 "$socket"
	nobody env XDG_RUNTIME_DIR="$XDG_RUNTIME_DIR" "$T/poke" rescan $pid $S >"$T/out" 2>&1 && fail "another user was served"
	chmod 700 "$XDG_RUNTIME_DIR" "$XDG_RUNTIME_DIR/probepoint" "$XDG_RUNTIME_DIR/probepoint/agents"
else
	part_skipped "another user at the socket needs root"
fi

# Other users can write to the session's directory: it is invalid, and its points are disarmed.
chmod 777 "$XDG_RUNTIME_DIR/probepoint/$S"
rescan >/dev/null 2>&1
say "tick 10"
chmod 700 "$XDG_RUNTIME_DIR/probepoint/$S"
want "armed after the directory is valid again" "attachment 1 armed 1 pending 0 refused 0" "$(rescan)"
say "tick 3"
want "hits while disarmed are not counted" "hits 3 recorded 0 filtered 0 idle 3 lost 0" "$(counts 1)"
target_end

# A state directory that is a link, or writable by others: the agent sleeps, the program runs.
for bad in link open file; do
	rm -rf "$XDG_RUNTIME_DIR/probepoint" "$T/elsewhere"
	mkdir -m 700 "$T/elsewhere"
	case $bad in
	link) ln -s "$T/elsewhere" "$XDG_RUNTIME_DIR/probepoint" ;;
	open) mkdir -m 755 "$XDG_RUNTIME_DIR/probepoint" ;;
	file) : >"$XDG_RUNTIME_DIR/probepoint" ;;
	esac
	want "output with an invalid state directory ($bad)" ok "$(echo 'tick 5' | LD_PRELOAD=$AGENT "$T/simple")"
	want "sockets with an invalid state directory ($bad)" "" "$(find "$T/elsewhere" "$XDG_RUNTIME_DIR" -type s)"
done
