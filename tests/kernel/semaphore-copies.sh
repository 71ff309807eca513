#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# The kernel raises one copy of a semaphore per process. Other copies that the text reads are raised by hand and lowered
# again: of a library that is loaded three times, and of a program whose semaphore shares a page with RELRO.
. tests/lib.sh
. tests/kernel/lib.sh
need_kernel
at_end "probe-disable -q -s $S 2>/dev/null; probe-disable -q -s ${S}b 2>/dev/null"

cat >"$T/hit.h" <<'C'
#include <stdio.h>
#include <stdlib.h>
#define _SDT_HAS_SEMAPHORES 1
#include <sys/sdt.h>
C
cat >"$T/lib.c" <<'C'
#include "hit.h"
unsigned short copies_p_semaphore __attribute__((section(".probes"), used));
int hit(int n, int add)
{
	for (int i = 0; i < n; i++)
		if (*(volatile unsigned short *)&copies_p_semaphore)
			STAP_PROBE1(copies, p, i);
	return copies_p_semaphore += add;
}
C
# "N ADD": each copy's text passes the probe N times, and adds ADD to its semaphore, as another tool would. Answers with the
# semaphores in the order of their addresses.
cat >"$T/three.c" <<'C'
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
int main(int argc, char **argv)
{
	int (*hit[3])(int, int), n, add;
	for (int i = 0; i < 3; i++) {
		void *lib = dlmopen(i ? LM_ID_NEWLM : LM_ID_BASE, argv[argc - 1], RTLD_NOW);
		if (!lib)
			return puts(dlerror()), 1;
		hit[i] = (int (*)(int, int))dlsym(lib, "hit");
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	while (scanf("%d %d", &n, &add) == 2) {
		int value[3];
		for (int i = 0; i < 3; i++)
			value[i] = hit[i](n, add);
		printf("%d %d %d\n", value[0] != 0, value[1] != 0, value[2] != 0);
	}
	return 0;
}
C
cat >"$T/one.c" <<'C'
#include "lib.c"
int main(void)
{
	int n, add;
	setvbuf(stdout, NULL, _IOLBF, 0);
	while (scanf("%d %d", &n, &add) == 2)
		printf("%d\n", hit(n, add));
	return 0;
}
C
build_once "$T/libcopies.so" "$CC" -O1 -Iinclude -fPIC -shared "$T/lib.c" && build_once "$T/three" "$CC" -O1 "$T/three.c" || fail "does not build"

# ---- three copies ----

mkfifo "$T/in" "$T/out"
"$T/three" "$T/libcopies.so" <"$T/in" >"$T/out" &
pid=$!
exec {in}>"$T/in" {reply}<"$T/out"
ask "1 0"
want "the copies before" "0 0 0" "$answer"
expect 0 probe-enable --json -s $S -p $pid copies:p
want "armed and verified" true "$(jq '.armed[0].verified' <<<"$out")"
ask "100 0"
want "the copies, armed" "1 1 1" "$answer"
want "hits" 300 "$(count $S copies:p)"
# another session raises them again, and lowers them by the same number
expect 0 probe-enable -q -s ${S}b -p $pid copies:p
expect 0 probe-disable -q -s ${S}b
ask "10 0"
want "the copies, after the other session" "1 1 1" "$answer"
want "hits" 330 "$(count $S copies:p)"
# another tool does so too
ask "0 1"
expect 0 probe-disable -q -s $S
ask "0 0"
want "copies after another tool raised them" "1 1 1" "$answer"
ask "0 -1"
want "the copies at the end" "0 0 0" "$answer"
gone $S
# a killed private session: only its guard process can lower them
tracing "$T/trace" -p $pid copies:p
ask "5 0"
want "the copies, traced" "1 1 1" "$answer"
kill -KILL $tracer
wait $tracer 2>/dev/null
lowered() { ask "0 0"; [ "$answer" = "0 0 0" ]; }
wait_for 20 lowered
# a private session that ends normally
tracing "$T/trace" -p $pid copies:p
kill -INT $tracer
wait $tracer
ask "0 0"
want "the copies after a trace" "0 0 0" "$answer"
# a killed owner: the next command lowers them
expect 0 probe-enable -q -s $S --for 1h -p $pid copies:p
ask "0 0"
want "the copies, held" "1 1 1" "$answer"
kill -KILL "$(pgrep -f -- "probe-enable -q -s $S --for")"
wait_for 20 no_session $S
wait_for 20 lowered
exec {in}>&- {reply}<&-
wait $pid || fail "the target ended with $?"
rm "$T/in" "$T/out"

# ---- RELRO's page ----

have ld.lld || { part_skipped "RELRO's page: needs ld.lld"; exit 0; }
"$CC" -fuse-ld=lld -O1 -Iinclude "$T/one.c" -o "$T/one" || { part_skipped "RELRO's page: $CC cannot use ld.lld"; exit 0; }
# The byte of the site, in any mapping.
trap_bytes() {
	local offset start
	offset=$(probe-list --json "$T/one" | jq '.probes[0].sites[0].offset')
	while read -r start; do
		dd if=/proc/$pid/mem bs=1 skip=$((0x${start%-*} + offset)) count=1 2>/dev/null | od -An -tx1
	done < <(awk -v f="$T/one" '$6 == f && $2 ~ /x/ { print $1 }' /proc/$pid/maps) | xargs
}
bye() { exec {in}>&- {reply}<&-; wait $pid || fail "the target ended with $?"; rm -f "$T/in" "$T/out"; }
raised() { ask "0 0"; [ "$answer" -gt 0 ]; }

expect 0 probe-enable -s $S -f "$T/one" copies:p
want_like "the report names the semaphore owner" "*shares a page with RELRO: process * raises it*" "$out"
owner=$(grep -o 'process [0-9]*' <<<"$out" | cut -d' ' -f2)
converse "$T/one"
wait_for 20 raised
ask "100 0"
want "hits of a process that starts later" 100 "$(count $S copies:p)"
want "the byte of the site" cc "$(trap_bytes)"
expect 0 probe-disable -q -s $S
want "the byte after disarming" 90 "$(trap_bytes)"
ask "100 0"
want "its semaphore afterwards" 0 "$answer"
wait_for 20 eval '! kill -0 $owner 2>/dev/null'
bye
# Without the semaphore owner it is not raised. The kernel, which lowers it, must still remove its breakpoint.
expect 0 probe-enable -s $S -f "$T/one" copies:p
kill -KILL "$(grep -o 'process [0-9]*' <<<"$out" | cut -d' ' -f2)"
converse "$T/one"
ask "100 0"
want "the semaphore without an owner" 0 "$answer"
expect 0 probe-disable -q -s $S
want "the byte after disarming without an owner" 90 "$(trap_bytes)"
ask "100 0"
want "its semaphore afterwards" 0 "$answer"
bye
# a command: its first hit counts, and it continues after the probe is disarmed
mkfifo "$T/in" "$T/out"
# A shell executes it.
probe-enable -q -s $S -f "$T/one" copies:p -- sh -c 'trap : USR1; kill -USR1 $$; exec "$1"' sh "$T/one" <"$T/in" >"$T/out" &
command=$!
exec {in}>"$T/in" {reply}<"$T/out"
ask "100 0"
want "hits of a command" 100 "$(count $S copies:p)"
pid=$(pgrep -P $command)
want "tracer of the command" 0 "$(awk '/TracerPid/ { print $2 }' /proc/$pid/status)"
expect 0 probe-disable -q -s $S
want "the byte after disarming a command" 90 "$(trap_bytes)"
ask "1 0"
want "its semaphore afterwards" 0 "$answer"
exec {in}>&- {reply}<&-
wait $command || fail "the command ended with $?"
gone $S
