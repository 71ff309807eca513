#!/bin/bash
# SPDX-License-Identifier: MIT
# A service is its control group: only its processes count, and it is armed again when a restart has made its group anew.
. tests/lib.sh
. tests/cmd/lib.sh
. tests/config/lib.sh
need_root
need_kernel
root=$(awk '$3 == "cgroup2" { print $2; exit }' /proc/self/mounts)
[ "$root" ] || skip "needs cgroup2"
slice=$root/probepoint-$S.slice
mkdir "$slice" 2>/dev/null || skip "cannot make a control group"
at_end "rmdir $slice/$S.service 2>/dev/null; rmdir $slice; probe-disable -q -s $S 2>/dev/null"
build_version 1
mkdir "$T/bin"
cp "$T/version.1" "$T/bin/service"

# in_service N: runs the service in its control group.
in_service() { (echo "$BASHPID" >"$slice/$S.service/cgroup.procs" && echo "$1" | exec "$T/bin/service" >/dev/null); }
# restart: makes the group anew, as systemd does.
restart() { [ ! -d "$slice/$S.service" ] || wait_for 10 rmdir "$slice/$S.service"; mkdir "$slice/$S.service"; } # a process may be just ending
# armed_times N: succeeds if the report has N lines of arming.
armed_times() { [ "$(grep -c '^armed' "$T/follow")" = "$1" ]; }
hits() { probe-stat --json -s "$S" | jq '[.probes[].hits] | add'; }

cat >"$T/config.yaml" <<E2
sessions:
  - session: $S
    arm:
      - probes: svc:hit
        file: $T/bin/service
        service: $S
E2
expect 3 probe-enable --config "$T/config.yaml"
want_like "a service that does not run" "waiting *service '$S' is not running*" "$out"

# Groups of this name that are not in slices belong to other units: of a container, or of a user's manager.
below=$slice/probepoint-$S-below.slice
at_end "rmdir $below/$S.service $below $slice/$S.scope/$S.service $slice/$S.scope 2>/dev/null"
mkdir "$slice/$S.scope" "$slice/$S.scope/$S.service" "$below"
expect 3 probe-enable --config "$T/config.yaml" --check
want_like "a unit of a container" "waiting *service '$S' is not running*" "$out"
mkdir "$below/$S.service" "$slice/$S.service"
expect 3 probe-enable --config "$T/config.yaml" --check
want_like "two groups" "*$T/config.yaml:4:9: service '$S' has several control groups, '$slice/$S.service' and '$below/$S.service'; *" "$out"
want_like "two groups" "*refused *$S*" "$out"
rmdir "$slice/$S.service"
expect 0 probe-enable --config "$T/config.yaml" --check
want_like "one group, in a slice below another" "to arm *" "$out"
rmdir "$below/$S.service" "$below" "$slice/$S.scope/$S.service" "$slice/$S.scope"
probe-enable --config "$T/config.yaml" --follow >"$T/follow" 2>"$T/follow.err" &
follower=$!
restart
wait_for 30 armed_times 1
in_service 50
run 1000 # not in the service
want "hits" 50 "$(hits)"
restart
wait_for 30 armed_times 2
grep -q "^disarmed .* 50 hits .*(the control group was made anew)" "$T/follow" || fail "the report: $(cat "$T/follow")"
in_service 7
run 1000
want "hits after a restart" 7 "$(hits)"
kill -TERM $follower
wait $follower
want "the status" 0 $?
