/* SPDX-License-Identifier: MIT */
/* The library that tests/agent/tally.c loads. */
#include <sys/probe.h>

PROBE_DECLARE(tally, lib, (long who, long value), (who, value));

void in_library(long who, long value)
{
	lib(who, value);
}
