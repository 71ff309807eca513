#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# The three examples under `probe-enable ... -- COMMAND`, armed before their first instruction: the counts equal the
# examples' own.
. tests/lib.sh
need_root
need jq
[ -x "$B/examples/weblog" ] || skip "the examples were not built: no plugin"

at_end "probe-disable -q -s $S 2>/dev/null"
# hits PROBE [JQ FILTER]
hits() { probe-stat -s "$S" --json | jq --arg p "$1" '[.probes[] | select(.probe == $p) | .hits] | add'; }
said() { awk -v w="$1" '$1 == w { print $2 }' "$T/said"; }
# run COMMAND...: writes its output to $T/said
run() {
	probe-enable -q -s "$S" '*:*' -- "$@" >"$T/said" 2>"$T/stderr" || fail "$1: $(cat "$T/stderr")"
}
done_with() {
	want "accounts of $1" true "$(probe-stat -s "$S" --json | jq 'all(.probes[]; .hits == .filtered + .idle + .recorded + .lost)')"
	expect 0 probe-disable -s "$S"
}

run "$B/examples/kv" -n 3000 -r 0
want "kv: requests" "$(said requests)" "$(hits kv:request)"
want "kv: gets" "$(($(said hits) + $(said misses)))" "$(hits kv:get)"
want "kv: sets" "$(said sets)" "$(hits kv:set)"
want "kv: replies" "$(said requests)" "$(hits kv:reply)"
done_with kv

run "$B/examples/weblog" -n 3000 -r 0
want "weblog: lines" "$(said lines)" "$(hits weblog:parse_line__entry)"
want "weblog: lines parsed" "$(said lines)" "$(hits weblog:parse_line__return)"
want "weblog: look-ups" "$(said lookups)" "$(hits weblog:find_route__entry)"
want "weblog: errors" "$(said complaints)" "$(hits weblog:complain__entry)"
done_with weblog

run "$B/examples/jobs" -n 2000 -r 0 -w 4
want "jobs: submitted" 2000 "$(hits queue:submit)"
want "jobs: finished" "$(said done)" "$(hits queue:finish)"
want "jobs: times that the queue was full" "$(said full)" "$(hits queue:full | sed s/null/0/)"
want "jobs: packed" "$(said pack)" "$(hits jobs:run_pack__entry)"
want "jobs: checked" "$(said check)" "$(hits jobs:run_check__return)"
want "jobs: in the shared library, packed" "$(said codec_pack)" "$(hits codec:codec_pack__entry)"
want "jobs: in the shared library, unpacked" "$(said codec_unpack)" "$(hits codec:codec_unpack__return)"
want "jobs: in the shared library, summed" "$(said codec_sum)" "$(hits codec:codec_sum__entry)"
done_with jobs
exit 0
