/* SPDX-License-Identifier: MIT */
/* "run N": calls places() of refctr.S N times. Each answer is "ok" and the two semaphores. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void places(void);
extern volatile short first, second;

int main(void)
{
	char line[64];

	setvbuf(stdout, NULL, _IOLBF, 0);
	while (fgets(line, sizeof(line), stdin) && strcmp(line, "end\n")) {
		for (long n = strncmp(line, "run ", 4) ? 0 : atol(line + 4); n; n--)
			places();
		printf("ok %d %d\n", first, second);
	}
	return 0;
}
