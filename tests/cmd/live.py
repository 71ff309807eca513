# SPDX-License-Identifier: MIT
"""Tests the live table of probe-stat on a pseudo terminal. usage: live.py SESSION PID

The session has these probes of the process: app:tick, which is hit all the time, and target:say__entry and _return, which were hit once.
"""

import os
import re
import signal
import sys

sys.dont_write_bytecode = True
from pty_terminal import Terminal  # noqa: E402

session, target = sys.argv[1:3]
live = ["probe-stat", "-s", session, "-i", "0.05"]


def want(label, wanted, got):
    if wanted != got:
        sys.exit("%s: wanted %r, got %r" % (label, wanted, got))


def begin(*options, **arguments):
    arguments.setdefault("TERM", "xterm")
    terminal = Terminal(live + list(options), **arguments)
    terminal.wait(lambda: terminal.shows("app:tick") and terminal.shows(r"[1-9][0-9]* hits/s"), "the table is shown")
    return terminal


def probes(terminal):
    return [m.group(0) for line in terminal.screen.text() for m in [re.search(r"(app|target):\w+", line)] if m]


def hits(terminal):
    for line in terminal.screen.text():
        found = re.match(r" *([0-9]+) .*app:tick", line)
        if found:
            return int(found.group(1))
    return -1


def test_redraw_and_keys():
    t = begin()
    want("alternate screen, cursor", (True, False), (t.screen.alternate, t.screen.cursor))
    first = hits(t)
    t.wait(lambda: hits(t) > first, "the count rises")
    want("the first lines", [True, True], [t.shows("0 lost  3 of 3 rows by hits  every 0.05 s  session"), t.shows("HITS/S +TREND +SITES +PROBE")])
    want("a trend in block characters", True, t.shows("[▁-█].*app:tick"))
    want("order by hits", ["app:tick", "target:say__entry", "target:say__return"], probes(t))
    t.type("n")
    t.wait(lambda: t.shows("by name"), "the order is by name")
    t.type("r")
    t.wait(lambda: t.shows("by rate") and probes(t)[:1] == ["app:tick"], "the order is by rate")
    t.type("?")
    t.wait(lambda: t.shows("space pause"), "the help is shown")
    t.type(" ")
    t.wait(lambda: t.shows("paused"), "the table is paused")
    first = hits(t)
    t.read(0.2)
    want("hits of a paused table", first, hits(t))
    t.type(" \033[Z\033[A")
    t.wait(lambda: hits(t) > first, "the table goes on")
    t.type("q")
    want("status after q", 0, t.end())
    want("after q", "", t.is_restored())
    want("the last table stays", True, t.shows(r"^ *HITS +HITS/S +SITES +PROBE +PID +FILE") and t.shows("app:tick +[0-9]+ +/"))
    t.close()


def test_sizes():
    t = begin()
    for columns, lines in (40, 10), (200, 50), (80, 5), (1, 1), (80, 24):
        # The screen raises an error if a line or the page does not fit.
        t.resize(columns, lines)
        want("the table is drawn in %d x %d" % (columns, lines), True, any(t.screen.text()))
    t.resize(80, 5)
    t.wait(lambda: t.shows("0 rows above, [12] below"), "the page says that rows are below it")
    want("rows of a small page", 1, len(probes(t)))
    t.type("j\033[B\033[6~")
    t.wait(lambda: t.shows("2 rows above, 0 below") and probes(t) == ["target:say__return"], "the page is scrolled")
    t.type("\003")
    want("status after Ctrl-C", 0, t.end())
    want("after Ctrl-C", "", t.is_restored())
    t.close()


def test_signals():
    for number, wanted in (signal.SIGTERM, 0), (signal.SIGHUP, 0), (signal.SIGINT, 0), (signal.SIGQUIT, signal.SIGQUIT):
        t = begin()
        os.kill(t.pid, number)
        want("status after %s" % number.name, wanted, t.end() & 0x7F)
        want("after %s" % number.name, "", t.is_restored())
        t.close()


def test_stop():
    t = begin()
    t.type("\032")  # Ctrl-Z

    def is_stopped():
        with open("/proc/%d/stat" % t.pid) as f:
            return f.read().rsplit(")", 1)[1].split()[0] == "T"

    t.wait(is_stopped, "the command is stopped")
    t.read_all()
    want("while the command is stopped", "", t.is_restored())
    os.kill(t.pid, signal.SIGCONT)
    t.wait(lambda: t.screen.alternate and t.shows("app:tick"), "the table is drawn again")
    t.type("q")
    want("status after a stop", 0, t.end())
    want("after a stop", "", t.is_restored())
    t.close()


def test_plain():
    for options, environment in ([], {"TERM": "dumb"}), (["--plain"], {"TERM": "xterm"}), (["--json"], {"TERM": "xterm"}):
        t = Terminal(live + ["-n", "2"] + options, **environment)
        want("status with %s %s" % (options, environment), 0, t.end())
        want("escapes with %s %s" % (options, environment), 0, t.raw.count(b"\x1b"))
        t.close()


def test_aggregates():
    command = ["probe-stat", "-i", "0.2", "-p", target, "--agg", "count(), hist(arg0) by arg0 % 2", "app:tick"]
    t = Terminal(command, TERM="xterm", columns=100, lines=30)
    t.wait(lambda: t.shows("COUNT +arg0 % 2") and t.shows(r"hist\(arg0\) of 0:"), "an aggregate is shown")
    t.resize(60, 12)
    t.wait(lambda: t.shows("COUNT +arg0 % 2"), "the aggregate is drawn in a small terminal")
    t.resize(100, 40)
    t.wait(lambda: t.shows("32 to 63 .*█"), "bars are drawn")
    t.type("\003")
    want("status of a session of its own after Ctrl-C", 0, t.end())
    want("after Ctrl-C", "", t.is_restored())
    want("the last aggregate stays", True, t.shows(r"\(total\)"))
    t.close()


def test_times_and_end():
    t = Terminal(live + ["-n", "3", "--sort", "name"], TERM="xterm", LC_ALL="C", columns=120)
    want("status with -n", 0, t.end())
    want("after -n", "", t.is_restored())
    want("block characters in another locale", True, t.raw.isascii())
    t.close()
    t = begin()
    want("status of probe-disable", 0, os.system("probe-disable -q -s %s" % session))
    want("status after the end of the session", 0, t.end())
    want("after the end of the session", "", t.is_restored())
    want("message", True, t.shows("probe-stat: session '%s' has ended" % session))
    t.close()


test_redraw_and_keys()
test_sizes()
test_signals()
test_stop()
test_plain()
test_aggregates()
test_times_and_end()
