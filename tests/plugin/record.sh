#!/bin/bash
# SPDX-License-Identifier: MIT
# The record of a site survives its way through asm text, whatever the text contains; damaged texts are refused. The
# files under test do not depend on GCC's plugin headers, so the test is an ordinary program.
. tests/plugin/lib.sh
seed=${SEED:-$RANDOM} count=10000
[ -z "${PROBEPOINT_LONG-}" ] || count=1000000
echo "seed $seed"
$GXX -std=gnu++14 -O1 -g -fsanitize=address,undefined -fno-sanitize-recover -Wall -Wextra -Iinclude -I. \
	"$SOURCES/record.cc" plugin/record.cc plugin/site-code-x86_64.cc plugin/note-text.cc -o "$T/record" || fail "the test does not compile"
"$T/record" "$seed" "$count" >"$T/out" || { head -n 20 "$T/out"; fail "seed $seed: $(wc -l <"$T/out") failures"; }

# An asm statement of the program that begins as a site's does, with the number of no record.
probed '*'
echo 'int main(void) { __asm__ volatile("\t# site 123456"); __asm__ volatile("\t# site 0x"); return 0; }' >"$T/asm.c"
compile "$GCC" -O2 "${with[@]}" -S -o "$T/asm.s" "$T/asm.c" || fail "GCC does not compile asm statements that resemble sites"
[ "$(grep -c '# site 123456\|# site 0x' "$T/asm.s")" = 2 ] || fail "asm statements that resemble sites are changed"
