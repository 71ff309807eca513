#!/bin/bash
# SPDX-License-Identifier: MIT
# Processes in other namespaces: error messages about their agents are correct, nothing is loaded that the command could
# not reach, and inside a container commands use the agent by default.
. tests/lib.sh
. tests/agent/lib.sh
need_root
need unshare
unshare --pid --fork --mount true 2>/dev/null || skip "no namespaces"

agent_build host
cat >"$T/inside" <<'E2'
#!/bin/sh
# inside HIDE AGENT: runs the program in the namespaces of the caller
[ -z "$1" ] || { mount -t tmpfs none "$XDG_RUNTIME_DIR" && chmod 700 "$XDG_RUNTIME_DIR"; } || exit 1
LD_PRELOAD=$2 exec "$HOST" spin
E2
chmod +x "$T/inside"
export HOST=$T/host
for how in pid mount; do
	for agent in "" "$AGENT"; do
		mkfifo "$T/in"
		flags="--pid --fork --kill-child" hide=
		[ $how = mount ] && flags=--mount hide=yes
		unshare $flags "$T/inside" "$hide" "$agent" >"$T/out" <"$T/in" & outer=$!
		exec {to}>"$T/in"
		wait_for 10 grep -q ready "$T/out"
		pid=$outer
		[ $how = pid ] && pid=$(pgrep -P $outer)
		want_like "the process" host "$(cat "/proc/$pid/comm")"
		expect 1 probe-enable -s $S -b agent -p "$pid" host:beat
		want_like "$how '$agent'" "*pid $pid: the process is in another $how namespace (a container) and has ${agent:+an}* agent*" "$out"
		[ "$agent" ] || want_like "$how" "*and has no agent*" "$out"
		before=$(grep -c probepoint-agent "/proc/$pid/maps")
		expect 1 timeout 120 probe-enable -s $S --inject -p "$pid" host:beat
		want_like "$how, --inject" "*pid $pid: the process is in another $how namespace*" "$out"
		want "$how: mappings of the agent" "$before" "$(grep -c probepoint-agent "/proc/$pid/maps")"
		exec {to}>&-
		wait $outer || fail "$how: the program ends with $?"
		rm "$T/in"
	done
done

# An agent that uses another state directory.
mkfifo "$T/in"
env -u XDG_RUNTIME_DIR "$T/host" spin >"$T/out" <"$T/in" & pid=$!
exec {to}>"$T/in"
wait_for 10 grep -q ready "$T/out"
expect 1 timeout 120 probe-enable -s $S --inject -p $pid host:beat
want_like "refusal with another state directory" "*pid $pid: the process has no XDG_RUNTIME_DIR*" "$out"
want "mappings of the agent" 0 "$(grep -c probepoint-agent "/proc/$pid/maps")"
exec {to}>&-
wait $pid || fail "the program ends with $?"

# A server that writes its title over its initial environment has moved its variables before.
cat >"$T/title.c" <<'C'
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

extern char **environ;

int main(void)
{
	char *begin = *environ, *end = begin, **copy;
	int n = 0;

	for (; environ[n]; n++)
		end = environ[n] + strlen(environ[n]) + 1;
	copy = calloc(n + 1, sizeof(*copy));
	for (int i = 0; i < n; i++)
		copy[i] = strdup(environ[i]);
	environ = copy;
	memset(begin, 0, end - begin);
	puts("ready");
	fflush(stdout);
	return read(0, begin, 1) != 0;
}
C
for link in -pie -no-pie; do
	$CC -O2 -Wall -o "$T/title" "$T/title.c" -fPIE $link -Wl,-z,now || fail "title.c does not build"
	rm "$T/in"
	mkfifo "$T/in"
	"$T/title" >"$T/out" <"$T/in" & pid=$!
	exec {to}>"$T/in"
	wait_for 10 grep -q ready "$T/out"
	want "the kernel's copy, $link" 0 "$(grep -c XDG_RUNTIME_DIR "/proc/$pid/environ")"
	expect 1 timeout 120 probe-enable -s $S --inject -p $pid host:beat
	want_like "loaded, $link" "*no probe matches*" "$out"
	[ "$(grep -c probepoint-agent "/proc/$pid/maps")" -gt 0 ] || fail "not loaded, $link: $out"
	exec {to}>&-
	wait $pid || fail "the program ends with $?"
done

# Inside: each backend works.
for backend in agent kernel; do
	[ $backend = agent ] || [ "$(id -u)" = 0 ] || continue
	expect 0 unshare --pid --fork --mount --mount-proc sh -c \
		'printf "" | probe-enable -b "$2" -s "$1" host:beat -- "$HOST" spin >/dev/null && probe-stat --json -s "$1" && probe-disable -q -s "$1"' \
		sh $S $backend
	want_like "inside a container" '*"backend":"'$backend'"*' "$(tr -d ' ' <<<"$out")"
done
