#!/bin/bash
# SPDX-License-Identifier: MIT
# A configuration that is applied again changes only what differs: the same keeps its counts, the rest is armed and disarmed.
. tests/lib.sh
. tests/cmd/lib.sh
. tests/config/lib.sh
need_kernel
build_version 1
mkdir "$T/bin"
cp "$T/version.1" "$T/bin/service"
at_end "for s in a b c; do probe-disable -q -s $S-\$s 2>/dev/null; done"

# hits SESSION PROBE: prints its hits.
hits() { probe-stat --json -s "$1" 2>/dev/null | jq "[.probes[] | select(.probe == \"$2\") | .hits] | add"; }
cat >"$T/config.yaml" <<E2
# Two sessions.
sessions:
  - session: $S-a
    buffer: 1M
    arm:
      - probes: svc:hit
        file: $T/bin/service
        if: arg0 == 1 && arg1 >= 10
        record: true
      - probes: [ "svc:l*" ]
        file: [ "$T/bin/service" ]
        agg: count(), max(arg0)
  - session: $S-b
    arm:
      - probes: "*:*"
        file: $T/bin/service
E2
expect 0 probe-enable --json --config "$T/config.yaml"
want "first" armed,armed,armed "$(states)"
run 100 5
want "hits" "105 2 105 2" "$(hits "$S-a" svc:hit) $(hits "$S-a" svc:line) $(hits "$S-b" svc:hit) $(hits "$S-b" svc:line)"
want "filtered" 10 "$(probe-stat --json -s "$S-a" | jq '.probes[] | select(.probe == "svc:hit") | .filtered')"
want "the aggregate" 105 "$(probe-stat --json -s "$S-a" | jq '.aggregates[0].entries[0].values[] | select(.call | test("max")) | .max')"

# The same, written in another way: nothing changes.
sed -i -e 's/probes: svc:hit/probes: [ "svc:hit" ]/' -e "s/if: \(.*\)/if: '\1'/" -e 's/^# .*/# Other words./' "$T/config.yaml"
expect 0 probe-enable --json --config "$T/config.yaml"
want "the same" same,same,same "$(states)"
want "changes" 0 "$(jq .changes <<<"$out")"
run 7
want "hits go on" "112 3 112" "$(hits "$S-a" svc:hit) $(hits "$S-a" svc:line) $(hits "$S-b" svc:hit)"

# One entry changes, one session goes, one comes. What a command armed in the session stays.
build_version 2
expect 0 probe-enable -q -s "$S-a" -f "$T/version.2" svc:hit
sed -i -e 's/arg1 >= 10/arg1 >= 0/' -e "s/$S-b/$S-c/" "$T/config.yaml"
expect 0 probe-enable --json --config "$T/config.yaml" --check
want "a check" "same,to disarm,to disarm,to arm,to arm" "$(states)"
want "hits after a check" "112 112" "$(hits "$S-a" svc:hit | head -n 1) $(hits "$S-b" svc:hit)"
expect 0 probe-enable --json --config "$T/config.yaml"
want "changed" same,disarmed,disarmed,armed,armed "$(states)"
want "last counts of what was disarmed" 112 "$(jq '.entries[] | select(.state == "disarmed" and .probes == "svc:hit") | .hits' <<<"$out")"
run 3
want "hits" "3 4 3" "$(hits "$S-a" svc:hit) $(hits "$S-a" svc:line) $(hits "$S-c" svc:hit)"
want "the session that is not in the file" "" "$(probe-list --sessions | grep -w "$S-b")"
want "what a command armed" 2 "$(probe-stat --json -s "$S-a" | jq '[.probes[] | select(.probe == "svc:hit")] | length')"

# An entry that another one shadows is refused, and the report says so; a second file does not disarm what the first armed.
cat >"$T/second.yaml" <<E2
sessions:
  - session: $S-a
    arm:
      - probes: svc:hit
        file: $T/bin/service
E2
expect 3 probe-enable --config "$T/second.yaml"
want_like "a shadowed entry" "*second.yaml:4:9: another entry or command has armed all these sites in session '$S-a'*" "$out"
expect 0 probe-enable --json --config "$T/config.yaml"
want "the first file" same,same,same "$(states)"

# An empty list disarms all of the file, and no more.
echo 'sessions: []' >"$T/config.yaml"
expect 0 probe-enable --json --config "$T/config.yaml"
want "removed" disarmed,disarmed,disarmed "$(states)"
want "the rest" "$T/version.2" "$(probe-stat --json -s "$S-a" | jq -r '.probes[].file')"
want "sessions" "" "$(probe-list --sessions | grep -w "$S-c")"

# A process by its name, now and later; its end is reported.
start_service() { coproc SERVICE { exec "$T/bin/service"; }; service=$SERVICE_PID; runs $service "$T/bin/service"; }
cat >"$T/config.yaml" <<E2
sessions:
  - session: $S-b
    arm:
      - probes: svc:hit
        process: $T/bin/*
E2
expect 3 probe-enable --json --config "$T/config.yaml"
want "no process" waiting "$(states)"
start_service
expect 0 probe-enable --json --config "$T/config.yaml"
want "a process" "armed $service" "$(states) $(jq '.entries[0].pid' <<<"$out")"
echo 9 >&"${SERVICE[1]}"
read -r -u "${SERVICE[0]}" answer
expect 0 probe-enable --json --config "$T/config.yaml"
want "its hits" "same 9" "$(states) $(jq '.entries[0].hits' <<<"$out")"
kill $service
wait $service
start_service
expect 0 probe-enable --json --config "$T/config.yaml"
want "another process" "old,armed" "$(states)"
kill $service
