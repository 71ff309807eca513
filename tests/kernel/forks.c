/* SPDX-License-Identifier: MIT */
/* Hits forks:hit(who, i) 10 times, 100 times in a child, 1000 times in a grandchild, and 5 times at the end. */
#include <stdlib.h>
#include <sys/sdt.h>
#include <sys/wait.h>
#include <unistd.h>

static void hit(int n, int who)
{
	for (int i = 0; i < n; i++)
		STAP_PROBE2(forks, hit, who, i);
}

/* With an argument, the grandchild executes the program again. */
int main(int argc, char **argv)
{
	char c;

	if (argc < 3 && read(0, &c, 1) < 0)
		return 1;
	hit(10, 0);
	if (!fork()) {
		hit(100, 1);
		if (!fork()) {
			hit(1000, 2);
			if (argc == 2)
				execl(argv[0], argv[0], "again", "again", NULL);
			_exit(0);
		}
		wait(NULL);
		_exit(0);
	}
	wait(NULL);
	hit(5, 0);
	return 0;
}
