# SPDX-License-Identifier: MIT
# Runs in gdb: writes the registers and the memory at each hit of the addresses in $SITES into the file $RECORDING, as
#     mem ADDRESS HEX...        memory that does not change
#     hit ADDRESS
#     reg NAME HEX
#     mem ADDRESS HEX...        memory at this hit
# $FIXED and $CHANGING are lists of START-END.
import gdb
import os

out = open(os.environ["RECORDING"], "w")
inferior = gdb.selected_inferior()
PAGE = 4096


def memory(start, end):
    while start < end:
        stop = min(end, (start // PAGE + 1) * PAGE)
        try:
            out.write(f"mem {start:x} {bytes(inferior.read_memory(start, stop - start)).hex()}\n")
        except gdb.MemoryError:
            pass
        start = stop


def ranges(name):
    return [tuple(int(x, 16) for x in r.split("-")) for r in os.environ[name].split()]


class Site(gdb.Breakpoint):
    def __init__(self, address):
        super().__init__(f"*{address:#x}")
        self.silent = True
        self.address = address

    def stop(self):
        frame = gdb.newest_frame()
        out.write(f"hit {self.address:x}\n")
        for reg in frame.architecture().registers("general"):
            try:
                value = frame.read_register(reg)
            except (gdb.error, ValueError):
                continue
            if value.type.sizeof <= 8 and value.type.strip_typedefs().code in (gdb.TYPE_CODE_INT, gdb.TYPE_CODE_PTR):
                out.write(f"reg {reg.name} {int(value) & (1 << 64) - 1:x}\n")
        out.write(f"reg pc {int(frame.read_register('pc')) & (1 << 64) - 1:x}\n")
        sp = int(gdb.parse_and_eval("(unsigned long)$sp"))
        memory(sp - 512, sp + 4096)
        for start, end in ranges("CHANGING"):
            memory(start, end)
        return False


for start, end in ranges("FIXED"):
    memory(start, end)
for site in ranges("SITES"):
    Site(site[0])
gdb.execute("continue")
out.close()
