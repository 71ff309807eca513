/* SPDX-License-Identifier: MIT */
/*
 * Functions for bytes and strings, for the reason in libc-calls.c. build.mk compiles
 * this file so that the compiler replaces no loop by a call of the same function.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "runtime/agent/inproc/libc.h"

/* Macros since glibc 2.43 */
#undef memchr
#undef strchr
#undef strrchr
#undef strstr

/* ---- bytes ---- */

HIDDEN void *memcpy(void *restrict to, const void *restrict from, size_t n)
{
	char *t = to;
	const char *f = from;

#ifdef __x86_64__
	if (n >= 64) {
		__asm__ volatile("rep movsb" : "+D"(t), "+S"(f), "+c"(n) : : "memory");
		return to;
	}
#endif
	for (; n >= 8; n -= 8, t += 8, f += 8) {
		uint64_t word;

		__builtin_memcpy(&word, f, 8);
		__builtin_memcpy(t, &word, 8);
	}
	while (n--)
		*t++ = *f++;
	return to;
}

HIDDEN void *memmove(void *to, const void *from, size_t n)
{
	char *t = to;
	const char *f = from;

	if (t <= f || t >= f + n)
		while (n--)
			*t++ = *f++;
	else
		while (n--)
			t[n] = f[n];
	return to;
}

HIDDEN void *memset(void *to, int byte, size_t n)
{
	uint64_t word = (uint8_t)byte * 0x0101010101010101ull;
	char *t = to;

#ifdef __x86_64__
	if (n >= 128) {
		__asm__ volatile("rep stosb" : "+D"(t), "+c"(n) : "a"(byte) : "memory");
		return to;
	}
#endif
	for (; n >= 8; n -= 8, t += 8)
		__builtin_memcpy(t, &word, 8);
	while (n--)
		*t++ = byte;
	return to;
}

HIDDEN int memcmp(const void *a, const void *b, size_t n)
{
	const uint8_t *x = a, *y = b;

	for (; n >= 8; n -= 8, x += 8, y += 8) {
		uint64_t p, q;

		__builtin_memcpy(&p, x, 8);
		__builtin_memcpy(&q, y, 8);
		if (p != q)
			break;
	}
	for (; n; n--, x++, y++)
		if (*x != *y)
			return *x - *y;
	return 0;
}

HIDDEN void *memchr(const void *bytes, int byte, size_t n)
{
	for (const uint8_t *at = bytes; n--; at++)
		if (*at == (uint8_t)byte)
			return (void *)at;
	return NULL;
}

/* ---- strings ---- */

HIDDEN size_t strlen(const char *text)
{
	size_t n = 0;

	while (text[n])
		n++;
	return n;
}

HIDDEN size_t strnlen(const char *text, size_t max)
{
	size_t n = 0;

	while (n < max && text[n])
		n++;
	return n;
}

HIDDEN int strncmp(const char *a, const char *b, size_t n)
{
	for (; n; n--, a++, b++)
		if (*a != *b || !*a)
			return (uint8_t)*a - (uint8_t)*b;
	return 0;
}

HIDDEN int strcmp(const char *a, const char *b)
{
	return strncmp(a, b, SIZE_MAX);
}

HIDDEN char *strcpy(char *restrict to, const char *restrict from)
{
	memcpy(to, from, strlen(from) + 1);
	return to;
}

/* Compilers replace strcpy(3) and strlen(3) by this. */
HIDDEN char *stpcpy(char *restrict to, const char *restrict from)
{
	size_t n = strlen(from);

	memcpy(to, from, n + 1);
	return to + n;
}

HIDDEN char *strcat(char *restrict to, const char *restrict from)
{
	strcpy(to + strlen(to), from);
	return to;
}

HIDDEN char *strchr(const char *text, int c)
{
	for (; *text != (char)c; text++)
		if (!*text)
			return NULL;
	return (char *)text;
}

HIDDEN char *strrchr(const char *text, int c)
{
	const char *found = NULL;

	do
		if (*text == (char)c)
			found = text;
	while (*text++);
	return (char *)found;
}

HIDDEN char *strstr(const char *text, const char *part)
{
	size_t n = strlen(part);

	for (;; text++) {
		if (!strncmp(text, part, n))
			return (char *)text;
		if (!*text)
			return NULL;
	}
}
