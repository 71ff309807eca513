# SPDX-License-Identifier: MIT
"""
print.py make SEED FILE.c: writes a program with random structures, and prints a list of expressions for --print. The
program passes a pointer to the structures to take(), and prints what the compiler makes of the same expressions.
print.py compare EXPECTED RECORDS: compares the program's line with the records in JSON.
"""
import json
import random
import struct
import sys

INTEGERS = {
    "signed char": 8, "unsigned char": 8, "short": 16, "unsigned short": 16, "int": 32, "unsigned": 32,
    "long": 64, "unsigned long": 64, "uint32_t": 32, "int64_t": 64, "size_t": 64,
}
ENUM = {"IDLE": 0, "RUNNING": 1, "LOST": -5, "HIGH": 200, "FAR": 70000}


def is_unsigned(name):
    return name.startswith(("unsigned", "uint", "size"))


def same(text):
    """Paths that mean the same pointer have one text."""
    return text.replace("[0].", "->")


class Maker:
    def __init__(self, seed):
        self.random = random.Random(seed)
        self.structures = []
        for index in range(4):
            self.structures.append(self.structure(3 - index))
        self.structures.reverse()

    def kind(self, level):
        choices = ["integer", "integer", "bits", "float", "double", "bool", "char", "enum", "text", "string", "array"]
        if level < 3:
            choices += ["inside", "pointer", "pointer", "structures", "unnamed"]
        return self.random.choice(choices)

    def structure(self, level):
        fields = [("next" if level < 3 else "last", self.kind_field("pointer" if level < 3 else "integer", level))]
        for number in range(self.random.randint(4, 9)):
            fields.append(("f%d" % number, self.kind_field(self.kind(level), level)))
        self.random.shuffle(fields)
        return fields

    def kind_field(self, kind, level):
        r = self.random
        below = r.randint(level + 1, 3) if level < 3 else None
        if kind == "integer":
            return (kind, r.choice(list(INTEGERS)))
        if kind == "bits":
            base = r.choice(["int", "unsigned", "long", "unsigned long"])
            return (kind, base, r.randint(1, min(INTEGERS[base], 40)))
        if kind == "text":
            return (kind, r.randint(4, 20))
        if kind == "array":
            return (kind, r.choice(list(INTEGERS)), r.randint(1, 5))
        if kind in ("inside", "pointer"):
            return (kind, below)
        if kind == "structures":
            return (kind, below, r.randint(1, 3))
        if kind == "unnamed":
            return (kind, [("u%d_%d" % (r.randint(0, 10**6), i), self.kind_field("integer", level)) for i in range(2)])
        return (kind,)

    def declare(self, name, field):
        kind = field[0]
        if kind == "integer":
            return "%s %s;" % (field[1], name)
        if kind == "bits":
            return "%s %s : %d;" % (field[1], name, field[2])
        if kind == "text":
            return "char %s[%d];" % (name, field[1])
        if kind == "array":
            return "%s %s[%d];" % (field[1], name, field[2])
        if kind == "inside":
            return "struct s%d %s;" % (field[1], name)
        if kind == "pointer":
            return "struct s%d *%s;" % (field[1], name)
        if kind == "structures":
            return "struct s%d %s[%d];" % (field[1], name, field[2])
        if kind == "unnamed":
            return "struct { %s };" % " ".join(self.declare(*inner) for inner in field[1])
        return {"float": "float %s;", "double": "double %s;", "bool": "bool %s;", "char": "char %s;",
                "enum": "enum state %s;", "string": "const char *%s;"}[kind] % name

    def value(self, kind, field):
        r = self.random
        if kind in ("integer", "bits"):
            bits = field[2] if kind == "bits" else INTEGERS[field[1]]
            value = r.getrandbits(bits)
            if not is_unsigned(field[1]):
                value -= 1 << (bits - 1)
            return "(%s)%dull" % (field[1], value & (1 << 64) - 1)
        if kind in ("float", "double"):
            return repr(r.choice([0.0, -1.5, 3.25e10, r.uniform(-1e3, 1e3)]))
        if kind == "bool":
            return r.choice(["true", "false"])
        if kind == "char":
            return "(char)%d" % r.randint(-128, 127)
        if kind == "enum":
            return r.choice(list(ENUM) + ["(enum state)12"])
        return '"%s"' % "".join(r.choice("abcXYZ /-_") for _ in range(r.randint(0, 3 if kind == "text" else 30)))

    def leaf(self):
        """Returns a path, its C form, the pointers on the way, and the field that it ends at."""
        text, level, pointers, arrow = "r", 0, [], True
        while True:
            fields = []
            for name, field in self.structures[level]:
                fields += field[1] if field[0] == "unnamed" else [(name, field)]
            name, field = self.random.choice(fields)
            text += ("->" if arrow else ".") + name
            kind = field[0]
            if kind == "pointer":
                pointers.append((same(text), "struct s%d" % field[1]))
                level, arrow = field[1], True
                if self.random.random() < 0.1:
                    text += "[0]"
                    arrow = False
            elif kind in ("inside", "structures"):
                if kind == "structures":
                    text += "[%d]" % self.random.randrange(field[2])
                level, arrow = field[1], False
            elif kind == "array":
                return text + "[%d]" % self.random.randrange(field[2]), pointers, ("integer", field[1])
            else:
                return text, pointers, field


def show(text, field):
    kind = field[0]
    if kind in ("text", "string"):
        return 'printf("\\"%%s\\"", %s);' % text
    if kind in ("float", "double"):
        return 'printf("%%.17g", (double)%s);' % text
    if kind == "bool":
        return 'printf(%s ? "true" : "false");' % text
    if kind in ("integer", "bits") and is_unsigned(field[1]):
        return 'printf("%%llu", (unsigned long long)%s);' % text
    return 'printf("%%lld", (long long)%s);' % text


def make(seed, path):
    maker = Maker(seed)
    leaves, missing = {}, set()
    for _ in range(2000):  # a small structure has fewer leaves
        if len(leaves) == 22 or sum(len(leaf[2]) + 2 for leaf in leaves.values()) >= 900:
            break
        text, pointers, field = maker.leaf()
        leaves.setdefault(same(text), (pointers, field, text))
    pointers = {}
    for on_way, _, _ in leaves.values():
        for text, kind in on_way:
            pointers.setdefault(text, kind)
    for text in pointers:
        if maker.random.random() < 0.15:
            missing.add(text)
    with open(path, "w") as out:
        out.write('#include <stdbool.h>\n#include <stdint.h>\n#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\n')
        out.write("enum state { %s };\n" % ", ".join("%s = %d" % item for item in ENUM.items()))
        for level in (3, 2, 1, 0):
            out.write("struct s%d { %s };\n" % (level, " ".join(maker.declare(*f) for f in maker.structures[level])))
        out.write("__attribute__((noinline)) int take(struct s0 *r, enum state e)\n"
                  "{ __asm__ volatile(\"\" : : \"r\"(r), \"r\"(e) : \"memory\"); return 0; }\n")
        out.write("int main(void)\n{\n\tstruct s0 *r = calloc(1, sizeof(*r));\n")
        for text in sorted(pointers, key=len):
            if not any(text == m or text.startswith((m + "->",)) for m in missing):
                out.write("\t%s = calloc(1, sizeof(%s));\n" % (text, pointers[text]))
        shown = []
        for on_way, field, text in leaves.values():
            if any(p in missing for p, _ in on_way):
                shown.append('printf("null");')
                continue
            value = maker.value(field[0], field)
            out.write("\t%s;\n" % ("strcpy(%s, %s)" % (text, value) if field[0] == "text" else "%s = %s" % (text, value)))
            shown.append(show(text, field))
        out.write("\tprintf(\"[\");\n\t%s\n\tprintf(\"]\\n\");\n\tfflush(stdout);\n" % '\n\tprintf(", ");\n\t'.join(shown))
        out.write("\tfor (int i = 0; i < 3; i++) take(r, RUNNING);\n\treturn 0;\n}\n")
    kinds = [{"float": "float", "enum": "enum", "string": "string"}.get(f[0], "") for _, f, _ in leaves.values()]
    print(json.dumps({"print": ", ".join(leaf[2] for leaf in leaves.values()), "kinds": kinds}))


def compare(expected_file, records_file, made_file):
    made = json.load(open(made_file))
    # A string that was never set is a null pointer.
    expected = json.loads(open(expected_file).read().replace('"(null)"', "null"))
    names = {value: name for name, value in ENUM.items()}
    records = [json.loads(line) for line in open(records_file)]
    if len(records) != 3:
        sys.exit("%d records" % len(records))
    for record in records:
        got = list(record["args"].values())
        if list(record["args"]) != made["print"].split(", "):
            sys.exit("other names: %s" % record["args"])
        for text, kind, want, value in zip(record["args"], made["kinds"], expected, got):
            if kind == "float" and want is not None and value is not None:
                value, want = (struct.pack("f", v) for v in (value, want))
            if value != want:
                sys.exit("%s: the program has %s, the record %s" % (text, want, value))
            name = names.get(want) if kind == "enum" and want is not None else None
            if record.get("names", {}).get(text) != name:
                sys.exit("%s: %s is not shown as %s" % (text, want, name))


if sys.argv[1] == "make":
    make(int(sys.argv[2]), sys.argv[3])
else:
    compare(*sys.argv[2:])
