#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A program that logs the arguments of its own probes, and what a reader of its notes must say.

logged.py make SEED          prints a program in the common subset of C89 and C++98
logged.py make-declared SEED the same with the declared probes of sys/probe.h (C99, C++11)
logged.py gdb SEED           prints gdb's commands
logged.py bpftrace SEED FILE MOST
                             prints a script that shows the first arguments of each probe, at most MOST
logged.py bcc SEED FILE      traces FILE with bcc, and prints what it sees
logged.py names SEED         prints the names of all probes
logged.py compare READER SEED LOG OUTPUT
                             prints the differences between the log and a reader's output, and fails if there are any.
                             READER is gdb, bpftrace, bcc, perf, probe-trace, or declared (probe-trace on declared probes)

The program writes a line for each hit to standard error: the probe's name, and for each argument a number. Strings are
ADDRESS=TEXT, floating values BITS=VALUE. Readers see either side."""
import json
import random
import re
import sys
import time

INTEGERS = [('signed char', -1), ('unsigned char', 1), ('short', -2), ('unsigned short', 2), ('int', -4), ('unsigned', 4),
            ('long', -8), ('unsigned long', 8)]
WORDS = ['', 'a', 'text', 'GET /index.html', 'two words', 'x' * 40]
PRELUDE = '''#include <stdio.h>
#include <string.h>
#include <sys/%s.h>
#ifdef __clang__
#define FN __attribute__((noinline))
#else
#define FN __attribute__((noipa))
#endif
struct pair { long first; int second; unsigned char third; };
static volatile int zero;
static void log_name(const char *name) { fprintf(stderr, "%%s", name); }
static void log_signed(long v) { fprintf(stderr, " %%ld", v); }
static void log_unsigned(unsigned long v) { fprintf(stderr, " %%lu", v); }
static void log_text(const char *v) { fprintf(stderr, " %%lu=%%s.", (unsigned long)v, v); }
static void log_float(float v) { unsigned bits; memcpy(&bits, &v, sizeof(bits)); fprintf(stderr, " %%u=%%.17g", bits, (double)v); }
static void log_double(double v) { unsigned long bits; memcpy(&bits, &v, sizeof(bits)); fprintf(stderr, " %%lu=%%.17g", bits, v); }
static void log_end(void) { fprintf(stderr, "\\n"); }
'''


class Argument:
    """One argument of a probe: its type, its size (negative if signed), and 'integer', 'text' or 'float'."""

    def __init__(self, rnd, params):
        self.kind = 'integer'
        choice = rnd.random()
        if choice < 0.12:
            self.type, self.size, self.kind = 'const char *', 8, 'text'
        elif choice < 0.19:
            self.type, self.size, self.kind = rnd.choice([('float', 4, 'float'), ('double', 8, 'float')])
        else:
            self.type, self.size = rnd.choice(INTEGERS)
        self.constant = self.kind == 'integer' and rnd.random() < 0.08
        self.param = 'a%d' % params
        self.way = rnd.choice(['plain', 'plain', 'plain', 'local', 'member', 'sum'])

    def value(self, rnd):
        """A random value as C writes it."""
        if self.kind == 'text':
            return json.dumps(rnd.choice(WORDS))
        if self.kind == 'float':
            return '%.2f%s' % (rnd.randint(-4000, 4000) / 4, 'F' if self.size == 4 else '')
        bits = abs(self.size) * 8
        low, high = (-(1 << (bits - 1)) + 1, (1 << (bits - 1)) - 1) if self.size < 0 else (0, (1 << bits) - 1)
        n = rnd.choice([rnd.randint(low, high), low, high, rnd.randint(max(low, -9), 9), 0])
        return '(%s)%d%s' % (self.type, n, {-8: 'L', 8: 'UL', 4: 'U'}.get(self.size, ''))

    def log(self, expression):
        """The call that logs it."""
        if self.kind == 'text':
            return 'log_text(%s);' % expression
        if self.kind == 'float':
            return 'log_%s(%s);' % (self.type, expression)
        if self.size < 0:
            return 'log_signed((long)%s);' % expression
        return 'log_unsigned((unsigned long)%s);' % expression


class Probe:
    def __init__(self, rnd, number):
        self.name = rnd.choice(['p%d', 'p%d', 'read__entry%d', 'p__%d']) % number
        count = rnd.choice([0, 1, 1, 2, 2, 3, 3, 4, 5, 6, 7, 9, 12])
        self.arguments = [Argument(rnd, i) for i in range(count)]
        self.log_first = rnd.random() < 0.5
        self.loop = rnd.random() < 0.3


def probes(seed):
    rnd = random.Random(seed)
    return [Probe(rnd, i) for i in range(40)], rnd


def function(probe, rnd, declared):
    """The function that contains the probe."""
    params = ', '.join('%s %s' % (a.type, a.param) for a in probe.arguments if not a.constant) or 'void'
    lines, expressions = [], []
    for a in probe.arguments:
        expression = a.param
        if a.constant:
            expression = a.value(rnd)
        elif a.kind == 'integer' and a.way == 'local':
            lines.append('\tvolatile %s l%s = %s;' % (a.type, a.param, a.param))
            expression = 'l' + a.param
        elif a.type in ('long', 'int', 'unsigned char') and a.way == 'member':
            member = {'long': 'first', 'int': 'second', 'unsigned char': 'third'}[a.type]
            lines.append('\tstruct pair s%s, *q%s = &s%s;' % (a.param, a.param, a.param))
            lines.append('@\tmemset(q%s, zero, sizeof(*q%s));\n\tq%s->%s = %s;' % (a.param, a.param, a.param, member, a.param))
            expression = 'q%s->%s' % (a.param, member)
        elif a.type in ('unsigned', 'unsigned long') and a.way == 'sum':
            expression = '%s + 3U' % a.param
        expressions.append(expression)
    log = '\tlog_name("%s"); %s log_end();' % (
        probe.name, ' '.join(a.log('(%s)' % e) for a, e in zip(probe.arguments, expressions)))
    if declared:
        site = '\t%s(%s);' % (probe.name, ', '.join(expressions))
    else:
        count = str(len(probe.arguments) or '')
        site = '\tSTAP_PROBE%s(%s);' % (count, ', '.join(['r', probe.name] + expressions))
    if probe.loop:
        site = '\tfor (i = 0; i < 2 + zero; i++) {\n\t%s\n\t%s\n\t}' % (log, site)
        log = ''
        lines.insert(0, '\tint i;')
    lines = [line for line in lines if line[0] != '@'] + [line[1:] for line in lines if line[0] == '@']
    body = lines + ([log, site] if probe.log_first else [site, log])
    text = ''
    if declared:
        names = [a.param for a in probe.arguments]
        prototype = ', '.join('%s %s' % (a.type, a.param) for a in probe.arguments) or 'void'
        text = 'PROBE_DECLARE(r, %s, (%s), (%s));\n' % (probe.name, prototype, ', '.join(names))
    head = 'FN void in_%s(%s)' % (probe.name, params)
    return text + 'void in_%s(%s);\n%s\n{\n%s\n}\n' % (probe.name, params, head, '\n'.join(body))


def make(seed, declared):
    all_probes, rnd = probes(seed)
    out = [PRELUDE % ('probe' if declared else 'sdt')]
    out += [function(p, rnd, declared) for p in all_probes]
    calls = []
    for _ in range(3):
        for p in rnd.sample(all_probes, len(all_probes)):
            calls.append('\tin_%s(%s);' % (p.name, ', '.join(a.value(rnd) for a in p.arguments if not a.constant)))
    return '\n'.join(out) + 'int main(int argc, char **argv)\n{\n\tif (argc > 1 && argv) /* wait for a reader */\n\t\t(void)getchar();\n' + '\n'.join(calls) + '\n\treturn 0;\n}\n'


# ---- readers ----

def gdb(seed):
    print('set pagination off\nset confirm off\nset breakpoint pending off\nset print elements 0')
    for p in probes(seed)[0]:
        forms, values = '', ''
        for i, a in enumerate(p.arguments):
            if a.kind == 'text':
                forms += ' %s.'
                values += ', (char *)$_probe_arg%d' % i
            else:
                forms += ' %ld' if a.size < 0 else ' %lu'
                values += ', (%s)$_probe_arg%d' % ('long' if a.size < 0 else 'unsigned long', i)
        print('break -probe-stap r:%s\ncommands\nsilent\nprintf "= %s%s\\n"%s\ncontinue\nend' % (p.name, p.name, forms, values))
    print('run')


def bpftrace(seed, path, most):
    ctype = {-1: 'int8', 1: 'uint8', -2: 'int16', 2: 'uint16', -4: 'int32', 4: 'uint32', -8: 'int64', 8: 'uint64'}
    for p in probes(seed)[0]:
        print('usdt:%s:r:%s {\n\tprintf("= %s");' % (path, p.name, p.name))
        for i, a in enumerate(p.arguments[:most]):
            if a.kind == 'text':
                print('\tprintf(" %%s.", str(arg%d));' % i)
            else:
                print('\tprintf(" %s", (%s)arg%d);' % ('%lld' if a.size < 0 else '%llu', ctype[a.size], i))
        print('\tprintf("\\n");\n}')


def bcc(seed, path):
    import subprocess
    from bcc import BPF, USDT
    all_probes = probes(seed)[0]
    # bcc raises semaphores of a process only, so the program waits for us.
    process = subprocess.Popen([path, 'wait'], stdin=subprocess.PIPE)
    # Popen() may return while exec() still maps the program, and bcc finds its probes by the maps.
    while process.poll() is None and not re.search(' r-xp .* ' + re.escape(path) + '\n', open('/proc/%d/maps' % process.pid).read()):
        time.sleep(0.01)
    usdt = USDT(pid=process.pid)
    text = '#include <linux/ptrace.h>\nstruct event { u64 number; u64 value[12]; char text[768]; };\n'
    text += 'BPF_PERCPU_ARRAY(room, struct event, 1);\nBPF_PERF_OUTPUT(events);\n'
    for number, p in enumerate(all_probes):
        usdt.enable_probe(probe='r:' + p.name, fn_name='on_' + p.name)
        text += 'int on_%s(struct pt_regs *ctx) {\n int zero = 0; struct event *e = room.lookup(&zero);\n' % p.name
        text += ' if (!e) return 0;\n e->number = %d;\n' % number
        for i, a in enumerate(p.arguments):
            kind = {8: 's64', 4: 's32', 2: 's16', 1: 's8'}[abs(a.size)]
            kind = kind if a.size < 0 else kind.replace('s', 'u')
            text += ' { %s v = 0; bpf_usdt_readarg(%d, ctx, &v); e->value[%d] = v;' % (kind, i + 1, i)
            if a.kind == 'text':
                text += ' bpf_probe_read_user_str(e->text + %d, 64, (void *)v);' % (64 * i)
            text += ' }\n'
        text += ' events.perf_submit(ctx, e, sizeof(*e));\n return 0;\n}\n'
    # Linux 6.19 and later need this option.
    bpf = BPF(text=text, usdt_contexts=[usdt], cflags=['-fms-extensions', '-Wno-microsoft-anon-tag'])

    def show(_cpu, data, _size):
        event = bpf['events'].event(data)
        p, offset = all_probes[event.number], type(event).text.offset
        words = []
        for i, a in enumerate(p.arguments):
            if a.kind == 'text':
                words.append(bytes(event)[offset + 64 * i:].split(b'\0')[0].decode() + '.')
            else:
                v = event.value[i]
                words.append(str(v - (1 << 64) if a.size < 0 and v >> 63 else v))
        print('=', ' '.join([p.name] + words))

    def lost(n):
        print('lost', n)

    bpf['events'].open_perf_buffer(show, page_cnt=1024, lost_cb=lost)
    process.communicate(b'\n')
    for _ in range(3):
        bpf.perf_buffer_poll(timeout=200)
    return process.returncode


def split(line, arguments):
    """The words of a line of text: numbers, and strings that end in a full stop."""
    words, rest = [], line
    for a in arguments:
        if not rest:
            break
        if a.kind == 'text':
            found = re.match(r' ((?:\d+=)?)(.*?)\.(?= |$)', rest)
        else:
            found = re.match(r' (\S+)', rest)
        if not found:
            return words + ['?' + rest]
        words.append(found.group(0)[1:])
        rest = rest[found.end():]
    return words + ([rest] if rest else [])


def observed(reader, by_name, text):
    """Yields a name and a list of words, one for each hit that the reader saw. None stands for a value it lacks."""
    for line in text.splitlines():
        if reader in ('gdb', 'bpftrace', 'bcc'):
            if line.startswith('= '):
                name = line.split()[1]
                yield name, split(line[2 + len(name):], by_name[name].arguments)
        elif reader in ('probe-trace', 'declared'):
            row = json.loads(line)
            if row.get('probe'):
                name = row['probe'].split(':')[1]
                values = list(row['args'].values())
                yield name, [json.dumps(v) if isinstance(v, str) else repr(v) for v in values]
        elif reader == 'perf':
            found = re.match(r' *sdt_r:(\w+): *\([0-9a-f]+\) ?(.*)', line)
            if found:
                name = found.group(1)
                if name not in by_name: # perf 7.2 replaces two underscores by one
                    name = next((n for n in by_name if n.replace('__', '_') == name), name)
                given = dict(word.split('=') for word in found.group(2).split())
                yield name, [given.get('arg%d' % (i + 1)) for i in range(len(by_name[name].arguments))]


def wanted(reader, argument, word):
    """The word that the reader must say for a word of the log."""
    if '=' not in word:
        return word
    left, right = word.split('=', 1)
    if reader == 'declared' and argument.kind == 'text':
        return json.dumps(right[:-1])
    if reader in ('probe-trace', 'declared') and argument.kind == 'float':
        return re.sub(r'\.0$', '', repr(float(right)))
    if argument.kind == 'float' or reader in ('perf', 'probe-trace'):
        return left
    return right


def accepts(reader, value, expected, argument):
    """Whether a reader's value is right, as far as the reader can say it."""
    if value == expected:
        return True
    if value is None:
        return reader in ('perf', 'bpftrace') # perf has no way to express a constant
    if argument.kind != 'integer' or abs(argument.size) == 8:
        return False
    try:
        value, expected, range = int(value), int(expected), 1 << abs(argument.size) * 8
    except ValueError:
        return False
    if reader == 'perf':
        return (value - expected) % range == 0 # prints narrow signed numbers without their sign
    # gdb 16 negates the bits that it keeps of a negative register
    return reader == 'gdb' and '--narrows' in sys.argv and (value + expected) % range == 0


def compare(reader, seed, log_file, output_file):
    all_probes, _ = probes(seed)
    by_name = {p.name: p for p in all_probes}
    log = []
    for line in open(log_file, encoding='utf-8').read().splitlines():
        name = line.split(' ')[0]
        if name not in by_name:
            continue # a message of the reader
        log.append((name, split(line[len(name):], by_name[name].arguments)))
    got = list(observed(reader, by_name, open(output_file, encoding='utf-8', errors='replace').read()))
    bad = 0
    lacking = 0
    if len(log) != len(got) or len(log) < 120:
        print('the log has %d hits, %s saw %d' % (len(log), reader, len(got)))
        bad += 1
    for (name, words), (seen, values) in zip(log, got):
        arguments = by_name[name].arguments
        if reader == 'bpftrace': # 0.17 has arg0 to arg5
            values += [None] * (len(arguments) - len(values)) if len(values) >= 6 else []
        expected = [wanted(reader, a, w) for a, w in zip(arguments, words)]
        lacking += sum(v is None for v in values)
        same = len(values) == len(expected) and all(accepts(reader, v, e, a) for v, e, a in zip(values, expected, arguments))
        if name != seen or not same:
            print('log: %s %s; %s: %s %s' % (name, expected, reader, seen, values))
            bad += 1
            if bad > 5:
                break
    if not bad:
        values = sum(len(words) for _, words in log) - lacking
        print('%d hits, %d values%s' % (len(log), values, ', %d left out' % lacking if lacking else ''))
    return bad


def main():
    command, arguments = sys.argv[1], sys.argv[2:]
    if command in ('make', 'make-declared'):
        print(make(arguments[0], command == 'make-declared'), end='')
    elif command == 'gdb':
        gdb(arguments[0])
    elif command == 'bpftrace':
        bpftrace(arguments[0], arguments[1], int(arguments[2]))
    elif command == 'bcc':
        return bcc(arguments[0], arguments[1])
    elif command == 'names':
        for p in probes(arguments[0])[0]:
            print(p.name)
    elif command == 'compare':
        return 1 if compare(*arguments[:4]) else 0
    return 0


sys.exit(main())
