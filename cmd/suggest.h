/* SPDX-License-Identifier: MIT */
#ifndef CMD_SUGGEST_H
#define CMD_SUGGEST_H

struct images;

/*
 * What there is instead of a pattern that matches nothing: "there is lua:f__entry, lua:g__entry", or how many
 * probes there are and where. Freed by free().
 */
char *resemble(const struct images *images, const char *pattern);

#endif
