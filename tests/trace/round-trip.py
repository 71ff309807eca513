# SPDX-License-Identifier: MIT
"""Compares the records in one form of output, value by value, with what the program has written down.

usage: round-trip.py FORM LOG FILE

FORM is text, json or otlp (what probe-trace prints), ctf (what babeltrace2 prints) or perfetto (what probe-report
writes). This program knows the forms from their documentation only, and shares no code with the product.
"""

import base64
import codecs
import json
import math
import re
import struct
import sys

STRING_MAX = 127
NULL = object()  # a null pointer, which cannot be read
codecs.register_error("each", lambda error: ("\ufffd", error.start + 1))


class Value:
    """What the program passed."""

    def __init__(self, text):
        self.kind, text = text[0], text[1:]
        self.label, self.bytes, self.number = None, None, None
        if self.kind in "iu":
            number, _, label = text.partition("/")
            self.number, self.label = int(number), label or None
        elif self.kind in "bc":
            self.number = int(text)
        elif self.kind == "p":
            self.number = int(text, 16)
        elif self.kind == "f":
            self.number = struct.unpack("<f", struct.pack("<I", int(text, 16)))[0]
        elif self.kind == "d":
            self.number = struct.unpack("<d", struct.pack("<Q", int(text, 16)))[0]
        elif text != "-":
            self.bytes = bytes.fromhex(text)

    @property
    def is_null(self):
        return self.kind == "s" and self.bytes is None

    @property
    def is_cut(self):
        return self.bytes is not None and len(self.bytes) > STRING_MAX

    @property
    def kept(self):
        return self.bytes[:STRING_MAX]

    @property
    def text(self):
        return self.kept.decode("utf-8", "each")


def real_key(number):
    """Returns what is equal for equal values; -0 differs from 0."""
    return "nan" if math.isnan(number) else struct.pack("<d", number)


def log_read(path):
    records = []
    for line in open(path):
        fields = line.rstrip("\n").split("\t")
        if fields != [""]:
            records.append((fields[0], [(name, Value(value)) for name, _, value in (f.partition("=") for f in fields[1:])]))
    return records


# ---- text

ESCAPES = {"a": 7, "b": 8, "t": 9, "n": 10, "v": 11, "f": 12, "r": 13}


def unescape(text, at, quote, escapes=ESCAPES):
    """Returns the bytes up to the quote, and the index after it."""
    out = bytearray()
    while text[at] != quote:
        c = text[at]
        if c != "\\":
            out += c.encode("utf-8", "surrogateescape")
            at += 1
        elif text[at + 1] == "x":
            out.append(int(text[at + 2:at + 4], 16))
            at += 4
        else:
            out += bytes([escapes[text[at + 1]]]) if text[at + 1] in escapes else text[at + 1].encode("utf-8", "surrogateescape")
            at += 2
    return bytes(out), at + 1


def text_arguments(text):
    arguments, at = [], 0
    while at < len(text):
        end = text.index("=", at)
        name, at = text[at:end], end + 1
        if text[at] in "\"'":
            mark = text[at]
            value, at = unescape(text, at + 1, mark)
            cut = text.startswith("...", at)
            at += 3 * cut
            value = (mark, value, cut)
        else:
            end = (text + " ").index(" ", at)
            value, at = text[at:end], end
        if at < len(text) and text[at] != " ":
            sys.exit("text: not a blank after %s: %r" % (name, text[at:]))
        at += 1
        arguments.append((name, value))
    return arguments


def text_read(path):
    for line in open(path, "rb").read().decode("utf-8").split("\n")[:-1]:
        match = re.fullmatch(r"\d\d:\d\d:\d\d\.\d{6} (\d+)/(\d+) (\S+) (\S+)(?: (.*))?", line)
        if not match:
            sys.exit("text: not a record: %r" % line)
        yield match[4], text_arguments(match[5] or "")


def text_wanted(name, value):
    if value.is_null:
        return name, "<fault>"
    if value.kind == "s":
        return name, ('"', value.kept, value.is_cut)
    if value.kind == "c":
        return name, ("'", bytes([value.number & 255]), False)
    if value.kind == "b":
        return name, "true" if value.number else "false"
    if value.kind == "p":
        return name, "0x%x" % value.number
    if value.kind in "fd":
        return name, real_key(value.number)
    return name, value.label or str(value.number)


def text_got(value, wanted):
    return real_key(float(value)) if isinstance(wanted, bytes) or wanted == "nan" else value


# ---- JSON

class Number(str):
    """A number as it is written, because Python would read -0 as 0."""


def json_load(text):
    return json.loads(text, parse_int=Number, parse_float=Number, object_pairs_hook=json_object,
                      parse_constant=lambda word: sys.exit("not JSON: " + word))


def json_object(pairs):
    made = dict(pairs)
    if len(made) != len(pairs):
        sys.exit("an object has a key twice: %r" % pairs)
    return made


def json_key(value):
    """Returns a value with its type, so that 1, "1" and true differ."""
    return (type(value).__name__, value)


def json_real(number):
    if math.isnan(number):
        return "nan"
    return real_key(number)


def json_read(path):
    for line in open(path):
        record = json_load(line)
        names, cuts = record.get("names", {}), record.get("cut", [])
        unknown = set(names) | set(cuts)
        unknown -= set(record["args"])
        if unknown:
            sys.exit("json: no such arguments: %r" % unknown)
        yield record["probe"], [(name, (value, names.get(name), name in cuts)) for name, value in record["args"].items()]


def json_wanted(name, value):
    if value.is_null:
        return name, (json_key(None), None, False)
    if value.kind == "s":
        return name, (json_key(value.text), None, value.is_cut)
    if value.kind == "b":
        return name, (json_key(value.number != 0), None, False)
    if value.kind in "fd":
        return name, (real_key(value.number), None, False)
    return name, (json_key(Number(value.number)), value.label, False)


def json_got(value, wanted):
    shown, label, cut = value
    if not isinstance(wanted[0], tuple):
        if isinstance(shown, Number) or (isinstance(shown, str) and shown.lstrip("-") in ("nan", "inf")):
            return (real_key(float(shown)), label, cut)
    return (json_key(shown), label, cut)


# ---- OTLP

OTLP_OWN = ("probepoint.probe", "thread.id", "thread.name")


def otlp_read(path):
    for line in open(path):
        (resource,) = json_load(line)["resourceLogs"]
        (scope,) = resource["scopeLogs"]
        (record,) = scope["logRecords"]
        if record["eventName"] == "probepoint.account":
            continue
        attributes = [(a["key"], *a["value"].items()) for a in record["attributes"]]
        keys = [key for key, _ in attributes]
        if len(set(keys)) != len(keys):
            sys.exit("otlp: an attribute twice: %s" % line)
        if dict(attributes)["probepoint.probe"] != ("stringValue", record["eventName"]):
            sys.exit("otlp: another probe: %s" % line)
        cuts = sorted((int(key[15:]), value[1]) for key, value in attributes if key.startswith("probepoint.cut."))
        arguments = [(k, v) for k, v in attributes if k not in OTLP_OWN and not k.startswith("probepoint.cut.")]
        yield record["eventName"], arguments + [("dropped", Number(record.get("droppedAttributesCount", 0))), ("cuts", cuts)]


def otlp_key(name, i):
    """Returns the key of an argument, whose name may be that of another attribute."""
    return "arg%d" % i if name in OTLP_OWN else name


def otlp_value(value):
    if value.kind == "s":
        try:
            return ("stringValue", value.kept.decode("utf-8"))
        except UnicodeDecodeError:
            return ("bytesValue", base64.b64encode(value.kept).decode())
    if value.kind == "b":
        return ("boolValue", value.number != 0)
    if value.kind in "fd":
        if math.isfinite(value.number):
            return ("doubleValue", real_key(value.number))
        return ("doubleValue", "NaN" if math.isnan(value.number) else "Infinity" if value.number > 0 else "-Infinity")
    return ("intValue" if value.number < 2**63 else "stringValue", str(value.number))


def otlp_wanted(arguments):
    wanted = []
    for i, (name, value) in enumerate(arguments):
        if not value.is_null:
            wanted.append((otlp_key(name, i), otlp_value(value)))
        if value.label:
            label = name + ".name"
            wanted.append(("arg%d.name" % i if label in OTLP_OWN else label, ("stringValue", value.label)))
    cuts = [(i, otlp_key(name, i)) for i, (name, value) in enumerate(arguments) if value.is_cut]
    return wanted + [("dropped", Number(sum(value.is_null for _, value in arguments))), ("cuts", cuts)]


def otlp_got(value, wanted):
    return (value[0], real_key(float(value[1]))) if isinstance(value, tuple) and isinstance(value[1], Number) else value


# ---- CTF, as babeltrace2 prints it

CTF_ESCAPES = ESCAPES | {"e": 27}
TOKEN = re.compile(r'\s*([{}(),:=]|"(?:[^"\\]|\\.)*"|[^\s{}(),:="]+)')


class Tokens:
    def __init__(self, text):
        self.list, at = [], 0
        text = text.rstrip()
        while at < len(text):
            match = TOKEN.match(text, at)
            if not match:
                sys.exit("ctf: not a token: %r" % text[at:])
            self.list.append(match[1])
            at = match.end()
        self.at = 0

    def peek(self):
        return self.list[self.at] if self.at < len(self.list) else ""

    def take(self, wanted=None):
        token = self.peek()
        if wanted and token != wanted:
            sys.exit("ctf: %r instead of %r in %r" % (token, wanted, self.list))
        self.at += 1
        return token

    def value(self):
        token = self.take()
        if token == "{":
            return self.members("}")
        if token == "(":
            labels = []
            while self.peek() != ":":
                if self.peek() not in "{},":
                    labels.append(self.peek())
                self.take()
            self.take(":")
            self.take("container")
            self.take("=")
            number = self.take()
            self.take(")")
            label = labels[0] if labels else None
            return (number, None if label == "<unknown>" else unescape(label + " ", 1, '"')[0].decode())
        if token[0] == '"':
            return unescape(token, 1, '"', CTF_ESCAPES)[0]
        return token

    def members(self, end):
        members = []
        while self.peek() != end:
            name = ""
            if len(self.list) > self.at + 1 and self.list[self.at + 1] == "=":
                name = self.take()
                self.take("=")
            members.append((name, self.value()))
            if self.peek() == ",":
                self.take()
        self.take(end)
        return members


def ctf_read(path):
    for line in open(path, "rb").read().decode("utf-8", "surrogateescape").split("\n")[:-1]:
        match = re.fullmatch(r"\[[^]]*\] (?:\S+ )?(rt:\w+): (.*)", line)
        if not match:
            sys.exit("ctf: not a record: %r" % line)
        tokens, parts = Tokens(match[2]), []
        while tokens.at < len(tokens.list):
            parts.append(tokens.value())
            if tokens.peek() == ",":
                tokens.take()
        arguments = parts[-1]
        marks = {"_faults": "0x0", "_cut": "0x0"}
        while arguments and arguments[-1][0] in marks:
            marks.update([arguments.pop()])
        yield match[1], arguments + sorted((name, int(mark, 16)) for name, mark in marks.items())


# babeltrace2 2.0 shows an empty text as the text that the same field of an earlier event had. How often it did:
stale = [0]
earlier = {}


def ctf_names(names):
    """Returns the names of fields: identifiers, of which one that is taken gets a number. x is taken after _x too."""
    made = []
    for name in names:
        plain = re.sub("[^A-Za-z0-9]", "_", name)
        name, number = plain, 2
        while name in made or "_" + name in made or name in ("_faults", "_cut", "__faults", "__cut"):
            name, number = "%s_%d" % (plain, number), number + 1
        made.append(name)
    return made


def ctf_text(value):
    """Returns the bytes in the trace, which end at a NUL byte, and whether some are left out."""
    text = value.kept.split(b"\0")[0]
    return text, value.is_cut or len(text) < len(value.kept)


def ctf_wanted(name, value):
    if value.kind == "s":
        return name, b"" if value.is_null else ctf_text(value)[0]
    if value.kind == "c":
        return name, bytes([value.number & 255]).rstrip(b"\0")
    if value.kind == "b":
        return name, (str(value.number), "true" if value.number else "false")
    if value.kind == "p":
        return name, "0x%X" % value.number
    if value.kind in "fd":
        return name, "nan" if math.isnan(value.number) else "%g" % value.number  # babeltrace2 prints six digits
    return name, (value.label, str(value.number))


def ctf_got(value, wanted):
    if isinstance(wanted, bytes) and isinstance(value, str):
        return value
    if isinstance(wanted, str) and wanted == "nan":
        return value.lstrip("-")
    if isinstance(wanted, tuple) and isinstance(value, str):
        return (None, value)
    if isinstance(wanted, tuple) and isinstance(value, tuple) and value[1] not in ("true", "false"):
        return (value[1], value[0])
    return value


def ctf_end(arguments):
    faults = sum(value.is_null << i for i, (_, value) in enumerate(arguments))
    cuts = sum(ctf_text(value)[1] << i for i, (_, value) in enumerate(arguments) if value.bytes is not None)
    return [("_cut", cuts), ("_faults", faults)]


# ---- Perfetto

def perfetto_read(path):
    events = json_load(open(path, encoding="utf-8").read())["traceEvents"]
    stack = []
    for event in events:
        phase, args = event["ph"], event.get("args", {})
        if phase == "i":
            if event["cat"] != "probe":
                sys.exit("perfetto: an instant of the category %s: %r" % (event["cat"], event))
            yield event["name"], list(args.items())
        elif phase == "B":
            stack.append(event["name"])
            yield event["name"] + "__entry", list(args.items())
        elif phase == "E":
            if "status" in args:
                sys.exit("perfetto: a call that is %s: %r" % (args["status"], event))
            yield stack.pop() + "__return", list(args.get("return", {}).items())
        elif phase not in "MC":
            sys.exit("perfetto: phase %s" % phase)


def perfetto_wanted(name, value):
    if value.is_null:
        return name, json_key(None)
    if value.kind == "s":
        return name, json_key(ctf_text(value)[0].decode("utf-8", "each"))
    if value.kind == "c":
        return name, json_key(bytes([value.number & 255]).rstrip(b"\0").decode("utf-8", "each"))
    if value.kind == "b":
        return name, json_key(value.number != 0)
    if value.kind == "p":
        return name, json_key("0x%x" % value.number)
    if value.kind in "fd":
        return name, real_key(value.number)
    if value.label:
        return name, json_key("%s (%d)" % (value.label, value.number))
    return name, json_key(Number(value.number) if abs(value.number) <= 2**53 else str(value.number))


def perfetto_got(value, wanted):
    if not isinstance(wanted, tuple) and (isinstance(value, Number) or str(value).lstrip("-") in ("nan", "inf")):
        return real_key(float(value))
    return json_key(value)


# ---- comparison

def each(wanted_of):
    return lambda arguments: [wanted_of(name, value) for name, value in arguments]


def each_field(wanted_of, end_of):
    def wanted(arguments):
        names = ctf_names([name for name, _ in arguments])
        return [wanted_of(name, value) for name, (_, value) in zip(names, arguments)] + end_of(arguments)
    return wanted


FORMS = {
    "text": (text_read, each(text_wanted), text_got),
    "json": (json_read, each(json_wanted), json_got),
    "otlp": (otlp_read, otlp_wanted, otlp_got),
    "ctf": (ctf_read, each_field(ctf_wanted, ctf_end), ctf_got),
    "perfetto": (perfetto_read, each_field(perfetto_wanted, lambda _: []), perfetto_got),
}


def differences(form, log, path):
    read, wanted_of, got_of = FORMS[form]
    records, values = list(read(path)), 0
    for number, (known, seen) in enumerate(zip(log, records)):
        probe, arguments = known
        if seen[0] != probe:
            yield "record %d: %s instead of %s" % (number, seen[0], probe)
            return
        wanted = wanted_of(arguments)
        if [name for name, _ in seen[1]] != [name for name, _ in wanted]:
            yield "record %d, %s: arguments %s instead of %s" % (number, probe, seen[1], wanted)
            continue
        for (name, got), (_, want) in zip(seen[1], wanted):
            got = got_of(got, want)
            if form == "ctf" and isinstance(got, bytes):
                before = earlier.setdefault((probe, name), set())
                if want == b"" and got in before:
                    stale[0] += 1
                    got = want
                before.add(got)
            values += 1
            if got != want:
                yield "record %d, %s: %s is %r instead of %r" % (number, probe, name, got, want)
    if len(records) != len(log):
        yield "%d records instead of %d" % (len(records), len(log))
    print("%s: %d records, %d values" % (form, len(records), values))
    if stale[0]:
        print("skipped: %d empty texts, which this babeltrace2 shows as an earlier text of the field" % stale[0])


def main():
    form, log, path = sys.argv[1:]
    wrong = list(differences(form, log_read(log), path))
    for line in wrong[:30]:
        print("%s: %s" % (form, line[:800]))
    if wrong:
        sys.exit("%s: %d differences" % (form, len(wrong)))


main()
