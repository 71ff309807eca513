/* SPDX-License-Identifier: MIT */
#include "runtime/agent/processes.h"

#include <errno.h>
#include <probepoint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/array.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/notice.h"
#include "runtime/agent/backoff.h"
#include "runtime/agent/counts-file.h"
#include "runtime/agent/keeper.h"
#include "runtime/agent/session.h"
#include "runtime/process.h"

#define VERIFY_NS 1000000000u /* agents compare their sites with the memory at most this often */
#define READER_MS 1000        /* time for a reply to a reader: meanwhile the rings of other processes fill up */
#define COMMAND_MS 3000       /* time for a reply to another command */
#define STATES ((AGENT_MESSAGE_MAX - sizeof(struct agent_reply)) / sizeof(struct agent_point_state))

bool target_is_current(const struct agent_session *session, const struct target_process *target)
{
	/* A region whose session has ended serves another session. */
	return !strncmp(target->shm.header->session, session->name, sizeof(target->shm.header->session)) &&
	       !shm_has_moved(&target->shm);
}

bool target_counts(const struct target_process *target)
{
	return !target->kept && !shm_has_moved(&target->shm) && !shm_is_claimed(&target->shm);
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

/* Reports an agent that does not reply, once. mapped: its region is mapped here. */
static void target_report_silent(pid_t pid, bool mapped)
{
	if (backoff_is_new(pid))
		notice_add("%s; %s", pp_error(),
		           mapped ? "its counts and records are read, and its sites are not checked"
		                  : "its counts and records may be missing");
}

static void target_verify(const struct agent_session *session, struct target_process *target)
{
	struct agent_peer peer;
	int err = session->verifying ? target_connect(session, target->peer.pid, &peer) : -ENOENT;

	if (err == -ETIMEDOUT)
		target_report_silent(target->peer.pid, true);
	if (err)
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
	if (err == -ETIMEDOUT)
		return err;
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
	if (process_start_time(target->peer.pid) != target->peer.start_time && !pidfd_has_ended(target->pidfd)) {
		close(answer.fd);
		return -ENOENT;
	}
	return answer.fd;
}

/* Returns a descriptor of the region of a process whose agent does not reply, from the keeper; or a negative errno. */
static int target_ask_keeper(const struct agent_session *session, struct target_process *target)
{
	struct agent_kept kept;
	pid_t pid = target->peer.pid;
	int fd;

	target->peer.start_time = process_start_time(pid);
	if (target->pidfd < 0)
		target->pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (target->pidfd < 0)
		return -ENOENT;
	fd = agent_keeper_process(&session->dir, session->name, pid, target->peer.start_time, &kept);
	target_report_silent(pid, fd >= 0);
	return fd;
}

/* Returns a descriptor of the region of a process; or a negative errno. */
static int target_ask(struct agent_session *session, struct target_process *target)
{
	int fd = target_connect(session, target->peer.pid, &target->peer);

	if (!fd) {
		fd = target_ask_shm(session, target);
		agent_disconnect(&target->peer);
	}
	return fd == -ETIMEDOUT ? target_ask_keeper(session, target) : fd;
}

static bool targets_have(const struct agent_session *session, const struct mapped_shm *shm)
{
	for (size_t i = 0; i < session->ntargets; i++)
		if (shm_is_same(&session->targets[i]->shm, shm))
			return true;
	return false;
}

/* Maps the region of the descriptor fd, which may be a negative errno, and adds the target. */
static int targets_append(struct agent_session *session, struct target_process *target, int fd)
{
	int err = fd < 0 ? fd : shm_map(&target->shm, fd, target->peer.pid);

	/* The keeper also has regions of processes that have ended whose regions are mapped here already. */
	if (err || (target->kept && targets_have(session, &target->shm)))
		return err ? err : -EEXIST;
	err = ALLOC_GROW(session->targets, session->ntargets + 1, session->targets_room);
	if (err)
		return err;
	if (session->observer)
		err = session->observer->add(session, target);
	if (!err)
		session->targets[session->ntargets++] = target;
	return err;
}

/* Does what targets_append() does, and frees a target that cannot be added. Returns 0 or -ENOMEM. */
static int targets_add(struct agent_session *session, struct target_process *target, int fd)
{
	int err = targets_append(session, target, fd);

	if (err)
		target_free(session, target);
	return err == -ENOMEM ? err : 0;
}

static struct target_process *target_new(pid_t pid)
{
	struct target_process *target = calloc(1, sizeof(*target));

	if (!target)
		return NULL;
	target->peer = (struct agent_peer){ .fd = -1, .pid = pid };
	target->pidfd = -1;
	return target;
}

/* If there is a reader, adds the regions with unread records that processes do not use any more. */
static int targets_add_kept(struct agent_session *session)
{
	struct agent_kept kept;
	int fd, err = session->observer ? 0 : -ENOENT;

	while (!err && (fd = agent_keeper_records(&session->dir, session->name, session->kept_next, &kept)) >= 0) {
		struct target_process *target = target_new((pid_t)kept.pid);

		if (!target) {
			close(fd);
			return error_nomem();
		}
		target->peer.start_time = kept.start_time;
		target->gone = target->kept = true;
		session->kept_next = kept.number + 1;
		err = targets_add(session, target, fd);
	}
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
	struct target_process *new;

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
	new = target_new(pid);
	if (!new)
		return error_nomem();
	new->key = key;
	return targets_add(session, new, target_ask(session, new));
}

static void target_save(struct agent_session *session, const struct target_process *target, const char *name)
{
	const struct pp_session *s = session->session;

	for (size_t i = 0; i < s->nattachments; i++)
		if (s->attachments[i]->backend == &backend_agent)
			counts_file_save(&session->dir, &target->shm, target->peer.pid, target->peer.start_time,
			                 s->attachments[i]->manifest, name);
	if (pidfd_has_ended(target->pidfd))
		agent_dir_unlink(&session->dir, "unkept",
		                 (struct agent_file_id){ 0, target->peer.pid, target->peer.start_time });
}

int agent_targets_refresh(struct agent_session *session)
{
	size_t n = 0;
	int err;

	for (size_t i = 0; i < session->ntargets; i++) {
		struct target_process *target = session->targets[i];

		target->gone = target->gone || pidfd_has_ended(target->pidfd) || shm_has_moved(&target->shm) ||
		               shm_is_claimed(&target->shm);
	}
	session->refreshed = clock_ns();
	session->verifying = session->refreshed - session->verified > VERIFY_NS;
	if (session->verifying)
		session->verified = session->refreshed;
	err = agent_each_socket(&session->dir, targets_see_socket, session);
	if (!err)
		err = targets_add_kept(session);
	for (size_t i = 0; i < session->ntargets; i++) {
		struct target_process *target = session->targets[i];

		if (!target->gone || (session->observer && !session->observer->is_done(session, target))) {
			session->targets[n++] = target;
			continue;
		}
		if (target_counts(target) && target_is_current(session, target) &&
		    (pidfd_has_ended(target->pidfd) || shm_claim(&target->shm)))
			target_save(session, target, pidfd_has_ended(target->pidfd) ? COUNTS_LAST : COUNTS_PAST);
		target_free(session, target);
	}
	session->ntargets = n;
	return err;
}
