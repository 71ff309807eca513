/* SPDX-License-Identifier: MIT */
/*
 * A libFuzzer target (tests/fuzz/run.sh): what the agent takes from others. The first byte says what the rest is: a
 * question at its socket, or an attachment file, whose sizes are then put right half of the time. What passes for a good
 * attachment is compiled into slots. Attachment files of sessions are a corpus to begin with, each with a byte 1 before it.
 */
#include <stdarg.h>
#include <stdlib.h>
#include <sys/mman.h>

/* Both are looked at from within. */
#include "runtime/agent/inproc/control.c"
#include "runtime/agent/inproc/attachment.c"

#include "runtime/agent/inproc/trampoline.h"

/* What the agent's files have of others. */
uint64_t modules_size(void)
{
	return 0;
}

void change_begin(void)
{
}

void change_end(void)
{
}

void session_unkept(int store, const struct session *session, bool unkept)
{
	(void)store;
	(void)session;
	(void)unkept;
}

long agent_syscall(long number, ...);
long agent_syscall(long number, ...)
{
	long a[6];
	va_list list;

	va_start(list, number);
	for (int i = 0; i < 6; i++)
		a[i] = va_arg(list, long);
	va_end(list);
	return syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct agent agent = { .key = -1 };

/* ---- what the rest of the agent would do ---- */

static struct session session = { .name = "it" };

bool agent_look(int store)
{
	(void)store;
	return true;
}

struct session *agent_session(const char *name)
{
	return strcmp(name, "it") ? NULL : &session;
}

bool store_session_ok(const char *name)
{
	size_t n = strnlen(name, AGENT_SESSION_MAX + 1);

	return n && n <= AGENT_SESSION_MAX && *name != '.' && !memchr(name, '/', n);
}

int store_folder(int dir, const char *name, bool make)
{
	(void)dir, (void)name, (void)make;
	return -1;
}

size_t format_number(char *to, uint64_t n)
{
	(void)n;
	*to = 0;
	return 0;
}

int64_t parse_number(const char *text)
{
	(void)text;
	return -1;
}

/* ---- ---- */

static void ask(const uint8_t *data, size_t size)
{
	static struct agent_point_state points[7];
	static struct manifest manifest = { .npoints = 7 };
	static struct loaded_attachment one = { .number = 1, .manifest = &manifest, .points = points },
					two = { .number = 2, .reason = AGENT_FILE };
	static struct loaded_attachment *attachments[] = { &one, &two };
	struct agent_reply *reply = (struct agent_reply *)answer;
	struct agent_request request = { 0 };

	session.attachments = (struct vector){ attachments, sizeof(attachments), sizeof(attachments) };
	memcpy(&request, data, size < sizeof(request) ? size : sizeof(request));
	if (data[0] & 1) {
		request.magic = AGENT_MESSAGE_MAGIC;
		request.version = AGENT_VERSION;
	}
	respond(&request, reply, -1);
	if (reply->size > AGENT_MESSAGE_MAX - sizeof(*reply) || (reply->error && reply->size))
		abort();
}

static void compile(struct loaded_attachment *attachment)
{
	static uint8_t code[TRAMPOLINE_MAX];
	static struct image image;
	static struct agent_shm shm;
	static struct life life;
	struct trampoline_table table;

	trampoline_table_fill(&table);
	for (uint32_t i = 0; i < attachment->header->nprograms; i++) {
		struct trampoline_consumer consumer = { .program = attachment_program(attachment, i),
			                                .shm = &shm,
			                                .slot = i };
		size_t n = consumer.program ? trampoline_make(code, 0x7f0000000000, 0x7f0000001000, &consumer, 1,
		                                              &image, &table, &life)
		                            : 0;

		if (n > TRAMPOLINE_MAX)
			abort();
	}
}

static void read_attachment(const uint8_t *data, size_t size, bool put_right)
{
	static int fd = -1;
	struct loaded_attachment attachment = { .number = 1 };
	struct agent_attachment h;
	struct manifest d;

	if (fd < 0)
		fd = memfd_create("fuzz", MFD_CLOEXEC);
	if (fd < 0 || ftruncate(fd, 0) || pwrite(fd, data, size, 0) != (ssize_t)size)
		abort();
	if (put_right && size >= sizeof(h)) {
		memcpy(&h, data, sizeof(h));
		h.magic = AGENT_ATTACHMENT_MAGIC;
		h.version = AGENT_VERSION;
		h.size = size;
		h.number = 1;
		h.manifest_at = sizeof(h);
		pwrite(fd, &h, sizeof(h), 0);
		if (size >= sizeof(h) + sizeof(d)) {
			memcpy(&d, data + sizeof(h), sizeof(d));
			d.magic = MANIFEST_MAGIC;
			d.version = MANIFEST_VERSION;
			d.attachment = 1;
			pwrite(fd, &d, sizeof(d), sizeof(h));
		}
	}
	if (!attachment_read(&attachment, fd, size)) {
		for (uint32_t i = 0; i < attachment.manifest->npoints; i++) {
			const struct manifest_point *p = &manifest_points(attachment.manifest)[i];
			volatile size_t n = strlen(manifest_string(
				attachment.manifest,
				manifest_files(attachment.manifest)[manifest_probes(attachment.manifest)[p->probe].file]
					.path));

			(void)n;
			attachment_concerns(&attachment, p);
			if (p->spec >= attachment.header->nprograms || attachment.on[i] > 255)
				abort();
		}
		compile(&attachment);
		attachment_release(&attachment);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 2)
		return 0;
	if (data[0] % 8 == 7)
		ask(data + 1, size - 1);
	else
		read_attachment(data + 1, size - 1, data[0] & 1);
	return 0;
}
