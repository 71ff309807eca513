#!/bin/bash
# SPDX-License-Identifier: MIT
# Loads the agent into running processes that compute, sleep or are in the middle of malloc. They continue as before,
# and their hits are counted from then on. A process that is refused is not changed.
. tests/lib.sh
. tests/agent/lib.sh
need jq

agent_build host
hits() { probe-stat --json -s $S | jq '[.probes[].hits] | add // 0'; }
begin() { # WAY
	rm -f "$T/in" "$T/out"
	mkfifo "$T/in"
	env "${@:2}" "$T/host" "$1" <"$T/in" >"$T/out" 2>&1 & pid=$!
	exec {to}>"$T/in"
	wait_for 10 grep -q ready "$T/out"
}
end() {
	exec {to}>&-
	wait $pid || fail "$1 ends with $?: $(cat "$T/out")"
	want_like "output of the program" "ready
right *" "$(cat "$T/out")"
}
# The signals of all threads except the agent's, which blocks all. Signal 33 belongs to the C library.
signals() {
	cat $(grep -L probepoint /proc/$1/task/*/comm | sed 's/comm$/status/') | grep -e SigBlk -e SigCgt |
		sed 's/\(Cgt.*\)1\(.\{8\}\)$/\10\2/' | sort -u
}
state() { # what a failed attempt must not change
	cat /proc/$pid/maps | awk '{ print $1, $2, $6 }' | grep -v -e heap -e stack
	ls /proc/$pid/task | wc -l
	grep -e SigBlk -e SigCgt -e SigIgn -e TracerPid /proc/$pid/status
}

[ "${PROBEPOINT_LONG-}" ] && times=100 || times=6
for way in vector sleep epoll read futex spin; do
	begin $way
	case $way in read | spin) threads=1 ;; *) threads=2 ;; esac
	wait_for 60 eval '[ $(ls /proc/$pid/task | wc -l) = $threads ]'
	sleep 0.1 # it is probably in the system call or the loop then
	masks=$(signals $pid)
	expect 0 timeout 120 probe-enable --inject -s $S -p $pid host:beat
	want_like "$way" "armed    host:beat  pid $pid  1 site  agent*" "$out"
	want "$way: one thread more" $((threads + 1)) "$(ls /proc/$pid/task | wc -l)"
	case $way in read) printf abc >&$to ;; esac
	wait_for 10 eval '[ "$(hits)" -gt 2 ]'
	want "$way: signals" "$masks" "$(signals $pid)"
	expect 0 probe-disable -q -s $S
	expect 0 timeout 120 probe-enable --inject -q -s $S -p $pid host:beat
	want "$way: loaded once" 1 "$(awk '/libprobepoint-agent/ && $2 == "r-xp"' /proc/$pid/maps | wc -l)"
	expect 0 probe-disable -q -s $S
	end $way
done

taken=0
for ((i = 0; i < times; i++)); do
	begin malloc
	sleep 0.0$((RANDOM % 10))
	timeout 60 probe-enable --inject -q -s $S -p $pid host:beat >"$T/said" 2>&1
	status=$?
	case $status in
	0) taken=$((taken + 1)); wait_for 10 eval '[ "$(hits)" -gt 100 ]'; probe-disable -q -s $S ;;
	1) want_like "refusal when all threads are in malloc" "*in the middle of malloc*" "$(cat "$T/said")" ;;
	*) fail "malloc: $status: $(cat "$T/said")" ;;
	esac
	end malloc
done
[ $taken -gt $((times / 10)) ] || fail "only $taken of $times were taken"

# ---- refused ----

begin seccomp
before=$(state)
expect 1 timeout 120 probe-enable --inject -s $S -p $pid host:beat
want_like "refusal with a seccomp filter" "*pid $pid: the process has a seccomp filter*" "$out"
want "state is unchanged" "$before" "$(state)"
end seccomp

begin read
before=$(state)
echo "int main;" | $CC -w -xc -shared -nostdlib -fPIC -o "$T/other.so" - || fail "not a library"
echo "no library" >"$T/text.so"
PROBEPOINT_AGENT=$T/text.so expect 1 timeout 120 probe-enable --inject -s $S -p $pid host:beat
want_like "not a library" "*cannot load the agent: *text.so: *" "$out"
PROBEPOINT_AGENT=$T/none.so expect 1 timeout 120 probe-enable --inject -s $S -p $pid host:beat
want_like "library does not exist" "*cannot read the agent '*none.so': No such file*" "$out"
want "state is unchanged" "$before" "$(state | grep -v other.so)"
expect 2 probe-enable --inject host:beat -f "$T/host"
expect 2 probe-enable --inject -b kernel -p $pid host:beat
if have gdb; then
	gdb -q -p $pid -ex "python import os, time" -ex "python while not os.path.exists('$T/refused'): time.sleep(0.05)" \
		-ex detach -ex quit >/dev/null 2>&1 </dev/null & gdb=$!
	wait_for 10 grep -q 'TracerPid:.*[1-9]' /proc/$pid/status
	expect 1 timeout 120 probe-enable --inject -s $S -p $pid host:beat
	want_like "refusal with a debugger" "*pid $pid: cannot trace the process: a debugger is attached*" "$out"
	touch "$T/refused"
	wait $gdb
else
	part_skipped "no gdb"
fi
printf abc >&$to
end read

# In a constructor: the loader's lock is held and its data is incomplete.
echo '#include <fcntl.h>
#include <unistd.h>
__attribute__((constructor)) static void begin(void)
{ close(creat("'"$T"'/inside", 0600)); for (volatile long i = 0; access("'"$T"'/go", F_OK); i++) for (volatile long k = 0; k < 10000000; k++) ; }' |
	$CC -O1 -xc -shared -fPIC -o "$T/slow.so" - || fail "not a library"
rm -f "$T/in"; mkfifo "$T/in"
LD_PRELOAD=$T/slow.so "$T/host" read >"$T/out" <"$T/in" & pid=$!
exec {to}>"$T/in"
wait_for 60 test -e "$T/inside"
before=$(state)
expect 1 timeout 120 probe-enable --inject -s $S -p $pid host:beat
want_like "refusal when a thread is in the loader" "*pid $pid: every thread is in the middle of malloc or of loading a library*" "$out"
want "state is unchanged" "$before" "$(state)"
touch "$T/go"
wait_for 10 grep -q ready "$T/out"
end "in the loader"

echo '#include <unistd.h>
int main(void) { return pause(); }' | $CC -O1 -static -xc -o "$T/static" - 2>/dev/null
if [ -x "$T/static" ]; then
	"$T/static" & pid=$!
	runs $pid "$T/static"
	expect 1 timeout 120 probe-enable --inject -s $S -p $pid 'host:*' -f "$T/host"
	want_like "refusal of a static program" "*pid $pid: the process is linked statically*" "$out"
	kill $pid
fi

if [ "$(id -u)" = 0 ]; then
	begin read
	chmod 755 "$T/host"
	for_others
	mkdir -m 700 "$T/nobody" && chown 65534:65534 "$T/nobody"
	out=$(nobody env XDG_RUNTIME_DIR="$T/nobody" "$T/product/bin/probe-enable" --inject -p $pid host:beat 2>&1) && fail "another's process: $out"
	want_like "refusal of another user's process" "*pid $pid: the process belongs to uid 0*" "$out"
	end read
fi

# ---- a process whose first thread has ended: another thread is used ----

cat >"$T/first.c" <<'E2'
#include <pthread.h>
#include <sys/sdt.h>
#include <unistd.h>

static void *work(void *unused)
{
	for (char byte; read(0, &byte, 1) == 1;)
		STAP_PROBE(host, later);
	return unused;
}

int main(void)
{
	pthread_t thread;

	if (!pthread_create(&thread, NULL, work, NULL) && !pthread_create(&thread, NULL, work, NULL))
		pthread_exit(NULL);
	return 1;
}
E2
$CC -O2 -pthread -Iinclude -o "$T/first" "$T/first.c" || fail "cannot build"
mkfifo "$T/first.in"
"$T/first" <"$T/first.in" & pid=$!
exec {to}>"$T/first.in"
wait_for 10 grep -q '^State:.Z' "/proc/$pid/status"
expect 0 probe-enable -q -s $S --inject -p $pid host:later
printf 12345 >&$to
wait_for 10 eval '[ "$(probe-stat --json -s $S | jq ".probes[0].hits")" = 5 ]'
expect 0 probe-disable -q -s $S
exec {to}>&-
wait $pid || fail "a program whose first thread has ended ends with $?"
