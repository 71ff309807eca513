#!/bin/bash
# SPDX-License-Identifier: MIT
# Programs that do not use probe points run with the agent as without it, to the last byte of their output.
. tests/lib.sh
. tests/agent/lib.sh

# The helpers of trampolines call no library and use no vector register. The library exports only what it interposes.
helpers=("$B"/obj/runtime/agent/inproc/{hit-{read,ring,flight,calls,aggregate,sample},aggregate}.o)
nm --defined-only "${helpers[@]}" | awk 'NF == 3 { print $3 }' | sort -u >"$T/defined"
want "functions that the helpers of trampolines call" "agent pthread_setspecific" \
	"$(nm -u "${helpers[@]}" | awk 'NF == 2 && $2 !~ /_GLOBAL_OFFSET_TABLE_|^agent_thread$/ { print $2 }' | sort -u |
		grep -vxFf "$T/defined" | tr '\n' ' ' | sed 's/ $//')"
objdump -d "${helpers[@]}" | grep -q '%[xyz]mm' && fail "the helpers of trampolines use vector registers"
want "exports" "capset clone dlclose dlopen initgroups mlockall prctl prlimit prlimit64 setegid seteuid setfsgid setfsuid setgid setgroups setns setregid setresgid setresuid setreuid setrlimit setrlimit64 setuid syscall unshare" "$(nm -D --defined-only "$AGENT" | awk '{ print $3 }' | tr '\n' ' ' | sed 's/ $//')"

same() { # WHAT COMMAND...
	local what=$1
	shift
	"$@" >"$T/without" 2>&1 </dev/null
	echo "status $?" >>"$T/without"
	LD_PRELOAD=$AGENT "$@" >"$T/with" 2>&1 </dev/null
	echo "status $?" >>"$T/with"
	diff "$T/without" "$T/with" >"$T/diff" || fail "$what differs: $(head -5 "$T/diff")"
}

cat >"$T/script.sh" <<'E2'
set -e
x=0
for i in $(seq 30); do x=$((x + $(echo $i | wc -c))); done
echo $x
(cd /; pwd; exit 3) || echo "subshell $?"
seq 1000 | sort -rn | head -3 | tr '\n' ' '
cat <(echo one) <(echo two)
trap 'echo usr1' USR1
kill -USR1 $$
sleep 0.1 & wait $!
exec 7</dev/null; ls /proc/self/fd | tr '\n' ' '
ulimit -v 400000; echo limited; ls /dev/null
E2
same "bash" bash "$T/script.sh"

cat >"$T/script.py" <<'E2'
import ctypes, hashlib, json, math, multiprocessing, os, signal, socket, subprocess, sys, threading
results = []
def work(n):
    results.append(hashlib.sha256(b"x" * n).hexdigest())
threads = [threading.Thread(target=work, args=(i,)) for i in range(50)]
for t in threads: t.start()
for t in threads: t.join()
print(sorted(results)[0], threading.active_count())
print(subprocess.run(["echo", "child"], capture_output=True).stdout)
pid = os.fork()
if not pid:
    os._exit(7)
print(os.waitpid(pid, 0)[1])
r, w = os.pipe()
print(r, w)
a, b = socket.socketpair()
print(a.fileno(), b.fileno())
alarms = []
signal.signal(signal.SIGALRM, lambda *a: alarms.append(1))
signal.setitimer(signal.ITIMER_REAL, 0.05, 0.05)  # again and again, because the first one can come before pause()
signal.pause()
signal.setitimer(signal.ITIMER_REAL, 0)
print("alarm", len(alarms) > 0)
print(json.dumps({"pi": math.pi}))
def f(x): return x * x
if __name__ == "__main__":
    with multiprocessing.Pool(2) as pool:
        print(pool.map(f, range(5)))
sys.exit(5)
E2
if have python3; then same "python3" python3 "$T/script.py"; else part_skipped "no python3"; fi
if have java && java -version >/dev/null 2>&1; then same "java" java -version; else part_skipped "no java"; fi
if have perl; then same "perl" perl -e 'my $p = fork; if (!$p) { exit 3 } wait; print $? >> 8, "\n"; print `echo hi`; exit 3'; fi

# A static program has no agent.
cat >"$T/static.c" <<'E2'
#include <stdio.h>
int main(void) { puts("static"); return 4; }
E2
if $CC -static -o "$T/static" "$T/static.c" 2>/dev/null; then same "a static program" "$T/static"; else part_skipped "no static libc"; fi

# A program built for CET, with or without a shadow stack.
build_once "$T/cet" $CC -O2 -fcf-protection=full -Iinclude tests/agent/simple.c || fail "cannot build for CET"
same "a CET program" "$T/cet"
grep -qw user_shstk /proc/cpuinfo || part_skipped "no shadow stacks here"

# Resource limits that leave no room, or would kill.
agent_build simple
poke arm $S 1 "$T/simple" 'app:*'
for limit in '-v 200000' '-f 0' '-n 4' '-l 0'; do
	out=$(echo 'tick 5' | (ulimit $limit; LD_PRELOAD=$AGENT exec "$T/simple") 2>&1)
	want "under ulimit $limit" ok "$out"
done

# Locked memory must not include the whole region.
cat >"$T/locked.c" <<'E2'
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sdt.h>
int main(void)
{
	char line[200];
	FILE *f;
	if (mlockall(MCL_CURRENT | MCL_FUTURE))
		return puts("ok"), 0;
	while (fgets(line, sizeof(line), stdin)) {
		STAP_PROBE(app, locked);
		if (!strncmp(line, "rss", 3)) {
			f = fopen("/proc/self/status", "r");
			while (fgets(line, sizeof(line), f))
				if (!strncmp(line, "VmRSS", 5))
					fputs(line, stdout);
			fclose(f);
		}
		puts("ok");
		fflush(stdout);
	}
	return 0;
}
E2
$CC -O2 -Iinclude -o "$T/locked" "$T/locked.c" || fail "cannot build"
target "$T/locked"
say hello
poke arm $S 2 -p $pid "$T/locked" 'app:*'
rescan >/dev/null
say hello
say rss
rss=$(tr -dc 0-9 <<<"$said")
[ "${rss:-0}" -lt 300000 ] || fail "locked memory: $said"
echo exit >&"$to"
