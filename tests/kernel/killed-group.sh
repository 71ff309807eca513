#!/bin/bash
# SPDX-License-Identifier: MIT
# kill -9 of the whole process group of a command that disarms, as shells do for jobs, leaves no trap in memory.
. tests/lib.sh
. tests/kernel/lib.sh
need_kernel
n=3000
tests/kernel/sites $n 1 >"$T/sites.s" && "$CC" "$T/sites.s" -o "$T/target" || fail "$n sites do not build"
converse "$T/target"
bytes_are() { [ "$(site_bytes $pid "$T/target")" = "$1" ]; }

# The command unlinks its pins, waits for grace periods of the kernel, and then closes the links, which takes some 50
# ms.
pins() { compgen -G "/sys/fs/bpf/probepoint/$S/*-0-*" >/dev/null; }
for delay in 0 0.01 0.02 0.03 0.04 0.05 0.06 0.08; do
	expect 0 probe-enable -q --yes -s $S -b kernel -p $pid gen:p0
	bytes_are "$n cc" || fail "not all sites have a trap: $(site_bytes $pid "$T/target")"
	pins || fail "no pins"
	setsid probe-disable -q -s $S & disable=$!
	while pins && [ -e /proc/$disable/exe ]; do :; done
	sleep $delay
	kill -KILL -- -$disable 2>/dev/null
	wait $disable 2>/dev/null
	no_session "$S" || probe-disable -q -s $S
	wait_for 60 bytes_are "$n 90"
done
exit 0
