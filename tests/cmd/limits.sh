#!/bin/bash
# SPDX-License-Identifier: MIT
# A command that has too few file descriptors fails with a reason. It must not treat a session as incomplete and remove
# it, a process as ended, or a site as not armed.
. tests/lib.sh
. tests/kernel/lib.sh
need_kernel
build_hits
at_end "probe-disable -q -s $S 2>/dev/null"
start a
expect 0 probe-enable -q --record -s $S -p $a k:one 'func:getpid%return'
expect 0 probe-enable -q -s $S -f "$T/hits" k:two
expect 0 probe-enable -q -s $S --for 1h -p $a k:three
tell a "run 1 10"
state() { probe-stat --json -s $S | jq -c '[.probes[] | [.probe, .pid, .sites, .hits, .entries, .state]]'; }
limited() { (ulimit -n $n && exec "$@") >"$T/out" 2>"$T/err"; }
wanted=$(state)
failures=0
for n in 5 6 9 10 11 12 14 16 18 20 32; do
	for command in "probe-stat --json -s $S" "probe-list --json --sessions" "probe-list --json -p $a" "probe-disable -s $S -p 1"; do
		if limited $command; then
			case $command in
			probe-stat*) want "$n: $command" "$wanted" \
				"$(jq -c '[.probes[] | [.probe, .pid, .sites, .hits, .entries, .state]]' "$T/out")" ;;
			*--sessions) want "$n: $command" live "$(jq -r ".sessions[] | select(.session == \"$S\").state" "$T/out")" ;;
			*) want "$n: $command" "[[\"$S\"]]" "$(jq -c '[.probes[] | select(.name == "one").sites[].armed]' "$T/out")" ;;
			esac
		else
			[ $? != 127 ] || fail "$n: $command is not found"
			failures=$((failures + 1))
		fi
		want "the session after $command with $n descriptors" "$wanted" "$(state)"
	done
done
[ $failures -gt 10 ] || fail "only $failures commands failed: the limits are too high for this test"
