#!/bin/bash
# SPDX-License-Identifier: MIT
# A program with the agent preloaded and nothing armed behaves as without it: system calls, descriptors, threads,
# mappings, output and exit status. The agent's thread does not call the C library.
. tests/lib.sh
AGENT=$B/lib/libprobepoint-agent.so
[ -e "$AGENT" ] || skip "no agent was built"
need strace
build_once "$T/quiet" $CC -std=gnu17 -D_GNU_SOURCE -Wall -Wextra -O2 -pthread -Iinclude tests/agent/quiet.c || fail "cannot build quiet"
case $(uname -m) in aarch64) read_call=63 ;; *) read_call=0 ;; esac

# Imports: functions of the C library that neither lock nor use the storage of the calling thread, or that are called in
# the program's threads only.
allowed="_ITM_deregisterTMCloneTable _ITM_registerTMCloneTable __cxa_finalize __gmon_start__ __register_atfork
_r_debug dladdr1 dlsym dlvsym getauxval pthread_key_create pthread_setspecific secure_getenv"
imported=$(nm -D --undefined-only "$AGENT" | awk '{ sub("@.*", "", $NF); print $NF }' | sort)
want "what the agent imports beyond what it may" "" \
	"$(comm -23 <(echo "$imported") <(tr ' ' '\n' <<<"$allowed" | sort) | grep -v '^__tls_get_addr$\|^__stack_chk\|^__asan\|^__ubsan' | tr '\n' ' ')"

# Finds the thread that waits for the end of the input $input, in this process or a child, and stores its /proc
# directory in $place. (A process's own directory says little after its first thread has ended.)
waiting() {
	local task
	for task in /proc/"$1"/task/*; do
		[ "$task/fd/0" -ef "$input" ] && [[ $(<"$task/syscall") == "$read_call 0x0 "* ]] && { place=$task; return; }
	done 2>/dev/null
	for task in $(cat /proc/"$1"/task/*/children 2>/dev/null); do
		waiting "$task" && return
	done
	return 1
}
numbers() { sed -E 's/0x[0-9a-f]+/X/g; s/\b[0-9]{3,}\b/N/g'; }
# Prints its descriptors, threads and mappings without the agent's file. Memory without a name is summed up, because the
# kernel merges neighbours; the agent's part of it is subtracted.
bss=0 page=$(getconf PAGESIZE)
while read -r type offset at physical file memory flags; do
	[ "$type" = LOAD ] && [ "${flags:0:2}" = RW ] && bss=$((bss + ((at + memory + page - 1) & -page) - ((at + file + page - 1) & -page)))
done < <(readelf -lW "$AGENT")
describe() {
	local fd range perms offset device inode path size unnamed=0
	for fd in "$1"/fd/*; do echo "fd ${fd##*/} $(readlink "$fd" | numbers)"; done
	for fd in "$1"/../*; do echo "task $(<"$fd/comm")"; done
	while read -r range perms offset device inode path; do
		size=$((0x${range#*-} - 0x${range%-*}))
		case $path in
		*libprobepoint-agent*) [ "$offset" != 00000000 ] || unnamed=$((unnamed - bss)) ;;
		'') unnamed=$((unnamed + size)) ;;
		'[heap]' | '[stack]') echo "map $perms $path" ;;
		*) echo "map $size $perms $path" ;;
		esac
	done <"$1/maps"
	echo $unnamed >"$file.unnamed"
}
# observed FILE COMMAND...: stores its system calls in FILE.PID..., its state in FILE.state, its output in FILE.out.
observed() {
	local file=$1 status pid end input=$1.in
	shift
	mkfifo "$file.in"
	strace -D -ff -o "$file" ${preload:+-E LD_PRELOAD="$preload"} "$@" <"$file.in" >"$file.out" 2>"$file.err" & pid=$!
	exec {end}>"$file.in"
	for ((i = 0; i < 1200; i++)); do waiting $pid && break; sleep 0.05; done
	[ $i -lt 1200 ] || fail "the program does not wait for its input: $(cat /proc/$pid/task/*/{comm,syscall,wchan} 2>&1): $*"
	describe "$place" | sed "s#$file#FILE#" | sort >"$file.state"
	exec {end}>&-
	wait $pid
	status=$?
	echo "status $status" >>"$file.out"
	rm "$file.in"
}
# The system calls of all its threads and processes after the loader's. The agent only looks for the state directory.
# How often the heap grows, and how much is cut off a thread's heap, depends on where it begins; how often a thread
# waits depends on the others.
calls() {
	local file
	for file in "$1".[0-9]*; do
		awk 'NR == 1 { seen = 1 } /^execve\(.*= 0$/ { seen = 0 } seen { print } /^munmap/ { seen = 1 }' "$file"
	done | grep -v "probepoint.*ENOENT\|^newfstatat(AT_FDCWD, \"$XDG_RUNTIME_DIR\"" | sed -E 's/^([a-z0-9_]+)\(.*/\1/' |
		grep -Ev '^(brk|munmap|futex|sched_yield|madvise|rt_sigreturn|restart_syscall|---|\+\+\+|<)' | sort | uniq -c
}

same() { # NAME COMMAND...
	local name=$1
	shift
	observed "$T/$name-without" "$@"
	preload=$AGENT observed "$T/$name-with" "$@"
	diff -u "$T/$name-without.out" "$T/$name-with.out" || fail "$name: its output and end differ"
	diff -u "$T/$name-without.state" "$T/$name-with.state" || fail "$name: its descriptors, threads or mappings differ"
	# The loader's own memory depends on what it loads. In Debian 13 an empty library adds 8192 bytes, the agent 12288.
	more=$(($(<"$T/$name-with.unnamed") - $(<"$T/$name-without.unnamed")))
	[ ${more#-} -le 12288 ] || fail "$name: $more bytes of memory without a name"
	diff -u <(calls "$T/$name-without") <(calls "$T/$name-with") || fail "$name: its system calls differ"
	want "$name: how often it looks for the state" \
		"$(cat "$T/$name-with".[0-9]* | grep -c '^execve(.*= 0$')" "$(cat "$T/$name-with".[0-9]* | grep -c 'probepoint".*ENOENT')"
	count=$((count + 1))
}
count=0
same bash bash -c 'for i in 1 2 3; do (exit $i) | cat; done; x=$(echo hello); echo "$x"; read x'
same threads "$T/quiet" threads
same handler "$T/quiet" handler
same user "$T/quiet" user
same daemon "$T/quiet" daemon
same alone "$T/quiet" alone
seq 50000 >"$T/numbers"
same sort sort --parallel=4 -n "$T/numbers" -
same cat cat "$T/quiet" -
python=$(python3 -c 'import sys; print(sys.executable)') # the file in the path may be a script
[ "$python" ] && same python3 "$python" -IS -c 'import threading, sys
t = threading.Thread(target=print, args=("thread",)); t.start(); t.join(); sys.stdin.read()'
have perl && same perl perl -e 'use POSIX; if (!fork) { exit 3 } wait; print $? >> 8, "\n"; <STDIN>'
have git && same git git cat-file --batch
[ $count -ge 8 ] || fail "only $count programs"
echo "$count programs"
