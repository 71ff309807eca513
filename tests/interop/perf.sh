#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# perf caches our notes, lists them and makes events of them. It records the hits and arguments of a process in which we
# armed the same sites.
. tests/lib.sh
. tests/lua/lib.sh
need jq perf
need_root
lua_need probed-O2
lua_own probed-O2
perf=(perf --buildid-dir "$T/buildid")

# perf's events are global, so no other test may use them.
exec 8>"$LUA/perf.lock"
flock 8
if ! mountpoint -q /sys/kernel/tracing; then
	mount -t tracefs tracefs /sys/kernel/tracing || skip "cannot mount tracefs"
	at_end umount /sys/kernel/tracing
fi
[ -w /sys/kernel/tracing/uprobe_events ] || skip "the kernel has no uprobe_events"

"${perf[@]}" buildid-cache --add "$lua" >"$T/out" 2>&1 || fail "perf buildid-cache: $(cat "$T/out")"
"${perf[@]}" list sdt 2>/dev/null | grep -o 'sdt_[A-Za-z0-9_]*:[A-Za-z0-9_]*' | LC_ALL=C sort -u >"$T/theirs"
probe-list --json "$lua" | jq -r '.probes[] | "sdt_\(.provider):\(.name)"' | LC_ALL=C sort >"$T/ours"
diff "$T/theirs" "$T/ours" >"$T/diff" || fail "$(head -n 10 "$T/diff")"
echo "$(wc -l <"$T/theirs") events"

probes=(lapi:index2value__entry lapi:lua_pushinteger__entry lobject:luaO_str2num__return)
at_end "perf probe -q -d 'sdt_lapi:*' -d 'sdt_lobject:*' 2>/dev/null"
for probe in "${probes[@]}"; do
	"${perf[@]}" probe "sdt_$probe" >"$T/out" 2>&1 || fail "perf probe sdt_$probe: $(cat "$T/out")"
done

lua_start lua "$lua" tests/lua/counted.lua
at_end "probe-disable -q -s $S 2>/dev/null"
probe-enable -q --record -s $S -p $pid "${probes[@]}" || fail "arming ends with $?"
mkfifo "$T/control" "$T/ack"
events=$(printf ',sdt_%s' "${probes[@]}")
perf record -q -e "${events#,}" -p $pid -o "$T/data" -m 4096 -D -1 --control "fifo:$T/control,$T/ack" \
	>"$T/out" 2>&1 &
recorder=$!
exec 7>"$T/control"
exec 6<"$T/ack"
echo enable >&7
read -r ack <&6 || fail "perf record: $(cat "$T/out")"
want_like "perf's answer" 'ack*' "${ack//$'\0'/}"
lua_go lua
wait_for 60 grep -q '^1	' "$T/lua.out"
lua_waits $pid
kill -INT $recorder
wait $recorder
exec 6>&- 7>&-
probe-stat --json -s $S >"$T/stat"
want "lost" 0 "$(json '[.probes[].lost] | add' "$T/stat")"
probe-trace -q --json -s $S -n "$(json '[.probes[].hits] | add' "$T/stat")" >"$T/events"
expect 0 probe-disable -q -s $S
lua_end lua $pid

perf script -i "$T/data" -F event,trace 2>"$T/stderr" >"$T/script" || fail "perf script: $(cat "$T/stderr")"
# sdt_lapi:index2value__entry: (address) arg1=... arg2=...: without the pointer to the state
sed -E 's/^ *sdt_([^ ]*): *\([0-9a-f]+\) /\1 /; s/arg1=[0-9]{9,} //; s/arg[0-9]=//g; s/ *$//' "$T/script" >"$T/theirs"
jq -r '"\(.probe) \(.args.idx // .args.n // .args.result)"' "$T/events" >"$T/ours"
diff "$T/theirs" "$T/ours" >"$T/diff" || fail "perf's records differ: $(head -n 10 "$T/diff")"
[ "$(wc -l <"$T/ours")" -gt 20000 ] || fail "only $(wc -l <"$T/ours") hits"
echo "$(wc -l <"$T/ours") hits, in the same order"

"${perf[@]}" buildid-cache --remove "$lua" >"$T/out" 2>&1 || fail "perf buildid-cache: $(cat "$T/out")"
perf probe -q -d 'sdt_lapi:*' -d 'sdt_lobject:*' || fail "perf probe -d"
want "no event is left" "" "$(grep -E 'sdt_(lapi|lobject)' /sys/kernel/tracing/uprobe_events)"
