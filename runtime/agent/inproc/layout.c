/* SPDX-License-Identifier: MIT */
#include <probepoint.h>
#include <string.h>
#include <unistd.h>

#include "runtime/agent/inproc/agent.h"
#include "runtime/agent/inproc/files.h"
#include "runtime/agent/inproc/layout.h"
#include "runtime/agent/inproc/maps.h"
#include "runtime/agent/inproc/mem.h"

static struct vector text; /* the lines so far */
static uint64_t text_exec; /* of the process image whose lines they are */

static bool session_has_stacks(const struct session *session)
{
	for (size_t i = 0; i < nattachments(session); i++)
		if (attachments_of(session)[i]->manifest && manifest_has_stacks(attachments_of(session)[i]->manifest))
			return true;
	return false;
}

/* Reads the mappings. Returns whether there are new ones. */
static bool text_update(void)
{
	size_t before;
	char *head;

	if (text_exec != agent.exec) {
		vector_clear(&text);
		text_exec = agent.exec;
	}
	if (!text.n) {
		head = vector_add(&text, 32);
		if (!head)
			return false;
		strcpy(head, LAYOUT_EXEC);
		format_number(head + strlen(head), agent.exec);
		strcat(head, "\n");
		text.n = strlen(head);
	}
	before = text.n;
	maps_add_code(&text);
	return text.n > before;
}

static void session_write_layout(int store, const struct session *session, bool changed)
{
	int dir = dir_open(store, session->name, false);
	char name[64] = "layout-";

	if (dir < 0)
		return;
	format_number(name + strlen(name), layout_number(agent.exec));
	strcat(name, "-");
	format_number(name + strlen(name), agent.pid);
	if (changed || faccessat(dir, name, F_OK, 0))
		file_write(dir, name, text.at, text.n);
	close(dir);
}

void layouts_write(int store)
{
	bool read = false, changed = false;

	for (unsigned i = 0; store >= 0 && agent.exec && i < SESSIONS_MAX; i++) {
		const struct session *session = &agent.sessions[i];

		if (!session->name[0] || !session->shm || !session_has_stacks(session))
			continue;
		if (!read)
			changed = text_update();
		read = true;
		session_write_layout(store, session, changed);
	}
}
