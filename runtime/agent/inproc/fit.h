/* SPDX-License-Identifier: MIT */
#ifndef RUNTIME_AGENT_INPROC_FIT_H
#define RUNTIME_AGENT_INPROC_FIT_H

/*
 * Unmaps rings that were never taken if the process has a limit of address space: the rings of a region then take an eighth of the
 * limit, or what they need. Threads that find no ring count in shared cells. The caller holds agent.lock.
 */
void regions_fit(void);

#endif
