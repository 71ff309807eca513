#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# A semaphore has 16 bits: sites above its maximum are refused, within a session and across sessions. A semaphore whose
# mapping is not writable is reported.
. tests/lib.sh
. tests/kernel/lib.sh
need_kernel
at_end "probe-disable -q -s $S 2>/dev/null; probe-disable -q -s ${S}b 2>/dev/null"

max=32767
sites=$((max + 233))
if [ "$slow" != 1 ] && ! multi_links; then
	# Each site has a uprobe of its own, which takes an emulated machine too long.
	sites=30
	part_skipped "more sites than a semaphore counts: this kernel needs a uprobe for each"
fi
armed=$((sites < max ? sites : max)) refused=$((sites > max ? sites - max : 0))
refused_status=$((refused ? 3 : 0)) reasons='[]'
[ $refused = 0 ] || reasons="[\"its semaphore counts at most $max armed sites, which are armed already\"]"

cat >"$T/many.s" <<A
	.section .probes,"aw",@progbits
	.globl semaphore
	.balign 2
semaphore: .2byte 0
	.text
	.globl hit
hit:
	.rept $sites
991:	nop
	.pushsection .note.stapsdt,"","note"
	.balign 4
	.4byte 8, 994f-993f, 3
	.asciz "stapsdt"
993:	.8byte 991b, 0, semaphore
	.asciz "s"
	.asciz "p"
	.asciz ""
994:	.balign 4
	.popsection
	.endr
	ret
	.section .note.GNU-stack,"",@progbits
A
cat >"$T/main.c" <<'C'
#include <stdio.h>
void hit(void);
extern volatile short semaphore;
int main(void)
{
	char line[16];
	while (fgets(line, sizeof(line), stdin)) {
		if (line[0] == 'h')
			hit();
		printf("%d\n", semaphore);
		fflush(stdout);
	}
	return 0;
}
C
"$CC" -O2 -no-pie "$T/main.c" "$T/many.s" -o "$T/many" || fail "does not build"
converse "$T/many"

# arm SESSION
arm() {
	expect $refused_status probe-enable --yes --json -s "$1" -p $pid s:p
	want "sites armed and refused, and why" "[$armed,$refused,$reasons]" \
		"$(json '[(.armed | map(.sites) | add), (.refused | length), (.refused | map(.reason) | unique)]' <<<"$out")"
}
arm $S
ask hit
want "the semaphore" $armed "$answer"
want "hits" $armed "$(count $S s:p)"
# another session: sites that are armed already count once
arm ${S}b
ask look
want "the semaphore, of two sessions" $armed "$answer"
expect 0 probe-disable -q -s $S
expect 0 probe-disable -q -s ${S}b
# An emulated machine may not have begun within the 20 s that probe-disable waits.
semaphore_is() { ask look; [ "$answer" = "$1" ]; }
[ "$slow" = 1 ] || wait_for 60 semaphore_is 0
ask look
want "the semaphore at the end" 0 "$answer"
exec {in}>&-
wait $pid || fail "the target ended with $?"

# a read-only mapping, in which the kernel does not raise a semaphore
cat >"$T/ro.c" <<'C'
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>
#define _SDT_HAS_SEMAPHORES 1
#include <sys/sdt.h>
#define PAGE 65536 /* the largest of any CPU */
__attribute__((aligned(PAGE), section(".probes"))) unsigned short ro_p_semaphore;
__attribute__((section(".probes"))) char rest[2 * PAGE - 2];
int main(void)
{
	char c;
	if (mprotect(&ro_p_semaphore, PAGE, PROT_READ))
		return 1;
	puts("ready");
	fflush(stdout);
	while (read(0, &c, 1) == 1)
		STAP_PROBE(ro, p);
	return 0;
}
C
"${PLUGIN_CC:-gcc}" -O2 -fno-toplevel-reorder -Iinclude "$T/ro.c" -o "$T/ro" || fail "does not build"
mkfifo "$T/in2"
"$T/ro" <"$T/in2" >"$T/out2" &
pid=$!
exec {in}>"$T/in2"
wait_for 10 grep -q ready "$T/out2"
expect 1 probe-enable -s $S -p $pid ro:p
want_like "read-only" "*the semaphore at file offset * is not raised: its mapping is not private and writable*" "$out"
gone $S
exec {in}>&-
wait $pid || fail "the target ended with $?"
