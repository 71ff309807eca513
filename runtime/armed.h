/* SPDX-License-Identifier: MIT */
#ifndef RUNTIME_ARMED_H
#define RUNTIME_ARMED_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct pp_armed;

/*
 * Like pp_armed_read(), but omits the session with the name `without`, whose lock the caller holds (NULL: omits none).
 * If `without` is not NULL, also omits sessions that another command has locked. Returns 0, or a negative errno with an
 * error message.
 */
int armed_read(struct pp_armed **armed, const char *without);

/* Returns whether a session has armed the point. */
bool armed_has(struct pp_armed *armed, dev_t device, ino_t inode, uint64_t offset);

#endif
