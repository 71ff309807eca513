#!/bin/bash
# SPDX-License-Identifier: MIT
# Executes every command of doc/tutorial.md with Redis, built from Debian's source with the plugin. With OUTPUT=FILE, writes
# the page with the output of this run.
. tests/lib.sh
. tests/plugin/lib.sh
. tests/kernel/lib.sh
need_kernel
need redis-cli redis-benchmark make python3
debian_source redis

cp -r "$source" "$T/redis" || fail "cannot copy the source"
make -s -C "$T/redis" -j2 MALLOC=libc BUILD_TLS=no OPTIMIZATION=-O2 REDIS_CFLAGS="-g -fno-omit-frame-pointer -fplugin=$PLUGIN -fplugin-arg-probepoint-functions=call,lookupKey*" \
	redis-server >"$T/log" 2>&1 || { tail -n 5 "$T/log"; fail "redis does not build"; }
src=$T/redis/src
"$src/redis-server" --port 0 --unixsocket "$T/socket" --save "" --daemonize no >"$T/server" 2>&1 &
server=$!
at_end "kill $server 2>/dev/null"
for _ in {1..100}; do redis-cli -s "$T/socket" ping >/dev/null 2>&1 && break; sleep 0.1; done
seq -f 'RPUSH basket:77 item%g' 20000 | redis-cli -s "$T/socket" --pipe >/dev/null || fail "the server does not answer"
(while redis-benchmark -s "$T/socket" -q -n 3000 -c 4 -r 1000 -t set,get,lpush; do :; done >/dev/null 2>&1) &
load=$!
(while redis-cli -s "$T/socket" lrange basket:77 0 -1; do sleep 0.1; done >/dev/null 2>&1) &
reading=$!
at_end "kill $load $reading 2>/dev/null"

mkdir "$T/bin"
printf '#!/bin/sh\necho %s\n' "$server" >"$T/bin/pidof"
chmod +x "$T/bin/pidof"
mkdir "$T/cwd" # where commands of the page write files
PATH=$T/bin:$PATH python3 - doc/tutorial.md "${OUTPUT-$T/page}" "$src" "$T/cwd" <<'END' || fail "a command of the tutorial"
import re, shutil, subprocess, sys
lines, out, i, ran = open(sys.argv[1]).read().split("\n"), [], 0, 0
needs, text = None, ""
while i < len(lines):
    line = lines[i]
    out.append(line)
    i += 1
    if line.startswith("<!-- run"):
        needs = line[8:].replace("-->", "").strip()
        if needs and not shutil.which(needs):
            print(f"not run: {needs} is not installed")
            text = None
            continue
        assert lines[i] == "```", line
        out.append(lines[i])
        i += 1
        text = ""
        while lines[i] != "```":
            if lines[i].startswith("$ "):
                command = lines[i][2:]
                out.append(lines[i])
                done = subprocess.run(["bash", "-c", command], cwd=sys.argv[4], capture_output=True, text=True, timeout=120)
                said = (done.stdout + done.stderr).replace(sys.argv[3], "/srv/redis/src")
                ran += 1
                if done.returncode not in ((0, 124, 130) if needs else (0,)):
                    sys.exit(f"status {done.returncode}: {command}\n{said}")
                text += said
                out += [x for x in said.rstrip("\n").split("\n") if x]
            i += 1
    elif line.startswith("<!-- want ") and text is not None:
        want = line[10:].replace(" -->", "")
        if not re.search(want, text):
            sys.exit(f"'{want}' is not in the output:\n{text}")
open(sys.argv[2], "w").write("\n".join(out))
print(f"{ran} commands")
sys.exit(ran < 13)
END
kill -0 $server || fail "the server has ended: $(tail -n 3 "$T/server")"
