# SPDX-License-Identifier: MIT
# generate.py SEED COUNT BITS PROGRAM.c EXPECTED: writes a program with COUNT probes v:f0, v:f1, ..., each hit once with
# random arguments: parameters, locals in memory, statics, elements, fields, constants, strings. EXPECTED has a line
# "NAME VALUE ..." for each probe; a string is "in quotes".
import random
import sys

seed, count, bits = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
r = random.Random(seed)
TYPES = [("int8_t", 8, 1), ("uint8_t", 8, 0), ("int16_t", 16, 1), ("uint16_t", 16, 0), ("int32_t", 32, 1),
         ("uint32_t", 32, 0)] + ([("int64_t", 64, 1), ("uint64_t", 64, 0)] if bits == 64 else [])


def value_of(size, signed):
    edge = [0, 1, (1 << size) - 1, 1 << (size - 1), (1 << (size - 1)) - 1]
    raw = r.choice(edge) if r.random() < 0.3 else r.getrandbits(size)
    return raw - (1 << size) if signed and raw >> (size - 1) else raw


def literal(value, type_name):
    # The smallest value of a type has no literal of its own.
    return f"({type_name})({value & ((1 << 64) - 1):#x}ULL)"


top, functions, calls, expected = [], [], [], []
for f in range(count):
    parameters, passed, body, args, values = [], [], [], [], []
    for i in range(r.randint(1, 8)):
        t, size, signed = r.choice(TYPES)
        value = value_of(size, signed)
        kind = r.choice(["parameter", "parameter", "local", "static", "element", "field", "constant", "string", "computed"])
        lit = literal(value, t)
        if kind == "parameter":
            parameters.append(f"{t} a{i}")
            passed.append(lit)
            args.append(f"a{i}")
        elif kind == "local":
            body.append(f"volatile {t} l{i} = {lit};")
            args.append(f"l{i}")
        elif kind == "static":
            top.append(f"static volatile {t} s{f}_{i} = {lit};")
            args.append(f"s{f}_{i}")
        elif kind == "element":
            n = r.randint(2, 9)
            at = r.randrange(n)
            cells = ", ".join(lit if k == at else "0" for k in range(n))
            top.append(f"static volatile {t} e{f}_{i}[{n}] = {{ {cells} }};")
            parameters.append(f"long i{i}")
            passed.append(str(at))
            args.append(f"e{f}_{i}[i{i}]")
        elif kind == "field":
            top.append(f"static volatile struct t{f}_{i} {{ char before[{r.randint(1, 200)}]; {t} x; }} "
                       f"t{f}_{i} = {{ \"\", {lit} }};")
            parameters.append(f"volatile struct t{f}_{i} *p{i}")
            passed.append(f"&t{f}_{i}")
            args.append(f"p{i}->x")
        elif kind == "constant":
            args.append(lit)
        elif kind == "computed":
            parameters.append(f"{t} c{i}")
            passed.append(literal(value ^ 0x55, t))
            args.append(f"({t})(c{i} ^ 0x55)")
        else:
            text = "".join(r.choice("abcdefgh") for _ in range(r.randint(1, 20)))
            parameters.append(f"const char *z{i}")
            passed.append(f'"{text}"')
            args.append(f"z{i}")
            value = f'"{text}"'
        values.append(str(value))
    functions.append(f"static void __attribute__((noinline, noclone)) f{f}({', '.join(parameters) or 'void'})\n{{\n\t" +
                     "\n\t".join(body + [f"STAP_PROBE{len(args)}(v, f{f}, {', '.join(args)});"]) + "\n}\n")
    calls.append(f"\tf{f}({', '.join(passed)});")
    expected.append(f"f{f} {' '.join(values)}")
with open(sys.argv[4], "w") as out:
    out.write("#include <stdint.h>\n#include <sys/sdt.h>\n" + "\n".join(top) + "\n" + "\n".join(functions) +
              "\nint main(void)\n{\n" + "\n".join(calls) + "\n\treturn 0;\n}\n")
with open(sys.argv[5], "w") as out:
    out.write("\n".join(expected) + "\n")
