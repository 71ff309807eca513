/* SPDX-License-Identifier: MIT */
/*
 * Invents the access log of a web server and analyses it. This source has no probes: the GCC plugin adds one at the
 * entry and one at each return of the functions below (-fplugin-arg-probepoint-functions=...).
 *
 *     -r RATE    log lines per second (default 1000; 0: as fast as possible)
 *     -t SECONDS, -n LINES    when to stop (default: at SIGTERM)
 *
 * One half invents lines. The other half parses them, sums them up by route, and complains about slow and failed
 * requests. At the end it prints how often each function was called:
 *
 *     weblog:parse_line(line, length, entry) lines      which lines arrive? which are rejected (return value false)?
 *     weblog:find_route(path)                lookups    which paths are requested?
 *     weblog:account(route, status, micros)  accounted
 *     weblog:complain(line, reason)          complaints
 *     weblog:depth_of(path)                  depths     recursive: one call for each part of the path
 *
 *     probe-list build/examples/weblog
 *     probe-trace -f build/examples/weblog 'weblog:complain__entry'
 *     probe-enable -p PID --if 'micros > 9000' weblog:account__entry
 */
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define ROUTES 64
#define LINE 160

struct route {
	char path[32];
	unsigned long hits, failures, micros, depth;
};

struct entry {
	char method[8], path[64];
	int status;
	unsigned long micros;
};

static struct route routes[ROUTES];
static struct {
	unsigned long lines, rejected, lookups, accounted, complaints, depths;
} calls;
static unsigned long slow = 9000;
static volatile sig_atomic_t stopped;

static void stop(int signal)
{
	(void)signal;
	stopped = 1;
}

/* ---- inventing lines ---- */

static unsigned draw(unsigned *random, unsigned below)
{
	*random = *random * 1103515245 + 12345;
	return (*random >> 16) % below;
}

static void invent_line(char *line, unsigned *random)
{
	static const char *const methods[] = { "GET", "GET", "GET", "POST", "DELETE" };
	static const char *const places[] = { "/api/users/", "/api/orders/", "/static/css/", "/", "/search/by/name/" };
	static const int statuses[] = { 200, 200, 200, 200, 200, 204, 304, 404, 500 };

	snprintf(line, LINE, "%s %s%u %d %u", methods[draw(random, 5)], places[draw(random, 5)], draw(random, 50),
	         statuses[draw(random, 9)], draw(random, 10000));
	if (draw(random, 40) == 0)
		line[draw(random, strlen(line))] = 0; /* cut off */
}

/* ---- analysing lines ---- */

/* Returns the number of parts of a path. */
static unsigned long depth_of(const char *path)
{
	const char *slash = strchr(path + 1, '/');

	calls.depths++;
	return slash ? 1 + depth_of(slash) : 1;
}

static struct route *find_route(const char *path)
{
	size_t length = strrchr(path, '/') - path + 1;

	calls.lookups++;
	for (int i = 0; i < ROUTES; i++) {
		if (!*routes[i].path)
			snprintf(routes[i].path, sizeof(routes[i].path), "%.*s", (int)length, path);
		if (!strncmp(routes[i].path, path, length) && !routes[i].path[length])
			return &routes[i];
	}
	return NULL;
}

static void account(struct route *route, int status, unsigned long micros)
{
	calls.accounted++;
	route->hits++;
	route->micros += micros;
	if (status >= 500)
		route->failures++;
}

static void complain(const char *line, const char *reason)
{
	calls.complaints++;
	if (getenv("WEBLOG_VERBOSE"))
		fprintf(stderr, "%s: %s\n", reason, line);
}

static bool parse_line(const char *line, size_t length, struct entry *entry)
{
	int end = 0;

	calls.lines++;
	if (sscanf(line, "%7s %63s %d %lu%n", entry->method, entry->path, &entry->status, &entry->micros, &end) != 4 ||
	    (size_t)end != length || entry->path[0] != '/') {
		calls.rejected++;
		return false;
	}
	return true;
}

static void analyse(const char *line)
{
	struct entry entry;
	struct route *route;

	if (!parse_line(line, strlen(line), &entry)) {
		complain(line, "cannot be read");
		return;
	}
	route = find_route(entry.path);
	if (!route)
		return;
	account(route, entry.status, entry.micros);
	route->depth = depth_of(entry.path);
	if (entry.status >= 500)
		complain(line, "failed");
	else if (entry.micros > slow)
		complain(line, "slow");
}

int main(int argc, char **argv)
{
	struct sigaction action = { .sa_handler = stop };
	unsigned long count = -1UL, rate = 1000;
	unsigned seconds = 0, random = 1;
	char line[LINE];
	int option;

	while ((option = getopt(argc, argv, "n:r:t:")) != -1) {
		switch (option) {
		case 'n': count = strtoul(optarg, NULL, 10); break;
		case 'r': rate = strtoul(optarg, NULL, 10); break;
		case 't': seconds = strtoul(optarg, NULL, 10); break;
		default: fprintf(stderr, "usage: weblog [-t SECONDS] [-n LINES] [-r PER_SECOND]\n"); return 2;
		}
	}
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGALRM, &action, NULL);
	alarm(seconds);
	for (unsigned long i = 0; i < count && !stopped; i++) {
		invent_line(line, &random);
		analyse(line);
		if (rate) {
			struct timespec pause = { rate == 1, rate == 1 ? 0 : 1000000000L / rate };

			nanosleep(&pause, NULL);
		}
	}
	for (int i = 0; i < ROUTES && *routes[i].path; i++)
		printf("route %s depth %lu hits %lu failures %lu mean %lu us\n", routes[i].path, routes[i].depth,
		       routes[i].hits, routes[i].failures, routes[i].micros / (routes[i].hits ? routes[i].hits : 1));
	printf("lines %lu\nrejected %lu\nlookups %lu\naccounted %lu\ncomplaints %lu\ndepths %lu\n", calls.lines,
	       calls.rejected, calls.lookups, calls.accounted, calls.complaints, calls.depths);
	return 0;
}
