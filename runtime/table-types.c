/* SPDX-License-Identifier: MIT */
#include "runtime/table-types.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/order.h"

/* Returns the kind that stands for all kinds whose keys have one meaning. */
static enum pp_kind kind_of(const struct manifest_part *part)
{
	return part->kind == PP_BOOL || part->kind == PP_CHAR ? PP_SIGNED : part->kind;
}

static int part_compare(const struct table_types *x, const struct table_types *y, uint32_t i)
{
	const struct manifest_part *a = &x->aggregate->parts[i], *b = &y->aggregate->parts[i];
	int by = 0;

	ORDER(kind_of(a), kind_of(b));
	ORDER(a->nnames, b->nnames);
	for (uint32_t n = 0; !by && n < a->nnames; n++) {
		const struct manifest_name *k = &manifest_names(x->manifest)[a->names + n];
		const struct manifest_name *l = &manifest_names(y->manifest)[b->names + n];

		ORDER(k->value, l->value);
		by = strcmp(manifest_string(x->manifest, k->name), manifest_string(y->manifest, l->name));
	}
	return by;
}

static int column_compare(const struct table_types *x, const struct table_types *y, uint32_t i)
{
	return memcmp(&x->aggregate->columns[i], &y->aggregate->columns[i], sizeof(x->aggregate->columns[i]));
}

int table_types_compare(const struct table_types *x, const struct table_types *y)
{
	int by = 0;

	ORDER(x->aggregate->nparts, y->aggregate->nparts);
	ORDER(x->aggregate->ncolumns, y->aggregate->ncolumns);
	for (uint32_t i = 0; !by && i < x->aggregate->nparts; i++)
		by = part_compare(x, y, i);
	for (uint32_t i = 0; !by && i < x->aggregate->ncolumns; i++)
		by = column_compare(x, y, i);
	return by;
}

uint32_t table_types_differ(const struct table_types *x, const struct table_types *y)
{
	uint32_t which = 0;

	for (uint32_t i = 0; i < x->aggregate->nparts && i < y->aggregate->nparts; i++)
		if (part_compare(x, y, i))
			which |= 1u << i;
	for (uint32_t i = 0; i < x->aggregate->ncolumns && i < y->aggregate->ncolumns; i++)
		if (column_compare(x, y, i))
			which |= 1u << (AGG_PARTS_MAX + i);
	return which;
}

static void part_print(FILE *out, const struct manifest *m, const struct manifest_part *part)
{
	static const char *const names[] = { [PP_SIGNED] = "signed",
		                             [PP_UNSIGNED] = "unsigned",
		                             [PP_POINTER] = "pointer",
		                             [PP_STRING] = "string",
		                             [PP_STACK] = "stack" };
	const enum pp_kind kind = kind_of(part);

	fprintf(out, "%s ", manifest_string(m, part->text));
	if (part->nnames) {
		for (uint32_t i = 0; i < part->nnames; i++)
			fprintf(out, "%s%s", i ? ", " : "enum {",
			        manifest_string(m, manifest_names(m)[part->names + i].name));
		putc('}', out);
	} else {
		fputs(kind < sizeof(names) / sizeof(*names) && names[kind] ? names[kind] : "other", out);
	}
}

/* Prints the first call that uses the column, and the type of its values. */
static void column_print(FILE *out, const struct table_types *t, uint32_t column)
{
	for (uint32_t i = 0; i < t->aggregate->ncalls; i++)
		if (t->aggregate->calls[i].column == column) {
			fprintf(out, "%s %s", manifest_string(t->manifest, t->aggregate->calls[i].text),
			        t->aggregate->columns[column].is_unsigned ? "unsigned" : "signed");
			return;
		}
}

char *table_types_text(const struct table_types *t, uint32_t which)
{
	char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);
	bool failed;

	for (uint32_t i = 0; out && i < AGG_PARTS_MAX + AGG_COLUMNS_MAX; i++) {
		if (!(which & 1u << i))
			continue;
		fputs(which & ((1u << i) - 1) ? ", " : "", out);
		if (i < AGG_PARTS_MAX)
			part_print(out, t->manifest, &t->aggregate->parts[i]);
		else
			column_print(out, t, i - AGG_PARTS_MAX);
	}
	failed = !out || ferror(out);
	if (out && fclose(out))
		failed = true;
	if (!failed)
		return text;
	free(text);
	error_nomem();
	return NULL;
}
