# SPDX-License-Identifier: MIT
"""Compares calls whose returns have their duration with the log of tests/report/real.c.

usage: measured.py LOG CHROME JSON FUNCTION PROBE...    the calls of FUNCTION in the report are those of the log's "real:work"
"""

import collections
import json
import sys

log, chrome, report, function, *probes = sys.argv[1:]
calls = [json.loads(line) for line in open(log, encoding="utf-8") if line.startswith("{")]
calls = {call["id"]: call for call in calls if call["function"] == "real:work"}
chrome, report = (json.load(open(name, encoding="utf-8")) for name in (chrome, report))
durations, measured, stack = {}, {}, collections.defaultdict(list)
for event in chrome["traceEvents"]:
    args = None
    if event["ph"] == "b":
        args = event["args"]
        measured[event["id"]] = event["ts"], args["duration"]
    elif event["ph"] == "e":
        begin, duration = measured.pop(event["id"])
        if begin < 0 or round(event["ts"] * 1000) - round(begin * 1000) != duration:
            sys.exit("drawn from %s to %s us, but it took %d ns" % (begin, event["ts"], duration))
    elif event["ph"] == "B":
        stack[event["tid"]].append(event)
    elif event["ph"] == "E":
        begin = stack[event["tid"]].pop()
        if begin["name"] == function:
            args = event["args"]["return"]
            if args["id"] != begin["args"]["id"]:
                sys.exit("the return of another call: %s %s" % (begin, event))
    if args is None:
        continue
    call = calls[args["id"]]
    # The time of a trap is not part of the duration, so only the time around the call limits it. The estimate of that may be too small.
    longest = call["return"][1] - call["entry"][0]
    if event["tid"] != call["tid"] or not 0 <= args["duration"] <= longest:
        sys.exit("%s took %d ns, in thread %d" % (call, args["duration"], event["tid"]))
    if args.get("result", args.get("ret")) != call["result"] or args["n"] != call["n"]:
        sys.exit("%s has %s" % (call, args))
    durations[args["id"]] = args["duration"]
if set(durations) != set(calls):
    sys.exit("%d calls, not %d" % (len(durations), len(calls)))
rows = [row for row in report["calls"] if row["function"] == function]
said = [rows[0][key] for key in ("ended", "uncertain", "unended", "in_flight", "unmatched")]
if len(rows) != 1 or said != [len(calls), 0, 0, 0, 0]:
    sys.exit("the report has other calls: %s" % rows)
said = [rows[0]["duration"][key] for key in ("count", "min", "max", "sum")]
values = durations.values()
if said != [len(values), min(values), max(values), sum(values)]:
    sys.exit("the report has other durations: %s" % rows)
for name in probes:
    if [probe["records"] for probe in report["probes"] if probe["probe"] == name] != [len(calls)]:
        sys.exit("the report has other records of " + name)
print("%s: %d calls, %d to %d ns" % (function, len(calls), min(values), max(values)))
