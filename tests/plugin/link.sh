#!/bin/bash
# SPDX-License-Identifier: MIT
# After linking, each site of live code has one note, dead code has none, and each signature is there once. C++ templates
# in two units.
. tests/plugin/lib.sh
need readelf nm
probed '*' provider=demo
cat >"$T/shared.h" <<'E'
#pragma once
struct shape {
	int w;
	explicit shape(int w) : w(w) {}
	virtual ~shape() {}
	virtual int area() const { return w * w; }
};
template <class T> T twice(T v) { return v + v; }
template <class T> struct box {
	T v;
	T get() const { return v; }
};
inline int shared(int n) { static int calls; return calls += n; }
static inline int copied(int n) { return n * 3; }
int other(int);
E
cat >"$T/a.cc" <<'E'
#include "shared.h"
int never_called(int n) { return n + 1; }
int main(int argc, char **) {
	shape s(argc);
	const shape *p = &s;
	return twice(argc) + (int)twice(2.5) + box<int>{ 3 }.get() + p->area() + shared(1) + copied(argc) + other(argc) == 24 ? 0 : 1;
}
E
cat >"$T/b.cc" <<'E'
#include "shared.h"
__attribute__((section(".text.mine"))) int dead_too(int n) { return n; }
int other(int n) { shape s(n); const shape *p = &s; return twice(n) + box<int>{ n }.get() + p->area() + shared(n) + copied(n); }
E

# Every site lies at its two nops, in the function that its probe is named after unless it is inlined.
check_sites() {
	local file=$1 what=$2 start end
	start=$(readelf -SW "$file" | awk '$2 == ".text" || $3 == ".text" { sub(/.*PROGBITS/, ""); print $1; exit }')
	readelf -nW "$file" | sed -n 's/.*Location: \(0x[0-9a-f]*\),.*/\1/p' >"$T/at"
	[ -s "$T/at" ] || fail "$what: no sites"
	sort "$T/at" | uniq -d | grep . && fail "$what: two notes for one site"
	while read -r at; do
		[ $((at)) -ge $((16#$start)) ] || fail "$what: a note points to $at, before .text"
	done <"$T/at"
	ppn "$file" 1 | sort | uniq -d | grep . && fail "$what: two equal signatures"
	# A dead function's signature may stay, because it belongs to all objects that have the function, not to a site.
	want=$(names "$file" | sed 's/__\(entry\|return\|unwind\)$//' | sort -u | wc -l)
	got=$(ppn "$file" 1 | cut -c1-16 | sort -u | wc -l)
	[ "$got" -ge "$want" ] && [ "$got" -le $((want + ${3:-0})) ] || fail "$what: $got signatures for $want functions"
}

linkers=bfd
have ld.lld && linkers="bfd lld" || part_skipped "lld is not installed"
option_sets <<E
-O0
-O2 -ffunction-sections
-O2 -flto
long -O2
long -O0 -fPIC
long -O0 -ffunction-sections -g
long -O0 -flto
E
for flags in "${sets[@]}"; do
	(cd "$T" && $GXX $flags "${with[@]}" -c a.cc b.cc) || fail "$flags: does not build"
	for ld in $linkers; do
		[[ $flags == *-flto* && $ld = lld ]] && continue # needs LLVM's own objects
		for gc in "" -Wl,--gc-sections; do
			what="$flags $ld $gc"
			$GXX ${flags/-g/} -fuse-ld=$ld $gc "$T/a.o" "$T/b.o" -o "$T/ab" || fail "$what: does not link"
			"$T/ab" || fail "$what: wrong result"
			check_sites "$T/ab" "$what" 2
			names "$T/ab" | grep -q demo:main__entry || fail "$what: main has no entry"
			if [ "$gc" ] && [[ $flags == *sections* ]]; then
				names "$T/ab" | grep -E 'never_called|dead_too' && fail "$what: a dead function's notes"
				nm "$T/ab" | grep -E 'never_called|dead_too' && fail "$what: notes keep a dead function"
			fi
		done
	done
	# The linker has kept one of the two units' copies of templates and inline functions.
	if [ "$flags" = -O0 ]; then
		want "entries of the shared functions" "box__get copied copied shape__area shared twice twice_2 " \
			"$(sites "$T/ab" | sed -n 's/^demo:\(.*\)__entry.*/\1/p' | grep -vE '^(main|other|shape__shape|shape_dtor|never|dead)' | sort | tr '\n' ' ')"
	fi
	# ld -r links the objects into one, which links into a program.
	if [[ $flags != *-flto* ]]; then
		ld -r "$T/a.o" "$T/b.o" -o "$T/r.o" || fail "$flags: ld -r"
		$GXX "$T/r.o" -o "$T/ab" && "$T/ab" || fail "$flags: the object of ld -r does not link"
		check_sites "$T/ab" "$flags, through ld -r"
	fi
done

# The cold part of a function has sites of its own, which the linker keeps or drops together with it.
cat >"$T/cold.c" <<'E'
#include <stdlib.h>
__attribute__((cold, noinline)) void gone(int n) { if (n > 1000) abort(); }
static inline __attribute__((always_inline)) int rare(int n) { gone(n); return n * 7; }
__attribute__((noinline)) int work(int n)
{
	if (__builtin_expect(n == 77, 0)) {
		gone(n);
		return rare(n) + rare(n + 1);
	}
	return n * 2;
}
int main(int argc, char **argv) { (void)argv; return work(argc) + work(77) != 2 + 77 * 7 + 78 * 7; }
E
$GCC -O2 -freorder-blocks-and-partition -ffunction-sections "${with[@]}" "$T/cold.c" -Wl,--gc-sections -o "$T/cold" || fail cold.c
"$T/cold" || fail "cold.c: wrong result"
check_sites "$T/cold" "cold.c"
nm "$T/cold" | grep -q 'work.*cold' || fail "cold.c has no cold part: the test is wrong"
from=$(nm "$T/cold" | awk '/work.cold/ { print $1; exit }')
readelf -nW "$T/cold" | awk '/Name: rare__entry/ { getline; print $2 }' | tr -d , >"$T/at"
in_cold=0
while read -r at; do [ $((at)) -ge $((16#$from)) ] && [ $((at)) -lt $((16#$from + 256)) ] && in_cold=$((in_cold + 1)); done <"$T/at"
[ "$in_cold" -ge 1 ] || fail "cold.c: no site in the cold part"

# The number of note sections depends on the number of code sections, not on that of the sites.
{
	for ((i = 0; i < 400; i++)); do echo "int f$i(int a) { return a + $i; }"; done
	echo "int main(void) { return 0; }"
} >"$T/many.c"
$GCC -O1 "${with[@]}" -c "$T/many.c" -o "$T/many.o" || fail many.c
want "sites of many.c" 802 "$(sites "$T/many.o" | wc -l)"
notes=$(readelf -SW "$T/many.o" | grep -c ' \.note\.stapsdt')
[ "$notes" -le 2 ] || fail "many.c: $notes sections of notes for its 2 sections of code"
