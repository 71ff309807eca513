/* SPDX-License-Identifier: MIT */
/*
 * Reads commands, one per line, and replies "ok" to each: tick N; say N; bytes: prints its site's; byte0; fork N; exit.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/probe.h>
#include <sys/wait.h>
#include <unistd.h>

__attribute__((noipa)) static void tick(int i, const char *text, long far)
{
	STAP_PROBE3(app, tick, i, text, far);
}

PROBE_DECLARE(app, say, (const char *text), (text));

__attribute__((noipa)) static void speak(const char *what)
{
	say(what);
}

int main(void)
{
	char line[256], local[32];
	const unsigned char *code = (const unsigned char *)tick;
	long n;

	while (fgets(line, sizeof(line), stdin)) {
		if (sscanf(line, "tick %ld", &n) == 1) {
			for (long i = 0; i < n; i++) {
				snprintf(local, sizeof(local), "local %ld", i);
				tick(i, i % 3 == 0 ? "in the image" : i % 3 == 1 ? local : (char *)1, -i);
			}
		} else if (sscanf(line, "say %ld", &n) == 1) {
			strcpy(local, "on the stack");
			for (long i = 0; i < n; i++)
				speak(i % 4 == 0   ? "in the image"
				      : i % 4 == 1 ? local
				      : i % 4 == 2 ? (char *)1
				                   : strdup("on the heap"));
		} else if (sscanf(line, "fork %ld", &n) == 1) {
			if (!fork()) {
				for (long i = 0; i < n; i++)
					tick(i, "child", i);
				exit(0);
			}
			wait(NULL);
		} else if (!strncmp(line, "byte0", 5)) {
			for (int i = 0; i < 16; i++)
				if (code[i + 1] == 0xe9 || code[i + 1] == 0x66 || code[i + 1] == 0xeb) {
					printf("%02x\n", code[i]);
					break;
				}
		} else if (!strncmp(line, "bytes", 5)) {
			for (int i = 0; i < 48; i++)
				printf("%02x ", code[i]);
			printf("\n");
		} else if (!strncmp(line, "exit", 4)) {
			return 0;
		}
		printf("ok\n");
		fflush(stdout);
	}
	return 0;
}
