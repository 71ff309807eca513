/* SPDX-License-Identifier: MIT */
/*
 * A libFuzzer target (tests/fuzz/run.sh): the input that the agent takes from other
 * processes. The first byte selects what the rest is: a request on the agent's socket,
 * or an attachment file. If bit 0 is set, the header's fixed fields and sizes are
 * corrected. A valid attachment is compiled into trampolines. The corpus begins with
 * the attachment files of sessions, each after a byte 1.
 */
#include <stdarg.h>
#include <stdlib.h>
#include <sys/mman.h>

/* Their static functions are called below. */
#include "runtime/agent/inproc/control.c"
#include "runtime/agent/inproc/attachment.c"

#include "runtime/agent/inproc/scan.h"
#include "runtime/agent/inproc/trampoline.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct agent agent = { .key = -1 };

/* ---- in place of the rest of the agent ---- */

static struct session session = { .name = "it" };

long agent_syscall(long number, ...)
{
	long a[6];
	va_list list;

	va_start(list, number);
	for (int i = 0; i < 6; i++)
		a[i] = va_arg(list, long);
	va_end(list);
#undef syscall
	return syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

void change_begin(void)
{
}

void change_end(void)
{
}

void shms_keep(int store)
{
	(void)store;
}

bool sessions_rescan(int store)
{
	(void)store;
	return true;
}

struct session *session_find(const char *name)
{
	return strcmp(name, "it") ? NULL : &session;
}

/* ---- requests ---- */

static void fuzz_request(const uint8_t *data, size_t size)
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
	request_answer(&request, reply, -1);
	if (reply->size > AGENT_MESSAGE_MAX - sizeof(*reply) || (reply->error && reply->size))
		abort();
}

/* ---- attachments ---- */

static void fuzz_programs(struct loaded_attachment *attachment)
{
	static uint8_t code[TRAMPOLINE_MAX];
	static struct image_ranges image;
	static struct agent_shm shm;
	static struct life life;
	static const struct hit_table cells = { .mask = 1023, .shift = 54, .ncells = 500, .key_size = 200 };
	static const struct hit_group group = { .table = &cells };
	struct trampoline_table table;

	trampoline_table_fill(&table);
	for (uint32_t i = 0; i < attachment->header->nprograms; i++) {
		struct trampoline_consumer consumer = {
			.program = attachment_program(attachment, i), .shm = &shm, .slot = i, .group = &group
		};
		size_t n = consumer.program ? trampoline_compile(code, 0x7f0000000000, 0x7f0000001000, &consumer, 1,
		                                                 &image, &table, &life)
		                            : 0;

		if (n > TRAMPOLINE_MAX)
			abort();
	}
}

/* Corrects what no random input would have right. */
static void correct_header(int fd, const uint8_t *data, size_t size)
{
	struct agent_attachment h;
	struct manifest d;

	if (size < sizeof(h))
		return;
	memcpy(&h, data, sizeof(h));
	h.magic = AGENT_ATTACHMENT_MAGIC;
	h.ring_size = AGENT_RING_SIZE;
	h.version = AGENT_VERSION;
	h.size = size;
	h.number = 1;
	h.manifest_at = sizeof(h);
	pwrite(fd, &h, sizeof(h), 0);
	if (size < sizeof(h) + sizeof(d))
		return;
	memcpy(&d, data + sizeof(h), sizeof(d));
	d.magic = MANIFEST_MAGIC;
	d.version = MANIFEST_VERSION;
	d.attachment = 1;
	pwrite(fd, &d, sizeof(d), sizeof(h));
}

/* Uses all that the agent relies on after its checks. */
static void use_attachment(struct loaded_attachment *attachment)
{
	const struct manifest *d = attachment->manifest;

	for (uint32_t i = 0; i < d->npoints; i++) {
		const struct manifest_point *p = &manifest_points(d)[i];
		uint32_t file = manifest_probes(d)[p->probe].file;
		volatile size_t n = strlen(manifest_string(d, manifest_files(d)[file].path));

		(void)n;
		attachment_concerns(attachment, p);
		if (p->spec >= attachment->header->nprograms || attachment->on[i] > 255)
			abort();
	}
	fuzz_programs(attachment);
}

static void fuzz_attachment(const uint8_t *data, size_t size, bool correct)
{
	static int fd = -1;
	struct loaded_attachment attachment = { .number = 1 };

	if (fd < 0)
		fd = memfd_create("fuzz", MFD_CLOEXEC);
	if (fd < 0 || ftruncate(fd, 0) || pwrite(fd, data, size, 0) != (ssize_t)size)
		abort();
	if (correct)
		correct_header(fd, data, size);
	if (attachment_read(&attachment, fd, size))
		return;
	use_attachment(&attachment);
	attachment_release(&attachment);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 2)
		return 0;
	if (data[0] % 8 == 7)
		fuzz_request(data + 1, size - 1);
	else
		fuzz_attachment(data + 1, size - 1, data[0] & 1);
	return 0;
}
