# SPDX-License-Identifier: MIT
# exits.py DISASSEMBLY SYMBOLS EXITS: compares the exits of functions (exits.c) with objdump's text. An indirect jump must be
# an exit unless the instruction that sets its register, among the three before it, is an addition.
import re
import sys

code, sizes = {}, {}
for line in open(sys.argv[1]):
    m = re.match(r"\s*([0-9a-f]+):\s+(?:[0-9a-f]{8}|(?:[0-9a-f]{2} ){4})\s+(\S+)\s*(.*)", line)
    if m:
        code[int(m[1], 16)] = m[2], m[3]
for line in open(sys.argv[2]):
    address, size = line.split()
    sizes[int(address, 16)] = max(sizes.get(int(address, 16), 0), int(size, 0))

functions = exits = refused = switches = 0
for line in open(sys.argv[3]):
    address, error, *words = line.split()
    start = int(address, 16)
    if error != "0":
        refused += 1
        continue
    got = {int(word.rstrip("t"), 16): word.endswith("t") for word in words}
    want = {}
    for at in range(start, start + sizes[start], 4):
        name, operands = code.get(at, ("", ""))
        if name == "ret":
            want[at] = False
        elif name == "b":
            target = int(re.match(r"(?:0x)?([0-9a-f]+)", operands)[1], 16)
            if target == start or not start <= target < start + sizes[start]:
                want[at] = True
        elif name == "br":
            before = [code.get(at - 4 * k, ("", "")) for k in (1, 2, 3)]
            if any(b[0] == "add" and b[1].split(",")[0] == operands.strip() for b in before):
                switches += 1
            else:
                want[at] = True
    if got != want:
        sys.exit(f"function at {start:#x}: exits {words} instead of {[hex(at) for at in want]}")
    functions += 1
    exits += len(want)
print(f"{functions} functions, {exits} exits, {switches} switches, {refused} refused")
if functions < 1000 or exits < 1000 or not switches or refused * 20 > functions:
    sys.exit("too few functions")
