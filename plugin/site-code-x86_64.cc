// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * The code of a site on x86-64: 90, and 66 2e 0f 1f 84 00 00 00 00 00, as in <sys/sdt.h>. They are written as characters,
 * which the assembler reads in a third of the time. The alignment fills with prefixes of the nop that follows, so that no
 * nop of its own stands before a site.
 */
#include "record.h"

const char SITE_ALIGN[] = "\t.p2align 3,0x66,2\n";
const char SITE_NOPS[] = ":\t.ascii \"\\220f.\\017\\037\\204\\0\\0\\0\\0\\0\"\n";
