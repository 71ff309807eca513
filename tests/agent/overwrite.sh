#!/bin/bash
# SPDX-License-Identifier: MIT
# Rings in which new records replace the oldest: records that are read are complete, the newest, in order, and not read
# twice. The counts add up with and without a reader, with signal handlers in between, and after a SIGKILL.
. tests/lib.sh
. tests/agent/lib.sh
need jq

agent_build flight
begin() {
	coproc TARGET { under_agent "$T/flight"; }
	pid=$TARGET_PID
	exec {to}>&"${TARGET[1]}" {from}<&"${TARGET[0]}"
	wait_for 10 test -S "$XDG_RUNTIME_DIR/probepoint/agents/$pid"
	arm
}
arm() { expect 0 probe-enable -q -b agent -s $S --overwrite --string arg3 -p $pid flight:hit; }
tell() { # LINE: stores the sum of all hits in $ran
	echo "$1" >&$to
	read -t $patience -r ran <&"$from" || fail "the target does not reply to \"$1\""
	ran=${ran#ran }
}
end() {
	probe-disable -q -s $S || fail "cannot be disarmed"
	echo exit >&$to
	wait $pid
	want "exit status of the target" 0 $?
}
counted() { probe-stat --json -s $S | jq "[.probes[].$1] | add"; }
accounts() { # WHAT
	want "$1: hits" $ran "$(counted hits)"
	want "$1: the sum" $ran $(($(counted filtered) + $(counted idle) + $(counted recorded) + $(counted lost)))
}
# Checks each record, and the order of each id's records. With `whole`, an id's last record is the last of so many.
whole() { # WHAT FILE
	local wrong
	wrong=$(jq -c 'select(.args | .arg2 != -1 - .arg1 or (.arg3 | length) != 26 - .arg1 % 26)' "$2" | head -n 3) ||
		fail "$1: $(tail -n 1 "$2")"
	want "$1: records that are torn" "" "$wrong"
	wrong=$(jq -r '.args | "\(.arg0) \(.arg1)"' "$2" |
		awk '$1 in last && $2 + 0 <= last[$1] { print; exit } { last[$1] = $2 + 0 }')
	want "$1: records out of order, or read twice" "" "$wrong"
}

# ---- one thread without a reader: the newest records are kept, without a gap ----

begin
tell "brief 1 200000"
accounts "one thread"
n=$(counted recorded)
[ $n -gt 2000 ] && [ $n -lt 20000 ] || fail "a full ring has $n records"
trace_kept "$T/records" --json -s $S
want "number of records read" $n "$(wc -l <"$T/records")"
whole "one thread" "$T/records"
want "the newest, without a gap" "$((200000 - n)) 199999" \
	"$(jq -s -r '"\(.[0].args.arg1) \(.[-1].args.arg1)"' "$T/records")"

# Records that were read are not counted as lost when they are overwritten.
tell "brief 1 100"
accounts "on"
want "recorded" $((n + 100)) "$(counted recorded)"
tell "brief 1 200000"
accounts "on and on"
kept=$(($(counted recorded) - n))
trace_kept "$T/records" --json -s $S
want "number of records kept" $kept "$(wc -l <"$T/records")"
whole "on" "$T/records"
end

# ---- more threads than there are rings ----

begin
tell "brief 700 10"
accounts "700 threads"
trace_kept "$T/records" --json -s $S
whole "700 threads" "$T/records"
want "number of records read" "$(counted recorded)" "$(wc -l <"$T/records")"
[ "$(wc -l <"$T/records")" -ge 2550 ] || fail "256 rings have $(wc -l <"$T/records") records"
want "the newest threads" 2500 "$(jq -c 'select(.args.arg0 > 450)' "$T/records" | wc -l)"
end

# ---- four threads and signal handlers, with a reader and without ----

begin
tell "run 4 100000"
accounts "four threads"
trace_kept "$T/records" --json -s $S
whole "four threads" "$T/records"
want "number of records read" "$(counted recorded)" "$(wc -l <"$T/records")"
had=$(counted recorded)
tracing "$T/records" --json -s $S
tell "run 4 100000"
kill -TERM $tracer
wait $tracer
accounts "read meanwhile"
whole "read meanwhile" "$T/records"
want "number of records read" $(($(counted recorded) - had)) "$(wc -l <"$T/records")"
end

# ---- the reader killed, the target killed ----

[ "${PROBEPOINT_LONG-}" ] && times=100 || times=3
for ((i = 0; i < times; i++)); do
	begin
	tell "endless 2"
	tracing "$T/records" --json -s $S
	wait_for 30 test -s "$T/records"
	kill -KILL $tracer
	wait $tracer 2>/dev/null
	sed -i '$d' "$T/records" # the last line may be incomplete
	whole "a reader that is killed" "$T/records"
	tracing "$T/records" --json -s $S
	wait_for 30 test -s "$T/records"
	sleep 0.0$((RANDOM % 10))
	kill -KILL $pid
	wait $pid 2>/dev/null
	kill -TERM $tracer
	wait $tracer
	whole "a target that is killed" "$T/records"
	grep -q "holds invalid data" "$T/records.err" && fail "a target that is killed: $(cat "$T/records.err")"
	probe-disable -q -s $S >/dev/null 2>&1
done

# ---- refused ----

begin
expect 1 probe-enable -b agent -s $S --record -p $pid flight:begin
want_like "refusal to mix --overwrite in a session" "*session '$S' was begun with --overwrite*" "$out"
expect 0 probe-enable -q -b agent -s ${S}b --record -p $pid flight:hit
expect 1 probe-enable -b agent -s ${S}b --overwrite -p $pid flight:begin
want_like "refusal to mix --overwrite the other way" "*session '${S}b' was begun without --overwrite*" "$out"
expect 0 probe-disable -q -s ${S}b
expect 2 probe-enable -b kernel -s ${S}b --overwrite -p $pid flight:hit
end
