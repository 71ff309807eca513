#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# readelf prints the same notes of a large program as probe-list.
. tests/lib.sh
. tests/lua/lib.sh
need jq readelf
kinds=("${levels[@]/#/probed-}" ${PROBEPOINT_LONG:+probed-lto})
lua_need "${kinds[@]}"

for kind in "${kinds[@]}"; do
	lua=$LUA/$kind/lua
	readelf -nW "$lua" >"$T/readelf" 2>"$T/stderr"
	want "readelf prints no warning" "" "$(grep -v 'note.probepoint' "$T/stderr")"
	awk '/Provider: / { provider = $NF } /^ *Name: / { name = $NF } /^ *Location: / { location = substr($2, 1, 18) }
		/^ *Arguments:/ { sub(/^ *Arguments: */, ""); print provider, name, location, $0 }' "$T/readelf" |
		sed 's/ *$//' | LC_ALL=C sort >"$T/theirs"
	probe-list --json "$lua" | jq -r '.probes[] | .provider as $p | .name as $n | .sites[] |
		"\($p) \($n) \(.address) \(.operands)"' | awk '{ $3 = sprintf("0x%016x", $3); print }' |
		sed 's/ *$//' | LC_ALL=C sort >"$T/ours"
	diff "$T/theirs" "$T/ours" >"$T/diff" || fail "$kind: $(head -n 10 "$T/diff")"
	want_like "sites" '[2-9][0-9][0-9][0-9]' "$(wc -l <"$T/ours")"
	echo "$kind: $(wc -l <"$T/ours") notes"
done
