#!/bin/bash
# SPDX-License-Identifier: MIT
# Each example works, prints correct figures, stops when it should, and has the probes that its comment lists.
set -u
E=${B:-build}/examples
[ -x "$E/kv" ] || { echo "the examples are not built"; exit 77; }
T=$(mktemp -d) || exit 1
trap 'rm -rf "$T"' EXIT
failed=0

fail() {
	echo "FAIL: $*"
	failed=1
}

# probes FILE: prints provider:name of each note, without duplicates.
probes() {
	readelf -nW "$1" | awk '/Provider:/ { p = $NF } /^ *Name:/ { print p ":" $NF }' | sort -u | paste -sd' '
}

expect_probes() {
	local file=$1 probe has
	shift
	has=" $(probes "$file") "
	for probe in "$@"; do
		[[ $has == *" $probe "* ]] || fail "$file has no $probe"
	done
	[ "$(wc -w <<<"$has")" -eq $# ] || fail "$file has$has"
}

# wait_ready PID: waits until the process catches SIGTERM.
wait_ready() {
	local caught
	while caught=$(awk '/^SigCgt:/ { print $2 }' "/proc/$1/status") && [ -n "$caught" ]; do
		[ $((0x$caught >> 14 & 1)) -eq 1 ] && return
		sleep 0.05
	done
}

# figure NAME: prints the figure that the program printed for it.
figure() {
	awk -v name="$1" '$1 == name { print $2 }' "$T/out"
}

is() {
	[ "$2" = "$3" ] || fail "$1: $2, should be $3"
}

expect_probes "$E/kv" kv:request kv:get kv:set kv:del kv:reply
"$E/kv" -n 5000 -r 0 >"$T/out" || fail "kv: status $?"
is "kv requests" "$(figure requests)" 5000
is "kv sum" $(($(figure hits) + $(figure misses) + $(figure sets) + $(figure deletes) + $(figure errors))) 5000

"$E/kv" -l "$T/socket" >"$T/out" &
pid=$!
until [ -S "$T/socket" ] || ! kill -0 $pid; do
	sleep 0.05
done
if command -v python3 >/dev/null; then
	answers=$(python3 - "$T/socket" <<'EOF'
import socket, sys
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
f = s.makefile("rw")
for line in ("GET a", "SET a one two", "GET a", "DEL a", "DEL a", "GET a", "FOO a", "GET", "SET a"):
    f.write(line + "\n")
f.flush()
print(",".join(f.readline().strip() for _ in range(9)))
EOF
)
	is "kv answers" "$answers" "NONE,OK,OK one two,OK,NONE,NONE,WHAT,WHAT,WHAT"
	asked=9
else
	asked=0
fi
kill -TERM $pid
wait $pid || fail "kv -l: status $? after SIGTERM"
is "kv -l requests" "$(figure requests)" $asked
[ -e "$T/socket" ] && fail "kv -l does not remove its socket"

if [ ! -x "$E/weblog" ]; then
	echo "skipped: weblog and jobs need the plugin"
	exit $failed
fi

names=
for f in parse_line find_route account complain depth_of; do
	names+=" weblog:${f}__entry weblog:${f}__return"
done
expect_probes "$E/weblog" $names
"$E/weblog" -n 20000 -r 0 >"$T/out" || fail "weblog: status $?"
is "weblog lines" "$(figure lines)" 20000
is "weblog lookups" "$(figure lookups)" $((20000 - $(figure rejected)))
is "weblog route hits" "$(awk '$1 == "route" { n += $6 } END { print n }' "$T/out")" "$(figure accounted)"
is "weblog depths" "$(awk '$1 == "route" { n += $4 * $6 } END { print n }' "$T/out")" "$(figure depths)"
WEBLOG_VERBOSE=1 "$E/weblog" -n 20000 -r 0 2>&1 >"$T/out" | wc -l >"$T/complaints"
is "weblog complaints" "$(figure complaints)" "$(cat "$T/complaints")"

names="queue:submit queue:start queue:finish queue:full"
for f in run_pack run_check run_count; do
	names+=" jobs:${f}__entry jobs:${f}__return"
done
expect_probes "$E/jobs" $names
names=
for f in codec_pack codec_unpack codec_sum; do
	names+=" codec:${f}__entry codec:${f}__return"
done
expect_probes "$E/libcodec.so" $names
"$E/jobs" -n 5000 -r 0 -w 8 >"$T/out" || fail "jobs: status $?"
is "jobs done" "$(figure done)" 5000
is "jobs kinds" $(($(figure pack) + $(figure check) + $(figure count))) 5000
is "jobs packs" "$(figure codec_pack)" "$(figure pack)"
"$E/jobs" -n 5000 -r 0 -w 1 >"$T/one"
is "jobs: one worker and eight" "$(grep -v full "$T/one" | sort)" "$(grep -v full "$T/out" | sort)"

# Each ends at SIGTERM, or after -t SECONDS, and prints its figures.
for x in kv weblog jobs; do
	"$E/$x" >"$T/out.$x" &
	pid=$!
	wait_ready $pid
	sleep 0.1
	kill -TERM $pid
	wait $pid || fail "$x: status $? after SIGTERM"
	grep -Eq '^(requests|lines|done) [0-9]+$' "$T/out.$x" || fail "$x: prints no figures at the end"
	"$E/$x" -t 1 >"$T/out.$x" || fail "$x -t 1: status $?"
	"$E/$x" -z >/dev/null 2>&1
	[ $? -eq 2 ] || fail "$x -z: exit status is not 2"
done
exit $failed
