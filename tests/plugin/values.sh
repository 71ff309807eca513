#!/bin/bash
# SPDX-License-Identifier: MIT
# gdb reads at each site of generated programs the values that the program passed.
. tests/plugin/lib.sh
need gdb readelf
probed 'f[0-9]*'
$GCC -std=gnu17 -Wall -Wextra -Werror -O1 "$SOURCES/gen.c" -o "$T/gen" || fail "gen.c does not build"

# One program: values SEED FUNCTIONS OPTION...
values() {
	local seed=$1 count=$2
	shift 2
	[ "$slow" = 1 ] || count=10
	(cd "$T" && ./gen "$seed" "$count" p && compile $GCC -w "$@" "${with[@]}" p.c -o p) >"$T/log" 2>&1 || {
		cat "$T/log"
		fail "seed $seed, $*: does not build"
	}
	(cd "$T" && ASAN_OPTIONS=detect_leaks=0 gdb -q -nx -batch -x p.gdb ./p) >"$T/out" 2>"$T/err" </dev/null
	grep '^f[0-9]*__' "$T/out" >"$T/got"
	same_in_gdb "$T/p.expected" "$T/got" || {
		diff "$T/p.expected" "$T/got" | head -n 10
		head -n 3 "$T/err"
		fail "seed $seed, $*: gdb read something else"
	}
	unknown_operands "$T/p" && fail "seed $seed, $*: operands that some reader cannot read"
	lines=$((lines + $(wc -l <"$T/got")))
	return 0
}

n=0 lines=0 long=${PROBEPOINT_LONG-}
seed=${SEED:-$RANDOM}
echo "seed $seed"
# The short form takes every second level and every sixth of the other sets; the seed selects the first.
for flags in -O0 -O1 -O2 -O3 -Os "-Og -g $COMPARE"; do
	[ "$long" ] || [ $((n++ % 2)) = $((seed % 2)) ] || continue
	values "$seed" "${long:+3}60" $flags
done
while read -r flags; do
	[ "$long" ] || [ $((n++ % 6)) = $((seed % 6)) ] || continue
	values $((seed + 1)) "${long:+1}50" $flags
done <<E
$DISTRIBUTION
-O2 -fPIC
-O2 -flto
-O2 -flto -fno-fat-lto-objects -fPIE -pie
-O2 -flto -ffat-lto-objects
-O2 -static
-O2 -ffunction-sections -Wl,--gc-sections
-O2 -g3
-O2 -pg
-O1 -fsanitize=address
-O2 -fsanitize=thread
-O1 -fsanitize=undefined
-O2 -fcf-protection=full -fno-omit-frame-pointer
-O2 -masm=intel
-O0 -masm=intel
-O3 -mno-red-zone -fstack-protector-all
-O2 -fprofile-generate
-O2 -fnon-call-exceptions -ftrapv
-O3 -funroll-all-loops -ftracer -fno-tree-ter
-O1 -foptimize-sibling-calls -fno-inline
E
echo "$lines hits compared"

# i386: values of two words are in memory, because readers do not know pairs of registers.
cat >"$T/two.c" <<'E'
__attribute__((noipa)) double half(double d, long long n, int i) { return d / n * i; }
int main(void) { return half(-3, -5000000000, -7) > 0; }
E
if echo 'int main(void) { return 0; }' | $GCC -m32 -x c -o "$T/empty" - 2>/dev/null && "$T/empty"; then
	probed half
	compile $GCC -m32 -O2 "${with[@]}" "$T/two.c" -o "$T/two" && "$T/two" || fail "-m32: does not build or run"
	gdb -q -nx -batch -ex 'break -probe-stap two:half__entry' -ex run \
		-ex 'printf "values %llu %lld %d\n", $_probe_arg0, $_probe_arg1, $_probe_arg2' "$T/two" >"$T/out" 2>&1 </dev/null
	want "-m32: bits of -3.0, and two integers" "values 13837309855095848960 -5000000000 -7" "$(grep ^values "$T/out")"
	# The link of LTO may run without the plugin, so values of two words have no operand.
	compile $GCC -m32 -O2 -flto "${with[@]}" -c "$T/two.c" -o "$T/two.o" && $GCC -m32 -O2 -flto "$T/two.o" -o "$T/two" && "$T/two" ||
		fail "-m32 -flto: does not build or run"
	want "-m32 -flto: operands" two:half__entry "$(sites "$T/two" | grep half__entry)"
else
	part_skipped "i386: $GCC -m32 makes no programs that run here"
fi
