#!/bin/bash
# SPDX-License-Identifier: MIT
# Changes that processes make to themselves while armed: all kinds of fork, many threads, libraries that come and go,
# closed descriptors, namespaces, users, seccomp filters. Nothing fails or behaves differently, and counts are exact.
. tests/lib.sh
. tests/agent/lib.sh

agent_build life
build_once "$T/library.so" $CC -O2 -shared -fPIC -Iinclude tests/agent/library.c || fail "not a library"
hits() { field hits "$(counts "$1")"; }
child_hits() { field hits "$(poke files $S "$1")"; }
part() { part=$1; }
start() { target "$T/life"; }
idle() { echo "hits $1 recorded 0 filtered 0 idle $1 lost 0"; }

# ---- children ----
start
poke arm $S 1 -p $pid "$T/life" app:tick
rescan >/dev/null
say "tick 10"
say "fork 100"; want "fork" "" "$said"
say "rawfork 100"; want "fork by the system call" "" "$said"
want "children's hits are not counted" "$(idle 10)" "$(counts 1)"
say "vfork 7"; want "vfork" "" "$said"
say "clonevm 5"; want "clone" "" "$said"
want "hits of children that share memory" "$(idle 22)" "$(counts 1)"
say "spawn /bin/true"; want "spawn" "" "$said"
say "tick 3"
want "counts after the children" "$(idle 25)" "$(counts 1)"
poke drop $S 1
poke arm $S 2 -c -p $pid "$T/life" app:tick
rescan >/dev/null
say "tick 4"
say "fork 100"; want "fork" "" "$said"
say "forks 30"; want "forks" "" "$said"
say "rawfork 5"; want "fork by the system call" "" "$said"
want "the parent's counts" "$(idle 4)" "$(counts 2)"
target_end
want "counts of parent and children after their end" "$(idle 164)" "$(poke files $S 2)"
poke drop $S 2
rm -f "$XDG_RUNTIME_DIR/probepoint/$S"/c*

# ---- children that run programs: by fork, by vfork, by a shell; and an earlier child ----
start
(LD_PRELOAD=$AGENT exec "$T/life" < <(until [ -e "$T/armed" ]; do sleep 0.05; done; echo "tick 1000"; echo exit) >"$T/before") &
before=$!
poke arm $S 12 -c -p $pid "$T/life" app:tick
rescan >/dev/null
touch "$T/armed"
echo "tick 20" >"$T/in"
say "run $T/life $T/in fork"; want "fork and exec" "" "$said"
say "run $T/life $T/in vfork"; want "vfork and exec" "" "$said"
say "run $T/life $T/in shell"; want "a shell in between" "" "$said"
wait $before
target_end
want "counts of all kinds of children" "$(idle 60)" "$(poke files $S 12)"
poke drop $S 12

# ---- every process that maps the file; exec; closing ----
poke arm $S 3 "$T/life" app:tick
start
say "tick 5"
want "armed before main()" "$(idle 5)" "$(counts 3)"
say closeall
want "lowest descriptor after closing all" 3 "$said"
say "tick 5"
want "counts after closing all descriptors" "$(idle 10)" "$(counts 3)"
say exec
say "tick 2"
want "after exec" "$(idle 2)" "$(counts 3)"
say fds
want "descriptors are unchanged" "0 1 2" "$(sed 's/ *$//; s/ [0-9]*$//;' <<<"$said" | cut -d' ' -f1-3)"

# ---- threads ----
say "threads 100 50"
say "churn 1000 3"
want "threads" "$(idle 8002)" "$(counts 3)"
say cancel
before=$(hits 3)
say "threads 1000 20"
want "a thousand threads" $((before + 20000)) "$(hits 3)"
say block
say "tick 1"
want "signals blocked" $((before + 20001)) "$(hits 3)"
target_end
poke drop $S 3
rm -f "$XDG_RUNTIME_DIR/probepoint/$S"/counts*

# ---- libraries ----
poke arm $S 4 "$T/library.so" lib:hit
start
want "pending" "attachment 4 armed 0 pending 1 refused 0" "$(rescan)"
say "load $T/library.so 5"; want "load" "" "$said"
want "armed with the library" "$(idle 5)" "$(counts 4)"
say "loop $T/library.so 200"; want "loop" "" "$said"
want "hits of a library that is loaded many times" "$(idle 205)" "$(counts 4)"
want "pending again" "attachment 4 armed 0 pending 1 refused 0" "$(rescan)"
target_end
poke drop $S 4

# ---- strings whose pages are unmapped ----
start
poke arm $S 5 -p $pid "$T/life" 'app:*'
rescan >/dev/null
reads 600000
say "unmap 2000"; want "unmapping" "" "$said"
say "altstack 10"; want "another stack" "" "$said"
say "unmapheap 500"; want "unmapping the heap" "" "$said"
kill $reader && wait $reader || fail "$(tail -1 "$T/records")"
want "strings of other stacks" 20 "$(grep -c ' faults 0 10 68746f6e61206e6f' "$T/records")"
want "strings on two pages of the heap" 500 "$(grep -c ' faults 0 19 6820656874206e6f 206e6f202c706165 6567617020 6f7774\| faults 0 19 6820656874206e6f' "$T/records")"
want "strings that were there or not" 3500 "$(grep -c -e '^5:0 .* faults 0 64 7878' -e '^5:0 .* faults 1 0' -e '^5:0 .* faults 0 0$' "$T/records")"
target_end
poke drop $S 5

# ---- namespaces, users ----
start
poke arm $S 6 -p $pid "$T/life" app:tick
rescan >/dev/null
say "tick 5"
if ! in_chroot; then
	say setns
	want "setns" "done" "$said"
else
	part_skipped "setns(2) leaves the chroot that this runs in"
fi
say "tick 5"
want "after setns" "$(idle 10)" "$(counts 6)"
if ! in_chroot; then
	say newuser
	want "a user namespace" "done" "$said"
else
	part_skipped "unshare(2) makes no user namespace in a chroot"
fi
say "tick 5"
say "fork 3"
target_end
poke drop $S 6
start
poke arm $S 7 -p $pid "$T/life" app:tick
rescan >/dev/null
say chroot; want "chroot" "done" "$said"
say "tick 5"
want "after chroot" "$(idle 5)" "$(counts 7)"
poke arm $S 8 -p $pid "$T/life" app:say
want "armed in a chroot" "attachment 7 armed 1 pending 0 refused 0
attachment 8 armed 1 pending 0 refused 0" "$(rescan)"
say "setuid 65534"; want "setuid" "done" "$said"
say "tick 5"
want "after setuid" "$(idle 10)" "$(counts 7)"
say "fork 3"; want "fork" "" "$said"
target_end
poke drop $S 7; poke drop $S 8

# ---- system calls that a filter forbids ----
start
say seccomp; want "seccomp" "" "$said"
poke arm $S 9 -p $pid "$T/life" app:tick
want_like "point that is refused" "attachment 9 armed 0 pending 0 refused 1" "$(rescan)"
say "tick 5"
target_end
