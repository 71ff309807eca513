/* SPDX-License-Identifier: MIT */
#ifndef RUNTIME_AGENT_INPROC_ARM_H
#define RUNTIME_AGENT_INPROC_ARM_H

/*
 * Makes all sites what the attachments want, and writes to each point's state whether
 * it is armed. For the agent's thread, with agent.lock held.
 */
void sites_arm(void);

#endif
