# SPDX-License-Identifier: MIT
# For tests/agent/*.sh, after tests/lib.sh. Programs are built in $T.

AGENT=$B/lib/libprobepoint-agent.so
[ -e "$AGENT" ] || skip "no agent was built"

# agent_build NAME [FLAGS...]: builds tests/agent/NAME.c
agent_build() {
	build_once "$T/$1" $CC -std=gnu17 -D_GNU_SOURCE -Wall -Wextra -O2 -g -pthread -Iinclude -I. "tests/agent/$1.c" "${@:2}" ||
		fail "cannot build $1"
}
agent_build poke ${SAN:+-fsanitize=$SAN} "$B/lib/libprobepoint.a" $(pkg-config --libs $(pkg-config --exists libdw && echo libdw) libelf libbpf json-c) -lZydis -lstdc++
poke() { "$T/poke" "$@"; }

# has_agent PID: whether the process has an agent, asleep or awake
has_agent() { grep -q '/libprobepoint-agent\.so$' "/proc/$1/maps" 2>/dev/null; }

# target COMMAND...: starts it with the agent, which listens from the start because poke does not wake agents.
# say LINE: sends a line to the target and stores its reply in $said.
under_agent() { exec env LD_PRELOAD="$AGENT" PROBEPOINT_LISTEN=1 "$@"; }
target() {
	coproc TARGET { under_agent "$@"; }
	pid=$TARGET_PID
	exec {to}>&"${TARGET[1]}" {from}<&"${TARGET[0]}"
	wait_for 20 test -S "$XDG_RUNTIME_DIR/probepoint/agents/$pid"
}
say() {
	local line
	said=
	echo "$1" >&"$to"
	while read -t $patience -r line <&"$from"; do
		[ "$line" = ok ] && return
		said+=${said:+$'\n'}$line
	done
	fail "the target does not reply to \"$1\" any more: $said"
}
target_end() {
	echo exit >&"$to"
	wait "$pid"
	want "exit status of the target" 0 $?
}
rescan() { poke rescan "$pid" "$S"; }
counts() { poke counts "$pid" "$S" "$1"; }
field() { sed -n "s/.*\b$1 \([0-9]*\).*/\1/p" <<<"$2"; }
# reads MS [quiet]: starts a reader and waits until it has begun. Its records go to $T/records. `wait $reader` waits for its
# end; `kill $reader` lets it read the last records and end.
reads() {
	rm -f "$T/ready"
	POKE_READY=$T/ready "$T/poke" read "$pid" "$S" "$@" >"$T/records" & reader=$!
	wait_for 10 test -e "$T/ready"
}
