#!/bin/bash
# SPDX-License-Identifier: MIT
# first
# Loading the agent is given up because the loader does not return, or killed by SIGKILL at every step. The process
# continues with its whole state, and the next command reaches its agent.
. tests/lib.sh
. tests/agent/lib.sh
need jq
[ "$(uname -m)" = x86_64 ] || skip "agents are loaded into running processes on x86-64 only"

agent_build host
build_once "$T/mortal.so" $CC -std=gnu17 -D_GNU_SOURCE -Wall -Wextra -O2 -shared -fPIC tests/agent/mortal.c || fail "cannot build mortal"
hits() { probe-stat --json -s $S | jq "[.probes[] | select(.pid == $1).hits] | add // 0"; }
declare -A pids ends
begin() { # WAY [LIBRARY]
	mkfifo "$T/in.$1"
	: >"$T/out.$1"
	(
		for to in "${ends[@]}"; do exec {to}>&-; done # the others' ends
		exec "$T/host" "$@" <"$T/in.$1" >"$T/out.$1" 2>&1
	) & pids[$1]=$!
	exec {to}>"$T/in.$1"
	rm "$T/in.$1"
	ends[$1]=$to
	wait_for 30 grep -q ready "$T/out.$1"
}
end() {
	to=${ends[$1]}
	exec {to}>&-
	wait ${pids[$1]} || fail "$2 ends with $?: $(cat "$T/out.$1")"
	unset "ends[$1]"
	want_like "output of $2" "*right *" "$(cat "$T/out.$1")"
}
injected() { timeout 60 probe-enable --inject -q -s $S -p $1 host:beat >"$T/said.injected" 2>&1; }
at_end 'cat "$T/said.injected"' # the reason, if the test fails because of it
arms() { # WAY WHAT: no process traces it any more, and its agent can arm and disarm
	local pid=${pids[$1]}
	wait_for 30 eval "! grep -q 'TracerPid:.*[1-9]' /proc/$pid/task/*/status"
	wait_for 120 injected $pid
	case $1 in read) printf abcdef >&${ends[$1]} ;; esac
	wait_for 30 eval "[ \"\$(hits $pid)\" -gt 2 ]"
	probe-disable -q -s $S -p $pid || fail "$2 cannot be disarmed"
}

# ---- the loader does not return ----

echo '#include <stdio.h>
#include <unistd.h>
__attribute__((constructor)) static void begin(void)
{ puts("loading"); while (access("'"$T"'/go", F_OK)) for (volatile long k = 0; k < 100000; k++) ; }' |
	$CC -O1 -xc -shared -fPIC -o "$T/slow.so" - || fail "not a library"
ways=(vector sleep read futex) asks=()
for way in "${ways[@]}"; do
	begin $way "$T/slow.so"
	wait_for 30 grep -q loading "$T/out.$way"
	timeout 60 probe-enable --inject -s $S -p ${pids[$way]} host:beat >"$T/said.$way" 2>&1 & asks[${#asks[@]}]=$!
done
for i in "${!ways[@]}"; do
	wait ${asks[i]}
	want "${ways[i]}: status" 1 $?
	want_like ${ways[i]} "*pid ${pids[${ways[i]}]}: loading the agent has not finished after 5 seconds; it continues*" \
		"$(cat "$T/said.${ways[i]}")"
done
touch "$T/go"
for way in "${ways[@]}"; do
	wait_for 30 has_agent ${pids[$way]} # without the controller
	arms $way "$way, late"
	end $way "$way, late"
done

# ---- killed at each step, and at any moment ----

killed() { # WAY WHAT COMMAND...
	local way=$1 what="$1, killed $2"
	begin $way
	shift 2
	"$@" probe-enable --inject -q -s $S -p ${pids[$way]} host:beat >"$T/said" 2>&1
	arms $way "$what"
	end $way "$what"
}
mortal() { timeout 60 env MORTAL_STEP=$1 MORTAL_COUNT="$T/steps" LD_PRELOAD="$T/mortal.so" "${@:2}"; }
stepped=(vector read)
[ -z "${SAN-}" ] || {
	part_skipped "at each step: the sanitizer and the library that kills must both be loaded first"
	stepped=()
}
for way in "${stepped[@]}"; do
	killed $way "never" mortal 0
	steps=$(cat "$T/steps")
	[ "$steps" -gt 60 ] || fail "only $steps steps"
	if [ "${PROBEPOINT_LONG-}" ]; then
		at=($(seq 1 $steps))
	else
		at=($(seq $((7 + RANDOM % 4)) 4 19) $(shuf -n 2 -i 20-$((steps - 20))) $(seq $((steps - 12 - RANDOM % 4)) 4 $steps))
	fi
	for n in "${at[@]}"; do killed $way "at step $n of $steps" mortal $n; done
done

moment() { # until it is killed, in ms
	local ms=$1
	"${@:2}" & local asks=$!
	sleep $(printf '0.%03d' $ms)
	kill -KILL $asks 2>/dev/null
	wait $asks 2>/dev/null
}
[ "${PROBEPOINT_LONG-}" ] && times=300 || times=5
ways=(vector sleep read futex spin)
for ((i = 0; i < times; i++)); do
	ms=$((RANDOM % 120))
	killed ${ways[i % 5]} "after $ms ms" moment $ms
done
