/* SPDX-License-Identifier: MIT */
#ifndef CMD_LIST_CHECK_H
#define CMD_LIST_CHECK_H

#include "cmd/status.h"

#include <stddef.h>

struct images;
struct options;

/*
 * probe-list --check: prints the faults of the probes of the images that match one of n patterns (0: all). Returns
 * STATUS_PART if there are any.
 */
enum status list_check_images(struct options *options, const struct images *images, const char *const *patterns,
                              size_t n);

#endif
