#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Processes whose code differs from the file: both backends refuse them, and report the reason.
. tests/lib.sh
. tests/kernel/lib.sh
need_kernel
[ "$(uname -m)" = x86_64 ] || skip "tests/kernel/patched.c has code for x86-64"

build_once "$T/patched" "$CC" -O1 -Iinclude tests/kernel/patched.c || fail "does not compile"
at_end "probe-disable -q -s $S 2>/dev/null; probe-disable -q -s ${S}b 2>/dev/null"
file_bytes='554889e548 90662e0f1f840000000000'

# begin NAME [VARIABLE=VALUE]: starts a process and sets $NAME to its pid; to NAME LINE: sets $answer
declare -A ins=() replies=()
begin() {
	local name=$1 in reply
	rm -f "$T/in" "$T/out"
	mkfifo "$T/in" "$T/out"
	env "${2-X=}" "$T/patched" <"$T/in" >"$T/out" &
	printf -v "$name" %d $!
	exec {in}>"$T/in" {reply}<"$T/out"
	ins[$name]=$in replies[$name]=$reply
	runs "${!name}" "$T/patched"
	to "$name" bytes
}
to() { echo "$2" >&"${ins[$1]}"; IFS= read -r -t $patience -u "${replies[$1]}" answer || fail "$1 has ended after '$2'"; }
says() { to "$1" "$2"; want "$1: $2" "$3" "$answer"; }
# shellcheck disable=SC1083,SC2093 # {NAME[INDEX]} names a descriptor, and exec has no command
end() { exec {ins[$1]}>&- {replies[$1]}<&-; wait "${!1}" || fail "$1 ended with $?"; }
hits() { count "$S" func:victim; }

begin plain
begin hooked
says plain bytes "$file_bytes"
to hooked hook
to hooked bytes
jump=${answer% *}
[[ $jump == e9* ]] || fail "not a jump: $jump"

expect 0 probe-enable --json -s "$S" -p "$plain" func:victim
want "in a process whose code is the file's" true "$(json '.armed[0].verified' <<<"$out")"
says plain 'call 1000' 'sum 500500 hooked 0 traps 0'
want "hits" 1000 "$(hits)"
expect 0 probe-disable -s "$S"
says plain bytes "$file_bytes"

# a jump of the program's own, at the instruction and around it; -f includes the other process
for how in "-p $hooked func:victim" "-f $T/patched func:victim" "-p $hooked func:victim+1"; do
	expect 1 probe-enable -s "$S" $how
	want_like "$how" "*pid $hooked changed its code there*" "$out"
	says hooked bytes "$jump ${file_bytes#* }"
	says plain bytes "$file_bytes"
done
says hooked 'call 1000' 'sum 500500 hooked 1000 traps 0'
want "no session is left" "" "$(sessions | grep -w "$S")"
# its probe was not changed
expect 0 probe-enable -s "$S" -f "$T/patched" patched:hit
says hooked 'call 10' 'sum 55 hooked 1010 traps 0'
want "hits of the unchanged probe" 10 "$(count "$S" patched:hit)"
expect 0 probe-disable -s "$S"
end hooked

# a trap of the program's own
begin trapped
to trapped trap
expect 1 probe-enable -s "$S" -p "$trapped" func:victim
want_like "its own int3" "*pid $trapped has a trap there that is n*the file's*" "$out"
says trapped 'call 100' 'sum 5050 hooked 0 traps 100'
expect 1 probe-enable -s "$S" -f "$T/patched" func:victim
says trapped 'call 100' 'sum 5050 hooked 0 traps 200'
# A perf event without a BPF program, in any process, may be a uprobe: the kernel does not report it.
"$CC" -o "$T/counter" -xc - <<'E' || fail "does not compile"
#include <linux/perf_event.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>
int main(void)
{
	struct perf_event_attr counter = { .type = PERF_TYPE_SOFTWARE, .size = sizeof(counter), .config = PERF_COUNT_SW_TASK_CLOCK };

	if (syscall(SYS_perf_event_open, &counter, 0, -1, -1, 0) < 0)
		return 1;
	puts("ready");
	fflush(stdout);
	return pause();
}
E
"$T/counter" >"$T/counts" & counter=$!
wait_for 10 grep -q ready "$T/counts"
for how in "-p $trapped" "-f $T/patched"; do
	expect 1 probe-enable -s "$S" $how func:victim
	want_like "its own int3 while a perf event exists" "*pid $trapped has a trap there that is not the file's*may be the program's own*" "$out"
done
says trapped 'call 100' 'sum 5050 hooked 0 traps 300'
# ... and while a file that was removed has a uprobe at the same offset
cp "$T/patched" "$T/removed"
tracing "$T/trace" --json -b kernel -f "$T/removed" func:victim
rm "$T/removed"
expect 1 probe-enable -s "$S" -p "$trapped" func:victim
want_like "its own int3 while a removed file has a uprobe" "*pid $trapped has a trap there that is n*the file's*" "$out"
says trapped 'call 100' 'sum 5050 hooked 0 traps 400'
kill -INT "$tracer"
wait "$tracer"
kill "$counter" # it has inherited the program's input
end trapped

# breakpoints of uprobes: of a private session, of tracefs, and inherited by a child
tracing "$T/trace" --json -n 5 -p "$plain" func:victim
if [ "$(printf '6.6\n%s\n' "$(uname -r)" | sort -V | head -n 1)" != 6.6 ]; then
	# The kernel does not report the file of a perf link, and the session is private.
	expect 1 probe-enable -s "$S" -p "$plain" func:victim
	want_like "a uprobe of a private session" "*pid $plain has a trap there that is not the file's*" "$out"
	part_skipped "uprobes that this command did not arm: Linux reports them since 6.6"
	exit 0
fi
expect 0 probe-enable -s "$S" -p "$plain" func:victim
says plain 'call 100' 'sum 5050 hooked 0 traps 0'
wait "$tracer" || fail "probe-trace: $(cat "$T/trace.err")"
want "hits with probe-trace" 100 "$(hits)"
# ... and of a killed session, whose breakpoints the kernel is about to remove
for i in 1 2 3; do
	tracing "$T/trace" --json -p "$plain" func:victim
	kill -KILL "$tracer"
	wait "$tracer" 2>/dev/null
	expect 0 probe-enable -s "${S}b" -p "$plain" func:victim
	expect 0 probe-disable -s "${S}b"
done
to plain fork
child=$answer
runs "$child" "$T/patched"
expect 0 probe-enable -s "$S" -p "$child" func:victim
expect 0 probe-disable -s "$S"
says plain bytes "$file_bytes"
mkdir "$T/tracefs"
if mount -t tracefs none "$T/tracefs" 2>/dev/null; then
	at_end "umount '$T/tracefs'"
	take_out() {
		[ ! -d "$T/tracefs/events/pp$$" ] || echo 0 >"$T/tracefs/events/pp$$/enable"
		[ ! -d "$T/tracefs/events/pp$$" ] || echo "-:pp$$/victim" >>"$T/tracefs/uprobe_events"
	}
	at_end take_out
	offset=0x$(nm "$T/patched" | awk '$3 == "victim" { print $1 }') # text is mapped as it is linked
	echo "p:pp$$/victim $T/patched:$offset" >>"$T/tracefs/uprobe_events" || fail "cannot create a uprobe in tracefs"
	echo 1 >"$T/tracefs/events/pp$$/enable"
	says plain bytes "cc${file_bytes#55}"
	expect 0 probe-enable -s "$S" -p "$plain" func:victim
	says plain 'call 100' 'sum 5050 hooked 0 traps 0'
	want "hits with tracefs" 100 "$(hits)"
	expect 0 probe-disable -s "$S"
	take_out
	says plain bytes "$file_bytes"
else
	part_skipped "tracefs: cannot be mounted"
fi
end plain

# changed after it was armed: the change stays, and arming again reports it
begin later
expect 0 probe-enable -s "$S" -f "$T/patched" func:victim
to later hook
says later 'call 10' 'sum 55 hooked 10 traps 0'
expect 0 probe-enable --json -s "$S" -f "$T/patched" func:victim
want "armed again" false "$(json '.armed[0].verified' <<<"$out")"
want_like "armed again" "*pid $later changed its code there*" "$(json '.armed[0].reason' <<<"$out")"
expect 0 probe-disable -s "$S"
says later bytes "$jump ${file_bytes#* }"
says later 'call 10' 'sum 55 hooked 20 traps 0'
end later

# the agent
begin agent LD_PRELOAD="$B/lib/libprobepoint-agent.so"
expect 0 probe-enable -s "$S" -b agent -p "$agent" patched:hit
says agent 'call 10' 'sum 55 hooked 0 traps 0'
want "hits by the agent" 10 "$(count "$S" patched:hit)"
expect 0 probe-disable -s "$S"
says agent bytes "$file_bytes"
to agent jump
to agent bytes
jumped=$answer
expect 1 probe-enable -s "$S" -b agent -p "$agent" patched:hit
says agent bytes "$jumped"
says agent 'call 10' 'sum 55 hooked 0 traps 0'
end agent
