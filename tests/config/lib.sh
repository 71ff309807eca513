# SPDX-License-Identifier: MIT
# Helpers for the tests of probe-enable --config. Source this file after tests/lib.sh and tests/cmd/lib.sh.

need jq
[ -e /usr/include/yaml.h ] || skip "needs libyaml"

# build_version N: builds version N of the service to $T/version.N. It reads numbers, and hits svc:hit(VERSION, number)
# as often as each says. At its end it appends "BUILD-ID HITS" to $T/log.
build_version() {
	"$CC" -O1 -Iinclude -DVERSION="$1" -Wl,--build-id tests/config/service.c -o "$T/version.$1" || fail "no service"
}
build_id() { readelf -n "$1" | sed -n 's/.*Build ID: //p'; }

# run N...: runs the service, which is at $T/bin/service, and lets it hit its probe N times.
run() {
	local id
	id=$(build_id "$T/bin/service")
	printf '%s\n' "$@" | "$T/bin/service" >"$T/out" || fail "the service failed"
	echo "$id $(tail -n 1 "$T/out")" >>"$T/log"
}
# logged: prints the hits of each version by the service's log. counted: by the report.
logged() { awk '{ n[$1] += $2 } END { for (id in n) print id, n[id] }' "$T/log" | sort; }
counted() {
	probe-enable --json --config "$T/config.yaml" --check >"$T/report.json"
	jq -r '.entries[] | select(.state == "same" or .state == "old") | "\(.build_id) \(.hits)"' "$T/report.json" |
		awk '{ n[$1] += $2 } END { for (id in n) if (n[id]) print id, n[id] }' | sort
}
# armed_id: prints the build-id that is armed at the path now. states: prints the states of the last result in $out.
armed_id() { probe-enable --json --config "$T/config.yaml" --check | jq -r '.entries[] | select(.state == "same") | .build_id'; }
states() { jq -r '.entries[].state' <<<"$out" | paste -sd,; }
