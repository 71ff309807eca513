# SPDX-License-Identifier: MIT
# For gdb -x: runs the program, and compares the arguments that gdb finds at the first hit of each probe with the probe's
# first record. It writes differences to a file. Variables of the environment:
#
#   PROBES  file with a line "PROBE<tab>SIGNATURE" per probe
#   EVENTS  output of probe-trace --json, of a run with the same addresses
#   DIFFER  file for differences
#   ARGS    arguments of the program
import gdb
import json
import os
import struct

ours = {}
for line in open(os.environ["EVENTS"], encoding="utf-8"):
    if line.startswith("{"):
        event = json.loads(line, parse_int=lambda text: -0.0 if text == "-0" else int(text))
        ours.setdefault(event["probe"], event)
signatures = dict(line.rstrip("\n").split("\t") for line in open(os.environ["PROBES"]))
differ = open(os.environ["DIFFER"], "w")
seen, values = set(), 0

def string_at(address):
    data = b""
    while len(data) < 127 and not data.endswith(b"\0"):
        data += bytes(gdb.selected_inferior().read_memory(address + len(data), 1))
    return data.rstrip(b"\0").decode("utf-8", "replace")

def same(known, value, is_float):
    if is_float:
        number = struct.unpack("d", struct.pack("Q", value % 2**64))[0]
        return float(known) == number or number != number and "nan" in str(known)
    if isinstance(known, str):
        return string_at(value) == known
    return known is None and value == 0 or known is not None and (int(known) - value) % 2**64 == 0

def compare(probe):
    global values
    if probe not in ours:
        differ.write(f"{probe}: hit here, not there\n")
        return
    args = list(ours[probe]["args"].items())
    count = int(gdb.parse_and_eval("$_probe_argc"))
    if count != len(args):
        differ.write(f"{probe}: {count} arguments, not {len(args)}\n")
    for i, (name, known) in enumerate(args):
        try:
            value = int(gdb.parse_and_eval(f"$_probe_arg{i}"))
            values += 1
            if not same(known, value, f"lua_Number {name}" in signatures[probe]):
                differ.write(f"{probe}: {name} is {value}, not {known!r}\n")
        except gdb.error as error:
            differ.write(f"{probe}: {name}: {error}\n")

class First(gdb.Breakpoint):
    def __init__(self, probe):
        super().__init__("-probe-stap " + probe, internal=True)
        self.probe = probe

    def stop(self):
        self.enabled = False
        if self.probe not in seen:
            seen.add(self.probe)
            compare(self.probe)
        return False

for setting in ("confirm off", "debuginfod enabled off", "disable-randomization on", "breakpoint always-inserted on"):
    gdb.execute("set " + setting)
first = [First(probe) for probe in signatures]
gdb.execute("run " + os.environ["ARGS"])
for probe in set(ours) - seen:
    differ.write(f"{probe}: hit there, not here\n")
print(f"first hits of {len(seen)} probes, {values} arguments")
