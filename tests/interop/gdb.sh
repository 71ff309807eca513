#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# first
# gdb lists the sites that we list. At the first hit of every probe of Lua it finds the arguments that probe-trace printed
# in a run with the same addresses. The short form has a part of the probes.
. tests/lib.sh
. tests/lua/lib.sh
need jq gdb setarch
kinds=("${levels[@]/#/probed-}" ${PROBEPOINT_LONG:+probed-lto})
lua_need "${kinds[@]}"
RANDOM=${SEED:=$RANDOM}
echo "SEED=$SEED"
# Each part fits into the ring without a reader, so that no record is lost on a busy machine.
parts=('l[a-d]' 'l[e-o]' 'l[p-s]' 'l[t-z]') least=1000
[ "${PROBEPOINT_LONG-}" ] || { parts=("${parts[RANDOM % 4]}") least=100; }

for kind in "${kinds[@]}"; do
	lua_own $kind
	probe-list --json "$lua" >"$T/list" || fail "probe-list ends with $?"

	gdb -nx -q -batch -ex 'info probes stap' "$lua" >"$T/gdb" 2>"$T/stderr" || fail "gdb: $(cat "$T/stderr")"
	want "gdb prints no warning" "" "$(cat "$T/stderr")"
	awk '$1 == "stap" { print $2, $3, $4 }' "$T/gdb" | LC_ALL=C sort >"$T/theirs"
	jq -r '.probes[] | .provider as $p | .name as $n | .sites[] | "\($p) \($n) \(.address)"' "$T/list" |
		awk '{ $3 = sprintf("0x%016x", $3); print }' | LC_ALL=C sort >"$T/ours"
	diff "$T/theirs" "$T/ours" >"$T/diff" || fail "$kind: $(head -n 10 "$T/diff")"
	echo "$kind: $(wc -l <"$T/theirs") sites"

	[ "$(id -u)" = 0 ] || continue
	[ $kind = probed-O2 ] || [ "${PROBEPOINT_LONG-}" ] || continue # stopping at each first hit is slow
	# The probe that depends on the time of day is left out.
	seed='lmathlib:setseed__entry'
	jq -r '.probes[] | "\(.provider):\(.name)\t\(.signature)"' "$T/list" | grep -v "^$seed	" |
		grep -E "^($(IFS='|'; echo "${parts[*]}"))" >"$T/probes"
	printf 'go\nend\n' >"$T/input"
	args="tests/lua/counted.lua 12 <$T/input >/dev/null"
	: >"$T/events"
	for part in "${parts[@]}"; do
		probe-trace --json -f "$lua" "$part*:*" -- sh -c "exec env -i setarch $(uname -m) -R $lua $args" \
			>>"$T/events" 2>"$T/stderr" || fail "probe-trace: $(cat "$T/stderr")"
		want_like "nothing is lost" '* 0 lost*' "$(cat "$T/stderr")"
	done
	grep -v "$seed" "$T/events" >"$T/compared"
	EVENTS=$T/compared PROBES=$T/probes DIFFER=$T/differ ARGS=$args gdb -nx -q -batch -ex 'set exec-wrapper env -i' \
		-x tests/lua/gdb_first.py "$lua" >"$T/gdb" 2>&1 || fail "gdb: $(tail -n 5 "$T/gdb")"
	[ ! -s "$T/differ" ] || fail "$kind: $(head -n 20 "$T/differ")"
	said=$(grep 'first hits of' "$T/gdb") || fail "gdb: $(tail -n 5 "$T/gdb")"
	[[ $said =~ ^'first hits of '([0-9]+)' probes, '([0-9]+)' arguments' ]] && [ "${BASH_REMATCH[1]}" -ge $least ] &&
		[ "${BASH_REMATCH[2]}" -ge $least ] || fail "too few: $said"
	echo "$kind: $said"
done
[ "$(id -u)" = 0 ] || part_skipped "arguments: arming needs root"
