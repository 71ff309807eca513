/* SPDX-License-Identifier: MIT */
/* Code of the GNU C library on x86-64 that has no symbols, or whose inside matters. */
#include "runtime/agent/inject-parts.h"

#ifdef __x86_64__

#include <string.h>

/* mov $15,%rax; syscall */
static const unsigned char restorer_code[INJECT_RESTORER] = { 0x48, 0xc7, 0xc0, 0x0f, 0, 0, 0, 0x0f, 0x05 };

static uint64_t libc_find_code(const struct inject *t, const unsigned char *code, size_t size)
{
	const unsigned char *at = memmem(t->libc_code, t->libc.end - t->libc.start, code, size);

	return at ? t->libc.start + (size_t)(at - t->libc_code) : 0;
}

uint64_t inject_find_restorer(const struct inject *t)
{
	return libc_find_code(t, restorer_code, sizeof(restorer_code));
}

/* Returns the length of an instruction that a result stub may have before its ret, 0 otherwise. Adds the words that it pops. */
static size_t stub_instruction(const unsigned char *at, unsigned *words)
{
	/* pop %reg, except %rsp */
	if ((at[0] & 0xf8) == 0x58 && at[0] != 0x5c) {
		++*words;
		return 1;
	}
	if (at[0] == 0x41 && (at[1] & 0xf8) == 0x58) {
		++*words;
		return 2;
	}
	/* add $number,%rsp */
	if (at[0] == 0x48 && at[1] == 0x83 && at[2] == 0xc4 && at[3] < 0x80 && at[3] % 8 == 0) {
		*words += at[3] / 8;
		return 4;
	}
	/* xor %eax,%eax */
	return at[0] == 0x31 && at[1] == 0xc0 ? 2 : 0;
}

uint64_t inject_find_result_stub(const struct inject *t, unsigned *words)
{
	/* mov %rax,(%rbx) */
	static const unsigned char store[] = { 0x48, 0x89, 0x03 };
	const unsigned char *end = t->libc_code + (t->libc.end - t->libc.start), *at = t->libc_code;

	while ((at = memmem(at, (size_t)(end - at), store, sizeof(store)))) {
		const unsigned char *next = at + sizeof(store);
		size_t length = 1;

		for (*words = 0; end - next >= 4 && length; next += length)
			length = stub_instruction(next, words);
		/* An odd number of words keeps the stack aligned: see struct tracee_call. */
		if (next < end && *next == 0xc3 && *words % 2 && *words <= TRACEE_STUB_WORDS_MAX)
			return t->libc.start + (size_t)(at - t->libc_code);
		at++;
	}
	*words = 0;
	return 0;
}

bool inject_is_restorer(const unsigned char code[INJECT_RESTORER])
{
	return !memcmp(code, restorer_code, sizeof(restorer_code));
}

uint64_t inject_find_errno(const struct inject *t)
{
	/* [endbr64]; mov offset(%rip),%rax; add %fs:0,%rax; ret */
	static const unsigned char landing[] = { 0xf3, 0x0f, 0x1e, 0xfa }, load[] = { 0x48, 0x8b, 0x05 },
				   add[] = { 0x64, 0x48, 0x03, 0x04, 0x25, 0, 0, 0, 0, 0xc3 };
	uint64_t at = t->errno_location, offset;
	unsigned char code[21];
	int32_t distance;

	if (!at || process_read(t->process, at, code, sizeof(code)))
		return 0;
	if (!memcmp(code, landing, sizeof(landing)))
		at += sizeof(landing);
	if (process_read(t->process, at, code, sizeof(code)) || memcmp(code, load, sizeof(load)) ||
	    memcmp(code + 7, add, sizeof(add)))
		return 0;
	memcpy(&distance, code + 3, sizeof(distance));
	if (process_read(t->process, at + 7 + (uint64_t)(int64_t)distance, &offset, sizeof(offset)))
		return 0;
	return offset;
}

/* Whether two bytes begin call *reg or call *mem. */
static bool is_indirect_at(const unsigned char *code)
{
	return code[0] == 0xff && (code[1] & 0x38) == 0x10;
}

bool inject_is_indirect_call(const unsigned char before[INJECT_BEFORE])
{
	/* By the length of the instruction: 2 and 3 bytes, 4 with a displacement of 8 bits, 6 and 7 with one of 32. */
	return is_indirect_at(before + 5) || is_indirect_at(before + 4) || is_indirect_at(before + 3) ||
	       is_indirect_at(before + 1) || is_indirect_at(before);
}

bool inject_is_call(const unsigned char before[INJECT_BEFORE])
{
	return before[2] == 0xe8 || inject_is_indirect_call(before);
}

bool inject_ends_thread(const unsigned char after[INJECT_AFTER])
{
	/* start_thread(): mov %rax,%fs:result. clone(): mov %rax,%rdi; mov $60,%eax; syscall */
	static const unsigned char thread[] = { 0x64, 0x48, 0x89, 0x04, 0x25 };
	static const unsigned char clone[] = { 0x48, 0x89, 0xc7, 0xb8, 0x3c, 0, 0, 0, 0x0f, 5 };

	return !memcmp(after, thread, sizeof(thread)) || !memcmp(after, clone, sizeof(clone));
}

bool inject_ends_main(const unsigned char after[INJECT_AFTER], uint64_t address, uint64_t *callee)
{
	int32_t distance;

	/* mov %eax,%edi; call exit */
	if (after[0] != 0x89 || after[1] != 0xc7 || after[2] != 0xe8)
		return false;
	memcpy(&distance, after + 3, sizeof(distance));
	*callee = address + 7 + (uint64_t)(int64_t)distance;
	return true;
}

#endif
