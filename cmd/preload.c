/* SPDX-License-Identifier: MIT */
#include "cmd/preload.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cmd/output.h"
#include "runtime/agent-client.h"

#define LIBRARY "libprobepoint-agent.so"

/* ../lib/ of the folder that this command stands in. */
static char *beside(void)
{
	char self[PATH_MAX], *path = NULL;
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

	for (int up = 0; up < 2 && n > 0; up++) {
		self[n] = 0;
		n = strrchr(self, '/') ? strrchr(self, '/') - self : 0;
	}
	if (n < 0 || asprintf(&path, "%.*s/lib/" LIBRARY, (int)n, self) < 0)
		return NULL;
	return path;
}

/* NULL: it is not to be found, and that was told, where it was asked for. */
static char *library(struct options *options, bool asked)
{
	const char *named = getenv("PROBEPOINT_AGENT");
	char *path = named && *named ? realpath(named, NULL) : beside();

	if (path && !access(path, R_OK))
		return path;
	if (asked)
		complain(options, "cannot read the agent '%s': %s: PROBEPOINT_AGENT may name another",
		         named && *named ? named : path ? path : LIBRARY, strerror(errno));
	free(path);
	return NULL;
}

bool preload_inject(struct options *options)
{
	char *path = library(options, true);
	bool done = path != NULL;

	for (size_t i = 0; done && i < options->npids; i++)
		if (agent_inject(options->pids[i], path)) {
			complain(options, "%s", pp_error());
			done = false;
		}
	free(path);
	return done;
}

bool preload_list(struct options *options, char **list)
{
	const char *old = getenv("LD_PRELOAD");
	char *path;
	bool asked;

	*list = NULL;
	asked = options->backend && !strcmp(options->backend, "agent");
	/* Without privilege there is no other way. */
	if (!asked && ((options->backend && strcmp(options->backend, "auto")) || agent_may_use_kernel()))
		return true;
	path = library(options, asked);
	if (!path)
		return !asked;
	options->backend = "agent";
	/* LD_PRELOAD is cut at both, and knows no way to quote them. */
	if (strpbrk(path, " :")) {
		complain(options, "the path of the agent, '%s', has a blank or a colon in it, and LD_PRELOAD cannot take that",
		         path);
		free(path);
		return false;
	}
	if (asprintf(list, "%s%s%s", path, old && *old ? ":" : "", old ? old : "") < 0)
		no_memory();
	free(path);
	return true;
}
