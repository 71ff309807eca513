#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""usage: aggregate.py list | aggregate.py check INDEX LOGS < JSON of probe-stat | aggregate.py returns LOG < JSON

`list` prints the aggregates that tests/kernel/aggregate.sh arms: the expression, a tab, options of probe-enable. `check`
computes one of them from the log of tests/kernel/aggregate.c and compares it with what probe-stat prints. `returns` does
the same for RETURNS and the calls of twice().
"""
import glob
import json
import math
import os
import sys

NAMES = {0: "IDLE", 1: "BUSY", -5: "LOST"}
STRING = 63  # bytes of a string in a key


def text(field):
    return None if field == "!" else bytes.fromhex(field)


class Hit:
    def __init__(self, line):
        (self.file, pid, tid, comm, cpu, size, delta, path, state, length, name) = line.rstrip("\n").split("\t")
        self.pid, self.tid, self.cpu, self.size, self.delta = int(pid), int(tid), int(cpu), int(size), int(delta)
        self.comm, self.path, self.name = comm.encode(), text(path), text(name)
        self.state = int(state)
        self.len = None if length == "!" else int(length)


# Each: options, expression, filter, key, and the calls: function, value, bounds. A value or part is None if it is unread.
AGGREGATES = [
    ("", "count(), sum(size), min(delta), max(delta), avg(delta)", None, lambda h: (),
     [("count", lambda h: 0), ("sum", lambda h: h.size), ("min", lambda h: h.delta), ("max", lambda h: h.delta),
      ("avg", lambda h: h.delta)]),
    ("", "count(), hist(size), hist(delta) by path", None, lambda h: (h.path,),
     [("count", lambda h: 0), ("hist", lambda h: h.size), ("hist", lambda h: h.delta)]),
    ("", "pct(size), lhist(delta, -50, 50, 7) by state, comm", None, lambda h: (NAMES.get(h.state, h.state), h.comm),
     [("pct", lambda h: h.size), ("lhist", lambda h: h.delta, -50, 50, 7)]),
    ("", "sum(size), max(size), min(size) by pid, tid, cpu", None, lambda h: (h.pid, h.tid, h.cpu),
     [("sum", lambda h: h.size), ("max", lambda h: h.size), ("min", lambda h: h.size)]),
    ("--agg-size 300", "count(), sum(delta) by size % 5000", None, lambda h: (h.size % 5000,),
     [("count", lambda h: 0), ("sum", lambda h: h.delta)]),
    ("", "count(), max(req->len) by req->name, state", None, lambda h: (h.name, NAMES.get(h.state, h.state)),
     [("count", lambda h: 0), ("max", lambda h: h.len)]),
    ("", "count(), hist(req->len), sum(delta)", None, lambda h: (),
     [("count", lambda h: 0), ("hist", lambda h: h.len), ("sum", lambda h: h.delta)]),
    ("--if delta>0&&path!=\"/\"", "count(), sum(delta) by path, comm",
     lambda h: h.delta > 0 and h.path is not None and h.path != b"/", lambda h: (h.path, h.comm),
     [("count", lambda h: 0), ("sum", lambda h: h.delta)]),
]
RETURNS = "count(), sum(ret), max(ret), hist(ret), min(duration) by arg0 & 3"


def log2_bucket(v):
    if v < 0:
        return (-2**63, -1)
    if v == 0:
        return (0, 0)
    low = 1 << (v.bit_length() - 1)
    return (low, 2 * low - 1)


def linear_bucket(v, low, high, step):
    if v < low:
        return (-2**63, low - 1)
    if v >= high:
        return (high, 2**63 - 1)
    at = low + (v - low) // step * step
    return (at, min(at + step, high) - 1)


def cut(part):
    """What JSON shows, and whether the string was longer."""
    if not isinstance(part, bytes):
        return (part, False)
    return (part[:STRING].decode(), len(part) > STRING)


def wrapped(v, unsigned):
    v &= 2**64 - 1
    return v if unsigned or v < 2**63 else v - 2**64


def quantile(values, q):
    return sorted(values)[max(1, math.ceil(q * len(values))) - 1]


def expected_call(call, values, unsigned):
    function = call[0]
    want = {"count": len(values)}
    if function == "count":
        return want
    want["sum"] = wrapped(sum(values), unsigned)
    want["min"], want["max"] = min(values), max(values)
    if function in ("hist", "lhist"):
        buckets = {}
        for v in values:
            b = log2_bucket(v) if function == "hist" else linear_bucket(v, *call[2:])
            buckets[b] = buckets.get(b, 0) + 1
        want["buckets"] = [{"low": b[0], "high": b[1], "count": n} for b, n in sorted(buckets.items())]
    return want


def difference(call, values, got, unsigned):
    """What is wrong with the values that probe-stat printed, or None."""
    want = expected_call(call, values, unsigned)
    for key, value in want.items():
        if got.get(key) != value:
            return f"{key} of {call[0]} is {got.get(key)} instead of {value}"
    if call[0] == "pct":
        for name, q in (("p50", .5), ("p90", .9), ("p99", .99), ("p99.9", .999)):
            exact = quantile(values, q)
            if abs(got[name] - exact) > exact / 32:
                return f"{name} is {got[name]} instead of {exact}"
        if sum(b["count"] for b in got["buckets"]) != len(values):
            return "the buckets of pct do not add up"
    return None


def group_difference(calls, group, got, unsigned):
    for i, call in enumerate(calls):
        values = [v for v in (call[1](h) for h in group) if v is not None]
        if values:
            wrong = difference(call, values, got[i], unsigned[i])
            if wrong:
                return wrong
        elif got[i]["count"]:
            return "values that cannot be read are counted"
    return None


# Hits may find no task storage there (doc/design.md): they are lost and unread, or other.
OLD = os.uname().release.startswith("6.1.")


def check_lost(table, stat, hits, passed, key, calls):
    """Checks what is certain if hits found no task storage."""
    lost = stat["lost"]
    print(f"{lost} of {len(hits)} hits found no task storage: {table['rest']}")
    if stat["hits"] != len(hits) or not len(passed) <= stat["hits"] - stat["filtered"] <= len(passed) + lost:
        sys.exit(f"{stat['hits']} hits, {stat['filtered']} filtered; the log has {len(hits)}, of which {len(passed)} pass")
    for i, call in enumerate(calls):
        rest = table["rest"][i]
        unread = sum(1 for h in passed if None in key(h) or call[1](h) is None)
        if not unread <= rest["unread"] <= unread + lost:
            sys.exit(f"{rest['unread']} unread instead of {unread} to {unread + lost}")
        if stat["hits"] - stat["filtered"] != table["total"]["values"][i]["count"] + rest["other"] + rest["unread"]:
            sys.exit("hits - filtered is not the sum")


def check_table(table, stat, hits, aggregate, limited):
    options, expression, accepts, key, calls = aggregate
    passed = [h for h in hits if not accepts or accepts(h)]
    if OLD and not limited and stat["lost"] + sum(rest["other"] for rest in table["rest"]) in range(1, 5):
        check_lost(table, stat, hits, passed, key, calls)
        return
    unsigned = ["size" in expression.split(" by ")[0].split("(")[i + 1].split(")")[0] for i in range(len(calls))]
    kept, groups = {}, {}
    for h in passed:
        k = key(h)
        if None not in k:
            groups.setdefault(tuple(cut(part) for part in k), []).append(h)
    if stat["hits"] != len(hits) or stat["hits"] - stat["filtered"] != len(passed):
        sys.exit(f"{stat['hits']} hits, {stat['filtered']} filtered; the log has {len(hits)}, of which {len(passed)} pass")
    remaining = {}
    for k, values in groups.items():
        remaining.setdefault(tuple(part[0] for part in k), []).append(values)
    counted = [0] * len(calls)
    total = [0] * len(calls)
    for entry in table["entries"]:
        k = tuple(entry["key"])
        if not remaining.get(k):
            sys.exit(f"the key {k} is not in the log")
        # Strings that are equal up to the cut are two keys if one of them is not longer.
        same = [g for g in remaining[k] if len(g) == entry["values"][0]["count"]]
        if not same:
            print("expected:", {g: len(v) for g, v in groups.items()}, stat)
            print("got:", [(e["key"], e["values"][0]["count"]) for e in table["entries"]], table["rest"])
            sys.exit(f"the key {k} has {entry['values'][0]['count']} hits instead of {[len(g) for g in remaining[k]]}")
        wrong = [group_difference(calls, g, entry["values"], unsigned) for g in same]
        if all(wrong):
            sys.exit(f"{table['probe']} {expression}, {k}: {wrong[0]}")
        group = same[wrong.index(None)]
        remaining[k].remove(group)
        for i, call in enumerate(calls):
            values = [v for v in (call[1](h) for h in group) if v is not None]
            counted[i] += len(values)
            total[i] += sum(values)
    missing = [h for groups in remaining.values() for g in groups for h in g]
    if bool(missing) != limited:
        sys.exit(f"{expression}: {len(missing)} hits are not in the table")
    for i, call in enumerate(calls):
        rest = table["rest"][i]
        other = [v for v in (call[1](h) for h in missing) if v is not None]
        unread = sum(1 for h in passed if None in key(h) or call[1](h) is None)
        if (rest["other"], rest["other_sum"], rest["unread"]) != (len(other), wrapped(sum(other), False), unread):
            sys.exit(f"{expression}: {rest} instead of {len(other)}, {sum(other)}, {unread}")
        if stat["hits"] - stat["filtered"] != counted[i] + rest["other"] + rest["unread"]:
            sys.exit(f"{expression}: hits - filtered is not the sum")
        if table["total"]["values"][i]["count"] != counted[i]:
            sys.exit(f"{expression}: the total is {table['total']['values'][i]['count']} instead of {counted[i]}")


def check(index, logs):
    aggregate = AGGREGATES[index]
    hits = []
    for path in glob.glob(logs + "/*.*"):
        with open(path, encoding="ascii") as log:
            hits += [Hit(line) for line in log]
    document = json.load(sys.stdin)
    for file in ("program", "library"):
        of_file = [h for h in hits if h.file == file]
        tables = [t for t in document["aggregates"] if t["file"].endswith(file)]
        stats = [p for p in document["probes"] if p["file"].endswith(file)]
        if len(tables) != 1 or len(stats) != 1:
            sys.exit(f"{len(tables)} tables and {len(stats)} rows of the {file}")
        check_table(tables[0], stats[0], of_file, aggregate, "--agg-size" in aggregate[0])


def check_returns(path):
    with open(path, encoding="ascii") as log:
        calls = [tuple(int(field) for field in line.split()) for line in log]
    (table,) = json.load(sys.stdin)["aggregates"]
    if sorted(e["key"][0] for e in table["entries"]) != [0, 1, 2, 3]:
        sys.exit(f"unexpected keys: {table}")
    for entry in table["entries"]:
        values = [result for n, result in calls if n & 3 == entry["key"][0]]
        for i, call in enumerate(("count", "sum", "max", "hist")):
            wrong = difference((call,), values, entry["values"][i], False)
            if wrong:
                sys.exit(f"twice%return, {entry['key'][0]}: {wrong}")
        if entry["values"][4]["min"] < 1 or entry["values"][4]["count"] != len(values):
            sys.exit(f"unexpected duration: {entry['values'][4]}")


if sys.argv[1] == "list":
    for each in AGGREGATES:
        print(each[1] + "\t" + each[0])
    print(RETURNS)
elif sys.argv[1] == "returns":
    check_returns(sys.argv[2])
else:
    check(int(sys.argv[2]), sys.argv[3])
