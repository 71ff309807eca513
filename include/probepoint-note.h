/* SPDX-License-Identifier: MIT */
/*
 * The layout of the notes, for those who write them (the plugin) and those who
 * read them (sdt/). doc/note-format.md says the same in prose.
 *
 * .note.stapsdt, owner "stapsdt", type 3, is SystemTap's, to the letter
 * (https://sourceware.org/systemtap/wiki/UserSpaceProbeImplementation):
 *
 *     address location, base, semaphore     4 bytes each in 32-bit files, else 8
 *     provider\0 name\0 operands\0
 *
 * .note.probepoint, owner "ppn", says what that cannot. It is not loaded. A
 * reader that meets an unknown type, or more bytes than it expects behind the
 * fields it knows, passes over them.
 *
 *   PPN_SIGNATURE, one for each declared probe or probed function:
 *
 *     u64 key       ppn_key(provider, name); for a function, name is without the
 *                   __entry, __return or __unwind that its probes end in
 *     u32 line      where the function or the probe is declared
 *     u8  kind      PPN_KIND_*
 *     u8  nargs     arguments; not counting the result
 *     u16 flags     PPN_FLAG_*, true of every site that has no note of its own
 *     file\0        the source file, as the compiler was given it
 *     function\0    as people write it (C++: qualified and demangled); empty
 *                   where it is the probe's name without its ending
 *     result\0      PPN_KIND_FUNCTION only: an argument without a name
 *     nargs times argument\0: one CLASS letter, the name, ':', the type in C
 *     u8  ntypes    may be missing: 0
 *     ntypes times  u8 argument (255: the result), u64 key of a PPN_TYPE: of its
 *                   type, or of what it points to
 *
 *   Arguments stand in the order of the stapsdt operands. Two signatures that
 *   have one key and differ are no signature: the reader uses neither.
 *
 *   PPN_SIGNATURES, those of functions that only one unit has, together:
 *
 *     file\0        of all of them
 *     as often as there is more
 *         u16 size of what follows
 *         a signature as above, without its file
 *
 *   PPN_SITE, only for a site of which its signature does not say all:
 *
 *     address location      as in the site's stapsdt note
 *     u32 line
 *     u32 flags
 *     operands\0    may be missing; those that follow the ones of the stapsdt note,
 *                   which old readers take twelve of
 *
 *   PPN_FLOATS, only for a site of sys/sdt.h's macros that has floating arguments:
 *
 *     address location   as in the site's stapsdt note
 *     u32 floats         bit i: operand i of that note is a float or a double
 *
 *   PPN_TYPE, one for each type of which signatures say something:
 *
 *     u64 key       ppn_hash of all that follows
 *     u32 size      bytes
 *     u16 kind      PPN_TYPE_*
 *     u16 n
 *     name\0        as in signatures, without qualifiers
 *     n times text\0
 *         of an enumeration   NAME=VALUE, decimal
 *         of a structure      OFFSET/SIZE, in bytes, or OFFSET.BIT/BITS; then what an
 *                             argument has: a CLASS letter, the name, ':', the type.
 *                             Class x: its value is no number. Fields of bases and of
 *                             members without a name are among them.
 */
#ifndef PROBEPOINT_NOTE_H
#define PROBEPOINT_NOTE_H

#include <stdint.h>

#define STAPSDT_SECTION ".note.stapsdt"
#define STAPSDT_BASE_SECTION ".stapsdt.base"
#define STAPSDT_OWNER "stapsdt"
#define STAPSDT_TYPE 3

#define PPN_SECTION ".note.probepoint"
#define PPN_OWNER "ppn"

enum { PPN_SIGNATURE = 1, PPN_SITE = 2, PPN_TYPE = 3, PPN_SIGNATURES = 4, PPN_FLOATS = 5 };

#define PPN_SIGNATURE_FIXED 16 /* bytes before its strings */

enum { PPN_TYPE_ENUM = 1, PPN_TYPE_STRUCT = 2 };

#define PPN_RESULT 255 /* among the arguments that have types */

enum {
	PPN_KIND_PROBE = 0,    /* the key names the probe itself */
	PPN_KIND_FUNCTION = 1, /* the key names NAME of NAME__entry, NAME__return, ... */
};

enum {
	PPN_FLAG_TAIL = 1,      /* a return site before a tail call: it has no value */
	PPN_FLAG_CALL_SAFE = 2, /* nothing lives in the red zone at this site */
	PPN_FLAG_NORETURN = 4,  /* a return's site before a call that does not return; of a signature: nor the function */
};

/* What an argument is, as far as a reader must know to print its value. */
enum {
	PPN_CLASS_SIGNED = 'i',
	PPN_CLASS_UNSIGNED = 'u',
	PPN_CLASS_POINTER = 'p',
	PPN_CLASS_STRING = 's', /* a pointer to a NUL-terminated string */
	PPN_CLASS_BOOL = 'b',
	PPN_CLASS_CHAR = 'c',
	PPN_CLASS_FLOAT = 'f', /* IEEE, of the operand's size, kept as bits */
	PPN_CLASS_VOID = 'v',  /* result of a function that has none */
	PPN_CLASS_NONE = 'x',  /* has no operand: vectors and the like */
};

/* FNV-1a, 64 bits, over "provider:name" (Fowler, Noll, Vo; public domain). */
static inline uint64_t ppn_key(const char *provider, const char *name)
{
	const char *part[3] = { provider, ":", name };
	uint64_t h = 0xcbf29ce484222325u;

	for (int i = 0; i < 3; i++)
		for (const char *c = part[i]; *c; c++)
			h = (h ^ (unsigned char)*c) * 0x100000001b3u;
	return h;
}

/* The same over any bytes. */
static inline uint64_t ppn_hash(const void *bytes, unsigned long size)
{
	uint64_t h = 0xcbf29ce484222325u;

	for (unsigned long i = 0; i < size; i++)
		h = (h ^ ((const unsigned char *)bytes)[i]) * 0x100000001b3u;
	return h;
}

#endif
