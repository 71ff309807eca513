# SPDX-License-Identifier: MIT
# Compares the records of calls with what tests/trace/pairs.cc has written down.
import collections
import json
import sys

kind, log, records = sys.argv[1:4]
known = collections.Counter()
inside = {}
for line in open(log):
    name, identity, result, ns = line.split()
    known[name, int(identity), int(result)] += 1
    inside[name, int(identity)] = int(ns)
seen = collections.Counter()
extra = []  # ns that the record has more than the program
for line in open(records):
    record = json.loads(line)
    args = record["args"]
    name = record["probe"].split(":")[1].replace("__return", "")
    if name == "begin..done":
        name, identity, result = "pair", args["begin_arg0"], args["arg0"]
    elif name == "submit..finish":
        name, identity, result = "job", args["begin_id"], args["result"]
        if args["name"] != "job-%d" % args["id"]:
            sys.exit("a name that is not the job's: %s" % line)
    else:
        identity, result = args["id"], args.get("result")
    if result is None:
        result = 3 * identity + 1
    if name != "pair" and result != 3 * identity + 1:
        sys.exit("the return of another call: %s" % line)
    seen[name, identity, result] += 1
    if args["duration"] < 1:
        sys.exit("no duration: %s" % line)
    if inside.get((name, identity)):
        extra.append(args["duration"] - inside[name, identity])

if kind == "slow":
    fast = [key for key in seen if inside[key[0], key[1]] < 5000]
    all_fast = [key for key in known if inside[key[0], key[1]] < 5000]
    missing = [key for key in known if inside[key[0], key[1]] >= 25000 and not seen[key]]
    # A thread that is preempted at a site is slow outside of what the program measures.
    if len(fast) > len(all_fast) // 4 or missing:
        sys.exit("slow calls: %d records of %d fast ones, %d missing" % (len(fast), len(all_fast), len(missing)))
    print("slow calls: %d records of %d fast ones" % (len(fast), len(all_fast)))
    sys.exit(0)
wrong = list(seen - known) + [key for key in known - seen if key[0] != "deep"]  # some of those have no room
if wrong:
    sys.exit("%d of %d calls differ, such as %s" % (len(wrong), len(known), wrong[:3]))
# The traps' own time is subtracted as far as it is known. A thread that was preempted at a site has more or less.
if extra:
    extra.sort()
    middle = extra[len(extra) // 2]
    if not -2000 < middle < 20000:
        sys.exit("durations differ by %d ns in the middle" % middle)
    if extra[len(extra) // 20] < -20000:
        sys.exit("durations are %d ns less than what the program measured inside" % -extra[len(extra) // 20])
    print("%s: %d durations; more than inside by %d ns (least %d, 99 %% %d)"
          % (kind, len(extra), middle, extra[0], extra[len(extra) * 99 // 100]))
