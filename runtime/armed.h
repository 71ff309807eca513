/* SPDX-License-Identifier: MIT */
#ifndef RUNTIME_ARMED_H
#define RUNTIME_ARMED_H

struct pp_armed;

/*
 * As pp_armed_read(), without the session of this name, whose lock the caller holds (NULL: with all). Leaves out sessions
 * that another command is working on.
 */
int armed_read(struct pp_armed **armed, const char *without);

#endif
