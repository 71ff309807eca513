# SPDX-License-Identifier: MIT
# memory.py [--agent] PID...: checks that processes look as if no probe had ever been armed in them. Prints each difference:
# code that is not the file's, a semaphore in .probes that is not 0, a thread or a descriptor of ours. With --agent, bytes
# 5 to 9 of a site's nop10 may differ, because nothing reads its address operand.
import os, struct, sys

agent = sys.argv[1] == "--agent"
wrong = []


def sections(file):
    header = os.pread(file, 64, 0)
    if header[:5] != b"\x7fELF\x02":
        return None
    table, = struct.unpack_from("<Q", header, 40)
    size, count, names = struct.unpack_from("<HHH", header, 58)
    found = [struct.unpack("<IIQQQQ", os.pread(file, 40, table + i * size)) for i in range(count)]
    if not found:
        return {}
    strings = os.pread(file, found[names][5], found[names][4])
    return {strings[s[0]:strings.index(b"\0", s[0])].decode(): s for s in found}


def differences(pid, path, start, now, file):
    i = 0
    while i < len(now):
        if now[i:i + 4096] == file[i:i + 4096]:
            i += 4096
            continue
        for j in range(i, min(i + 4096, len(now))):
            if now[j] == file[j]:
                continue
            if agent and any(file[j - k:j - k + 5] == now[j - k:j - k + 5] == b"\x66\x2e\x0f\x1f\x84" for k in range(5, 10)):
                continue
            wrong.append(f"process {pid}: {path}+{start + j:#x} is {now[max(0, j - 4):j + 12].hex()}, "
                         f"in the file {file[max(0, j - 4):j + 12].hex()}")
            return
        i += 4096


def look(pid):
    memory = os.open(f"/proc/{pid}/mem", os.O_RDONLY)
    bases = {}
    with open(f"/proc/{pid}/maps") as maps:
        lines = [line.split(maxsplit=5) for line in maps]
    for line in lines:
        if len(line) < 6 or not line[5].startswith("/") or line[5].startswith(("/memfd:", "/dev/", "/[")):
            continue
        path = line[5].rstrip("\n")
        start, end = (int(x, 16) for x in line[0].split("-"))
        offset = int(line[2], 16)
        try:
            file = os.open(f"/proc/{pid}/map_files/{line[0]}" if path.endswith(" (deleted)") else f"/proc/{pid}/root{path}", os.O_RDONLY)
        except OSError:
            continue
        table = sections(file)
        if table is not None:
            bases.setdefault(path, (start - offset, table))
            if "x" in line[1]:
                size = min(end - start, os.fstat(file).st_size - offset)
                differences(pid, path, offset, os.pread(memory, size, start), os.pread(file, size, offset))
        os.close(file)
    for path, (base, table) in bases.items():
        if ".probes" in table:
            address, size = table[".probes"][3], table[".probes"][5]
            # A file that is not position independent says its addresses itself.
            value = os.pread(memory, size, address if address > base else base + address)
            if any(value):
                wrong.append(f"process {pid}: {path}: semaphores are raised: {value.hex()}")
    os.close(memory)
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/comm") as comm:
            if "probepoint" in comm.read():
                wrong.append(f"process {pid}: thread {task} is ours")
    for fd in os.listdir(f"/proc/{pid}/fd"):
        try:
            link = os.readlink(f"/proc/{pid}/fd/{fd}")
        except OSError:
            continue
        if "probepoint" in link and "probepoint-test" not in link:
            wrong.append(f"process {pid}: descriptor {fd} is ours: {link}")


for pid in sys.argv[2 if agent else 1:]:
    try:
        look(int(pid))
    except (FileNotFoundError, ProcessLookupError):
        pass  # it has ended
    except OSError as e:
        if os.path.exists(f"/proc/{pid}/exe"):
            raise
for line in wrong:
    print(line)
sys.exit(bool(wrong))
