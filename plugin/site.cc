// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * The sites of this process, and the templates of their asm statements.
 *
 * The complete text of a site (record.h) is expensive: GCC counts the lines of an asm
 * template again and again. So the statement has it only if another process will read
 * it, that is, if GCC writes LTO or offload code. Otherwise the template is a number,
 * which stands for the record until the last pass. Equal records have one number,
 * because GCC merges blocks that end in equal statements.
 *
 * An asm statement of the program may begin as a number does. It gets another template
 * of the same meaning before any site is placed. The link of LTO reads functions in
 * which this was not done, so it makes and knows no numbers.
 */
#include "parts.h"

#define NUMBERED "\t# site "

static std::map<site_record, unsigned> numbers;
static std::vector<const site_record *> records; /* by number; they point to the keys */

static unsigned site_number(const site_record &site)
{
	auto found = numbers.insert(std::make_pair(site, records.size()));

	if (found.second)
		records.push_back(&found.first->first);
	return found.first->second;
}

std::string site_template(const site_record &site)
{
	if (flag_generate_lto || flag_generate_offload || in_lto_p)
		return site_encode(site);
	return NUMBERED + std::to_string(site_number(site));
}

std::string program_template(const char *asm_template)
{
	return (strncmp(asm_template, NUMBERED, strlen(NUMBERED)) ? "" : " ") + std::string(asm_template);
}

/* Returns NULL for a number of no record, which a program's asm statement has in LTO. */
static const site_record *record_of_number(const char *text)
{
	char *end;
	unsigned long number = strtoul(text, &end, 10);

	return !in_lto_p && ISDIGIT(*text) && !*end && number < records.size() ? records[number] : NULL;
}

const site_record *site_of_template(const char *asm_template)
{
	static std::map<std::string, const site_record *> decoded; /* NULL: not a site */
	site_record site;

	if (!strncmp(asm_template, NUMBERED, strlen(NUMBERED)))
		return record_of_number(asm_template + strlen(NUMBERED));
	if (!site_text_begins(asm_template))
		return NULL;
	auto known = decoded.insert(std::make_pair(asm_template, (const site_record *)NULL));
	if (known.second && site_decode(asm_template, &site))
		known.first->second = records[site_number(site)];
	return known.first->second;
}
