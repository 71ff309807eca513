#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
# stacker.py LOG [LOST] <FOLDED: compares folded stacks with the log of stacker.c. LOST: a pattern of frames that may stand for
# any function.
import collections, re, sys

FRAMES = 64
ROOTS = ("main", "thread_main")


def normal(line):
    """The frames from main or thread_main on; of a deep stack, the innermost ones."""
    names = line.split(";")
    if names[0] == "(cut)":
        return ";".join(names[1:])
    for root in ROOTS:
        if root in names:
            return ";".join(names[names.index(root):][-FRAMES:])
    return ";".join(names)


expected, got = collections.Counter(), collections.Counter()
for line in open(sys.argv[1]):
    expected[";".join(line.rstrip("\n").split(";")[-FRAMES:])] += 1
for line in sys.stdin:
    names, count = line.rstrip("\n").rsplit(" ", 1)
    got[normal(names)] += int(count)
lost = re.compile(sys.argv[2]) if len(sys.argv) > 2 else None
for names in list(got):
    if not lost or got[names] == expected[names]:
        continue
    frames = names.split(";")
    inner = frames[1:] if lost.fullmatch(frames[0]) else frames  # main's caller is the C library
    for other in expected:
        others = other.split(";")
        if len(others) == len(inner) and got[other] < expected[other] and all(
                a == b or lost.fullmatch(a) for a, b in zip(inner, others)):
            got[other] += got.pop(names)
            break
bad = 0
for names in sorted(expected.keys() | got.keys()):
    if expected[names] != got[names]:
        bad += 1
        if bad <= 10:
            print(f"expected {expected[names]}, got {got[names]}: {names}")
print(f"{sum(expected.values())} hits, {len(expected)} stacks, {sum(got.values())} counted, {bad} differ")
sys.exit(bad > 0)
