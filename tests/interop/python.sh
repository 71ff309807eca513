#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Debian's Python: all its probes, armed in a running interpreter, count and show what the program did.
. tests/lib.sh
need jq
need_root
for python in /usr/bin/python3 ''; do
	python=$(readlink -f "$python") && probe-list -q "$python" 2>/dev/null | grep -q python:gc__start && break
done
[ -n "$python" ] || skip "no Python with probes here"
probe-list -q "$python" | grep -q python:function__entry && calls=1 || part_skipped "calls: Python has no probes of calls since 3.12"

cat >"$T/work.py" <<'E'
import gc, sys
gc.disable()
def counted(n):
    return n and counted(n - 1)
sys.stdin.readline()
for i in range(100):
    counted(9)
list(map(counted, [0] * 50))
print(*(gc.collect(g) for g in (0, 1, 2, 2)))
garbage = []
garbage.append(garbage)
del garbage
print(gc.collect())
import colorsys
sys.audit("a test", 1, 2)
print("done", flush=True)
sys.stdin.readline()
print("end")
E
mkfifo "$T/in"
"$python" "$T/work.py" <"$T/in" >"$T/out" &
pid=$!
exec 5>"$T/in"
wait_for 30 grep -q '^0 0x0 ' /proc/$pid/syscall

at_end "for s in $S ${S}f ${S}p; do probe-disable -q -s \$s 2>/dev/null; done"
probe-enable -q --json --record -s $S -p $pid -f "$python" 'python:*' >"$T/report" || fail "arming ends with $?"
probe-list --json "$python" >"$T/list"
want "armed" "$(json '[.probes[] | "\(.provider):\(.name)"]' "$T/list")" "$(json '[.armed[].probe]' "$T/report")"
want "verified" '[true]' "$(json '[.armed[].verified] | unique' "$T/report")"
# A second and a third session on the same points, with filters that treat arguments as strings.
[ -z "${calls-}" ] || expect 0 probe-enable -q -s ${S}f -p $pid --if 'arg1 == "counted"' python:function__entry python:function__return
expect 0 probe-enable -q -s ${S}p -p $pid --if 'arg0 =~ "color*" && pid == '$pid python:import__find__load__start
echo >&5
wait_for 30 grep -q done "$T/out"
wait_for 30 grep -q '^0 0x0 ' /proc/$pid/syscall

for name in ${calls:+function__entry function__return}; do
	want "calls of counted, $name" 1050 \
		"$(probe-stat --json -s ${S}f | jq ".probes[] | select(.probe == \"python:$name\") | .hits - .filtered")"
done
want "imports of colorsys" 1 "$(probe-stat --json -s ${S}p | jq '.probes[] | .hits - .filtered')"
probe-stat --json -s $S >"$T/stat"
want "lost" 0 "$(json '[.probes[].lost] | add' "$T/stat")"
probe-trace -q --json -s $S -n "$(json '[.probes[].recorded] | add' "$T/stat")" >"$T/events"
args() { jq -c "select(.probe == \"python:$1\") | .args.$2" "$T/events" | paste -sd' '; }
want "generations collected" "0 1 2 2 2" "$(args gc__start arg0)"
want "collected" "$(head -n 2 "$T/out" | paste -sd' ')" "$(args gc__done arg0)"
want "found and loaded" 1 "$(args import__find__load__done arg1 | grep -c .)"
[ -z "${calls-}" ] || want_like "calls" '1[0-9][0-9][0-9]' "$(json '.probes[] | select(.probe == "python:function__entry").hits' "$T/stat")"
for s in $S ${calls:+${S}f} ${S}p; do expect 0 probe-disable -q -s $s; done
echo >&5
wait $pid || fail "Python ends with $?"
want "last line" end "$(tail -n 1 "$T/out")"
