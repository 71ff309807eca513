/* SPDX-License-Identifier: MIT */
/* The sampling of a row or table, as text and as JSON. */
#ifndef CMD_SAMPLE_H
#define CMD_SAMPLE_H

#include <stdbool.h>
#include <stdio.h>

#include "cmd/json.h"

struct sampling {
	unsigned every, rate; /* pp_stat_sample(); 0: all */
};

static inline bool sample_is_all(const struct sampling *sample)
{
	return sample->every <= 1 && !sample->rate;
}

/* Prints it after two blanks, as in "  sampled 1 in 100". Prints nothing if all hits are chosen. */
void sample_put(FILE *out, const struct sampling *sample);
/* Adds the keys "every" and "rate", if they were given. */
void sample_add_json(json_object *to, const struct sampling *sample);

#endif
