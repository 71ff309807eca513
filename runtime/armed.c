/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/error.h"
#include "runtime/armed.h"
#include "runtime/point.h"
#include "runtime/session.h"
#include "sdt/image.h"

struct pp_armed {
	struct registry registry;
	char **names; /* of sessions, by their number in the registry */
	size_t n, room;
	const char *without; /* the argument of armed_read(), while it runs */
};

static bool armed_has_session(const struct pp_armed *armed, const char *name)
{
	for (size_t i = 0; i < armed->n; i++)
		if (!strcmp(armed->names[i], name))
			return true;
	return false;
}

static int armed_add_session(const char *name, void *arg)
{
	struct pp_armed *armed = arg;
	struct pp_session *session;
	int err;

	if ((armed->without && !strcmp(name, armed->without)) || armed_has_session(armed, name))
		return 0;
	err = ALLOC_GROW(armed->names, armed->n + 1, armed->room);
	if (err)
		return err;
	err = session_open(name, false, armed->without != NULL, &session);
	if (err) /* a session that has ended meanwhile, or cannot be read, is skipped */
		return err == -ENOMEM || err == -EMFILE || err == -ENFILE ? err : 0;
	armed->names[armed->n] = strdup(name);
	err = armed->names[armed->n] ? registry_add_session(&armed->registry, session, armed->n) : error_nomem();
	armed->n += armed->names[armed->n] != NULL;
	pp_session_close(session);
	return err;
}

int armed_read(struct pp_armed **armed, const char *without)
{
	struct pp_armed *a = calloc(1, sizeof(*a));
	int err;

	if (!a)
		return error_nomem();
	a->without = without;
	err = pp_sessions(armed_add_session, a);
	a->without = NULL;
	if (err)
		pp_armed_free(a);
	else
		*armed = a;
	return err;
}

int pp_armed_read(struct pp_armed **armed)
{
	return armed_read(armed, NULL);
}

void pp_armed_free(struct pp_armed *armed)
{
	if (!armed)
		return;
	for (size_t i = 0; i < armed->n; i++)
		free(armed->names[i]);
	free(armed->names);
	registry_release(&armed->registry);
	free(armed);
}

bool armed_has(struct pp_armed *armed, dev_t device, ino_t inode, uint64_t offset)
{
	size_t n;

	return registry_find(&armed->registry, device, inode, offset, &n) != NULL;
}

bool pp_armed_any(const struct pp_armed *armed, const struct pp_image *image)
{
	for (size_t i = 0; i < armed->registry.n; i++)
		if (armed->registry.consumers[i].device == image->real_device &&
		    armed->registry.consumers[i].inode == image->real_inode)
			return true;
	return false;
}

const char *pp_armed_session(const struct pp_armed *armed, const struct pp_image *image, const struct pp_site *site,
                             size_t i)
{
	struct registry *registry = (struct registry *)&armed->registry; /* is sorted by the first search */
	size_t n, seen = 0;
	const struct point_consumer *c =
		registry_find(registry, image->real_device, image->real_inode, site->offset, &n);

	for (size_t k = 0; k < n; k++)
		if ((!k || c[k].session != c[k - 1].session) && seen++ == i)
			return armed->names[c[k].session];
	return NULL;
}
