#!/bin/bash
# SPDX-License-Identifier: MIT
# Threads take the rings of threads that have ended, and move their records to the flight recorder. A snapshot has the newest
# records of each thread, also of those that have ended. All others count as overwritten: none, unless the slots are full.
. tests/lib.sh
. tests/trace/lib.sh

AGENT=$B/lib/libprobepoint-agent.so
[ -e "$AGENT" ] || skip "no agent was built"
threads=3
RANDOM=${SEED:=$RANDOM}
echo "SEED=$SEED"

# slots RUN...: how many slots of 64 KiB these runs take at most. A record has at most 88 bytes.
slots() {
	local n sum=0
	for n; do
		sum=$((sum + threads * (n * 88 / 65000 + 1)))
	done
	echo $sum
}

# check: compares a snapshot with the log as it was after each run ($T/ends).
check() {
	local what="after runs of ${runs[*]}" hits
	snapshot "$T/all"
	whole "$what" "$T/all"
	tails "$what" "$T/all" $threads
	# In each run another thread of the system hits for a thread of the program. Its last record is the last of the run. A later
	# thread may have its number again.
	want "$what: threads without their last records" "" "$(
		awk 'NR == FNR { end[$1, ++runs[$1]] = $2; next }
			{ for (r = 1; $2 > end[$1, r]; r++) ; run = $1 SUBSEP r }
			run in tid && tid[run] != $5 { print "thread " $1 ", run " r ": tids " tid[run] " and " $5 }
			{ tid[run] = $5; last[run] = $2 }
			END { for (run in tid) if (last[run] != end[run]) print "tid " tid[run] ": the last record is " last[run] }' \
			"$T/ends" "$T/all.hits"
	)"
	hits=$(log $threads | awk '{ n += $2 } END { print n }')
	missing=$((hits - $(wc -l <"$T/all")))
	want "$what: recorded, overwritten, lost" "[$hits,$missing,0]" "$(probe-stat --json -s $S |
		jq -c '.probes[] | select(.probe == "recorder:hit") | [.recorded, .overwritten, .lost]')"
	[ $missing = 0 ] || [ "$(slots "${runs[@]}")" -gt 16 ] || fail "$what: $missing records are missing, and there is room"
}

# ---- threads that end after a few hits share slots: none of their records is overwritten ----

begin 2 env LD_PRELOAD="$AGENT"
expect 0 probe-enable -q -s $S -b agent --string arg3 --flight-recorder=1M -p $pid 'recorder:*'
for ((i = 0; i < 30; i++)); do say "run 4"; done
snapshot "$T/short"
whole "short threads" "$T/short"
tails "short threads" "$T/short" 2
want "short threads: records" 240 "$(wc -l <"$T/short")"
want "short threads: their threads" 60 "$(awk '{ print $1, int(($2 - 1) / 4), $5 }' "$T/short.hits" | sort -u | wc -l)"
finish
expect 0 probe-disable -q -s $S

# ---- longer runs ----

begin $threads env LD_PRELOAD="$AGENT"
expect 0 probe-enable -q -s $S -b agent --string arg3 --flight-recorder=1M -p $pid 'recorder:*'
: >"$T/ends"
runs=()
run() {
	say "run $1"
	runs+=("$1")
	log $threads >>"$T/ends"
}
run $((RANDOM % 20 + 1))
run $((RANDOM % 400 + 1))
check
run $((RANDOM % 2500 + 8000)) # more than the memory, and fewer than twice as many
run $((RANDOM % 100 + 1))
check
[ $missing -gt 0 ] || fail "no record was overwritten"
finish
exit 0
