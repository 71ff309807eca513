#!/bin/bash
# SPDX-License-Identifier: MIT
# Waking and loading an agent do not stop a thread in a system call that would return a part of what was asked for. The
# agent's thread leaves a real-time policy of the thread that made it, and dlerror(3) keeps its message.
. tests/lib.sh
AGENT=$B/lib/libprobepoint-agent.so
[ -e "$AGENT" ] || skip "no agent was built"
need jq
build() { $CC -std=gnu17 -D_GNU_SOURCE -Wall -Wextra -O2 -pthread -Iinclude "$@" || fail "cannot build"; }

# ---- dlerror(3) ----
cat >"$T/dlerror.c" <<'C'
#include <dlfcn.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <unistd.h>
int main(void)
{
	dlopen("/none", RTLD_NOW);
	if (setuid(getuid()) || prctl(PR_GET_DUMPABLE) < 0)
		return 1;
	const char *text = dlerror();
	puts(text ? text : "nothing");
	return 0;
}
C
build -o "$T/dlerror" "$T/dlerror.c"
expect 0 "$T/dlerror"
want "dlerror() with the agent" "$out" "$(LD_PRELOAD=$AGENT "$T/dlerror")"

[ "$(uname -m)" = x86_64 ] || { part_skipped "agents are woken from outside on x86-64 only"; exit 0; }
build -o "$T/whole" tests/agent/whole.c

# ---- calls that would be cut short ----
run() { # HOW PRELOAD
	coproc TARGET { exec env ${2:+LD_PRELOAD="$2"} "$T/whole" "$1"; }
	pid=$TARGET_PID
	exec {to}>&"${TARGET[1]}" {from}<&"${TARGET[0]}"
	runs${2:+_agent} $pid "$T/whole"
}
stop() {
	exec {to}>&-
	eval "exec ${TARGET[1]}>&-"
	read -t $patience -r said <&"$from" || fail "the program does not reply"
	wait $pid
	exec {from}<&-
}
hits() { [ "$(probe-stat --json -s $S | jq '.probes[0].hits')" -gt 0 ]; }
for how in write send receive; do
	for preload in "$AGENT" ''; do
		inject=; [ "$preload" ] || inject=--inject
		# A thread can enter the call in the microseconds between the command's look at it and the stop: in about 1 % of the rounds
		# on a busy machine. Without the look it would be in the call in half of them.
		cut=0
		for ((round = 1; round <= 10; round++)); do
			run $how "$preload"
			# On a busy machine there may be no moment at which a thread can be stopped; the command then reports this.
			for try in 1 2 3 4 5; do
				probe-enable -q -b agent $inject -s $S -p $pid app:whole 2>"$T/err" && break
				grep -q 'would return early' "$T/err" || fail "$how: $(cat "$T/err")"
			done
			[ -s "$T/err" ] || wait_for 10 hits
			probe-disable -q -s $S 2>/dev/null
			stop
			want_like "$how" "made 1 short [01]" "$said"
			[ "$said" != "made 1 short 1" ] || cut=$((cut + 1))
			[ $cut != 0 ] || break
		done
		[ $cut = 0 ] || echo "$how ${inject:-woken}: a call was cut short in $cut of 10 rounds"
		[ $cut -lt 5 ] || fail "$how ${inject:-woken}: a call was cut short in $cut of 10 rounds"
	done
done

# ---- a real-time policy ----
cat >"$T/real.c" <<'C'
#include <sched.h>
#include <sys/probe.h>
#include <unistd.h>
int main(void)
{
	struct sched_param p = { .sched_priority = 1 };
	if (sched_setscheduler(0, SCHED_FIFO, &p))
		return 77;
	for (long i = 0;; i++) {
		STAP_PROBE1(app, real, i);
		usleep(1000);
	}
}
C
build -o "$T/real" "$T/real.c"
LD_PRELOAD=$AGENT "$T/real" & pid=$!
runs_agent $pid "$T/real"
is_real() { [ "$(awk '{ sub(/.*\) /, ""); print $39 }' "/proc/$pid/stat")" = 1 ]; }
for ((i = 0; i < 400; i++)); do is_real || ! kill -0 $pid 2>/dev/null && break; sleep 0.05; done
if is_real; then
	expect 0 probe-enable -q -b agent -s $S -p $pid app:real
	wait_for 10 hits
	for task in /proc/$pid/task/*; do
		[ "${task##*/}" = $pid ] || want "the policy of the agent's thread" 0 "$(awk '{ sub(/.*\) /, ""); print $39 }' "$task/stat")"
	done
	probe-disable -q -s $S
else
	part_skipped "a real-time policy: this user may not have one"
fi
