/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include "runtime/agent/inproc/agent.h"
#include "runtime/agent/inproc/files.h"
#include "runtime/agent/inproc/readers.h"

#define READER_MS 1000 /* a reader may hang */

static uint32_t expected; /* readers are expected */

/* Returns whether the session has a reader, which holds a lock on the file `reader`. */
static bool session_is_read(int store, const struct session *session)
{
	int dir = dir_open(store, session->name, false);
	int fd = dir < 0 ? -1 : openat(dir, "reader", O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	bool locked = fd >= 0 && flock(fd, LOCK_SH | LOCK_NB) && errno == EWOULDBLOCK;

	if (fd >= 0)
		close(fd);
	if (dir >= 0)
		close(dir);
	return locked;
}

void readers_expect(int store)
{
	for (unsigned i = 0; i < SESSIONS_MAX; i++) {
		struct session *session = &agent.sessions[i];

		session->awaited = session->name[0] && session->shm && session_is_read(store, session);
		if (session->awaited)
			__atomic_store_n(&expected, 1, __ATOMIC_RELEASE);
	}
}

/* Returns whether each expected reader has the shared memory region, and lets hits be recorded. */
static bool readers_are_here(void)
{
	bool came = true;

	if (!lock_try(&agent.lock, 100))
		return false;
	for (unsigned i = 0; i < SESSIONS_MAX; i++) {
		const struct session *session = &agent.sessions[i];

		if (session->awaited && session->shm &&
		    (!session->shm->asked || !shared_acquire(session->shm->at->record_until)))
			came = false;
	}
	lock_put(&agent.lock);
	return came;
}

void readers_wait(void)
{
	uint32_t never = 0;

	for (unsigned i = 0; i < READER_MS && __atomic_load_n(&expected, __ATOMIC_ACQUIRE) && !readers_are_here(); i++)
		word_wait(&never, 0, 1);
	__atomic_store_n(&expected, 0, __ATOMIC_RELEASE);
}
