#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# CAP_BPF and CAP_PERFMON are sufficient for any user on Linux 6.6 and later; older kernels need CAP_SYS_ADMIN, too. Without
# them, the error message names what is missing.
. tests/lib.sh
need_root
need jq

all=-all,+bpf,+perfmon
caps() { setpriv --reuid=65534 --regid=65534 --clear-groups --inh-caps=$all --ambient-caps=$all --bounding-set=$all "$@"; }
build_once "$T/forks" "$CC" -Iinclude -O2 tests/kernel/forks.c || fail "does not compile"
for_others
PATH=$T/product/bin:$PATH
at_end "caps probe-disable -q -s $S 2>/dev/null; rmdir /sys/fs/bpf/probepoint-65534 2>/dev/null"
mkfifo "$T/go"

setpriv --reuid=65534 --regid=65534 --clear-groups "$T/forks" <"$T/go" &
pid=$!
exec {go}>"$T/go"
runs "$pid" "$T/forks"
expect 1 nobody probe-enable -s "$S" -p "$pid" 'forks:*'
want_like "without any" '*CAP_BPF and CAP_PERFMON*' "$out"
if [ "${PROBEPOINT_NO_UPROBE_MULTI-}" ] || [ "$(printf '6.6\n%s\n' "$(uname -r)" | sort -V | head -n 1)" != 6.6 ]; then
	# Some of these kernels accept CAP_PERFMON.
	if ! caps probe-enable -s "$S" -p "$pid" 'forks:*' >"$T/said" 2>&1; then
		want_like "without CAP_SYS_ADMIN" '*run as root or with CAP_SYS_ADMIN*' "$(cat "$T/said")"
		all+=,+sys_admin
	fi
	caps probe-disable -q -s "$S" 2>"$T/said"
fi
expect 0 caps probe-enable --json -s "$S" -p "$pid" 'forks:*'
want "verified in a process of the user" true "$(jq '.armed[0].verified' <<<"$out")"
echo >&$go
exec {go}>&-
wait "$pid"
want "hits" 15 "$(caps probe-stat -s "$S" --json | jq '[.probes[].hits] | add')"
want "sessions of root" "" "$(probe-list --sessions 2>/dev/null | grep -w "$S")"
expect 0 caps probe-disable -s "$S"

# a process of another user can be armed, but not verified
"$T/forks" <"$T/go" &
pid=$!
exec {go}>"$T/go"
runs "$pid" "$T/forks"
caps probe-enable --json -s "$S" -f "$T/forks" 'forks:*' >"$T/report"
want "not verified" '[[],true]' "$(jq -c '[[.armed[] | select(.verified)], .refused == []]' "$T/report")"
want "the reason" true "$(jq 'all(.armed[]; .reason | test("not verified: .*(could not be inspected|cannot read the process)"))' "$T/report")"
echo >&$go
exec {go}>&-
wait "$pid"
want "hits of another user's process and its children" 1115 "$(caps probe-stat -s "$S" --json | jq '[.probes[].hits] | add')"
expect 0 caps probe-disable -s "$S"
exit 0
