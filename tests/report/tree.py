# SPDX-License-Identifier: MIT
"""Makes traces of random call trees, whose truth is known, and compares what probe-report says about them.

usage: tree.py make DIR TRUTH SEED MODE
       tree.py check TRUTH MODE CHROME JSON [FOLDED]
       tree.py grow DIR BYTES     repeats the packets of a trace, in other threads, until it has this size
       tree.py grow-threads DIR BYTES [wide]     wide: each copy in threads and processes of its own

MODE is a comma-separated list:
    flat        a function never calls itself, directly or not
    unwind      some calls are left by longjmp() or an exception
    tail        some calls are tail calls, whose return is before the call
    late        the trace begins and ends while calls are in flight
    lost        records are missing, and the packets say how many
    threads     each thread but the first has packets of its own
"""

import json
import os
import random
import struct
import sys
import uuid

PACKET = 4096
HEADER = struct.Struct("<I16sIQQQQQ")
THREAD = struct.Struct("<ii16s")  # follows the header in packets of threads
EVENT = struct.Struct("<HIq")     # in packets of threads
FUNCTIONS = 6
OFFSET_S = 1700000000


def metadata(identity, functions):
    """Returns the text of a trace as probe-trace writes it."""
    text = "/* CTF 1.8 */\n\n"
    for name, size, signed, base in (("s32", 32, "true", 10), ("u16", 16, "false", 10), ("s64", 64, "true", 10), ("u8", 8, "false", 10),
                                     ("u32", 32, "false", 10), ("u64", 64, "false", 10), ("x32", 32, "false", 16)):
        text += "typealias integer { size = %d; align = 8; signed = %s; base = %d; } := %s;\n" % (size, signed, base, name)
    text += "typealias integer { size = 64; align = 8; signed = false; map = clock.monotonic.value; } := clock_ns;\n"
    text += "typealias integer { size = 32; align = 8; signed = false; map = clock.monotonic.value; } := clock_low;\n"
    text += "typealias integer { size = 8; align = 8; signed = false; encoding = UTF8; } := letter;\n\n"
    text += ("trace {\n\tmajor = 1;\n\tminor = 8;\n\tuuid = \"%s\";\n\tbyte_order = le;\n\tpacket.header := struct {\n"
             "\t\tx32 magic;\n\t\tu8 uuid[16];\n\t\tu32 stream_id;\n\t};\n};\n\n" % identity)
    text += "env {\n\thostname = \"box\";\n\ttracer_name = \"probepoint\";\n};\n\n"
    text += ("clock {\n\tname = monotonic;\n\tfreq = 1000000000;\n\tabsolute = true;\n\toffset_s = %d;\n\toffset = 0;\n};\n\n"
             % OFFSET_S)
    text += ("stream {\n\tid = 0;\n\tpacket.context := struct {\n\t\tclock_ns timestamp_begin;\n\t\tclock_ns timestamp_end;\n"
             "\t\tu64 content_size;\n\t\tu64 packet_size;\n\t\tu64 events_discarded;\n\t};\n\tevent.header := struct {\n"
             "\t\tu32 id;\n\t\tclock_ns timestamp;\n\t};\n\tevent.context := struct {\n\t\ts32 _pid;\n\t\ts32 _tid;\n"
             "\t\tstring _comm;\n\t};\n};\n\n")
    text += ("stream {\n\tid = 1;\n\tpacket.context := struct {\n\t\tclock_ns timestamp_begin;\n\t\tclock_ns timestamp_end;\n"
             "\t\tu64 content_size;\n\t\tu64 packet_size;\n\t\tu64 events_discarded;\n\t\ts32 _pid;\n\t\ts32 _tid;\n"
             "\t\tletter _comm[16];\n\t};\n\tevent.header := struct {\n\t\tu16 id;\n\t\tclock_low timestamp;\n\t};\n};\n\n")
    for stream in 0, 1:
        for i in range(functions):
            for j, end in enumerate(("entry", "return")):
                text += ("event {\n\tname = \"app:f%d__%s\";\n\tid = %d;\n\tstream_id = %d;\n\tfields := struct {\n\t\ts64 _%s;\n%s"
                         "\t};\n};\n\n" % (i, end, 2 * i + j, stream, ("id", "result")[j], "" if stream else "\t\tx32 __faults;\n"))
    return text


class Unwound(Exception):
    """Leaves calls up to one that goes on."""

    def __init__(self, target):
        super().__init__()
        self.target = target


class Thread:
    """A thread that makes random calls. Its records are (time, event, tid, number); times are set later."""

    def __init__(self, rng, modes, tid, numbers):
        self.rng, self.modes, self.tid, self.numbers = rng, modes, tid, numbers
        self.records, self.left = [], 0

    def run(self, left):
        self.left = left
        while self.left > 0:
            try:
                self.call([], 0)
            except Unwound:
                pass

    def note(self, function, is_return, number):
        self.records.append([function, is_return, number])
        self.left -= 1

    def call(self, stack, depth):
        rng = self.rng
        function = depth % FUNCTIONS if "flat" in self.modes else rng.choice((0, 0, 0, 1, 2, 3))
        number = next(self.numbers)
        self.note(function, False, number)
        frame = object()
        stack = stack + [frame]
        for _ in range(rng.choice((0, 0, 1, 2, 3))):
            if self.left <= 0 or depth >= (FUNCTIONS - 1 if "flat" in self.modes else 12):
                break
            if "unwind" in self.modes and rng.random() < 0.08:
                raise Unwound(rng.choice(stack[:-1] + [None]))
            if "tail" in self.modes and rng.random() < 0.1:
                self.note(function, True, number)
                self.call(stack[:-1], depth + 1)
                return
            try:
                self.call(stack, depth + 1)
            except Unwound as unwound:
                if unwound.target is not frame:
                    raise
        self.note(function, True, number)


def make(directory, truth, seed, modes):
    """Writes a trace, and the list of calls as JSON: [tid, function, begin, end or null]."""
    rng = random.Random(seed)
    numbers = iter(range(1, 1 << 40))
    threads = [Thread(rng, modes, 100 + i, numbers) for i in range(rng.randint(1, 4))]
    for thread in threads:
        thread.run(rng.randint(200, 1500))
    # Interleaves the threads.
    step = 3000000 if "lost" in modes else 2000
    clock, records, places = 1000000000, [], {thread: 0 for thread in threads}
    while places:
        thread = rng.choice(list(places))
        for _ in range(rng.randint(1, 20)):
            if places[thread] == len(thread.records):
                del places[thread]
                break
            clock += rng.randint(1, step)
            records.append([clock, thread.tid] + thread.records[places[thread]])
            places[thread] += 1
    if "late" in modes:
        records = records[len(records) // 5: -len(records) // 5]
    calls, begun = [], {}
    for time, tid, function, is_return, number in records:
        if not is_return:
            begun[number] = [tid, "app:f%d" % function, time, None]
            calls.append(begun[number])
        elif number in begun:
            begun[number][3] = time
    lost = (write_threads if "threads" in modes else write)(directory, records, rng, "lost" in modes)
    with open(truth, "w", encoding="utf-8") as file:
        json.dump({"calls": calls, "lost": lost, "records": len(records) - lost}, file)


def write(directory, records, rng, lose):
    """Writes the metadata and a stream. Returns the number of records that were left out."""
    identity = uuid.UUID(int=rng.getrandbits(128))
    os.mkdir(directory)
    with open(directory + "/metadata", "w", encoding="utf-8") as file:
        file.write(metadata(identity, FUNCTIONS))
    lost = at = 0
    with open(directory + "/stream_0", "wb") as stream:
        while at < len(records):
            # A packet has few records, so that a trace has many.
            wanted, body, times = rng.randint(3, 60), b"", []
            losing = lose and at and rng.random() < 0.05
            while at < len(records) and len(times) < wanted:
                time, tid, function, is_return, number = records[at]
                at += 1
                if losing and rng.random() < 0.3:
                    lost += 1
                    continue
                body += struct.pack("<IQii", 2 * function + is_return, time, 7, tid) + b"w%d\0" % tid
                body += struct.pack("<qI", number, 0)
                times.append(time)
            if times:
                size = HEADER.size + len(body)
                stream.write(HEADER.pack(0xC1FC1FC1, identity.bytes, 0, times[0], times[-1], 8 * size, 8 * PACKET, lost) + body)
                stream.write(bytes(PACKET - size))
    return lost


def packet(identity, stream, body, times, lost, thread=b""):
    """Returns the bytes of a packet."""
    size = HEADER.size + len(thread) + len(body)
    header = HEADER.pack(0xC1FC1FC1, identity.bytes, stream, times[0], times[-1], 8 * size, 8 * PACKET, lost)
    return header + thread + body + bytes(PACKET - size)


def write_threads(directory, records, rng, lose):
    """Writes the metadata, a mixed stream, a stream of losses, and a stream for each other thread. Returns the number of lost records."""
    identity = uuid.UUID(int=rng.getrandbits(128))
    os.mkdir(directory)
    with open(directory + "/metadata", "w", encoding="utf-8") as file:
        file.write(metadata(identity, FUNCTIONS))
    kept, losses, lost, at = [], b"", 0, 0
    while at < len(records):
        window, at = records[at:at + 40], at + 40
        if lose and kept and rng.random() < 0.05:
            left = [record for record in window if rng.random() < 0.7]
            losses += packet(identity, 0, b"", [records[at - 41][0]], lost)
            lost += len(window) - len(left)
            losses += packet(identity, 0, b"", [window[-1][0]], lost)
            window = left
        kept += window
    tids = sorted({record[1] for record in records})
    if losses:
        with open(directory + "/stream_%d" % len(tids), "wb") as stream:
            stream.write(losses)
    for number, tid in enumerate(tids):
        mine = [record for record in kept if record[1] == tid]
        with open(directory + "/stream_%d" % number, "wb") as stream:
            while mine:
                wanted = rng.randint(3, 60 if not number else (PACKET - HEADER.size - THREAD.size) // EVENT.size)
                taken, mine = mine[:wanted], mine[wanted:]
                times, body = [record[0] for record in taken], b""
                for time, _, function, is_return, value in taken:
                    if number:
                        body += EVENT.pack(2 * function + is_return, time & 0xffffffff, value)
                    else:
                        body += struct.pack("<IQii", 2 * function + is_return, time, 7, tid) + b"w%d\0" % tid + struct.pack("<qI", value, 0)
                thread = THREAD.pack(7, tid, b"w%d" % tid) if number else b""
                stream.write(packet(identity, 1 if number else 0, body, times, 0, thread))
    return lost


def slices(chrome):
    """Returns {(tid, function, begin): (end, status)} in ns since the first event, and checks that slices nest."""
    stacks, found, last = {}, {}, {}
    for event in chrome["traceEvents"]:
        if event["ph"] not in "BE":
            continue
        time = round(event["ts"] * 1000)
        stack = stacks.setdefault(event["tid"], [])
        if time < last.get(event["tid"], 0):
            sys.exit("times decrease: %s" % event)
        last[event["tid"]] = time
        if event["ph"] == "B":
            stack.append((event["name"], time))
        else:
            if not stack:
                sys.exit("an end without a begin: %s" % event)
            name, begin = stack.pop()
            found[event["tid"], name, begin] = time, event.get("args", {}).get("status")
    if any(stacks.values()):
        sys.exit("begins without an end: %s" % stacks)
    return found


def quantile(values, share):
    values = sorted(values)
    return values[min(len(values) - 1, max(0, -(-int(share * len(values) * 1000) // 1000) - 1))]


def check(truth, modes, chrome, report, folded):
    truth = json.load(open(truth, encoding="utf-8"))
    chrome = json.load(open(chrome, encoding="utf-8"))
    report = json.load(open(report, encoding="utf-8"))
    found = slices(chrome)
    origin = int(chrome["otherData"]["begin"]) - OFFSET_S * 10**9
    begun = {(tid, name, begin - origin): end and end - origin for tid, name, begin, end in truth["calls"]}
    if report["records"] != truth["records"] or report["lost"] != truth["lost"]:
        sys.exit("%d records and %d lost, not %d and %d" % (report["records"], report["lost"], truth["records"], truth["lost"]))
    extra = [key for key in found if key not in begun]
    missing = [key for key in begun if key not in found]
    if extra or (missing and "lost" not in modes):
        sys.exit("%d calls that were not made, such as %s; %d missing, such as %s" % (len(extra), extra[:1], len(missing), missing[:1]))
    counts = {None: 0, "uncertain": 0, "not ended": 0, "in flight at the end": 0}
    for key, (end, status) in found.items():
        counts[status] += 1
        if status is None and end != begun[key]:
            sys.exit("a wrong duration: %s ended at %s, not at %s" % (key, begun[key], end))
    totals = {key: sum(row[key] for row in report["calls"]) for key in ("ended", "uncertain", "unended", "in_flight", "unmatched")}
    if [totals[k] for k in ("ended", "uncertain", "unended", "in_flight")] != list(counts.values()):
        sys.exit("the report and the slices differ: %s, %s" % (totals, counts))
    unwound = sum(end is None for end in begun.values())
    if not modes & {"late", "lost"}:
        if totals["unmatched"]:
            sys.exit("%d returns are unmatched" % totals["unmatched"])
        if (counts["uncertain"] and "unwind" not in modes) or unwound != counts["not ended"] + counts["in flight at the end"]:
            sys.exit("%s, but %d calls did not end" % (counts, unwound))
        if not counts[None] and "unwind" not in modes:
            sys.exit("no call is certain")
    check_quantiles(found, report)
    if folded:
        check_folded(found, folded)
    print(counts, "unwound: %d" % unwound, "unmatched: %d" % totals["unmatched"], "lost: %d" % truth["lost"])


def check_quantiles(found, report):
    durations = {}
    for (_, name, begin), (end, status) in found.items():
        if status is None:
            durations.setdefault(name, []).append(end - begin)
    for row in report["calls"]:
        values = durations.get(row["function"], [])
        if not values:
            continue
        said = row["duration"]
        if (said["count"], said["min"], said["max"], said["sum"]) != (len(values), min(values), max(values), sum(values)):
            sys.exit("%s: %s" % (row["function"], said))
        for key, share in (("p50", 0.5), ("p90", 0.9), ("p99", 0.99)):
            exact = quantile(values, share)
            if abs(said[key] - exact) > 0.03 * exact:
                sys.exit("%s: %s is %d, not %d" % (row["function"], key, said[key], exact))
        if sum(bucket[2] for bucket in said["buckets"]) != len(values):
            sys.exit("%s: the buckets have other calls" % row["function"])


def check_folded(found, folded):
    """Computes stacks and the time in them from the slices."""
    wanted, by_thread = {}, {}
    marks = {None: "", "uncertain": " [uncertain]", "not ended": " [not ended]", "in flight at the end": " [in flight]"}
    # Times differ, so the slice that begins first is outside.
    for (tid, name, begin), (end, status) in found.items():
        by_thread.setdefault(tid, []).append((begin, -end, name, status))
    for list_ in by_thread.values():
        stack = []
        for begin, end, name, status in sorted(list_):
            while stack and stack[-1][1] <= begin:
                stack.pop()
            if stack:
                wanted[stack[-1][0] + stack[-1][2]] -= -end - begin
            path = (stack[-1][0] if stack else "") + ";" + name
            stack.append((path, -end, marks[status]))
            wanted[path + marks[status]] = wanted.get(path + marks[status], 0) + -end - begin
    got = {}
    for line in open(folded, encoding="utf-8"):
        path, ns = line.rstrip("\n").rsplit(" ", 1)
        comm, path = path.split(";", 1)
        got[";" + path] = got.get(";" + path, 0) + int(ns)
    wanted = {path: ns for path, ns in wanted.items() if ns}
    if got != wanted:
        differing = [path for path in set(got) | set(wanted) if got.get(path) != wanted.get(path)]
        sys.exit("%d stacks differ, such as %s: %s, not %s" % (len(differing), differing[0], got.get(differing[0]), wanted.get(differing[0])))


def grow_threads(directory, size, wide):
    """Appends copies of the packets to streams of threads, in other threads and later. Removes the mixed stream. Prints the number of records."""
    os.remove(directory + "/stream_0")
    names = sorted(name for name in os.listdir(directory) if name.startswith("stream_"))
    streams = [open(directory + "/" + name, "rb").read() for name in names]
    events, copy = 0, 0
    while size > 0:
        for name, data in zip(names, streams):
            changed = bytearray(data)
            for at in range(0, len(data), PACKET):
                begin, end, content = struct.unpack_from("<QQQ", data, at + 24)
                events += (content // 8 - HEADER.size - THREAD.size) // EVENT.size
                pid, tid, comm = THREAD.unpack_from(data, at + HEADER.size)
                # The low bits of the times of events stay.
                struct.pack_into("<QQ", changed, at + 24, begin + (copy << 32), end + (copy << 32))
                if wide:
                    THREAD.pack_into(changed, at + HEADER.size, pid + 5 * copy, tid + 5 * copy, comm)
                else:
                    THREAD.pack_into(changed, at + HEADER.size, pid + copy % 50, tid + 10 * (copy % 500), comm)
            with open(directory + "/" + name, "ab" if copy else "wb") as stream:
                stream.write(changed)
            size -= len(data)
        copy += 1
    print(events)


def grow(directory, size):
    """Appends copies of the packets to a stream. The copies have later times, other threads and other numbers."""
    data = open(directory + "/stream_0", "rb").read()
    packets = []
    for at in range(0, len(data), PACKET):
        packet = bytearray(data[at:at + PACKET])
        events, place = [], HEADER.size
        content = HEADER.unpack_from(packet)[5] // 8
        while place < content:
            after = packet.index(0, place + 20) + 1
            events.append((place + 4, struct.unpack_from("<Qii", packet, place + 4), after, struct.unpack_from("<q", packet, after)[0]))
            place = after + 12
        packets.append((packet, events))
    first, last = packets[0][1][0][1][0], packets[-1][1][-1][1][0]
    written, copy = len(data), 0
    with open(directory + "/stream_0", "ab") as stream:
        while written < size:
            copy += 1
            shift = copy * (last - first + 1000)
            for packet, events in packets:
                for place, (time, pid, tid), number_at, number in events:
                    struct.pack_into("<Qii", packet, place, time + shift, pid + copy % 50, tid + 10 * (copy % 500))
                    struct.pack_into("<q", packet, number_at, number + copy * 1000003)
                struct.pack_into("<QQ", packet, 24, events[0][1][0] + shift, events[-1][1][0] + shift)
                stream.write(packet)
            written += len(packets) * PACKET
    print(sum(len(events) for _, events in packets) * (copy + 1))


if sys.argv[1] == "grow-threads":
    grow_threads(sys.argv[2], int(sys.argv[3]), "wide" in sys.argv[4:])
elif sys.argv[1] == "grow":
    grow(sys.argv[2], int(sys.argv[3]))
elif sys.argv[1] == "make":
    make(sys.argv[2], sys.argv[3], int(sys.argv[4]), set(sys.argv[5].split(",")))
else:
    check(sys.argv[2], set(sys.argv[3].split(",")), sys.argv[4], sys.argv[5], sys.argv[6] if len(sys.argv) > 6 else None)
