#!/bin/bash
# SPDX-License-Identifier: MIT
# The kernel backend records at each site of generated programs the values that the program passed, for many options.
. tests/plugin/lib.sh
need_root
need readelf python3
probed 'f[0-9]*'
$GCC -std=gnu17 -Wall -Wextra -Werror -O1 "$SOURCES/gen.c" -o "$T/gen" || fail "gen.c does not build"
cd "$T" || exit 1

# traced SEED FUNCTIONS OPTION...
traced() {
	local seed=$1 count=$2
	shift 2
	{ ./gen "$seed" "$count" p 255 && compile $GCC -w "$@" "${with[@]}" p.c -o p; } >log 2>&1 || { cat log; fail "seed $seed, $*: does not build"; }
	probe-list p --json >list || fail "seed $seed, $*: probe-list"
	ASAN_OPTIONS=detect_leaks=0 probe-trace -q --json 'p:*' -- ./p >trace 2>log || { cat log; fail "seed $seed, $*: probe-trace"; }
	n=$(python3 "$SOURCES/compare.py" list trace p.expected 2>&1) || fail "seed $seed, $*: $n"
	total=$((total + n))
}
seed=${SEED:-$RANDOM} total=0
echo "seed $seed"
turn=$seed
while read -r flags; do
	[ "${PROBEPOINT_LONG-}" ] || [ $((turn++ % 2)) = 0 ] || continue # the short form has every second set of options
	traced $((seed++)) "${PROBEPOINT_LONG:+2}40" $flags
done <<'E'
-O0
-O1
-O2
-O3
-Os
-Og
-O2 -fPIC
-O2 -fPIE -pie
-O2 -static
-O0 -static
-O2 -flto
-O2 -flto -fno-fat-lto-objects
-O0 -flto
-O2 -ffunction-sections -Wl,--gc-sections
-O2 -g
-O0 -g3
-O2 -pg
-O1 -fsanitize=address
-O2 -fcf-protection=full
-O2 -fno-omit-frame-pointer
-O2 -masm=intel
-O3 -mno-red-zone -fstack-protector-all
-O2 -fprofile-generate
E
echo "$total values compared"
[ "$total" -gt 1500 ] || fail "few values"
