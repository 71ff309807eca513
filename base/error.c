/* SPDX-License-Identifier: MIT */
#include "base/error.h"

#include <probepoint.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static _Thread_local char sentence[1024];

const char *pp_error(void)
{
	return sentence;
}

const char *pp_version(void)
{
	return PP_VERSION;
}

int error_set(int code, const char *format, ...)
{
	char text[sizeof(sentence)]; /* an argument may be the sentence before */
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	memcpy(sentence, text, sizeof(sentence));
	return -code;
}

char *error_sentence(const char *format, ...)
{
	char *text = NULL;
	va_list args;

	va_start(args, format);
	if (vasprintf(&text, format, args) < 0)
		text = NULL;
	va_end(args);
	return text;
}
