/* SPDX-License-Identifier: MIT */
#include "cmd/sample.h"

void sample_put(FILE *out, const struct sampling *sample)
{
	if (sample_is_all(sample))
		return;
	fputs("  sampled", out);
	if (sample->every > 1)
		fprintf(out, " 1 in %u", sample->every);
	if (sample->rate)
		fprintf(out, "%s at most %u/s", sample->every > 1 ? "," : "", sample->rate);
}

void sample_add_json(json_object *to, const struct sampling *sample)
{
	if (sample->every)
		json_add_uint(to, "every", sample->every);
	if (sample->rate)
		json_add_uint(to, "rate", sample->rate);
}
