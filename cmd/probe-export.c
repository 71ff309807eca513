/* SPDX-License-Identifier: MIT */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/capability.h>
#include <netdb.h>
#include <probepoint.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cmd/alloc.h"
#include "cmd/export/export.h"
#include "cmd/metrics.h"
#include "cmd/options.h"
#include "cmd/ui.h"

#define LISTEN_DEFAULT "127.0.0.1:9812"
#define USER_DEFAULT "nobody"

struct export_command {
	struct options options;
	struct export_options export;
	const char *listen, *user;
	uint64_t series;
};

/* ---- the command line ---- */

enum { KEY_LISTEN = 0x200, KEY_USER, KEY_MAX_SERIES, KEY_COST };

static const struct argp_option export_options[] = {
	{ "listen", KEY_LISTEN, "ADDRESS:PORT", 0,
	  "serve HTTP there (a numeric address, default " LISTEN_DEFAULT "; port 0: any free one)", 1 },
	{ "user", KEY_USER, "USER", 0, "if started by root, serve as this user (default " USER_DEFAULT ")", 1 },
	{ "max-series", KEY_MAX_SERIES, "N", 0, "serve at most N series of a session (100 to 1000000, default 10000)",
	  1 },
	{ "cost", KEY_COST, 0, 0, "also measure the cost of the sessions, every 30 s", 1 },
	{ 0 },
};

static const struct argp_child export_children[] = {
	{ &options_output, 0, NULL, 0 },
	{ 0 },
};

static error_t export_parse_key(int key, char *arg, struct argp_state *state)
{
	struct export_command *c = state->input;
	struct options *o = &c->options;

	switch (key) {
	case ARGP_KEY_INIT: options_children(state, export_children, o); break;
	case KEY_LISTEN: c->listen = arg; break;
	case KEY_USER: c->user = arg; break;
	case KEY_MAX_SERIES: {
		error_t err = options_parse_number(state, o, "--max-series", arg, METRICS_SERIES_MAX, &c->series);

		if (err)
			return err;
		return c->series >= METRICS_SERIES_MIN
		               ? 0
		               : options_usage_error(state, o, "--max-series: give %d or more", METRICS_SERIES_MIN);
	}
	case KEY_COST: c->export.cost = true; break;
	case ARGP_KEY_ARG: return options_usage_error(state, o, "unexpected argument '%s'", arg);
	default: return ARGP_ERR_UNKNOWN;
	}
	return 0;
}

static const struct argp export_argp = {
	.options = export_options,
	.parser = export_parse_key,
	.args_doc = "",
	.doc = "Serve the counts of all sessions of this user to Prometheus, at http://" LISTEN_DEFAULT "/metrics.",
	.children = export_children,
};

/* ---- the listening socket ---- */

/* Parses ADDRESS:PORT or [ADDRESS]:PORT. The caller frees the result by freeaddrinfo(). */
static struct addrinfo *listen_parse(struct options *o, const char *text)
{
	const struct addrinfo hints = { .ai_socktype = SOCK_STREAM,
		                        .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE };
	const char *colon = strrchr(text, ':');
	struct addrinfo *found = NULL;
	char address[64] = "";
	size_t length = colon ? (size_t)(colon - text) : 0;

	if (length >= 2 && text[0] == '[' && text[length - 1] == ']') {
		text++;
		length -= 2;
	} else if (memchr(text, ':', length)) {
		length = 0; /* ::1:80 is ambiguous */
	}
	if (length && length < sizeof(address))
		memcpy(address, text, length);
	if (!*address || !colon[1] || colon[1 + strspn(colon + 1, "0123456789")] || atol(colon + 1) > 65535 ||
	    getaddrinfo(address, colon + 1, &hints, &found))
		options_usage_exit(o, "--listen: invalid address; give a numeric ADDRESS:PORT, such as " LISTEN_DEFAULT
		                      " or [::1]:9812");
	return found;
}

static bool address_is_loopback(const struct sockaddr *a)
{
	if (a->sa_family == AF_INET)
		return ntohl(((const struct sockaddr_in *)a)->sin_addr.s_addr) >> 24 == 127;
	return a->sa_family == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *)a)->sin6_addr);
}

static void url_report(struct options *o, const char *host, const char *port)
{
	bool brackets = strchr(host, ':');
	char *url = xasprintf("http://%s%s%s:%s/metrics", brackets ? "[" : "", host, brackets ? "]" : "", port);
	json_object *document;

	if (o->json) {
		document = json_new_object();
		json_add_text(document, "url", url);
		ui_print_document(o, stdout, document);
		ui_flush();
	} else {
		ui_info(o, "serving %s", url);
	}
	free(url);
}

static int listener_open(struct options *o, const char *text)
{
	struct addrinfo *to = listen_parse(o, text);
	struct sockaddr_storage address;
	socklen_t size = sizeof(address);
	char host[64], port[8];
	int fd = socket(to->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), on = 1;

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) ||
	    (to->ai_family == AF_INET6 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on))) ||
	    bind(fd, to->ai_addr, to->ai_addrlen) || listen(fd, 128)) {
		ui_error(o, "cannot listen on '%s': %s", text, strerror(errno));
		freeaddrinfo(to);
		return -1;
	}
	getsockname(fd, (struct sockaddr *)&address, &size);
	getnameinfo((struct sockaddr *)&address, size, host, sizeof(host), port, sizeof(port),
	            NI_NUMERICHOST | NI_NUMERICSERV);
	if (!address_is_loopback(to->ai_addr))
		ui_info(o,
		        "warning: '%s' is not a loopback address, and the metrics are served without encryption or "
		        "authentication",
		        text);
	freeaddrinfo(to);
	url_report(o, host, port);
	return fd;
}

/* ---- the two processes ---- */

static void privileges_report(const struct options *o, const char *process, int keep)
{
	ui_verbose(o, "%s: pid %d, uid %u, gid %u, capabilities: %s", process, getpid(), getuid(), getgid(),
	           keep == CAP_SYS_ADMIN ? "CAP_SYS_ADMIN" : "none");
}

static int child_run(struct export_command *c, int fd)
{
	int keep = c->export.cost ? CAP_SYS_ADMIN : -1, err = privileges_drop(NULL, keep);

	/* The reader ends when the server does. */
	signal(SIGINT, SIG_IGN);
	signal(SIGTERM, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	if (err) {
		ui_error(&c->options, "cannot give up privileges: %s", strerror(-err));
		return STATUS_FAILED;
	}
	privileges_report(&c->options, "reader", keep);
	return reader_run(fd, &c->export);
}

static enum status export_serve(struct export_command *c, int listener, int reader, const struct user *user)
{
	sigset_t set;
	int signals, err;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signals = signalfd(-1, &set, SFD_CLOEXEC);
	if (signals < 0) {
		ui_error(&c->options, "cannot receive signals: %s", strerror(errno));
		return STATUS_FAILED;
	}
	err = privileges_drop(user, -1);
	if (err) {
		ui_error(&c->options, "cannot become user '%s': %s", c->user, strerror(-err));
		return STATUS_FAILED;
	}
	privileges_report(&c->options, "server", -1);
	return server_run(listener, reader, signals);
}

static enum status export_run(struct export_command *c)
{
	struct options *o = &c->options;
	struct user user;
	int listener, ends[2], err;
	bool is_root = geteuid() == 0;
	pid_t child;

	err = is_root ? user_find(c->user, &user) : 0;
	if (err || (is_root && !user.uid)) {
		ui_error(o, "--user: cannot serve as '%s': %s", c->user,
		         err ? (err == -ENOENT ? "no such user" : strerror(-err)) : "give a user without privileges");
		return STATUS_FAILED;
	}
	listener = listener_open(o, c->listen);
	if (listener < 0)
		return STATUS_FAILED;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) || (child = fork()) < 0) {
		ui_error(o, "cannot start a process: %s", strerror(errno));
		return STATUS_FAILED;
	}
	if (!child) {
		close(listener);
		close(ends[0]);
		exit(child_run(c, ends[1]));
	}
	close(ends[1]);
	return export_serve(c, listener, ends[0], is_root ? &user : NULL);
}

int main(int argc, char **argv)
{
	static struct export_command c = { .listen = LISTEN_DEFAULT, .user = USER_DEFAULT, .series = METRICS_SERIES };

	options_parse(&export_argp, argc, argv, &c.options, &c);
	c.export.series = c.series;
	fflush(stdout);
	return ui_finish(&c.options, export_run(&c));
}
