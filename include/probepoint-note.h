/* SPDX-License-Identifier: MIT */
/*
 * The layout of the notes that probes leave in an ELF file.
 *
 * For programs that write notes (the plugin) and programs that read them (sdt/).
 * doc/note-format.md describes the same layout in prose, with examples.
 *
 * .note.stapsdt
 * -------------
 *
 * Owner "stapsdt", type 3. This is SystemTap's note without a change
 * (https://sourceware.org/systemtap/wiki/UserSpaceProbeImplementation):
 *
 *     address location, base, semaphore     4 bytes each in 32-bit files, else 8
 *     provider\0 name\0 operands\0
 *
 * .note.probepoint
 * ----------------
 *
 * Owner "ppn". It has what the stapsdt note has no room for, and is not loaded. A
 * reader skips notes of a type that it does not know, and bytes after the fields
 * that it knows.
 *
 *   PPN_SIGNATURE, one for each declared probe or probed function:
 *
 *     u64 key       ppn_key(provider, name); for a function, name is the name of
 *                   its probes without __entry, __return or __unwind
 *     u32 line      of the declaration of the function or probe
 *     u8  kind      PPN_KIND_*
 *     u8  nargs     arguments, not counting the result
 *     u16 flags     PPN_FLAG_* of every site that has no note of its own
 *     file\0        the source file, as the compiler was given it
 *     function\0    as the source writes it (C++: qualified and demangled); empty
 *                   if it is the probe's name without its ending
 *     result\0      PPN_KIND_FUNCTION only: an argument without a name
 *     nargs times argument\0: one CLASS letter, the name, ':', the type in C
 *     u8  ntypes    may be missing, which means 0
 *     ntypes times  u8 argument (255: the result), u64 key of the PPN_TYPE note of
 *                   its type, or of the type that it points to
 *     u8  nstrings  may be missing, which means 0
 *     nstrings times  u8 argument, u8 argument: the first is a string of as many bytes
 *                   as the second says
 *
 *   Arguments have the order of the stapsdt operands. If two signatures with one
 *   key differ, a reader uses neither.
 *
 *   PPN_SIGNATURES, the signatures of functions that only one unit has:
 *
 *     file\0        of all of them
 *     until the end of the note:
 *         u16 size of what follows
 *         a signature as above, without its file
 *
 *   PPN_SITE, only for a site that its signature does not describe completely:
 *
 *     address location      as in the site's stapsdt note
 *     u32 line
 *     u32 flags
 *     operands\0    may be missing; operands that follow those of the stapsdt note,
 *                   of which old readers accept twelve
 *
 *   PPN_FLOATS, only for a site of a sys/sdt.h macro that has floating arguments:
 *
 *     address location   as in the site's stapsdt note
 *     u32 floats         bit i: operand i of that note is a float or a double
 *
 *   PPN_TYPE, one for each type that signatures refer to:
 *
 *     u64 key       ppn_hash of all bytes that follow
 *     u32 size      bytes
 *     u16 kind      PPN_TYPE_*
 *     u16 n
 *     name\0        as in signatures, without qualifiers
 *     n times text\0
 *         of an enumeration   NAME=VALUE, decimal
 *         of a structure      OFFSET/SIZE in bytes, or OFFSET.BIT/BITS; then, as an
 *                             argument has it, a CLASS letter, the name, ':', the
 *                             type. Class x: the value is not a number. Fields of
 *                             bases and of members without a name are included.
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

#define PPN_SIGNATURE_FIXED 16 /* bytes before the strings of a signature */

enum { PPN_TYPE_ENUM = 1, PPN_TYPE_STRUCT = 2 };

#define PPN_RESULT 255 /* stands for the result in the list of types */

enum {
	PPN_KIND_PROBE = 0,    /* the key names the probe itself */
	PPN_KIND_FUNCTION = 1, /* the key names NAME of NAME__entry, NAME__return, ... */
};

enum {
	PPN_FLAG_TAIL = 1,      /* site of a return, before a tail call; it has no value */
	PPN_FLAG_CALL_SAFE = 2, /* nothing is stored in the red zone at this site */
	PPN_FLAG_NORETURN = 4,  /* site of a return, before a call that does not return; or a function that does not */
};

/* Classes of arguments, by which a reader prints their values. */
enum {
	PPN_CLASS_SIGNED = 'i',
	PPN_CLASS_UNSIGNED = 'u',
	PPN_CLASS_POINTER = 'p',
	PPN_CLASS_STRING = 's', /* pointer to a NUL-terminated string */
	PPN_CLASS_BOOL = 'b',
	PPN_CLASS_CHAR = 'c',
	PPN_CLASS_FLOAT = 'f', /* IEEE, of the operand's size, handed over as bits */
	PPN_CLASS_VOID = 'v',  /* the result of a function without one */
	PPN_CLASS_NONE = 'x',  /* has no operand: vectors, unions, ... */
};

/* Returns FNV-1a, 64 bits, of "provider:name" (Fowler, Noll, Vo; public domain). */
static inline uint64_t ppn_key(const char *provider, const char *name)
{
	const char *part[3] = { provider, ":", name };
	uint64_t h = 0xcbf29ce484222325u;

	for (int i = 0; i < 3; i++)
		for (const char *c = part[i]; *c; c++)
			h = (h ^ (unsigned char)*c) * 0x100000001b3u;
	return h;
}

/* Returns FNV-1a, 64 bits, of any bytes. */
static inline uint64_t ppn_hash(const void *bytes, unsigned long size)
{
	uint64_t h = 0xcbf29ce484222325u;

	for (unsigned long i = 0; i < size; i++)
		h = (h ^ ((const unsigned char *)bytes)[i]) * 0x100000001b3u;
	return h;
}

#endif
