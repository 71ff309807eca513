# SPDX-License-Identifier: MIT
"""Makes a program with probes of random signatures, which it hits with random values and writes down.

usage: round-trip-make.py DIR SEED SIGNATURES ROUNDS

Writes DIR/plugin.c, plugin.cc (compiled with the plugin), plain.c (without it) and main.c. Run as "PROGRAM LOG", the
program appends a line for each hit to LOG: the probe, then NAME=VALUE for each argument, separated by tabs. A VALUE is
    i|u DECIMAL[/LABEL]    an integer, with the name of the value of an enumeration
    b 0|1, c DECIMAL       a bool, a char
    f|d HEX                the bits of a float or double
    s HEX | s-             the bytes of a string, or a null pointer
    p HEX                  another pointer
"""

import random
import struct
import sys

COMMON = r"""
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/probe.h>
#include <sys/sdt.h>
/* Results come from these. The site of a return before a tail call has no value. */
#define INLINE static inline __attribute__((always_inline))
#ifdef __cplusplus
extern "C" FILE *out;
extern "C" const char *const texts[];
extern "C" const size_t lengths[];
#else
#include <stdbool.h>
#include <stddef.h>
#include <uchar.h>
extern FILE *out;
extern const char *const texts[];
extern const size_t lengths[];
INLINE _Float16 as_half(uint64_t raw) { uint16_t bits = (uint16_t)raw; _Float16 f; memcpy(&f, &bits, 2); return f; }
#endif
enum minus { MINUS_LOW = -2147483647 - 1, MINUS_THREE = -3, MINUS_ALIAS = -3, MINUS_ZERO = 0, MINUS_SEVEN = 7 };
enum plus { PLUS_ZERO, PLUS_ONE, PLUS_UNO = 1, PLUS_TOP = 0xffffffffu };
#ifdef __cplusplus
enum class tiny : unsigned char { OFF, ON = 200 };
enum class wide : long { LEAST = INT64_MIN, NEAR = -5000000000, MOST = INT64_MAX };
enum class top : unsigned long { NONE, MOST = UINT64_MAX };
static const char *tiny_name(long v) { return v == 0 ? "OFF" : v == 200 ? "ON" : NULL; }
static const char *wide_name(long v) { return v == INT64_MIN ? "LEAST" : v == -5000000000 ? "NEAR" : v == INT64_MAX ? "MOST" : NULL; }
static const char *top_name(unsigned long v) { return v == 0 ? "NONE" : v == UINT64_MAX ? "MOST" : NULL; }
#endif
static inline const char *minus_name(long v)
{ return v == MINUS_LOW ? "MINUS_LOW" : v == -3 ? "MINUS_THREE" : v == 0 ? "MINUS_ZERO" : v == 7 ? "MINUS_SEVEN" : NULL; }
static inline const char *plus_name(long v)
{ return v == 0 ? "PLUS_ZERO" : v == 1 ? "PLUS_ONE" : v == 0xffffffff ? "PLUS_TOP" : NULL; }
struct two { int a; unsigned long b; };
struct four { short a; unsigned char b[2]; unsigned c; };
struct reals { float x; double y; };
struct narrow { int a : 3; unsigned b : 5; };
struct named { const char *text; enum minus m; };
struct owner { int id; const char *name; };
struct flags { bool yes; char letter; short n; };
INLINE float as_float(uint64_t raw) { uint32_t bits = (uint32_t)raw; float f; memcpy(&f, &bits, 4); return f; }
INLINE double as_double(uint64_t raw) { double d; memcpy(&d, &raw, 8); return d; }
INLINE const char *as_text(uint64_t raw) { return raw == UINT64_MAX ? NULL : texts[raw]; }
INLINE long double as_long_double(uint64_t mantissa, uint64_t rest)
{ uint16_t exponent = (uint16_t)rest; long double d = 0; memcpy(&d, &mantissa, 8); memcpy((char *)&d + 8, &exponent, 2); return d; }
INLINE _Complex double as_complex(uint64_t real, uint64_t imag)
{ _Complex double z; __real__ z = as_double(real); __imag__ z = as_double(imag); return z; }
static inline unsigned long mantissa_of(long double d) { uint64_t m; memcpy(&m, &d, 8); return m; }
static inline unsigned long exponent_of(long double d) { uint16_t e; memcpy(&e, (char *)&d + 8, 2); return e; }
static inline void hit(const char *probe) { fprintf(out, "\n%s", probe); }
static inline void put_label(const char *label) { if (label) fprintf(out, "/%s", label); }
static inline void put_i(const char *name, long v) { fprintf(out, "\t%s=i%ld", name, v); }
static inline void put_u(const char *name, unsigned long v) { fprintf(out, "\t%s=u%lu", name, v); }
static inline void put_b(const char *name, bool v) { fprintf(out, "\t%s=b%d", name, v); }
static inline void put_c(const char *name, char v) { fprintf(out, "\t%s=c%d", name, v); }
static inline void put_f(const char *name, float v) { uint32_t b; memcpy(&b, &v, 4); fprintf(out, "\t%s=f%x", name, b); }
static inline void put_d(const char *name, double v) { uint64_t b; memcpy(&b, &v, 8); fprintf(out, "\t%s=d%lx", name, b); }
static inline void put_p(const char *name, const void *v) { fprintf(out, "\t%s=p%lx", name, (unsigned long)v); }
static inline void put_n(const char *name, const char *v, size_t n) /* no bytes at a null pointer are an empty string */
{
	fprintf(out, "\t%s=s%s", name, v || !n ? "" : "-");
	for (size_t i = 0; v && i < n; i++)
		fprintf(out, "%02x", (unsigned char)v[i]);
}
static inline void put_s(const char *name, const char *v) { put_n(name, v, v ? strlen(v) : 1); }
"""

# name: (C type, the expression of a value of raw numbers, parts: (suffix, kind, member, bits, label's function))
SCALARS = {
    "signed char": ("(signed char)%s", "i", 8),
    "unsigned char": ("(unsigned char)%s", "u", 8),
    "short": ("(short)%s", "i", 16),
    "unsigned short": ("(unsigned short)%s", "u", 16),
    "int": ("(int)%s", "i", 32),
    "unsigned": ("(unsigned)%s", "u", 32),
    "long": ("(long)%s", "i", 64),
    "unsigned long": ("(unsigned long)%s", "u", 64),
    "int64_t": ("(int64_t)%s", "i", 64),
    "size_t": ("(size_t)%s", "u", 64),
    "bool": ("(%s & 1) != 0", "b", 1),
    "char": ("(char)%s", "c", 8),
    "float": ("as_float(%s)", "f", 32),
    "double": ("as_double(%s)", "d", 64),
    "char16_t": ("(char16_t)%s", "u", 16),
    "char32_t": ("(char32_t)%s", "u", 32),
    "wchar_t": ("(wchar_t)%s", "i", 32),
    "_Float16": ("as_half(%s)", "h", 16),
    "void *": ("(void *)%s", "p", 64),
    "const int *": ("(const int *)%s", "p", 64),
    "const char *": ("as_text(%s)", "s", 0),
    "char *": ("(char *)as_text(%s)", "s", 0),
}
ENUMS = {"enum minus": ("i", 32), "enum plus": ("u", 32)}
SCOPED = {"enum tiny": ("u", 8), "enum wide": ("i", 64), "enum top": ("u", 64)}
STRUCTS = {  # members: name, kind, bits, label
    "struct two": (("a", "i", 32), ("b", "u", 64)),
    "struct four": (("a", "i", 16), ("b[0]", "u", 8), ("b[1]", "u", 8), ("c", "u", 32)),
    "struct reals": (("x", "f", 32), ("y", "d", 64)),
    "struct narrow": (("a", "i", 3), ("b", "u", 5)),
    "struct named": (("text", "s", 0), ("m", "i", 32)),
    "struct owner": (("id", "i", 32), ("name", "s", 0)),
    "struct flags": (("yes", "b", 1), ("letter", "c", 8), ("n", "i", 16)),
}
LABELS = {"minus": [-2147483648, -3, 0, 7], "plus": [0, 1, 0xFFFFFFFF], "tiny": [0, 200],
          "wide": [-2**63, -5000000000, 2**63 - 1], "top": [0, 2**64 - 1]}
# What is split without members: how to make it from raw numbers, and its parts: suffix, kind, bits, expression.
SPLIT = {
    "__int128": ("(__int128)((unsigned __int128)%s | (unsigned __int128)%s << 64)",
                 ((".low", "u", 64, "(unsigned long)%s"), (".high", "i", 64, "(long)(%s >> 64)"))),
    "_Complex double": ("as_complex(%s, %s)",
                        ((".real", "d", 64, "__real__ %s"), (".imag", "d", 64, "__imag__ %s"))),
    "long double": ("as_long_double(%s | 1ull << 63, %s | 1)",
                    ((".mantissa", "u", 64, "mantissa_of(%s)"), (".exponent", "u", 16, "exponent_of(%s)"))),
    "sized": ("as_text(%s)", (("", "s", 0, "%s"), ("_len", "u", 64, "%s_len"))),  # a string and its length
}
SDT = [t for t in SCALARS if SCALARS[t][1] in "iu"]
PARTS_MAX = 20
# Names that formats use themselves, that are keywords of theirs, or that look like names of parts.
NAMES = ("thread", "probepoint", "event", "string", "align", "clock", "stream", "env", "trace", "time", "pid", "tid", "comm",
         "probe", "args", "names", "cut", "_cut", "_faults", "faults", "__cut", "duration", "status", "name", "arg1", "arg3",
         "a0_text", "a1_a", "a2_b_0_", "a0_len", "value", "timestamp", "floating_point", "_", "__", "x", "id")


class Texts:
    """The strings of the program."""

    def __init__(self, rng):
        self.rng = rng
        self.list = [b"", b"a", b" ", b"x" * 126, b"y" * 127, b"z" * 128, b'"', b"\\", b'"\\"\\\\', b"\n", b"a\tb\r\n",
                     b"\x01\x1b[31m\x7f", b"\xff", b"\xc3", b"\xc3\xa9", b"\xe2\x82", b"\xf0\x9f\x98\x80", b"\xed\xa0\x80",
                     b"\xc0\xaf", b"n" * 126 + b"\xc3\xa9", b"'", b"...", b"<fault>", b"null", b", { a = 1 }", b"<b>&amp;</b>",
                     b"\xc2\x80\xc2\x9f", b"\xe2\x80\xae", b"\xef\xbb\xbf", b"%s%n", b"a b=c", b"\xef\xbf\xbd", b"*/", b"\\x41\\n",
                     b"\xf4\x90\x80\x80", b"0", b"-0", b"?" * 4 + b"/", b"\0", b"a\0b", b"\0\0end", b"q" * 126 + b"\0", b"q" * 127 + b"\0", b"\xff\0\xfe" * 50]

    def choose(self):
        if self.rng.randrange(3) == 0:
            n = self.rng.choice((1, 3, 8, 40, 120, 127, 128, 129, 300))
            kind = self.rng.randrange(3)
            if kind == 0:
                text = bytes(self.rng.randrange(1, 256) for _ in range(n))
            elif kind == 1:
                text = bytes(self.rng.randrange(32, 127) for _ in range(n))
            else:
                text = "".join(self.rng.choice("aé€😀\u0085\u200f\n\"\\z") for _ in range(n)).encode()
            self.list.append(text)
            return len(self.list) - 1
        return self.rng.randrange(len(self.list))


def value(rng, texts, kind, bits, label=None):
    """Returns 64 bits from which the program makes a value."""
    if kind == "s":
        return 2**64 - 1 if rng.randrange(8) == 0 else texts.choose()
    if label and rng.randrange(2):
        return rng.choice(LABELS[label]) % 2**64
    if kind in "fd":
        form, size, top = ("<f", 4, "<I") if kind == "f" else ("<d", 8, "<Q")
        special = [0.0, -0.0, 1.0, -1.0, float("inf"), float("-inf"), 0.1, 1 / 3, 1e-5, 1e15, 123456.0, 1234567.0, 0.5]
        if rng.randrange(3) == 0:
            return struct.unpack(top, struct.pack(form, rng.choice(special)))[0]
        edges = ([1, 0x007FFFFF, 0x00800000, 0x7F7FFFFF, 0x7FC00000, 0xFFC00000, 0x80000001] if size == 4 else
                 [1, 0xFFFFFFFFFFFFF, 0x10000000000000, 0x7FEFFFFFFFFFFFFF, 0x7FF8000000000000, 0xFFF8000000000000, 2**63 + 1])
        return rng.choice(edges) if rng.randrange(2) else rng.getrandbits(8 * size)
    if kind == "h":
        return rng.choice((0, 0x8000, 1, 0x3FF, 0x400, 0x7BFF, 0x7C00, 0xFC00, 0x7E00, 0x3C00, 0x3555, rng.getrandbits(16)))
    edges = [0, 1, 2**64 - 1, 2**(bits - 1) - 1, 2**(bits - 1), 2**bits - 1, 2**53, 2**53 + 1, 2**64 - 2**53 - 1, 39, 92, 34, 10, 0x80]
    return rng.choice(edges) % 2**64 if rng.randrange(2) else rng.getrandbits(rng.randrange(1, 65))


class Parameter:
    def __init__(self, name, type_):
        self.name, self.type, self.label = name, type_, None
        if type_ in STRUCTS:
            self.parts = [(name + "." + m, k, b, "minus" if m == "m" else None, name + "." + m) for m, k, b in STRUCTS[type_]]
        elif type_ in ENUMS or type_ in SCOPED:
            kind, bits = (ENUMS | SCOPED)[type_]
            self.parts = [(name, kind, bits, type_.split()[1], name)]
        elif type_ in SPLIT:
            self.parts = [(name + end, kind, bits, None, form % name) for end, kind, bits, form in SPLIT[type_][1]]
        else:
            self.parts = [(name, SCALARS[type_][1], SCALARS[type_][2], None, name)]

    @property
    def c_parameters(self):
        if self.type == "sized":
            return ["const char *" + self.name, "size_t %s_len" % self.name]
        return ["%s %s" % (self.type, self.name)]

    @property
    def c_arguments(self):
        return [self.name, self.name + "_len"] if self.type == "sized" else [self.name]

    def raws(self, rng, texts):
        return [value(rng, texts, kind, bits, label) for _, kind, bits, label, _ in self.parts]

    def declare(self, raw, first):
        """Returns the statement that makes the value of the raw numbers from index first."""
        at = ["%s[%d]" % (raw, first + i) for i in range(len(self.parts))]
        if self.type == "sized":
            return "const char *%s = as_text(%s); size_t %s_len = %s ? lengths[%s] : %s;" % (
                self.name, at[0], self.name, self.name, at[0], at[1])
        if self.type in SPLIT:
            return "%s %s = %s;" % (self.type, self.name, SPLIT[self.type][0] % tuple(at))
        if self.type not in STRUCTS:
            form = "(" + self.type + ")%s" if self.type in ENUMS or self.type in SCOPED else SCALARS[self.type][0]
            return "%s %s = %s;" % (self.type, self.name, form % at[0])
        text = "%s %s; memset(&%s, 0, sizeof %s);" % (self.type, self.name, self.name, self.name)
        for (_, kind, bits, label, member), raw in zip(self.parts, at):
            form = {"f": "as_float(%s)", "d": "as_double(%s)", "s": "as_text(%s)", "b": "(%s & 1) != 0", "c": "(char)%s"}.get(kind)
            if not form:
                form = "(enum %s)%%s" % label if label else "(%s)%%s" % ("long" if kind == "i" else "unsigned long")
            if bits < 8 and kind in "iu":
                form = "(%s & 31)" % (form % "%s") if kind == "u" else "(long)(%s << 61) >> 61"
            text += " %s = %s;" % (member, form % raw)
        return text

    def log(self, names=None):
        text = ""
        for i, (shown, kind, _, label, member) in enumerate(self.parts):
            shown = names[i] if names else shown
            if self.type == "sized" and not i:
                text += ' put_n("%s", %s, %s_len);' % (shown, self.name, self.name)
                continue
            kind, member = ("d", "(double)" + member) if kind == "h" else (kind, member)
            text += ' put_%s("%s", %s%s);' % (kind, shown, "(unsigned long)" if kind == "u" else "(long)" if kind == "i" else "", member)
            if label:
                text += " put_label(%s_name(%s%s));" % (label, "(unsigned long)" if label == "top" else "(long)", member)
        return text


def signature(rng, texts, i, rounds):
    """Returns the file and the text of a function callN(), which hits the probe once with each set of values."""
    form = rng.choice(("f", "f", "F", "F", "d", "D", "s"))
    where = {"f": "plugin.c", "F": "plugin.cc", "d": rng.choice(("plugin.c", "plugin.cc")), "D": "plain.c", "s": "plain.c"}[form]
    if form == "s":
        choice = SDT
    else:
        choice = [t for t in SCALARS if t != "_Float16" or form == "f"] + list(ENUMS) * (form != "D")
        if where == "plugin.cc":
            choice += list(SCOPED) * 2
        if form in "fF":
            choice += list(STRUCTS) + list(SPLIT) + ["sized"] * 3
    parameters, nparts = [], 0
    for k in range(rng.choice((0, 1, 2, 3, 4, 6, 8, 12)) if form != "s" else rng.randrange(1, 13)):
        taken = {c for p in parameters for c in p.c_arguments}
        name = rng.choice(NAMES) if form != "s" and rng.randrange(3) == 0 else "a%d" % k
        parameter = Parameter(name if name not in taken else "a%d" % k, rng.choice(choice))
        if parameter.type == "sized" and parameter.name + "_len" in taken:
            parameter = Parameter(parameter.name, "int")
        if nparts + len(parameter.parts) > PARTS_MAX:
            break
        parameters.append(parameter)
        nparts += len(parameter.parts)
    result = None
    if form in "fF" and rng.randrange(4):
        result = Parameter("result", rng.choice([t for t in choice if t not in STRUCTS and t not in SPLIT]))
    list_ = parameters + ([result] if result else [])
    rows = [[raw for p in list_ for raw in p.raws(rng, texts)] or [0] for _ in range(rounds)]
    width = len(rows[0])
    c_parameters = [c for p in parameters for c in p.c_parameters]
    c_arguments = [c for p in parameters for c in p.c_arguments]
    types, names = ", ".join(c_parameters) or "void", ", ".join(c_arguments)
    strings = "".join(", probe_string(%d, %d)" % (c_arguments.index(p.name) + 1, c_arguments.index(p.name) + 2)
                      for p in parameters if p.type == "sized")
    text = "static uint64_t raw%d[%d][%d] = {\n%s};\n" % (
        i, rounds, width, "".join("\t{ " + ", ".join("0x%xull" % v for v in row) + " },\n" for row in rows))
    probe = "rt:%s%d" % (form, i)
    if form in "fF":
        body = "".join(' __asm__ volatile("" : : "m"(%s));' % p.name for p in parameters)
        text += "static uint64_t *row%d;\n" % i
        text += "__attribute__((noipa%s)) %s %s%d(%s)\n{%s" % (
            strings, result.type if result else "void", form, i, types, body)
        text += " %s return result; }\n" % result.declare("row%d" % i, nparts) if result else " __asm__ volatile(\"\"); }\n"
    elif form in "dD":
        text += "PROBE_DECLARE(rt, %s%d, (%s), (%s));\n" % (form, i, types, names)
    text += "%svoid call%d(int round)\n{\n\tuint64_t *raw = raw%d[round];\n\t(void)raw;\n" % (
        'extern "C" void call%d(int); ' % i if where == "plugin.cc" else "", i, i)
    first = 0
    for p in parameters:
        text += "\t" + p.declare("raw", first) + "\n"
        first += len(p.parts)
    log = "".join(p.log(["arg%d" % k] if form == "s" else None) for k, p in enumerate(parameters))
    if form in "fF":
        text += '\thit("%s__entry");%s\n\trow%d = raw;\n\t%s%s%d(%s);\n' % (
            probe, log, i, "%s result = " % result.type if result else "", form, i, names)
        text += '\thit("%s__return");%s\n' % (probe, result.log() if result else "")
    elif form in "dD":
        text += '\thit("%s");%s\n\t%s%d(%s);\n' % (probe, log, form, i, names)
    else:
        text += '\thit("%s");%s\n\tSTAP_PROBE%d(rt, s%d, %s);\n' % (probe, log, len(parameters), i, names)
    return where, text + "}\n\n"


def quoted(text):
    return '"' + "".join("\\%03o" % c for c in text) + '"'


def main():
    where, seed, count, rounds = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    rng = random.Random(seed)
    texts = Texts(rng)
    files = {name: open("%s/%s" % (where, name), "w") for name in ("plugin.c", "plugin.cc", "plain.c", "main.c")}
    for file in files.values():
        file.write(COMMON)
    for i in range(count):
        name, text = signature(rng, texts, i, rounds)
        files[name].write(text)
    file = files["main.c"]
    file.write("FILE *out;\nconst char *const texts[] = {\n%s};\n" % "".join("\t%s,\n" % quoted(t) for t in texts.list))
    file.write("const size_t lengths[] = { %s };\n" % ", ".join(str(len(t)) for t in texts.list))
    file.write("".join("void call%d(int);\n" % i for i in range(count)))
    file.write("static void (*const calls[])(int) = { %s };\n" % ", ".join("call%d" % i for i in range(count)))
    file.write("int main(int argc, char **argv)\n{\n\tout = argc > 1 ? fopen(argv[1], \"we\") : stdout;\n"
               "\tif (!out)\n\t\treturn 1;\n\tfor (int round = 0; round < %d; round++)\n"
               "\t\tfor (int i = 0; i < %d; i++)\n\t\t\tcalls[i](round);\n\tputc('\\n', out);\n\treturn fclose(out) != 0;\n}\n"
               % (rounds, count))
    for file in files.values():
        file.close()


main()
