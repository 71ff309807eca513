/* SPDX-License-Identifier: MIT */
#include "cmd/process-stat.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

uint64_t process_stat_start(pid_t pid, char *comm)
{
	char path[32], text[1024], *at, *end;
	size_t n;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	f = fopen(path, "re");
	if (!f)
		return 0;
	n = fread(text, 1, sizeof(text) - 1, f);
	fclose(f);
	text[n] = 0;
	at = strchr(text, '(');
	end = strrchr(text, ')');
	if (!at || !end || end < at)
		return 0;
	*end = 0;
	if (comm)
		snprintf(comm, PROCESS_COMM, "%s", at + 1);
	at = end + 1;
	for (unsigned field = 2; at && field < 22; field++) /* the start time is field 22 */
		at = strchr(at + 1, ' ');
	return at ? strtoull(at, NULL, 10) : 0;
}
