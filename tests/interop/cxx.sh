#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Debian's libstdc++: exceptions that a running program throws, catches and rethrows are counted, and the thrown objects
# are those that the program caught.
. tests/lib.sh
need jq g++
need_root
library=$($CXX -print-file-name=libstdc++.so.6)
library=$(realpath "$library")
probe-list -q "$library" 2>/dev/null | grep -q libstdcxx:throw || skip "libstdc++ has no probes here"

cat >"$T/throw.cc" <<'E'
#include <cstdio>
#include <stdexcept>
#include <unistd.h>

static void wait_for_line()
{
	char c;

	fflush(stdout);
	while (read(0, &c, 1) == 1 && c != '\n')
		;
}

int main()
{
	wait_for_line();
	for (int i = 0; i < 1000; i++) {
		try {
			try {
				if (i % 2)
					throw i;
				throw std::runtime_error("even");
			} catch (std::exception &e) {
				printf("%ld\n", (long)&e);
				if (i % 4)
					throw;
			} catch (int &n) {
				printf("%ld\n", (long)&n);
				throw;
			}
		} catch (...) {
		}
	}
	wait_for_line();
	return 0;
}
E
expect 0 "$CXX" -O2 -o "$T/throw" "$T/throw.cc"
mkfifo "$T/in"
"$T/throw" <"$T/in" >"$T/out" &
pid=$!
exec 5>"$T/in"
wait_for 30 grep -q '^0 0x0 ' /proc/$pid/syscall
at_end "probe-disable -q -s $S 2>/dev/null"
probe-enable -q --json --record -s $S -p $pid 'libstdcxx:*' >"$T/report" || fail "arming ends with $?"
want "armed" '["libstdcxx:catch","libstdcxx:rethrow","libstdcxx:throw"]' "$(json '[.armed[].probe]' "$T/report")"
echo >&5
waiting() { [ "$(wc -l <"$T/out")" = 1000 ] && grep -q '^0 0x0 ' /proc/$pid/syscall; }
wait_for 30 waiting
probe-stat --json -s $S >"$T/stat"
# 1000 are thrown; the odd ones and half of the even ones are rethrown; each is caught at every level that it reaches
want "hits" '{"libstdcxx:catch":1750,"libstdcxx:rethrow":750,"libstdcxx:throw":1000}' \
	"$(json '[.probes[] | { key: .probe, value: .hits }] | from_entries' "$T/stat")"
probe-trace -q --json -s $S -n 3500 >"$T/events"
jq -r 'select(.probe == "libstdcxx:throw").args.arg0' "$T/events" >"$T/thrown"
diff "$T/out" "$T/thrown" >"$T/diff" || fail "objects differ: $(head -n 5 "$T/diff")"
expect 0 probe-disable -q -s $S
echo >&5
wait $pid || fail "the program ends with $?"
