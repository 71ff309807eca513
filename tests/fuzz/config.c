/* SPDX-License-Identifier: MIT */
/*
 * A libFuzzer target (tests/fuzz/run.sh): parses the input as a configuration. One that is valid has a name for each session and
 * a canonical text for each entry, and the same bytes give the same texts. The library is the build's, without sanitizers.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cmd/config.h"
#include "cmd/ui.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Writes the first input. Error messages go nowhere. */
int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	static const char text[] =
		"sessions:\n  - session: a\n    budget: 5%\n    arm:\n      - probes: [ 'a:*', b ]\n        file: /x/*\n"
		"        build-id: 0123456789ab\n        if: a > 1\n        print: [ a, b ]\n        string: arg0\n"
		"      - latency: [ a:b, a:c ]\n        process: x\n        record: true\n        min-duration: 5ms\n"
		"      - probes: x\n        file: /y\n        service: z\n        agg: count()\n        strlen: 7\n";
	const char *dir = getenv("SEEDS");
	char path[4096];
	int fd;

	(void)argc;
	(void)argv;
	ui_messages_to(fopen("/dev/null", "w"));
	if (!dir || !*dir)
		return 0;
	snprintf(path, sizeof(path), "%s/whole", dir);
	fd = open(path, O_WRONLY | O_CREAT, 0600);
	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		abort();
	close(fd);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct options options;
	struct config config[2];
	bool valid[2];

	for (int i = 0; i < 2; i++) {
		config[i] = (struct config){ .path = "file", .options = &options };
		valid[i] = config_parse(&config[i], (const char *)data, size);
	}
	if (valid[0] != valid[1] || config[0].n != config[1].n)
		abort();
	for (size_t s = 0; valid[0] && s < config[0].n; s++) {
		const struct config_session *a = &config[0].sessions[s], *b = &config[1].sessions[s];

		if (strcmp(a->name, b->name) || a->n != b->n)
			abort();
		for (size_t e = 0; e < a->n; e++)
			if (strcmp(a->entries[e].text, b->entries[e].text) || !a->entries[e].arming.npatterns)
				abort();
	}
	config_free(&config[0]);
	config_free(&config[1]);
	return 0;
}
