# SPDX-License-Identifier: MIT
"""Reads C and C++ sources well enough to count and to find functions.

Not a compiler: the scripts that use it check the tree's own sources, which
clang-format keeps in one form.
"""

import os
import re
import subprocess

PRODUCT = ("include", "base", "sdt", "runtime", "cmd", "plugin")
SUFFIXES = (".c", ".h", ".cc")
CPUS = ("x86_64", "aarch64")

TOKEN = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:[^"\\\n]|\\.)*"|\'(?:[^\'\\\n]|\\.)+\'', re.S)
NOT_A_FUNCTION = ("if", "for", "while", "switch", "return", "sizeof", "defined", "void", "__attribute__", "_Static_assert")


def tracked(*directories):
    """Lists the tree's C and C++ files, in these directories or in all."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--"] + list(directories)
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    return sorted(p for p in set(listed) if p.endswith(SUFFIXES) and os.path.isfile(p))


def product(path):
    return path.split("/", 1)[0] in PRODUCT


def blank(text):
    """Returns text as blanks, with its line ends."""
    return re.sub(r"[^\n]", " ", text)


def read(path):
    with open(path, encoding="utf-8", errors="replace") as f:
        return f.read()


def code(text):
    """Returns the text without comments and the content of literals, in its places."""
    return TOKEN.sub(lambda m: blank(m.group()), text)


def directives_blanked(stripped):
    """Returns stripped code without preprocessor lines, which can hold unbalanced braces."""
    return re.sub(r"^[ \t]*#(?:[^\n\\]|\\.|\\\n)*", lambda m: blank(m.group()), stripped, flags=re.M | re.S)


class Function:
    def __init__(self, name, static, start, opening, end, text):
        self.name = name
        self.static = static
        self.line = text.count("\n", 0, start) + 1
        self.lines = text.count("\n", start, end) + 1
        self.span = (opening, end)


def functions(stripped):
    """Lists the functions that stripped code defines."""
    text = directives_blanked(stripped)
    found, depth, since, opening, head = [], 0, 0, 0, None
    transparent = []  # the depth of each open extern "C", namespace or C++ class
    for m in re.finditer(r"[{};]", text):
        c, at = m.group(), m.start()
        if c == "{":
            if depth == len(transparent):
                head = text[since:at]
                if re.match(r"\s*(extern\s*$|namespace\b|class\b|struct\s+\w+\s*(final\s*)?:)", head):
                    transparent.append(depth)
                    depth += 1
                    since = at + 1
                    continue
                opening = at
            depth += 1
        elif c == "}":
            depth -= 1
            if transparent and depth == transparent[-1]:
                transparent.pop()
            elif depth == len(transparent) and head is not None:
                function = parse_head(head)
                if function:
                    name, static = function
                    # Macro calls without a semicolon may stand before the function, in paragraphs of their own.
                    start = since + head.rstrip().rfind("\n\n") + 1
                    start += len(text[start:opening]) - len(text[start:opening].lstrip())
                    found.append(Function(name, static, start, opening, at, text))
                head = None
            if depth == len(transparent):
                since = at + 1
        elif depth == len(transparent):
            since = at + 1
    return found


def parse_head(head):
    """Returns (name, static) if what stands before a brace is a function's declarator."""
    plain = re.sub(r"__attribute__\s*\(\(.*?\)\)", "", head, flags=re.S)
    if "=" in re.sub(r"\(.*\)", "", plain, flags=re.S):
        return None
    for m in re.finditer(r"\b([A-Za-z_]\w*)\s*\(", plain):
        if m.group(1) not in NOT_A_FUNCTION and not m.group(1).isupper():
            return m.group(1), bool(re.search(r"\bstatic\b", plain[:m.start()]))
    return None


def unit(path):
    """The unit of a file: its path without suffix and without CPU, so that X.c, X.h and X-aarch64.c are one."""
    stem = os.path.splitext(path)[0]
    for cpu in CPUS:
        stem = stem.removesuffix("-" + cpu)
    return stem


def includes(text):
    """Lists the included paths that are given in quotes."""
    return re.findall(r'^[ \t]*#[ \t]*include[ \t]*"([^"]+)"', text, re.M)
