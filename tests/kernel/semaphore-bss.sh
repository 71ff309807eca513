#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# A semaphore in .bss is not in the file, so the kernel cannot raise it. It is raised by hand in running processes, in
# forks, and in processes that start or load the file later, and lowered in all of them. A variable that may not be the
# semaphore is never written.
. tests/lib.sh
. tests/kernel/lib.sh
need_kernel
at_end "probe-disable -q -s $S 2>/dev/null; probe-disable -q -s ${S}b 2>/dev/null"

cat >"$T/lib.c" <<'C'
#define _SDT_HAS_SEMAPHORES 1
#include <sys/sdt.h>
unsigned short bss_p_semaphore;
#ifdef LYING
/* The same note with another variable: one byte of that name, or another name. */
unsigned char bss_byte_semaphore[1];
unsigned short another;
#undef STAP_PROBE1
#define NOTE(name, at) __asm__ volatile("990: nop\n.pushsection .note.stapsdt,\"\",\"note\"\n.balign 4\n" \
	".4byte 992f-991f, 994f-993f, 3\n991: .asciz \"stapsdt\"\n992: .balign 4\n993: .8byte 990b, 0, " at "\n" \
	".asciz \"bss\"\n.asciz \"" name "\"\n.asciz \"\"\n994: .balign 4\n.popsection")
#define STAP_PROBE1(a, b, c) do { NOTE("byte", "bss_byte_semaphore"); NOTE("other", "another"); } while (0)
#endif
int hit(int n, int add)
{
	for (int i = 0; i < n; i++)
		if (*(volatile unsigned short *)&bss_p_semaphore)
			STAP_PROBE1(bss, p, i);
	return bss_p_semaphore += add;
}
C
# "N ADD": passes the probe N times and answers with the semaphore. N -1: a fork, which is created if it does not exist,
# answers for 0 times; -2: the fork ends; -3: loads the library; -4: unloads it.
cat >"$T/one.c" <<'C'
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
#ifdef LOADS
static int (*hit)(int, int);
#else
int hit(int n, int add);
#endif
int main(int argc, char **argv)
{
	int n, add, to[2], from[2], answer;
	pid_t child = 0;
	void *lib = NULL;
	setvbuf(stdout, NULL, _IOLBF, 0);
	while (scanf("%d %d", &n, &add) == 2) {
		if (n == -1) {
			if (!child && !pipe(to) && !pipe(from) && !(child = fork())) {
				while (read(to[0], &n, sizeof(n)) == sizeof(n) && n == -1) {
					answer = hit(0, 0);
					if (write(from[1], &answer, sizeof(answer)) < 0)
						break;
				}
				_exit(0);
			}
			if (write(to[1], &n, sizeof(n)) < 0 || read(from[0], &answer, sizeof(answer)) < 0)
				return 1;
		} else if (n == -2) {
			if (write(to[1], &n, sizeof(n)) < 0)
				return 1;
			waitpid(child, NULL, 0);
			child = answer = 0;
#ifdef LOADS
		} else if (n == -3) {
			answer = !(lib = dlopen(argv[1], RTLD_NOW)) || !(hit = (int (*)(int, int))dlsym(lib, "hit"));
		} else if (n == -4) {
			answer = dlclose(lib);
#endif
		} else {
			answer = hit(n, add);
		}
		printf("%d\n", answer);
	}
	return argc + !argv + !lib < 0;
}
C
build_once "$T/one" "$CC" -O1 -Iinclude "$T/lib.c" "$T/one.c" &&
	build_once "$T/libbss.so" "$CC" -O1 -Iinclude -fPIC -shared "$T/lib.c" &&
	build_once "$T/loads" "$CC" -O1 -DLOADS "$T/one.c" &&
	build_once "$T/lying" "$CC" -O1 -fno-pie -no-pie -DLYING -Iinclude "$T/lib.c" "$T/one.c" ||
	fail "does not build"
bye() { exec {in}>&- {reply}<&-; wait $pid || fail "the target ended with $?"; rm -f "$T/in" "$T/out"; }
says() { ask "$1"; want "$2" "$3" "$answer"; }
raised() { ask "0 0"; [ "$answer" -gt 0 ]; }
lowered() { ask "0 0"; [ "$answer" = 0 ]; }

want "probe-list" null "$(probe-list --json "$T/one" | jq '.probes[0].sites[0].semaphore_offset')"
if objdump -f "$T/lying" | grep -q elf64; then
	for backend in kernel agent; do
		expect 1 probe-enable -b $backend --json -s $S -f "$T/lying" 'bss:*'
		want "armed" '[]' "$(json '.armed + .pending' <<<"$out")"
		want "refused because of another variable" 2 "$(json '[.refused[] | select(.reason | test("any variable"))] | length' <<<"$out")"
	done
fi

# ---- a running process, and its forks ----

converse "$T/one"
says "-1 0" "a fork before" 0
says "-2 0" "ends" 0
expect 1 probe-enable -b agent -s $S -p $pid bss:p
expect 0 probe-enable --json -s $S -p $pid bss:p
want "armed and verified" true "$(jq '.armed[0].verified' <<<"$out")"
says "100 0" "raised" 1
want "hits" 100 "$(count $S bss:p)"
says "-1 0" "a fork, armed" 1
expect 0 probe-enable -q -s ${S}b -p $pid bss:p
says "10 0" "by two sessions" 2
expect 0 probe-disable -q -s ${S}b
says "10 1" "by one, and another tool" 2
expect 0 probe-disable -q -s $S
says "0 -1" "what another tool raised stays" 0
says "-1 0" "the fork, disarmed" 0
says "-2 0" "ends" 0
want "bytes after disarming" "1 90" "$(site_bytes $pid "$T/one")"
# a killed private session, and a killed owner
tracing "$T/trace" -p $pid bss:p
says "-1 0" "a fork, traced" 1
kill -KILL $tracer
wait $tracer 2>/dev/null
wait_for 20 lowered
fork_lowered() { ask "-1 0"; [ "$answer" = 0 ]; }
wait_for 20 fork_lowered
expect 0 probe-enable -q -s $S --for 1h -p $pid bss:p
says "0 0" "held" 1
kill -KILL "$(pgrep -f -- "probe-enable -q -s $S --for")"
wait_for 20 no_session $S
wait_for 20 lowered
bye

# ---- processes that start later ----

expect 0 probe-enable -s $S -f "$T/one" bss:p
want_like "the report names the semaphore owner" "*is in .bss: process * raises it*" "$out"
converse "$T/one"
wait_for 20 raised
says "100 0" "raised" 1
want "hits of a process that starts later" 100 "$(count $S bss:p)"
expect 0 probe-disable -q -s $S
says "100 0" "lowered" 0
bye

# The same in another pid namespace, where processes have other ids.
cat >"$T/inside.sh" <<'I'
. tests/lib.sh
. tests/kernel/lib.sh
rm -rf "$T"
T=$1 S=$2
at_end=() # the files are the other script's
trap - EXIT
raised() { ask "0 0"; [ "$answer" -gt 0 ]; }
want "this pid" 1 $$
expect 0 probe-enable -q -s $S -f "$T/one" bss:p
converse "$T/one"
wait_for 20 raised
ask "100 0"
want "hits in another pid namespace" 100 "$(count $S bss:p)"
expect 0 probe-disable -q -s $S
ask "0 0"
want "the semaphore in another pid namespace, lowered" 0 "$answer"
exec {in}>&- {reply}<&-
wait $pid || fail "the target ended with $?"
rm -f "$T/in" "$T/out"
I
expect 0 unshare -pf --mount-proc bash "$T/inside.sh" "$T" "$S"

# ---- a command that is killed at any moment: its semaphore owner does not keep the session's lock or anything else ----

converse "$T/one"
took probe-enable -q -s $S -f "$T/one" bss:p
expect 0 probe-disable -q -s $S
for ((i = 0; i < ${PROBEPOINT_LONG:+10} + 6; i++)); do
	probe-enable -q -s $S -f "$T/one" bss:p &
	sleep $(spread $us)
	kill -KILL $! && wait $! 2>/dev/null
	no_session $S || expect 0 probe-disable -q -s $S
	says "0 0" "its semaphore after a command that was killed" 0
	want "bytes after a killed command" "1 90" "$(site_bytes $pid "$T/one")"
done
bye

# ---- a library that is loaded later, twice at the same address ----

converse "$T/loads" # without it
bye
mkfifo "$T/in" "$T/out"
"$T/loads" "$T/libbss.so" <"$T/in" >"$T/out" &
pid=$!
exec {in}>"$T/in" {reply}<"$T/out"
runs $pid "$T/loads"
expect 0 probe-enable -s $S -p $pid -f "$T/libbss.so" bss:p
for i in 1 2; do
	says "-3 0" "loads" 0
	wait_for 20 raised
	says "0 0" "raised" 1
	[ $i = 2 ] || says "-4 0" "unloads" 0
done
expect 0 probe-disable -q -s $S
says "0 0" "lowered" 0
bye
gone $S
