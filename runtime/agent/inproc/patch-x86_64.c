/* SPDX-License-Identifier: MIT */
/*
 * Sites of x86-64.
 *
 * A site is the byte 90, which belongs to the kernel, and a nop of 10 bytes. The first
 * 5 bytes of that nop become a jump to the trampoline. Other threads run through the
 * site meanwhile. With `eb 08` in its first two bytes, the nop is a jump over itself,
 * whatever the rest contains, so no thread can be in the middle of it. Therefore the
 * steps are:
 *
 * 0. one store of two bytes: eb 08
 * 1. bytes 3 to 5 of what is to be there
 * 2. one store of two bytes: the first two of what is to be there
 *
 * All processors serialize after each step (patch.c). Stores 0 and 2 are single stores
 * because the two bytes are in one aligned block of 8 (site_fits()).
 *
 * The kernel makes the stores, because the program may have unmapped its text since the
 * agent last read the mappings. Then the agent gets EFAULT, and the program no SIGSEGV.
 *
 * - process_vm_writev(2) copies byte by byte, which is good enough for step 1.
 * - For steps 0 and 2, get_robust_list(2) writes the calling thread's own list pointer
 *   by one instruction of 8 bytes. set_robust_list(2) accepts any value for that
 *   pointer. The call writes bytes 1 to 8 of the site, of which all but the first two
 *   stay what they are.
 */
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "runtime/agent/inproc/asm-x86_64.h"
#include "runtime/agent/inproc/patch.h"

#define LIST_HEAD_SIZE 24 /* of struct robust_list_head; the kernel requires it */

/* The robust list of the agent's thread, which is the only one that patches. */
static struct {
	uint64_t saved, set;
	bool works;
} list;

const uint8_t site_nop[SITE_NOP] = SITE_NOP_BYTES;

bool site_fits(uintptr_t address)
{
	return ((address + SITE_AT) & 7) != 7;
}

void site_jump(uintptr_t address, uintptr_t trampoline, uint8_t bytes[JUMP])
{
	int32_t disp = trampoline - (address + SITE_AT + JUMP);

	bytes[0] = X86_JMP;
	memcpy(bytes + 1, &disp, 4);
}

int site_protection(const struct map_entry *text)
{
	return text->protection;
}

bool site_is_nop(const uint8_t now[SITE_NOP])
{
	/*
	 * The last five bytes of the nop are an address that is never accessed. Other tools
	 * leave a jump over the rest.
	 */
	return !memcmp(now, site_nop, JUMP) || (now[0] == X86_JMP_SHORT && now[1] == SITE_NOP - 2);
}

static bool list_set(uint64_t value)
{
	if (list.set != value && syscall(SYS_set_robust_list, value, (size_t)LIST_HEAD_SIZE))
		return false;
	list.set = value;
	return true;
}

static bool list_put(uintptr_t address, uint64_t value)
{
	uint64_t size;

	return list_set(value) && !syscall(SYS_get_robust_list, 0, address, &size);
}

bool site_write_begin(void)
{
	uint64_t size, found = 0, probe = 1;

	list.works = !syscall(SYS_get_robust_list, 0, &list.saved, &size) && size == LIST_HEAD_SIZE;
	list.set = list.saved;
	list.works = list.works && list_put((uintptr_t)&found, probe) && *(volatile uint64_t *)&found == probe;
	if (!list.works)
		site_write_end();
	return list.works;
}

void site_write_end(void)
{
	list_set(list.saved);
}

static bool write_first_two(const struct patch_site *site, uint8_t first, uint8_t second, const uint8_t rest[JUMP])
{
	uint8_t bytes[8] = { first, second, rest[2], rest[3], rest[4], site->tail[0], site->tail[1], site->tail[2] };
	uint64_t value;

	memcpy(&value, bytes, sizeof(value));
	return list_put(site->address + SITE_AT, value);
}

#define QUEUE_MAX 512

/* Sites for step 1, which one system call writes for many. */
static struct {
	struct patch_site *site[QUEUE_MAX];
	unsigned n, done;
} queue;

struct patch_site *site_write_flush(void)
{
	static struct iovec from[QUEUE_MAX], to[QUEUE_MAX];

	while (queue.done < queue.n) {
		unsigned n = queue.n - queue.done;
		ssize_t written;

		for (unsigned i = 0; i < n; i++) {
			struct patch_site *site = queue.site[queue.done + i];

			from[i] = (struct iovec){ site->will + 2, JUMP - 2 };
			to[i] = (struct iovec){ (void *)(site->address + SITE_AT + 2), JUMP - 2 };
		}
		written = process_vm_writev(agent.tid, from, n, to, n, 0);
		queue.done += written > 0 ? written / (JUMP - 2) : 0;
		if (queue.done < queue.n)
			return queue.site[queue.done++];
	}
	queue.n = queue.done = 0;
	return NULL;
}

bool site_write(struct patch_site *site, unsigned step)
{
	switch (step) {
	case 0: return write_first_two(site, X86_JMP_SHORT, SITE_NOP - 2, site->was);
	case 1: queue.site[queue.n++] = site; return true;
	default: return write_first_two(site, site->will[0], site->will[1], site->will);
	}
}

bool site_write_full(void)
{
	return queue.n == QUEUE_MAX;
}
