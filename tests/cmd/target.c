/* SPDX-License-Identifier: MIT */
/*
 * A process that does what it is told on its standard input, a line at a time, and answers each with "ok":
 * a test knows exactly what was hit and when.
 *
 *     tick N        N times the probe app:tick, with 0, 1, ...
 *     say HEX       say() (a probe of the plugin) with this string, and one of each other kind
 *     fault         say() with a pointer to nowhere
 *     name HEX      changes the thread's name
 *     load FILE     dlopen
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
