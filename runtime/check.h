/* SPDX-License-Identifier: MIT */
#ifndef RUNTIME_CHECK_H
#define RUNTIME_CHECK_H

struct pp_site;

/*
 * Whether a site may be armed at all, by what its file says: 0, or a negative errno
 * with a sentence. The file's copy decides, not memory, where somebody else's trap
 * may stand (Mavinakayanahalli, uprobes on powerpc, 2012).
 */
int check_site(const struct pp_site *site);

#endif
