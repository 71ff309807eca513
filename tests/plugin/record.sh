#!/bin/bash
# SPDX-License-Identifier: MIT
# The record of a site survives its way through asm text, whatever the text contains; damaged texts are refused. The
# files under test do not depend on GCC's plugin headers, so the test is an ordinary program.
. tests/plugin/lib.sh
seed=${SEED:-$RANDOM} count=4000 level=-O0
[ -z "${PROBEPOINT_LONG-}" ] || count=1000000 level=-O1
echo "seed $seed"
$GXX -std=gnu++14 $level -g -fsanitize=address,undefined -fno-sanitize-recover -Wall -Wextra -Iinclude -I. \
	"$SOURCES/record.cc" plugin/record.cc plugin/site-code-x86_64.cc plugin/note-text.cc -o "$T/record" || fail "the test does not compile"
"$T/record" "$seed" "$count" >"$T/out" || { head -n 20 "$T/out"; fail "seed $seed: $(wc -l <"$T/out") failures"; }

# Asm statements of the program that begin as a site's does: with the numbers of records, and with numbers of none.
probed '*'
echo 'static inline __attribute__((always_inline)) int g(int n) { __asm__ volatile("\t# site 0"); return n; }
int f(int n) { __asm__ volatile("\t# site 1"); __asm__ volatile("\t# site 2"); return g(n); }
int main(void) { __asm__ volatile("\t# site 123456"); __asm__ volatile("\t# site 0x"); return f(0); }' >"$T/asm.c"
for flags in -O0 -O2 "-O2 -flto"; do
	compile "$GCC" $flags "${with[@]}" -save-temps=obj -o "$T/asm" "$T/asm.c" || fail "GCC does not compile asm statements that resemble sites"
	want "$flags: sites" 6 "$(sites "$T/asm" | sed 's/ .*//' | sort -u | wc -l)"
	want "$flags: asm statements of the program" "0 0x 1 123456 2" \
		"$(cat "$T"/asm*.s | sed -n 's/^[[:space:]]*# site //p' | sort -u | tr '\n' ' ' | sed 's/ $//')"
done
