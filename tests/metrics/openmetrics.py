# SPDX-License-Identifier: MIT
"""Checks OpenMetrics 1.0 text from standard input by the rules of the specification, and prints its samples as JSON lines.

usage: openmetrics.py [--prometheus]

Each line of the output is {"name", "labels", "value"}. --prometheus: the older text format.
"""
import json
import re
import sys

NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
LABEL = r'[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\["\\n])*"'
NUMBER = r"[+-]?(?:\d+(?:\.\d*)?(?:e[+-]?\d+)?|Inf)|NaN"
SAMPLE = re.compile(rf"({NAME})(?:\{{((?:{LABEL}(?:,{LABEL})*)?)\}})? ({NUMBER})")
SUFFIXES = {"counter": ["_total"], "gauge": [""], "histogram": ["_bucket", "_count", "_sum"]}
old = "--prometheus" in sys.argv


def fail(line, why):
    sys.exit(f"{why}: {line!r}")


def unescape(text):
    return re.sub(r'\\(["\\n])', lambda m: "\n" if m[1] == "n" else m[1], text)


def number(text):
    """Returns the number, as an integer if it is one: jq 1.7 prints numbers as they are written."""
    value = float(text.replace("Inf", "inf"))
    return int(text) if re.fullmatch(r"[+-]?\d+", text) else int(value) if value.is_integer() else value


def canonical(number):
    """Returns how le is written: the shortest digits, with the exponent of %g, and a point or an exponent."""
    if number == float("inf"):
        return "+Inf"
    digits = repr(number)
    for precision in range(1, 18):
        digits = f"{number:.{precision - 1}e}"
        if float(digits) == number:
            break
    exponent = int(digits.split("e")[1])
    if exponent < -4 or exponent >= 6:
        return digits
    return repr(number)


data = sys.stdin.buffer.read()
text = data.decode("utf-8")  # fails if it is not UTF-8
if "\r" in text or re.search(r"[\x00-\x09\x0b-\x1f\x7f]", text):
    fail(text[:80], "a control character")
if not old and not text.endswith("\n# EOF\n"):
    fail(text[-80:], "no # EOF at the end")
lines = text.split("\n")[:-1]
if not old:
    lines.pop()
families, family, kind = {}, None, None
seen, buckets, closed = set(), {}, set()
for line in lines:
    if line.startswith("#"):
        word = line.split(" ", 3)
        if len(word) != 4 or word[1] not in ("TYPE", "UNIT", "HELP") or not re.fullmatch(NAME, word[2]):
            fail(line, "invalid metadata")
        if word[1] == "TYPE":
            if word[2] in families:
                fail(line, "a second family of the name")
            family, kind = word[2], word[3]
            families[family] = []
            if kind not in SUFFIXES:
                fail(line, "unknown type")
            if old and kind == "counter" and not family.endswith("_total"):
                fail(line, "a counter without _total")
            if not old and any(family.endswith(s) for s in ("_total", "_bucket", "_count", "_sum", "_created")):
                fail(line, "a family with a reserved suffix")
        elif word[2] != family or word[1] in families[family]:
            fail(line, "metadata of another family, or twice")
        elif word[1] == "UNIT" and (old or families[family] != ["TYPE"] or not family.endswith("_" + word[3])):
            fail(line, "invalid unit")
        elif word[1] == "HELP" and (not word[3] or "\\" in word[3]):
            fail(line, "invalid help")
        families[family].append(word[1])
        continue
    match = SAMPLE.fullmatch(line)
    if not match:
        fail(line, "invalid sample")
    name, labels, value = match.groups()
    if family is None or name not in [family + ("" if old and kind == "counter" else s) for s in SUFFIXES[kind]]:
        fail(line, "a sample of another family")
    if "HELP" not in families[family]:
        fail(line, "no help")
    pairs = re.findall(rf"({LABEL})", labels or "")
    values = {}
    for pair in pairs:
        label, quoted = pair.split("=", 1)
        if label in values or label.startswith("__"):
            fail(line, "invalid or repeated label")
        values[label] = unescape(quoted[1:-1])
    key = (name, tuple(sorted(values.items())))
    if key in seen:
        fail(line, "repeated series")
    seen.add(key)
    if kind in ("counter", "histogram") and not name.endswith("_sum") and not re.fullmatch(r"\d+", value):
        fail(line, "a count that is not an integer")
    if kind == "histogram":
        le = values.pop("le", None)
        point = (family, tuple(sorted(values.items())))
        if name.endswith("_bucket"):
            bound, count = float(le.replace("Inf", "inf")), int(value)
            if le != canonical(bound):
                fail(line, f"le is not canonical, {canonical(bound)}")
            last = buckets.setdefault(point, [])
            if last and (last[-1][0] >= bound or last[-1][1] > count):
                fail(line, "buckets are not ascending")
            last.append((bound, count))
            values["le"] = le
        else:
            if not buckets.get(point) or buckets[point][-1][0] != float("inf"):
                fail(line, "no +Inf bucket before the count")
            if buckets[point][0][0] < 0:
                fail(line, "a sum or count with negative bounds")
            if name.endswith("_count") and int(value) != buckets[point][-1][1]:
                fail(line, "the count is not that of +Inf")
    print(json.dumps({"name": name, "labels": values, "value": number(value)}))
for point, list_ in buckets.items():
    if list_[-1][0] != float("inf"):
        fail(point, "no +Inf bucket")
