/* SPDX-License-Identifier: MIT */
/* Calls work() as often as each line of standard input says, and prints the arguments of each call. */
#include <stdio.h>
#include <stdlib.h>

enum color { RED, GREEN = 5, BLUE };
struct request {
	int len;
	const char *path;
	enum color color;
};

__attribute__((noipa)) int work(struct request *r, enum color color)
{
	return r->len + (int)color;
}

int main(void)
{
	static const char *const paths[] = { "/a", "/bb", "/ccc", "/dddd" };
	static const enum color colors[] = { RED, GREEN, BLUE, 9 };
	char line[32];

	while (fgets(line, sizeof(line), stdin)) {
		for (int i = 0; i < atoi(line); i++) {
			struct request r = { rand() % 1000, paths[rand() % 4], colors[rand() % 3] };
			enum color color = colors[rand() % 4];

			work(&r, color);
			printf("%d %s %d %d\n", r.len, r.path, r.color, color);
		}
		printf("done\n");
		fflush(stdout);
	}
	return 0;
}
