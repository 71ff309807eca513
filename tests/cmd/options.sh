#!/bin/bash
# SPDX-License-Identifier: MIT
# Each option of each command is used or refused in each mode of the command, and never ignored. An option that is in
# the help and not in the table below is a failure.
. tests/lib.sh
. tests/cmd/lib.sh
need_kernel
build_target
start p
at_end "probe-disable -q -s $S 2>/dev/null"
expect 0 probe-enable -q -s "$S" -p "$p" 'func:say%return' app:tick

# mode NAME: prints the command line of a mode, without the option.
mode() {
	case $1 in
	enable-pid) echo probe-enable -s "$S-x" -p "$p" app:tick ;;
	enable-file) echo probe-enable -s "$S-x" -f "$T/target" app:tick ;;
	enable-command) echo probe-enable -s "$S-x" app:tick -- "$T/target" ;;
	trace-session) echo probe-trace -s "$S" -n 1 ;;
	trace-pid) echo probe-trace -n 1 -p "$p" app:tick ;;
	trace-file) echo probe-trace -n 1 -f "$T/target" app:tick ;;
	trace-command) echo probe-trace app:tick -- "$T/target" ;;
	list-file) echo probe-list "$T/target" ;;
	list-pid) echo probe-list -p "$p" ;;
	list-sessions) echo probe-list --sessions ;;
	disable-all) echo probe-disable --all ;;
	esac
}

# Each row has an option, and the modes in which it is refused as a usage error. In all other modes it is used, which
# other tests check.
table() {
	cat <<'E'
-p PID                   | trace-session list-sessions disable-all
-f FILE                  | trace-session list-sessions
-s NAME                  | trace-pid trace-file trace-command disable-all
-b kernel                | trace-session
--if pid>0               | trace-session
--string arg0            | trace-session
--strlen 7               | trace-session
--no-string arg0         | trace-session
--children               | trace-session trace-file enable-file
--pgrp                   | trace-session trace-file enable-file
--cgroup /sys/fs/cgroup  | trace-session
--maxactive 7            | trace-session trace-pid trace-file trace-command enable-pid enable-file enable-command
-o DIR                   |
-n 1                     |
-i 1                     |
-m a:*                   | list-sessions
--sites                  | list-sessions
--sessions               | list-file list-pid
--all-processes          | list-sessions
--check                  | list-sessions enable-pid enable-file enable-command
--follow                 | enable-pid enable-file enable-command
--config FILE            | enable-pid enable-file enable-command
--flight-recorder 2M     |
--snapshot               | trace-pid trace-file trace-command
--trigger exit           | trace-session trace-pid trace-file trace-command
--otlp                   |
--trace-id arg0          | trace-session trace-pid trace-file trace-command
--openmetrics            |
--prometheus             |
--max-series 500         |
--all                    |
-a                       |
--top 3                  |
--sort name              |
--plain                  |
--fast                   | trace-session
--uretprobe              | trace-session
--strlen 10              | trace-session
--print pid              | trace-session
--agg-size 10            | trace-session
--buffer 1M              | trace-session
--every 10               | trace-session
--rate 5/s               | trace-session
--percentiles            |
--agg count()            | trace-session
--stack                  | trace-session trace-pid trace-file trace-command
--folded                 |
--latency a:b a:c        | trace-session trace-pid trace-file trace-command enable-pid enable-file enable-command
--on pid                 | trace-session trace-pid trace-file trace-command enable-pid enable-file enable-command
--min-duration 5ms       | trace-session
--yes                    | trace-session
--record                 |
--overwrite              |
--for 1s                 |
--format {time}          |
--color never            |
--delay 10ms             |
--max-size 1M            | trace-session trace-pid trace-file trace-command
--max-files 2            | trace-session trace-pid trace-file trace-command
--budget 50%             |
--until-exit             | enable-file
--system-calls           |
--inject                 | enable-file enable-command
--json                   |
-q                       |
-v                       |
E
}

# refused MODE OPTION...: checks that the option is refused with an error message.
refused() {
	local line command status
	read -ra line <<<"$(mode "$1")"
	command=("${line[0]}" "${@:2}" "${line[@]:1}")
	"${command[@]}" >"$T/out" 2>"$T/err" </dev/null
	status=$?
	want "status of ${command[*]} ($(cat "$T/err"))" 2 $status
	[ -s "$T/err" ] || fail "${command[*]}: no error message"
}

for c in list enable disable stat trace; do
	"probe-$c" --help | sed -n 's/^ *\(-.*\)/ \1/p' | sed 's/   .*//' >"$T/$c.options"
done
n=0
while IFS='|' read -r option modes; do
	read -ra given <<<"$option"
	read -ra modes <<<"$modes"
	case ${given[1]-} in PID) given[1]=$p ;; FILE) given[1]=$T/target ;; DIR) given[1]=$T/dir ;; NAME) given[1]=$S ;; esac
	for m in "${modes[@]}"; do
		grep -qE -- "(^|[ ,])${given[0]}([ ,=[]|\$)" "$T/${m%%-*}.options" || fail "probe-${m%%-*} has no ${given[0]}"
		refused "$m" "${given[@]}"
		n=$((n + 1))
	done
done < <(table)
[ $n -ge 35 ] || fail "only $n combinations were tried"
for c in list enable disable stat trace; do
	while read -r option; do
		case $option in --help | --usage | --version | '-?' | -V) continue ;; esac
		table | grep -qE -- "^$option( |\$)" || fail "probe-$c $option is in no row of the table"
	done < <(sed -E 's/^ *(-[a-zA-Z?]),.*/\1/; s/^ *(--[a-z-]+).*/\1/' "$T/$c.options")
done

# Combinations that are refused.
for option in '--format {time}' '--color never' '--delay 10ms'; do refused trace-session -o "$T/dir" $option; done
expect 2 probe-trace --json --format '{time}' -s "$S"
expect 2 probe-trace --json --color always -s "$S"
refused trace-session --color always --format '{time}'
for both in '--children --pgrp' '--children --cgroup=/sys/fs/cgroup' '--pgrp --cgroup=/sys/fs/cgroup'; do
	for m in enable-pid trace-pid; do refused $m $both; done
done
refused enable-pid --overwrite -b kernel
refused enable-pid --inject -b kernel
# Options whose argument can be checked only when the files are read.
for m in enable-pid trace-pid; do
	refused $m --string nothing
	refused $m --no-string nothing
done
want "sessions after refused options" "$S" "$(sessions)"

# ---- SIGINT ends a background command of a script, although the shell starts it with SIGINT ignored ----

for command in "probe-trace -q -s $S" "probe-stat -q -s $S -i 0.1" "probe-trace -q -p $p app:tick"; do
	rm -f "$T/out"
	env --ignore-signal=INT $command >"$T/out" 2>"$T/err" &
	tracer=$!
	until grep -qs '' "$T/out"; do tell p "tick 1"; sleep 0.05; done
	kill -INT $tracer
	wait_for 10 sh -c "! kill -0 $tracer"
	wait $tracer
	want "status of $command after SIGINT" 0 $?
done
