#!/bin/bash
# SPDX-License-Identifier: MIT
# The agent's aggregates equal those computed from the program's own log: with 8 threads, children that end in every way,
# exec, and libraries that are unloaded. Values that find no room are counted as other, and unreadable ones as unread.
. tests/lib.sh
AGENT=$B/lib/libprobepoint-agent.so
[ -e "$AGENT" ] || skip "no agent was built"
need jq python3
build() { $CC -std=gnu17 -D_GNU_SOURCE -Wall -Wextra -O2 -g -pthread -Iinclude "$@" || fail "cannot build $*"; }
build -o "$T/tally" tests/agent/tally.c
build -shared -fPIC -o "$T/library.so" tests/agent/tally-library.c
seed=${SEED:-$SRANDOM}
echo "SEED=$seed"
hits=500
[ -z "${PROBEPOINT_LONG-}" ] || hits=20000

run() {
	rm -f "$T/log"
	coproc TARGET { exec env LD_PRELOAD="$AGENT" "$T/tally" "$T/log" "$seed"; }
	pid=$TARGET_PID
	exec {to}>&"${TARGET[1]}" {from}<&"${TARGET[0]}"
	wait_for 10 grep -q libprobepoint-agent "/proc/$pid/maps"
}
say() { echo "$1" >&"$to"; read -t $patience -r line <&"$from" || fail "no reply to \"$1\""; }
end() { echo exit >&"$to"; wait "$pid"; }
arm() { expect 0 probe-enable -q -b agent -s "$S-$1" -p "$pid" --children --agg "$2" "${@:3}" tally:hit; }
stat_of() { probe-stat --json -s "$S-$1"; }
# check SESSION KEYS FIELDS...: the session's table is that of the log
check() {
	stat_of "$1" >"$T/json" || fail "probe-stat fails"
	out=$(tests/agent/tally.py "$T/log" "${@:2}" <"$T/json" 2>&1) || fail "$1, $when: $out"
}
# rest SESSION CALL: other, other_sum and unread of a call
rest() { stat_of "$1" | jq -r --argjson i "$2" '.aggregates[0].rest[$i] | "\(.other) \(.other_sum) \(.unread)"'; }
filtered() { stat_of "$1" | jq '[.probes[] | .hits - .filtered] | add'; }
disarm() { for s; do probe-disable -q -s "$S-$s"; done; }
at_end 'for s in a b c d e f g; do probe-disable -q -s "$S-$s" 2>/dev/null; done'

check_all() {
	when=$1
	check a who - delta delta delta delta
	check b - size delta
	check c who,pid size
	check d text,who - size
	check e tid -
	check f who delta
}

# ---- the same hits in six sessions ----
run
arm a 'count(), sum(delta), min(delta), max(delta), avg(delta) by who'
arm b 'hist(size), lhist(delta, -1000, 1000, 50)'
arm c 'pct(size) by who, pid' --agg-size 300000
arm d 'count(), max(size) by text, who'
arm e 'count() by tid'
arm f 'hist(delta) by who'
say "run 8 $hits"
check_all "8 threads"
say "run 20 $((hits / 20))"
for how in exit _exit kill exec; do say "child $how 3 $((hits / 4))"; done
check_all "children that have ended"
[ "$(id -u)" != 0 ] || for what in setns lock setns; do say $what; say "run 2 $hits"; done
check_all "the region has moved and was locked"
say "run 2 $hits"
end
check_all "the process has ended"
echo "$out"
disarm a b c d e f

# ---- more keys than room ----
run
arm a 'count(), sum(delta) by who' --agg-size 100
say "distinct 50"
want "others while there is room" "0 0 0" "$(rest a 0)"
say "distinct $((hits * 10))"
want "others of count()" "$((10 * hits - 50)) 0 0" "$(rest a 0)"
want "others of sum(delta)" "$((10 * hits - 50)) $((-3 * (10 * hits - 50))) 0" "$(rest a 1)"
want "keys" 50 "$(stat_of a | jq '.aggregates[0].keys')"
want "total of all keys, and of the others" "$(filtered a)" \
	"$(stat_of a | jq '.aggregates[0] | .total.values[0].count + .rest[0].other')"

# ---- texts that cannot be read ----
arm b 'count(), sum(delta) by text' --if 'who != 0'
say "bad 300"
want "unread of a key" "0 0 200" "$(rest b 1)"
want "hits that pass the filter" 200 "$(filtered b)"
disarm a b

# ---- a million keys in a table of 10,000 ----
arm a 'sum(size) by who, delta'
say "distinct 1000000"
want "keys of a million in the default table" "10000 990000" \
	"$(stat_of a | jq -r '.aggregates[0] | "\(.keys) \(.rest[0].other)"')"
want "their sum" 3000000 "$(stat_of a | jq '.aggregates[0] | .total.values[0].sum + .rest[0].other_sum')"
disarm a

# ---- a thread that must not make system calls ----
arm a 'count(), sum(size) by who'
arm b 'count() by comm'
say "strict 3000"
want "hits of a thread in strict mode" "1000 2000|1000 2000|1000 2000" \
	"$(stat_of a | jq -r '.aggregates[0].entries | map(.values | "\(.[0].count) \(.[1].sum)") | join("|")')"
want "keys of its name" "0 0 3000" "$(rest b 0)"
disarm a b
end

# ---- threads are killed while they hit ----
run
arm a 'count(), sum(size) by who, comm'
arm b 'hist(size) by who'
echo "endless 8" >&"$to"
wait_for 20 eval '[ "$(filtered b)" -gt 5000 ]'
kill -9 "$pid"
wait "$pid"
for s in a b; do
	all=$(filtered $s)
	sum=$(stat_of $s | jq '.aggregates[0] | .total.values[0].count + .rest[0].other + .rest[0].unread')
	[ $((all - sum)) -le 8 ] && [ $((sum - all)) -le 8 ] ||
		fail "a killed process: $sum values of $all hits, with 8 in flight at most"
done
disarm a b

# ---- a library that is unloaded ----
run
expect 0 probe-enable -q -b agent -s "$S-g" -f "$T/library.so" --agg 'count(), sum(value) by who' tally:lib
for i in 1 2 3; do say "library $T/library.so 1000"; done
want "hits in a library that was loaded three times" "600 298500|600 299100|600 299700|600 300300|600 300900" "$(
	stat_of g | jq -r '.aggregates[0].entries | sort_by(.key) | map(.values | "\(.[0].count) \(.[1].sum)") | join("|")')"
end

# ---- probe-stat arms by itself: no hit is recorded, so that none is lost ----
out=$(probe-stat --json -b agent --agg 'count()' tally:hit -- "$T/tally" "$T/log" "$seed" 50000) || fail "probe-stat: $out"
want "hits and idle hits of probe-stat --agg" "50000 50000 0 0" \
	"$(jq -r '.probes[0] | "\(.hits) \(.idle) \(.recorded) \(.lost)"' <<<"$out")"
run
probe-stat --json -b agent -i 0.1 -p "$pid" --children --agg 'count(), sum(delta) by who' tally:hit >"$T/reports" 2>"$T/reports.err" &
stat=$!
wait_for 10 [ -s "$T/reports" ]
for how in exit _exit kill exec; do say "child $how 3 100"; done
kill -INT $stat
wait $stat || fail "probe-stat ended with $?: $(cat "$T/reports.err"; tail -c 300 "$T/reports")"
end
tail -n 1 "$T/reports" >"$T/json"
out=$(tests/agent/tally.py "$T/log" who - delta <"$T/json" 2>&1) || fail "children of a process of probe-stat: $out"
