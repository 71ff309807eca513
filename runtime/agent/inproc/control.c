/* SPDX-License-Identifier: MIT */
/*
 * The socket on which the agent answers controllers.
 *
 * The agent checks a peer's user, and gives it PATIENCE_MS for each request. A peer
 * learns what is armed. The only order that it can give is to read the sessions' files
 * again. Messages have a fixed size, so no length needs to be trusted.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runtime/agent/inproc/agent.h"
#include "runtime/agent/inproc/change.h"
#include "runtime/agent/inproc/control.h"
#include "runtime/agent/inproc/files.h"
#include "runtime/agent/inproc/keeper.h"
#include "runtime/agent/inproc/scan.h"
#include "runtime/agent/inproc/socket.h"
#include "runtime/agent/inproc/state-dir.h"

#define PATIENCE_MS 2000
#define SWEEP_MAX 64 /* sockets that one process removes */

static char answer[AGENT_MESSAGE_MAX] __attribute__((aligned(8)));

/* ---- the socket ---- */

/* Removes a socket whose process ended by _exit(2) or a signal: no such process exists, and nothing listens. */
static int socket_sweep(int dir, const char *name, void *arg)
{
	struct sockaddr_un address = { 0 };
	int64_t pid = parse_number(name);
	unsigned *left = arg;
	int fd;

	if (pid <= 0 || pid > INT32_MAX || strlen(name) > 10 || !kill(pid, 0) || errno != ESRCH)
		return 0;
	fd = socket_open();
	if (fd < 0)
		return 1;
	socket_address(&address, dir, name);
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) && errno == ECONNREFUSED)
		unlinkat(dir, name, 0);
	close(fd);
	return !--*left;
}

int control_open(int store)
{
	struct sockaddr_un address = { 0 };
	unsigned sweep_max = SWEEP_MAX;
	char name[32];
	int dir, fd;

	dir = dir_open(store, "agents", true);
	if (dir < 0)
		return -1;
	if (agent.pid % 16 == 0)
		dir_list(dir, socket_sweep, &sweep_max);
	format_number(name, agent.pid);
	socket_address(&address, dir, name);
	unlinkat(dir, name, 0);
	fd = socket_open();
	if (fd >= 0 &&
	    (bind(fd, (struct sockaddr *)&address, sizeof(address)) || fchmodat(dir, name, 0600, 0) || listen(fd, 8))) {
		close(fd);
		fd = -1;
	}
	close(dir);
	return fd;
}

void control_close(int store)
{
	int dir = dir_open(store, "agents", false);
	char name[32];

	if (dir < 0)
		return;
	format_number(name, agent.pid);
	unlinkat(dir, name, 0);
	close(dir);
}

/* ---- replies ---- */

static struct loaded_attachment *session_attachment_find(const struct session *session, uint32_t number)
{
	for (size_t i = 0; i < nattachments(session); i++)
		if (attachments_of(session)[i]->number == number)
			return attachments_of(session)[i];
	return NULL;
}

static void *reply_payload(struct agent_reply *reply)
{
	return reply + 1;
}

static void reply_set_size(struct agent_reply *reply, uint32_t count, size_t each)
{
	reply->count = count;
	reply->size = count * each;
}

static void reply_error(struct agent_reply *reply, int error, enum agent_reason reason)
{
	reply->error = -error;
	reply->reason = reason;
}

static void reply_hello(struct agent_reply *reply)
{
	struct agent_hello *h = reply_payload(reply);

	memset(h, 0, sizeof(*h));
	h->pid = agent.pid;
	h->tid = agent.tid;
	h->start_time = agent.start_time;
	h->uid = geteuid();
	h->not_interposed = agent.not_interposed;
	h->reason = agent.reason;
	for (unsigned i = 0; i < SHMS_MAX; i++)
		h->sessions += agent.shms[i].session != NULL;
	reply_set_size(reply, 1, sizeof(*h));
}

static void reply_attachments(struct agent_reply *reply, const struct session *session, uint32_t first)
{
	const uint32_t max = (AGENT_MESSAGE_MAX - sizeof(*reply)) / sizeof(struct agent_attachment_state);
	struct agent_attachment_state *to = reply_payload(reply);
	struct loaded_attachment **attachments = session->attachments.at;
	uint32_t n = session->attachments.n / sizeof(*attachments), count = 0;

	for (uint32_t i = first; i < n && count < max; i++, count++) {
		const struct loaded_attachment *s = attachments[i];

		memset(&to[count], 0, sizeof(to[count]));
		to[count].attachment = s->number;
		to[count].reason = s->reason;
		for (uint32_t k = 0; s->manifest && k < s->manifest->npoints; k++) {
			to[count].npoints += s->points[k].state != AGENT_OFF;
			to[count].armed += s->points[k].state == AGENT_ARMED;
			to[count].pending += s->points[k].state == AGENT_PENDING;
			to[count].refused += s->points[k].state == AGENT_REFUSED;
		}
	}
	reply_set_size(reply, count, sizeof(*to));
}

static void reply_points(struct agent_reply *reply, const struct loaded_attachment *attachment, uint32_t first)
{
	const uint32_t max = (AGENT_MESSAGE_MAX - sizeof(*reply)) / sizeof(struct agent_point_state);
	uint32_t n = attachment->manifest ? attachment->manifest->npoints : 0, count = 0;

	if (first < n)
		count = n - first < max ? n - first : max;
	if (count)
		memcpy(reply_payload(reply), attachment->points + first, count * sizeof(struct agent_point_state));
	reply_set_size(reply, count, sizeof(struct agent_point_state));
}

static void reply_state(struct agent_reply *reply, const struct session *session, const struct agent_request *request)
{
	const struct loaded_attachment *attachment = session_attachment_find(session, request->attachment);

	if (attachment)
		reply_points(reply, attachment, request->first);
	else
		reply_error(reply, ENOENT, 0);
}

/* Returns the region's descriptor, or -1. */
static int reply_shm(struct agent_reply *reply, const struct session *session)
{
	if (!session->shm || session->shm->fd < 0) {
		reply_error(reply, ENOENT, 0);
		return -1;
	}
	session->shm->asked = true;
	return session->shm->fd;
}

/* ---- requests ---- */

/* Checks the request and rescans if it asks for that. Returns its session, or NULL after reply_error(). */
static const struct session *request_session(const struct agent_request *request, struct agent_reply *reply, int store)
{
	const struct session *session;

	if (request->op < AGENT_RESCAN || request->op > AGENT_SHM || request->session[AGENT_SESSION_MAX + 7] ||
	    !session_name_ok(request->session)) {
		reply_error(reply, EINVAL, 0);
		return NULL;
	}
	if (request->op == AGENT_RESCAN && !request->first) {
		if (!sessions_rescan(store)) {
			reply_error(reply, EBUSY, AGENT_BUSY);
			return NULL;
		}
		shms_keep(store);
	}
	session = session_find(request->session);
	if (!session)
		reply_error(reply, ENOENT, AGENT_DIRECTORY);
	return session;
}

/* Fills in the reply. Returns a descriptor to send with it, or -1. */
static int request_answer(const struct agent_request *request, struct agent_reply *reply, int store)
{
	const struct session *session;

	memset(reply, 0, sizeof(*reply));
	reply->magic = AGENT_MESSAGE_MAGIC;
	reply->version = AGENT_VERSION;
	reply->op = request->op;
	if (request->version != AGENT_VERSION) {
		reply_error(reply, EPROTONOSUPPORT, 0);
		return -1;
	}
	if (request->op == AGENT_HELLO) {
		reply_hello(reply);
		return -1;
	}
	session = request_session(request, reply, store);
	if (!session)
		return -1;
	if (request->op == AGENT_SHM)
		return reply_shm(reply, session);
	if (request->op == AGENT_RESCAN)
		reply_attachments(reply, session, request->first);
	else
		reply_state(reply, session, request);
	return -1;
}

static bool reply_send(int peer, const struct agent_reply *reply, int fd)
{
	return socket_send(peer, reply, sizeof(*reply) + reply->size, fd);
}

bool control_serve(int listener, int wake, int store)
{
	struct agent_reply *reply = (struct agent_reply *)answer;
	struct agent_request request;
	int peer = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK), fd;

	if (peer < 0)
		return false;
	while (socket_peer_ok(peer)) {
		struct pollfd polled[2] = { { .fd = peer, .events = POLLIN }, { .fd = wake, .events = POLLIN } };
		bool sent;

		if (poll(polled, 2, PATIENCE_MS) <= 0 || polled[1].revents)
			break;
		if (recv(peer, &request, sizeof(request), MSG_TRUNC) != sizeof(request) ||
		    request.magic != AGENT_MESSAGE_MAGIC)
			break;
		change_begin();
		fd = request_answer(&request, reply, store);
		sent = reply_send(peer, reply, fd);
		change_end();
		if (!sent)
			break;
	}
	close(peer);
	return true;
}
