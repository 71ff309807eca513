#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Compares the aggregates that probe-stat --json prints with those computed from a log of tests/agent/tally.c.

    tally.py LOG KEYS CALL... <JSON   KEYS: fields of the log with commas, or -
"""
import bisect
import json
import math
import sys

FIELDS = {"pid": 0, "tid": 1, "who": 2, "size": 3, "delta": 4, "text": 5}


def wrap(value, signed):
    value &= (1 << 64) - 1
    return value - (1 << 64) if signed and value >> 63 else value


def read(path):
    for line in open(path, "rb"):
        words = line.rstrip(b"\n").split(b" ", 5)
        yield [int(w) for w in words[:5]] + [words[5]]


def key_of(row, keys):
    """Returns the key as JSON has it, and whether its text is longer than what a key holds."""
    parts, cut = [], False
    for k in keys:
        value = row[FIELDS[k]]
        if k == "text":
            cut = len(value) > 63
            value = value[:63].decode("utf-8")
        parts.append(value)
    return tuple(parts), cut


def fail(text):
    print(text)
    sys.exit(1)


def check_buckets(what, buckets, values):
    if sum(b["count"] for b in buckets) != len(values):
        fail(f"{what}: the buckets hold {sum(b['count'] for b in buckets)} of {len(values)} values")
    values = sorted(values)
    for b in buckets:
        n = bisect.bisect_right(values, b["high"]) - bisect.bisect_left(values, b["low"])
        if n != b["count"]:
            fail(f"{what}: bucket {b['low']} to {b['high']} has {b['count']}, not {n}")


def check_call(what, call, values, signed):
    if call["count"] != len(values):
        fail(f"{what}: count {call['count']}, not {len(values)}")
    if call["call"].startswith("count"):
        return
    want = (wrap(sum(values), signed), min(values), max(values))
    got = (wrap(call["sum"], signed), call["min"], call["max"])
    if want != got:
        fail(f"{what}: sum, min, max {got}, not {want}")
    if "buckets" in call:
        check_buckets(what, call["buckets"], values)
    for name, q in (("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999)):
        if name in call:
            exact = sorted(values)[max(0, math.ceil(q * len(values)) - 1)]
            if abs(call[name] - exact) > 0.032 * abs(exact) + 1:
                fail(f"{what}: {name} is {call[name]}, not {exact}")


def sums_agree(entry, fields, group):
    """Distinguishes groups with the same count."""
    return all(c["call"].startswith("count") or wrap(c["sum"], f != "size") == wrap(sum(r[FIELDS[f]] for r in group), f != "size")
               for c, f in zip(entry["values"], fields, strict=True))


def main():
    rows = list(read(sys.argv[1]))
    keys = [] if sys.argv[2] == "-" else sys.argv[2].split(",")
    fields = sys.argv[3:]  # of the argument of each call; "-": none
    tables = json.load(sys.stdin)["aggregates"]
    if len(tables) != 1:
        fail(f"{len(tables)} tables, not 1")
    table = tables[0]
    groups = {}
    for row in rows:
        groups.setdefault(key_of(row, keys), []).append(row)
    if table["keys"] != len(groups) or len(table["entries"]) != len(groups):
        fail(f"{table['keys']} keys, {len(table['entries'])} shown, not {len(groups)}")
    last = None
    for entry in table["entries"]:
        key = tuple(entry["key"])
        # A text of 63 bytes and a longer one that begins with it look the same.
        same = [k for k in ((key, False), (key, True)) if len(groups.get(k, ())) == entry["values"][0]["count"]]
        if not same:
            fail(f"the log does not have the key {key} so often: {entry['values'][0]['count']}")
        same.sort(key=lambda k: not sums_agree(entry, fields, groups[k]))
        group = groups.pop(same[0])
        for call, field in zip(entry["values"], fields, strict=True):
            values = [0 if field == "-" else r[FIELDS[field]] for r in group]
            check_call(f"{key} {call['call']}", call, values, field != "size")
        count = len(group)
        if last is not None and count > last:
            fail(f"{key} with {count} hits comes after a key with {last}")
        last = count
    for rest in table["rest"]:
        if rest["other"] or rest["unread"]:
            fail(f"{rest['call']}: {rest['other']} others, {rest['unread']} unread")
    print(f"{len(rows)} hits, {table['keys']} keys")


main()
