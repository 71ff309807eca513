#!/bin/bash
# SPDX-License-Identifier: MIT
# probe-list, readelf and gdb agree on every file of the system that has notes: count, names, addresses, operands.
. tests/lib.sh
need readelf gdb python3 file

# Files whose bytes have the owner of such notes; most of them are compilers and have none.
grep -rlaE stapsdt ${DIRECTORIES-/usr/bin /usr/sbin /usr/lib /usr/libexec /usr/local/lib} 2>/dev/null | sort -u |
	xargs -d '\n' file -L -N -F : 2>/dev/null | sed -n 's/: *ELF .*\(executable\|shared object\).*//p' >"$T/files"

cat >"$T/compare.py" <<'END'
import json, os, re, subprocess, sys

def run(*command):
    return subprocess.run(command, capture_output=True, text=True, errors="replace")

def readelf(path):
    sites, current = [], None
    for line in run("readelf", "-nW", path).stdout.splitlines():
        line = line.strip()
        if "Provider: " in line:
            current = [line.split("Provider: ")[1]]
        elif line.startswith("Name: ") and current:
            current.append(line[6:])
        elif line.startswith("Location: ") and current:
            current.append(int(re.match(r"Location: (0x[0-9a-f]+)", line).group(1), 16))
        elif line.startswith("Arguments:") and current:
            sites.append((current[0], current[1], current[2], " ".join(line[10:].split())))
            current = None
    return sorted(set(sites))

def gdb(path):
    out = run("gdb", "-nx", "-q", "-batch", "-ex", "set height 0", "-ex", "set width 0", "-ex", "info probes stap", path).stdout
    return sorted({(f[1], f[2], int(f[3], 16)) for f in (line.split() for line in out.splitlines())
                   if len(f) >= 4 and f[0] == "stap" and f[3].startswith("0x")})

def probe_list(path):
    done = run("probe-list", "--json", "--sites", path)
    if done.returncode not in (0, 1):
        sys.exit(f"{path}: probe-list: status {done.returncode}: {done.stdout[:200]}{done.stderr[:200]}")
    sites = []
    for probe in json.loads(done.stdout).get("probes", []):
        for site in probe["sites"]:
            sites.append((probe["provider"], probe["name"], site["address"], " ".join(site["operands"].split())))
    return sorted(set(sites))

files = notes = different = 0
for path in open(sys.argv[1]).read().splitlines():
    theirs = readelf(path)
    ours = probe_list(path)
    if not theirs and not ours:
        continue
    files += 1
    notes += len(ours)
    if ours != theirs:
        different += 1
        print(path, "differs from readelf:", [x for x in ours if x not in theirs][:3], [x for x in theirs if x not in ours][:3])
    shown = gdb(path)
    if shown != sorted({(p, n, a) for p, n, a, _ in ours}):
        different += 1
        mine = {(p, n, a) for p, n, a, _ in ours}
        print(path, "differs from gdb:", [x for x in mine if x not in shown][:3], [x for x in shown if x not in mine][:3])
print(f"{files} files with {notes} notes, {different} differences")
sys.exit(different > 0 or not files)
END
python3 "$T/compare.py" "$T/files"
