/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The description of a site (struct site_record), and the text that carries it from pass
 * to pass. This is not the record of a hit (runtime/record.h).
 *
 * A site is an asm statement in GCC's code. Inlining, cloning and LTO copy, move
 * or drop the statement, so every fact about the site must be in its text:
 *
 *   - With LTO a later pass runs in another process, which has nothing but the text.
 *   - The plugin may be missing in that process. So the text is also the complete
 *     assembler code of the site: nops, stapsdt note, PPN_SITE note, signature.
 *
 * site_encode() writes that text and site_decode() reads it. Passes work on
 * struct site_record only. The other functions do the same for the mark before a
 * call of a declared probe, and for the asm statements of <sys/probe.h>. No other
 * file of the plugin looks for anything in the text of an asm statement.
 *
 * This file and note-text.h do not depend on GCC, so that a test can include them.
 */
#ifndef RECORD_H
#define RECORD_H

#include <string>
#include <vector>

/* ---- sites ---------------------------------------------------------------- */

enum site_kind {
	SITE_ENTRY,    /* NAME__entry */
	SITE_RETURN,   /* NAME__return */
	SITE_UNWIND,   /* NAME__unwind */
	SITE_DECLARED, /* NAME: a probe that <sys/probe.h> declares */
};

struct site_record {
	enum site_kind kind = SITE_ENTRY;
	std::string provider;
	std::string name;          /* without __entry, __return, __unwind */
	std::vector<int> operands; /* sizes in bytes, negative if signed; operand i is input i of the statement */
	std::string signature;     /* content of the PPN_SIGNATURE note of the function or declared probe */
	bool shared = false;       /* functions: other units may define the function too */
	std::string home;   /* assembler name of the function in which copies of the site stay; empty: in all functions */
	unsigned line = 0;  /* in the site's PPN_SITE note; 0 if it has none */
	unsigned flags = 0; /* PPN_FLAG_* of this site */
};

/* An arbitrary total order, for maps. */
bool operator<(const struct site_record &a, const struct site_record &b);

/* True if the site needs a PPN_SITE note: it has flags, or more operands than stapsdt takes. */
bool site_has_note(const struct site_record &site);
/* The probe's name with its ending. */
std::string site_probe_name(const struct site_record &site);
/* The symbol of the probe's semaphore; "0" if it has none. */
std::string site_semaphore(const struct site_record &site);
/* True if an inlined copy of the site stays in the function of this assembler name, or in a clone of it. */
bool site_stays_in(const struct site_record &site, const std::string &function);
/*
 * Returns a copy of the site without operands. If the site has no flags, the copy gets this line and these flags.
 */
struct site_record site_flagged(const struct site_record &site, unsigned line, unsigned flags);

/* Returns the label of the site's signature, which a unit defines once. */
std::string site_signature_label(const struct site_record &site);
/* Returns the definition of the signature, for a unit that does not have it yet. */
std::string site_signature_text(const struct site_record &site);

/*
 * Returns the text of a site as an asm template. Every string is allowed in signature and home. Provider and name must
 * be identifiers. Different records have different texts.
 */
std::string site_encode(const struct site_record &site);
/*
 * Returns the text that plugins up to November 2026 wrote to LTO objects. A site with flags has its PPN_SITE note at the
 * end, and home is not quoted.
 */
std::string site_encode_old(const struct site_record &site);
/*
 * Returns false, and leaves *site alone, if text is not exactly what site_encode() or site_encode_old() returns for some
 * record.
 */
bool site_decode(const char *text, struct site_record *site);

/* Returns false if site_decode() certainly returns false. It is faster. */
bool site_text_begins(const char *text);

/* The code of a site in assembler: SITE_ALIGN, a label, SITE_NOPS. They are in site-code-CPU.cc. */
extern const char SITE_ALIGN[], SITE_NOPS[];

/* Joins operands with spaces: the first twelve for stapsdt, the rest (or "") in *more for PPN_SITE. */
std::string operands_join(const std::vector<std::string> &operands, std::string *more);

/* ---- declared probes ------------------------------------------------------ */

/*
 * The mark that stands before a call of a declared probe, where the evaluation of its arguments begins. It is made and
 * removed in one process of the compiler, so it is never written with LTO.
 */
struct call_mark {
	std::string provider, name;
	bool warned = false; /* the front end has warned about a side effect of an argument */
};

std::string call_mark_encode(const struct call_mark &mark);
/* Returns false, and leaves *mark alone, if text is not a mark. */
bool call_mark_decode(const char *text, struct call_mark *mark);

/* The asm statements that <sys/probe.h> writes for a probe. */
enum declared_stmt {
	DECLARED_NONE, /* another statement */
	DECLARED_TEST, /* part of PROBE_ENABLED(): defines the semaphore, and stands before the test of the semaphore */
	DECLARED_NOTE, /* the signature; input i: class of argument i */
	DECLARED_SITE, /* the site; input 2i: size of argument i, input 2i + 1: its value */
};

enum declared_stmt declared_stmt_of(const char *text, const std::string &provider, const std::string &name);

#endif
