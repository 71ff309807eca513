/* SPDX-License-Identifier: MIT */
/*
 * The reader of a session's ring. Hits do not wake it, which would cost each of
 * them; it looks every few milliseconds. It takes one record at a time out, so
 * that whoever reads next finds all that this reader was not asked for.
 *
 * That somebody reads is said in `config` as a time, until when to record, and
 * moved on while reading: a reader that was killed has stopped recording two
 * seconds later, and what comes after counts as idle, not as lost.
 */
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "runtime/kernel/kernel.h"
#include "base/error.h"

#define SAMPLE_MAX (sizeof(struct record_thread) + RECORD_SIZE_MAX)
#define ALIVE_NS 2000000000ull

struct kernel_reader {
	struct kernel_session *session;
	struct ring_buffer *ring;
	int lock;
	uint64_t said; /* when record_until was last moved */
	uint64_t damaged;
	bool stopped;
	size_t length; /* of the record taken out last; 0: there was none */
	_Alignas(8) char taken[SAMPLE_MAX];
};

static void say_alive(struct kernel_reader *r)
{
	struct kernel_config *config = r->session->config;
	uint64_t t = clock_ns();

	if (r->stopped || t - r->said < ALIVE_NS / 8 || config->record_until == ~0ull)
		return;
	r->said = t;
	__atomic_store_n(&config->record_until, t + ALIVE_NS, __ATOMIC_RELEASE);
}

static int take(void *arg, void *data, size_t size)
{
	struct kernel_reader *r = arg;

	r->length = size < SAMPLE_MAX ? size : SAMPLE_MAX;
	memcpy(r->taken, data, r->length);
	return -ENOBUFS;
}

int kernel_reader_open(struct pp_session *session, void **reader)
{
	struct kernel_session *k = kernel_of(session);
	struct kernel_reader *r = calloc(1, sizeof(*r));
	int err = 0;

	if (!r)
		return error_nomem();
	r->session = k;
	r->lock = -1;
	if (!session->is_private) {
		mkdirat(k->store.dir, "reader", 0700);
		r->lock = openat(k->store.dir, "reader", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (r->lock < 0 || flock(r->lock, LOCK_EX | LOCK_NB))
			err = errno == EWOULDBLOCK
			              ? error_set(EBUSY, "session '%s' has a reader: its records go to one only",
			                          session->name)
			              : error_set(errno, "cannot read session '%s': %s", session->name,
			                          strerror(errno));
	}
	if (!err && !(r->ring = ring_buffer__new(k->ring_fd, take, r, NULL)))
		err = error_set(errno, "cannot map the ring of session '%s': %s", session->name, strerror(errno));
	if (err) {
		if (r->lock >= 0)
			close(r->lock);
		free(r);
		return err;
	}
	say_alive(r);
	*reader = r;
	return 0;
}

int kernel_reader_next(void *reader, const struct record_thread **thread, const struct record **record, size_t *size)
{
	struct kernel_reader *r = reader;

	say_alive(r);
	r->length = 0;
	ring_buffer__consume(r->ring);
	if (!r->length)
		return 0;
	if (r->length < sizeof(**thread) + sizeof(**record) && ++r->damaged)
		return error_set(EBADMSG, "a record of %zu bytes", r->length);
	*thread = (const struct record_thread *)r->taken;
	*record = (const struct record *)(*thread + 1);
	*size = r->length - sizeof(**thread);
	return 1;
}

void kernel_reader_stop(void *reader)
{
	struct kernel_reader *r = reader;
	struct kernel_config *config = r->session->config;

	r->stopped = true;
	if (config->record_until != ~0ull)
		__atomic_store_n(&config->record_until, 0, __ATOMIC_RELEASE);
}

uint64_t kernel_reader_damaged(void *reader)
{
	const struct kernel_reader *r = reader;

	return r->damaged;
}

/* The counters are read as sums over the shards, so one shard may go below zero. */
bool kernel_lose(const struct attachment *attachment, uint32_t point, pid_t pid)
{
	const struct kernel_attachment *s = attachment->state;
	struct kernel_counts *c = &s->counts[(size_t)point * s->shards];

	(void)pid;
	__atomic_fetch_sub(&c->recorded, 1, __ATOMIC_RELAXED);
	__atomic_fetch_add(&c->lost, 1, __ATOMIC_RELAXED);
	return true;
}

void kernel_reader_close(void *reader)
{
	struct kernel_reader *r = reader;

	kernel_reader_stop(r);
	ring_buffer__free(r->ring);
	if (r->lock >= 0)
		close(r->lock);
	free(r);
}
