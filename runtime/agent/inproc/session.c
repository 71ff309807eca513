/* SPDX-License-Identifier: MIT */
/* The table of sessions, and the files that the process leaves for controllers. */
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "runtime/agent/inproc/agent.h"
#include "runtime/agent/inproc/child.h"
#include "runtime/agent/inproc/files.h"
#include "runtime/agent/inproc/layout.h"
#include "runtime/agent/inproc/session.h"
#include "runtime/agent/inproc/tables.h"

struct session *session_find(const char *name)
{
	for (unsigned i = 0; i < SESSIONS_MAX; i++)
		if (agent.sessions[i].name[0] && !strcmp(agent.sessions[i].name, name))
			return &agent.sessions[i];
	return NULL;
}

struct session *session_new(const char *name)
{
	for (unsigned i = 0; i < SESSIONS_MAX; i++)
		if (!agent.sessions[i].name[0]) {
			strcpy(agent.sessions[i].name, name);
			return &agent.sessions[i];
		}
	return NULL;
}

/* ---- attachments ---- */

/* Finds or adds the attachment. Returns NULL without memory. */
struct loaded_attachment *session_attachment(struct session *session, uint32_t number)
{
	struct loaded_attachment *attachment, **added;

	for (size_t i = 0; i < nattachments(session); i++)
		if (attachments_of(session)[i]->number == number)
			return attachments_of(session)[i];
	attachment = pages_map(sizeof(*attachment));
	added = attachment ? vector_add(&session->attachments, sizeof(*added)) : NULL;
	if (!added) {
		pages_unmap(attachment, sizeof(*attachment));
		return NULL;
	}
	attachment->session = session;
	attachment->number = number;
	*added = attachment;
	return attachment;
}

void attachment_forget(struct session *session, size_t i)
{
	struct loaded_attachment **attachments = attachments_of(session);
	size_t n = nattachments(session);

	attachment_release(attachments[i]);
	pages_unmap(attachments[i], sizeof(*attachments[i]));
	attachments[i] = attachments[n - 1];
	session->attachments.n -= sizeof(*attachments);
}

void attachments_forget(struct session *session)
{
	while (nattachments(session))
		attachment_forget(session, 0);
}

/* ---- sessions ---- */

void session_forget(struct session *session)
{
	shm_leave(session);
	attachments_forget(session);
	if (session->attachments.at)
		munmap(session->attachments.at, session->attachments.room);
	memset(session, 0, sizeof(*session));
}

/* ---- what the process leaves ---- */

void sessions_inherit(int store)
{
	for (unsigned i = 0; i < SESSIONS_MAX; i++) {
		const struct session *session = &agent.sessions[i];
		int dir = -1;

		for (size_t k = 0; k < nattachments(session); k++) {
			if (!attachments_of(session)[k]->manifest || !attachments_of(session)[k]->inherited)
				continue;
			if (dir < 0)
				dir = dir_open(store, session->name, false);
			if (dir >= 0)
				child_write(dir, attachments_of(session)[k]);
		}
		if (dir >= 0)
			close(dir);
	}
}

/* Writes NAME-N-PID-ID with the pid of this process. */
static void process_file_name(char to[80], const char *name, uint32_t number, uint64_t id)
{
	strcpy(to, name);
	strcat(to, "-");
	format_number(to + strlen(to), number);
	strcat(to, "-");
	format_number(to + strlen(to), agent.pid);
	strcat(to, "-");
	format_number(to + strlen(to), id);
}

void session_mark_unkept(int store, const struct session *session, bool unkept)
{
	struct agent_child child = {
		.magic = AGENT_CHILD_MAGIC,
		.version = AGENT_VERSION,
		.pid = agent.pid,
		.start_time = agent.start_time,
	};
	int dir = store < 0 ? -1 : dir_open(store, session->name, false);
	char name[80];

	if (dir < 0)
		return;
	process_file_name(name, "unkept", 0, agent.start_time);
	if (unkept)
		file_write(dir, name, &child, sizeof(child));
	else
		unlinkat(dir, name, 0);
	close(dir);
}

static void attachment_write_counts(int dir, const struct session_shm *shm, const struct loaded_attachment *attachment)
{
	uint32_t n = attachment->manifest->npoints;
	size_t fixed = sizeof(struct agent_counts) + n * sizeof(struct agent_count), size;
	struct table_results results;
	struct agent_counts *h;
	struct agent_count *counts, c;
	const struct agent_slot *slots = shm->slots.at;
	char name[80];

	table_results_find(shm, attachment, &results);
	size = fixed + results.nmisfits * sizeof(struct agg_misfit) +
	       (uint64_t)results.ncells * (sizeof(struct agg_cell) + results.key_size);
	h = pages_map(size);
	if (!h)
		return;
	counts = (struct agent_count *)(h + 1);
	for (size_t i = 0; i < shm->slots.n / sizeof(*slots); i++) {
		if (slots[i].attachment != attachment->number || slots[i].point >= n)
			continue;
		shm_count(shm, i, &c);
		counts[slots[i].point].recorded += c.recorded;
		counts[slots[i].point].filtered += c.filtered;
		counts[slots[i].point].unsampled += c.unsampled;
		counts[slots[i].point].idle += c.idle;
		counts[slots[i].point].lost += c.lost;
		counts[slots[i].point].unmatched += c.unmatched;
	}
	h->magic = AGENT_COUNTS_MAGIC;
	h->version = AGENT_VERSION;
	h->ncells = table_results_write(shm, attachment->manifest, &results, (char *)h + fixed);
	h->size = fixed + results.nmisfits * sizeof(struct agg_misfit) +
	          (uint64_t)h->ncells * (sizeof(struct agg_cell) + results.key_size);
	h->attachment = attachment->number;
	h->npoints = n;
	h->pid = agent.pid;
	h->start_time = agent.start_time;
	process_file_name(name, "counts", attachment->number, shm->at->base_ns);
	file_write(dir, name, h, h->size);
	pages_unmap(h, size);
}

static void session_leave(int dir, const struct session *session)
{
	char name[80];

	for (size_t i = 0; i < nattachments(session); i++) {
		const struct loaded_attachment *attachment = attachments_of(session)[i];

		if (!attachment->manifest)
			continue;
		if (session->shm)
			attachment_write_counts(dir, session->shm, attachment);
		if (attachment->inherited)
			child_remove(dir, attachment);
		process_file_name(name, "unkept", 0, agent.start_time);
		if (session->shm)
			unlinkat(dir, name, 0);
	}
}

void sessions_leave(int store)
{
	layouts_write(store);
	for (unsigned i = 0; i < SESSIONS_MAX; i++) {
		int dir = nattachments(&agent.sessions[i]) ? dir_open(store, agent.sessions[i].name, false) : -1;

		if (dir < 0)
			continue;
		session_leave(dir, &agent.sessions[i]);
		close(dir);
	}
}
