# SPDX-License-Identifier: MIT
"""
steps.py make SEED COUNT BITS DIR: writes DIR/code, instructions of STRIDE bytes each: the fixed ones, and COUNT random
ones (0: all). Writes DIR/code.s with a function for each, or a note for each if BITS is 32. Prints their number, and the
pattern of each part of them.

steps.py compare BITS DIR ASK: compares DIR/map, the kernel's mapping of DIR/code, with DIR/refused, probe-enable's answer in
JSON. `ASK DIR/code OFFSET` prints the kernel's error for one instruction.
"""
import json
import random
import subprocess
import sys

STRIDE = 17  # so that some instructions cross pages
PART = 9000  # a pattern may match 10,000 functions
ENOEXEC = 8
LEGACY = [0x26, 0x2E, 0x36, 0x3E, 0x64, 0x65, 0x66, 0x67, 0xF0, 0xF2, 0xF3]
# Instructions of a review, and those whose verdict depends on more than the opcode.
FIXED = """
2e90 3e90 6490 6690 666690 f390 90 4190 4990 4890 2e0f1f00 660f1f440000 662e0f1f840000000000 0f1f440000 66660f1f4000 0f1f00 0f1f8000000000
c5f1efc0 c5fa6f07 c5fe7f07 c5f877 c5f97ec0 c5f9700011 c5f174c0 c5f1e8c0 c5f1e9c0 c5f1ebc0 c5f8c2c001 c4e2699dc1 c5f81007 c5f857c0
c4e1f890c0 c4e2718e07 c4e2718e17 62f17c481007 62f1fd486f07 62f1fd487f07 62f27d489dc0 62f17c48c2c801
ed ef fa fb cf 48cf 8ed0 8ed8 8ee8 9c 669c 9d 0f05 0f34 0f01d7 f30f01ec 0f01d0 0faef0 0f31 0fa2 f30f1efac3
e811223344 66e811223344 e911223344 66e911223344 eb11 66eb11 7411 667411 0f8411223344 660f8411223344 f2e811223344 f27411 647411 2e7411
f3aa f3a4 f2ae 66f3ab f348ab aa f3c3 c3 c20800 cb ca0800 ff10 ff20 ff6008 48ff2511223344 c9 c8000000 e011 e311
d5089090 8fe878c2c1 8fc0 5554 4154 4855 6655 f0488344240801 488b442408 3e488b442408 64488b042511223344 65488b042511223344 488d0511223344
07 17 1f 06 0e 16 1e 27 2f 37 3f 60 61 62c0 82c001 9a112233441100 ea112233441100 d400 d500 d6 6c 6d 6e 6f c4c17811c0 cc cd80 ce f1 f4 0f0b 0fb9c0 0fffc0
""".split()


def modes(bits):
    """Yields the bytes before the operands, for each prefix and opcode."""
    escapes = [[], [0x0F], [0x0F, 0x38], [0x0F, 0x3A]]
    for opcode in range(256):
        for escape in escapes:
            for prefixes in [[]] + [[p] for p in LEGACY]:
                yield prefixes + escape + [opcode]
            # A prefix after REX makes REX void; no assembler writes that.
            if bits == 64 and (escape or (opcode not in LEGACY and opcode & 0xF0 != 0x40)):
                for prefixes in [0x48], [0x41], [0x66, 0x49]:
                    yield prefixes + escape + [opcode]
        for pp in range(4):
            yield [0xC5, 0xF8 | pp, opcode]
            for wide in (0, 0x80):
                for number in (1, 2, 3):
                    yield [0xC4, 0xE0 | number, wide | 0x78 | pp, opcode]
                for number in (1, 2, 3, 4, 5, 6):
                    yield [0x62, 0xF0 | number, wide | 0x7C | pp, 0x48, opcode]


def make(seed, count, bits, folder):
    chance = random.Random(seed)
    shapes = list(modes(bits))
    if count:
        shapes = chance.sample(shapes, count)
    codes = [bytes.fromhex(f) for f in FIXED]
    for shape in shapes:
        # Opcode extensions and operands differ; 0 would make some jumps nops.
        codes.append(bytes(shape) + bytes([chance.choice([0xC0, 0xD1, 0xEA, 0x07, 0x15, 0x44, 0xFB])]))
    # The instruction after endbr64 may be armed instead.
    codes = [c for c in codes if c[:4] != bytes.fromhex("f30f1efa") or c[4:] == b"\xc3"]
    codes = [(c + bytes([0x24, 0x08, 0x11, 0x11] + [0x11] * STRIDE))[:STRIDE] for c in codes]
    with open(folder + "/code", "wb") as f:
        f.write(b"".join(codes))
    names = [f"i{i // PART}_{i}" for i in range(len(codes))]
    with open(folder + "/code.s", "w") as f:
        if bits == 32:
            print('.section .note.stapsdt,"","note"', file=f)
            for name in names:
                print(f'.balign 4; .4byte 2f-1f, 4f-3f, 3; 1: .asciz "stapsdt"; 2: .balign 4; 3: .4byte {name}, 0, 0; '
                      f'.asciz "p"; .asciz "{name}"; .asciz ""; 4: .balign 4', file=f)
        print(".text", file=f)
        for i, name in enumerate(names):
            print(f'.globl {name}; .type {name}, @function; {name}: .incbin "{folder}/code", {i * STRIDE}, {STRIDE}; '
                  f".size {name}, {STRIDE}", file=f)
        print('.section .note.GNU-stack,"",@progbits', file=f)
    provider = "func" if bits == 64 else "p"
    print(len(codes), *(f"{provider}:i{part}_*" for part in range((len(codes) + PART - 1) // PART)))


def is_vex(code):
    return code[0] in (0xC4, 0xC5, 0x62)


def compare(bits, folder, ask):
    with open(folder + "/code", "rb") as f:
        code = f.read()
    with open(folder + "/map", "rb") as f:
        mapped = f.read()
    with open(folder + "/refused", encoding="utf-8") as f:
        answer = json.load(f)
    if len(mapped) != len(code):
        sys.exit("the mapping has another size")
    reasons = {}
    for row in answer["refused"]:
        reasons[int(row["probe"].split("_")[1])] = row["reason"]
    bad = []
    sums = {"armed": 0, "not armed": 0, "executed wrongly": 0, "other": 0, "unknown": 0}
    for i in range(len(code) // STRIDE):
        at = i * STRIDE
        one = code[at:at + STRIDE]
        if one[0] == 0xCC:
            if "is a trap" not in reasons.get(i, ""):
                bad.append(f"{one.hex()}: int3 is not refused")
            continue
        accepted = mapped[at] == 0xCC
        reason = reasons.get(i)
        # Only nops are armed in 32-bit programs, by notes. This reason comes after those of the instruction.
        if reason and "is not a nop" in reason:
            sums["armed" if accepted else "other"] += 1
        elif reason is None:
            sums["armed"] += accepted
            if accepted:
                continue
            # The kernel's decoder may be older than the one of this machine.
            error = subprocess.run([ask, folder + "/code", str(at)], capture_output=True, text=True, check=True).stdout
            if is_vex(one) and int(error) == ENOEXEC:
                sums["unknown"] += 1
                continue
            bad.append(f"{one.hex()}: the kernel refuses it ({error.strip()}), probe-enable does not")
        elif "cannot step over" in reason:
            sums["not armed"] += 1
            if accepted:
                bad.append(f"{one.hex()}: the kernel accepts it, probe-enable refuses it")
        elif "execute wrongly" in reason or "repeats itself" in reason:
            sums["executed wrongly"] += 1
        elif any(w in reason for w in ("is a trap", "is hlt", "not valid in 64-bit", "5-byte nop", "10-byte nop", "cannot be decoded")):
            sums["other"] += 1
        else:
            bad.append(f"{one.hex()}: {reason}")
    print(f"{bits} bits:", ", ".join(f"{n} {k}" for k, n in sums.items()))
    for line in bad[:40]:
        print(line)
    if bad:
        sys.exit(f"{len(bad)} differ")
    if not sums["armed"] or not sums["not armed"]:
        sys.exit("all are equal")


if sys.argv[1] == "make":
    make(int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), sys.argv[5])
else:
    compare(int(sys.argv[2]), sys.argv[3], sys.argv[4])
