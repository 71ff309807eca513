/* SPDX-License-Identifier: MIT */
/*
 * exits FILE: prints the exits of functions of the file. Each line of standard input has the address of a function, as hex
 * digits; its answer is "ADDRESS ERRNO EXIT...", where an exit that is a jump ends in "t".
 */
#include <probepoint.h>
#include <stdio.h>
#include <stdlib.h>

#include "runtime/disasm.h"

int main(int argc, char **argv)
{
	struct pp_image *image;
	char line[64];

	if (argc != 2 || pp_image_open(argv[1], &image)) {
		fprintf(stderr, "exits: %s\n", argc == 2 ? pp_error() : "FILE is missing");
		return 1;
	}
	while (fgets(line, sizeof(line), stdin)) {
		uint64_t address = strtoull(line, NULL, 16);
		struct code_exit *exits = NULL;
		size_t n = 0;

		printf("%llx %d", (unsigned long long)address, code_exits(image, address, &exits, &n));
		for (size_t i = 0; i < n; i++)
			printf(" %llx%s", (unsigned long long)exits[i].address, exits[i].tail ? "t" : "");
		putchar('\n');
		free(exits);
	}
	pp_image_free(image);
	return 0;
}
