// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * The notes of an object.
 *
 * The assembler takes quadratic time over sections of one name, so the last pass
 * leaves only the nops of a site in the code. The notes are collected here and
 * written at the end of the unit:
 *
 *   1. The stapsdt and PPN_SITE notes of all sites in one section of code share one
 *      section, which is linked to a label at the first of these sites.
 *   2. The signatures of the unit's own functions share one PPN_SIGNATURES note per
 *      source file.
 *   3. Every other definition (signatures that other units may have too, the base of
 *      stapsdt) is written once, in its COMDAT group.
 */
#include "parts.h"

/* The notes of the sites in one section of code. */
struct section_notes {
	std::string group; /* COMDAT group of that section; empty: it has none */
	std::string stapsdt, probepoint;
};

static std::vector<section_notes> sections;
static std::string definitions;
static std::map<std::string, std::string> own_signatures; /* by source file, quoted */

unsigned output_section_new(const std::string &group)
{
	sections.push_back({ group, "", "" });
	return sections.size() - 1;
}

/* Adds the signature of one of the unit's own functions. */
static void own_signature_add(const std::string &bytes)
{
	size_t end = bytes.find('\0', PPN_SIGNATURE_FIXED) + 1; /* of the source file */
	std::string file = bytes.substr(PPN_SIGNATURE_FIXED, end - PPN_SIGNATURE_FIXED);
	std::string signature = bytes.substr(0, PPN_SIGNATURE_FIXED) + bytes.substr(end), size;

	if (signature.size() > 0xffff) { /* does not fit into PPN_SIGNATURES */
		definitions += "\t.section " + note_section(note_id(note_hash(bytes))) +
		               note_text(PPN_OWNER, PPN_SIGNATURE, asm_bytes(bytes));
		return;
	}
	note_add_number(&size, signature.size(), 2);
	own_signatures[asm_quoted(file)] += asm_bytes(size + signature);
}

/* Adds what the site's notes refer to, unless the object has it already. */
static void definitions_add(const site_record &site)
{
	static std::map<std::string, bool> defined;

	if (defined.empty())
		definitions += stapsdt_base_text();
	if (!defined.insert(std::make_pair(site_signature_label(site), true)).second)
		return;
	if (site.kind != SITE_DECLARED && !site.shared)
		own_signature_add(site.signature);
	else
		definitions += site_signature_text(site);
}

std::string output_site(const site_record &site, const std::vector<std::string> &operands, unsigned section, bool first)
{
	static unsigned number;
	std::string label = ".Lppc" + std::to_string(number++), probe = site_probe_name(site), more;
	std::string in_stapsdt = operands_join(operands, &more);
	section_notes &notes = sections[section];

	notes.stapsdt += note_text_sized(
		STAPSDT_OWNER, STAPSDT_TYPE, asm_address(label + ",_.stapsdt.base," + site_semaphore(site)),
		"\"" + site.provider + "\",\"" + probe + "\",\"" + in_stapsdt + "\"",
		3 * note_target.address_size + site.provider.size() + probe.size() + in_stapsdt.size() + 3);
	if (site_has_note(site))
		notes.probepoint +=
			note_text_sized(PPN_OWNER, PPN_SITE,
		                        asm_address(label) + "\t.long " + std::to_string(site.line) + "," +
		                                std::to_string(site.flags) + "\n",
		                        more.empty() ? "" : "\"" + more + "\"",
		                        note_target.address_size + 8 + (more.empty() ? 0 : more.size() + 1));
	definitions_add(site);
	return SITE_ALIGN + (first ? ".Lppl" + std::to_string(section) + ":\n" : "") + label + SITE_NOPS;
}

std::string output_notes(void)
{
	std::string text;

	for (size_t i = 0; i < sections.size(); i++) {
		const section_notes &notes = sections[i];
		std::string link = std::string(notes.group.empty() ? ",\"o\"" : ",\"oG\"") + ",@note,.Lppl" +
		                   std::to_string(i) + (notes.group.empty() ? "" : "," + notes.group + ",comdat") +
		                   "\n\t.balign 4\n";

		text += "\t.section " STAPSDT_SECTION + link + notes.stapsdt;
		if (!notes.probepoint.empty())
			text += "\t.section " PPN_SECTION + link + notes.probepoint;
	}
	text += definitions;
	for (const auto &of_file : own_signatures) {
		std::string note =
			note_text(PPN_OWNER, PPN_SIGNATURES, "\t.ascii \"" + of_file.first + "\"\n" + of_file.second);

		text += "\t.section " + note_section(note_id(note_hash(note))) + note;
	}
	return text;
}
