# SPDX-License-Identifier: MIT
"""Compares a snapshot (JSON lines) with the log of sequence.c: sequence.py LOG SNAPSHOT UNTIL.

Prints "RECORDS COMPLETE MISSING HANDLED EARLY":
RECORDS   the number of records
COMPLETE  records that are not marked as incomplete
MISSING   missing hits that began after the first complete record had ended, and that ended by the number UNTIL
HANDLED   the same for hits of signal handlers, which MISSING does not include
EARLY     the same as MISSING, after the first record of all
"""
import array
import json
import sys

ROWS, N, HEAD = 64, 1 << 17, 4096

def pairs(log, row):
    log.seek(HEAD + row * N * 16)
    numbers = array.array("Q")
    numbers.frombytes(log.read(N * 16))
    for n in range(N):
        if not numbers[2 * n]:
            return
        yield n, numbers[2 * n], numbers[2 * n + 1] or sys.maxsize

log = open(sys.argv[1], "rb")
until = int(sys.argv[3])
records = [json.loads(line) for line in open(sys.argv[2])]
there = {(r["args"]["arg0"], r["args"]["arg1"]) for r in records}
complete = [r for r in records if r.get("complete", True)]
if complete != records[len(records) - len(complete):]:
    sys.exit("a record is complete before one that is not")
hits = [(row, n, before, after) for row in range(ROWS) for n, before, after in pairs(log, row)]
ended = {(row, n): after for row, n, before, after in hits}

def missing(since):
    if not since:
        return "none", "none"
    at = ended[(since[0]["args"]["arg0"], since[0]["args"]["arg1"])]
    rows = [row for row, n, before, after in hits if before > at and after <= until and (row, n) not in there]
    handled = sum(row >= ROWS // 2 for row in rows)
    return len(rows) - handled, handled

print(len(records), len(complete), *missing(complete), missing(records)[0])
