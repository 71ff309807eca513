// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * The code of a site on aarch64: one nop, as in <sys/sdt.h>. The kernel replaces it with a breakpoint, and the agent with a
 * branch. All instructions are aligned to four bytes, so one store changes the whole site.
 */
#include "record.h"

const char SITE_ALIGN[] = "";
const char SITE_NOPS[] = ":\tnop\n";
