# SPDX-License-Identifier: MIT
# For tests/agent/*.sh, behind tests/lib.sh: programs are built in $T.

AGENT=$B/lib/libprobepoint-agent.so
[ -e "$AGENT" ] || skip "no agent was built"

# agent_build NAME [FLAGS...]: tests/agent/NAME.c
agent_build() {
	$CC -std=gnu17 -D_GNU_SOURCE -Wall -Wextra -O2 -g -pthread -Iinclude -I. -o "$T/$1" "tests/agent/$1.c" "${@:2}" ||
		fail "cannot build $1"
}
agent_build poke ${SAN:+-fsanitize=$SAN} "$B/lib/libprobepoint.a" $(pkg-config --libs libelf libbpf json-c) -lZydis -lstdc++
poke() { "$T/poke" "$@"; }

# has_agent PID: its agent can be woken, or is awake.
has_agent() { grep -q '/libprobepoint-agent\.so$' "/proc/$1/maps" 2>/dev/null; }

# target COMMAND...: runs under the agent, which listens from the start, since poke wakes nobody; say LINE then tells it something and leaves its answer in $said.
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
	while read -t 120 -r line <&"$from"; do
		[ "$line" = ok ] && return
		said+=${said:+$'\n'}$line
	done
	fail "the target does not answer \"$1\" any more: $said"
}
target_end() {
	echo exit >&"$to"
	wait "$pid"
	want "the target's end" 0 $?
}
look() { poke look "$pid" "$S"; }
counts() { poke counts "$pid" "$S" "$1"; }
field() { sed -n "s/.*\b$1 \([0-9]*\).*/\1/p" <<<"$2"; }
# reads MS [quiet]: a reader in the background, once it has begun; its records go to $T/records, and `wait $reader`.
reads() {
	rm -f "$T/ready"
	POKE_READY=$T/ready "$T/poke" read "$pid" "$S" "$@" >"$T/records" & reader=$!
	wait_for 10 test -e "$T/ready"
}
