/* SPDX-License-Identifier: MIT */
#ifndef CMD_SUGGEST_H
#define CMD_SUGGEST_H

struct images;
struct options;

/*
 * Reports that a pattern matches nothing, with probes or functions of the images that have similar names, or else with
 * the reason why there are none.
 */
void suggest_report(struct options *options, const struct images *images, const char *pattern);

#endif
