#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# The kernel backend in another pid namespace: pids in arguments, scopes, filters, counts and records are those of the namespace,
# compared with the program's own log. Commands outside of it do not take them for their own.
. tests/lib.sh
. tests/kernel/lib.sh
need_kernel
need unshare pgrep setsid

build_once "$T/pids" "$CC" -O2 -Iinclude -pthread -Wall tests/kernel/pids.c || fail "does not compile"
at_end "probe-disable -q -s $S 2>/dev/null"

cat >"$T/inside.sh" <<'I'
. tests/lib.sh
. tests/kernel/lib.sh
rm -rf "$T"
T=$1 S=$2
at_end=() # the files are the other script's
trap - EXIT
want "this pid" 1 $$
mkfifo "$T/in" "$T/out"
setsid "$T/pids" "$T/log" <"$T/in" >"$T/out" & # a process group of this namespace
pid=$!
exec {in}>"$T/in" {reply}<"$T/out"
runs $pid "$T/pids"
go() { echo "$1" >&$in; read -r -t $patience answer <&$reply || fail "the target has ended"; }
logged() { grep -c "$1" "$T/log"; }
hits() { probe-stat --json -s "$S" | jq '[.probes[].hits] | add // 0'; }

# one process: its threads, and not its children
expect 0 probe-enable -s "$S" -p $pid p:hit
go "3 4 2"
want "hits of the process" "$(logged "^$pid ")" "$(hits)"
want "the pid" $pid "$(probe-stat --json -s "$S" | jq '.probes[0].pid')"
expect 0 probe-disable -s "$S"

# with children: records, compared with the log
: >"$T/log"
tracing "$T/records" --json -p $pid --children p:hit
go "3 4 5"
kill -INT $tracer
wait $tracer
sort "$T/log" >"$T/wanted"
jq -r '"\(.pid) \(.tid)"' "$T/records" | sort >"$T/got"
cmp -s "$T/wanted" "$T/got" || fail "records and log differ: $(diff "$T/wanted" "$T/got" | head -5)"
[ "$(cut -d' ' -f1 "$T/got" | sort -u | wc -l)" -gt 5 ] || fail "too few processes"

# filters, and counts by process
: >"$T/log"
expect 0 probe-enable -s "$S" -f "$T/pids" --if "pid == $pid" p:hit
go "2 3 4"
want "filtered by pid" "$(logged "^$pid ") $(logged .)" \
	"$(probe-stat --json -s "$S" | jq -r '.probes[0] | "\(.hits - .filtered) \(.hits)"')"
want "hits by process" "$(cut -d' ' -f1 "$T/log" | sort | uniq -c | awk '{ print $2, $1 }' | sort)" \
	"$(probe-stat --json -s "$S" | jq -r '.probes[0].processes[] | "\(.pid) \(.hits)"' | sort)"
expect 0 probe-disable -s "$S"

# a process group, and a process in a namespace below this one
: >"$T/log"
expect 0 probe-enable -s "$S" -p $pid --pgrp p:hit
go "1 2 3"
want "hits of the process group" "$(logged .)" "$(hits)"
expect 0 probe-disable -s "$S"
mkfifo "$T/in2" "$T/out2"
unshare -pf "$T/pids" "$T/log2" <"$T/in2" >"$T/out2" &
exec {in2}>"$T/in2" {reply2}<"$T/out2"
wait_for 20 eval 'below=$(pgrep -P $! -x pids)'
runs "$below" "$T/pids"
expect 0 probe-enable -s "$S" -p "$below" p:hit
echo "2 3 0" >&$in2
read -r -t $patience <&$reply2
want "hits below this namespace" "$(grep -c . "$T/log2")" "$(hits)"
exec {in2}>&- {reply2}<&-
expect 0 probe-disable -s "$S"

# left for the commands outside
expect 0 probe-enable -s "$S" -p $pid p:hit
go "1 9 0"
echo "$pid $(hits)" >"$T/left"
read -r <"$T/go"
want "hits after a part was tried outside" "$(($(cut -d' ' -f2 "$T/left")))" "$(hits)"
go "1 5 0"
hits >"$T/last"
exec {in}>&-
wait $pid
I
# /proc of the outer namespace is not taken for the own one, even by a command that has the same pid in both.
cat >"$T/same.sh" <<'I'
for k in {1..500}; do
	sh -c 'read -r outer rest </proc/self/stat; echo $outer' >"$1/outer"
	echo $(($(<"$1/outer") + k % 9)) >/proc/sys/kernel/ns_last_pid # others fork, too
	sh -c 'read -r outer rest </proc/self/stat; [ $outer = $$ ] || exit 99
		exec probe-enable -q -s "$1" -p 1 p:hit' - "$2"
	status=$?
	[ $status = 99 ] || exit $status
done
I
expect 1 unshare -pf bash "$T/same.sh" "$T" "$S"
want_like "the same pid in two namespaces" "*needs the /proc of this pid namespace*" "$out"

mkfifo "$T/go"
unshare -pf --mount-proc bash "$T/inside.sh" "$T" "$S" >"$T/said" 2>&1 &
unshared=$!
exec {go}<>"$T/go"
until [ -s "$T/left" ]; do
	kill -0 $unshared 2>/dev/null || fail "inside: $(cat "$T/said")"
	sleep 0.05
done
read -r inner hits <"$T/left"

# From outside: counts are right, and pids are not taken for those here.
stat=$(probe-stat --json -s "$S")
inode=$(stat -Lc %i "/proc/$(pgrep -P $unshared)/ns/pid")
want "the row from outside" "$inner $inode $hits unknown" \
	"$(jq -r '.probes[0] | "\(.pid) \(.pid_namespace) \(.hits) \(.state)"' <<<"$stat")"
expect 1 probe-trace -n 1 -s "$S"
want_like "records from outside" "*cannot read the records of session '$S' here*" "$out"
expect 1 probe-disable -s "$S" -p "$inner"
want_like "disarming a pid from outside" "*another pid namespace*" "$out"
expect 1 probe-enable -s "$S" -f "$T/pids" p:hit
want_like "arming from outside" "*was made in another pid namespace*" "$out"
echo >&$go
wait $unshared || fail "inside: $(cat "$T/said")"
want "hits by the last process" $((hits + 5)) "$(cat "$T/last")"
# Nobody can enter the namespace any more.
expect 0 probe-disable -s "$S"
no_session "$S" || fail "the session is left"
