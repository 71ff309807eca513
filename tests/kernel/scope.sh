#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# --children, --pgrp, --cgroup, --if: exactly the hits of the processes in scope are counted.
. tests/lib.sh
need_root
need jq

build_once "$T/forks" "$CC" -Iinclude -O2 tests/kernel/forks.c || fail "does not compile"
mkfifo "$T/go-a" "$T/go-b"
at_end "probe-disable -q -s $S 2>/dev/null"

# one NAME ARGUMENT...: starts a process that waits at the fifo go-NAME, and sets $pid
start() {
	local name=$1
	shift
	setsid "$T/forks" "$@" <"$T/go-$name" &
	pid=$!
	eval "exec {$name}>$T/go-$name"
	runs "$pid" "$T/forks"
}
go() { eval "echo >&\$$1; exec {$1}>&-"; }
hits() { probe-stat -s "$S" --json | jq -c '[.probes[] | .hits, .filtered, .hits - .filtered - .idle - .recorded - .lost]'; }

# check WHAT WANTED ARGUMENT... -- OPTION...: two identical processes run; the options name the first one
check() {
	local what=$1 wanted=$2 args=()
	shift 2
	while [ "$1" != -- ]; do args+=("$1"); shift; done
	shift
	start a "${args[@]}"; A=$pid
	start b "${args[@]}"; O=$pid
	eval "expect 0 probe-enable -s $S $* 'forks:*'"
	go a; go b
	wait "$A" "$O"
	want "$what" "$wanted" "$(hits)"
	expect 0 probe-disable -s "$S"
	want "$what: sessions left" "" "$(probe-list --sessions 2>/dev/null | grep -w "$S")"
}

check "a process alone" '[15,0,0]' -- -p '$A'
check "its children" '[1115,0,0]' -- --children -p '$A'
check "its children, one of which execs" '[2230,0,0]' x -- --children -p '$A'
check "filtered" '[2230,212,0]' x -- --children -p '$A' --if '"arg0 == 2 || arg1 < 3"'
check "its process group" '[1115,0,0]' -- --pgrp -p '$A'
check "everybody" '[2230,0,0]' -- -f "$T/forks"
check "both by pid" '[15,0,0,15,0,0]' -- -p '$A' -p '$O'

cgroup=$(awk '$3 == "cgroup2" { print $2; exit }' /proc/mounts)
if [ -n "$cgroup" ] && mkdir -p "$cgroup/$S/below" 2>/dev/null; then
	at_end "rmdir $cgroup/$S/below $cgroup/$S 2>/dev/null"
	start a; A=$pid
	start b; O=$pid
	echo "$A" >"$cgroup/$S/below/cgroup.procs"
	expect 0 probe-enable -s "$S" --cgroup "$cgroup/$S" -f "$T/forks" 'forks:*'
	go a; go b
	wait "$A" "$O"
	want "a control group and its descendants" '[1115,0,0]' "$(hits)"
	expect 0 probe-disable -s "$S"
else
	part_skipped "cgroup2: not writable"
fi
expect 1 probe-enable -s "$S" --cgroup "$T" -f "$T/forks" 'forks:*'
want_like "a directory that is not a control group" '*not a control group*' "$out"
expect 1 probe-enable -s "$S" -f "$T/forks" --if 'nosuch == 1' 'forks:*'
want_like "a filter with an unknown name" '*nosuch*^*' "$out"
exit 0
