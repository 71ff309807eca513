/* SPDX-License-Identifier: MIT */
#ifndef CMD_FORMAT_CHECK_H
#define CMD_FORMAT_CHECK_H

#include <probepoint.h>

#include "cmd/format.h"
#include "cmd/options.h"

/* Reports fields of a format (NULL: none) that no record of the session can have. Returns the exit status. */
enum status format_check(struct options *options, struct pp_session *session, const struct format *format);

#endif
