/* SPDX-License-Identifier: MIT */
/*
 * The backends of the library, in the order in which "auto" prefers them. This object file defines nothing else, so a
 * test that defines `backends` and `nbackends` itself links its own list instead.
 */
#include "runtime/backend.h"

const struct backend *const backends[] = { &backend_agent, &backend_kernel };
const size_t nbackends = sizeof(backends) / sizeof(backends[0]);

_Static_assert(sizeof(backends) / sizeof(backends[0]) <= BACKENDS_MAX, "more backends than a session has room for");
