/* SPDX-License-Identifier: MIT */
/*
 * The names of probes, each once. They are found by a hash table with open addressing, because a file can have hundreds
 * of thousands of names. The provider and the name of a note are consecutive strings, so they are compared at once. Names
 * whose first characters differ from those of all patterns are not even looked up.
 */
#include "sdt/cxx-name.h"
#include "sdt/note-parse.h"

#include "base/array.h"
#include "base/clock.h"
#include "base/error.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

/*
 * A hash of 8 bytes at a time: multiplies by a random number and folds the 128-bit product, as wyhash does, so that the
 * author of a file cannot choose names with equal hashes.
 */
static uint32_t name_hash(uint64_t factor, const char *text, size_t length)
{
	uint64_t hash = length, word;
	__uint128_t product;

	do {
		size_t n = length < sizeof(word) ? length : sizeof(word);

		word = 0;
		memcpy(&word, text, n);
		product = (__uint128_t)(hash ^ word) * factor;
		hash = (uint64_t)product ^ (uint64_t)(product >> 64);
		text += n;
		length -= n;
	} while (length);
	return (uint32_t)hash;
}

/* Doubles the table when it is half full. */
static int names_grow(struct note_walk *walk)
{
	const struct notes *notes = walk->notes;
	size_t n = walk->nbuckets ? 2 * walk->nbuckets : 1024;
	uint32_t *buckets;

	if (2 * notes->nnames < walk->nbuckets)
		return 0;
	if (!walk->factor && getrandom(&walk->factor, sizeof(walk->factor), GRND_NONBLOCK) < 0)
		walk->factor = clock_ns();
	walk->factor |= 1;
	buckets = calloc(n, sizeof(*buckets));
	if (!buckets)
		return error_nomem();
	for (uint32_t i = 0; i < notes->nnames; i++) {
		size_t at = notes->names[i].hash & (n - 1);

		while (buckets[at])
			at = (at + 1) & (n - 1);
		buckets[at] = i + 1;
	}
	free(walk->buckets);
	walk->buckets = buckets;
	walk->nbuckets = n;
	return 0;
}

static bool name_is_wanted(const struct notes_filter *wanted, const char *provider, const char *name)
{
	const struct pp_probe probe = { .provider = (char *)provider, .name = (char *)name };

	for (size_t i = 0; i < wanted->n; i++)
		if (pp_probe_matches(&probe, wanted->patterns[i]))
			return true;
	return !wanted->n;
}

/* Returns true if the text begins with the characters of a glob (of n bytes) that stand before its first special one. */
static bool glob_may_match(const char *glob, size_t n, const char *text)
{
	for (size_t i = 0; i < n; i++) {
		if (strchr("*?[\\", glob[i]))
			return true;
		if (glob[i] != text[i])
			return false;
	}
	return true;
}

bool notes_filter_may_match(const struct notes_filter *wanted, const char *provider, const char *name)
{
	for (size_t i = 0; i < wanted->n; i++) {
		const char *pattern = wanted->patterns[i], *colon = pattern_colon(pattern);
		const char *rest = colon ? colon + 1 : pattern;

		if (cxx_is_pattern(rest))
			return true;

		if ((!colon || glob_may_match(pattern, (size_t)(colon - pattern), provider)) &&
		    glob_may_match(rest, strlen(rest), name))
			return true;
	}
	return !wanted->n;
}

int note_names_add(struct note_walk *walk, const char *provider, const char *name, size_t length, uint32_t *index)
{
	struct notes *notes = walk->notes;
	uint32_t hash;
	size_t at;

	if (names_grow(walk) || ALLOC_GROW(notes->names, notes->nnames + 1, walk->names_room))
		return -ENOMEM;
	hash = name_hash(walk->factor, provider, length);
	for (at = hash & (walk->nbuckets - 1); walk->buckets[at]; at = (at + 1) & (walk->nbuckets - 1)) {
		*index = walk->buckets[at] - 1;
		if (notes->names[*index].hash == hash && notes->names[*index].length == length &&
		    !memcmp(notes->names[*index].provider, provider, length))
			return 0;
	}
	*index = (uint32_t)notes->nnames++;
	walk->buckets[at] = *index + 1;
	notes->names[*index] = (struct note_name){
		.provider = provider,
		.name = name,
		.hash = hash,
		.length = (uint32_t)length,
		.wanted = name_is_wanted(walk->wanted, provider, name),
	};
	return 0;
}
