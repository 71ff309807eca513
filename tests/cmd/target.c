/* SPDX-License-Identifier: MIT */
/*
 * A process that executes requests from its standard input, one per line, and answers each with "ok" when it is done. A test
 * therefore knows exactly what was hit and when.
 *
 *     tick N        hits app:tick N times, with the argument 0, 1, ...
 *     say HEX       calls say(), which has plugin probes, with this string and an argument of each other kind
 *     fault         calls say() with an invalid pointer
 *     name HEX      changes the name of the thread
 *     load FILE     calls dlopen(3)
 *     exit STATUS
 */
#include <dlfcn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/sdt.h>

__attribute__((noipa)) int say(const char *text, int number, unsigned long big, void *pointer, char letter, bool truth)
{
	return text && number && big && pointer && letter && truth;
}

static char *unhex(const char *hex)
{
	static char text[4096];
	size_t n = 0;

	for (unsigned byte; n < sizeof(text) - 1 && sscanf(hex, "%2x", &byte) == 1; hex += 2)
		text[n++] = byte;
	text[n] = 0;
	return text;
}

int main(void)
{
	char line[9000];

	setvbuf(stdout, NULL, _IOLBF, 0);
	while (fgets(line, sizeof(line), stdin)) {
		char *arg = strchr(line, ' ');

		line[strcspn(line, "\n")] = 0;
		arg = arg ? arg + 1 : "";
		if (!strncmp(line, "tick ", 5))
			for (long i = 0; i < atol(arg); i++)
				STAP_PROBE1(app, tick, i);
		else if (!strncmp(line, "say ", 4))
			say(unhex(arg), -7, ~0ul, (void *)0xabc0, '\'', true);
		else if (!strcmp(line, "fault"))
			say((char *)8, 1, 1, (void *)1, '\n', false);
		else if (!strncmp(line, "name ", 5))
			prctl(PR_SET_NAME, unhex(arg));
		else if (!strncmp(line, "load ", 5))
			puts(dlopen(arg, RTLD_NOW) ? "ok" : dlerror());
		else if (!strncmp(line, "exit ", 5))
			return atoi(arg);
		if (strncmp(line, "load ", 5))
			puts("ok");
	}
	return 0;
}
