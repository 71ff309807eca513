// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * The assembler text of a site: the two nops, its stapsdt note, what
 * .note.probepoint has to say of it, and the signature of its function, which
 * the first site of an object that names it defines. All in the one asm
 * statement, so that a site that is inlined, cloned, moved to another unit by
 * LTO or dropped takes along just what is its own.
 *
 * This text is right by itself, but dear. To GCC, which counts its lines again and
 * again: so where no other process will have to read it, that is, without LTO, the
 * statement bears a number instead until the last pass. And to gas, which also takes
 * quadratic time over sections of one name: so that pass, which has all of an object
 * before it, leaves the nops alone. Notes are gathered, those of the sites of one
 * section of code together, linked to a label in it; of what is to be in an object
 * once, the first is kept. All that is written at the end of the unit.
 */
#include "parts.h"

/* %= is a number that GCC makes anew for each copy of the statement. */
/* Filled with prefixes of the nop1, so that no nop of its own is ever in the way; as in sys/sdt.h. */
#define ALIGN "\t.p2align 3,0x66,2\n"
/* 90, and 66 2e 0f 1f 84 00 00 00 00 00: as characters, which gas reads in a third of the time. */
#define NOPS ":\t.ascii \"\\220f.\\017\\037\\204\\0\\0\\0\\0\\0\"\n"
#define SITE ALIGN ".Lpp%=" NOPS
#define LINK_OWN "@note,.Lpp%="
#define SIGNATURE_OWN ".Lppo_"    /* of a function of this unit alone */
#define SIGNATURE_SHARED ".Lpps_" /* of one that other units may have too */
#define STAYS_IN "\t# stays in "
#define DECLARED "\t# declared\n"
/* What later passes look for; each is there once. */
#define ADDRESSES ".Lpp%=,"
#define NAMES "\t.string8 "
#define OPERANDS "\t.string \""
#define LINE_AND_FLAGS "\t.long "
#define MORE "\t.string  \"" /* operands beyond those of stapsdt */

/* For .ascii inside of an asm template: both would read \ " and the one % { | }. */
static std::string quoted(const std::string &bytes)
{
	std::string text;
	char octal[8];

	for (char c : bytes)
		if (ISALNUM(c) || (c && strchr(" _-.,/:*()&[]=+!?", c))) {
			text += c;
		} else {
			snprintf(octal, sizeof octal, "\\%03o", (unsigned char)c);
			text += octal;
		}
	return text;
}

static std::string hex(uint64_t value)
{
	char text[17];

	snprintf(text, sizeof text, "%016llx", (unsigned long long)value);
	return text;
}

static uint64_t hash(const std::string &bytes)
{
	return ppn_hash(bytes.data(), bytes.size());
}

static std::string address(const std::string &value)
{
	return (POINTER_SIZE == 64 ? "\t.8byte " : "\t.4byte ") + value + "\n";
}

/* A note's head; its content up to label 992 follows. */
static std::string head(const char *owner, int type)
{
	return std::string("\t.balign 4\n\t.4byte ") + std::to_string(strlen(owner) + 1) + ",992f-991f," +
	       std::to_string(type) + "\n\t.asciz \"" + owner + "\"\n\t.balign 4\n991:";
}

static const char tail[] = "992:\t.balign 4\n\t.popsection\n";

static std::string base_text(void)
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

static std::string signature_note(const std::string &quoted_bytes)
{
	return head(PPN_OWNER, PPN_SIGNATURE) + "\t.ascii \"" + quoted_bytes + "\"\n992:\t.balign 4\n";
}

static std::string group(const std::string &id)
{
	return "section " PPN_SECTION ",\"G\",@note,ppn." + id + ",comdat\n";
}

static std::string signature_text(const struct probed *probed)
{
	/* A declared probe's as in sys/probe.h: objects with and without the plugin have one. */
	std::string id = probed->declared ? probed->provider + "." + probed->name : hex(hash(probed->signature));
	std::string label = (probed->declared ? ".Lppn_" : probed->shared ? SIGNATURE_SHARED : SIGNATURE_OWN) + id;

	return "\t.ifndef " + label + "\n\t.push" + group(id) + label + ":\n" +
	       signature_note(quoted(probed->signature)) + "\t.popsection\n\t.endif\n";
}

/* The first twelve of a list of operands, the others go to *more. */
static std::string first_operands(const std::string &operands, std::string *more)
{
	size_t at = 0;

	for (int i = 0; i < OPERANDS_IN_STAPSDT && at != std::string::npos; i++)
		at = operands.find(' ', at + (i > 0));
	*more = at == std::string::npos ? "" : operands.substr(at + 1);
	return operands.substr(0, at);
}

/* A PPN_SITE; more: operands, or "" */
static std::string site_note(unsigned line, unsigned flags, const std::string &more)
{
	return "\t.pushsection " PPN_SECTION ",\"o?\"," LINK_OWN "\n" + head(PPN_OWNER, PPN_SITE) + address(".Lpp%=") +
	       LINE_AND_FLAGS + std::to_string(line) + "," + std::to_string(flags) + "\n" +
	       (more.empty() ? "" : MORE + more + "\"\n") + tail;
}

std::string site_text(const struct probed *probed, enum site_kind kind, const std::string &operands)
{
	std::string more, first = first_operands(operands, &more);

	static const char *const endings[] = { "__entry", "__return", "", "__unwind" };

	return std::string(SITE) + "\t.pushsection " STAPSDT_SECTION ",\"o?\"," LINK_OWN "\n" +
	       head(STAPSDT_OWNER, STAPSDT_TYPE) +
	       address(ADDRESSES "_.stapsdt.base," +
		       (probed->declared ? probed->provider + "_" + probed->name + "_semaphore" : "0")) +
	       NAMES "\"" + probed->provider + "\",\"" + probed->name + endings[kind] + "\"\n" OPERANDS +
	       first + "\"\n" + tail + (more.empty() ? "" : site_note(probed->line, 0, more)) + base_text() + signature_text(probed) +
	       (probed->declared ? DECLARED : probed->home.empty() ? "" : STAYS_IN + probed->home + "\n");
}

/* ---- its short form -------------------------------------------------------------- */

#define SHORT "\t# site "

static std::map<std::string, unsigned> numbers;
static std::vector<const char *> shortened;

/* Of equal texts one number: GCC makes one of equal ends of blocks. */
std::string site_template(const std::string &text)
{
	if (flag_generate_lto || flag_generate_offload)
		return text;
	auto number = numbers.insert(std::make_pair(text, shortened.size()));
	if (number.second)
		shortened.push_back(number.first->first.c_str());
	return SHORT + std::to_string(number.first->second);
}

const char *site_text_of(const char *asm_template)
{
	if (!strncmp(asm_template, SHORT, strlen(SHORT)))
		return shortened[atoi(asm_template + strlen(SHORT))];
	return strncmp(asm_template, SITE, strlen(SITE)) ? NULL : asm_template;
}

/* ---- what later passes do with it -------------------------------------------------- */

bool site_is_return(const char *text)
{
	return strstr(text, "__return\"\n" OPERANDS) && !strstr(text, DECLARED);
}

bool site_is_unwind(const char *text)
{
	return strstr(text, "__unwind\"\n" OPERANDS) && !strstr(text, DECLARED);
}

static std::string list_behind(const std::string &text, const char *mark)
{
	size_t at = text.find(mark);

	if (at == std::string::npos)
		return "";
	at += strlen(mark);
	return text.substr(at, text.find('"', at) - at);
}

static void list_replace(std::string *text, const char *mark, const std::string &list)
{
	size_t at = text->find(mark);

	if (at != std::string::npos)
		text->replace(at + strlen(mark), text->find('"', at + strlen(mark)) - at - strlen(mark), list);
}

std::string site_operands(const char *text)
{
	std::string more = list_behind(text, MORE);

	return list_behind(text, OPERANDS) + (more.empty() ? "" : " ") + more;
}

std::string site_text_with_operands(const char *text, const std::string &operands)
{
	std::string changed = text, more, first = first_operands(operands, &more);

	list_replace(&changed, OPERANDS, first);
	list_replace(&changed, MORE, more);
	return changed;
}

std::string site_text_flagged(const char *text, unsigned line, unsigned flags)
{
	std::string flagged = site_text_with_operands(text, "");

	if (flagged.find("\t.pushsection " PPN_SECTION ",\"o?\"") != std::string::npos)
		return flagged;
	return flagged + site_note(line, flags, "");
}

bool site_stays(const char *text, const char *function)
{
	const char *home = strstr(text, STAYS_IN);

	if (!home)
		return true;
	home += strlen(STAYS_IN);
	size_t length = strcspn(home, "\n");
	function += *function == '*';
	return !strncmp(home, function, length) && (!function[length] || function[length] == '.');
}

uint64_t type_note(const std::string &bytes, std::string *text)
{
	uint64_t key = hash(bytes);
	std::string id = hex(key), note;

	add_number(&note, key, 8);
	note += bytes;
	*text += "\t.push" + group("type." + id) + head(PPN_OWNER, PPN_TYPE) + "\t.ascii \"" + quoted(note) +
		 "\"\n992:\t.balign 4\n\t.popsection\n";
	return key;
}

/* ---- at last: all of an object ---------------------------------------------------- */

/* The notes of the sites in one section of code. */
struct linked {
	std::string group; /* of that section; empty: it is in none */
	std::string stapsdt, probepoint;
};

static std::vector<linked> sections;
static std::string once;
static std::map<std::string, std::string> own_signatures; /* by file, quoted */

unsigned site_section_new(const std::string &group)
{
	sections.push_back({ group, "", "" });
	return sections.size() - 1;
}

/* A note all of whose sizes are known; strings: what .asciz takes, of that many bytes with the zeros. */
static std::string note(const char *owner, int type, const std::string &numbers, const std::string &strings, size_t bytes)
{
	std::string text = "\t.4byte " + std::to_string(strlen(owner) + 1) + "," + std::to_string(bytes) + "," +
			   std::to_string(type) + "\n\t.asciz \"" + owner + "\"\n" + numbers;

	if (!strings.empty())
		text += "\t.asciz " + strings;
	for (; bytes % 4; bytes++)
		text += ",\"\"";
	return text + (strings.empty() ? "" : "\n");
}

/* What stands on the line behind mark. */
static std::string line_behind(const char *text, const char *mark)
{
	const char *at = strstr(text, mark);

	return at ? std::string(at + strlen(mark), strcspn(at + strlen(mark), "\n")) : "";
}

/* How much of a quoted text so many bytes are. */
static size_t quoted_size(const std::string &text, size_t at, size_t bytes)
{
	size_t start = at;

	while (bytes--)
		at += text[at] == '\\' ? 4 : 1;
	return at - start;
}

/* A signature of one of the unit's own functions, beside others of its file. */
static void own_signature(const std::string &note)
{
	static const char nul[] = "\\000";
	size_t strings = quoted_size(note, 0, PPN_SIGNATURE_FIXED), end = note.find(nul, strings) + strlen(nul), bytes = 0;
	std::string signature = note.substr(0, strings) + note.substr(end), size;

	for (size_t at = 0; at < signature.size(); bytes++)
		at += quoted_size(signature, at, 1);
	if (bytes > 0xffff) {
		once += "\t." + group(hex(hash(note))) + signature_note(note);
		return;
	}
	add_number(&size, bytes, 2);
	own_signatures[note.substr(strings, end - strings)] += "\t.ascii \"" + quoted(size) + signature + "\"\n";
}

/* What the object has not got yet; the signatures of its own functions go by themselves. */
static void keep_definitions(const char *text)
{
	static std::map<std::string, bool> defined;
	static const char start[] = "\t.ifndef ", end[] = "\t.endif\n";

	while ((text = strstr(text, start))) {
		const char *behind = strstr(text, end) + strlen(end), *label = text + strlen(start);
		bool &seen = defined[std::string(label, strcspn(label, "\n"))];

		if (!seen && !strncmp(label, SIGNATURE_OWN, strlen(SIGNATURE_OWN)))
			own_signature(list_behind(text, "\t.ascii \""));
		else if (!seen)
			once.append(text, behind - text);
		seen = true;
		text = behind;
	}
}

std::string site_text_last(const char *text, const std::string &operands, unsigned section, bool first)
{
	static unsigned number;
	std::string more, in_stapsdt = first_operands(operands, &more), label = ".Lppc" + std::to_string(number++);
	std::string names = line_behind(text, NAMES), flags = line_behind(text, LINE_AND_FLAGS);
	linked &in = sections[section];

	/* two names in quotes and a comma between them: so many characters more than bytes */
	in.stapsdt += note(STAPSDT_OWNER, STAPSDT_TYPE, address(label + "," + line_behind(text, ADDRESSES)),
			   names + ",\"" + in_stapsdt + "\"", 3 * POINTER_SIZE / 8 + names.size() - 3 + in_stapsdt.size() + 1);
	if (!flags.empty())
		in.probepoint += note(PPN_OWNER, PPN_SITE, address(label) + LINE_AND_FLAGS + flags + "\n",
				      more.empty() ? "" : "\"" + more + "\"",
				      POINTER_SIZE / 8 + 8 + (more.empty() ? 0 : more.size() + 1));
	keep_definitions(text);
	return ALIGN + (first ? ".Lppl" + std::to_string(section) + ":\n" : "") + label + NOPS;
}

std::string notes_text(void)
{
	std::string text;

	for (size_t i = 0; i < sections.size(); i++) {
		std::string link = std::string(sections[i].group.empty() ? ",\"o\"" : ",\"oG\"") + ",@note,.Lppl" +
				   std::to_string(i) +
				   (sections[i].group.empty() ? "" : "," + sections[i].group + ",comdat") + "\n\t.balign 4\n";

		text += "\t.section " STAPSDT_SECTION + link + sections[i].stapsdt;
		if (!sections[i].probepoint.empty())
			text += "\t.section " PPN_SECTION + link + sections[i].probepoint;
	}
	text += once;
	for (const auto &of_file : own_signatures) {
		std::string all = head(PPN_OWNER, PPN_SIGNATURES) + "\t.ascii \"" + of_file.first + "\"\n" + of_file.second +
				  "992:\t.balign 4\n";

		text += "\t." + group(hex(hash(all))) + all;
	}
	return text;
}
