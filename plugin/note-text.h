/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Notes as bytes and as assembler text.
 *
 * A note's content is first collected as bytes (note_add_*), or as directives of
 * which the assembler computes the size. note_text() puts the head before it.
 * doc/note-format.md describes the notes.
 *
 * This file and record.h do not depend on GCC, so that a test can include them.
 */
#ifndef NOTE_TEXT_H
#define NOTE_TEXT_H

#include <stdint.h>
#include <string>

/* Properties of the target that notes depend on. The plugin sets them when a unit starts. */
struct note_target {
	int address_size; /* bytes: 4 or 8 */
	bool big_endian;
};

extern struct note_target note_target;

/* ---- bytes ---------------------------------------------------------------- */

/* Appends the lowest size bytes of value in the target's byte order. */
void note_add_number(std::string *bytes, uint64_t value, int size);
/* Appends text up to its first NUL, and a NUL. */
void note_add_string(std::string *bytes, const std::string &text);
/* FNV-1a, 64 bits. */
uint64_t note_hash(const std::string &bytes);
/* Returns the hash or key as 16 hexadecimal digits, as names of sections' groups contain it. */
std::string note_id(uint64_t hash);

/* ---- assembler text ------------------------------------------------------- */

/*
 * Returns bytes as the inside of a string literal for .ascii. The text can also stand in an asm template or in a
 * comment of one: all characters that have a meaning there are octal escapes.
 */
std::string asm_quoted(const std::string &bytes);
/* The inverse of asm_quoted(). Returns false if text has another kind of escape. */
bool asm_unquoted(const std::string &text, std::string *bytes);

/* Returns a directive for addresses; list: symbols, separated by commas. */
std::string asm_address(const std::string &list);
/* Returns an .ascii directive. */
std::string asm_bytes(const std::string &bytes);

/* Returns a note; content: directives. It uses the local labels 991 and 992. */
std::string note_text(const char *owner, int type, const std::string &content);
/*
 * Returns a note whose sizes are known, which costs the assembler less. numbers: directives; strings: operands of one
 * .asciz directive, or empty; size: bytes of both.
 */
std::string note_text_sized(const char *owner, int type, const std::string &numbers, const std::string &strings,
                            size_t size);

/* The arguments of .section for a .note.probepoint of a COMDAT group, which the linker keeps once per id. */
std::string note_section(const std::string &id);

/* Returns the definition of _.stapsdt.base, for a unit that does not have it yet. */
std::string stapsdt_base_text(void);

#endif
