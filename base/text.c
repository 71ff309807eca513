/* SPDX-License-Identifier: MIT */
#include "base/text.h"

#include <stdint.h>
#include <string.h>

/* Returns true if the 8 bytes are printable ASCII: none is above 0x7e or below 0x20. */
static bool word_is_plain(const unsigned char *text)
{
	const uint64_t ones = 0x0101010101010101, tops = 0x80 * ones;
	uint64_t word;

	memcpy(&word, text, sizeof(word));
	/* A byte below 0x20 borrows into its top bit, 0x7f carries into it. Bytes with a set top bit are found first. */
	return !((word | (word + ones) | (word - 0x20 * ones)) & tops);
}

bool text_is_clean(const char *text, size_t length)
{
	const unsigned char *s = (const unsigned char *)text, *end = s + length;

	while (end - s >= 8 && word_is_plain(s))
		s += 8;
	while (s < end) {
		uint32_t c = *s++;
		int more = c < 0x80 ? 0 : c < 0xc2 ? -1 : c < 0xe0 ? 1 : c < 0xf0 ? 2 : c < 0xf5 ? 3 : -1;
		static const uint32_t least[] = { 0, 0xa0, 0x800, 0x10000 };

		if (more < 0 || end - s < more || (more == 0 && (c < 0x20 || c == 0x7f)))
			return false;
		if (more == 0)
			continue;
		c &= 0x3f >> more;
		for (int i = 0; i < more; i++) {
			if ((*s & 0xc0) != 0x80)
				return false;
			c = c << 6 | (*s++ & 0x3f);
		}
		if (c < least[more] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
			return false;
	}
	return true;
}
