#!/bin/bash
# SPDX-License-Identifier: MIT
# The commands on processes with an agent: they report what the programs count themselves, hit by hit.
. tests/lib.sh
. tests/agent/lib.sh
. tests/kernel/lib.sh
need jq
build_hits
agent_hits() {
	start "$1" env LD_PRELOAD="$AGENT" "${2:-$T/hits}"
	wait_for 10 has_agent ${!1}
}
sums() { # SESSION PROBE: hits filtered idle recorded lost
	probe-stat --json -s "$1" | jq -r --arg p "$2" '[.probes[] | select(.probe == $p)] |
		[(map(.hits) | add), (map(.filtered) | add), (map(.idle) | add), (map(.recorded) | add), (map(.lost) | add)] |
		map(. // 0 | tostring) | join(" ")'
}
all_written() { [ "$(wc -l <"$T/traced")" -ge "$(count $S k:one recorded)" ]; }

each=$((1000000 / slow / 4 * 4))
# ---- 8 threads, 1,000,000 hits each on a fast machine: without a reader, with a reader, with a filter ----

agent_hits a
bytes=$(site_bytes $a)
expect 0 probe-enable -s $S -p $a k:one k:two
want_like "what is armed" "*armed    k:one  pid $a  1 site  agent*" "$out"
expect 0 probe-list -p $a
[[ $out != *"not an ELF file"* ]] || fail "the agent's own code is taken for an image: $out"
tell a "run 8 $each"
want "the program's own count" $((8 * each)) "$answer"
want "counts without a reader" "$((8 * each)) 0 $((8 * each)) 0 0" "$(sums $S k:one)"
adds_up $S
expect 0 probe-disable -q -s $S
gone $S
want "bytes of the site after disarming" "$bytes" "$(site_bytes $a)"

expect 0 probe-enable -q -b agent -s $S -p $a --string arg2 --if 'arg0 % 4 == 1 && arg1 != 7' k:one
# On a busy machine a thread may stop for 0.1 s, which is the default delay, while it writes a record.
env --default-signal=INT probe-trace -s $S --json --delay=1s >"$T/traced" 2>"$T/said" &
tracer=$!
until [ "$(count $S k:one recorded)" -gt 0 ]; do tell a "run 1 8"; done
before=$(sums $S k:one)
tell a "run 8 $each"
wait_for 300 all_written
kill -INT $tracer
wait $tracer || fail "probe-trace: $(cat "$T/said")"
read -r hits filtered idle recorded lost <<<"$(sums $S k:one)"
read -r hits0 filtered0 idle0 _ _ <<<"$before"
want "hits" $((8 * each)) $((hits - hits0))
want "counts with a filter" $((8 * each - each * 7 / 4)) $((filtered - filtered0))
want "idle, recorded and lost" $((each * 7 / 4)) $((idle - idle0 + recorded + lost - ${before##* } - $(cut -d' ' -f4 <<<"$before")))
adds_up $S
want "records" "$recorded" "$(wc -l <"$T/traced")"
want_like "summary of the trace" "*$recorded recorded, $((lost - ${before##* })) lost*" "$(cat "$T/said")"
want "records that the filter should have dropped" 0 "$(jq -c 'select(.args.arg0 % 4 != 1 or .args.arg1 == 7)' "$T/traced" | wc -l)"
want "the string" '"a string of thirty-two bytes, no"' "$(jq -c .args.arg2 "$T/traced" | sort -u)"
want "records of each thread in order" "" "$(jq -r '"\(.tid) \(.time)"' "$T/traced" |
	awk '$2 < last[$1] { print; exit } { last[$1] = $2 }')"
want "records in order of time" "" "$(jq -r .time "$T/traced" | awk 'NR > 1 && $1 < last - 10000000 { print NR; exit } { last = $1 }')"
expect 0 probe-disable -q -s $S
gone $S

# ---- the kernel arms sites that the agent cannot arm ----

if [ "$(uname -m)" != x86_64 ]; then
	part_skipped "sites that the agent cannot arm: on this CPU it arms those of SystemTap's header, too"
elif [ "$(id -u)" = 0 ]; then
	build_once "$T/mixed" "$CC" -O2 -Iinclude tests/agent/mixed.c || fail "mixed does not build"
	agent_hits m "$T/mixed"
	expect 0 probe-enable --json -s $S -p $m 'mixed:*'
	want "backend of each point" '[["mixed:older","kernel",true],["mixed:ours","agent",true]]' \
		"$(json '[.armed[] | [.probe, .backend, .verified]] | sort' <<<"$out")"
	env --default-signal=INT probe-trace -s $S --json >"$T/traced" 2>"$T/said" &
	tracer=$!
	until [ "$(count $S mixed:older recorded)" -gt 0 ] && [ "$(count $S mixed:ours recorded)" -gt 0 ]; do tell m "run 1"; done
	tell m "run 1000"
	want "hits" "$(count $S mixed:ours)" "$(count $S mixed:older)"
	adds_up $S
	both_written() { [ "$(wc -l <"$T/traced")" = $(($(count $S mixed:ours recorded) + $(count $S mixed:older recorded))) ]; }
	wait_for 60 both_written
	kill -INT $tracer
	wait $tracer || fail "probe-trace: $(cat "$T/said")"
	want "last record of each point" '999 999' "$(for p in ours older; do
		jq ".args | select(.) | .arg0" <(grep "mixed:$p" "$T/traced") | tail -n 1; done | xargs)"
	expect 0 probe-disable -q -s $S mixed:older
	n=$(count $S mixed:ours)
	tell m "run 10"
	want "hits of the remaining point" $((n + 10)) "$(count $S mixed:ours)"
	expect 0 probe-disable -q -s $S
	gone $S
	expect 3 probe-enable --json -b agent -s $S -p $m 'mixed:*'
	want_like "refusal with -b agent" "*the site is not followed by the 10-byte nop*" "$(json '.refused[].reason' <<<"$out")"
	expect 0 probe-disable -q -s $S
	stop m
else
	part_skipped "arming by the kernel needs root"
fi

# ---- slower than the reader: no record is lost, and a trace holds all ----

# After an interrupt probe-trace reads for 10 s, in which an emulated machine does not print 262,144 records.
[ "$slow" = 1 ] && size=4M || size=64K
expect 0 probe-enable -q -b agent -s $S --record --buffer $size -p $a k:three
tell a "run 4 1000"
expect 0 timeout -s INT 120 probe-trace -q -s $S -n 4000 -o "$T/trace"
if have babeltrace2; then
	want "records in the trace" 4000 "$(babeltrace2 "$T/trace" | wc -l)"
else
	part_skipped "records in the trace: babeltrace2 is not installed"
fi
want "recorded" "4000 0 0 4000 0" "$(sums $S k:three)"
tell a "run 1 1000000"
read -r hits _ idle recorded lost <<<"$(sums $S k:three)"
want "hits" "1004000 0" "$hits $idle"
want "recorded and lost" 1004000 $((recorded + lost))
[ $lost -gt 0 ] || fail "a ring held 1,000,000 records"
trace_kept "$T/traced" --json -s $S
want "records kept for a later reader" $((recorded - 4000)) "$(wc -l <"$T/traced")"
expect 0 probe-disable -q -s $S
gone $S

# ---- strings, and a memory operand that cannot be read ----

agent_build simple
target "$T/simple"
expect 0 probe-enable -q -b agent -s $S --record -p $pid app:say
say "say 4"
expect 0 timeout -s INT 120 probe-trace -q --json -s $S -n 4
want "strings" '"in the image" "on the stack" null "on the heap"' "$(jq -c .args.text <<<"$out" | xargs -d '\n')"
expect 0 probe-disable -q -s $S
expect 0 probe-enable -q -b agent -s $S --record -p $pid --if 'text =~ "on*"' app:say
say "say 400"
want "counts with a filter by a string that may be unreadable" "400 200 0 200 0" "$(sums $S app:say)"
expect 0 probe-disable -q -s $S
expect 1 probe-enable -b agent -s $S -p $pid --if 'text == 5' app:say
want_like "error message about the filter" "*text == 5*^*" "$out"
gone $S

# ---- disarmed in parts; armed again; two sessions on one site ----

expect 0 probe-enable -q -s $S -p $pid 'app:*'
say "tick 10"; say "say 3"
expect 0 probe-enable -s $S -p $pid app:tick app:say
want_like "points that are armed already" "armed    app:say  pid $pid  1 site  agent, armed in this session already
armed    app:tick  pid $pid  1 site  agent, armed in this session already" "$out"
expect 0 probe-disable -s $S app:tick
want "message about disarmed sites" "disarmed 1 site in session '$S'" "$out"
say "tick 10"; say "say 3"
want "hits of the other point" 6 "$(count $S app:say)"
expect 0 probe-enable -q -s $S -p $pid app:tick
expect 0 probe-enable -q -s ${S}b -p $pid --if 'arg0 < 2' app:tick
say "tick 10"
want "hits after arming again" 10 "$(count $S app:tick)"
want "counts of a second session" "10 8 2 0 0" "$(sums ${S}b app:tick)"
expect 0 probe-disable -q -s ${S}b
say "tick 10"
want "hits after the second session ended" 20 "$(count $S app:tick)"
expect 0 probe-disable -q -s $S
gone $S
expect 0 probe-enable --json --fast -b agent -s $S -p $pid app:tick
want "a row of --fast" '[null,"--fast: no effect, because the agent arms without traps"]' "$(json '.armed[0] | [.fast, .reason]' <<<"$out")"
expect 0 probe-disable -q -s $S
gone $S
target_end

# ---- a library that is loaded later ----

agent_build life
build_once "$T/library.so" $CC -O2 -shared -fPIC -Iinclude tests/agent/library.c || fail "not a library"
target "$T/life"
expect 0 probe-enable -b agent -s $S -p $pid -f "$T/library.so" lib:hit
want_like "pending" "pending  lib:hit*" "$out"
say "load $T/library.so 5"
want "hits of a library that was loaded later" 5 "$(count $S lib:hit)"
say "loop $T/library.so 20"
want "hits of a library that is loaded many times" 25 "$(count $S lib:hit)"
expect 0 probe-disable -q -s $S
gone $S
target_end

# ---- children; counts of processes that have ended ----

target "$T/life"
expect 0 probe-enable -q -b agent --children -s $S -p $pid app:tick
say "tick 4"
say "fork 100"
say "forks 30"
want "hits of children" 164 "$(count $S app:tick)"
target_end
want "hits after the processes have ended" 164 "$(count $S app:tick)"
want "hits read a second time" 164 "$(count $S app:tick)"
expect 0 probe-disable -q -s $S
gone $S

expect 0 probe-enable -q -b agent -s $S 'k:*' -- "$T/hits" 3 5000
want "hits of a command" "15000 15000 15000" "$(count $S k:one) $(count $S k:two) $(count $S k:three)"
expect 0 probe-disable -q -s $S
gone $S
expect 0 probe-trace -b agent --json k:two -- "$T/hits" 2 500
want "records of a command" 1000 "$(grep -c '"probe": *"k:two"' <<<"$out")"

# A process that is killed: the counts that a command saw before are kept.
target "$T/life"
expect 0 probe-enable -q -b agent -s $S -p $pid app:tick
say "tick 7"
want "hits before" 7 "$(count $S app:tick)"
kill -KILL $pid
wait $pid 2>/dev/null
exec {to}>&- {from}<&-
want "hits after" 7 "$(count $S app:tick)"
expect 0 probe-disable -q -s $S
gone $S

# ---- namespaces: nothing is counted twice ----

if [ "$(id -u)" = 0 ] && in_chroot; then
	part_skipped "setns(2) leaves the chroot that this runs in"
elif [ "$(id -u)" = 0 ]; then
	target "$T/life"
	expect 0 probe-enable -q -b agent -s $S --record -p $pid app:tick
	say "tick 5"
	want "hits before" 5 "$(count $S app:tick)"
	tracing "$T/traced" --json -s $S
	say setns
	say "tick 5"
	wait_for 20 eval '[ "$(wc -l <"$T/traced")" = 10 ]'
	kill -INT $tracer
	wait $tracer
	want "after setns" 10 "$(count $S app:tick)"
	want "number of records" 10 "$(wc -l <"$T/traced")"
	expect 0 probe-disable -q -s $S
	gone $S
	target_end
fi

# ---- every process of a file, present or future ----

agent_hits b
expect 0 probe-enable -q -b agent -s $S -f "$T/hits" k:two
tell a "run 2 10"
tell b "run 2 20"
agent_hits c
tell c "run 2 30"
want "hits of three processes" 120 "$(count $S k:two)"
expect 0 probe-disable -q -s $S k:two
gone $S
stop c
stop b

# ---- refusals name what the agent cannot do ----

refuses() { # TEXT OPTION...
	expect 1 probe-enable -b agent -s ${S}r "${@:2}"
	want_like "refused: ${*:2}" "$1" "$out"
	gone ${S}r
}
bytes=$(site_bytes $a)
refuses "*'func:main': the agent arms probes, not functions; use -b kernel*" -p $a func:main
refuses "*'func:main%return': the agent arms probes, not functions*" -p $a func:main%return
refuses "*the agent cannot disarm when a command ends*-b kernel*" --for 1 -p $a k:two
refuses "*the agent cannot disarm when a command ends*" --until-exit -p $a k:two
refuses "*the agent does not support process groups and control groups*" --pgrp -p $a k:two
refuses "*pid $$: the process has no agent*" -p $$ -f "$T/hits" k:two
printf '#include <sys/sdt.h>\nint f(int a) { STAP_PROBE1(small, one, a); return a; }\n' >"$T/small.c"
if $CC -m32 -O2 -ffreestanding -shared -fPIC -nostdlib -Iinclude -o "$T/small.so" "$T/small.c" 2>/dev/null; then
	refuses "*'$T/small.so' is not 64-bit code for the agent's CPU*" -f "$T/small.so" small:one
	refuses "*'$T/small.so' is not 64-bit code for the agent's CPU*" -p $a -f "$T/small.so" small:one
else
	part_skipped "$CC makes no 32-bit library"
fi
want "bytes of the site after refusals" "$bytes" "$(site_bytes $a)"

# ---- kernel and agent on one site; each leaves first once, or keeps the other out ----

both_at_once() {
	for first in kernel agent; do
		expect 0 probe-enable -q -b kernel -s ${S}k -p $a k:one k:two
		expect 0 probe-enable -q -b agent -s ${S}a -p $a k:one k:two
		tell a "run 4 1000"
		want "hits counted by the kernel" "4000 4000" "$(count ${S}k k:one) $(count ${S}k k:two)"
		want "hits counted by the agent" "4000 4000" "$(count ${S}a k:one) $(count ${S}a k:two)"
		case $first in kernel) expect 0 probe-disable -q -s ${S}k ;; agent) expect 0 probe-disable -q -s ${S}a ;; esac
		tell a "run 4 1000"
		case $first in
		kernel) want "hits counted by the agent alone" 8000 "$(count ${S}a k:one)"; expect 0 probe-disable -q -s ${S}a ;;
		agent) want "hits counted by the kernel alone" 8000 "$(count ${S}k k:one)"; expect 0 probe-disable -q -s ${S}k ;;
		esac
		gone ${S}k
		gone ${S}a
		want "bytes of the site after disarming" "$bytes" "$(site_bytes $a)"
	done
}
# On aarch64 a site is one nop, which one backend has at a time.
one_at_a_time() {
	local first second
	for first in kernel agent; do
		[ $first = kernel ] && second=agent || second=kernel
		expect 0 probe-enable -q -b $first -s ${S}k -p $a k:one k:two
		expect 1 probe-enable -q -b $second -s ${S}a -p $a k:one
		want_like "the $second backend on a site of the $first backend" "*pid $a*" "$out"
		tell a "run 4 1000"
		want "hits counted by the $first backend" "4000 4000" "$(count ${S}k k:one) $(count ${S}k k:two)"
		expect 0 probe-disable -q -s ${S}k
		gone ${S}k
		gone ${S}a
		want "bytes of the site after disarming" "$bytes" "$(site_bytes $a)"
	done
}
if [ "$(id -u)" = 0 ] && [ -d /sys/bus/event_source/devices/uprobe ]; then
	if [ "$(uname -m)" = x86_64 ]; then both_at_once; else one_at_a_time; fi
else
	part_skipped "kernel and agent at once need root and uprobes"
fi
stop a

# ---- without privileges; a process of another user ----

if [ "$(id -u)" = 0 ]; then
	cat >"$T/user.sh" <<'U'
set -eu
cd "$T/user"
export XDG_RUNTIME_DIR=$T/user
mkfifo "$T/user/in" "$T/user/out"
LD_PRELOAD=$AGENT "$T/hits" <"$T/user/in" >"$T/user/out" &
exec 5>"$T/user/in" 6<"$T/user/out"
tell() { echo "$1" >&5; read -r answer <&6; }
tell pid
pid=${answer#ok }
echo "$pid" >"$T/user/pid"
probe-enable -s u -p "$pid" k:one k:two
tell "run 8 1000"
probe-stat --json -s u | jq -c '.probes[] | [.probe, .hits]'
(until [ "$(probe-stat --json -s u | jq '[.probes[].recorded] | add')" -gt 0 ]; do sleep 0.1; tell "run 1 1"; done) &
probe-trace -q -s u -n 1 | sed 's/.*k:/k:/; s/=.*//'
wait $!
probe-disable -s u k:two
probe-disable -s u
probe-list --sessions
probe-trace -q k:three -- "$T/hits" 1 2 | sed 's/.*k:/k:/'
until [ -e "$T/user/end" ]; do sleep 0.05; done
echo end >&5
U
	mkdir "$T/user"
	chown 65534:65534 "$T/user"
	chmod 700 "$T/user"
	chmod 755 "$T/hits"
	for_others
	export T
	PATH=$T/product/bin:$PATH AGENT=$T/product/lib/libprobepoint-agent.so nobody bash "$T/user.sh" >"$T/out" 2>&1 & user=$!
	for ((i = 0; i < 600; i++)); do grep -q "no session" "$T/out" && break; sleep 0.1; done; [ $i -lt 600 ] || fail "without privilege: $(cat "$T/out")"
	other=$(cat "$T/user/pid")
	sleep 0.5
	# The agent accepts root, but root's commands look for root's agents. Another user gets an error message.
	setpriv --reuid=65533 --regid=65533 --clear-groups --bounding-set=-all --inh-caps=-all \
		env -u XDG_RUNTIME_DIR "$T/product/bin/probe-enable" -b agent -s $S -p $other k:one >"$T/refused" 2>&1 &&
		fail "another user's process was armed"
	want_like "error message for another user" "*pid $other: the process belongs to user '*' (65534)*" "$(cat "$T/refused")"
	rm -rf /tmp/probepoint-65533
	touch "$T/user/end"
	wait $user || fail "without privilege: $(cat "$T/out")"
	sed -i "s/pid $other\b/pid N/; s/^\(armed .*\)  not verified.*/\1/" "$T/out"
	diff -u --label wanted --label got - "$T/out" <<'W' || fail "without privilege"
armed    k:one  pid N  1 site  agent
armed    k:two  pid N  1 site  agent
["k:one",8000]
["k:two",8000]
k:one arg0
disarmed 1 site in session 'u'
disarmed 1 site in session 'u'
probe-list: no sessions
k:three
k:three
W
else
	part_skipped "another user needs root"
fi
