/* SPDX-License-Identifier: MIT */
#ifndef RUNTIME_AGENT_INPROC_ARM_H
#define RUNTIME_AGENT_INPROC_ARM_H

/*
 * Arms and disarms all sites as the attachments say, and sets the state of each point. For the agent's thread, with
 * agent.lock held.
 */
void sites_arm(void);

#endif
