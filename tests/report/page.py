# SPDX-License-Identifier: MIT
# page.py PAGE REPORT.json FOLDED: the data of a page is that of the other outputs, and the page refers to nothing outside of it.
import json
import re
import sys

page = open(sys.argv[1], encoding="utf-8").read()
report = json.load(open(sys.argv[2], encoding="utf-8"))
folded = [line.rsplit(" ", 1) for line in open(sys.argv[3], encoding="utf-8", errors="replace") if line.strip()]

found = re.findall(r'<script id="data" type="application/json">\n(.*?)</script>', page, re.S)
assert len(found) == 1, "the data is not one element"
assert "<" not in found[0], "the data contains markup"
assert page.count("</script>") == 2 and page.rstrip().endswith("</html>"), "the page is cut"
rest = page.replace(found[0], "").replace("'://www.w3.org/2000/svg'", "")  # a name, not an address
assert not re.search(r"https?:|//[a-z]+\.|@import|\bsrc=|fetch\(|XMLHttp|import\(", rest), "the page refers to the network"
data = json.loads(found[0])

assert data["report"] == report, "the report differs from --json"
slices, n = data["slices"], len(data["slices"]["begin"])
assert all(len(slices[key]) == n for key in ("duration", "function", "thread", "depth", "status"))
calls = {c["function"]: c for c in report["calls"]}
everything = sum(c["ended"] + c["uncertain"] + c["unended"] + c["in_flight"] for c in report["calls"])
assert n + slices["dropped"] == everything, f"{n} slices and {slices['dropped']} dropped ones of {everything} calls"
for heat in data["heat"]:
    name = data["functions"][heat["function"]]
    cells = heat["cells"]
    assert sum(cells[2::3]) == calls[name]["ended"], f"heat map of {name}"
    rows = data["heat_rows"]
    for lo, hi, count in calls[name]["duration"]["buckets"]:
        row = max(i for i in range(len(rows)) if rows[i] <= lo)
        assert row in cells[1::3], f"no duration of {lo} ns in the heat map of {name}"
    assert max(cells[0::3]) * heat["width"] <= data["span"], f"heat map of {name} is too wide"
frames = data["frames"]
total = sum(int(ns) for _, ns in folded)
assert frames[3] == total, f"the flame graph has {frames[3]} ns, the folded stacks have {total}"
if not data["frames_left_out"]:
    assert sum(frames[4::5]) == total
per_thread = {}
for thread, _, *counts in data["rates"]:
    per_thread[data["threads"][thread][1]] = sum(counts)
for thread in report["threads"]:
    assert not thread["records"] or per_thread.get(thread["tid"]) == thread["records"], f"records of thread {thread['tid']}"
lost = sum(records for _, _, records, _ in data["losses"])
assert lost == report["lost"] or data["losses_all"] > len(data["losses"]), f"{lost} lost"
print(f"{n} slices, {len(data['heat'])} heat maps, {len(frames) // 5} frames, {len(data['losses'])} losses")
