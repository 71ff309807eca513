#!/bin/bash
# SPDX-License-Identifier: MIT
# A child that was forked while the agent of its parent was in the middle of a change: it runs, its hits do nothing, and the agent
# refuses to arm with the reason. The parent counts as before.
. tests/lib.sh
. tests/agent/lib.sh
need jq
need nm
symbol=$(nm "$AGENT" 2>/dev/null | sed -n 's/^\([0-9a-f]*\) b changing$/\1/p')
[ "$symbol" ] || skip "the agent has no symbols"
cat >"$T/forker.c" <<'E2'
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/probe.h>
#include <unistd.h>

__attribute__((noipa)) static void hit(int i)
{
	STAP_PROBE1(app, hit, i);
}

int main(void)
{
	char line[32];

	while (fgets(line, sizeof(line), stdin) && strncmp(line, "exit", 4)) {
		bool forks = !strncmp(line, "fork", 4);
		int fds[2];
		pid_t pid = !forks || pipe(fds) ? 0 : fork();

		for (int i = 0; i < 3; i++)
			hit(i);
		if (forks && !pid)
			return write(fds[1], "x", 1) != 1 || pause();
		if (forks && read(fds[0], line, 1) != 1) /* until the child has hit */
			return 1;
		printf("%d\nok\n", pid);
		fflush(stdout);
	}
	return 0;
}
E2
"$CC" -O2 -Iinclude "$T/forker.c" -o "$T/forker" || fail "forker.c does not build"

target "$T/forker"
expect 0 probe-enable -q -s $S -b agent --children -p $pid app:hit
say fork
whole=$said
# `changing` says that a change is under way. The fork waits for its end, for a second.
base=$((0x$(awk '/libprobepoint-agent/ { sub("-.*", "", $1); print $1; exit }' /proc/$pid/maps)))
printf '\1' | dd of=/proc/$pid/mem bs=1 seek=$((base + 0x$symbol)) conv=notrunc 2>/dev/null || skip "cannot write to the process"
say fork
half=$said
printf '\0' | dd of=/proc/$pid/mem bs=1 seek=$((base + 0x$symbol)) conv=notrunc 2>/dev/null
say hit
want "hits of the parent and of the first child" 12 "$(probe-stat --json -s $S | jq '[.probes[].hits] | add')"
wait_for 10 grep -q '^State:.S' /proc/$half/status # it is in pause(2), and has not crashed
expect 1 probe-enable -s ${S}b -b agent -p $half app:hit
want_like "the reason" "*pid $half*was forked while the agent of its parent was changing what is armed*" "$out"
expect 0 probe-enable -q -s ${S}b -b agent -p $whole app:hit
kill -KILL $half $whole
expect 0 probe-disable -q -s ${S}b
expect 0 probe-disable -q -s $S
target_end
