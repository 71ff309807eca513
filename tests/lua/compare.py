#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""compare.py KNOWN EVENTS: compares records of probe-trace --json with the calls that passed.lua lists. Each probe must
have exactly these records, in their order, with the arguments that passed.lua knows."""
import json, math, struct, sys

CUT = 127

def known_value(text):
    if text == "null":
        return None
    kind, text = text.split(":", 1)
    if kind == "s":
        return bytes.fromhex(text).split(b"\0")[0]
    if kind == "f":
        return float.fromhex(text)
    return int(text, 0)

def same(known, got, cut):
    if isinstance(known, bytes):
        shown = known[:CUT].decode("utf-8", "replace")
        return got == shown and cut == (len(known) > CUT)
    if isinstance(known, float):
        # infinities and NaNs are strings
        if isinstance(got, str) == math.isfinite(known) or isinstance(got, bool):
            return False
        got = float(got)
        return known != known and got != got or struct.pack("d", known) == struct.pack("d", got)
    return type(known) is type(got) and known == got

known, probes = [], set()
for line in open(sys.argv[1]):
    probe, *args = line.rstrip("\n").split("\t")
    known.append((probe, [arg.split("=", 1) for arg in args]))
    probes.add(probe)
got = {}
tails = 0
for line in open(sys.argv[2], encoding="utf-8"):
    event = json.loads(line, parse_int=lambda text: -0.0 if text == "-0" else int(text))
    # the return before a tail call has no value
    if event["probe"].endswith("__return") and not event["args"]:
        tails += 1
        continue
    got.setdefault(event["probe"], []).append(event)

bad = 0
def tell(text):
    global bad
    bad += 1
    if bad <= 20:
        print(text)

values = 0
for probe in sorted(probes | set(got)):
    wanted = [args for name, args in known if name == probe]
    events = got.get(probe, [])
    if len(wanted) != len(events):
        tell(f"{probe}: {len(events)} records, not {len(wanted)}")
    for i, (args, event) in enumerate(zip(wanted, events)):
        for name, text in args:
            values += 1
            value, cut = event["args"].get(name, "missing"), name in event.get("cut", [])
            if not same(known_value(text), value, cut):
                tell(f"{probe}, record {i}: {name} is {value!r}{' (cut)' if cut else ''}, not {known_value(text)!r}")
times = [json.loads(line)["time"] for line in open(sys.argv[2], encoding="utf-8")]
if times != sorted(times):
    tell("times go back")
print(f"{len(times)} records of {len(got)} probes, {values} values known, {tails} without a value, {bad} wrong")
sys.exit(bad != 0 or values == 0)
