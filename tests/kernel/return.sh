#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# func:SYMBOL%return: for every way to leave a function, entries = hits + missed + in flight + abandoned, entries equal the
# hits of func:SYMBOL, hits equal the target's own count, and the target is unharmed.
. tests/lib.sh
. tests/kernel/lib.sh
need_kernel

build_once "$T/returns" "$CXX" -O2 -g -pthread -Wall tests/kernel/returns.cc || fail "does not compile"
at_end "probe-disable -q -s $S 2>/dev/null"

# frames_of PROBE: prints how many nested calls of it are seen, at most 200. Linux 7.2 allocates less task storage, as $out says.
frames_of() {
	local n
	n=$(sed -n "s/.*$1.*at most \([0-9]*\) calls of one thread.*/\1/p" <<<"$out")
	[ "${n:=200}" -lt 200 ] || n=200
	echo "$n"
}
# accounts WHAT: sets $hits $missed $under_way $abandoned of f from the JSON, and checks that each row adds up
accounts() {
	local bad line
	line=$(probe-stat --json -s "$S") || fail "$1: no stat"
	bad=$(jq -c '.probes[] | select(.hits != .filtered + .idle + .recorded + .lost or
		(.probe | endswith("%return")) and .entries != .hits + .missed + .under_way + .abandoned)' <<<"$line")
	[ -z "$bad" ] || fail "$1: does not add up: $bad"
	read -r entries hits missed under_way abandoned < <(jq -r '.probes[] | select(.probe == "func:f%return") |
		"\(.entries) \(.hits) \(.missed) \(.under_way) \(.abandoned)"' <<<"$line")
	want "$1: entries and hits of func:f" "$entries" "$(jq '.probes[] | select(.probe == "func:f") | .hits' <<<"$line")"
	want "$1: the target's own count" "$answer" "$entries $((hits + unseen))"
}
# do_it WORD N MOST_IN_FLIGHT MISSED: has the program do it, and compares the counts
do_it() {
	tell it "$1 $2"
	accounts "$1"
	[ "$under_way" -le "$3" ] || fail "$1: $under_way calls in flight, more than $3"
	want "$1: missed" $(($4 + unseen)) "$missed"
}

unseen=0
# start() asks for the pid, which this program answers too
start it "$T/returns"
expect 0 probe-enable -s "$S" --maxactive 256 -p "$it" func:f func:f%return func:negative%return func:tail%return func:two_ways%return \
	func:many_ways%return func:by_pointer%return func:nothing%return func:other%return
do_it return 100 0 0
unseen=$((3 * (200 - $(frames_of func:f%return))))
do_it deep 3 0 0
do_it longjmp 50 5 0
do_it throw 50 5 0
do_it thread-exit 20 5 0
do_it thread 20 5 0
do_it return 1 0 0
want "calls cut short" $((50 * 5 + 50 * 3 + 20 * 4)) "$abandoned"
do_it fork 5 0 0 # children are not in scope
do_it others 100 0 0
for probe in negative:2500 tail:800 two_ways:800 many_ways:800 by_pointer:800 nothing:800; do
	name=func:${probe%:*}%return
	want "$name, entries" "$(count "$S" "$name" entries)" "$(count "$S" "$name")"
	[ "$name" = func:negative%return ] || want "$name" "${probe#*:}" "$(count "$S" "$name")"
done
# disarmed while calls are in flight
tell it "wait 20"
accounts wait
want "calls in flight" 20 "$under_way"
probe-stat -s "$S" >"$T/table"
grep -q 'IN FLIGHT' "$T/table" || fail "probe-stat does not show them: $(cat "$T/table")"
expect 0 probe-disable -s "$S" func:two_ways%return # links are made anew while calls are under way
tell it "go 0"
accounts go
want "calls in flight after disarming" 0 "$under_way"
tell it "wait 10"
expect 0 probe-disable -s "$S"
gone "$S"
tell it "go 0"
tell it "return 10"

unseen=0
# maxactive: 5 of 20 concurrent calls and 50 of 200 nested calls are seen
expect 0 probe-enable -s "$S" --maxactive 5 -p "$it" func:f func:f%return
base=${answer% *} base_returned=${answer#* }
tell it "wait 20"
answer="$((${answer% *} - base)) 0" accounts "wait, at most 5"
want "5 of 20 concurrent calls" "5 15" "$under_way $missed"
tell it "go 0"
expect 0 probe-disable -s "$S"
expect 0 probe-enable -s "$S" --maxactive 50 -p "$it" func:f func:f%return
base=${answer% *} base_returned=${answer#* }
tell it "deep 1"
unseen=150 answer="$((${answer% *} - base)) $((${answer#* } - base_returned))" accounts "deep, at most 50"
want "50 of 200 nested calls" "50 150" "$hits $missed"
expect 0 probe-disable -s "$S"
# by default: 100 of 200 nested calls, without a remark
expect 0 probe-enable -s "$S" -p "$it" func:f func:f%return
want_like "the default number of frames" "*func:f%return *" "$out"
[[ $out != *'at most'* ]] || fail "a remark about the default: $out"
base=${answer% *} base_returned=${answer#* }
tell it "deep 1"
unseen=100 answer="$((${answer% *} - base)) $((${answer#* } - base_returned))" accounts "deep, by default"
want "100 of 200 nested calls" "100 100" "$hits $missed"
expect 0 probe-disable -s "$S"
# a kernel that cannot allocate more than 8 KiB of task storage: fewer frames, as the report and the counts show
expect 0 env PROBEPOINT_TASK_STORAGE_MAX=8192 probe-enable -s "$S" --maxactive 256 -p "$it" func:f func:f%return
want_like "fewer frames" "*func:f%return *at most [0-9]* calls of one thread*instead of 256 (--maxactive)*" "$out"
most=$(sed -n 's/.*at most \([0-9]*\) calls of one thread.*/\1/p' <<<"$out")
[ "$most" -ge 64 ] && [ "$most" -lt 200 ] || fail "$most frames in 8 KiB"
base=${answer% *} base_returned=${answer#* }
tell it "deep 1"
unseen=$((200 - most)) answer="$((${answer% *} - base)) $((${answer#* } - base_returned))" accounts "deep, at most $most"
want "$most of 200 nested calls" "$most $((200 - most))" "$hits $missed"
expect 0 probe-disable -s "$S"
expect 0 env PROBEPOINT_TASK_STORAGE_MAX=8192 probe-enable --json -s "$S" --maxactive 256 -p "$it" func:f%return
want "calls_per_thread of fewer frames" $most "$(jq -c '.armed[].calls_per_thread' <<<"$out")"
expect 0 probe-disable -s "$S"
expect 1 env PROBEPOINT_TASK_STORAGE_MAX=8 probe-enable -s "$S" -p "$it" func:f%return
want_like "no frames at all" "*cannot allocate BPF task storage*" "$out"
expect 2 probe-enable -s "$S" --maxactive 0 -p "$it" func:f%return
unseen=0

# exec() during calls: they are abandoned at once, and later calls are counted
base=${answer% *} base_returned=${answer#* }
expect 0 probe-enable -s "$S" -p "$it" func:f func:f%return
send it "exec 1"
receive it
want "after exec" again "$answer"
answer="6 0" accounts exec
want "abandoned by exec" "0 6" "$under_way $abandoned"
tell it "return 4"
answer="10 4" accounts "after exec"
# killed during calls
tell it "wait 8"
kill -KILL "$it"
{ wait "$it"; } 2>/dev/null
wait_for 10 eval '[ "$(count $S func:f%return under_way)" = 0 ]'
answer="18 4" accounts killed
expect 0 probe-disable -s "$S"
gone "$S"

# records: the arguments at the entry, the result and the duration
start it "$T/returns"
# traced N WORD ARGS...: $out is the N records of WORD, done once, or $n records if fewer nested calls are seen
traced() {
	local word=$2
	n=$1
	shift 2
	expect 0 probe-enable --record -s "$S" --maxactive 256 -p "$it" "$@"
	frames=$(frames_of %return)
	[ "$n" -le "$frames" ] || n=$frames
	tell it "$word 1"
	expect 0 timeout -s INT 60 probe-trace -q --json -n "$n" -s "$S"
	local records=$out
	expect 0 probe-disable -q -s "$S"
	out=$records
}
# The parameters have names if the compiler leaves the function in one part.
traced 200 work --string arg2 'func:f%return'
want "depth, result and text, innermost first" "$n" \
	"$(jq -c '.args | select(.ret == (.depth // .arg1) + 2 and (.text // .arg2) == "deep" and (.what // .arg0) == 6)' <<<"$out" | wc -l)"
want "an outer call lasts longer than an inner one" true \
	"$(jq -s '[.[].args.duration] | . == unique and .[0] > 0' <<<"$out")"
traced 2 others --if 'arg0 >= 6' 'func:two_ways%return'
want "by the entry's arguments" '[[6,21],[7,7]]' "$(jq -sc '[.[].args | [.i, .ret]]' <<<"$out")"
traced 1 others --if 'ret == 21' 'func:two_ways%return'
want "by the result" '[6,21]' "$(jq -c '.args | [.i, .ret]' <<<"$out")"
traced 8 others 'func:tail%return'
want "the result is null after a tail call" 8 "$(jq -c 'select(.args.ret == null) | .args.i' <<<"$out" | wc -l)"
# refused with the reason, while other functions are armed
case $(uname -m) in
aarch64)
	reasons=("authenticates|authenticates a return address" "has_data|'has_data' of *has data in its code"
		"table_of_addresses|jumps by a table of addresses") ;;
*) reasons=("jumps_inside|'jumps_inside' of *jumps into the middle of an instruction") ;;
esac
reasons+=("runs_on|'runs_on' of *returns' continues past its end" "unsized|has no size for 'unsized'")
refused=("${reasons[@]%%|*}")
refused=("${refused[@]/#/func:}")
expect 3 probe-enable -s "$S" -p "$it" func:f%return "${refused[@]/%/%return}"
for reason in "${reasons[@]}"; do
	want_like "${reason%%|*}" "*${reason#*|}*" "$(probe-enable -s "$S" -p "$it" "func:${reason%%|*}%return" 2>&1)"
done
tell it "return 3"
want "armed with those refused" 3 "$(count "$S" func:f%return)"
expect 0 probe-disable -s "$S"
# a kernel without uprobe-multi
export PROBEPOINT_NO_UPROBE_MULTI=1
expect 0 probe-enable -s "$S" --maxactive 256 -p "$it" func:f func:f%return
unseen=$((2 * (200 - $(frames_of func:f%return))))
base=${answer% *} base_returned=${answer#* }
tell it "longjmp 3"
tell it "deep 2"
answer="$((${answer% *} - base)) $((${answer#* } - base_returned))" accounts "without uprobe-multi"
want "abandoned" 15 "$abandoned"
expect 0 probe-disable -s "$S"
stop it
