#!/bin/bash
# SPDX-License-Identifier: MIT
# probe-trace: lines, JSON, strings with control characters, how a trace ends, and that nothing stays armed.
. tests/lib.sh
. tests/cmd/lib.sh
need_kernel
build_target
know_sites
start p
mask() { sed -E "s/^[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6} $p\/$p /TIME P\/P /; s/\b$S\b/S/g"; }
hex() { printf %s "$1" | od -An -v -tx1 | tr -d ' \n'; }

# trace ARGUMENTS...: starts probe-trace in the background, with output to $T/out and $T/err, and returns when it
# records.
trace() {
	rm -f "$T/out"
	env --default-signal=INT probe-trace "$@" >"$T/out" 2>"$T/err" &
	tracer=$!
	# It records when a hit is in its output. finish() removes these lines.
	until [ -s "$T/out" ]; do
		kill -0 $tracer 2>/dev/null || fail "probe-trace $*: $(cat "$T/err")"
		tell p "say $(hex READY)"
		sleep 0.1
	done
	grep -q READY "$T/out" || fail "probe-trace $* does not show hits: $(cat "$T/out")"
}
# finish SIGNAL STATUS: ends probe-trace, and removes the lines of trace() from $T/out.
finish() {
	[ "$1" = none ] || kill "-$1" $tracer
	wait $tracer
	want "status after $1" "$2" $?
	sed -i '/READY/d' "$T/out"
}
# gone [all]: checks that nothing is armed and, with an argument, that no session is left.
gone() {
	want "bytes after the trace" "3 90" "$(site_bytes "$p")"
	[ -z "${1-}" ] || want "sessions left" "" "$(sessions | grep -v "^$S")"
}

# ---- text: each kind of argument, and strings with control characters ----
hostile=$(printf 'a"b\\c\n\t\r\x1b[2J\x07\x7f\x9b31m\xc3\xa9\xe2\x80\xae\xed\xa0\x80\xff')
long=$(printf 'x%.0s' {1..200})
said() {
	tell p "tick 2"
	tell p "say $(hex "$hostile")"
	tell p "say $(hex "$long")"
	tell p "say "
	tell p fault
	tell p "name $(hex "$(printf 'a b\n\x1b[1m')")"
	tell p "tick 1"
	tell p "name $(hex target)"
}
trace -p "$p" 'app:tick' '*:say__entry'
said
finish INT 0
out=$(cat "$T/out")
expect_text 0 cat "$T/out" <<'E'
TIME P/P target app:tick arg0=0
TIME P/P target app:tick arg0=1
TIME P/P target target:say__entry text="a\"b\\c\n\t\r\x1b[2J\a\x7f\x9b31mé\xe2\x80\xae\xed\xa0\x80\xff" number=-7 big=18446744073709551615 pointer=0xabc0 letter='\'' truth=true
TIME P/P target target:say__entry text="xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"... number=-7 big=18446744073709551615 pointer=0xabc0 letter='\'' truth=true
TIME P/P target target:say__entry text="" number=-7 big=18446744073709551615 pointer=0xabc0 letter='\'' truth=true
TIME P/P target target:say__entry text=<fault> number=1 big=1 pointer=0x1 letter='\n' truth=false
TIME P/P a b\n\x1b[1m app:tick arg0=0
E
grep -qx 'probe-trace: [0-9]* recorded, 0 lost' "$T/err" || fail "wrong summary: $(cat "$T/err")"
want "control characters printed" 0 "$(LC_ALL=C grep -c $'[\x01-\x08\x0b-\x1f\x7f\x9b]' "$T/out")"
gone

# ---- JSON ----
trace --json -p "$p" 'app:tick' '*:say__entry'
before=$(awk '{ printf "%d\n", $1 * 1000 }' /proc/uptime)
said
finish INT 0
want "lines and objects" "7 7" "$(wc -l <"$T/out") $(json . "$T/out" | wc -l)"
want "keys of a record" '["args","comm","pid","probe","tid","time"]' "$(head -n 1 "$T/out" | json keys)"
want "numeric argument" '{"arg0":1}' "$(sed -n 2p "$T/out" | json .args)"
want "arguments of each kind" '["number",-7,43968,39,true]' "$(sed -n 3p "$T/out" | json '.args|[(.big|type),.number,.pointer,.letter,.truth]')"
grep -q '"big":18446744073709551615[,}]' "$T/out" || fail "an argument of 64 bits is changed: $(sed -n 3p "$T/out")"
want "string with control characters" '"a\"b\\c\n\t\r\u001b[2J\u0007\u007f�31mé'$'\xe2\x80\xae''����"' "$(sed -n 3p "$T/out" | json .args.text)"
want "control characters in JSON" 0 "$(LC_ALL=C grep -c $'[\x01-\x09\x0b-\x1f\x7f\x9b]' "$T/out")"
want "string that was cut" '[["text"],127]' "$(sed -n 4p "$T/out" | json '[.cut,(.args.text|length)]')"
want "empty string" '[null,""]' "$(sed -n 5p "$T/out" | json '[.cut,.args.text]')"
want "argument that could not be read" '{"text":null,"number":1}' "$(sed -n 6p "$T/out" | json '.args|{text,number}')"
want "name of the thread" '"a b\n\u001b[1m"' "$(sed -n 7p "$T/out" | json .comm)"
want "pid and tid" "[$p,$p]" "$(head -n 1 "$T/out" | json '[.pid,.tid]')"
after=$(awk '{ printf "%d\n", $1 * 1000 + 10 }' /proc/uptime)
while read -r time; do
	[ $((time / 1000000)) -ge "$before" ] && [ $((time / 1000000)) -le "$after" ] ||
		fail "time $time ns is not between $before and $after ms"
done < <(jq .time "$T/out" | tail -n 7)
want "times in order" "$(jq .time "$T/out")" "$(jq .time "$T/out" | sort -n)"
gone

# ---- how a trace ends ----
# All hits before an interrupt are printed, and the trace does not wait for more.
for count in 1 3000; do
	tracing "$T/out" -p "$p" app:tick
	tell p "tick $count"
	kill -INT $tracer
	wait $tracer
	want "status after SIGINT" 0 $?
	want "hits before the interrupt" "$count" "$(wc -l <"$T/out")"
done
tracing "$T/out" -q -p "$p" app:tick
ticks=$((slow > 1 ? 200000 : 2000000))
echo "tick $ticks" >&"${target_in[p]}"
kill -INT $tracer
wait $tracer
want "status after SIGINT during hits" 0 $?
[ "$(wc -l <"$T/out")" -lt $((ticks / 20 * 19)) ] || fail "the trace continued after the interrupt"
read -r -t $patience answer <&"${target_out[p]}" || fail "the target has ended"
gone
trace -q -p "$p" '*:say__entry'
finish TERM 0
want "messages with -q" "" "$(cat "$T/err")"
gone

rm "$T/out"
env --default-signal=INT,PIPE probe-trace -p "$p" 'app:tick' 2>"$T/err" | head -n 1 >"$T/out" &
until [ -s "$T/out" ]; do tell p "tick 5"; sleep 0.1; done
wait $!
wait_for 20 gone
want "lines that the reader took" 1 "$(wc -l <"$T/out")"

trace -n 5 -p "$p" '*:say__entry'
for i in 1 2 3 4 5; do tell p "say 61"; done
wait $tracer
want "status after -n" 0 $?
want "lines with -n 5" 5 "$(wc -l <"$T/out")"
gone

probe-trace -n 1 -p "$p" app:tick >/dev/full 2>"$T/err" &
tracer=$!
until ! kill -0 $tracer 2>/dev/null; do tell p "tick 1"; sleep 0.1; done
wait $tracer
want "status if standard output is full" 1 $?
grep -qx 'probe-trace: cannot write the results: No space left on device' "$T/err" || fail "message: $(cat "$T/err")"
gone
probe-trace -p "$p" app:tick >&- 2>"$T/err" &
tracer=$!
until ! kill -0 $tracer 2>/dev/null; do tell p "tick 1"; sleep 0.1; done
wait $tracer
want "status if standard output is closed" 1 $?
grep -q 'cannot write the results' "$T/err" || fail "message: $(cat "$T/err")"
gone

start q
tracing "$T/out" -p "$q" app:tick
tell q "tick 3"
stop q
wait $tracer
want "status after the process has ended" 0 $?
want "hits of a process that has ended" "0 1 2" "$(sed -n 's/.* arg0=//p' "$T/out" | xargs)"

# ---- an existing session: it continues when the trace ends, and the trace ends with it ----
expect 0 probe-enable -q -s "$S" -p "$p" '*:say__entry'
tell p "say 62"
trace -s "$S"
tell p "say 63"
finish INT 0
want "records since the trace began" 'text="c"' "$(grep -o 'text="."' "$T/out")"
has_session "$S" || fail "the session ended with its reader"
wait_for 20 sh -c "probe-stat -s $S --json >'$T/stat.json'"
want "counts add up" true "$(json '.probes[0]|(.hits == .filtered + .idle + .recorded + .lost) and .recorded > 0 and .idle > 0' "$T/stat.json")"
trace -s "$S" --json
expect 1 probe-trace -s "$S"
want_like "message for a second reader" "*has a reader*" "$out"
expect 0 probe-disable -q -s "$S"
finish none 0
expect 1 probe-trace -s "$S"
want_like "message without a session" "probe-trace: no session '$S'*" "$out"
expect 1 probe-trace --json -s "$S"
want "JSON keys without a session" '["error"]' "$(json keys <<<"$out")"

# ---- -o ----
expect 0 probe-trace -o "$T/trace" -n 3 '*:tick' -- "$T/target" <<<'tick 10'
[ -s "$T/trace/metadata" ] || fail "the trace has no metadata"
expect 125 probe-trace --output="$T/trace" '*:tick' -- touch "$T/ran"
expect 125 probe-trace --output="$T/trace" --count=1 '*:tick' -- "$T/target" </dev/null
want_like "message for an existing directory" "*already exists*" "$out"
expect 1 probe-trace -o "$T/no/such" -p "$p" '*:tick'
[ ! -e "$T/ran" ] || fail "the command ran"
gone all
stop p
