#!/bin/bash
# SPDX-License-Identifier: MIT
# probe-enable --config FILE --follow arms each version of a service's file; the counts of each version are those of its log.
. tests/lib.sh
. tests/cmd/lib.sh
. tests/config/lib.sh
need_kernel
for version in 1 2 3; do build_version $version; done
mkdir "$T/bin"
at_end "probe-disable -q -s $S 2>/dev/null"

# install_version N: puts version N there, as a package manager does. Returns when it is armed.
install_version() {
	sleep 1 # times in the report are in seconds
	cp "$T/version.$1" "$T/bin/service.new"
	mv "$T/bin/service.new" "$T/bin/service"
	is_armed "$1"
}
is_armed() { wait_for 30 eval "[ \"\$(armed_id)\" = $(build_id "$T/version.$1") ]"; }
# report STATE BUILD-ID: prints the lines of the follower's report.
report() { grep "^$1 .*build-id ${2:0:12}" "$T/follow"; }
# follow: starts the follower.
follow() {
	probe-enable --config "$T/config.yaml" --follow >>"$T/follow" 2>>"$T/follow.err" &
	follower=$!
}

cat >"$T/config.yaml" <<E2
sessions:
  - session: $S
    arm:
      - probes: svc:hit
        file: $T/bin/service
E2
follow
wait_for 30 grep -q "^waiting .*$T/bin/service" "$T/follow" # the service is not installed yet
install_version 1
run 100
run 10 # a restart
install_version 2 # an upgrade
run 20
# A process of the old version runs on during an upgrade.
coproc OLD { exec "$T/bin/service"; }
old=$OLD_PID
runs $old "$T/bin/service"
install_version 3
echo 5 >&"${OLD[1]}"
read -r -u "${OLD[0]}" answer
echo "$(build_id "$T/version.2") 5" >>"$T/log"
run 30
install_version 2 # a downgrade: another file with the same build-id
run 2
rm "$T/bin/service"
is_deleted() { tail -n 1 "$T/follow" | grep -q "^waiting .*No such file"; }
wait_for 30 is_deleted
sleep 1
cp "$T/version.1" "$T/bin/service.new"
mv "$T/bin/service.new" "$T/bin/service" # put back, at once as a package manager does
is_armed 1
run 400
diff -u <(logged) <(counted) || fail "the counts of versions differ from the service's log"
want "how often each version was armed" "2 2 1" "$(for v in 1 2 3; do report armed "$(build_id "$T/version.$v")" | wc -l; done | paste -sd' ')"
want "the time of the version that is armed" "$(jq -r '.entries[] | select(.state == "same") | .since' "$T/report.json")" \
	"$(report armed "$(build_id "$T/version.1")" | sed -n 's/.* since //; $p')"
want "times of arming" 5 "$(grep '^armed' "$T/follow" | sed 's/.* since //' | sort -u | wc -l)"
[ -z "$(report armed "$(build_id "$T/version.1")" | grep -v 'since 2[0-9-]*T[0-9:]*Z')" ] || fail "an armed version has no time"

# The file is overwritten in place: its inode stays, so what was armed in it is disarmed first.
input=${OLD[1]}
exec {input}>&-
wait $old
cat "$T/version.3" >"$T/bin/service"
is_armed 3
grep -q "^disarmed .*overwritten in place" "$T/follow" || fail "the report of the overwritten file: $(cat "$T/follow")"
run 8
want "hits of the overwritten file" 8 "$(jq '.entries[] | select(.state == "same") | .hits' <<<"$(probe-enable --json --config "$T/config.yaml" --check)")"

# Killed, it leaves everything armed; the next one goes on with the same counts.
kill -KILL $follower
wait $follower 2>/dev/null
run 1
follow
wait_for 30 grep -q "^same .* 9 hits" "$T/follow"

# SIGHUP reads the file again; an invalid one changes nothing.
sed -i 's/svc:hit/svc:line/' "$T/config.yaml"
kill -HUP $follower
wait_for 30 grep -q "^armed .*svc:line" "$T/follow"
run 1
echo '  nonsense: [' >>"$T/config.yaml"
kill -HUP $follower
wait_for 30 grep -q "the configuration is as before" "$T/follow.err"
want "hits after an invalid file" 1 "$(probe-stat --json -s "$S" | jq '[.probes[] | select(.probe == "svc:line") | .hits] | add')"

# A build-id restricts what is armed, wherever the version is.
kill -TERM $follower
wait $follower
want "the status" 0 $?
want "what is armed after SIGTERM" "" "$(probe-list --sessions | grep -w "$S")"
mkdir "$T/bin/a" "$T/bin/b"
cat >"$T/config.yaml" <<E2
sessions:
  - session: $S
    arm:
      - probes: svc:hit
        file: $T/bin/*/service
        build-id: $(build_id "$T/version.2" | cut -c 1-16)
E2
cp "$T/version.1" "$T/bin/a/service"
follow
wait_for 30 grep -q "^waiting .*no program or library with the build-id" "$T/follow"
cp "$T/version.2" "$T/bin/b/service.new"
mv "$T/bin/b/service.new" "$T/bin/b/service"
is_armed 2
want "files with another build-id" 1 "$(probe-stat --json -s "$S" | jq '.probes | length')"
kill -TERM $follower
wait $follower

# A reader does not end with the only process, because the next one is armed in the same session.
cp "$T/version.1" "$T/bin/$S"
mkfifo "$T/lines"
"$T/bin/$S" <"$T/lines" >/dev/null & process=$!
exec {to}>"$T/lines"
runs $process "$T/bin/$S"
cat >"$T/config.yaml" <<E2
sessions:
  - session: $S
    arm:
      - probes: svc:hit
        process: $S
        record: true
E2
follow {to}>&-
wait_for 30 probe-stat -s "$S"
tracing "$T/traced" -s "$S" {to}>&-
echo 3 >&$to
exec {to}>&-
wait $process
sleep 2.5 # it looks every second whether all processes have ended
kill -INT $tracer || fail "the reader has ended: $(cat "$T/traced.err")"
wait $tracer
want_like "its account" "*: 3 recorded, 0 lost*" "$(cat "$T/traced.err")"
kill -TERM $follower
wait $follower
