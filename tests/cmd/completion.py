# SPDX-License-Identifier: MIT
"""Completes command lines in an interactive shell, on a pseudo terminal.

usage: completion.py SETUP SHELL [ARGUMENT]...

SETUP is a line that the shell runs first. It binds Ctrl-G to print the line being edited between \\1 and \\2 and to remove
it, and makes \\4 the prompt. Each line of standard input is typed, with \\t for a tab. Prints the line that the shell then has.
"""

import os
import pty
import select
import sys

LIMIT = 300  # seconds, because the machine may be busy


class Terminal:
    def __init__(self, shell):
        self.text = b""
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.environ.update(TERM="dumb", HISTFILE="/dev/null", INPUTRC="/dev/null", COLUMNS="200")
            os.execvp(shell[0], shell)

    def read_to(self, end):
        """Returns what the shell prints next, up to the byte END."""
        while end not in self.text:
            if not select.select([self.fd], [], [], LIMIT)[0]:
                sys.exit("no answer after %d s; the shell printed %r" % (LIMIT, self.text))
            self.text += os.read(self.fd, 65536)
        text, self.text = self.text.split(end, 1)
        return text

    def write(self, text):
        os.write(self.fd, text.encode("utf-8", "surrogateescape"))


def main():
    setup, shell = sys.argv[1], sys.argv[2:]
    terminal = Terminal(shell)
    terminal.write(setup + "\n")
    terminal.read_to(b"\4")
    for line in sys.stdin:
        terminal.write(line.rstrip("\n").replace("\\t", "\t") + "\7")
        terminal.read_to(b"\1")
        print(terminal.read_to(b"\2").decode("utf-8", "surrogateescape"))
        # bash prints a new prompt, and does not read keys before.
        if shell[0] == "bash":
            terminal.read_to(b"\4")
    os.close(terminal.fd)
    os.waitpid(terminal.pid, 0)


main()
