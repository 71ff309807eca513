// SPDX-License-Identifier: GPL-3.0-or-later
/* The record of a site as text, and back: see record.h. */
#include "record.h"
#include "note-text.h"
#include "probepoint-note.h"

#include <stdlib.h>
#include <string.h>
#include <tuple>

#define OPERANDS_IN_STAPSDT 12 /* readers of stapsdt notes accept no more */

/* %= is a number that GCC makes anew for each copy of the statement. */
#define LABEL ".Lpp%="

/* The pieces of the text between which the fields stand. */
#define PUSH_LINKED(section) "\t.pushsection " section ",\"o?\",@note," LABEL "\n"
#define POP "\t.popsection\n"
#define NAMES "\t.string8 \""
#define OPERANDS "\t.string \""
#define LINE_AND_FLAGS "\t.long "
#define MORE_OPERANDS "\t.string  \""
#define IFNDEF "\t.ifndef "
#define ENDIF "\t.endif\n"
#define BYTES "\t.ascii \""
#define DECLARED "\t# declared\n"
#define STAYS_IN "\t# stays in "

#define SIGNATURE_OWN ".Lppo_"      /* of a function of this unit alone */
#define SIGNATURE_SHARED ".Lpps_"   /* of a function that other units may define too */
#define SIGNATURE_DECLARED ".Lppn_" /* the label that <sys/probe.h> uses */

/* By kind. */
static const char *const endings[] = { "__entry", "__return", "__unwind", "" };

/* ---- properties of a site ------------------------------------------------- */

bool operator<(const struct site_record &a, const struct site_record &b)
{
	return std::tie(a.kind, a.line, a.flags, a.shared, a.name, a.provider, a.operands, a.home, a.signature) <
	       std::tie(b.kind, b.line, b.flags, b.shared, b.name, b.provider, b.operands, b.home, b.signature);
}

bool site_has_note(const struct site_record &site)
{
	return site.flags || site.operands.size() > OPERANDS_IN_STAPSDT;
}

std::string site_probe_name(const struct site_record &site)
{
	return site.name + endings[site.kind];
}

std::string site_semaphore(const struct site_record &site)
{
	return site.kind == SITE_DECLARED ? site.provider + "_" + site.name + "_semaphore" : "0";
}

bool site_stays_in(const struct site_record &site, const std::string &function)
{
	/* A `*` says that the source gives the name, with __asm__. Homes in objects of older plugins have it. */
	size_t home = site.home[0] == '*', star = function[0] == '*', length = site.home.size() - home;

	return site.home.empty() || (!function.compare(star, length, site.home, home, length) &&
	                             (function.size() == star + length || function[star + length] == '.'));
}

struct site_record site_flagged(const struct site_record &site, unsigned line, unsigned flags)
{
	struct site_record flagged = site;

	flagged.operands.clear();
	if (!site.flags) {
		flagged.line = line;
		flagged.flags = flags;
	}
	return flagged;
}

/* ---- encoding ------------------------------------------------------------- */

std::string operands_join(const std::vector<std::string> &operands, std::string *more)
{
	std::string first;

	more->clear();
	for (size_t i = 0; i < operands.size(); i++) {
		std::string &text = i < OPERANDS_IN_STAPSDT ? first : *more;

		text += (text.empty() ? "" : " ") + operands[i];
	}
	return first;
}

/* The content of a signature as identifier: a declared probe's is as in <sys/probe.h>, so that objects share it. */
static std::string signature_id(const struct site_record &site)
{
	return site.kind == SITE_DECLARED ? site.provider + "." + site.name : note_id(note_hash(site.signature));
}

std::string site_signature_label(const struct site_record &site)
{
	const char *prefix = site.kind == SITE_DECLARED ? SIGNATURE_DECLARED
	                     : site.shared              ? SIGNATURE_SHARED
	                                                : SIGNATURE_OWN;

	return prefix + signature_id(site);
}

std::string site_signature_text(const struct site_record &site)
{
	std::string label = site_signature_label(site);

	return IFNDEF + label + "\n\t.pushsection " + note_section(signature_id(site)) + label + ":\n" +
	       note_text(PPN_OWNER, PPN_SIGNATURE, asm_bytes(site.signature)) + POP ENDIF;
}

/* The PPN_SITE note of a site that has one. more: the operands after the first twelve. */
static std::string site_note_text(const struct site_record &site, const std::string &more)
{
	return PUSH_LINKED(PPN_SECTION) +
	       note_text(PPN_OWNER, PPN_SITE,
	                 asm_address(LABEL) + LINE_AND_FLAGS + std::to_string(site.line) + "," +
	                         std::to_string(site.flags) + "\n" +
	                         (more.empty() ? "" : MORE_OPERANDS + more + "\"\n")) +
	       POP;
}

/* The code of a site. */
static std::string site_start(void)
{
	return std::string(SITE_ALIGN) + LABEL + SITE_NOPS;
}

/* is_old: see site_encode_old(). */
static std::string record_site_text(const struct site_record &site, bool is_old)
{
	std::vector<std::string> operands;
	std::string text, note, more;

	for (int size : site.operands)
		operands.push_back(std::to_string(size) + "@%" + std::to_string(operands.size()));
	std::string first = operands_join(operands, &more);

	if (site_has_note(site))
		note = site_note_text(site, more);
	bool note_is_last = is_old && site.flags;
	text = site_start() + PUSH_LINKED(STAPSDT_SECTION) +
	       note_text(STAPSDT_OWNER, STAPSDT_TYPE,
	                 asm_address(LABEL ",_.stapsdt.base," + site_semaphore(site)) + NAMES + site.provider +
	                         "\",\"" + site_probe_name(site) + "\"\n" OPERANDS + first + "\"\n") +
	       POP + (note_is_last ? "" : note) + stapsdt_base_text() + site_signature_text(site);
	if (site.kind == SITE_DECLARED)
		text += DECLARED;
	else if (!site.home.empty())
		text += STAYS_IN + (is_old ? site.home : asm_quoted(site.home)) + "\n";
	return text + (note_is_last ? note : "");
}

std::string site_encode(const struct site_record &site)
{
	return record_site_text(site, false);
}

std::string site_encode_old(const struct site_record &site)
{
	return record_site_text(site, true);
}

/* ---- decoding ------------------------------------------------------------- */

/* Takes a literal at *at. */
static bool text_take(const char **at, const std::string &literal)
{
	if (strncmp(*at, literal.c_str(), literal.size()))
		return false;
	*at += literal.size();
	return true;
}

/* Takes everything up to the next literal, and the literal; field, unless NULL: what stands before it. */
static bool text_take_until(const char **at, const char *literal, std::string *field)
{
	const char *end = strstr(*at, literal);

	if (!end)
		return false;
	if (field)
		field->assign(*at, end);
	*at = end + strlen(literal);
	return true;
}

static bool text_take_number(const char **at, unsigned *number)
{
	char *end;

	if (**at < '0' || **at > '9')
		return false;
	*number = strtoul(*at, &end, 10);
	*at = end;
	return true;
}

/* "-4@%0 8@%1": appends the sizes. */
static bool operands_decode(const std::string &text, std::vector<int> *operands)
{
	for (const char *at = text.c_str(); *at;) {
		bool is_signed = text_take(&at, "-");
		unsigned size, nth;

		if (!text_take_number(&at, &size) || !text_take(&at, "@%") || !text_take_number(&at, &nth) ||
		    nth != operands->size())
			return false;
		operands->push_back(is_signed ? -(int)size : (int)size);
		if (*at && (!text_take(&at, " ") || !*at))
			return false;
	}
	return true;
}

/* The PPN_SITE note, of which the section has been taken. */
static bool site_note_decode(const char **at, struct site_record *site)
{
	std::string more;

	return text_take_until(at, LINE_AND_FLAGS, NULL) && text_take_number(at, &site->line) && text_take(at, ",") &&
	       text_take_number(at, &site->flags) && text_take(at, "\n") &&
	       (!text_take(at, MORE_OPERANDS) || text_take_until(at, "\"\n", &more)) &&
	       operands_decode(more, &site->operands) && text_take_until(at, POP, NULL);
}

/* Takes the ending of its kind off a probe's name. */
static bool site_name_decode(const std::string &probe, struct site_record *site)
{
	for (int kind = SITE_ENTRY; kind < SITE_DECLARED; kind++) {
		size_t length = strlen(endings[kind]);

		if (probe.size() >= length && !probe.compare(probe.size() - length, length, endings[kind])) {
			site->kind = (enum site_kind)kind;
			site->name = probe.substr(0, probe.size() - length);
			return true;
		}
	}
	return false;
}

/* Takes the line after the signature, if any, and decodes the name. */
static bool site_ending_decode(const char **at, const std::string &probe, struct site_record *site)
{
	std::string home;

	if (text_take(at, DECLARED)) {
		site->kind = SITE_DECLARED;
		site->name = probe;
		return true;
	}
	if (text_take(at, STAYS_IN) && (!text_take_until(at, "\n", &home) || !asm_unquoted(home, &site->home)))
		return false;
	return site_name_decode(probe, site);
}

bool site_text_begins(const char *text)
{
	return text_take(&text, SITE_ALIGN) && text_take(&text, LABEL);
}

bool site_decode(const char *text, struct site_record *site)
{
	struct site_record found;
	std::string probe, first, signature;
	const char *at = text;

	if (!text_take(&at, site_start()))
		return false;
	if (!text_take_until(&at, NAMES, NULL) || !text_take_until(&at, "\",\"", &found.provider) ||
	    !text_take_until(&at, "\"\n", &probe) || !text_take(&at, OPERANDS) ||
	    !text_take_until(&at, "\"\n", &first) || !operands_decode(first, &found.operands) ||
	    !text_take_until(&at, POP, NULL))
		return false;
	if (text_take(&at, PUSH_LINKED(PPN_SECTION)) && !site_note_decode(&at, &found))
		return false;
	if (!text_take(&at, stapsdt_base_text()) || !text_take(&at, IFNDEF))
		return false;
	found.shared = text_take(&at, SIGNATURE_SHARED);
	if (!text_take_until(&at, BYTES, NULL) || !text_take_until(&at, "\"\n", &signature) ||
	    !asm_unquoted(signature, &found.signature) || !text_take_until(&at, ENDIF, NULL))
		return false;
	if (!site_ending_decode(&at, probe, &found))
		return false;
	if (text_take(&at, PUSH_LINKED(PPN_SECTION)) && !site_note_decode(&at, &found))
		return false;
	/* The parts that were skipped above are right if they come out again. */
	if (site_encode(found) != text && site_encode_old(found) != text)
		return false;
	*site = found;
	return true;
}

/* ---- declared probes ------------------------------------------------------ */

#define MARK "# arguments of "
#define MARK_WARNED " (warned)"

std::string call_mark_encode(const struct call_mark &mark)
{
	return MARK + mark.provider + ":" + mark.name + (mark.warned ? MARK_WARNED : "");
}

bool call_mark_decode(const char *text, struct call_mark *mark)
{
	struct call_mark found;
	const char *at = text;

	if (!text_take(&at, MARK) || !text_take_until(&at, ":", &found.provider))
		return false;
	found.warned = text_take_until(&at, MARK_WARNED, &found.name);
	if (!found.warned)
		found.name = at;
	if (call_mark_encode(found) != text)
		return false;
	*mark = found;
	return true;
}

enum declared_stmt declared_stmt_of(const char *text, const std::string &provider, const std::string &name)
{
	const char *at = text;

	if (text_take(&at, ".ifndef " + provider + "_" + name + "_semaphore\n.pushsection .probes,"))
		return DECLARED_TEST;
	if (text_take(&at, ".ifndef " SIGNATURE_DECLARED + provider + "." + name + "\n"))
		return DECLARED_NOTE;
	if (text_take(&at, ".ifc " + provider + ",func\n"))
		return DECLARED_SITE;
	return DECLARED_NONE;
}
