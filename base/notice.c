/* SPDX-License-Identifier: MIT */
#include "base/notice.h"

#include <probepoint.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NOTICES_MAX 256 /* more are dropped until pp_notice() has returned some */

static _Thread_local char *notices[NOTICES_MAX];
static _Thread_local size_t nnotices;
static _Thread_local char *taken;

void notice_add(const char *format, ...)
{
	char *text = NULL;
	va_list args;
	bool known;

	va_start(args, format);
	known = vasprintf(&text, format, args) < 0 || nnotices == NOTICES_MAX;
	va_end(args);
	for (size_t i = 0; i < nnotices && !known; i++)
		known = !strcmp(notices[i], text);
	if (known)
		free(text);
	else
		notices[nnotices++] = text;
}

const char *pp_notice(void)
{
	free(taken);
	taken = NULL;
	if (!nnotices)
		return NULL;
	taken = notices[0];
	memmove(notices, notices + 1, --nnotices * sizeof(*notices));
	return taken;
}
