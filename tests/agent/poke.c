/* SPDX-License-Identifier: MIT */
/*
 * A small controller for tests of the agent. It writes attachments and reads regions itself.
 *
 *     poke arm SESSION NUMBER [-r] [-o] [-c] [-p PID]... FILE PATTERN [FILTER] poke off SESSION NUMBER POINT
 *     switches one point off poke drop SESSION NUMBER             removes the attachment poke rescan PID SESSION
 *     prints "attachment N armed A pending P refused R" for each poke state PID SESSION NUMBER        prints a line per
 *     point poke counts PID SESSION NUMBER       prints the sums: recorded filtered idle lost poke files SESSION NUMBER
 *     the same from the files of processes that have ended poke read PID SESSION MS [quiet]     reads for MS; prints a
 *     line per record, then "end N". Makes the file named by
 *                                          POKE_READY when it has begun
 *     poke site FILE PATTERN               prints the offset of the first site
 *     poke storm PID SESSION FILE PATTERN SECONDS SEED   arms and disarms random subsets
 */
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <probepoint.h>
#include <signal.h>
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
#ifdef __x86_64__
#include <x86intrin.h>
#else
static unsigned long long __rdtsc(void)
{
	unsigned long long now;

	__asm__ volatile("mrs %0, cntvct_el0" : "=r"(now));
	return now;
}
#endif

#include "runtime/agent/protocol.h"
#include "runtime/fetch/filter.h"
#include "sdt/image.h"

static char state[200];

static void die(const char *what)
{
	fprintf(stderr, "poke: %s: %s %s\n", what, strerror(errno), pp_error());
	exit(1);
}

static void find_state(void)
{
	const char *run = getenv("XDG_RUNTIME_DIR");

	if (run)
		snprintf(state, sizeof(state), "%s/probepoint", run);
	else
		snprintf(state, sizeof(state), "/tmp/probepoint-%u", geteuid());
}

static uint64_t start_time(int pid)
{
	char path[64], text[1024], *at;
	FILE *f;
	size_t n;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	f = fopen(path, "r");
	if (!f)
		die(path);
	n = fread(text, 1, sizeof(text) - 1, f);
	fclose(f);
	text[n] = 0;
	at = strrchr(text, ')');
	for (int field = 2; field < 22; field++)
		at = strchr(at + 1, ' ');
	return strtoull(at, NULL, 10);
}

/* ---- attachments ---- */

struct out {
	char *at;
	size_t n;
};

static size_t put(struct out *o, const void *what, size_t n)
{
	size_t at = (o->n + 7) & ~7ul;

	o->at = realloc(o->at, at + n + 8);
	memset(o->at + o->n, 0, at - o->n);
	if (n)
		memcpy(o->at + at, what, n);
	o->n = at + n;
	return at;
}

static void write_file(const char *session, int number, const void *data, size_t size)
{
	char path[400], temporary[400];
	int fd;

	mkdir(state, 0700);
	snprintf(path, sizeof(path), "%s/%s", state, session);
	mkdir(path, 0700);
	snprintf(path, sizeof(path), "%s/%s/segment-%d", state, session, number);
	snprintf(temporary, sizeof(temporary), "%s/%s/.segment-%d", state, session, number);
	fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	if (fd < 0 || write(fd, data, size) != (ssize_t)size || close(fd) || rename(temporary, path))
		die(path);
}

struct maker {
	struct manifest_builder *builder;
	struct agent_program *programs;
	struct fetch_step *steps;
	struct fetch_literal *literals;
	size_t nprograms, nsteps, nliterals, npoints;
	const int *pids;
	size_t npids;
	const char *filter;
};

static bool same_as_last(const struct maker *m, const struct fetch_program *f)
{
	const struct agent_program *a = m->nprograms ? &m->programs[m->nprograms - 1] : NULL;

	return a && a->nsteps == f->nsteps && !f->nliterals && !a->nliterals && a->nargs == f->nargs &&
	       a->npredicate == f->npredicate && !memcmp(m->steps + a->step, f->steps, f->nsteps * sizeof(*f->steps)) &&
	       !memcmp(a->kind, f->kind, f->nargs) && !memcmp(a->size, f->size, f->nargs);
}

static void add_point(struct maker *m, const struct pp_image *image, const struct pp_probe *probe,
                      const struct pp_site *site)
{
	struct fetch_program f;
	struct manifest_point p = { .offset = site->offset };
	struct agent_program *a;

	if (fetch_compile(site, &f) || (m->filter && filter_compile(m->filter, site, &f)))
		die(probe->name);
	if (site->has_semaphore)
		p.semaphore_offset = site->semaphore_offset;
	p.probe = manifest_add_probe(m->builder, probe, manifest_add_file(m->builder, image));
	p.layout = manifest_add_layout(m->builder, &f);
	if (same_as_last(m, &f)) {
		p.spec = m->nprograms - 1;
		goto add;
	}
	p.spec = m->nprograms;
	m->programs = realloc(m->programs, (m->nprograms + 1) * sizeof(*a));
	m->steps = realloc(m->steps, (m->nsteps + f.nsteps + 1) * sizeof(*m->steps));
	m->literals = realloc(m->literals, (m->nliterals + f.nliterals + 1) * sizeof(*m->literals));
	a = &m->programs[m->nprograms++];
	memset(a, 0, sizeof(*a));
	a->step = m->nsteps;
	a->nsteps = f.nsteps;
	a->npredicate = f.npredicate;
	a->literal = m->nliterals;
	a->nliterals = f.nliterals;
	a->nargs = f.nargs;
	memcpy(a->kind, f.kind, sizeof(f.kind));
	memcpy(a->size, f.size, sizeof(f.size));
	if (f.nsteps)
		memcpy(m->steps + m->nsteps, f.steps, f.nsteps * sizeof(*f.steps));
	if (f.nliterals)
		memcpy(m->literals + m->nliterals, f.literals, f.nliterals * sizeof(*f.literals));
	m->nsteps += f.nsteps;
	m->nliterals += f.nliterals;
add:
	fetch_release(&f);
	for (size_t i = 0; i < m->npids || i == 0; i++) {
		p.pid = m->npids ? m->pids[i] : 0;
		if (manifest_add_point(m->builder, &p) < 0)
			die("desc");
		m->npoints++;
	}
}

static struct out make_attachment(int number, uint32_t flags, const int *pids, size_t npids, const char *file,
                                  const char *pattern, const char *filter)
{
	struct maker m = { .pids = pids, .npids = npids, .filter = filter };
	struct agent_attachment h = { .magic = AGENT_ATTACHMENT_MAGIC,
		                      .version = AGENT_VERSION,
		                      .number = number,
		                      .flags = flags,
		                      .ring_size = AGENT_RING_SIZE };
	struct agent_process processes[64] = { 0 };
	struct out o = { 0 };
	struct pp_image *image;
	struct manifest *manifest;
	char *on;

	if (pp_image_open(file, &image) || manifest_builder_new(&m.builder))
		die(file);
	for (size_t i = 0; i < image->nprobes; i++)
		for (size_t k = 0; pp_probe_matches(&image->probes[i], pattern) && k < image->probes[i].nsites; k++)
			add_point(&m, image, &image->probes[i], &image->probes[i].sites[k]);
	if (!m.npoints) {
		fprintf(stderr, "poke: no probe \"%s\" in %s\n", pattern, file);
		exit(1);
	}
	for (size_t i = 0; i < npids; i++) {
		processes[i].pid = pids[i];
		processes[i].start_time = start_time(pids[i]);
	}
	if (manifest_build(m.builder, number, &manifest))
		die("desc");
	put(&o, &h, sizeof(h));
	h.manifest_at = put(&o, manifest, manifest->size);
	h.processes_at = put(&o, processes, npids * sizeof(*processes));
	h.nprocesses = npids;
	h.programs_at = put(&o, m.programs, m.nprograms * sizeof(*m.programs));
	h.nprograms = m.nprograms;
	h.steps_at = put(&o, m.steps, m.nsteps * sizeof(*m.steps));
	h.nsteps = m.nsteps;
	h.literals_at = put(&o, m.literals, m.nliterals * sizeof(*m.literals));
	h.nliterals = m.nliterals;
	on = malloc(m.npoints);
	memset(on, 1, m.npoints);
	h.on_at = put(&o, on, m.npoints);
	h.size = o.n;
	memcpy(o.at, &h, sizeof(h));
	free(on);
	free(manifest);
	free(m.programs);
	free(m.steps);
	free(m.literals);
	manifest_builder_free(m.builder);
	pp_image_free(image);
	return o;
}

static int arm(int argc, char **argv)
{
	const char *session = argv[0];
	int number = atoi(argv[1]), pids[64], option;
	uint32_t flags = 0;
	size_t npids = 0;
	struct out o;

	optind = 2;
	while ((option = getopt(argc, argv, "+rocp:")) > 0) {
		if (option == 'r')
			flags |= AGENT_ATTACHMENT_RECORD;
		else if (option == 'o')
			flags |= AGENT_ATTACHMENT_RECORD | AGENT_ATTACHMENT_OVERWRITE;
		else if (option == 'c')
			flags |= AGENT_ATTACHMENT_CHILDREN;
		else if (option == 'p' && npids < 64)
			pids[npids++] = atoi(optarg);
		else
			return 2;
	}
	if (argc - optind < 2)
		return 2;
	o = make_attachment(number, flags, pids, npids, argv[optind], argv[optind + 1],
	                    argc - optind > 2 ? argv[optind + 2] : NULL);
	write_file(session, number, o.at, o.n);
	return 0;
}

static struct out read_attachment(const char *session, const char *number)
{
	char path[400];
	struct out o = { 0 };
	struct stat st;
	int fd;

	snprintf(path, sizeof(path), "%s/%s/segment-%s", state, session, number);
	fd = open(path, O_RDONLY);
	if (fd < 0 || fstat(fd, &st))
		die(path);
	o.at = malloc(st.st_size);
	o.n = read(fd, o.at, st.st_size);
	close(fd);
	return o;
}

/* ---- the socket ---- */

static int meet(int pid)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_SEQPACKET, 0);

	if (snprintf(address.sun_path, sizeof(address.sun_path), "%s/agents/%d", state, pid) >=
	    (int)sizeof(address.sun_path))
		die("the name of the state directory is too long");
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)))
		die(address.sun_path);
	return fd;
}

static struct agent_reply *ask(int fd, int op, const char *session, uint32_t attachment, uint32_t first, int *got)
{
	static _Alignas(8) char buffer[AGENT_MESSAGE_MAX];
	struct agent_request request = {
		.magic = AGENT_MESSAGE_MAGIC,
		.version = AGENT_VERSION,
		.op = op,
		.attachment = attachment,
		.first = first,
	};
	char control[CMSG_SPACE(sizeof(int))];
	struct iovec iov = { buffer, sizeof(buffer) };
	struct msghdr message = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)
	};
	struct agent_reply *reply = (void *)buffer;
	struct cmsghdr *c;
	ssize_t n;

	snprintf(request.session, sizeof(request.session), "%s", session);
	if (send(fd, &request, sizeof(request), 0) != sizeof(request))
		die("send");
	n = recvmsg(fd, &message, 0);
	if (n < (ssize_t)sizeof(*reply) || reply->magic != AGENT_MESSAGE_MAGIC ||
	    n != (ssize_t)(sizeof(*reply) + reply->size))
		die("recv");
	if (reply->error) {
		fprintf(stderr, "poke: the agent says %s, reason %u\n", strerror(-reply->error), reply->reason);
		exit(1);
	}
	c = CMSG_FIRSTHDR(&message);
	if (got)
		*got = -1;
	if (got && c && c->cmsg_type == SCM_RIGHTS)
		memcpy(got, CMSG_DATA(c), sizeof(int));
	return reply;
}

static int rescan(int pid, const char *session, bool quiet)
{
	int fd = meet(pid);
	struct agent_reply *reply = ask(fd, AGENT_RESCAN, session, 0, 0, NULL);
	struct agent_attachment_state *s = (void *)(reply + 1);

	for (uint32_t i = 0; i < reply->count && !quiet; i++)
		printf("attachment %u armed %u pending %u refused %u%s\n", s[i].attachment, s[i].armed, s[i].pending,
		       s[i].refused, s[i].reason ? " damaged" : "");
	close(fd);
	return 0;
}

static int show(int pid, const char *session, int number)
{
	static const char *const names[] = { "off", "pending", "armed", "refused" };
	int fd = meet(pid);
	uint32_t first = 0;

	for (;;) {
		struct agent_reply *reply = ask(fd, AGENT_STATE, session, number, first, NULL);
		struct agent_point_state *s = (void *)(reply + 1);

		for (uint32_t i = 0; i < reply->count; i++)
			printf("%u %s %u slot %d\n", first + i, names[s[i].state & 3], s[i].reason, (int)s[i].slot);
		first += reply->count;
		if (!reply->count)
			break;
	}
	close(fd);
	return 0;
}

/* ---- regions ---- */

static struct agent_shm *shm_of(int pid, const char *session)
{
	int fd = meet(pid), memory;
	struct agent_shm *shm;
	struct stat st;

	ask(fd, AGENT_SHM, session, 0, 0, &memory);
	close(fd);
	if (memory < 0 || fstat(memory, &st))
		die("no region");
	if ((fcntl(memory, F_GET_SEALS) & (F_SEAL_SHRINK | F_SEAL_GROW)) != (F_SEAL_SHRINK | F_SEAL_GROW))
		die("not sealed");
	shm = mmap(NULL, st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0);
	if (shm == MAP_FAILED || shm->magic != AGENT_SHM_MAGIC || shm->size != (uint64_t)st.st_size)
		die("area");
	close(memory);
	return shm;
}

static struct agent_ring *ring_of(struct agent_shm *a, unsigned i)
{
	return (void *)((char *)a + a->rings_at + i * a->ring_stride);
}

static void add(struct agent_count *sum, const struct agent_count *c)
{
	sum->recorded += c->recorded;
	sum->filtered += c->filtered;
	sum->idle += c->idle;
	sum->lost += c->lost;
}

static void print_counts(const struct agent_count *c)
{
	printf("hits %lu recorded %lu filtered %lu idle %lu lost %lu\n", c->recorded + c->filtered + c->idle + c->lost,
	       c->recorded, c->filtered, c->idle, c->lost);
}

static int counts(int pid, const char *session, uint32_t number)
{
	struct agent_shm *a = shm_of(pid, session);
	struct agent_slot *slots = (void *)((char *)a + a->slots_at);
	struct agent_count sum = { 0 };

	for (uint32_t i = 0; i < a->nused; i++) {
		if (slots[i].attachment != number)
			continue;
		add(&sum, (struct agent_count *)((char *)a + a->overflow_at) + i);
		for (unsigned r = 0; r < a->nrings; r++)
			if (ring_of(a, r)->turns)
				add(&sum, (struct agent_count *)((char *)ring_of(a, r) + a->counts_in_ring) + i);
	}
	print_counts(&sum);
	return 0;
}

static int counts_files(const char *session, const char *number)
{
	struct agent_count sum = { 0 };
	char command[500], name[500];
	FILE *list;

	snprintf(command, sizeof(command), "ls %s/%s/counts-%s-* 2>/dev/null", state, session, number);
	list = popen(command, "r");
	while (fgets(name, sizeof(name), list)) {
		struct agent_counts h;
		struct agent_count c;
		FILE *f;

		name[strcspn(name, "\n")] = 0;
		f = fopen(name, "r");
		if (!f || fread(&h, sizeof(h), 1, f) != 1 || h.magic != AGENT_COUNTS_MAGIC)
			die(name);
		for (uint32_t i = 0; i < h.npoints && fread(&c, sizeof(c), 1, f) == 1; i++)
			add(&sum, &c);
		fclose(f);
	}
	pclose(list);
	print_counts(&sum);
	return 0;
}

static bool print_record(const struct agent_shm *a, const struct agent_ring *ring, const struct record *r, bool quiet)
{
	const struct agent_slot *slots = (void *)((char *)a + a->slots_at);

	if (r->point >= a->nused || record_words(r) < 2) {
		printf("torn: point %u words %u\n", r->point, record_words(r));
		return false;
	}
	if (quiet)
		return true;
	printf("%u:%u tid %u faults %x", slots[r->point].attachment, slots[r->point].point, ring->tid, r->faults);
	for (unsigned i = 2; i < record_words(r); i++)
		printf(" %lx", r->value[i - 2]);
	printf("\n");
	return true;
}

/* Returns the number of records; -1: a record is invalid. */
static long drain(struct agent_shm *a, unsigned i, bool quiet)
{
	struct agent_ring *ring = ring_of(a, i);
	uint64_t tail = ring->limit ? ring->limit - AGENT_RING_SIZE : 0,
		 head = __atomic_load_n(&ring->head, __ATOMIC_ACQUIRE), last = 0;
	long n = 0;

	while (tail < head) {
		struct record *r = (void *)((char *)ring + a->data_in_ring + (tail & (AGENT_RING_SIZE - 1)));
		uint64_t word = __atomic_load_n(&r->time, __ATOMIC_ACQUIRE);
		unsigned words = record_words(r);

		if (word < AGENT_WORD_SKIP)
			break;
		if (word < AGENT_WORD_TIME) {
			words = word - AGENT_WORD_SKIP;
		} else {
			if (!print_record(a, ring, r, quiet))
				return -1;
			n++;
			if (word < last && last - word > 1000000000)
				return printf("time runs backwards\n"), -1;
			last = word;
		}
		memset(r, 0, 8 * words);
		tail += 8 * words;
		__atomic_store_n(&ring->limit, tail + AGENT_RING_SIZE, __ATOMIC_RELEASE);
	}
	return n;
}

static volatile sig_atomic_t read_stopped;
static void read_stop(int sig)
{
	(void)sig;
	read_stopped = 1;
}

static int read_records(int pid, const char *session, long ms, bool quiet)
{
	struct agent_shm *a = shm_of(pid, session);
	struct timespec from, now;
	long total = 0, n;
	bool always = a->record_until == AGENT_RECORD_ALWAYS;

	clock_gettime(CLOCK_MONOTONIC, &from);
	if (!always)
		a->record_until = a->clock == AGENT_CLOCK_TSC ? __rdtsc() + 3600000000000ull : ~0ull - 1;
	signal(SIGTERM, read_stop);
	if (getenv("POKE_READY"))
		close(open(getenv("POKE_READY"), O_CREAT | O_WRONLY, 0600));
	do {
		for (unsigned i = 0; i < a->nrings; i++) {
			if (!ring_of(a, i)->turns)
				continue;
			n = drain(a, i, quiet);
			if (n < 0)
				return 1;
			total += n;
		}
		usleep(500);
		clock_gettime(CLOCK_MONOTONIC, &now);
	} while (!read_stopped && (now.tv_sec - from.tv_sec) * 1000 + (now.tv_nsec - from.tv_nsec) / 1000000 < ms);
	if (!always) {
		a->record_until = 0;
		usleep(2000);
	}
	for (unsigned i = 0; i < a->nrings; i++)
		if (ring_of(a, i)->turns) {
			n = drain(a, i, quiet);
			if (n < 0)
				return 1;
			total += n;
		}
	printf("end %ld\n", total);
	return 0;
}

static int storm(int pid, const char *session, const char *file, const char *pattern, int seconds, unsigned seed)
{
	/* POKE_ANY: an emulator reports another start time to its program */
	struct out o = make_attachment(1, AGENT_ATTACHMENT_RECORD, &pid, !getenv("POKE_ANY"), file, pattern, NULL);
	struct agent_attachment *h = (void *)o.at;
	uint8_t *on = (uint8_t *)o.at + h->on_at;
	uint32_t n = ((struct manifest *)(o.at + h->manifest_at))->npoints;
	time_t until = time(NULL) + seconds;
	long turns = 0;

	srand(seed);
	for (; time(NULL) < until || turns < 10; turns++) {
		for (uint32_t i = 0; i < n; i++)
			on[i] = rand() >> 5 & 1;
		write_file(session, 1, o.at, o.n);
		rescan(pid, session, true);
	}
	memset(on, 1, n);
	write_file(session, 1, o.at, o.n);
	rescan(pid, session, false);
	printf("turns %ld\n", turns);
	return 0;
}

/* For the sanitizers: the process ends before a leak matters. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
	return "detect_leaks=0";
}

static int site(const char *file, const char *pattern)
{
	struct pp_image *image;
	size_t i = 0;

	if (pp_image_open(file, &image))
		die(file);
	while (i < image->nprobes && !pp_probe_matches(&image->probes[i], pattern))
		i++;
	if (i == image->nprobes)
		die(pattern);
	printf("%lu\n", image->probes[i].sites[0].offset);
	pp_image_free(image);
	return 0;
}

int main(int argc, char **argv)
{
	char path[400];

	find_state();
	if (argc >= 5 && !strcmp(argv[1], "arm"))
		return arm(argc - 2, argv + 2);
	if (argc == 5 && !strcmp(argv[1], "off")) {
		struct out o = read_attachment(argv[2], argv[3]);

		o.at[((struct agent_attachment *)o.at)->on_at + atoi(argv[4])] = 0;
		write_file(argv[2], atoi(argv[3]), o.at, o.n);
		return 0;
	}
	if (argc == 4 && !strcmp(argv[1], "drop")) {
		snprintf(path, sizeof(path), "%s/%s/segment-%s", state, argv[2], argv[3]);
		if (unlink(path))
			die(path);
		return 0;
	}
	if (argc == 4 && !strcmp(argv[1], "rescan"))
		return rescan(atoi(argv[2]), argv[3], false);
	if (argc == 5 && !strcmp(argv[1], "state"))
		return show(atoi(argv[2]), argv[3], atoi(argv[4]));
	if (argc == 5 && !strcmp(argv[1], "counts"))
		return counts(atoi(argv[2]), argv[3], atoi(argv[4]));
	if (argc == 4 && !strcmp(argv[1], "files"))
		return counts_files(argv[2], argv[3]);
	if (argc >= 5 && !strcmp(argv[1], "read"))
		return read_records(atoi(argv[2]), argv[3], atol(argv[4]), argc > 5);
	if (argc == 4 && !strcmp(argv[1], "site"))
		return site(argv[2], argv[3]);
	if (argc == 8 && !strcmp(argv[1], "storm"))
		return storm(atoi(argv[2]), argv[3], argv[4], argv[5], atoi(argv[6]), atoi(argv[7]));
	return 2;
}
