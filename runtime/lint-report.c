/* SPDX-License-Identifier: MIT */
#include <probepoint.h>
#include <stdarg.h>
#include <stdio.h>

#include "runtime/lint.h"

void lint_report(struct lint *lint, const struct note *note, const char *code, const char *advice, const char *reason,
                 ...)
{
	struct pp_finding finding = { .code = code, .advice = advice };
	char text[1024];
	va_list args;

	if (lint->stopped)
		return;
	va_start(args, reason);
	vsnprintf(text, sizeof(text), reason, args);
	va_end(args);
	finding.reason = text;
	if (note) {
		finding.provider = note->provider;
		finding.name = note->name;
		finding.address = lint_address(lint, note, note->location);
	}
	lint->stopped = lint->fn(&finding, lint->arg);
}

uint64_t lint_address(const struct lint *lint, const struct note *note, uint64_t address)
{
	uint64_t moved = lint->base && note->base ? lint->base - note->base : 0;

	return (address + moved) & (lint->file->is_64 ? UINT64_MAX : UINT32_MAX);
}
