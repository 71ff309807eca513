/* SPDX-License-Identifier: MIT */
/*
 * The reader of a session's ring.
 *
 * 1. Hits do not wake the reader, because that would make each of them more expensive. The caller polls every few
 *    milliseconds.
 * 2. The reader takes one record at a time out of the ring. So the next reader finds all records that this one was not
 *    asked for.
 * 3. Programs record while kernel_config.record_until is in the future. The reader moves this time on as long as it
 *    reads. Two seconds after a reader was killed, programs stop recording, and count further hits as idle, not as
 *    lost.
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
#include "base/error.h"
#include "runtime/kernel/kernel.h"
#include "runtime/kernel/namespace.h"

#define SAMPLE_MAX (sizeof(struct record_thread) + RECORD_SIZE_MAX)
#define ALIVE_NS 2000000000ull

struct kernel_reader {
	struct kernel_session *session;
	struct ring_buffer *ring;
	int lock;       /* the locked directory `reader`; -1: a private session */
	uint64_t alive; /* when record_until was moved last */
	uint64_t damaged;
	bool stopped;
	size_t length; /* of the record in `record`; 0: empty */
	_Alignas(8) char record[SAMPLE_MAX];
};

static void reader_set_alive(struct kernel_reader *r)
{
	struct kernel_config *config = r->session->config;
	uint64_t now = clock_ns();

	if (r->stopped || now - r->alive < ALIVE_NS / 8 || config->record_until == ~0ull)
		return;
	r->alive = now;
	__atomic_store_n(&config->record_until, now + ALIVE_NS, __ATOMIC_RELEASE);
}

/* Copies a record. The negative result makes libbpf stop after it. */
static int kernel_ring_take(void *arg, void *data, size_t size)
{
	struct kernel_reader *r = arg;

	r->length = size < SAMPLE_MAX ? size : SAMPLE_MAX;
	memcpy(r->record, data, r->length);
	return -ENOBUFS;
}

static int reader_lock(struct kernel_reader *r, const struct pp_session *session)
{
	int dir = r->session->pins.dir;

	if (session->is_private)
		return 0;
	mkdirat(dir, "reader", 0700);
	r->lock = openat(dir, "reader", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (r->lock >= 0 && !flock(r->lock, LOCK_EX | LOCK_NB))
		return 0;
	if (errno == EWOULDBLOCK)
		return error_set(EBUSY, "session '%s' already has a reader: only one can read its records",
		                 session->name);
	return error_set(errno, "cannot read session '%s': %s", session->name, strerror(errno));
}

int kernel_reader_open(struct pp_session *session, void **reader)
{
	struct kernel_reader *r = calloc(1, sizeof(*r));
	int err = namespace_check(kernel_of(session), session->name, "read the records of");

	if (err) {
		free(r);
		return err;
	}
	if (!r)
		return error_nomem();
	r->session = kernel_of(session);
	r->lock = -1;
	err = reader_lock(r, session);
	if (err)
		goto fail;
	r->ring = ring_buffer__new(r->session->ring_fd, kernel_ring_take, r, NULL);
	if (!r->ring) {
		err = error_set(errno, "cannot map the ring of session '%s': %s", session->name, strerror(errno));
		goto fail;
	}
	reader_set_alive(r);
	*reader = r;
	return 0;
fail:
	if (r->lock >= 0)
		close(r->lock);
	free(r);
	return err;
}

int kernel_reader_next(void *reader, const struct record_thread **thread, const struct record **record, size_t *size)
{
	struct kernel_reader *r = reader;

	reader_set_alive(r);
	r->length = 0;
	ring_buffer__consume(r->ring);
	if (!r->length)
		return 0;
	if (r->length < sizeof(**thread) + sizeof(**record)) {
		r->damaged++;
		return error_set(EBADMSG, "invalid record: %zu bytes", r->length);
	}
	*thread = (const struct record_thread *)r->record;
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

/* Counters are sums over shards, so the counter of one shard may become negative. */
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
