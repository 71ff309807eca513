#!/bin/bash
# SPDX-License-Identifier: MIT
# What a hit of an agent's point costs, against rdtsc and one store of 32 bytes in the same loop.
# Needs B, the build folder. Figures are the least of five rounds; ratios are what to look at.

set -u
cd "$(dirname "$0")/.." || exit 1
B=$(realpath -m "${B:-build}")
T=$(mktemp -d) || exit 1
trap 'rm -rf "$T"' EXIT
export XDG_RUNTIME_DIR=$T/run
mkdir -m 700 "$XDG_RUNTIME_DIR"
libs="$(pkg-config --libs libelf libbpf json-c) -lZydis -lstdc++"
${CC:-gcc} -std=gnu17 -D_GNU_SOURCE -O2 -Iinclude -I. -o "$T/poke" tests/agent/poke.c "$B/lib/libprobepoint.a" $libs || exit 1
${CC:-gcc} -std=gnu17 -D_GNU_SOURCE -O2 -pthread -Iinclude -o "$T/bench" bench/agent.c || exit 1

coproc P { export LD_PRELOAD=$B/lib/libprobepoint-agent.so; exec "$T/bench"; }
pid=$P_PID
ask() { echo "$*" >&"${P[1]}"; read -r answer <&"${P[0]}"; }
least() {
	local best= i
	for i in 1 2 3 4 5; do
		ask "$@"
		if [ -z "$best" ] || [ "$(echo "$answer < $best" | bc)" = 1 ]; then best=$answer; fi
	done
	answer=$best
}
row() {
	printf '%-44s %8.2f ns  %6.2f x\n' "$1" "$answer" "$(echo "scale=3; $answer / $floor" | bc)"
}
arm() { "$T/poke" arm bench 1 "${@:2}" -p $pid "$T/bench" "$1" ${filter:+"$filter"} && "$T/poke" look $pid bench >"$T/look"; }
disarm() { "$T/poke" drop bench 1; "$T/poke" look $pid bench >/dev/null; }
recording() {
	"$T/poke" read $pid bench 600000 q >"$T/read" &
	reader=$!
	sleep 0.1
}
N=2000000
filter=
ask floor $N
least floor $N; floor=$answer
row "floor: rdtsc and a store of 32 bytes"
least hit base $N; row "a call of an empty function"
least hit two $N; row "not armed"
arm bench:two
least hit two $N; row "2 integers, idle"
# A ring holds so many; a reader empties it between the rounds.
"$T/poke" read $pid bench 1 q >/dev/null
recording
for n in 5000; do
	best=
	for i in {1..200}; do
		ask hit two $n
		if [ -z "$best" ] || [ "$(echo "$answer < $best" | bc)" = 1 ]; then best=$answer; fi
		sleep 0.002
	done
	answer=$best
done
row "2 integers, recorded"
kill $reader; wait $reader 2>/dev/null
"$T/poke" counts $pid bench 1
disarm
filter='arg0 < 0'
arm bench:two; least hit two $N; row "2 integers, filter rejects"; disarm
filter=
arm bench:two; "$T/poke" read $pid bench 1 q >/dev/null
ask pair $N; echo "two threads, idle: $answer x one"; disarm
for where in stack image heap; do
	arm bench:text
	recording
	best=
	for i in {1..200}; do
		ask hit text_$where 2000
		if [ -z "$best" ] || [ "$(echo "$answer < $best" | bc)" = 1 ]; then best=$answer; fi
		sleep 0.002
	done
	answer=$best
	kill $reader; wait $reader 2>/dev/null
	row "a string of 16 bytes, $where"
	"$T/poke" counts $pid bench 1
	disarm
done
arm bench:load; recording
ask hit load 2000; ask hit load 2000; kill $reader; wait $reader 2>/dev/null; row "an integer on the heap"
disarm
