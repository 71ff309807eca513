#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# A debugger that is attached before, while and after a probe is armed: no process dies, and refusals have reasons.
. tests/lib.sh
need_root
need gdb jq

build_once "$T/forks" "$CC" -Iinclude -O2 -g tests/kernel/forks.c || fail "does not compile"
at_end "probe-disable -q -s $S 2>/dev/null"
mkfifo "$T/go" "$T/gdb"

start() {
	"$T/forks" <"$T/go" &
	pid=$!
	exec {go}>"$T/go"
	runs $pid "$T/forks"
	gdb -q -nx -p "$pid" <"$T/gdb" >"$T/gdb.log" 2>&1 &
	gdb=$!
	exec {to_gdb}>"$T/gdb"
	echo 'set pagination off' >&$to_gdb
	echo 'echo ready\n' >&$to_gdb
	wait_for 60 grep -q ready "$T/gdb.log"
}
finish() {
	echo detach >&$to_gdb
	echo quit >&$to_gdb
	exec {to_gdb}>&-
	wait "$gdb"
	echo >&$go
	exec {go}>&-
	wait "$pid" || fail "the target died ($1)"
}
sites=$(probe-list --json "$T/forks" | jq '[.probes[] | select(.name == "hit")][0].sites[].offset')
breakpoint_stands() {
	local start site
	start=$(awk -v f="$T/forks" '$6 == f && $2 ~ /x/ { split($1, a, "-"); print a[1], $3; exit }' "/proc/$pid/maps")
	for site in $sites; do
		[ "$(dd if="/proc/$pid/mem" bs=1 count=1 skip=$((0x${start% *} - 0x${start#* } + site)) 2>/dev/null | od -An -tx1)" = ' cc' ] ||
			return 1
	done
}
hits() { probe-stat -s "$S" --json | jq '[.probes[].hits] | add'; }

# gdb's breakpoint is first: gdb writes it when it lets the process run
start
printf '%s\n' 'break -probe-stap forks:hit' 'continue &' 'echo now-set\n' >&$to_gdb
wait_for 20 grep -q now-set "$T/gdb.log"
wait_for 20 breakpoint_stands
expect 1 probe-enable -s "$S" -p "$pid" 'forks:*'
want_like "a breakpoint in the way" "*pid $gdb, which debugs pid $pid, has a breakpoint there*" "$out"
printf '%s\n' 'interrupt' 'delete' >&$to_gdb
wait_for 60 grep -qE 'SIGINT|stopped\.' "$T/gdb.log"
finish "gdb first"

# armed first: then gdb attaches, sets a breakpoint elsewhere, and detaches
start
expect 0 probe-enable -s "$S" -p "$pid" 'forks:*'
printf '%s\n' 'info probes stap forks' 'break wait' 'x/4i $pc' 'delete' >&$to_gdb
finish "gdb attached while it is armed"
want "hits of the process itself" 15 "$(hits)"
expect 0 probe-disable -s "$S"
want "sessions left" "" "$(probe-list --sessions 2>/dev/null | grep -w "$S")"
exit 0
