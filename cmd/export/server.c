/* SPDX-License-Identifier: MIT */
/*
 * The process that serves HTTP. libmicrohttpd's thread parses requests; this thread talks with the reader.
 *
 * 1. A request for /metrics is suspended and put into a list.
 * 2. The server asks the reader for one document at a time. All requests for its format that have arrived meanwhile, or that arrive
 *    within EXPORT_FRESH_MS, get the same document.
 * 3. If the reader does not answer within READER_MS, the requests get status 503. A late document is used for the next ones.
 *
 * Each connection serves one request and is closed after CONNECTION_MS, whatever its client does. So a slow client delays
 * no other one, and holds one of CONNECTIONS_MAX places for a limited time.
 */
#include <errno.h>
#include <microhttpd.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "cmd/alloc.h"
#include "cmd/export/export.h"
#include "cmd/status.h"

#define CONNECTIONS_MAX 64
#define CONNECTION_MS 30000
#define CONNECTION_MEMORY 16384 /* bytes for the header of a request and of its reply */
#define IDLE_S 10
#define READER_MS 10000
#define TICK_MS 250

#if MHD_VERSION < 0x00097002
typedef int mhd_result;
#else
typedef enum MHD_Result mhd_result;
#endif

/* A response that several requests get. */
struct document {
	struct MHD_Response *response;
	unsigned status;
	uint64_t time;
	size_t users; /* under the server's lock */
};

/* A request for /metrics. */
struct http_request {
	struct http_request *next; /* in the list of those that wait */
	struct MHD_Connection *connection;
	enum export_format format;
	struct document *document; /* NULL: waits */
};

struct http_connection {
	int fd; /* -1: free */
	uint64_t since;
};

struct server {
	struct MHD_Daemon *daemon;
	pthread_mutex_t lock; /* of waiting, ending, connections and users of documents, which both threads use */
	struct http_request *waiting;
	bool ending; /* no request may wait any more */
	struct http_connection connections[CONNECTIONS_MAX];
	int wake; /* an eventfd */
	/* The rest belongs to the thread that talks with the reader. */
	int reader;
	bool asked;
	enum export_format format; /* that was asked for */
	uint64_t since;
	struct export_head head;
	char *text;
	size_t received;                            /* bytes of head and text */
	struct document *documents[EXPORT_FORMATS]; /* the last ones; NULL: none */
};

static uint64_t server_clock_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* ---- responses ---- */

static struct MHD_Response *response_new(size_t size, void *text, enum MHD_ResponseMemoryMode mode, const char *type)
{
	struct MHD_Response *response = MHD_create_response_from_buffer(size, text, mode);

	if (!response)
		alloc_failed();
	MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, type);
	MHD_add_response_header(response, MHD_HTTP_HEADER_CONNECTION, "close");
	MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
	return response;
}

static struct MHD_Response *response_of_text(const char *text)
{
	return response_new(strlen(text), (char *)text, MHD_RESPMEM_PERSISTENT, "text/plain; charset=utf-8");
}

static mhd_result connection_reply(struct MHD_Connection *connection, unsigned status, const char *text)
{
	struct MHD_Response *response = response_of_text(text);
	mhd_result result;

	if (status == MHD_HTTP_METHOD_NOT_ALLOWED)
		MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
	result = MHD_queue_response(connection, status, response);
	MHD_destroy_response(response);
	return result;
}

/* ---- documents ---- */

/* Makes a document with one user. It destroys the response. */
static struct document *document_new(struct MHD_Response *response, unsigned status)
{
	struct document *d = xcalloc(1, sizeof(*d));

	*d = (struct document){ response, status, server_clock_ms(), 1 };
	return d;
}

static void document_release(struct server *s, struct document *d)
{
	bool last;

	if (!d)
		return;
	pthread_mutex_lock(&s->lock);
	last = !--d->users;
	pthread_mutex_unlock(&s->lock);
	if (!last)
		return;
	MHD_destroy_response(d->response);
	free(d);
}

/* ---- libmicrohttpd's thread ---- */

static void server_wake(struct server *s)
{
	uint64_t one = 1;

	if (write(s->wake, &one, sizeof(one)) < 0)
		return; /* the counter is at its maximum, so it is readable */
}

static mhd_result request_wait(struct server *s, struct MHD_Connection *connection, void **state)
{
	struct http_request *request = calloc(1, sizeof(*request));

	if (!request)
		return MHD_NO;
	request->connection = connection;
	request->format =
		accept_choose(MHD_lookup_connection_value(connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_ACCEPT));
	pthread_mutex_lock(&s->lock);
	if (s->ending) {
		pthread_mutex_unlock(&s->lock);
		free(request);
		return connection_reply(connection, MHD_HTTP_SERVICE_UNAVAILABLE, "the exporter ends\n");
	}
	*state = request;
	request->next = s->waiting;
	s->waiting = request;
	MHD_suspend_connection(connection);
	pthread_mutex_unlock(&s->lock);
	server_wake(s);
	return MHD_YES;
}

static char seen; /* its address is the state of a request that has not waited */

/* *state is NULL at the first call of a request, then &seen, and the request when it has waited. */
static mhd_result server_handle(void *arg, struct MHD_Connection *connection, const char *url, const char *method,
                                const char *version, const char *data, size_t *size, void **state)
{
	struct http_request *request = *state;

	(void)version;
	(void)data;
	if (strcmp(method, "GET") && strcmp(method, "HEAD"))
		return connection_reply(connection, MHD_HTTP_METHOD_NOT_ALLOWED, "only GET and HEAD are supported\n");
	if (strcmp(url, "/metrics"))
		return connection_reply(connection, MHD_HTTP_NOT_FOUND, "not found: the metrics are at /metrics\n");
	if (!request) {
		*state = &seen;
		return MHD_YES;
	}
	if (*size)
		return connection_reply(connection, MHD_HTTP_CONTENT_TOO_LARGE, "the request has a body\n");
	if ((char *)request == &seen)
		return request_wait(arg, connection, state);
	if (!request->document)
		return MHD_NO;
	return MHD_queue_response(connection, request->document->status, request->document->response);
}

static void server_completed(void *arg, struct MHD_Connection *connection, void **state,
                             enum MHD_RequestTerminationCode code)
{
	struct http_request *request = *state;

	(void)connection;
	(void)code;
	*state = NULL;
	if (!request || (char *)request == &seen)
		return;
	/* A request that waits is suspended, so it does not complete before it is answered. */
	document_release(arg, request->document);
	free(request);
}

/* Notes when connections begin. */
static void server_connected(void *arg, struct MHD_Connection *connection, void **context,
                             enum MHD_ConnectionNotificationCode code)
{
	struct server *s = arg;
	const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
	bool begins = code == MHD_CONNECTION_NOTIFY_STARTED;
	int fd = info ? info->connect_fd : -1;

	(void)context;
	pthread_mutex_lock(&s->lock);
	for (size_t i = 0; i < CONNECTIONS_MAX && fd >= 0; i++) {
		if (s->connections[i].fd != (begins ? -1 : fd))
			continue;
		s->connections[i] = (struct http_connection){ begins ? fd : -1, server_clock_ms() };
		break;
	}
	pthread_mutex_unlock(&s->lock);
	server_wake(s);
}

/* ---- requests that wait ---- */

/* Answers the requests of a format that wait, or of all formats (EXPORT_FORMATS). */
static void waiting_answer(struct server *s, enum export_format format, struct document *document)
{
	struct http_request **at = &s->waiting;

	pthread_mutex_lock(&s->lock);
	while (*at) {
		struct http_request *request = *at;

		if (format != EXPORT_FORMATS && request->format != format) {
			at = &request->next;
			continue;
		}
		*at = request->next;
		request->document = document;
		document->users++;
		MHD_resume_connection(request->connection);
	}
	pthread_mutex_unlock(&s->lock);
}

static void waiting_refuse(struct server *s, enum export_format format, const char *text)
{
	struct document *document = document_new(response_of_text(text), MHD_HTTP_SERVICE_UNAVAILABLE);

	waiting_answer(s, format, document);
	document_release(s, document);
}

/* Returns the format of a request that waits, the oldest one, or EXPORT_FORMATS. */
static enum export_format waiting_format(struct server *s)
{
	enum export_format format = EXPORT_FORMATS;

	pthread_mutex_lock(&s->lock);
	for (const struct http_request *request = s->waiting; request; request = request->next)
		format = request->format;
	pthread_mutex_unlock(&s->lock);
	return format;
}

/* Closes connections whose time is over. Returns whether there are others. */
static bool connections_check(struct server *s)
{
	uint64_t now = server_clock_ms();
	bool any = false;

	pthread_mutex_lock(&s->lock);
	for (size_t i = 0; i < CONNECTIONS_MAX; i++) {
		if (s->connections[i].fd < 0)
			continue;
		any = true;
		if (now - s->connections[i].since > CONNECTION_MS)
			shutdown(s->connections[i].fd, SHUT_RDWR);
	}
	pthread_mutex_unlock(&s->lock);
	return any;
}

/* ---- the reader ---- */

/* Makes a document of what was received. */
static void document_finish(struct server *s)
{
	static const char *const types[EXPORT_FORMATS] = {
		[EXPORT_OPENMETRICS] = "application/openmetrics-text; version=1.0.0; charset=utf-8",
		[EXPORT_PROMETHEUS] = "text/plain; version=0.0.4; charset=utf-8",
		[EXPORT_PROTOBUF] = ("application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; "
		                     "encoding=delimited"),
	};
	struct document *d;

	s->asked = false;
	s->received = 0;
	if (!s->head.size) {
		waiting_refuse(s, s->format, "the metrics have more than 64 MiB; lower --max-series\n");
		return;
	}
	d = document_new(response_new(s->head.size, s->text, MHD_RESPMEM_MUST_FREE, types[s->format]), MHD_HTTP_OK);
	s->text = NULL;
	document_release(s, s->documents[s->format]);
	s->documents[s->format] = d;
	waiting_answer(s, s->format, d);
}

/* Reads what there is. Returns 0, or -EPIPE if the reader has ended. */
static int reader_receive(struct server *s)
{
	size_t head = sizeof(s->head);
	bool in_head = s->received < head;
	char *to = in_head ? (char *)&s->head + s->received : s->text + (s->received - head);
	ssize_t n = recv(s->reader, to, (in_head ? head : head + s->head.size) - s->received, MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n <= 0 || !s->asked)
		return -EPIPE;
	s->received += (size_t)n;
	if (in_head && s->received == head) {
		if (s->head.size > EXPORT_REPLY_MAX)
			return -EPIPE;
		s->text = xreallocarray(NULL, s->head.size + 1, 1);
	}
	if (s->received >= head && s->received == head + s->head.size) {
		if (!s->head.size)
			free(s->text);
		document_finish(s);
	}
	return 0;
}

/* Asks for the next document, or answers with one that is fresh. */
static int reader_ask(struct server *s)
{
	enum export_format format;

	while (!s->asked && (format = waiting_format(s)) != EXPORT_FORMATS) {
		struct document *d = s->documents[format];
		unsigned char request = (unsigned char)format;

		if (d && server_clock_ms() - d->time < EXPORT_FRESH_MS) {
			waiting_answer(s, format, d);
			continue;
		}
		if (send(s->reader, &request, 1, MSG_NOSIGNAL) != 1)
			return -EPIPE;
		s->asked = true;
		s->format = format;
		s->since = server_clock_ms();
	}
	return 0;
}

/* ---- running ---- */

static int server_loop(struct server *s, int signals)
{
	bool any = false;

	for (;;) {
		struct pollfd wait[] = { { .fd = signals, .events = POLLIN },
			                 { .fd = s->wake, .events = POLLIN },
			                 { .fd = s->reader, .events = POLLIN } };
		uint64_t count;

		if (poll(wait, 3, s->asked || any ? TICK_MS : -1) < 0 && errno != EINTR)
			return STATUS_FAILED;
		if (wait[0].revents)
			return STATUS_DONE;
		if (wait[1].revents && read(s->wake, &count, sizeof(count)) < 0 && errno != EAGAIN)
			return STATUS_FAILED;
		if ((wait[2].revents && reader_receive(s)) || reader_ask(s)) {
			fprintf(stderr, "probe-export: the process that reads the sessions has ended\n");
			return STATUS_FAILED;
		}
		if (s->asked && server_clock_ms() - s->since > READER_MS)
			waiting_refuse(s, EXPORT_FORMATS, "the sessions could not be read in time\n");
		any = connections_check(s);
	}
}

int server_run(int listener, int reader, int signals)
{
	static struct server s = { .lock = PTHREAD_MUTEX_INITIALIZER };
	int status;

	s.reader = reader;
	s.wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	for (size_t i = 0; i < CONNECTIONS_MAX; i++)
		s.connections[i].fd = -1;
	s.daemon =
		MHD_start_daemon(MHD_USE_AUTO_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME, 0, NULL, NULL, server_handle,
	                         &s, MHD_OPTION_LISTEN_SOCKET, listener, MHD_OPTION_CONNECTION_LIMIT, CONNECTIONS_MAX,
	                         MHD_OPTION_CONNECTION_TIMEOUT, IDLE_S, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
	                         (size_t)CONNECTION_MEMORY, MHD_OPTION_NOTIFY_COMPLETED, server_completed, &s,
	                         MHD_OPTION_NOTIFY_CONNECTION, server_connected, &s, MHD_OPTION_END);
	if (!s.daemon || s.wake < 0) {
		fprintf(stderr, "probe-export: cannot start the HTTP server: %s\n", strerror(errno));
		return STATUS_FAILED;
	}
	status = server_loop(&s, signals);
	/* libmicrohttpd aborts if a connection is suspended when it is stopped. */
	pthread_mutex_lock(&s.lock);
	s.ending = true;
	pthread_mutex_unlock(&s.lock);
	waiting_refuse(&s, EXPORT_FORMATS, "the exporter ends\n");
	MHD_stop_daemon(s.daemon);
	return status;
}
