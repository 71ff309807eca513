/* SPDX-License-Identifier: MIT */
/*
 * A small key-value server with handwritten probes (sys/sdt.h).
 *
 * It speaks a line protocol over Unix sockets: SET KEY VALUE, GET KEY and DEL KEY. It answers each request with one
 * line.
 *
 *     -l PATH    listen there; without it, an internal client sends the requests
 *     -r RATE    requests per second of the internal client (default 1000; 0: as fast as possible)
 *     -t SECONDS, -n REQUESTS    when to stop (default: at SIGTERM)
 *
 * At the end it prints exactly what it did. The probes answer questions that the server itself cannot:
 *
 *     kv:request(connection, line, length)   which requests arrive now?
 *     kv:get(key, value)                     which keys are read? value is NULL if the key does not exist
 *     kv:set(key, value, is_new)
 *     kv:del(key, was_there)
 *     kv:reply(connection, status, line)     status 0: done, 1: no such key, 2: invalid request
 *
 *     probe-list build/examples/kv
 *     probe-trace -f build/examples/kv kv:get
 *     probe-enable -p PID --if 'arg1 == 2' kv:reply
 */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sdt.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define CONNECTIONS 16
#define LINE 256
#define BUCKETS 256

struct pair {
	struct pair *next;
	char *value;
	char key[];
};

struct connection {
	int fd;
	size_t filled;
	char line[LINE];
};

static struct pair *table[BUCKETS];
static struct connection connections[CONNECTIONS];
static struct {
	unsigned long requests, hits, misses, sets, deletes, errors;
} total;
static volatile sig_atomic_t stopped;

static void stop(int signal)
{
	(void)signal;
	stopped = 1;
}

static struct pair **find(const char *key)
{
	unsigned h = 5381;
	struct pair **p;

	for (const char *c = key; *c; c++)
		h = h * 33 ^ (unsigned char)*c;
	for (p = &table[h % BUCKETS]; *p; p = &(*p)->next)
		if (!strcmp((*p)->key, key))
			break;
	return p;
}

static int get(const char *key, char *answer)
{
	struct pair *pair = *find(key);
	const char *value = pair ? pair->value : NULL;

	STAP_PROBE2(kv, get, key, value);
	if (!value) {
		total.misses++;
		return 1;
	}
	total.hits++;
	snprintf(answer, LINE, "%s", value);
	return 0;
}

static int set(const char *key, const char *value)
{
	struct pair **at = find(key), *pair = *at;
	bool is_new = !pair;
	char *copy = strdup(value);

	if (is_new && copy) {
		pair = calloc(1, sizeof(*pair) + strlen(key) + 1);
		if (pair) {
			strcpy(pair->key, key);
			*at = pair;
		}
	}
	if (!copy || !pair) {
		free(copy);
		return 2;
	}
	free(pair->value);
	pair->value = copy;
	STAP_PROBE3(kv, set, key, value, is_new);
	total.sets++;
	return 0;
}

static int del(const char *key)
{
	struct pair **at = find(key), *pair = *at;

	STAP_PROBE2(kv, del, key, pair != NULL);
	total.deletes++;
	if (!pair)
		return 1;
	*at = pair->next;
	free(pair->value);
	free(pair);
	return 0;
}

static int perform(char *line, char *answer)
{
	char *rest = line;
	const char *verb = strsep(&rest, " "), *key = strsep(&rest, " ");

	if (key && *key && !rest && !strcmp(verb, "GET"))
		return get(key, answer);
	if (key && *key && rest && !strcmp(verb, "SET"))
		return set(key, rest);
	if (key && *key && !rest && !strcmp(verb, "DEL"))
		return del(key);
	return 2;
}

static void serve(struct connection *c, char *line)
{
	static const char *const words[] = { "OK", "NONE", "WHAT" };
	char answer[LINE] = "", reply[LINE + 8];
	int status;

	STAP_PROBE3(kv, request, c->fd, line, strlen(line));
	total.requests++;
	status = perform(line, answer);
	if (status == 2)
		total.errors++;
	snprintf(reply, sizeof(reply), "%s%s%s\n", words[status], *answer ? " " : "", answer);
	STAP_PROBE3(kv, reply, c->fd, status, reply);
	if (send(c->fd, reply, strlen(reply), MSG_NOSIGNAL) < 0 && errno != EPIPE)
		perror("kv: send");
}

static void hang_up(struct connection *c)
{
	close(c->fd);
	c->fd = -1;
	c->filled = 0;
}

static void receive(struct connection *c)
{
	ssize_t n = read(c->fd, c->line + c->filled, LINE - 1 - c->filled);
	char *line = c->line, *end;

	if (n <= 0) {
		if (n == 0 || errno != EINTR)
			hang_up(c);
		return;
	}
	c->filled += n;
	c->line[c->filled] = 0;
	while ((end = strchr(line, '\n'))) {
		*end = 0;
		serve(c, line);
		line = end + 1;
	}
	c->filled -= line - c->line;
	if (c->filled == LINE - 1)
		hang_up(c);
	else
		memmove(c->line, line, c->filled);
}

static void welcome(int fd)
{
	for (int i = 0; i < CONNECTIONS; i++)
		if (connections[i].fd < 0) {
			connections[i].fd = fd;
			return;
		}
	close(fd);
}

struct load {
	int fd;
	unsigned long count, rate;
};

/* The internal client. Its requests are those of a web shop: many reads, some writes, few deletions, some invalid. */
static void *client(void *arg)
{
	static const char *const kinds[] = { "user", "session", "cart", "price" };
	const struct load *load = arg;
	struct timespec pause = { 0, load->rate ? 1000000000UL / load->rate : 0 };
	unsigned random = 1;
	char line[LINE];

	if (load->rate == 1)
		pause = (struct timespec){ 1, 0 };
	for (unsigned long i = 0; i < load->count; i++) {
		int id, kind, what, n;

		random = random * 1103515245 + 12345;
		id = random >> 16 & 63, kind = random >> 24 & 3, what = random >> 26 & 15;
		if (what < 10)
			n = sprintf(line, "GET %s:%d\n", kinds[kind], id);
		else if (what < 14)
			n = sprintf(line, "SET %s:%d %s-%lu\n", kinds[kind], id, what & 1 ? "red" : "green", i);
		else if (what < 15)
			n = sprintf(line, "DEL %s:%d\n", kinds[kind], id);
		else
			n = sprintf(line, "EAT %s:%d\n", kinds[kind], id);
		if (send(load->fd, line, n, MSG_NOSIGNAL) != n)
			break;
		for (n = 0; n < 1 || line[n - 1] != '\n'; n++)
			if (n == LINE || read(load->fd, line + n, 1) != 1)
				goto out;
		if (load->rate)
			nanosleep(&pause, NULL);
	}
out:
	shutdown(load->fd, SHUT_RDWR);
	return NULL;
}

static int listen_at(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (strlen(path) >= sizeof(address.sun_path)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	strcpy(address.sun_path, path);
	if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) || listen(fd, CONNECTIONS))
		return -1;
	return fd;
}

/* Serves until a signal stops it, or until the internal client has hung up. */
static void run(int listener, bool own_client)
{
	while (!stopped) {
		struct pollfd fds[CONNECTIONS + 1] = { { .fd = listener, .events = POLLIN } };

		for (int i = 0; i < CONNECTIONS; i++)
			fds[i + 1] = (struct pollfd){ .fd = connections[i].fd, .events = POLLIN };
		if (poll(fds, CONNECTIONS + 1, 200) < 0)
			continue;
		if (fds[0].revents)
			welcome(accept4(listener, NULL, NULL, SOCK_CLOEXEC));
		for (int i = 0; i < CONNECTIONS; i++)
			if (fds[i + 1].revents)
				receive(&connections[i]);
		if (own_client && connections[0].fd < 0)
			break;
	}
}

/* Starts the client that is connected to the server by a socket pair. Returns 0 or an error number. */
static int start_client(struct load *load, pthread_t *thread)
{
	sigset_t all, before;
	int pair[2], err;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
		return errno;
	welcome(pair[0]);
	load->fd = pair[1];
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	err = pthread_create(thread, NULL, client, load);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return err;
}

int main(int argc, char **argv)
{
	struct sigaction action = { .sa_handler = stop };
	struct load load = { .count = -1UL, .rate = 1000 };
	const char *path = NULL;
	unsigned seconds = 0;
	int listener = -1, option;
	pthread_t thread;

	while ((option = getopt(argc, argv, "l:n:r:t:")) != -1) {
		switch (option) {
		case 'l': path = optarg; break;
		case 'n': load.count = strtoul(optarg, NULL, 10); break;
		case 'r': load.rate = strtoul(optarg, NULL, 10); break;
		case 't': seconds = strtoul(optarg, NULL, 10); break;
		default:
			fprintf(stderr, "usage: kv [-t SECONDS] [-n REQUESTS] [-r PER_SECOND] [-l SOCKET]\n");
			return 2;
		}
	}
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGALRM, &action, NULL);
	for (int i = 0; i < CONNECTIONS; i++)
		connections[i].fd = -1;
	if (path) {
		listener = listen_at(path);
		if (listener < 0) {
			fprintf(stderr, "kv: cannot listen at '%s': %s\n", path, strerror(errno));
			return 1;
		}
	} else {
		errno = start_client(&load, &thread);
		if (errno) {
			perror("kv: cannot start the client");
			return 1;
		}
	}
	alarm(seconds);
	run(listener, !path);
	for (int i = 0; i < CONNECTIONS; i++)
		if (connections[i].fd >= 0)
			hang_up(&connections[i]);
	if (path)
		unlink(path);
	else
		pthread_join(thread, NULL);
	printf("requests %lu\nhits %lu\nmisses %lu\nsets %lu\ndeletes %lu\nerrors %lu\n", total.requests, total.hits,
	       total.misses, total.sets, total.deletes, total.errors);
	return 0;
}
