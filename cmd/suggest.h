/* SPDX-License-Identifier: MIT */
#ifndef CMD_SUGGEST_H
#define CMD_SUGGEST_H

#include <stddef.h>

struct images;
struct options;

/*
 * Reports that a pattern matches nothing, with probes or functions of the images that have similar names, or else with
 * the reason why there are none.
 */
void suggest_report(struct options *options, const struct images *images, const char *pattern);

/* Returns this message. The caller frees it. */
char *suggest_text(const struct images *images, const char *pattern);

/* Returns the word that is most similar to the wanted one. NULL: none is similar. */
const char *suggest_word(const char *wanted, const char *const *words, size_t n);

#endif
