/* SPDX-License-Identifier: MIT */
#include "base/error.h"

#include <errno.h>
#include <probepoint.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static _Thread_local char message[1024];

const char *pp_error(void)
{
	return message;
}

const char *pp_version(void)
{
	return PP_VERSION;
}

int error_set(int code, const char *format, ...)
{
	char text[sizeof(message)]; /* arguments may point into the previous message */
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	memcpy(message, text, sizeof(message));
	return -code;
}

int error_nomem(void)
{
	return error_set(ENOMEM, "out of memory");
}

char *error_format(const char *format, ...)
{
	char *text = NULL;
	va_list args;

	va_start(args, format);
	if (vasprintf(&text, format, args) < 0)
		text = NULL;
	va_end(args);
	return text;
}
