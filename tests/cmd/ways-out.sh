#!/bin/bash
# SPDX-License-Identifier: MIT
# Each error for a user without privilege names a remedy. Scripts as commands. Several pids in one option.
. tests/lib.sh
need_root # to become another user
need jq
for_others
PATH=$T/product/bin:$PATH
unset XDG_RUNTIME_DIR
"$CC" -O2 -Iinclude -x c - -o "$T/target" <<'C' || fail "the target does not build"
#include <sys/sdt.h>
#include <stdio.h>
int main(void)
{
	puts("runs");
	fflush(stdout);
	while (getchar() != EOF)
		STAP_PROBE(w, hit);
	return 0;
}
C
# run NAME COMMAND...: starts the command, and stores its pid in $NAME.
run() {
	local name=$1
	shift
	mkfifo "$T/$name"
	"$@" <"$T/$name" >"$T/$name.out" &
	printf -v "$name" %d $!
	exec {in}>"$T/$name"
	wait_for 20 test -s "$T/$name.out"
}
nobody_exec() { exec setpriv --reuid=65534 --regid=65534 --clear-groups --bounding-set=-all --inh-caps=-all "$@"; }
run own nobody_exec "$T/target"
run roots "$T/target"

# way LIKE COMMAND...: the command fails, and its message is like LIKE, as text and as JSON.
way() {
	local like=$1 command=$2
	shift 2
	out=$(nobody "$command" "$@" 2>&1 </dev/null) && fail "$command $*: does not fail"
	want_like "$command $*" "$like" "$out"
	[ ${#out} -lt 400 ] || fail "$command $*: the message is too long: $out"
	want_like "$command --json $*" "$like" "$command: $(nobody "$command" --json "$@" </dev/null 2>/dev/null | jq -r .error)"
}
agent="*the agent arms your own processes without privilege: probe-enable --inject -p PID, or -b agent -- COMMAND"
for command in probe-enable probe-trace; do
	way "$agent" $command -p $own 'w:*'
	way "$agent" $command -b kernel -p $own 'w:*'
	way "$agent" $command --children -p $own 'w:*'
	way "$agent" $command -b kernel -f "$T/target" 'w:*'
	way "*has no agent; load it by --inject, or start the process by -b agent -- COMMAND*" $command -b agent -p $own 'w:*'
	way "*without privilege: -b agent -- COMMAND" $command -b kernel 'w:*' -- "$T/target"
	way "*it belongs to another user; run as root or with CAP_SYS_PTRACE" $command -p $roots 'w:*'
	for only in func:main func:main%return func:main+0; do
		way "*func:SYMBOL needs the kernel backend; the agent arms probes without privilege: *--inject*-b agent*" \
			$command -p $own $only
		way "*func:SYMBOL needs the kernel backend; *--inject*-b agent*" $command $only -- "$T/target"
	done
	way "*--pgrp needs the kernel backend; *--inject*-b agent*" $command --pgrp -p $own 'w:*'
done
for hold in --for=1h --until-exit --budget=5%; do
	way "*--for, --until-exit and --budget need the kernel backend; *--inject*-b agent*" probe-enable $hold -p $own 'w:*'
done
# The remedies work.
if [ "$(cat /proc/sys/kernel/yama/ptrace_scope 2>/dev/null || echo 0)" = 0 ]; then
	expect 0 nobody probe-enable -q -s $S --inject -p $own 'w:*'
	expect 0 nobody probe-disable -q -s $S
fi
expect 0 nobody probe-enable -q -s $S -b agent 'w:*' -- "$T/target"
expect 0 nobody probe-disable -q -s $S

# ---- scripts ----

# script FIRST-LINE WANTED: checks the message for a script with this first line.
script() {
	printf '%s\necho never\n' "$1" >"$T/script"
	chmod 755 "$T/script"
	for command in probe-enable probe-trace; do
		expect 125 $command 'w:*' -- "$T/script"
		want "a script of '$1'" "$command: '$T/script' $2" "$out"
		expect 125 $command -b agent 'w:*' -- "$T/script"
		want "a script of '$1', by the agent" "$command: '$T/script' $2" "$out"
	done
}
is="is a script and has no probes; name its interpreter, as in --"
script '#!/bin/sh' "$is /bin/sh $T/script"
script '#! /usr/bin/python3 -u' "$is /usr/bin/python3 -u $T/script"
script '#!/usr/bin/env bash' "$is bash $T/script"
script '#!/usr/bin/env -S bash -e' "$is bash -e $T/script"
script '#!/opt/myenv' "$is /opt/myenv $T/script"
script $'#!/bin/sh\r' "$is /bin/sh $T/script"
script '#!' "is not an ELF file and has no probes; name the program that runs it"
script 'echo no line' "is not an ELF file and has no probes; name the program that runs it"
# With -f FILE the probes of the interpreter are armed.
printf '#!%s\n' "$T/target" >"$T/script"
expect 0 probe-enable -q -b agent -s $S -f "$T/target" 'w:*' -- "$T/script" </dev/null
probe-disable -q -s $S

# ---- pids ----

for list in "$own,$roots" "$own $roots" "$own, $roots" "$own
$roots"; do
	want "probe-list -p '$list'" '["w:hit"]' \
		"$(probe-list --json -m 'w:*' -p "$list" | jq -c '[.probes[] | "\(.provider):\(.name)"] | unique')"
done
exit 0
