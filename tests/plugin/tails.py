#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""tails.py make SEED COUNT: writes a program whose functions end in a call of another function, or nearly so.
tails.py lost PLAIN.s PROBED.s: prints calls of the second file that are jumps in the first, and fails if there is one.

Each function calls another one with n - 1. The program calls all of them, n levels deep (its first argument). Its second
argument is the number of the only function to call."""
import random
import re
import sys

SCALARS = ['int', '_Bool', 'long', 'unsigned char', 'short', 'unsigned', 'double', 'char *', 'void']
PRELUDE = '''
#include <stdio.h>
#include <stdlib.h>
#ifdef __cplusplus
#define _Bool bool
#endif
#define FN __attribute__((noinline)) static
struct pair { long a, b; };
struct big { long a[9]; };
volatile int count, zero;
__attribute__((noinline)) static void look(int *p) { *p += zero; }
'''


def generate(seed, functions):
    rnd = random.Random(seed)
    types = [rnd.choice(SCALARS + ['struct pair', 'struct big', '_Bool', 'int']) for _ in range(functions)]
    params = [rnd.choice(['int n', 'int n', 'int n', 'int n, long x', 'int n, struct big v', 'int n, double x'])
              for _ in range(functions)]
    arguments = {'int n': 'n - 1', 'int n, long x': 'n - 1, 3', 'int n, struct big v': 'n - 1, some', 'int n, double x': 'n - 1, 2'}
    out = [PRELUDE, 'static struct big some;']
    out += ['FN %s f%d(%s);' % (types[i], i, params[i]) for i in range(functions)]

    def value(kind):
        if kind == 'struct pair':
            return '((struct pair){n, 2})'
        if kind == 'struct big':
            return 'some'
        if kind == '_Bool':
            return rnd.choice(['0', '1'])
        if kind == 'char *':
            return rnd.choice(['(char *)0', '(char *)&some'])
        return rnd.choice(['0', '1', '7', '-1'] if kind not in ('unsigned char', 'unsigned') else ['0', '1', '7'])

    def callee(me, kind=None, scalar=False):
        like = [j for j in range(functions) if (kind is None or types[j] == kind) and
                (not scalar or types[j] in ('int', '_Bool', 'long', 'unsigned char', 'short', 'unsigned', 'char *'))]
        j = rnd.choice(like) if like else me
        return j, 'f%d(%s)' % (j, arguments[params[j]])

    for i in range(functions):
        kind = types[i]
        truth = kind in ('int', '_Bool', 'long', 'unsigned char', 'short', 'unsigned')
        body = ['FN %s f%d(%s)' % (kind, i, params[i]), '{']
        stop = 'return;' if kind == 'void' else 'return %s;' % value(kind)
        used = {'x': ' + x', 'v': ' + v.a[n & 7]'}.get(params[i][-1], '')
        body.append('\tcount = count + 1%s;\n\tif (n <= 0) %s' % (used, stop))
        if rnd.random() < .15:
            body.append('\tif (n == zero + 5000000) { int y = n; look(&y); count += y; }')
        if rnd.random() < .15:
            body.append('\tfor (int k = 0; k < zero; k++) count += k;')
        _, same = callee(i, kind)
        _, same2 = callee(i, kind)
        if kind == 'void':
            shapes = ['%s;' % same, 'if (n & 1) %s; else %s;' % (same, same2), '(void)%s;' % callee(i)[1],
                      'switch (n & 3) { case 0: count++; %s; break; case 1: %s; break; default: %s; return; }' % (same, same2, same),
                      'if (n & 4) { %s; return; } count += 2; %s;' % (same, same2)]
        else:
            shapes = ['return %s;' % same, 'return n & 1 ? %s : %s;' % (same, same2),
                      '%s r = %s; return r;' % (kind, same),
                      '%s r; if (n & 1) { r = %s; goto out; } if (n & 2) { count++; return %s; } r = %s; out: return r;' %
                      (kind, same, value(kind), same2),
                      'switch (n & 7) { case 0: return %s; case 1: return %s; case 2: case 3: return %s; case 4: return %s; } return %s;' %
                      (same, value(kind), same2, value(kind), same),
                      'if (__builtin_expect(n & 1, 0)) { count += 3; return %s; } return %s;' % (same, same2)]
        if truth:
            _, any_ = callee(i, scalar=True)
            _, bool_ = callee(i, '_Bool' if '_Bool' in types else kind)
            few = ['if (%s) return 1; return 0;' % bool_, 'if (!%s) return 0; return 1;' % bool_,
                   'if (%s) return 1; return 0;' % same, 'return %s ? 1 : 0;' % any_, 'return %s;' % bool_,
                   'return n > 3 && %s;' % bool_, 'return n < 3 || %s;' % bool_, 'return !%s;' % bool_,
                   'return %s == 1;' % bool_, 'return %s != 0;' % same,
                   '%s r = %s; if (r == 7) return 7; return r;' % (kind, same),
                   '%s r = %s; if (r == 0) return 0; return r;' % (kind, same),
                   '%s r = %s; if (r) return r; return 0;' % (kind, same),
                   '%s r = %s; return r > 1 ? r : r;' % (kind, same),
                   '%s; return 7;' % same, 'return (%s)%s;' % (kind, any_),
                   '%s r; if (n & 1) r = %s ? 1 : 0; else if (n & 2) r = 1; else r = %s; return r;' % (kind, bool_, same),
                   'while (n > 2) { if (%s) return 1; if (n & 1) return 0; n -= 2; } return %s;' % (bool_, same),
                   'return n & 1 ? %s : !!%s;' % (same, bool_)]
            shapes = few + few + shapes
        elif kind == 'char *':
            shapes += ['char *p = %s; if (!p) return 0; return p;' % same, 'char *p = %s; if (p) return p; return (char *)0;' % same]
        body.append('\t' + rnd.choice(shapes))
        body.append('}')
        out.append('\n'.join(body))
    out.append('int main(int argc, char **argv)\n{\n\tint n = argc > 1 ? atoi(argv[1]) : 10;\n\tdouble sum = 0;')
    for i in range(functions):
        call = 'f%d(%s)' % (i, arguments[params[i]])
        if types[i] == 'void':
            line = call
        elif types[i] == 'struct pair':
            line = 'sum += %s.a' % call
        elif types[i] == 'struct big':
            line = 'sum += %s.a[3]' % call
        elif types[i] == 'char *':
            line = 'sum += !%s' % call
        else:
            line = 'sum += %s' % call
        out.append('\tif (argc < 3 || atoi(argv[2]) == %d) { %s; printf("f%d %%g\\n", sum); fflush(stdout); }' % (i, line, i))
    out.append('\treturn 0;\n}')
    return '\n'.join(out)


def aarch64(branch):
    return '\tcall\t' if branch.group(1) == 'bl' else '\tjmp\t'


def calls(path):
    """Clones count as the function that they are of. A call of itself that became a loop is not listed."""
    function, found = None, set()
    plain = lambda name: re.sub(r'@PLT$|\.(part|isra|constprop|cold|lto_priv|localalias)\b.*', '', name)
    for line in open(path):
        label = re.match(r'([A-Za-z_][\w.$]*):', line)
        if label:
            function = plain(label.group(1))
        jump = re.match(r'\s+(call|jmp)\s+(\*?[A-Za-z_%][\w.$@()%]*)', re.sub(r'^\s+(bl?)\t', aarch64, line))
        if jump and function and plain(jump.group(2)) != '_Unwind_Resume':
            target = plain(jump.group(2))
            if jump.group(1) == 'call' or target != function:
                found.add('%s %s %s' % (function, jump.group(1), target))
    return found


if sys.argv[1] == 'make':
    print(generate(int(sys.argv[2]), int(sys.argv[3])))
else:
    plain, probed = calls(sys.argv[2]), calls(sys.argv[3])
    lost = sorted(line for line in plain - probed if ' jmp ' in line) + sorted(line for line in probed - plain if ' call ' in line)
    print('\n'.join(lost) if lost else '%d tail calls' % sum(' jmp ' in line for line in plain))
    sys.exit(1 if lost else 0)
