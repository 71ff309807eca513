/* SPDX-License-Identifier: MIT */
/*
 * Whose counts and records a session has. A process that lives is asked for its
 * shared memory region, which is mapped and then needs no more asking. One that has ended left a
 * file of its counts, counts-N-PID, if it could; if it was killed, there is what a
 * controller saw last: last-N-PID. A process may change its shared memory region and live on (it
 * called exec(2)): what it had counted before is added up in past-N-PID.
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "runtime/agent/keeper.h"
#include "runtime/agent/session.h"
#include "base/clock.h"
#include "base/notice.h"
#include "runtime/process.h"
#include "base/error.h"

#define LOOK_NS 200000000u /* counts are not asked of new processes more often than this */
#define ASK_NS 1000000000u /* agents are asked to look that often */
#define READER_MS 1000     /* for an answer: the rings of other processes fill meanwhile */
#define COMMAND_MS 3000
#define STATES ((AGENT_MESSAGE_MAX - sizeof(struct agent_reply)) / sizeof(struct agent_point_state))

/* ---- counts in files ---- */

static struct agent_counts *counts_new(const struct member *member, uint32_t attachment, uint32_t npoints)
{
	size_t size = sizeof(struct agent_counts) + npoints * sizeof(struct agent_count);
	struct agent_counts *c = calloc(1, size);

	if (c)
		*c = (struct agent_counts){ .magic = AGENT_COUNTS_MAGIC,
			                    .version = AGENT_VERSION,
			                    .size = size,
			                    .attachment = attachment,
			                    .npoints = npoints,
			                    .pid = (uint32_t)member->peer.pid,
			                    .start_time = member->peer.start_time };
	return c;
}

static struct agent_count *counts_of(const struct agent_counts *c)
{
	return (struct agent_count *)(c + 1);
}

static void add(struct agent_count *to, const struct agent_count *from, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		to[i].recorded += from[i].recorded;
		to[i].filtered += from[i].filtered;
		to[i].idle += from[i].idle;
		to[i].lost += from[i].lost;
	}
}

static bool any(const struct agent_count *counts, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		if (counts[i].recorded | counts[i].filtered | counts[i].idle | counts[i].lost)
			return true;
	return false;
}

/* NULL: it is not there, or cannot be ours. */
static struct agent_counts *counts_read(const struct agent_store *store, const char *name, uint32_t attachment,
                                        pid_t pid, uint32_t npoints)
{
	size_t wanted = sizeof(struct agent_counts) + npoints * sizeof(struct agent_count), size;
	struct agent_counts *c;
	void *bytes;

	if (agent_store_read(store, name, attachment, pid, wanted, &bytes, &size))
		return NULL;
	c = bytes;
	if (size == wanted && c->magic == AGENT_COUNTS_MAGIC && c->version == AGENT_VERSION && c->size == size &&
	    c->attachment == attachment && c->npoints == npoints && c->pid == (uint32_t)pid)
		return c;
	free(bytes);
	return NULL;
}

void member_save(const struct agent_store *store, const struct member *member, uint32_t attachment, uint32_t npoints,
                 const char *name)
{
	bool past = !strcmp(name, "past");
	struct agent_counts *c = counts_new(member, attachment, npoints), *before;

	if (!c)
		return;
	shm_count(&member->shm, attachment, counts_of(c), npoints);
	before = counts_read(store, past ? "past" : "counts", attachment, member->peer.pid, npoints);
	if (before && before->start_time == c->start_time) {
		if (past)
			add(counts_of(c), counts_of(before), npoints);
		else
			npoints = 0; /* the process has said it itself */
	}
	free(before);
	if (any(counts_of(c), npoints))
		agent_store_write(store, name, attachment, member->peer.pid, c, c->size);
	free(c);
}

/* ---- members ---- */

static bool has_ended(const struct member *member)
{
	struct pollfd ended = { .fd = member->pidfd, .events = POLLIN };

	return poll(&ended, 1, 0) > 0;
}

/* What was counted has gone along. */
static bool has_moved(const struct member *member)
{
	return __atomic_load_n(&member->shm.header->moved, __ATOMIC_ACQUIRE) == 1;
}

static void member_free(struct agent_reader *reader, struct member *member)
{
	agent_reader_leave(reader, member);
	shm_unmap(&member->shm);
	if (member->pidfd >= 0)
		close(member->pidfd);
	free(member);
}

void members_release(struct agent_session *k)
{
	for (size_t i = 0; i < k->nmembers; i++)
		member_free(k->reader, k->members[i]);
	free(k->members);
	k->members = NULL;
	k->nmembers = 0;
}

static bool concerned(const struct agent_session *k, pid_t pid)
{
	for (size_t i = 0; i < k->npids; i++)
		if (k->pids[i] == pid)
			return true;
	return !k->npids;
}

/* The first reason for which the process has refused one of the attachment's points; NULL: none is known. */
static const char *refusal(const struct agent_session *k, struct agent_peer *peer, uint32_t attachment)
{
	static _Thread_local struct agent_point_state states[STATES];
	int n = 1;

	for (uint32_t first = 0; n > 0; first += (uint32_t)n) {
		n = agent_ask(peer, AGENT_STATE, k->name, attachment, first, states, STATES, sizeof(*states), NULL,
		              NULL);
		for (int i = 0; i < n; i++)
			if (states[i].state == AGENT_REFUSED)
				return agent_reason_text(states[i].reason, states[i].found);
	}
	return NULL;
}

static bool is_ours(const struct agent_session *k, uint32_t attachment)
{
	for (size_t i = 0; i < k->session->nattachments; i++)
		if (k->session->attachments[i]->backend == &backend_agent &&
		    k->session->attachments[i]->number == attachment)
			return true;
	return false;
}

/*
 * Has the agent compare its sites with the memory, and say which are not armed (any more): another tool, or the program,
 * may have written there.
 */
static void have_look(const struct agent_session *k, struct agent_peer *peer, uint32_t *refused)
{
	struct agent_attachment_state states[64];
	uint32_t sum = 0;
	int n;

	if (!k->asking)
		return;
	n = agent_ask(peer, AGENT_LOOK, k->name, 0, 0, states, sizeof(states) / sizeof(*states), sizeof(*states), NULL,
	              NULL);
	for (int i = 0; i < n; i++)
		sum += is_ours(k, states[i].attachment) ? states[i].refused : 0;
	if (sum == *refused || n < 0)
		return;
	*refused = sum;
	for (int i = 0; i < n; i++) {
		const char *why = states[i].refused && is_ours(k, states[i].attachment)
		                          ? refusal(k, peer, states[i].attachment)
		                          : NULL;

		if (why)
			notice_add("process %d: %u of %u sites are not armed: %s", peer->pid, states[i].refused,
			           states[i].npoints, why);
	}
}

static void have_member_look(const struct agent_session *k, struct member *member)
{
	struct agent_peer peer;

	if (!k->asking || agent_connect_within(&k->store, member->peer.pid, &peer, k->reader ? READER_MS : COMMAND_MS))
		return;
	have_look(k, &peer, &member->refused);
	agent_disconnect(&peer);
}

static int shm_of(struct agent_session *k, struct member *member)
{
	int fd, err = agent_connect_within(&k->store, member->peer.pid, &member->peer,
	                                   k->reader ? READER_MS : COMMAND_MS);

	if (err)
		return err;
	member->pidfd = (int)syscall(SYS_pidfd_open, member->peer.pid, 0);
	err = member->pidfd < 0 ? -ENOENT : agent_ask(&member->peer, AGENT_SHM, k->name, 0, 0, NULL, 0, 0, NULL, &fd);
	/* The shared memory region first: records wait there. One that does not hear of dlopen() may have something to arm yet. */
	have_look(k, &member->peer, &member->refused);
	if (err == -ENOENT && member->peer.behind && k->asking)
		err = agent_ask(&member->peer, AGENT_SHM, k->name, 0, 0, NULL, 0, 0, NULL, &fd);
	/*
	 * A short-lived process may end as soon as it has given its shared memory region away: the shared memory region is all that is left of its records.
	 * A pidfd is another process's only if its process lives and began at another time.
	 */
	if (!err && process_start_time(member->peer.pid) != member->peer.start_time && !has_ended(member)) {
		close(fd);
		err = -ENOENT;
	}
	agent_disconnect(&member->peer);
	if (!err)
		err = shm_map(&member->shm, fd, member->peer.pid);
	return err;
}

/* Whoever cannot be asked now is asked the next time. */
static int meet(pid_t pid, uint64_t key, void *arg)
{
	struct agent_session *k = arg;
	struct member *member, **more;
	int err;

	if (!concerned(k, pid))
		return 0;
	for (size_t i = 0; i < k->nmembers; i++)
		if (k->members[i]->peer.pid == pid && !k->members[i]->gone) {
			if (k->members[i]->key == key) {
				have_member_look(k, k->members[i]);
				return 0;
			}
			k->members[i]->gone = true;
		}
	more = realloc(k->members, (k->nmembers + 1) * sizeof(*more));
	if (more)
		k->members = more;
	member = more ? calloc(1, sizeof(*member)) : NULL;
	if (!member)
		return error_nomem();
	member->peer = (struct agent_peer){ .fd = -1, .pid = pid };
	member->pidfd = -1;
	member->key = key;
	err = shm_of(k, member);
	if (!err && k->reader)
		err = agent_reader_join(k->reader, member);
	if (err)
		member_free(k->reader, member);
	else
		k->members[k->nmembers++] = member;
	return err == -ENOMEM ? err : 0;
}

bool member_claim(const struct member *member)
{
	uint32_t nobody = 0;

	return __atomic_compare_exchange_n(&member->shm.header->written, &nobody, 1, false, __ATOMIC_ACQ_REL,
	                                   __ATOMIC_RELAXED);
}

static void save_all(struct agent_session *k, const struct member *member, const char *name)
{
	for (size_t s = 0; s < k->session->nattachments; s++)
		if (k->session->attachments[s]->backend == &backend_agent)
			member_save(&k->store, member, k->session->attachments[s]->number,
			            k->session->attachments[s]->manifest->npoints, name);
	if (has_ended(member))
		agent_store_unlink(&k->store, "unkept", 0, member->peer.pid);
}

int members_look(struct agent_session *k)
{
	size_t n = 0;
	int err;

	for (size_t i = 0; i < k->nmembers; i++) {
		struct member *member = k->members[i];

		member->gone = member->gone || has_ended(member) || has_moved(member);
	}
	k->looked = clock_ns();
	k->asking = k->looked - k->asked > ASK_NS;
	if (k->asking)
		k->asked = k->looked;
	err = agent_each(&k->store, meet, k);
	for (size_t i = 0; i < k->nmembers; i++) {
		struct member *member = k->members[i];

		if (!member->gone || (k->reader && !agent_reader_done(k->reader, member))) {
			k->members[n++] = member;
			continue;
		}
		if (!has_moved(member) && (has_ended(member) || member_claim(member)))
			save_all(k, member, has_ended(member) ? "last" : "past");
		member_free(k->reader, member);
	}
	k->nmembers = n;
	return err;
}

/* ---- counting ---- */

/* Counts of a process for all points of the attachment; they are added to what is there. */
typedef int counted_fn(pid_t pid, const struct agent_count *counts, void *arg);

struct sum {
	struct agent_loaded *loaded;
	const struct manifest *manifest;
	const char *name;
	counted_fn *fn;
	void *arg;
};

static int add_file(uint32_t number, pid_t pid, void *arg)
{
	const struct sum *sum = arg;
	const struct agent_session *k = sum->loaded->session;
	struct agent_counts *c, *own = NULL;
	bool mapped = false;
	int err = 0;

	if (number != sum->manifest->attachment || !pid)
		return 0;
	c = counts_read(&k->store, sum->name, number, pid, sum->manifest->npoints);
	if (!c)
		return 0;
	for (size_t i = 0; i < k->nmembers; i++)
		mapped |= k->members[i]->peer.pid == pid && k->members[i]->peer.start_time == c->start_time;
	if (!strcmp(sum->name, "last"))
		own = counts_read(&k->store, "counts", number, pid, sum->manifest->npoints);
	if (!strcmp(sum->name, "past") || (!mapped && (!own || own->start_time != c->start_time)))
		err = sum->fn(pid, counts_of(c), sum->arg);
	free(own);
	free(c);
	return err;
}

/* Of processes that have ended. */
static int each_file(struct agent_loaded *loaded, const struct manifest *manifest, counted_fn *fn, void *arg)
{
	static const char *const names[] = { "counts", "last", "past" };
	int err = 0;

	for (size_t i = 0; i < sizeof(names) / sizeof(*names) && !err; i++) {
		struct sum sum = { loaded, manifest, names[i], fn, arg };

		err = agent_store_each(&loaded->session->store, names[i], add_file, &sum);
	}
	return err;
}

static int add_counts(pid_t pid, const struct agent_count *counts, void *arg)
{
	struct sum *sum = arg;

	(void)pid;
	add(sum->loaded->counts, counts, sum->manifest->npoints);
	return 0;
}

int members_each(struct agent_loaded *loaded, const struct manifest *manifest, counted_fn *fn, void *arg)
{
	struct agent_session *k = loaded->session;
	struct agent_count *counts = calloc(manifest->npoints + 1, sizeof(*counts));
	int err = counts ? 0 : error_nomem();

	for (size_t i = 0; i < k->nmembers && !err; i++) {
		if (has_moved(k->members[i]))
			continue;
		memset(counts, 0, manifest->npoints * sizeof(*counts));
		shm_count(&k->members[i]->shm, manifest->attachment, counts, manifest->npoints);
		err = fn(k->members[i]->peer.pid, counts, arg);
	}
	free(counts);
	return err ? err : each_file(loaded, manifest, fn, arg);
}

int members_count(struct agent_loaded *loaded, const struct manifest *manifest)
{
	struct agent_session *k = loaded->session;
	int err = 0;

	if (clock_ns() - k->looked > LOOK_NS) {
		agent_keeper_settle(&k->store);
		err = members_look(k);
	}
	if (err)
		return err;
	memset(loaded->counts, 0, manifest->npoints * sizeof(*loaded->counts));
	for (size_t i = 0; i < k->nmembers; i++) {
		if (has_moved(k->members[i]))
			continue;
		shm_count(&k->members[i]->shm, manifest->attachment, loaded->counts, manifest->npoints);
		/* A reader does so when it has read the last of them. */
		if (!k->reader && k->owner < 0)
			member_save(&k->store, k->members[i], manifest->attachment, manifest->npoints, "last");
	}
	if (!err)
		err = each_file(loaded, manifest, add_counts, &(struct sum){ .loaded = loaded, .manifest = manifest });
	loaded->counted = clock_ns();
	return err;
}
