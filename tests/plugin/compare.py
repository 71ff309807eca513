# SPDX-License-Identifier: MIT
"""compare.py LIST TRACE EXPECTED: compares the output of probe-trace --json with the values that gen.c chose.

LIST is probe-list's JSON of the program. It has the types of the arguments, by which pointers and strings are
recognized; EXPECTED has the first word that a pointer points to. Floats are compared by their bits.
"""
import json
import struct
import sys

types = {p["name"]: [a["type"] for a in p["args"]] for p in json.load(open(sys.argv[1]))["probes"]}
trace = [json.loads(line) for line in open(sys.argv[2]) if line.startswith('{"time"')]
expected = [line.split() for line in open(sys.argv[3])]
compared = 0


def same(value, wanted, kind):
    if kind in ("float", "double"):
        form = "f" if kind == "float" else "d"
        return int.from_bytes(struct.pack("<" + form, float(value)), "little") == wanted % 2**64
    return int(value) % 2**64 == wanted % 2**64


if len(trace) != len(expected):
    sys.exit(f"{len(trace)} hits, {len(expected)} expected")
for got, (name, *wanted) in zip(trace, expected):
    values = list(got["args"].values())
    if got["probe"].split(":")[1] != name:
        sys.exit(f"{got['probe']} instead of {name}")
    if len(values) < min(len(wanted), 16) and not (name.endswith("__return") and not values):
        sys.exit(f"{name} has {len(values)} arguments of {len(wanted)}")
    if name.endswith("__return") and wanted and not values:
        sys.exit(f"{name} has no value")
    for i, (value, number) in enumerate(zip(values, wanted)):
        kind = types[name][i]
        if kind in ("struct large *", "const char *"):
            continue
        if not same(value, int(number), kind):
            sys.exit(f"{name}: argument {i} ({kind}) is {value}, {number} was passed")
        compared += 1
print(compared)
