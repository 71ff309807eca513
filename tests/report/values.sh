#!/bin/bash
# SPDX-License-Identifier: MIT
# The least and the largest value of an argument are those of the program, up to the last digit, and NaN does not hide them.
. tests/lib.sh
need babeltrace2 jq
need_root
[ -x "$B/bin/probe-report" ] || skip "probe-report is not built"

cat >"$T/values.cc" <<'C'
#include <limits.h>
#include <math.h>
#include <sys/sdt.h>

int main()
{
	const long large[] = { LONG_MAX - 1, 0, LONG_MIN + 1, -3 };
	const double real[] = { NAN, 0.1, NAN, -2.5 };

	for (int i = 0; i < 4; i++) {
		STAP_PROBE4(app, values, large[i], (unsigned long)large[i], real[i], (double)NAN);
	}
	return 0;
}
C
"${CXX:-g++}" -O1 -Iinclude "$T/values.cc" -o "$T/values" || fail "the target does not build"
expect 0 probe-trace -q -b kernel -o "$T/trace" app:values -- "$T/values"
expect 0 probe-report --json "$T/trace"
# jq rounds large numbers, so the text is compared
want "the first argument" '"min":-9223372036854775807,"max":9223372036854775806,' "$(grep -o '"min":[^,]*,"max":[^,]*,' <<<"$out" | sed -n 1p)"
want "the second argument" '"min":0,"max":18446744073709551613,' "$(grep -o '"min":[^,]*,"max":[^,]*,' <<<"$out" | sed -n 2p)"
want "the third argument" '"min":-2.5,"max":0.1,' "$(grep -o '"min":[^,]*,"max":[^,]*,' <<<"$out" | sed -n 3p)"
want "the fourth argument" '"min":"nan","max":"nan",' "$(grep -o '"min":[^,]*,"max":[^,]*,' <<<"$out" | sed -n 4p)"
expect 0 probe-report "$T/trace"
want_like "the text" "*arg0: -9223372036854775807 to 9223372036854775806, average*arg1: 0 to 18446744073709551613, average*arg2: -2.5 to 0.1, average nan*arg3: nan to nan, average nan*" "$out"
