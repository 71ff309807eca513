/* SPDX-License-Identifier: MIT */
/*
 * Writes traces of an artificial session. Without arguments this is a test suite that checks the bytes. `unit/ctf CASE DIR`
 * writes the trace of a case, which tests/trace/ctf-*.sh read with babeltrace2.
 */
#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "runtime/trace/ctf.h"
#include "runtime/manifest.h"
#include "runtime/event.h"
#include "runtime/fetch/program.h"
#include "runtime/session.h"
#include "sdt/image.h"

/* ---- an artificial session ---- */

static uint64_t lost_now;

static void fake_counts(const struct attachment *attachment, uint32_t point, struct pp_counts *counts)
{
	(void)attachment;
	*counts = (struct pp_counts){ .lost = point ? 0 : lost_now };
}

static const struct backend fake = { .name = "fake", .counts = fake_counts, .lose = backend_loses_nothing };

static struct pp_image image = { .path = "/bin/it", .build_id = "c0ffee" };

struct arg {
	const char *name;
	enum pp_kind kind;
	int size;
};

/* Adds a probe with one point. Returns the point's index. */
static uint32_t add(struct manifest_builder *b, const char *provider, const char *name, size_t nargs,
                    const struct arg *args)
{
	struct pp_arg pp_args[RECORD_ARGS_MAX];
	struct pp_probe probe = { .provider = (char *)provider, .name = (char *)name, .args = pp_args, .nargs = nargs };
	struct fetch_program program = { .nargs = nargs };
	struct manifest_point point = { .offset = 0x1000 };
	int index;

	for (size_t i = 0; i < nargs; i++) {
		pp_args[i] = (struct pp_arg){ .name = (char *)args[i].name, .type = "" };
		program.kind[i] = args[i].kind;
		program.size[i] = args[i].size;
	}
	point.probe = manifest_add_probe(b, &probe, manifest_add_file(b, &image));
	point.layout = manifest_add_layout(b, &program);
	index = manifest_add_point(b, &point);
	if (index < 0)
		abort();
	return index;
}

#define ADD(b, provider, name, ...)                                                        \
	add(b, provider, name, sizeof((struct arg[]){ __VA_ARGS__ }) / sizeof(struct arg), \
	    (struct arg[]){ __VA_ARGS__ })

static struct attachment attachments[4];
static struct attachment *attachment_list[4];
static struct pp_session session = { .name = "by-hand", .attachments = attachment_list };

static const struct manifest *add_attachment(struct manifest_builder *b)
{
	struct attachment *attachment = &attachments[session.nattachments];

	attachment->number = session.nattachments;
	attachment->backend = &fake;
	if (manifest_build(b, attachment->number, &attachment->manifest) ||
	    manifest_check(attachment->manifest, attachment->manifest->size, "by-hand"))
		abort();
	manifest_builder_free(b);
	attachment_list[session.nattachments++] = attachment;
	return attachment->manifest;
}

static struct manifest_builder *builder(void)
{
	struct manifest_builder *b;

	if (manifest_builder_new(&b))
		abort();
	return b;
}

/* ---- artificial records ---- */

static struct record_thread thread = { .pid = 100, .tid = 101, .comm = "worker" };

union word {
	int64_t i;
	double d;
	float f;
	uint64_t u;
};

#define I(x) ((union word){ .i = (x) }), NULL
#define F8(x) ((union word){ .d = (x) }), NULL
#define F4(x) ((union word){ .f = (x) }), NULL
#define S(x) ((union word){ .u = sizeof(x) - 1 }), (x)

/* Writes a record. The n arguments are pairs of a value and, for a string, its bytes. */
static int emit(struct pp_trace *trace, const struct manifest *manifest, uint32_t point, uint64_t time, uint32_t faults,
                int n, ...)
{
	uint64_t room[RECORD_SIZE_MAX / 8 + 1] = { 0 };
	struct record *record = (struct record *)room;
	const char *strings[RECORD_ARGS_MAX] = { NULL };
	static struct pp_event event;
	uint64_t *to;
	va_list args;

	va_start(args, n);
	for (int i = 0; i < n; i++) {
		record->value[i] = va_arg(args, union word).u;
		strings[i] = va_arg(args, const char *);
	}
	va_end(args);
	to = &record->value[n];
	for (int i = 0; i < n; i++)
		if (strings[i]) {
			memcpy(to, strings[i], record->value[i]);
			to += (record->value[i] + 7) / 8;
		}
	record->time = time;
	record->point = point;
	record->faults = faults;
	record_set_words(record, to - room);
	thread.attachment = attachment_id(&attachments[manifest->attachment]);
	if (event_set(&event, manifest, &thread, record, record_words(record) * 8)) {
		fprintf(stderr, "emit: %s\n", pp_error());
		abort();
	}
	return pp_trace_write(trace, &event);
}

static uint64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * UINT64_C(1000000000) + t.tv_nsec;
}

/* ---- cases for tests/trace/ctf-*.sh ---- */

static struct pp_trace *create(const char *dir)
{
	struct pp_trace *trace;

	if (pp_trace_create(dir, &session, &trace)) {
		fprintf(stderr, "create: %s\n", pp_error());
		exit(1);
	}
	return trace;
}

static int finish(struct pp_trace *trace)
{
	if (!pp_trace_close(trace))
		return 0;
	fprintf(stderr, "close: %s\n", pp_error());
	return 1;
}

/* All kinds and sizes, with their extreme values. */
static int case_kinds(const char *dir)
{
	struct manifest_builder *b = builder();
	uint32_t s = ADD(b, "kind", "signed", { "a", PP_SIGNED, 1 }, { "b", PP_SIGNED, 2 }, { "c", PP_SIGNED, 4 },
	                 { "d", PP_SIGNED, 8 });
	uint32_t u = ADD(b, "kind", "unsigned", { "a", PP_UNSIGNED, 1 }, { "b", PP_UNSIGNED, 2 },
	                 { "c", PP_UNSIGNED, 4 }, { "d", PP_UNSIGNED, 8 });
	uint32_t p = ADD(b, "kind", "pointer", { "p", PP_POINTER, 8 }, { "q", PP_POINTER, 4 });
	uint32_t f = ADD(b, "kind", "float", { "f", PP_FLOAT, 4 }, { "d", PP_FLOAT, 8 });
	uint32_t o = ADD(b, "kind", "others", { "yes", PP_BOOL, 1 }, { "no", PP_BOOL, 4 }, { "c", PP_CHAR, 1 },
	                 { "wide", PP_CHAR, 4 });
	uint32_t t = ADD(b, "kind", "text", { "n", PP_SIGNED, 4 }, { "s", PP_STRING, 8 }, { "t", PP_STRING, 8 });
	uint32_t none = add(b, "kind", "nothing", 0, NULL);
	uint32_t x = ADD(b, "kind", "unreadable", { "v", PP_FAULT, 0 }, { "n", PP_SIGNED, 4 });
	const struct manifest *d = add_attachment(b);
	struct pp_trace *trace = create(dir);
	char longest[RECORD_STRING_DEFAULT + 2];

	memset(longest, 'z', RECORD_STRING_DEFAULT + 1);
	longest[RECORD_STRING_DEFAULT + 1] = 0;
	emit(trace, d, s, 1000, 0, 4, I(-128), I(-32768), I(INT32_MIN), I(INT64_MIN));
	emit(trace, d, s, 1001, 0, 4, I(127), I(-1), I(7), I(INT64_MAX));
	emit(trace, d, u, 1002, 0, 4, I(255), I(65535), I(4294967295), I(-1));
	emit(trace, d, p, 1003, 0, 2, I(0x7fffdeadbeef), I(0));
	emit(trace, d, f, 1004, 0, 2, F4(1.5), F8(-2.25));
	emit(trace, d, f, 1005, 0, 2, F4(-0.0), F8(1e300));
	emit(trace, d, o, 1006, 0, 4, I(1), I(0), I('x'), I(0x20ac));
	emit(trace, d, t, 1007, 0, 3, I(-5), S("plain"), S(""));
	emit(trace, d, t, 1008, 0, 3, I(-6), S("quote\" back\\ tab\t line\n"), S("\xc3\xa9"));
	emit(trace, d, t, 1009, 2, 3, I(-7), I(0), S("12345678"));
	emit(trace, d, t, 1010, 5, 3, I(99), S("1234567"), I(0));
	emit(trace, d, t, 1011, 0, 3, I(0), ((union word){ .u = 128 }), longest, S("nul\0inside"));
	emit(trace, d, none, 1012, 0, 0);
	emit(trace, d, x, 1013, 1, 2, I(0), I(42));
	thread = (struct record_thread){ .pid = 4194304, .tid = 4194303, .comm = "fifteen letters" };
	emit(trace, d, none, 9000000000, 0, 0);
	return finish(trace);
}

/* Names that are not valid in TSDL. */
static int case_names(const char *dir)
{
	static const char *const odd[] = { "int", "event", "this->x", "",     "_",        "faults", "_faults", "a b",
		                           "a_b", "1st",   "_cut",    "a\"b", "\xc3\xa9", "string", "a_b",     "s32" };
	struct manifest_builder *b = builder();
	struct arg args[16], letters;
	uint32_t p, q, r, s;
	char name[4096];

	for (int i = 0; i < 16; i++)
		args[i] = (struct arg){ odd[i], PP_SIGNED, 4 };
	args[15].kind = PP_STRING;
	p = add(b, "odd", "names", 16, args);
	q = add(b, "quo\"te\\", "new\nline", 0, NULL);
	image.path = "/tmp/*/ event { x */ it";
	image.inode = 2;
	r = add(b, "odd", "names", 0, NULL);
	memset(name, 'n', sizeof(name) - 1);
	name[sizeof(name) - 1] = 0;
	letters = (struct arg){ name, PP_BOOL, 1 };
	s = add(b, "p", "operator<<(std::ostream&, \xc3\xa9 const*)", 1, &letters);

	const struct manifest *d = add_attachment(b);
	struct pp_trace *trace = create(dir);

	emit(trace, d, p, 1, 0, 16, I(0), I(1), I(2), I(3), I(4), I(5), I(6), I(7), I(8), I(9), I(10), I(11), I(12),
	     I(13), I(14), S("fifteen"));
	emit(trace, d, q, 2, 0, 0);
	emit(trace, d, r, 3, 0, 0);
	emit(trace, d, s, 4, 0, 1, I(1));
	return finish(trace);
}

static const struct manifest *count_attachment(void)
{
	struct manifest_builder *b = builder();

	ADD(b, "count", "hit", { "n", PP_UNSIGNED, 8 }, { "s", PP_STRING, 8 });
	return add_attachment(b);
}

/* 200,000 events whose times are out of order, by small and by large distances. */
static int case_disorder(const char *dir)
{
	const struct manifest *d = count_attachment();
	struct pp_trace *trace = create(dir);

	/* four rings that are drained one after another, in rounds; each ring is slightly out of order */
	for (uint64_t round = 0; round < 5; round++)
		for (uint64_t ring = 0; ring < 4; ring++)
			for (uint64_t i = 0; i < 10000; i++) {
				uint64_t n = (round * 10000 + (i ^ 3)) * 4 + ring;

				if (emit(trace, d, 0, 1000000 + n, 0, 2, I(n), S("disorder")))
					return 1;
			}
	return finish(trace);
}

/* An attachment that is added while the trace is written. */
static int case_late(const char *dir)
{
	const struct manifest *d = count_attachment(), *e;
	struct pp_trace *trace = create(dir);
	struct manifest_builder *b = builder();
	uint32_t p;

	emit(trace, d, 0, 10, 0, 2, I(1), S("first"));
	ADD(b, "other", "unused");
	p = ADD(b, "count", "hit", { "n", PP_SIGNED, 2 });
	e = add_attachment(b);
	emit(trace, e, p, 20, 0, 1, I(-2));
	emit(trace, d, 0, 30, 0, 2, I(3), S("first again"));
	emit(trace, e, p, 40, 0, 1, I(-4));
	return finish(trace);
}

static int case_lost(const char *dir)
{
	const struct manifest *d = count_attachment();
	struct pp_trace *trace;

	lost_now = 1000; /* before the trace, so not reported in it */
	trace = create(dir);
	emit(trace, d, 0, 10, 0, 2, I(1), S("one"));
	lost_now += 17;
	return finish(trace);
}

static int case_empty(const char *dir)
{
	count_attachment();
	return finish(create(dir));
}

/* Prints the wall clock before and after the event, in ns. */
static int case_now(const char *dir)
{
	const struct manifest *d = count_attachment();
	struct pp_trace *trace = create(dir);
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	printf("%lld%09ld\n", (long long)t.tv_sec, t.tv_nsec);
	emit(trace, d, 0, now(), 0, 2, I(1), S("now"));
	clock_gettime(CLOCK_REALTIME, &t);
	printf("%lld%09ld\n", (long long)t.tv_sec, t.tv_nsec);
	return finish(trace);
}

/* Writes until it fails or is killed. Adds an attachment after each 50,000 events. */
static int case_endless(const char *dir)
{
	const struct manifest *d = count_attachment();
	struct pp_trace *trace = create(dir);
	uint64_t n = 0;

	puts("begun");
	fflush(stdout);
	for (;; n++) {
		if (n % 50000 == 49999 && session.nattachments < 4)
			d = count_attachment();
		if (emit(trace, d, 0, n, 0, 2, I(n), S("without end")))
			break;
	}
	fprintf(stderr, "write: %s\n", pp_error());
	printf("%llu\n", (unsigned long long)n);
	return finish(trace);
}

/* Writes 150,000 events of 3 threads in parts of 1 MiB. Prints how many were written, and how many were removed. */
static int case_parts(const char *dir, unsigned files)
{
	const struct manifest *d = count_attachment();
	struct pp_trace *trace;

	if (pp_trace_create_parts(dir, &session, 1 << 20, files, &trace)) {
		fprintf(stderr, "create: %s\n", pp_error());
		return 1;
	}
	for (uint64_t n = 0; n < 150000; n++) {
		thread.tid = 101 + (n / 100) % 3;
		if (emit(trace, d, 0, 1000 + n, n % 1000 ? 0 : 2, 2, I(n), S("part")))
			return 1;
	}
	if (pp_trace_write(trace, NULL))
		return 1;
	printf("%llu %llu\n", (unsigned long long)pp_trace_events(trace), (unsigned long long)pp_trace_removed(trace));
	return finish(trace);
}

/* 300,000 events with 2 integers, of 2 busy threads and one that is not. */
static int case_pairs(const char *dir)
{
	struct manifest_builder *b = builder();
	uint32_t p = ADD(b, "bench", "pair", { "n", PP_SIGNED, 4 }, { "m", PP_SIGNED, 4 });
	const struct manifest *d = add_attachment(b);
	struct pp_trace *trace = create(dir);

	for (uint64_t n = 0; n < 300000; n++) {
		thread.tid = n % 100000 == 99999 ? 103 : n % 200 < 100 ? 101 : 102;
		if (emit(trace, d, p, 1000 + n * 50000, 0, 2, I(n), I(-(int64_t)n)))
			return 1;
	}
	return finish(trace);
}

static int case_parts_kept(const char *dir)
{
	return case_parts(dir, 2);
}

static int case_parts_all(const char *dir)
{
	return case_parts(dir, 0);
}

/* ---- the suite ---- */

static char directory[] = "/tmp/check_ctf.XXXXXX";

static const char *trace_path(void)
{
	static char path[64];

	snprintf(path, sizeof(path), "%s/trace", directory);
	return path;
}

static void setup(void)
{
	strcpy(directory, "/tmp/check_ctf.XXXXXX");
	ck_assert(mkdtemp(directory));
	session.nattachments = 0;
}

static void teardown(void)
{
	char command[64];

	snprintf(command, sizeof(command), "rm -rf %s", directory);
	ck_assert_int_eq(system(command), 0);
	for (size_t i = 0; i < session.nattachments; i++)
		free(attachments[i].manifest);
}

static char *slurp(const char *name, size_t *size)
{
	char path[128], *bytes;
	struct stat st;
	int fd;

	snprintf(path, sizeof(path), "%s/%s", trace_path(), name);
	fd = open(path, O_RDONLY);
	if (fd < 0)
		return NULL;
	ck_assert_int_eq(fstat(fd, &st), 0);
	bytes = malloc(st.st_size + 1);
	ck_assert_int_eq(read(fd, bytes, st.st_size), st.st_size);
	bytes[st.st_size] = 0;
	*size = st.st_size;
	close(fd);
	return bytes;
}

static size_t entries(void)
{
	DIR *dir = opendir(trace_path());
	size_t n = 0;

	ck_assert(dir);
	for (struct dirent *e; (e = readdir(dir));)
		n += strcmp(e->d_name, ".") && strcmp(e->d_name, "..");
	closedir(dir);
	return n;
}

START_TEST(directory_must_be_new)
{
	struct pp_trace *trace = (void *)1;
	struct stat st;

	umask(022);
	count_attachment();
	ck_assert_int_eq(pp_trace_create(directory, &session, &trace), -EEXIST);
	ck_assert_ptr_null(trace);
	ck_assert_ptr_nonnull(strstr(pp_error(), directory));
	ck_assert_int_eq(pp_trace_create("/nowhere/at/all", &session, &trace), -ENOENT);
	ck_assert_ptr_nonnull(strstr(pp_error(), "/nowhere/at/all"));
	ck_assert_int_eq(pp_trace_create("", &session, &trace), -ENOENT);
	ck_assert_int_eq(pp_trace_create(trace_path(), &session, &trace), 0);
	ck_assert_int_eq(stat(trace_path(), &st), 0);
	ck_assert_int_eq(st.st_mode & 0777, 0700);
	ck_assert_int_eq(pp_trace_close(trace), 0);
	ck_assert_int_eq(pp_trace_close(NULL), 0);
}
END_TEST

/* The bytes of an event, as in doc/trace-format.md. */
START_TEST(bytes_of_an_event)
{
	static const unsigned char truth[] = {
		0,    0,    0,    0,                                                                  /* id */
		0x15, 0xcd, 0x5b, 7, 0,   0,    0,    0,                                              /* 123456789 */
		100,  0,    0,    0, 101, 0,    0,    0, 'w', 'o', 'r', 'k', 'e', 'r', 0, 0xfe, 0xff, /* -2 */
		'h',  'i',  0,    0, 0,   0xc0, 0x3f,                                                 /* 1.5 */
		1,    0,    0,    0, 0,   0,    0,    0, 0,                                           /* faults, cut */
	};
	struct manifest_builder *b = builder();
	uint32_t p = ADD(b, "a", "b", { "i", PP_SIGNED, 2 }, { "s", PP_STRING, 8 }, { "f", PP_FLOAT, 4 },
	                 { "b", PP_BOOL, 1 });
	const struct manifest *d = add_attachment(b);
	struct pp_trace *trace = create(trace_path());
	struct ctf_packet packet;
	size_t size = 0;
	char *bytes;

	ck_assert_int_eq(emit(trace, d, p, 123456789, 0, 4, I(-2), S("hi"), F4(1.5), I(0xff)), 0);
	ck_assert_int_eq(pp_trace_close(trace), 0);
	bytes = slurp("stream_0", &size);
	ck_assert_ptr_nonnull(bytes);
	ck_assert_uint_eq(size, 4096);
	memcpy(&packet, bytes, sizeof(packet));
	ck_assert_uint_eq(packet.magic, 0xc1fc1fc1);
	ck_assert_uint_eq(packet.stream_id, 0);
	ck_assert_uint_eq(packet.timestamp_begin, 123456789);
	ck_assert_uint_eq(packet.timestamp_end, 123456789);
	ck_assert_uint_eq(packet.packet_size, 8 * 4096);
	ck_assert_uint_eq(packet.content_size, 8 * (64 + sizeof(truth)));
	ck_assert_mem_eq(bytes + 64, truth, sizeof(truth));
	for (size_t i = 64 + sizeof(truth); i < size; i++)
		if (bytes[i])
			ck_abort_msg("byte %zu is not padding", i);
	free(bytes);
}
END_TEST

/* For any order of events, times in a stream do not decrease, and no event is missing. */
START_TEST(streams_go_forward)
{
	size_t size = 0, streams = 0, packets = 0;
	char name[32], *bytes;

	ck_assert_int_eq(case_disorder(trace_path()), 0);
	for (;; streams++, free(bytes)) {
		uint64_t last = 0;

		snprintf(name, sizeof(name), "stream_%zu", streams);
		bytes = slurp(name, &size);
		if (!bytes)
			break;
		ck_assert_uint_gt(size, 0);
		ck_assert_uint_eq(size % 4096, 0);
		for (size_t at = 0; at < size; at += 4096, packets++) {
			struct ctf_packet packet;

			memcpy(&packet, bytes + at, sizeof(packet));
			if (packet.magic != 0xc1fc1fc1 || packet.packet_size != 8 * 4096 ||
			    packet.content_size < 8 * 64 || packet.content_size > packet.packet_size ||
			    packet.timestamp_begin < last || packet.timestamp_end < packet.timestamp_begin)
				ck_abort_msg("packet %zu of %s", at / 4096, name);
			last = packet.timestamp_end;
		}
	}
	ck_assert_uint_gt(packets, 200000 * 50 / 4096);
	ck_assert_uint_ge(streams, 2);
	ck_assert_uint_le(streams, 8);
	ck_assert_uint_eq(entries(), streams + 2); /* metadata, index */
}
END_TEST

/* pp_trace_write() without an event writes the events that are in memory. */
START_TEST(flush_writes_events)
{
	const struct manifest *d = count_attachment();
	struct pp_trace *trace = create(trace_path());
	size_t size;

	ck_assert_int_eq(emit(trace, d, 0, 1, 0, 2, I(1), S("x")), 0);
	ck_assert_int_eq(pp_trace_write(trace, NULL), 0);
	free(slurp("stream_0", &size));
	ck_assert_uint_eq(size, 4096);
	ck_assert_int_eq(pp_trace_write(trace, NULL), 0);
	ck_assert_int_eq(pp_trace_close(trace), 0);
	free(slurp("stream_0", &size));
	ck_assert_uint_eq(size, 4096);
}
END_TEST

START_TEST(invalid_time_is_skipped)
{
	const struct manifest *d = count_attachment();
	struct pp_trace *trace = create(trace_path());
	size_t size;
	char *bytes;

	ck_assert_int_eq(emit(trace, d, 0, UINT64_MAX, 0, 2, I(1), S("x")), -EBADMSG);
	ck_assert_ptr_nonnull(strstr(pp_error(), "count:hit"));
	ck_assert_int_eq(emit(trace, d, 0, 5, 0, 2, I(1), S("x")), 0);
	ck_assert_int_eq(pp_trace_close(trace), 0);
	bytes = slurp("stream_0", &size);
	ck_assert_uint_eq(((struct ctf_packet *)bytes)->timestamp_begin, 5);
	ck_assert_uint_eq(((struct ctf_packet *)bytes)->timestamp_end, 5);
	free(bytes);
}
END_TEST

/* The directory is removed while the trace is open: the error is kept and names the file. */
START_TEST(errors_are_kept)
{
	const struct manifest *d = count_attachment();
	struct pp_trace *trace = create(trace_path());
	char path[128];

	ck_assert_int_eq(emit(trace, d, 0, 1, 0, 2, I(1), S("x")), 0);
	snprintf(path, sizeof(path), "%s/metadata", trace_path());
	ck_assert_int_eq(unlink(path), 0);
	snprintf(path, sizeof(path), "%s/index", trace_path());
	ck_assert_int_eq(rmdir(path), 0);
	ck_assert_int_eq(rmdir(trace_path()), 0);
	ck_assert_int_eq(pp_trace_write(trace, NULL), -ENOENT);
	ck_assert_ptr_nonnull(strstr(pp_error(), "trace/stream_0"));
	ck_assert_int_eq(mkdir(trace_path(), 0755), 0);
	ck_assert_int_eq(emit(trace, d, 0, 2, 0, 2, I(1), S("x")), -ENOENT);
	ck_assert_ptr_nonnull(strstr(pp_error(), "trace/stream_0"));
	ck_assert_int_eq(pp_trace_close(trace), -ENOENT);
	ck_assert_ptr_nonnull(strstr(pp_error(), "trace/stream_0"));
	ck_assert_uint_eq(entries(), 0);
}
END_TEST

/* The metadata has each pair of probe and layout once. */
START_TEST(many_points)
{
	struct manifest_builder *b = builder();
	struct arg args[] = { { "a", PP_SIGNED, 4 }, { "b", PP_STRING, 8 } };
	size_t size, events = 0;
	char name[32], *text;

	for (int i = 0; i < 50000; i++) {
		snprintf(name, sizeof(name), "f%d", i % 10000);
		args[0].size = i < 40000 ? 4 : 8;
		add(b, "many", name, 2, args);
	}
	add_attachment(b);
	ck_assert_int_eq(pp_trace_close(create(trace_path())), 0);
	text = slurp("metadata", &size);
	ck_assert_int_eq(strncmp(text, "/* CTF 1.8 */\n", 14), 0);
	for (char *at = text; (at = strstr(at, "\nevent {\n")); at++)
		events++;
	ck_assert_uint_eq(events, 20000);
	ck_assert_ptr_nonnull(strstr(text, "\tid = 19999;\n"));
	ck_assert_ptr_null(strstr(text, "\tid = 20000;\n"));
	ck_assert_uint_eq(entries(), 2); /* with the empty index */
	free(text);
}
END_TEST

static const struct {
	const char *name;
	int (*run)(const char *dir);
} cases[] = {
	{ "kinds", case_kinds },     { "names", case_names },     { "disorder", case_disorder },
	{ "late", case_late },       { "lost", case_lost },       { "empty", case_empty },
	{ "now", case_now },         { "endless", case_endless }, { "parts-kept", case_parts_kept },
	{ "parts", case_parts_all }, { "pairs", case_pairs },
};

static int run_suite(void)
{
	Suite *suite = suite_create("ctf");
	TCase *tc = tcase_create("ctf");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_set_timeout(tc, 300);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, directory_must_be_new);
	tcase_add_test(tc, bytes_of_an_event);
	tcase_add_test(tc, streams_go_forward);
	tcase_add_test(tc, flush_writes_events);
	tcase_add_test(tc, invalid_time_is_skipped);
	tcase_add_test(tc, errors_are_kept);
	tcase_add_test(tc, many_points);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}

int main(int argc, char **argv)
{
	if (argc == 1)
		return run_suite();
	for (size_t i = 0; argc == 3 && i < sizeof(cases) / sizeof(*cases); i++)
		if (!strcmp(argv[1], cases[i].name))
			return cases[i].run(argv[2]);
	fprintf(stderr, "usage: %s [CASE DIR]\n", argv[0]);
	return 2;
}
