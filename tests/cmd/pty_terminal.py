# SPDX-License-Identifier: MIT
"""Runs a command on a pseudo terminal, and keeps what a terminal would show.

Text is interpreted as an xterm does, for the sequences that the commands may print. Any other control character is an error.
"""

import fcntl
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

LIMIT = 20  # seconds
SEQUENCE = re.compile(rb"\x1b\[(\??)([0-9;]*)([HJKhlm])")


def width(char):
    if unicodedata.combining(char):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


class Screen:
    """What a terminal of some size shows."""

    def __init__(self, columns, lines):
        self.alternate, self.cursor, self.wraps = False, True, True
        self.resize(columns, lines)
        self.below = []  # complete lines that were printed outside of the alternate screen

    def resize(self, columns, lines):
        self.columns, self.lines = columns, lines
        self.x = self.y = 0
        self.page = [[" "] * columns for _ in range(lines)]

    def text(self):
        return ["".join(line).rstrip() for line in self.page]

    def control(self, private, numbers, letter):
        if private:
            on = letter == "h"
            if numbers == "1049":
                self.alternate = on
                self.resize(self.columns, self.lines)
            elif numbers == "25":
                self.cursor = on
            elif numbers == "7":
                self.wraps = on
            else:
                raise ValueError("unknown mode %s" % numbers)
        elif letter == "H":
            self.x = self.y = 0
        elif letter == "K":
            self.page[self.y][self.x :] = [" "] * (self.columns - self.x)
        elif letter == "J":
            self.page[self.y][self.x :] = [" "] * (self.columns - self.x)
            for y in range(self.y + 1, self.lines):
                self.page[y] = [" "] * self.columns

    def put(self, char):
        if char == "\r":
            self.x = 0
        elif char == "\n":
            if self.alternate and self.y + 1 >= self.lines:
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
                if self.alternate:
                    raise ValueError("a line is wider than %d columns: %r" % (self.columns, self.text()[self.y]))
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
        """The terminal changes its size. What it shows is empty until the command draws again."""
        self.read()
        self.set_size(columns, lines)
        self.screen.resize(columns, lines)

    def read(self, wait=0):
        while select.select([self.master], [], [], wait)[0]:
            wait = 0
            try:
                data = os.read(self.master, 65536)
            except OSError:
                return
            self.raw += data
            self.rest = self.screen.feed(self.rest + data)

    def wait(self, condition, what):
        """Reads until the condition holds."""
        until = time.monotonic() + LIMIT
        while not condition():
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
        self.read()
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
