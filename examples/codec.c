/* SPDX-License-Identifier: MIT */
#include "codec.h"

#define MARK '~'
#define SHORTEST 4
#define LONGEST 255

static size_t run_at(const char *text, size_t length)
{
	size_t n = 1;

	while (n < length && n < LONGEST && text[n] == text[0])
		n++;
	return n;
}

long codec_pack(const char *text, size_t length, char *out, size_t size)
{
	size_t n = 0;

	for (size_t i = 0; i < length;) {
		size_t run = run_at(text + i, length - i);

		if (run >= SHORTEST || text[i] == MARK) {
			if (n + 3 > size)
				return -1;
			out[n++] = MARK;
			out[n++] = (char)run;
			out[n++] = text[i];
			i += run;
		} else {
			if (n + 1 > size)
				return -1;
			out[n++] = text[i++];
		}
	}
	return n;
}

long codec_unpack(const char *packed, size_t length, char *out, size_t size)
{
	size_t n = 0;

	for (size_t i = 0; i < length; i++) {
		size_t run = 1;
		char c = packed[i];

		if (c == MARK) {
			if (i + 2 >= length)
				return -1;
			run = (unsigned char)packed[i + 1];
			c = packed[i + 2];
			i += 2;
		}
		if (n + run > size)
			return -1;
		while (run--)
			out[n++] = c;
	}
	return n;
}

/* Returns the Adler-32 checksum of the name and the data. */
uint32_t codec_sum(const char *name, const char *data, size_t length)
{
	uint32_t a = 1, b = 0;

	for (; *name; name++)
		a = (a + (unsigned char)*name) % 65521, b = (b + a) % 65521;
	for (size_t i = 0; i < length; i++)
		a = (a + (unsigned char)data[i]) % 65521, b = (b + a) % 65521;
	return b << 16 | a;
}
