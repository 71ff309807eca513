/* SPDX-License-Identifier: MIT */
#include "cmd/list-check.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "cmd/alloc.h"
#include "cmd/escape.h"
#include "cmd/images.h"
#include "cmd/options.h"
#include "cmd/ui.h"

struct check {
	struct options *options;
	const struct images_entry *entry;
	const char *const *patterns;
	size_t n;
	size_t found;
};

/* Returns "PROVIDER:NAME", "" if the fault is not of a probe. The caller frees it. */
static char *finding_probe(const struct pp_finding *finding)
{
	return finding->provider ? xasprintf("%s:%s", finding->provider, finding->name) : xstrdup("");
}

static bool check_wants(const struct check *check, const char *probe)
{
	for (size_t i = 0; i < check->n; i++)
		if (pp_name_matches(probe, check->patterns[i]))
			return true;
	return !check->n;
}

static void put_finding(const struct check *check, const struct pp_finding *finding, const char *probe)
{
	escape_put(stdout, check->entry->name);
	printf(": %s ", finding->code);
	if (*probe) {
		escape_put(stdout, probe);
		printf(" at 0x%" PRIx64 ": ", finding->address);
	}
	escape_put(stdout, finding->reason);
	fputs("; ", stdout);
	escape_put(stdout, finding->advice);
	putchar('\n');
}

static void put_finding_json(const struct check *check, const struct pp_finding *finding, const char *probe)
{
	json_object *object = json_new_object();

	if (check->found)
		putchar(',');
	json_add_text(object, "code", finding->code);
	json_add_text(object, "file", check->entry->name);
	json_add_text(object, "probe", *probe ? probe : NULL);
	json_add_uint(object, "address", finding->address);
	json_add_text(object, "reason", finding->reason);
	json_add_text(object, "advice", finding->advice);
	json_print(stdout, object);
}

static int check_take(const struct pp_finding *finding, void *arg)
{
	struct check *check = arg;
	char *probe = finding_probe(finding);

	if (check_wants(check, probe)) {
		if (check->options->json)
			put_finding_json(check, finding, probe);
		else
			put_finding(check, finding, probe);
		check->found++;
	}
	free(probe);
	return 0;
}

enum status list_check_images(struct options *options, const struct images *images, const char *const *patterns,
                              size_t n)
{
	struct check check = { .options = options, .patterns = patterns, .n = n };
	bool failed = images->failed;

	if (options->json)
		fputs("{\"findings\":[", stdout);
	for (size_t i = 0; i < images->n; i++) {
		check.entry = &images->entry[i];
		if (!pp_image_check(pp_image_path(check.entry->image), check_take, &check))
			continue;
		ui_error(options, "%s", pp_error());
		failed = true;
	}
	if (options->json) {
		putchar(']');
		ui_print_error_key(options, stdout);
		puts("}");
	} else if (!check.found && images->n && !failed) {
		ui_info(options, "no faults found in %zu file%s", images->n, ui_plural(images->n));
	}
	if (!images->n)
		return STATUS_FAILED;
	return check.found || failed ? STATUS_PART : STATUS_DONE;
}
