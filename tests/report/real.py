# SPDX-License-Identifier: MIT
"""Compares what probe-report says about a trace of tests/report/real.c with the log of the program, and with other readers.

usage: real.py LOG BACKEND TRACE CHROME JSON FOLDED BABELTRACE [PROBE-TRACE-JSON]
"""

import collections
import glob
import json
import re
import sys

TEXTS = ["", "plain", "caf\u00e9", "quote\"\\", None, "x" * 127]
COLOURS = ["RED (-1)", "GREEN (0)", "BLUE (7)"]
log, backend, trace, chrome, report, folded, babeltrace = sys.argv[1:8]
calls = [json.loads(line) for line in open(log, encoding="utf-8") if line.startswith("{")]
chrome, report = (json.load(open(name, encoding="utf-8")) for name in (chrome, report))
lossy = report["lost"] > 0


def check(label, wanted, got):
    if wanted != got:
        sys.exit("%s: wanted %s, got %s" % (label, str(wanted)[:1000], str(got)[:1000]))


def entry_args(call, outer):
    """Returns the arguments of the call, as the slice has them."""
    if call["function"] == "real:leaf":
        return {"id": call["id"], "real": call["n"] / 4.0}
    n = call["n"] + 1  # of the call around it
    inner = {"flag": bool(n % 2), "letter": chr(ord("a") + n), "colour": COLOURS[n % 3], "big": str(2**64 - 1 - n)}
    # The log has the call's number: a round has 11 calls.
    outermost = {"flag": bool(call["id"] % 1000000 // 11 % 2), "letter": "A", "colour": "GREEN (0)", "big": 1}
    return {"id": call["id"], "n": call["n"], "text": TEXTS[call["text"]], **(outermost if outer else inner)}


def offset():
    """Returns the time of day at 0 of the clock, in ns."""
    name = sorted(glob.glob(trace + "/metadata") + glob.glob(trace + "/part-*/metadata"))[0]
    text = open(name, encoding="utf-8").read()
    return int(re.search(r"offset_s = (-?\d+);", text)[1]) * 10**9 + int(re.search(r"offset = (-?\d+);", text)[1])


def slices():
    """Returns [tid, slice's name, arguments, begin, end, result, status] of each slice, in the order of their begins."""
    origin, stacks, found = int(chrome["otherData"]["begin"]) - offset(), {}, []
    for event in chrome["traceEvents"]:
        if event["ph"] == "B":
            found.append([event["tid"], event["name"], event["args"], origin + round(event["ts"] * 1000), None, None, None])
            stacks.setdefault(event["tid"], []).append(found[-1])
            check("pid", calls[0]["pid"], event["pid"])
        elif event["ph"] == "E":
            args = event.get("args", {})
            stacks[event["tid"]].pop()[4:] = [origin + round(event["ts"] * 1000), args.get("return", {}).get("result"), args.get("status")]
    check("open slices", [], [stack for stack in stacks.values() if stack])
    return found


# ---- each slice is a call of the program ----

found, by_id = slices(), {(call["function"], call["id"]): call for call in calls}
check("calls are numbered", len(calls), len(by_id))
statuses, seen = collections.Counter(), set()
# The agent's records have the CPU's counter, which the reader converts. The two clocks are compared in each pass.
slack = 200 if backend == "agent" else 0
for tid, name, args, begin, end, result, status in found:
    call = by_id[name, args["id"]]
    check("%s: twice" % call, False, (name, args["id"]) in seen)
    seen.add((name, args["id"]))
    check("%s: thread" % call, call["tid"], tid)
    check("%s: arguments" % call, entry_args(call, name == "real:work" and call["n"] == 5), args)
    if not call["entry"][0] - slack <= begin <= call["entry"][1] + slack:
        sys.exit("%s began at %d" % (call, begin))
    statuses[status] += 1
    if status is None:
        check("%s: result" % call, call["result"], result)
        if not call["return"][0] - slack <= end <= call["return"][1] + slack:
            sys.exit("%s ended at %d" % (call, end))
if not statuses[None]:
    sys.exit("no call is certain")
if not lossy:
    check("statuses", {None: len(calls)}, dict(statuses))

# ---- the report ----

totals = collections.Counter()
for row in report["calls"]:
    for key in ("ended", "uncertain", "unended", "in_flight"):
        totals[key] += row[key]
    durations = [end - begin for _, name, _, begin, end, _, status in found if name == row["function"] and status is None]
    if durations:
        said = row["duration"]
        check("durations of " + row["function"], [len(durations), min(durations), max(durations), sum(durations)],
              [said[key] for key in ("count", "min", "max", "sum")])
check("calls", [statuses[key] for key in (None, "uncertain", "not ended", "in flight at the end")],
      [totals[key] for key in ("ended", "uncertain", "unended", "in_flight")])
check("processes", [calls[0]["pid"]], [process["pid"] for process in report["processes"]])
if not lossy:
    check("name of the process", "real", report["processes"][0]["comm"])
comms = collections.defaultdict(list)
for call in calls:
    if call["comm"] not in comms[call["tid"]]:
        comms[call["tid"]].append(call["comm"])
for thread in report["threads"]:
    # The agent keeps the name that a thread had at its first record.
    wanted = comms[thread["tid"]][0 if backend == "agent" else -1]
    if not lossy:
        check("name of thread %d" % thread["tid"], wanted, thread["comm"])
probes = {probe["probe"]: probe for probe in report["probes"]}
if not lossy:
    check("threads", {tid: 2 * n for tid, n in collections.Counter(call["tid"] for call in calls).items()},
          {thread["tid"]: thread["records"] for thread in report["threads"]})
    check("records", 2 * len(calls), report["records"])
    for name in ("work", "leaf"):
        mine = [call for call in calls if call["function"] == "real:" + name]
        check("records of " + name, [len(mine)] * 2, [probes["real:%s__%s" % (name, end)]["records"] for end in ("entry", "return")])
    arguments = {argument["name"]: argument for argument in probes["real:work__entry"]["arguments"]}
    work = [call for call in calls if call["function"] == "real:work"]
    for name, values in (("n", [call["n"] for call in work]), ("text", [TEXTS[call["text"]] for call in work]),
                         ("big", [int(entry_args(call, call["n"] == 5)["big"]) for call in work]),
                         ("id", [call["id"] for call in work])):
        argument = arguments[name]
        if name != "text":
            check("least and largest " + name, [min(values), max(values)], [argument["min"], argument["max"]])
        if name == "id":
            continue
        wanted = collections.Counter(values)
        # The report has the beginning of a long text.
        got = {TEXTS[5] if str(value["value"]).startswith("xxxxxxxx") else value["value"]: value["count"] for value in argument["values"]}
        check("values of " + name, dict(wanted), got)
sum_ns = sum(int(line.rsplit(" ", 1)[1]) for line in open(folded, encoding="utf-8"))
depth, outer = collections.defaultdict(int), 0
for tid, name, _, begin, end, _, _ in sorted(found, key=lambda slice: (slice[0], slice[3], -slice[4])):
    if begin >= depth[tid]:
        depth[tid] = end
        outer += end - begin
check("ns in stacks", outer, sum_ns)

# ---- other readers ----

other = collections.Counter()
for line in open(babeltrace, encoding="utf-8", errors="replace"):
    match = re.match(r"\[[\d:.]+\] (?:\S+ )?(real:\w+): .*?\{ (\d+), (\d+), \"(.*?)\" \}", line)
    if not match:
        sys.exit("babeltrace2 prints: " + line)
    other[match[1]] += 1
    other[int(match[3])] += 1
check("records by babeltrace2", {name: n for name, n in other.items() if isinstance(name, str)},
      {name: probe["records"] for name, probe in probes.items() if probe["records"]})
check("threads by babeltrace2", {name: n for name, n in other.items() if isinstance(name, int)},
      {thread["tid"]: thread["records"] for thread in report["threads"]})
if len(sys.argv) > 8:
    # Another run of the program: the same calls in other threads.
    mine, others = collections.Counter(), collections.Counter()
    for line in open(sys.argv[8], encoding="utf-8"):
        record = json.loads(line)
        if "probe" not in record or not record["probe"].endswith("__entry"):
            continue
        args = record["args"]
        for name, label in record.get("names", {}).items():
            args[name] = "%s (%d)" % (label, args[name])
        others[json.dumps([record["probe"], sorted((k, str(v)) for k, v in args.items() if k not in ("letter", "flag"))])] += 1
    for _, name, args, *_ in found:
        mine[json.dumps([name + "__entry", sorted((k, str(v)) for k, v in args.items() if k not in ("letter", "flag"))])] += 1
    if mine != others:
        sys.exit("probe-trace --json has other records: %s" % list((mine - others) + (others - mine))[:3])
print("%s: %d records, %d lost, %s" % (backend, report["records"], report["lost"], dict(statuses)))
