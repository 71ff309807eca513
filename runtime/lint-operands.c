/* SPDX-License-Identifier: MIT */
/*
 * Operands that other tools cannot read. The rules are those of the parsers of libbpf (usdt.c, also used by bpftrace from
 * 0.22 on), bcc (usdt_args.cc, also used by older bpftrace) and gdb (stap-probe.c, i386-tdep.c). They know these forms of
 * x86 operands:
 *
 *               %reg  $7  N(%reg)  N(%reg,%reg,4)      g(%rip)  -12+3(%rbp)  %ah  8f@...
 *     libbpf    yes   yes yes      from 1.7 on         no       no           no   no
 *     bcc       yes   yes yes      yes                 yes      no           no   no
 *     gdb       yes   yes yes      yes                 no       yes          yes  from 14 on
 */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "runtime/lint.h"
#include "sdt/operand.h"

#define OLD_ARGUMENTS_MAX 12 /* of libbpf and bcc */

struct operand_form {
	bool symbol, sum, index, high, is_float;
};

/* Finds the forms that readers disagree about. */
static struct operand_form operand_form(const char *text, size_t n)
{
	const char *end = text + n, *at = memchr(text, '@', n), *c = at ? at + 1 : text;
	const char *paren = memchr(c, '(', (size_t)(end - c)), *stop = paren ? paren : end;
	struct operand_form form = { .is_float = at && at > text && at[-1] == 'f' };
	size_t numbers = 0;

	if (c < end && *c == '$')
		return form;
	if (c < end && *c == '%') {
		form.high = end - c == 3 && c[2] == 'h' && strchr("abcd", c[1]);
		return form;
	}
	for (bool in_word = false; c < stop; c++) {
		bool word = isalnum((unsigned char)*c) || *c == '_' || *c == '.' || *c == '$';

		if (word && !in_word && isdigit((unsigned char)*c))
			numbers++;
		else if (word && !in_word)
			form.symbol = true;
		in_word = word;
	}
	form.sum = !form.symbol && numbers > 1;
	form.index = paren && memchr(paren, ',', (size_t)(end - paren));
	return form;
}

/* Writes which tools cannot read an operand. Returns false if all can. */
static bool operand_readers(const struct operand_form *form, char *text, size_t room)
{
	bool libbpf = !(form->symbol || form->sum || form->high), bcc = !(form->sum || form->high);
	bool gdb = !form->symbol;

	if (libbpf && bcc && gdb && !form->index)
		return false;
	snprintf(text, room, "%s%s%s%s%s", libbpf ? form->index ? "libbpf before 1.7" : "" : "libbpf and bpftrace",
	         (!libbpf || form->index) && !bcc ? ", " : "", bcc ? "" : "bcc",
	         (!libbpf || !bcc || form->index) && !gdb ? ", " : "", gdb ? "" : "gdb");
	return true;
}

static void lint_operand(struct lint *lint, const struct note *note, const char *text, size_t n)
{
	struct operand_form form = operand_form(text, n);
	char readers[96];

	if (form.is_float)
		lint_report(lint, note, "PP009",
		            "use the sys/sdt.h of probepoint, which writes the type into a note of its own",
		            "the operand %.*s has the tag f, for which gdb before 14, libbpf and bpftrace drop all "
		            "arguments of the probe",
		            (int)n, text);
	if (operand_readers(&form, readers, sizeof(readers)))
		lint_report(lint, note, "PP008", "pass a local variable, or use the sys/sdt.h of probepoint",
		            "the operand %.*s cannot be read by %s", (int)n, text, readers);
}

/* Reports the operands that we cannot read either, and returns how many there are. */
static size_t lint_unread(struct lint *lint, const struct note *note, const bool *readable, size_t n)
{
	const char *text = note->operands;
	size_t length, i = 0, unread = 0;

	for (text = operands_next(text, &length); text && i < n; text = operands_next(text + length, &length), i++) {
		if (readable[i])
			continue;
		unread++;
		lint_report(lint, note, "PP008", "pass a local variable, or use the sys/sdt.h of probepoint",
		            "the operand %.*s cannot be read by any tool", (int)length, text);
	}
	return unread;
}

void lint_operands(struct lint *lint, const struct note *note)
{
	struct operand operands[OPERANDS_MAX];
	bool readable[OPERANDS_MAX] = { false };
	const char *text;
	size_t nbad, length, i = 0;
	int n = operands_read(lint->image, note->operands, operands, &nbad);

	if (n < 0)
		return;
	if (n > OLD_ARGUMENTS_MAX)
		lint_report(lint, note, "PP014", "pass a pointer to a structure",
		            "it has %d arguments; libbpf, bpftrace and bcc read at most %d", n, OLD_ARGUMENTS_MAX);
	for (int k = 0; k < n; k++)
		readable[k] = operands[k].kind != OPERAND_NONE;
	if (nbad)
		lint_unread(lint, note, readable, (size_t)n);
	if (lint->image->machine != EM_X86_64 && lint->image->machine != EM_386)
		return;
	for (text = operands_next(note->operands, &length); text && i < (size_t)n;
	     text = operands_next(text + length, &length), i++)
		if (readable[i])
			lint_operand(lint, note, text, length);
}
