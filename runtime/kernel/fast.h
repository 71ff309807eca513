/* SPDX-License-Identifier: MIT */
/* Points that are armed at the second instruction of their site, which kernels after 6.18 replace by a call. */
#ifndef RUNTIME_KERNEL_FAST_H
#define RUNTIME_KERNEL_FAST_H

#include <stddef.h>

struct arm_point;

/*
 * Clears `fast` of the points that must be armed at the first byte of their site, and adds the reason as a remark. Points
 * of one image and process are adjacent. Returns 0 or -ENOMEM.
 */
int fast_choose(struct arm_point *const *points, size_t npoints);

#endif
