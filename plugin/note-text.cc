// SPDX-License-Identifier: GPL-3.0-or-later
/* Notes as bytes and as assembler text: see note-text.h. */
#include "note-text.h"
#include "probepoint-note.h"

#include <stdio.h>
#include <string.h>

struct note_target note_target = { 8, false };

/* ---- bytes ---------------------------------------------------------------- */

void note_add_number(std::string *bytes, uint64_t value, int size)
{
	for (int i = 0; i < size; i++)
		bytes->push_back((char)(value >> (8 * (note_target.big_endian ? size - 1 - i : i))));
}

void note_add_string(std::string *bytes, const std::string &text)
{
	bytes->append(text.c_str(), strlen(text.c_str()) + 1);
}

uint64_t note_hash(const std::string &bytes)
{
	return ppn_hash(bytes.data(), bytes.size());
}

std::string note_id(uint64_t hash)
{
	char text[17];

	snprintf(text, sizeof text, "%016llx", (unsigned long long)hash);
	return text;
}

/* ---- assembler text ------------------------------------------------------- */

/* isalnum() depends on the locale. */
static bool char_is_plain(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       (c && strchr(" _-.,/:*()&[]=+!?", c));
}

std::string asm_quoted(const std::string &bytes)
{
	std::string text;
	char octal[8];

	for (char c : bytes)
		if (char_is_plain(c)) {
			text += c;
		} else {
			snprintf(octal, sizeof octal, "\\%03o", (unsigned char)c);
			text += octal;
		}
	return text;
}

bool asm_unquoted(const std::string &text, std::string *bytes)
{
	bytes->clear();
	for (size_t i = 0; i < text.size(); i++) {
		unsigned value = 0;

		if (text[i] != '\\') {
			*bytes += text[i];
			continue;
		}
		for (int digit = 0; digit < 3; digit++) {
			char c = ++i < text.size() ? text[i] : 0;

			if (c < '0' || c > '7')
				return false;
			value = value * 8 + (c - '0');
		}
		*bytes += (char)value;
	}
	return true;
}

std::string asm_address(const std::string &list)
{
	return (note_target.address_size == 8 ? "\t.8byte " : "\t.4byte ") + list + "\n";
}

std::string asm_bytes(const std::string &bytes)
{
	return "\t.ascii \"" + asm_quoted(bytes) + "\"\n";
}

std::string note_text(const char *owner, int type, const std::string &content)
{
	return std::string("\t.balign 4\n\t.4byte ") + std::to_string(strlen(owner) + 1) + ",992f-991f," +
	       std::to_string(type) + "\n\t.asciz \"" + owner + "\"\n\t.balign 4\n991:" + content + "992:\t.balign 4\n";
}

std::string note_text_sized(const char *owner, int type, const std::string &numbers, const std::string &strings,
                            size_t size)
{
	std::string text = "\t.4byte " + std::to_string(strlen(owner) + 1) + "," + std::to_string(size) + "," +
	                   std::to_string(type) + "\n\t.asciz \"" + owner + "\"\n" + numbers;

	if (!strings.empty())
		text += "\t.asciz " + strings;
	for (; size % 4; size++)
		text += ",\"\"";
	return text + (strings.empty() ? "" : "\n");
}

std::string note_section(const std::string &id)
{
	return PPN_SECTION ",\"G\",@note,ppn." + id + ",comdat\n";
}

std::string stapsdt_base_text(void)
{
	return "\t.ifndef _.stapsdt.base\n"
	       "\t.pushsection .stapsdt.base,\"aGR\",@progbits,.stapsdt.base,comdat\n"
	       "\t.weak _.stapsdt.base\n"
	       "\t.hidden _.stapsdt.base\n"
	       "_.stapsdt.base:\t.space 1\n"
	       "\t.size _.stapsdt.base,1\n"
	       "\t.popsection\n"
	       "\t.endif\n";
}
