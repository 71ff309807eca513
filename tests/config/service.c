/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <sys/sdt.h>

int main(void)
{
	char line[64];
	long hits = 0;

	setvbuf(stdout, NULL, _IOLBF, 0);
	while (fgets(line, sizeof(line), stdin)) {
		for (long n = atol(line); n > 0; n--, hits++)
			STAP_PROBE2(svc, hit, VERSION, hits);
		STAP_PROBE1(svc, line, hits);
		printf("%ld\n", hits);
	}
	return 0;
}
