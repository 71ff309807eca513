/* SPDX-License-Identifier: MIT */
#include "runtime/agent/processes.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/array.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/notice.h"
#include "runtime/agent/counts-file.h"
#include "runtime/agent/session.h"
#include "runtime/process.h"

#define VERIFY_NS 1000000000u /* agents compare their sites with the memory at most this often */
#define READER_MS 1000        /* time for a reply to a reader: meanwhile the rings of other processes fill up */
#define COMMAND_MS 3000       /* time for a reply to another command */
#define STATES ((AGENT_MESSAGE_MAX - sizeof(struct agent_reply)) / sizeof(struct agent_point_state))

static bool target_has_ended(const struct target_process *target)
{
	struct pollfd ended = { .fd = target->pidfd, .events = POLLIN };

	return poll(&ended, 1, 0) > 0;
}

bool target_is_current(const struct agent_session *session, const struct target_process *target)
{
	/* A region whose session has ended serves another session. */
	return !strncmp(target->shm.header->session, session->name, sizeof(target->shm.header->session)) &&
	       !shm_has_moved(&target->shm);
}

static int target_connect(const struct agent_session *session, pid_t pid, struct agent_peer *peer)
{
	return agent_connect_within(&session->dir, pid, peer, session->observer ? READER_MS : COMMAND_MS);
}

/* ---- sites that are not armed any more ---- */

/* Returns the first reason for which the agent refuses a point of the attachment; NULL: not known. */
static const char *peer_read_refusal(const struct agent_session *session, struct agent_peer *peer, uint32_t attachment)
{
	static _Thread_local struct agent_point_state states[STATES];
	struct agent_query query = { .op = AGENT_STATE, .session = session->name, .attachment = attachment };
	struct agent_answer answer = { .items = states, .max = STATES, .item_size = sizeof(*states) };
	int n;

	do {
		n = agent_ask(peer, &query, &answer);
		for (int i = 0; i < n; i++)
			if (states[i].state == AGENT_REFUSED)
				return agent_reason_text(states[i].reason, states[i].found);
		query.first += n > 0 ? (uint32_t)n : 0;
	} while (n > 0);
	return NULL;
}

static bool session_has(const struct agent_session *session, uint32_t attachment)
{
	const struct pp_session *s = session->session;

	for (size_t i = 0; i < s->nattachments; i++)
		if (s->attachments[i]->backend == &backend_agent && s->attachments[i]->number == attachment)
			return true;
	return false;
}

/*
 * Makes the agent compare its sites with the memory, because another tool or the program may have written there. Adds a
 * notice if the number of sites that are not armed has changed.
 */
static void peer_verify(const struct agent_session *session, struct agent_peer *peer, uint32_t *refused)
{
	struct agent_attachment_state states[64];
	struct agent_query query = { .op = AGENT_RESCAN, .session = session->name };
	struct agent_answer answer = { .items = states, .max = 64, .item_size = sizeof(*states) };
	uint32_t sum = 0;
	int n;

	if (!session->verifying)
		return;
	n = agent_ask(peer, &query, &answer);
	for (int i = 0; i < n; i++)
		sum += session_has(session, states[i].attachment) ? states[i].refused : 0;
	if (sum == *refused || n < 0)
		return;
	*refused = sum;
	for (int i = 0; i < n; i++) {
		const struct agent_attachment_state *s = &states[i];
		const char *why = s->refused && session_has(session, s->attachment)
		                          ? peer_read_refusal(session, peer, s->attachment)
		                          : NULL;

		if (why)
			notice_add("pid %d: %u of %u site%s not armed: %s", peer->pid, s->refused, s->npoints,
			           s->npoints == 1 ? " is" : "s are", why);
	}
}

static void target_verify(const struct agent_session *session, struct target_process *target)
{
	struct agent_peer peer;

	if (!session->verifying || target_connect(session, target->peer.pid, &peer))
		return;
	peer_verify(session, &peer, &target->refused);
	agent_disconnect(&peer);
}

/* ---- adding and removing ---- */

static void target_free(struct agent_session *session, struct target_process *target)
{
	if (session->observer)
		session->observer->remove(session, target);
	shm_unmap(&target->shm);
	if (target->pidfd >= 0)
		close(target->pidfd);
	free(target);
}

void agent_targets_release(struct agent_session *session)
{
	for (size_t i = 0; i < session->ntargets; i++)
		target_free(session, session->targets[i]);
	free(session->targets);
	session->targets = NULL;
	session->ntargets = session->targets_room = 0;
}

/*
 * Asks a connected agent for the region. Returns its descriptor, -ENOENT if the process has none, or another negative
 * errno.
 */
static int target_ask_shm(const struct agent_session *session, struct target_process *target)
{
	const struct agent_query query = { .op = AGENT_SHM, .session = session->name };
	struct agent_answer answer = { .wants_fd = true };
	int err;

	target->pidfd = (int)syscall(SYS_pidfd_open, target->peer.pid, 0);
	if (target->pidfd < 0)
		return -ENOENT;
	err = agent_ask(&target->peer, &query, &answer);
	/* The region comes first, because records wait in it. */
	peer_verify(session, &target->peer, &target->refused);
	/* An agent that does not see dlopen(3) may have armed something only now. */
	if (err == -ENOENT && target->peer.not_interposed && session->verifying)
		err = agent_ask(&target->peer, &query, &answer);
	if (err < 0)
		return err;
	if (answer.fd < 0)
		return error_set(EPROTO, "pid %d: malformed reply from the agent: no descriptor", target->peer.pid);
	/*
	 * A short-lived process may end as soon as it has sent its region, which is all that is left of its records.
	 * The pidfd belongs to another process only if its process lives and started at another time.
	 */
	if (process_start_time(target->peer.pid) != target->peer.start_time && !target_has_ended(target)) {
		close(answer.fd);
		return -ENOENT;
	}
	return answer.fd;
}

static int target_open(struct agent_session *session, struct target_process *target)
{
	pid_t pid = target->peer.pid;
	int fd, err = target_connect(session, pid, &target->peer);

	if (err)
		return err;
	fd = target_ask_shm(session, target);
	agent_disconnect(&target->peer);
	if (fd < 0)
		return fd;
	err = shm_map(&target->shm, fd, pid);
	if (err)
		return err;
	return session->observer ? session->observer->add(session, target) : 0;
}

static int targets_add(struct agent_session *session, pid_t pid, uint64_t key)
{
	struct target_process *target;
	int err = ALLOC_GROW(session->targets, session->ntargets + 1, session->targets_room);

	if (err)
		return err;
	target = calloc(1, sizeof(*target));
	if (!target)
		return error_nomem();
	target->peer = (struct agent_peer){ .fd = -1, .pid = pid };
	target->pidfd = -1;
	target->key = key;
	err = target_open(session, target);
	if (err)
		target_free(session, target);
	else
		session->targets[session->ntargets++] = target;
	return err == -ENOMEM ? err : 0;
}

static bool session_concerns(const struct agent_session *session, pid_t pid)
{
	for (size_t i = 0; i < session->npids; i++)
		if (session->pids[i] == pid)
			return true;
	return !session->npids;
}

static int targets_see_socket(pid_t pid, uint64_t key, void *arg)
{
	struct agent_session *session = arg;

	if (!session_concerns(session, pid))
		return 0;
	for (size_t i = 0; i < session->ntargets; i++) {
		struct target_process *target = session->targets[i];

		if (target->peer.pid != pid || target->gone)
			continue;
		if (target->key == key) {
			target_verify(session, target);
			return 0;
		}
		target->gone = true;
	}
	return targets_add(session, pid, key);
}

static void target_save(struct agent_session *session, const struct target_process *target, const char *name)
{
	const struct pp_session *s = session->session;

	for (size_t i = 0; i < s->nattachments; i++)
		if (s->attachments[i]->backend == &backend_agent)
			counts_file_save(&session->dir, &target->shm, target->peer.pid, target->peer.start_time,
			                 s->attachments[i]->manifest, name);
	if (target_has_ended(target))
		agent_dir_unlink(&session->dir, "unkept", 0, target->peer.pid);
}

int agent_targets_refresh(struct agent_session *session)
{
	size_t n = 0;
	int err;

	for (size_t i = 0; i < session->ntargets; i++) {
		struct target_process *target = session->targets[i];

		target->gone = target->gone || target_has_ended(target) || shm_has_moved(&target->shm);
	}
	session->refreshed = clock_ns();
	session->verifying = session->refreshed - session->verified > VERIFY_NS;
	if (session->verifying)
		session->verified = session->refreshed;
	err = agent_each_socket(&session->dir, targets_see_socket, session);
	for (size_t i = 0; i < session->ntargets; i++) {
		struct target_process *target = session->targets[i];

		if (!target->gone || (session->observer && !session->observer->is_done(session, target))) {
			session->targets[n++] = target;
			continue;
		}
		if (!shm_has_moved(&target->shm) && (target_has_ended(target) || shm_claim(&target->shm)))
			target_save(session, target, target_has_ended(target) ? COUNTS_LAST : COUNTS_PAST);
		target_free(session, target);
	}
	session->ntargets = n;
	return err;
}
