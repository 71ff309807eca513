#!/bin/bash
# SPDX-License-Identifier: MIT
# The program has threads, recursion, tail calls, longjmp, exceptions and threads that end. The calls whose duration is
# known are real ones: the program's result of each return belongs to the entry's argument. The counts are those of babeltrace2's
# text, and the text and JSON reports agree.
. tests/lib.sh
. tests/kernel/lib.sh
need_kernel
need babeltrace2 python3
[ -x "$B/bin/probe-report" ] || skip "probe-report is not built"
[ -f "$B/lib/probepoint.so" ] || skip "needs the plugin"
"${PLUGIN_CXX:-g++}" -O2 -g -pthread -Iinclude -fplugin="$B/lib/probepoint.so" -fplugin-arg-probepoint-provider=app \
	-fplugin-arg-probepoint-functions=work,moves,deep,callee,tails,leaves tests/trace/pairs.cc -o "$T/pairs" ||
	fail "tests/trace/pairs.cc does not compile"

printf '%s\n' "work 40 4" "moves 60 2" "deep 10 2" "tails 60 2" "leaves 60 2" "deeper 2 1" "signals 20 2" "jobs 50 2" end >"$T/orders"
probe-trace -q -o "$T/trace" 'app:*' -- "$T/pairs" "$T/log" <"$T/orders" >/dev/null || fail "probe-trace ended with $?"
expect 0 probe-report --json --perfetto="$T/chrome" "$T/trace"
echo "$out" >"$T/report"
babeltrace2 --no-delta --names=none "$T/trace" >"$T/events" || fail "babeltrace2 cannot read the trace"
want "records of each probe" "$(grep -oE ' app:[a-z_]+:' "$T/events" | tr -d ' ' | sed 's/:$//' | sort | uniq -c | awk '{ print $2, $1 }')" \
	"$(jq -r '.probes[] | select(.records > 0) | "\(.probe) \(.records)"' "$T/report" | sort)"
python3 - "$T/chrome" "$T/report" <<'P' || fail "the slices are wrong"
import json, sys
chrome, report = (json.load(open(name)) for name in sys.argv[1:])
stacks, known, results = {}, {}, {}
for event in chrome["traceEvents"]:
    stack = stacks.setdefault((event.get("pid"), event.get("tid")), [])
    if event["ph"] == "B":
        stack.append(event)
    elif event["ph"] == "E":
        begin = stack.pop()
        args = event.get("args", {})
        status = args.get("status")
        known.setdefault(begin["name"], []).append(status)
        # The return of a tail call has no result.
        result = args.get("return", {}).get("result")
        if status is None and result is not None and result != 3 * begin["args"]["id"] + 1:
            sys.exit("the return of another call: %s %s" % (begin, event))
if any(stacks.values()):
    sys.exit("a slice does not end")
for row in report["calls"]:
    all_ = known.get(row["function"], [])
    if row["ended"] != all_.count(None) or row["uncertain"] != all_.count("uncertain"):
        sys.exit("%s: the report and the slices differ" % row)
for name in ("app:work", "app:moves", "app:callee", "app:tails"):
    if known[name].count(None) != len(known[name]) or not known[name]:
        sys.exit("%s: some calls are not paired: %s" % (name, known[name]))
if not any(status for status in known["app:leaves"]):
    sys.exit("all calls of leaves() ended")
names = {event["args"]["name"] for event in chrome["traceEvents"] if event["ph"] == "M" and event["name"] == "process_name"}
if "pairs" not in names:
    sys.exit("no process is called pairs: %s" % names)
P
expect 0 probe-report --rows=0 --by=thread --histograms "$T/trace"
want "threads in the text" "$(jq '.calls_by_thread | length' "$T/report")" "$(grep -cE '^app:[a-z]+ [0-9]+/[0-9]+ pairs ' <<<"$out")"
want_like "records in the text" "$(jq .records "$T/report") records of *" "$out"
expect 0 probe-report -n 2 --by=process "$T/trace"
want_like "rows that are left out" "*more; --rows=0 shows all*" "$out"
