/* SPDX-License-Identifier: MIT */
/*
 * The socket. Who comes is asked for his user, gets a few seconds for each
 * question, and learns what is armed; he can give no orders but "look at your
 * files again". Messages are of a fixed size, so there are no lengths to believe.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "runtime/agent/inproc/agent.h"

#define PATIENCE_MS 2000

static char answer[AGENT_MESSAGE_MAX] __attribute__((aligned(8)));

/* Through the folder's descriptor: its path may be longer than an address, or lie outside of a chroot. */
static void socket_address(struct sockaddr_un *address, int dir, const char *name)
{
	address->sun_family = AF_UNIX;
	strcpy(address->sun_path, "/proc/thread-self/fd/");
	format_number(address->sun_path + strlen(address->sun_path), dir);
	strcat(address->sun_path, "/");
	strcat(address->sun_path, name);
}

/* A socket whose process has gone and which nobody listens to: it ended by _exit(2) or a signal. */
static int sweep(int dir, const char *name, void *arg)
{
	struct sockaddr_un address = { 0 };
	int64_t pid = parse_number(name);
	unsigned *left = arg;
	int fd;

	if (pid <= 0 || pid > INT32_MAX || strlen(name) > 10 || !kill(pid, 0) || errno != ESRCH)
		return 0;
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
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
	unsigned sweep_at_most = 64;
	char name[32];
	int dir, fd;

	dir = store_folder(store, "agents", true);
	if (dir < 0)
		return -1;
	if (agent.pid % 16 == 0)
		store_list(dir, sweep, &sweep_at_most);
	format_number(name, agent.pid);
	socket_address(&address, dir, name);
	unlinkat(dir, name, 0);
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
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
	int dir = store_folder(store, "agents", false);
	char name[32];

	if (dir < 0)
		return;
	format_number(name, agent.pid);
	unlinkat(dir, name, 0);
	close(dir);
}

static struct loaded_attachment *find_attachment(const struct session *session, uint32_t number)
{
	struct loaded_attachment **attachments = session->attachments.at;

	for (size_t i = 0; i < session->attachments.n / sizeof(*attachments); i++)
		if (attachments[i]->number == number)
			return attachments[i];
	return NULL;
}

static void *payload(struct agent_reply *reply)
{
	return reply + 1;
}

static void set_payload(struct agent_reply *reply, uint32_t count, size_t each)
{
	reply->count = count;
	reply->size = count * each;
}

static void hello(struct agent_reply *reply)
{
	struct agent_hello *h = payload(reply);

	memset(h, 0, sizeof(*h));
	h->pid = agent.pid;
	h->tid = agent.tid;
	h->start_time = agent.start_time;
	h->uid = geteuid();
	h->not_interposed = agent.behind;
	h->reason = agent.reason;
	for (unsigned i = 0; i < SHMS_MAX; i++)
		h->sessions += agent.shms[i].session != NULL;
	set_payload(reply, 1, sizeof(*h));
}

static void tell_attachments(struct agent_reply *reply, const struct session *session, uint32_t first)
{
	const uint32_t max = (AGENT_MESSAGE_MAX - sizeof(*reply)) / sizeof(struct agent_attachment_state);
	struct agent_attachment_state *to = payload(reply);
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
	set_payload(reply, count, sizeof(*to));
}

static void tell_points(struct agent_reply *reply, const struct loaded_attachment *attachment, uint32_t first)
{
	const uint32_t max = (AGENT_MESSAGE_MAX - sizeof(*reply)) / sizeof(struct agent_point_state);
	uint32_t n = attachment->manifest ? attachment->manifest->npoints : 0, count = 0;

	if (first < n)
		count = n - first < max ? n - first : max;
	if (count)
		memcpy(payload(reply), attachment->points + first, count * sizeof(struct agent_point_state));
	set_payload(reply, count, sizeof(struct agent_point_state));
}

static void fail(struct agent_reply *reply, int error, enum agent_reason reason)
{
	reply->error = -error;
	reply->reason = reason;
}

/* Fills in the answer; what is returned is a descriptor to go with it, or -1. */
static int respond(const struct agent_request *request, struct agent_reply *reply, int store)
{
	const struct session *session;
	const struct loaded_attachment *attachment;

	memset(reply, 0, sizeof(*reply));
	reply->magic = AGENT_MESSAGE_MAGIC;
	reply->version = AGENT_VERSION;
	reply->op = request->op;
	if (request->version != AGENT_VERSION) {
		fail(reply, EPROTONOSUPPORT, 0);
		return -1;
	}
	if (request->op == AGENT_HELLO) {
		hello(reply);
		return -1;
	}
	if (request->op < AGENT_REFRESH || request->op > AGENT_SHM || request->session[AGENT_SESSION_MAX + 7] ||
	    !store_session_ok(request->session)) {
		fail(reply, EINVAL, 0);
		return -1;
	}
	if (request->op == AGENT_REFRESH && !request->first) {
		if (!agent_look(store)) {
			fail(reply, EBUSY, AGENT_BUSY);
			return -1;
		}
		shms_keep(store);
	}
	session = agent_session(request->session);
	if (!session) {
		fail(reply, ENOENT, AGENT_DIRECTORY);
		return -1;
	}
	switch (request->op) {
	case AGENT_REFRESH: tell_attachments(reply, session, request->first); return -1;
	case AGENT_STATE:
		attachment = find_attachment(session, request->attachment);
		if (attachment)
			tell_points(reply, attachment, request->first);
		else
			fail(reply, ENOENT, 0);
		return -1;
	default:
		if (!session->shm || session->shm->fd < 0) {
			fail(reply, ENOENT, 0);
			return -1;
		}
		session->shm->asked = true;
		return session->shm->fd;
	}
}

/* With a descriptor, or -1. */
static bool send_with(int peer, const void *what, size_t size, int fd)
{
	union {
		struct cmsghdr header;
		char room[CMSG_SPACE(sizeof(int))];
	} control = { 0 };
	struct iovec iov = { (void *)what, size };
	struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (fd >= 0) {
		message.msg_control = &control;
		message.msg_controllen = sizeof(control);
		control.header.cmsg_level = SOL_SOCKET;
		control.header.cmsg_type = SCM_RIGHTS;
		control.header.cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(&control.header), &fd, sizeof(fd));
	}
	return sendmsg(peer, &message, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0;
}

static bool send_reply(int peer, const struct agent_reply *reply, int fd)
{
	return send_with(peer, reply, sizeof(*reply) + reply->size, fd);
}

static bool peer_ok(int peer)
{
	struct ucred who;
	socklen_t size = sizeof(who);

	return !getsockopt(peer, SOL_SOCKET, SO_PEERCRED, &who, &size) && (!who.uid || who.uid == geteuid());
}

bool control_serve(int listener, int wake, int store)
{
	struct agent_reply *reply = (struct agent_reply *)answer;
	struct agent_request request;
	int peer = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK), fd;

	if (peer < 0)
		return false;
	while (peer_ok(peer)) {
		struct pollfd polled[2] = { { .fd = peer, .events = POLLIN }, { .fd = wake, .events = POLLIN } };
		bool sent;

		if (poll(polled, 2, PATIENCE_MS) <= 0 || polled[1].revents)
			break;
		if (recv(peer, &request, sizeof(request), MSG_TRUNC) != sizeof(request) ||
		    request.magic != AGENT_MESSAGE_MAGIC)
			break;
		change_begin();
		fd = respond(&request, reply, store);
		sent = send_reply(peer, reply, fd);
		change_end();
		if (!sent)
			break;
	}
	close(peer);
	return true;
}

/* ---- the keeper ---- */

#define KEEPER_MS 500

/* A connection over which it has said that it keeps the shared memory region; -1. */
static int keep_shm(int agents, const struct shm *shm)
{
	struct agent_keep keep = { .magic = AGENT_KEEP_MAGIC,
		                   .version = AGENT_VERSION,
		                   .op = AGENT_KEEP_SHM,
		                   .start_time = agent.start_time };
	struct sockaddr_un address = { 0 };
	struct pollfd polled = { .events = POLLIN };
	char said = 0;

	socket_address(&address, agents, AGENT_KEEPER);
	memcpy(keep.session, shm->session->name, sizeof(keep.session));
	polled.fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (polled.fd < 0)
		return -1;
	if (!connect(polled.fd, (struct sockaddr *)&address, sizeof(address)) && peer_ok(polled.fd) &&
	    send_with(polled.fd, &keep, sizeof(keep), shm->fd) && poll(&polled, 1, KEEPER_MS) == 1 &&
	    recv(polled.fd, &said, 1, 0) == 1 && said == '1')
		return polled.fd;
	close(polled.fd);
	return -1;
}

static bool is_kept(const struct shm *shm)
{
	struct pollfd polled = { .fd = shm->keep, .events = POLLIN };

	return shm->keep >= 0 && poll(&polled, 1, 0) == 0;
}

void shms_keep(int store)
{
	int agents = store < 0 ? -1 : store_folder(store, "agents", false);

	for (unsigned i = 0; i < SHMS_MAX; i++) {
		struct shm *shm = &agent.shms[i];

		if (!shm->at || !shm->session || shm->fd < 0 || is_kept(shm))
			continue;
		if (shm->keep >= 0)
			close(shm->keep);
		shm->keep = agents < 0 ? -1 : keep_shm(agents, shm);
		session_unkept(store, shm->session, shm->keep < 0);
	}
	if (agents >= 0)
		close(agents);
}
