// SPDX-License-Identifier: MIT
/*
 * record SEED COUNT: encodes random records of sites and decodes them again. Signatures and assembler names contain
 * anything, above all pieces of the text itself. Then it damages texts: the result must be refused, or be the text of
 * another record. Prints one line for each failure, and exits with 1 if there was any.
 */
#include "plugin/note-text.h"
#include "plugin/record.h"

#include <stdio.h>
#include <stdlib.h>
#include <tuple>

static unsigned long state;
static int failures;

static unsigned random_below(unsigned n)
{
	state = state * 6364136223846793005u + 1442695040888963407u;
	return (unsigned)(state >> 33) % n;
}

/* Everything that has a meaning in the text. */
static const char *const pieces[] = {
	"\t.string8 \"",
	"\t.string \"",
	"\t.string  \"",
	"\t.long 7,1\n",
	"\t# stays in ",
	"\t# declared\n",
	"\t.ifndef ",
	"\t.endif\n",
	"\t.popsection\n",
	"\t.ascii \"",
	"__return\"\n",
	"__entry",
	"__unwind",
	".Lpp%=",
	"\",\"",
	"\"\n",
	"\\",
	"\\000",
	"%0",
	"%=",
	"{",
	"|",
	"}",
	"@",
	"\n",
	"\"",
	"*",
	".constprop.0",
	"$",
	"#",
	":",
	" (warned)",
};

static std::string random_text(void)
{
	std::string text;

	for (unsigned n = random_below(8); n; n--) {
		if (random_below(2))
			text += pieces[random_below(sizeof pieces / sizeof *pieces)];
		else
			text += (char)random_below(256);
	}
	return text;
}

static std::string random_identifier(void)
{
	static const char *const names[] = { "f",        "__entry",  "x__return", "_Z4areai",
		                             "declared", "\xc3\xa4", "a__unwind" };

	return names[random_below(sizeof names / sizeof *names)] + std::to_string(random_below(3));
}

static struct site_record random_site(void)
{
	static const int sizes[] = { 1, 2, 4, 8, 16, -1, -2, -4, -8 };
	struct site_record site;

	site.kind = (enum site_kind)random_below(4);
	site.provider = random_identifier();
	site.name = random_identifier();
	for (unsigned n = random_below(3) ? random_below(4) : random_below(29); n; n--)
		site.operands.push_back(sizes[random_below(9)]);
	site.signature = random_text();
	if (random_below(3) == 0)
		site.flags = 1 << random_below(3);
	if (site_has_note(site))
		site.line = random_below(100000);
	if (site.kind != SITE_DECLARED) {
		site.shared = random_below(2);
		for (site.home = random_below(2) ? random_text() : ""; site.home.find('\0') != std::string::npos;)
			site.home.erase(site.home.find('\0'), 1);
	}
	return site;
}

static bool sites_equal(const struct site_record &a, const struct site_record &b)
{
	return std::tie(a.kind, a.provider, a.name, a.operands, a.signature, a.shared, a.home, a.line, a.flags) ==
	       std::tie(b.kind, b.provider, b.name, b.operands, b.signature, b.shared, b.home, b.line, b.flags);
}

static void fail(const char *what, const std::string &text)
{
	failures++;
	printf("%s: %s\n", what, asm_quoted(text).c_str());
}

static void check_quoted(void)
{
	std::string bytes = random_text() + (char)random_below(256), text = asm_quoted(bytes), back;

	if (text.find_first_of("\"%{|}@#\n\t;$<>") != std::string::npos)
		fail("a character with a meaning is not quoted", text);
	if (!asm_unquoted(text, &back) || back != bytes)
		fail("not unquoted", text);
}

static void check_round_trip(const struct site_record &site)
{
	struct site_record back;
	std::string text = site_encode(site);

	if (!site_decode(text.c_str(), &back))
		fail("not decoded", text);
	else if (!sites_equal(site, back))
		fail("decoded to another record", text);
}

/* An LTO object of an older plugin: a tail call's site in a function whose name needs quoting. */
static void check_old(void)
{
	struct site_record site, back;

	site.kind = SITE_RETURN;
	site.provider = "unit";
	site.name = "f";
	site.home = "a$b";
	for (unsigned flags : { 0, 1, 2 }) {
		site.flags = flags;
		site.line = flags ? 12 : 0;
		std::string text = site_encode_old(site);
		if (!site_decode(text.c_str(), &back) || !sites_equal(site, back))
			fail("an old text is not decoded", text);
	}
}

/* Damages the text of a site. What is still decoded must have exactly this text. */
static void check_damaged(const struct site_record &site)
{
	std::string text = site_encode(site);
	struct site_record back;
	unsigned at = random_below(text.size());

	switch (random_below(4)) {
	case 0: text.resize(at); break;
	case 1: text[at] = 1 + random_below(255); break;
	case 2: text.erase(at, 1 + random_below(20)); break;
	default: text.insert(at, pieces[random_below(sizeof pieces / sizeof *pieces)]); break;
	}
	if (site_decode(text.c_str(), &back) && site_encode(back) != text && site_encode_old(back) != text)
		fail("a damaged text is decoded", text);
}

static void check_flagged(const struct site_record &site)
{
	struct site_record flagged = site_flagged(site, 77, 2), again = site_flagged(flagged, 88, 4);

	if (!flagged.operands.empty() || flagged.flags != (site.flags ? site.flags : 2) ||
	    flagged.line != (site.flags ? site.line : 77))
		fail("flagged", site_encode(flagged));
	if (!sites_equal(flagged, again))
		fail("flagged twice", site_encode(again));
	if (!flagged.flags)
		return;
	check_round_trip(flagged);
}

static void check_stays(const struct site_record &site)
{
	struct site_record old = site;

	if (site.home.empty() || site.home[0] == '*')
		return;
	old.home = "*" + site.home; /* as plugins up to November 2026 wrote it for a name that __asm__ gives */
	for (const struct site_record &of : { site, old }) {
		if (!site_stays_in(of, site.home) || !site_stays_in(of, "*" + site.home) ||
		    !site_stays_in(of, site.home + ".constprop.0"))
			fail("does not stay at home", of.home);
		if (site_stays_in(of, site.home + "x") || site_stays_in(of, "x" + site.home) || site_stays_in(of, ""))
			fail("stays in another function", of.home);
	}
}

static void check_mark(void)
{
	struct call_mark mark, back;

	mark.provider = random_identifier();
	mark.name = random_identifier();
	mark.warned = random_below(2);
	std::string text = call_mark_encode(mark);
	if (!call_mark_decode(text.c_str(), &back) || back.provider != mark.provider || back.name != mark.name ||
	    back.warned != mark.warned)
		fail("mark", text);
	text.insert(random_below(text.size()), random_text());
	if (call_mark_decode(text.c_str(), &back) && call_mark_encode(back) != text.c_str())
		fail("a damaged mark is decoded", text);
}

static void check_order(const struct site_record &a, const struct site_record &b)
{
	if ((a < b) + (b < a) + sites_equal(a, b) != 1)
		fail("order", site_encode(a));
	if ((site_encode(a) == site_encode(b)) != sites_equal(a, b))
		fail("two records, one text", site_encode(a));
}

int main(int argc, char **argv)
{
	if (argc != 3)
		return 2;
	state = strtoul(argv[1], NULL, 10);
	check_old();
	for (long n = atol(argv[2]); n > 0; n--) {
		struct site_record site = random_site(), other = random_below(2) ? random_site() : site;

		note_target.address_size = random_below(4) ? 8 : 4;
		check_round_trip(site);
		check_damaged(site);
		check_flagged(site);
		check_stays(site);
		check_order(site, other);
		check_mark();
		check_quoted();
	}
	return failures != 0;
}
