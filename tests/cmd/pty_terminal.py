# SPDX-License-Identifier: MIT
"""Runs a command on a pseudo terminal, and keeps what a terminal would show.

Text is interpreted as an xterm does, for the sequences that the commands may print. Any other control character is an error.
"""

import fcntl
import math
import os
import pty
import re
import select
import signal
import struct
import sys
import termios
import time
import unicodedata

LIMIT = 60  # seconds, because the machine may be busy
SEQUENCE = re.compile(rb"\x1b\[(\??)([0-9;]*)([HJKhlm])")


def width(char):
    if unicodedata.combining(char):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


class Screen:
    """What a terminal of some size shows. A frame begins at the top of the page, and ends by clearing the rest of it."""

    def __init__(self, columns, lines):
        self.alternate, self.cursor, self.wraps = False, True, True
        self.strict = True  # a frame that does not fit is an error
        self.in_frame = False
        self.stale = 0  # frames to come that may have been made for an earlier size
        self.drawn = 0  # strict frames that are complete
        self.resize(columns, lines)
        self.below = []  # complete lines that were printed outside of the alternate screen

    def resize(self, columns, lines):
        self.columns, self.lines = columns, lines
        self.x = self.y = 0
        self.page = [[" "] * columns for _ in range(lines)]

    def begin_size(self, columns, lines):
        """From here on, the command draws for another size, but it may have made one frame for the size before."""
        self.resize(columns, lines)
        self.strict, self.stale, self.drawn = False, 0 if self.in_frame else 1, 0

    def text(self):
        return ["".join(line).rstrip() for line in self.page]

    def control(self, private, numbers, letter):
        if private:
            on = letter == "h"
            if numbers == "1049":
                self.alternate, self.in_frame = on, False
                self.resize(self.columns, self.lines)
            elif numbers == "25":
                self.cursor = on
            elif numbers == "7":
                self.wraps = on
            else:
                raise ValueError("unknown mode %s" % numbers)
        elif letter == "H":
            self.x = self.y = 0
            self.strict = self.strict or not self.stale
            self.stale = max(self.stale - 1, 0)
            self.in_frame = True
        elif letter == "K":
            self.page[self.y][self.x :] = [" "] * (self.columns - self.x)
        elif letter == "J":
            self.page[self.y][self.x :] = [" "] * (self.columns - self.x)
            for y in range(self.y + 1, self.lines):
                self.page[y] = [" "] * self.columns
            self.drawn += self.strict and self.in_frame
            self.in_frame = False

    def put(self, char):
        if char == "\r":
            self.x = 0
        elif char == "\n":
            if self.alternate and self.strict and self.y + 1 >= self.lines:
                raise ValueError("the page has more than %d lines" % self.lines)
            if self.y + 1 < self.lines:
                self.y += 1
            else:
                self.page = self.page[1:] + [[" "] * self.columns]
        elif ord(char) < 0x20 or 0x7F <= ord(char) < 0xA0:
            raise ValueError("control character %r" % char)
        else:
            n = width(char)
            if self.x + n > self.columns:
                if self.alternate and self.strict:
                    raise ValueError("a line is wider than %d columns: %r" % (self.columns, self.text()[self.y]))
                if not self.wraps:
                    return
                self.put("\r")
                self.put("\n")
            for i in range(n):
                self.page[self.y][self.x + i] = "" if i else char
            self.x += n

    def feed(self, data):
        """Interprets complete sequences and characters. Returns the rest."""
        while data:
            if data[:1] == b"\x1b":
                found = SEQUENCE.match(data)
                if not found:
                    if len(data) < 16 and re.fullmatch(rb"\x1b(\[\??[0-9;]*)?", data):
                        break
                    raise ValueError("unknown sequence %r" % data[:16])
                self.control(found.group(1), found.group(2).decode(), found.group(3).decode())
                data = data[found.end() :]
                continue
            n = 1 if data[0] < 0x80 else 2 if data[0] < 0xE0 else 3 if data[0] < 0xF0 else 4
            if len(data) < n:
                break
            self.put(data[:n].decode())
            data = data[n:]
        return data


class Terminal:
    """A command that runs on a pseudo terminal, in the foreground of a session of its own."""

    def __init__(self, command, columns=80, lines=24, **environment):
        self.screen = Screen(columns, lines)
        self.raw = b""  # all that the command printed
        self.rest = b""
        self.at_mark = None  # is called at a zero byte
        self.master, self.slave = pty.openpty()
        self.set_size(columns, lines)
        self.before = termios.tcgetattr(self.slave)
        self.pid = os.fork()
        if self.pid == 0:
            os.setsid()
            fcntl.ioctl(self.slave, termios.TIOCSCTTY, 0)
            for fd in range(3):
                os.dup2(self.slave, fd)
            os.environ.update(environment)
            for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGTERM):
                signal.signal(number, signal.SIG_DFL)
            os.execvp(command[0], command)

    def set_size(self, columns, lines):
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def resize(self, columns, lines):
        """The terminal changes its size. Returns when a frame is complete that the command began after it could know of it.

        Frames before the mark can be of both sizes, those after it of the new one except for a frame that the command was making.
        """
        self.read()
        self.screen.strict, self.screen.stale = False, math.inf
        self.set_size(columns, lines)
        self.read_all(lambda: self.screen.begin_size(columns, lines))
        self.wait(lambda: self.screen.drawn, "the command draws in %d x %d" % (columns, lines))

    def read_all(self, at_mark=lambda: None):
        """Reads what was written so far: up to a zero byte that follows it. The kernel passes output on with a delay."""
        self.at_mark = at_mark
        os.write(self.slave, b"\0")
        self.wait(lambda: not self.at_mark, "the terminal passes the output on")

    def read(self, wait=0):
        while select.select([self.master], [], [], wait)[0]:
            wait = 0
            try:
                data = os.read(self.master, 65536)
            except OSError:
                return
            for i, part in enumerate(data.split(b"\0")):
                if i:
                    self.mark()
                self.raw += part
                self.rest = self.screen.feed(self.rest + part)

    def mark(self):
        if not self.at_mark:
            raise ValueError("control character 0")
        self.at_mark()
        self.at_mark = None

    def wait(self, condition, what):
        """Reads until the condition holds and the command is not in the middle of a frame."""
        until = time.monotonic() + LIMIT
        while self.screen.in_frame or not condition():
            if time.monotonic() > until:
                sys.exit("timed out waiting until %s; the screen is:\n%s" % (what, "\n".join(self.screen.text())))
            self.read(0.05)

    def shows(self, pattern):
        return any(re.search(pattern, line) for line in self.screen.text())

    def type(self, keys):
        os.write(self.master, keys.encode())

    def state(self):
        """Returns whether the command has ended, and its status as of wait()."""
        pid, status = os.waitpid(self.pid, os.WNOHANG)
        if pid:
            self.status = status
        return pid != 0

    def end(self):
        """Waits until the command has ended. Returns its status as of wait()."""
        self.status = None
        self.wait(self.state, "the command has ended")
        self.read_all()
        return self.status

    def is_restored(self):
        """Returns what differs from the terminal before, "" if nothing."""
        if termios.tcgetattr(self.slave) != self.before:
            return "the terminal's modes differ"
        if self.screen.alternate or not self.screen.cursor or not self.screen.wraps:
            return "the alternate screen, the cursor or the wrapping of lines is not restored"
        return ""

    def close(self):
        os.close(self.master)
        os.close(self.slave)
