#!/bin/bash
# SPDX-License-Identifier: MIT
# probe-trace --otlp prints what OTLP's JSON mapping allows, with the values that the program had: logs, and spans of calls.
. tests/lib.sh
. tests/cmd/lib.sh
need jq python3
need_kernel
build_target

# short FILE: checks the lines, and prints the records in short to FILE.short.
short() { python3 tests/trace/otlp.py <"$1" >"$1.short" || fail "invalid OTLP/JSON in $1: $(cat "$1.short")"; }
# values FILE JQ: prints jq's answers.
values() { jq -cS "$2" "$1.short"; }

# ---- log records: the same values as --json, for all kinds, text that is not UTF-8, and a pointer that cannot be read
start target
for form in --otlp --json; do
	tracing "$T/say$form" $form -p "$target" '*:say*'
	tell target "say 616263"
	tell target "say 61ff0a22c328"
	tell target "say c3a9e282ac"
	tell target fault
	kill -INT $tracer
	wait $tracer
	want "the status" 0 $?
done
short "$T/say--otlp"
want "kinds of records" '"log"' "$(values "$T/say--otlp" 'select(.name | test("__entry")) | .kind' | sort -u)"
want "text" '"abc"' "$(values "$T/say--otlp" 'select(.name | test("__entry")) | .args.text' | head -n 1)"
want "bytes that are not UTF-8" '{"bytes":"61ff0a22c328"}' "$(values "$T/say--otlp" 'select(.name | test("__entry")) | .args.text' | sed -n 2p)"
want "UTF-8" '"é€"' "$(values "$T/say--otlp" 'select(.name | test("__entry")) | .args.text' | sed -n 3p)"
want "arguments that could not be read" 1 "$(values "$T/say--otlp" 'select(.name | test("__entry")) | .dropped' | tail -n 1)"
want "other values" '[-7,"18446744073709551615",43968,39,true]' \
	"$(values "$T/say--otlp" 'select(.name | test("__entry")) | [.args | .number, .big, .pointer, .letter, .truth]' | head -n 1)"
# All but the text that is no UTF-8, the time and the unsigned number above INT64_MAX are as --json has them.
same='[(.args.text | if type == "string" and (contains("\ufffd") | not) then . else null end), .args.number, .args.pointer, .args.letter, .args.truth]'
want "values of --json" "$(jq -c "select(.args.text != null or .args.number) | select(.probe | test(\"__entry\")) | $same" "$T/say--json")" \
	"$(values "$T/say--otlp" "select(.name | test(\"__entry\")) | $same")"
want "the resource" "[\"target\",$target,\"$T/target\",\"$(readelf -n "$T/target" | sed -n 's/.*Build ID: //p')\"]" \
	"$(values "$T/say--otlp" '.resource | [.["service.name"], .["process.pid"], .["process.executable.path"], .["process.executable.build_id.gnu"]]' | head -n 1)"
want "thread names" '"target"' "$(values "$T/say--otlp" 'select(.name != "probepoint.account") | .args["thread.name"]' | sort -u)"

# ---- the account at the end
want "the last line" '["probepoint.account",9,0]' "$(values "$T/say--otlp" '[.name, .severity, .args["probepoint.lost"]]' | tail -n 1)"
want "records" "$(($(wc -l <"$T/say--otlp") - 1))" "$(values "$T/say--otlp" '.args["probepoint.recorded"] // empty' | tail -n 1)"

# ---- lost records: recorded + lost of the last line = hits, by the program's own number
tracing "$T/lost" --otlp --buffer 64K -p "$target" app:tick
kill -STOP $tracer
tell target "tick 60000"
kill -CONT $tracer
kill -INT $tracer
wait $tracer
short "$T/lost"
want "recorded and lost" 60000 "$(values "$T/lost" 'select(.name == "probepoint.account") | .args["probepoint.recorded"] + .args["probepoint.lost"]' | tail -n 1)"
want "log records" "$(values "$T/lost" 'select(.name == "probepoint.account") | .args["probepoint.recorded"]' | tail -n 1)" \
	"$(values "$T/lost" 'select(.name == "app:tick") | 1' | wc -l)"
want "severity of a loss" 13 "$(values "$T/lost" .severity | tail -n 1)"
stop target

# ---- spans: one for each call that returned, by the program's log; none for calls that longjmp(3) left
"$CC" -D_GNU_SOURCE -O1 -g -pthread tests/trace/otlp.c -o "$T/calls" || fail "no program of calls"
probe-trace --otlp --trace-id id 'func:nested%return' 'func:leap%return' -- "$T/calls" >"$T/spans" 2>"$T/err" || fail "$(cat "$T/err")"
grep '^{' "$T/spans" >"$T/spans.otlp"
grep -v '^{' "$T/spans" | sort >"$T/truth"
short "$T/spans.otlp"
jq -r 'select(.kind == "span") | "\(.name | sub("func:"; "")) \(.args["thread.id"]) \(.args.n) \(.args.id)"' "$T/spans.otlp.short" | sort >"$T/got"
diff -u "$T/truth" "$T/got" || fail "spans differ from the calls that returned"
want "calls" 40 "$(wc -l <"$T/truth")"
want "span ids" 40 "$(values "$T/spans.otlp" 'select(.kind == "span") | .span' | sort -u | wc -l)"
want "the trace and parent of a traceparent" '["4bf92f3577b34da6a3ce929d0e0e4736","00f067aa0ba902b7"]' \
	"$(values "$T/spans.otlp" 'select(.args.id // "" | startswith("00-")) | [.trace, .parent]' | sort -u)"
want "trace ids of another text" 1 "$(values "$T/spans.otlp" 'select(.args.id == "request 7") | .trace' | sort -u | wc -l)"
want "parents of another text" null "$(values "$T/spans.otlp" 'select(.args.id == "request 7") | .parent' | sort -u)"
# A call of 2 or more slept 2 ms, and so did its caller: recursion is paired by call.
want "spans that are too short" "" "$(values "$T/spans.otlp" 'select(.kind == "span" and .args.n >= 2 and .duration < 2000000)')"

# ---- parents: if entries are recorded, the span of a call is the parent of the spans of the calls in it, and of no others. A call
# that longjmp(3) has left is not a parent. nested(N) calls nested(N - 1), and nested(3) is called by no function that is traced.
for with in --trace-id=id --no-trace-id; do
	[ $with = --no-trace-id ] && with=
	probe-trace --otlp $with 'func:nested' 'func:nested%return' 'func:leap' 'func:leap%return' -- "$T/calls" >"$T/tree" 2>"$T/err" || fail "$(cat "$T/err")"
	grep '^{' "$T/tree" >"$T/tree.otlp"
	short "$T/tree.otlp"
	want "spans with entries" 40 "$(values "$T/tree.otlp" 'select(.kind == "span") | .span' | sort -u | wc -l)"
	want "recorded and lost" "[$(($(wc -l <"$T/tree.otlp") - 1)),0]" \
		"$(values "$T/tree.otlp" 'select(.name == "probepoint.account") | [.args["probepoint.recorded"], .args["probepoint.lost"]]' | tail -n 1)"
	jq -s '[.[] | select(.kind == "span")] | INDEX(.span) as $by | [.[] | . + {above: $by[.parent // ""]}]' "$T/tree.otlp.short" >"$T/tree.json"
	# On a busy machine the time between two readings of the clock can be too long, and a parent is left out.
	false=$(jq -c '.[] | select(.above and ([.above.args.n > .args.n, .above.trace == .trace, .above.name == .name,
		.above.args["thread.id"] == .args["thread.id"], .above.time >= .time, .above.time - .above.duration < .time + 100000] | all | not))' "$T/tree.json")
	want "false parents" "" "$false"
	direct=$(jq '[.[] | select(.above and .above.args.n == .args.n + 1)] | length' "$T/tree.json")
	echo "$direct of 30 calls in calls have their callers as parents"
	[ "$direct" -ge 20 ] || fail "only $direct of 30 calls have their callers as parents"
	want "parents with one child" "$direct" "$(jq '[.[] | select(.above and .above.args.n == .args.n + 1) | .parent] | unique | length' "$T/tree.json")"
	want "parents of the outermost calls" "$([ "$with" ] && echo '["00f067aa0ba902b7",null]' || echo '[null]')" \
		"$(jq -c '[.[] | select(.args.n == 3) | .parent] | unique | sort_by(. == null)' "$T/tree.json")"
	[ "$with" ] || want "traces" 0 "$(jq '[.[] | select(.above and .above.trace != .trace)] | length' "$T/tree.json")"
done

# ---- a span waits for the call around it, also if the clock of probe-trace is ahead of that of the records
if unshare --time --monotonic 100000 true 2>/dev/null; then
	printf '#include <unistd.h>\n%s\n' '__attribute__((noipa)) void inner(void) {}
		__attribute__((noipa)) void outer(void) { inner(); usleep(2500000); inner(); }
		int main(void) { outer(); return 0; }' | "$CC" -O1 -g -xc - -o "$T/slow" || fail "no slow program"
	unshare --time --monotonic 100000 probe-trace --otlp func:inner 'func:inner%return' func:outer 'func:outer%return' -- "$T/slow" |
		grep '^{' >"$T/slow.otlp"
	short "$T/slow.otlp"
	want "parents in a time namespace" 2 "$(jq -s '[.[] | select(.kind == "span")] | INDEX(.span) as $by |
		[.[] | select($by[.parent // ""].name == "func:outer")] | length' "$T/slow.otlp.short")"
else
	part_skipped "no time namespaces here"
fi

# ---- the command line
expect 2 probe-trace --otlp --json -f "$T/calls" func:nested
want_like "other formats" "*--otlp cannot be combined*" "$(probe-trace --otlp --format '{time}' -f "$T/calls" func:nested 2>&1)"
expect 2 probe-trace --otlp -o "$T/dir" -f "$T/calls" func:nested
expect 2 probe-trace --trace-id id -f "$T/calls" func:nested
expect 2 probe-trace --otlp --trace-id nothing -f "$T/calls" 'func:nested%return'
want_like "an unknown argument" "*no probe has an argument 'nothing'*" "$out"
want "OTEL_SERVICE_NAME" '"shop"' "$(OTEL_SERVICE_NAME=shop probe-trace -q --otlp -n 1 'func:nested%return' -- "$T/calls" | grep '^{' | head -n 1 |
	jq -c '.resourceSpans[0].resource.attributes[] | select(.key == "service.name") | .value.stringValue')"
