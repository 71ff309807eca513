/* SPDX-License-Identifier: MIT */
/*
 * The controller against agents that lie. A thread of this program plays the agent: it listens where an agent of this
 * process would, and hands over a shared memory region that the test has filled. First its replies and records are
 * correct, and the test compares what was read with what was written. Then they are not: in its replies and in the
 * region, before and while the controller reads. PROBEPOINT_SEED repeats a run.
 */
#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "runtime/agent/session.h"
#include "runtime/agent/protocol.h"
#include "base/clock.h"
#include "runtime/process.h"
#include "tests/unit/random.h"

#define NSLOTS 16
#define NRINGS 6
#define SLOTS_AT 4096
#define OVERFLOW_AT (SLOTS_AT + NSLOTS * 16)
#define RINGS_AT 8192
#define COUNTS_IN_RING 192
#define DATA_IN_RING (COUNTS_IN_RING + NSLOTS * (unsigned)sizeof(struct agent_count))
#define STRIDE ((DATA_IN_RING + AGENT_RING_SIZE + AGENT_RING_SLACK + 63) & ~63u)
#define SHM_SIZE (RINGS_AT + NRINGS * STRIDE)

static char state[200], socket_path[300];
static int listener = -1;
static atomic_int shm_fd = -1, lying, mutating;
static pthread_mutex_t shm_lock = PTHREAD_MUTEX_INITIALIZER; /* held while the mutator writes to the region */
static char *shm;                                            /* the agent's mapping */
static atomic_ullong served;

/* ---- the shared memory region ---- */

static struct agent_shm *header(void)
{
	return (struct agent_shm *)shm;
}

static struct agent_ring *ring(unsigned i)
{
	return (struct agent_ring *)(shm + RINGS_AT + (size_t)i * STRIDE);
}

static char *data(unsigned i, uint64_t position)
{
	return (char *)ring(i) + DATA_IN_RING + (position & (AGENT_RING_SIZE - 1));
}

static int sealed(size_t size, int seals)
{
	int fd = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	ck_assert_int_ge(fd, 0);
	ck_assert(!ftruncate(fd, size));
	if (seals)
		ck_assert(!fcntl(fd, F_ADD_SEALS, seals));
	return fd;
}

static void shm_new(const char *session)
{
	struct agent_slot *slots;
	int fd = sealed(SHM_SIZE, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL), before;

	if (shm)
		munmap(shm, SHM_SIZE);
	shm = mmap(NULL, SHM_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	ck_assert_ptr_ne(shm, MAP_FAILED);
	*header() = (struct agent_shm){
		.magic = AGENT_SHM_MAGIC,
		.version = AGENT_VERSION,
		.size = SHM_SIZE,
		.pid = getpid(),
		.clock = AGENT_CLOCK_MONOTONIC,
		.start_time = process_start_time(getpid()),
		.slots_at = SLOTS_AT,
		.rings_at = RINGS_AT,
		.ring_stride = STRIDE,
		.nslots = NSLOTS,
		.nrings = NRINGS,
		.counts_in_ring = COUNTS_IN_RING,
		.data_in_ring = DATA_IN_RING,
		.ring_size = AGENT_RING_SIZE,
		.nlarge = NRINGS,
		.overflow_at = OVERFLOW_AT,
		.nused = NSLOTS,
	};
	snprintf(header()->session, sizeof(header()->session), "%s", session);
	slots = (struct agent_slot *)(shm + SLOTS_AT);
	for (unsigned i = 0; i < NSLOTS; i++)
		slots[i] = (struct agent_slot){ .attachment = 1, .point = i, .since = 1 };
	for (unsigned i = 0; i < NRINGS; i++)
		ring(i)->limit = AGENT_RING_SIZE;
	before = atomic_exchange(&shm_fd, fd);
	if (before >= 0)
		close(before);
}

static void ring_take(unsigned i, uint64_t position)
{
	struct agent_ring *r = ring(i);

	r->state = AGENT_RING_TAKEN;
	r->tid = 1000 + i;
	snprintf(r->comm, sizeof(r->comm), "thread-%u", i);
	r->head = position;
	r->limit = position + AGENT_RING_SIZE;
	r->taken = position;
	r->turns = 1;
}

/* Adds a record with nvalues values from `number` on. */
static void put_record(unsigned i, uint64_t time, unsigned slot, unsigned nvalues, uint64_t number)
{
	struct record *r = (struct record *)data(i, ring(i)->head);

	r->point = slot;
	record_set_words(r, 2 + nvalues);
	r->faults = 0;
	for (unsigned k = 0; k < nvalues; k++)
		r->value[k] = number + k;
	__atomic_store_n(&r->time, time, __ATOMIC_RELEASE);
	__atomic_store_n(&ring(i)->head, ring(i)->head + 8 * record_words(r), __ATOMIC_RELEASE);
}

static void put_word(unsigned i, uint64_t word, unsigned words)
{
	*(uint64_t *)data(i, ring(i)->head) = word;
	ring(i)->head += 8 * words;
}

/* ---- the agent ---- */

struct answer {
	_Alignas(8) char bytes[AGENT_MESSAGE_MAX + 512];
	size_t size;
	int fds[8], nfds;
	int made; /* descriptor to close afterwards; -1: none */
};

static struct agent_reply *answer_reply(struct answer *a)
{
	return (struct agent_reply *)a->bytes;
}

static void answer_make(struct answer *a, const struct agent_request *request)
{
	struct agent_reply *reply = answer_reply(a);

	*a = (struct answer){ .size = sizeof(*reply), .fds = { atomic_load(&shm_fd) }, .made = -1 };
	*reply = (struct agent_reply){ .magic = AGENT_MESSAGE_MAGIC, .version = AGENT_VERSION, .op = request->op };
	if (request->op == AGENT_HELLO) {
		struct agent_hello hello = { .pid = getpid(),
			                     .start_time = process_start_time(getpid()),
			                     .uid = geteuid() };

		reply->count = 1;
		reply->size = sizeof(hello);
		memcpy(reply + 1, &hello, sizeof(hello));
	} else if (request->op == AGENT_SHM) {
		a->nfds = 1;
	}
	a->size += reply->size;
}

/* Returns a descriptor that is not a shared memory region. */
static int other_descriptor(uint64_t *dice)
{
	switch (random_of(dice) % 5) {
	case 0: return open("/dev/zero", O_RDWR | O_CLOEXEC);
	case 1: return open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	case 2: return sealed(random_of(dice) % 8192, F_SEAL_SHRINK | F_SEAL_GROW);
	case 3: return sealed(SHM_SIZE, 0);
	default: return socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	}
}

/* Makes the reply invalid. Returns false if the agent is to close the connection instead. */
static bool answer_spoil(struct answer *a, uint64_t *dice)
{
	struct agent_reply *reply = answer_reply(a);

	switch (random_of(dice) % 8) {
	case 0:
		for (unsigned n = 1 + random_of(dice) % 3; n; n--)
			a->bytes[random_of(dice) % a->size] ^= 1 << random_of(dice) % 8;
		return true;
	case 1: a->size = random_of(dice) % (a->size + 1); return true;
	case 2: a->size += 1 + random_of(dice) % (sizeof(a->bytes) - a->size); return true;
	case 3:
		reply->count = (uint32_t)random_of(dice);
		reply->size = reply->count * (uint32_t)(random_of(dice) % 64);
		return true;
	case 4:
		a->nfds = (int)(random_of(dice) % 9);
		for (int i = 1; i < a->nfds; i++)
			a->fds[i] = a->fds[0];
		return true;
	case 5:
		a->fds[0] = a->made = other_descriptor(dice);
		a->nfds = 1;
		return true;
	case 6: return false;
	default:
		reply->error = (int32_t)random_of(dice);
		reply->reason = (uint32_t)random_of(dice);
		return true;
	}
}

static void answer_send(int peer, const struct answer *a)
{
	union {
		struct cmsghdr header;
		char room[CMSG_SPACE(8 * sizeof(int))];
	} control = { 0 };
	struct iovec iov = { (void *)a->bytes, a->size };
	struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (a->nfds) {
		message.msg_control = &control;
		message.msg_controllen = CMSG_SPACE(a->nfds * sizeof(int));
		control.header.cmsg_level = SOL_SOCKET;
		control.header.cmsg_type = SCM_RIGHTS;
		control.header.cmsg_len = CMSG_LEN(a->nfds * sizeof(int));
		memcpy(CMSG_DATA(&control.header), a->fds, a->nfds * sizeof(int));
	}
	sendmsg(peer, &message, MSG_NOSIGNAL);
	if (a->made >= 0)
		close(a->made);
}

/* Replies to a request. Does not count it as served if the connection is to be closed. */
static void answer(int peer, const struct agent_request *request, uint64_t *dice)
{
	struct answer a;

	answer_make(&a, request);
	if (atomic_load(&lying) && random_of(dice) % 2 && !answer_spoil(&a, dice))
		return;
	answer_send(peer, &a);
	atomic_fetch_add(&served, 1);
}

static void *serve(void *unused)
{
	uint64_t dice = seed ^ 0x5555;
	int peer;

	while ((peer = accept4(listener, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
		struct agent_request request;

		while (recv(peer, &request, sizeof(request), 0) == sizeof(request)) {
			unsigned long long before = served;

			answer(peer, &request, &dice);
			if (before == served)
				break;
		}
		close(peer);
	}
	return unused;
}

/* Returns a value that a controller might not expect. */
static uint64_t nasty(uint64_t *dice)
{
	static const uint64_t words[] = { 0,
		                          1,
		                          2,
		                          8,
		                          255,
		                          256,
		                          257,
		                          511,
		                          512,
		                          513,
		                          ~0ull,
		                          1ull << 63,
		                          1ull << 32,
		                          AGENT_RING_SIZE,
		                          AGENT_RING_SIZE - 8,
		                          AGENT_RING_SIZE + 8,
		                          NSLOTS };

	switch (random_of(dice) % 4) {
	case 0: return random_of(dice);
	case 1: return random_of(dice) % (2 * AGENT_RING_SIZE);
	case 2: return clock_ns() - random_of(dice) % 1000000;
	default: return words[random_of(dice) % (sizeof(words) / sizeof(*words))];
	}
}

static void mutate(uint64_t *dice, bool header_too)
{
	unsigned i = random_of(dice) % NRINGS;
	uint64_t *at;

	switch (random_of(dice) % 8) {
	case 0: at = &ring(i)->head; break;
	case 1: at = header()->overwrite ? &ring(i)->taken : &ring(i)->limit; break;
	case 2: at = (uint64_t *)ring(i); break;
	case 3: at = (uint64_t *)(shm + SLOTS_AT + random_of(dice) % (16 * NSLOTS / 8) * 8); break;
	case 4:
		if (header_too) {
			at = (uint64_t *)shm + random_of(dice) % (sizeof(struct agent_shm) / 8);
			break;
		} /* fall through */
	default:
		at = (uint64_t *)data(i, random_of(dice) % 4 ? ring(i)->head - 8 * (random_of(dice) % 200)
		                                             : random_of(dice) & ~7ull);
	}
	__atomic_store_n(at, nasty(dice), __ATOMIC_RELAXED);
}

static void *mutator(void *unused)
{
	uint64_t dice = seed ^ 0xaaaa;

	for (;;) {
		pthread_mutex_lock(&shm_lock);
		if (mutating)
			mutate(&dice, true);
		pthread_mutex_unlock(&shm_lock);
		if (!mutating)
			usleep(100);
	}
	return unused;
}

/* ---- sessions ---- */

static struct pp_session session;
static void *reader;

static int session_begin(void)
{
	session = (struct pp_session){ .is_private = true, .name = "test" };
	return backend_agent.open(&session, true);
}

static int reader_begin(void)
{
	shm_new(agent_of(&session)->name);
	return 0;
}

static void session_end(void)
{
	if (reader)
		backend_agent.reader_close(reader);
	reader = NULL;
	if (agent_of(&session))
		backend_agent.close(&session);
	free(session.attachments);
}

static int descriptors(void)
{
	DIR *d = opendir("/proc/self/fd");
	int n = 0;

	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

START_TEST(correct)
{
	const uint64_t slots_of_start[] = { 0, 8, AGENT_RING_SIZE - 16, 0ull - 64 };
	uint64_t base = clock_ns() - 50000000, at[NRINGS] = { 0 }, last = 0, wanted = 0, got = 0;
	uint64_t next[NRINGS] = { 0 };
	const struct record_thread *thread;
	const struct record *record;
	size_t size;
	int n;

	atomic_store(&lying, 0);
	ck_assert_msg(!session_begin(), "%s", pp_error());
	reader_begin();
	for (unsigned i = 0; i < NRINGS - 1; i++)
		ring_take(i, slots_of_start[_i] + 8 * i);
	/* The rings also have records of signal handlers, unfinished records and skipped space. */
	for (unsigned k = 0; k < 4000; k++) {
		unsigned i = below(NRINGS - 1), nvalues = 1 + below(5);

		if (ring(i)->limit - ring(i)->head < 200)
			continue;
		if (!below(20))
			put_word(i, AGENT_WORD_SKIP + 3, 3);
		put_record(i, base + k * 1000, below(NSLOTS), nvalues, (uint64_t)i << 32 | at[i]++);
		wanted++;
	}
	/* A record that will never be complete, of a thread that has ended: the records after it are read. */
	put_word(0, 7, 7);
	put_record(0, base + 4001000, 3, 2, at[0]++);
	ring(0)->head += 16; /* reserved, not begun */
	put_record(0, base + 4002000, 4, 2, at[0]++);
	ring(0)->state = AGENT_RING_FINISHED;
	wanted += 2;
	/* The reader waits for a record that is being written. */
	put_word(1, 3, 3);
	put_record(1, base + 4003000, 3, 1, 77);
	ck_assert_msg(!backend_agent.reader_open(&session, &reader), "%s", pp_error());
	while ((n = backend_agent.reader_next(reader, &thread, &record, &size)) > 0) {
		unsigned i = thread->tid - 1000;
		char comm[32];

		ck_assert_uint_lt(i, NRINGS);
		snprintf(comm, sizeof(comm), "thread-%u", i);
		ck_assert_str_eq(thread->comm, comm);
		ck_assert_uint_eq(thread->attachment, 1);
		ck_assert_int_eq(thread->pid, getpid());
		ck_assert_uint_eq(size, record_words(record) * 8u);
		ck_assert_uint_ge(record->time, last);
		last = record->time;
		for (unsigned k = 0; k < record_words(record) - 2u; k++)
			ck_assert_uint_eq(record->value[k], ((uint64_t)i << 32 | next[i]) + k);
		next[i]++;
		got++;
	}
	ck_assert_int_eq(n, 0);
	ck_assert_uint_eq(got, wanted);
	ck_assert_uint_eq(last, base + 4002000);
	/* The record becomes complete. */
	struct record *late = (struct record *)data(1, ring(1)->limit - AGENT_RING_SIZE);

	late->point = 9;
	record_set_words(late, 3);
	late->value[0] = 76;
	__atomic_store_n(&late->time, base + 4002500, __ATOMIC_RELEASE);
	for (uint64_t value = 76; value < 78; value++) {
		while (!(n = backend_agent.reader_next(reader, &thread, &record, &size)))
			usleep(1000);
		ck_assert_int_eq(n, 1);
		ck_assert_uint_eq(record->value[0], value);
	}
	ck_assert_int_eq(backend_agent.reader_next(reader, &thread, &record, &size), 0);
	ck_assert_uint_gt(header()->record_until, clock_ns());
	/* Records that were read are cleared, and the rings have room again. */
	for (unsigned i = 0; i < NRINGS - 1; i++) {
		ck_assert_uint_eq(ring(i)->limit, ring(i)->head + AGENT_RING_SIZE);
		for (uint64_t k = 0; k < AGENT_RING_SIZE; k += 8)
			ck_assert_uint_eq(*(uint64_t *)data(i, k), 0);
	}
	session_end();
	ck_assert_uint_eq(header()->record_until, 0);
}
END_TEST

/* Each record that cannot be read is counted; for a damaged ring, all that its counters have. */
START_TEST(damaged)
{
	const uint64_t begin[] = { 0, 8 * 1000, AGENT_RING_SIZE - 64 };
	uint64_t base = clock_ns() - 50000000;
	const struct record_thread *thread;
	const struct record *record;
	unsigned got = 0, complaints = 0;
	size_t size;
	int n;

	atomic_store(&lying, 0);
	ck_assert_msg(!session_begin(), "%s", pp_error());
	reader_begin();
	for (unsigned i = 0; i < 3; i++) {
		ring_take(i, begin[_i]);
		for (unsigned k = 0; k < 100; k++)
			put_record(i, base + 1000 * k, k % NSLOTS, 2, k);
		for (unsigned k = 0; k < NSLOTS; k++) /* the counters include records that were read before */
			((struct agent_count *)((char *)ring(i) + COUNTS_IN_RING))[k].recorded = k < 4 ? 25 : 0;
		if (begin[_i])
			((struct agent_count *)((char *)ring(i) + COUNTS_IN_RING))[0].recorded += 1000;
	}
	/* Ring 1 has ten records of a slot that does not exist. */
	for (unsigned k = 0; k < 10; k++)
		put_record(1, base + 200000 + k, NSLOTS + 3, 1, k);
	ck_assert_msg(!backend_agent.reader_open(&session, &reader), "%s", pp_error());
	n = backend_agent.reader_next(reader, &thread, &record, &size);
	got += n > 0;
	complaints += n == -EBADMSG;
	/* Ring 2 becomes invalid after the reader has seen it: all later records are lost. */
	ring(2)->head += 4;
	((struct agent_count *)((char *)ring(2) + COUNTS_IN_RING))[1].recorded += 4094;
	for (int rounds = 0; rounds < 100; rounds++) {
		while ((n = backend_agent.reader_next(reader, &thread, &record, &size)) > 0)
			got++;
		complaints += n == -EBADMSG;
		usleep(1000);
	}
	ck_assert_uint_ge(complaints, 1);
	ck_assert_uint_eq(got, 300);
	ck_assert_uint_eq(backend_agent.reader_damaged(reader), 10 + 4094);
	session_end();
}
END_TEST

/* Reads records for some time, and checks their sizes and times. */
static unsigned read_some(uint64_t ms)
{
	uint64_t until = clock_ns() + ms * 1000000;
	const struct record_thread *thread;
	const struct record *record;
	unsigned n = 0, bad = 0;
	size_t size;
	int got;

	while (clock_ns() < until && bad < 1000) {
		uint64_t began = clock_ns();

		got = backend_agent.reader_next(reader, &thread, &record, &size);
		ck_assert_msg(clock_ns() - began < 5000000000ull, "seed %llu: the reader hangs",
		              (unsigned long long)seed);
		if (got > 0) {
			ck_assert_uint_le(size, RECORD_SIZE_MAX);
			ck_assert_uint_ge(size, sizeof(*record));
			ck_assert_uint_eq(size, record_words(record) * 8u);
			ck_assert_uint_le(record->time, clock_ns());
			n++;
		} else if (got) {
			ck_assert_int_eq(got, -EBADMSG);
			bad++;
		}
	}
	return n;
}

START_TEST(hostile)
{
	int before = descriptors(), opened = 0;
	unsigned long long records = 0;

	for (int round = 0; round < 400; round++) {
		struct agent_count counts[NSLOTS];
		bool mutates = round % 2;

		atomic_store(&lying, 1);
		ck_assert_msg(!session_begin(), "%s", pp_error());
		reader_begin();
		header()->overwrite = below(2);
		for (unsigned i = 0; i < NRINGS; i++) {
			ring_take(i, below(2) ? 0 : 8 * below(1 << 20));
			for (unsigned k = below(200); k; k--)
				put_record(i, clock_ns() - 1000 * k, below(NSLOTS + 1), below(10), k);
			if (!below(10)) { /* longer than any record */
				unsigned words = RECORD_SIZE_MAX / 8 + 1 + below(25);

				record_set_words((struct record *)data(i, ring(i)->head), words);
				put_word(i, clock_ns(), words);
			}
			if (!below(3))
				ring(i)->state = AGENT_RING_FINISHED;
		}
		if (round % 3)
			for (unsigned n = below(6); n; n--)
				mutate(&seed_state, true);
		header()->clock = below(2) ? AGENT_CLOCK_TSC : header()->clock;
		if (!backend_agent.reader_open(&session, &reader)) {
			opened++;
			if (agent_of(&session)->ntargets)
				shm_count(&agent_of(&session)->targets[0]->shm, 1, counts, NSLOTS);
			atomic_store(&mutating, mutates);
			records += read_some(20);
			pthread_mutex_lock(&shm_lock);
			atomic_store(&mutating, 0);
			pthread_mutex_unlock(&shm_lock);
		}
		session_end();
	}
	ck_assert_int_gt(opened, 100);
	ck_assert_uint_gt(records, 1000);
	close(atomic_exchange(&shm_fd, -1));
	munmap(shm, SHM_SIZE);
	shm = NULL;
	for (int i = 0; i < 6000 && descriptors() > before; i++)
		usleep(10000);
	ck_assert_int_le(descriptors(), before);
	fprintf(stderr, "%d regions opened, %llu records\n", opened, records);
}
END_TEST

static int remove_one(const char *path, const struct stat *st, int what, struct FTW *walk)
{
	(void)st, (void)what, (void)walk;
	return remove(path);
}

int main(void)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	Suite *suite = suite_create("agent_peer");
	TCase *tcase = tcase_create("peer");
	pthread_t server, disturber;
	SRunner *runner;
	char directory[] = "/tmp/probepoint-test.XXXXXX", path[400];
	int failed;

	seed_set();
	if (!mkdtemp(directory) || setenv("XDG_RUNTIME_DIR", directory, 1))
		return 1;
	snprintf(state, sizeof(state), "%s/probepoint", directory);
	snprintf(path, sizeof(path), "%s/agents", state);
	mkdir(state, 0700);
	mkdir(path, 0700);
	snprintf(socket_path, sizeof(socket_path), "%s/agents/%d", state, getpid());
	snprintf(at.sun_path, sizeof(at.sun_path), "%.100s", socket_path);
	listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (listener < 0 || bind(listener, (struct sockaddr *)&at, sizeof(at)) || listen(listener, 8))
		return 1;
	pthread_create(&server, NULL, serve, NULL);
	pthread_create(&disturber, NULL, mutator, NULL);
	suite_add_tcase(suite, tcase);
	tcase_set_timeout(tcase, 0);
	tcase_add_loop_test(tcase, correct, 0, 4);
	tcase_add_loop_test(tcase, damaged, 0, 3);
	tcase_add_test(tcase, hostile);
	runner = srunner_create(suite);
	/* The thread that plays the agent is in this process. */
	srunner_set_fork_status(runner, CK_NOFORK);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	nftw(directory, remove_one, 8, FTW_DEPTH | FTW_PHYS);
	return failed ? 1 : 0;
}
