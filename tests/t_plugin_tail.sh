#!/bin/bash
# SPDX-License-Identifier: MIT
# Tail calls stay tail calls: recursion three million deep lives where it lives without the plugin.
. tests/plugin/lib.sh
need readelf
probed '*'
ulimit -s 8192

check() {
	local what="$*"
	$GCC "$@" "$SOURCES/tail.c" -o "$T/plain" && "$T/plain" >"$T/plain.out" ||
		fail "$what: dies without the plugin too; the test is wrong"
	$GCC "$@" "${with[@]}" "$SOURCES/tail.c" -o "$T/tail" || fail "$what: does not build"
	"$T/tail" >"$T/tail.out" || fail "$what: ended with $?"
	cmp "$T/plain.out" "$T/tail.out" || fail "$what: other results"
	for name in walk even odd sum sum_after product up down visit visit_other halve count machine main; do
		names "$T/tail" | grep -qx "tail:${name}__entry" || fail "$what: no entry of $name"
		names "$T/tail" | grep -qx "tail:${name}__return" || fail "$what: no return of $name"
	done
}
for flags in -O2 -O3 -Os "-O1 -foptimize-sibling-calls" "-O2 -fPIC -g" "-O2 -flto" "-O2 -fno-inline" \
	"-O2 -fno-early-inlining -fno-ipa-sra"; do
	check $flags
done

# LTO's link may know nothing of the plugin.
$GCC -O2 -flto -c "${with[@]}" "$SOURCES/tail.c" -o "$T/tail.o" && $GCC -O2 -flto "$T/tail.o" -o "$T/tail" ||
	fail "lto: does not build"
"$T/tail" >"$T/tail.out" || fail "lto, linked without the plugin: ended with $?"

# Every call counts: gdb's hits of the sites are the calls made. 1000 deep, 1001 calls; a value at the last alone.
cat >"$T/few.c" <<'E'
__attribute__((noipa)) long walk(long n, long acc) { return n ? walk(n - 1, acc + n) : acc; }
int main(void) { return walk(1000, 0) != 500500; }
E
$GCC -O2 "${with[@]}" "$T/few.c" -o "$T/few" || fail "few.c"
if have gdb; then
	gdb -q -nx -batch -ex 'set pagination off' -ex 'break -probe-stap few:walk__entry' \
		-ex 'break -probe-stap few:walk__return' -ex 'ignore 1 100000' -ex 'ignore 2 100000' -ex run \
		-ex 'info breakpoints' "$T/few" >"$T/out" 2>&1
	want "hits of entry and return" "1001 1001" \
		"$(sed -n 's/.*breakpoint already hit \([0-9]*\) times.*/\1/p' "$T/out" | tr '\n' ' ' | sed 's/ $//')"
else
	part_skipped "hits are not counted: gdb is not installed"
fi
# The site before the tail call has no value, and is flagged (type 2, flags 1).
want "sites with and without a value" "$(printf 'few:walk__return\nfew:walk__return -8@')" \
	"$(sites "$T/few" | grep walk__return | sed 's/@.*/@/' | sort)"
ppn "$T/few" 2 | grep -q '01000000$' || fail "no note of a site flagged tail"

# A value is kept where the call cannot be a tail call: its argument points to a variable of the caller.
cat >"$T/kept.c" <<'E'
__attribute__((noipa)) int get(int *p) { return *p; }
__attribute__((noipa)) int kept(int x) { int y = x; return get(&y); }
__attribute__((noipa)) int moved(int *x) { return get(x); }
int main(void) { int x = 1; return kept(1) - moved(&x); }
E
$GCC -O2 "${with[@]}" "$T/kept.c" -o "$T/kept" || fail "kept.c"
want "value kept" "kept:kept__return -4@%eax" "$(sites "$T/kept" | grep :kept__return)"
want "value given up" "kept:moved__return" "$(sites "$T/kept" | grep :moved__return)"
