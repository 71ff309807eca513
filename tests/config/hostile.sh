#!/bin/bash
# SPDX-License-Identifier: MIT
# A configuration can be hostile: other users' files, files that others can write, huge and damaged files.
. tests/lib.sh
. tests/cmd/lib.sh
. tests/config/lib.sh
valid() { printf 'sessions:\n  - session: %s\n    arm:\n      - probes: "*:*"\n        file: %s\n' "$S" /nothing; }

# ---- the owner and the mode
valid >"$T/config.yaml"
chmod 666 "$T/config.yaml"
expect 1 probe-enable --config "$T/config.yaml"
want_like "a file that others can write" "*other users can write to the file*" "$out"
chmod 664 "$T/config.yaml"
expect 1 probe-enable --config "$T/config.yaml" --check
chmod 644 "$T/config.yaml"
expect 3 probe-enable --config "$T/config.yaml" --check
if [ "$(id -u)" = 0 ]; then
	chown 65534 "$T/config.yaml"
	expect 1 probe-enable --config "$T/config.yaml" --check
	want_like "another user's file" "*the file belongs to user 65534*chown it to root" "$out"
	ln -s "$T/config.yaml" "$T/link.yaml"
	expect 1 probe-enable --config "$T/link.yaml"
fi
mkfifo "$T/fifo"
expect 1 probe-enable --config "$T/fifo" # does not wait
expect 1 probe-enable --config /dev/zero
expect 1 probe-enable --config "$T"
truncate -s 2M "$T/large.yaml"
expect 1 probe-enable --config "$T/large.yaml"

# ---- a newline in a path, which would forge a line of the label: nothing is armed, because it would not be found again
if [ "$(id -u)" = 0 ]; then
	"$CC" -O1 -Iinclude -DVERSION=1 tests/config/service.c -o "$T/service" || fail "no service"
	mkdir "$T/bin"
	cp "$T/service" "$T/bin/new"$'\n'"line"
	chown 0 "$T/config.yaml"
	valid | sed "s,/nothing,$T/bin/*\n        backend: kernel," >"$T/config.yaml"
	expect 3 probe-enable --config "$T/config.yaml"
	want_like "a target with a newline" "waiting *'$T/bin/new\\\\nline': the path contains a newline*" "$out"
	cp "$T/service" "$T/bin/other" # others of the glob are armed
	expect 3 probe-enable --config "$T/config.yaml"
	want_like "another target" "*armed *$T/bin/other*" "$out"
	expect 3 probe-enable --config "$T/config.yaml"
	want_like "another target, again" "*same *$T/bin/other*" "$out"
	expect 0 probe-disable -q -s "$S"
	valid | sed "s,/nothing,$T/service\n        backend: kernel," >"$T/new"$'\n'"line.yaml"
	expect 1 probe-enable --config "$T/new"$'\n'"line.yaml"
	want_like "a configuration with a newline" "*the path contains a newline*" "$out"
	want "sessions" "" "$(probe-list --sessions | grep -w "$S")"
fi

# ---- small files that make large trees, or deep ones
python3 -c 'print("a: &a [x,x,x,x,x,x,x,x,x]"); [print(f"{c}: &{c} [" + ",".join(["*" + chr(ord(c) - 1)] * 9) + "]") for c in "bcdefghi"]' >"$T/bomb.yaml"
expect 2 probe-enable --config "$T/bomb.yaml"
python3 -c 'print("sessions: " + "[" * 100000)' >"$T/bomb.yaml"
expect 2 probe-enable --config "$T/bomb.yaml"
python3 -c 'print("sessions: [" + "1," * 20000 + "1]")' >"$T/bomb.yaml"
expect 2 probe-enable --config "$T/bomb.yaml"
want_like "the number of errors" "*more errors*" "$out"

# ---- damaged files: a status, never a signal, and nothing armed
seed=${SEED-$RANDOM}
echo "seed $seed"
valid >"$T/whole.yaml"
printf '        %s: %s\n' if 'a > 1' print '[a, b]' latency '[x:a, x:b]' budget 5% buffer 1M agg 'count() by a' service x >>"$T/whole.yaml"
python3 - "$T" "$seed" <<'P'
import random, sys
random.seed(int(sys.argv[2]))
whole = open(sys.argv[1] + "/whole.yaml", "rb").read()
for i in range(60):
    b = bytearray(whole)
    for _ in range(random.randint(1, 6)):
        at = random.randrange(len(b))
        kind = random.randrange(4)
        if kind == 0: b[at] = random.randrange(256)
        elif kind == 1: del b[at:at + random.randint(1, 20)]
        elif kind == 2: b[at:at] = bytes(random.choice(b"[]{}:,&*!|>'\"%@`\n\t #-") for _ in range(random.randint(1, 4)))
        else: b = b[:at] + b[at:at + 40] * 3 + b[at + 40:]
        b = b or bytearray(b" ")
    open(f"{sys.argv[1]}/damaged.{i}.yaml", "wb").write(b)
P
for f in "$T"/damaged.*.yaml; do
	probe-enable --config "$f" --check >"$T/out" 2>&1
	status=$?
	[ $status -le 3 ] || fail "$f: status $status: $(cat "$T/out"; cat "$f")"
done
want "sessions" "" "$(probe-list --sessions | grep -w "$S")"
