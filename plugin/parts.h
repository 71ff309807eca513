/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The plugin's parts and what they hand each other.
 *
 *   probepoint.cc  where the passes stand
 *   arguments.cc   -fplugin-arg-probepoint-..., and the file of rules
 *   attributes.cc  __attribute__((probe)) and ((no_probe)); the one of <sys/probe.h>
 *   choose.cc      which functions are probed
 *   names.cc       what their probes are called
 *   signature.cc   what a function's arguments are: types, names, classes
 *   types.cc       ... and what those types are: enumerations, structures
 *   site.cc        the assembler text of a site, and what later passes do with it
 *   stmt.cc        a site as a GIMPLE statement
 *   declared.cc    probes of <sys/probe.h>: their sites
 *   idle.cc        ... and their arguments, which cost nothing while nobody watches
 *   unwind.cc      sites where exceptions leave, and before calls that do not return
 *   place.cc       GIMPLE: sites at entry and before each return
 *   ways.cc        GIMPLE: ... and around fnsplit on each way into a return
 *   tail.cc        GIMPLE: tail calls stay tail calls
 *   size.cc        sites have no size when GCC decides what to inline
 *   inlined.cc     GIMPLE: takes sites out of inlined copies, where that is asked for
 *   late.cc        RTL: operands a reader can resolve; one label a section
 *
 * Whatever a later pass must know of a site it reads from its text, for with LTO
 * it runs in another process; and the text is right by itself, for in that
 * process the plugin may be missing.
 */
#ifndef PARTS_H
#define PARTS_H

#include "gcc-compat.h"
#include "probepoint-note.h"

#define OPERANDS_IN_STAPSDT 12 /* what old readers take */

#define PLUGIN_NAME "probepoint"

/* ---- choose.cc ------------------------------------------------------------ */

struct rule {
	/* conditions */
	std::vector<std::string> functions, exclude, files;
	unsigned min_size = 0; /* GIMPLE statements */
	/* what then */
	bool skip = false, entry = true, returns = true, inlined = true;
	std::string provider; /* empty: as for all */
};

struct choice {
	std::vector<rule> rules;
	std::vector<std::string> files; /* that some of them were read from */
	std::string provider; /* empty: the source file's base name */
};

extern struct choice choice;

/* Looks at every function of the unit, once, before the first IPA pass. */
void functions_survey(void);
/* NULL: the function is not probed. */
const struct probed *function_probed(tree decl);

/* ---- arguments.cc: false after an error ------------------------------------ */

bool arguments_read(const struct plugin_name_args *args);

/* ---- declared.cc, idle.cc ---------------------------------------------------- */

bool is_declared_probe(tree decl);
/* Before LTO strips types. */
void declared_survey(tree decl);
/* Makes a site of what <sys/probe.h> has in a declared probe's function. */
void declared_place(function *fn);
/* Marks in a function's body where the arguments of declared probes begin. */
void idle_mark(tree decl);
opt_pass *pass_idle(gcc::context *context);

/* ---- attributes.cc --------------------------------------------------------- */

void attributes_register(void);

/* ---- names.cc --------------------------------------------------------------- */

std::string probe_name(const std::string &function);
/* "a<b>::d(e)::f" -> "a::d::f" */
std::string without_arguments(const std::string &text);

/* ---- signature.cc --------------------------------------------------------- */

/* What an argument takes of its parameter. Few parameters are just one argument each: */
enum part {
	PART_WHOLE,
	PART_LOW, PART_HIGH,                /* of 128 bits */
	PART_MANTISSA, PART_EXPONENT,       /* of 80 bits */
	PART_REAL, PART_IMAGINARY,
	PART_ADDRESS,                       /* of a structure too large to take apart */
	PART_NONE,                          /* what no operand can hold */
};

struct argument {
	char cls; /* PPN_CLASS_* */
	std::string name, type;
	enum part part;
	std::vector<tree> steps; /* first of all: to a member (FIELD_DECL) or element (INTEGER_CST) of it */
	unsigned parm;           /* its place in DECL_ARGUMENTS */
	uint64_t described;      /* its type's note; 0: it has none */
};

/* What is known of a function before its types are stripped for LTO. */
struct probed {
	std::string provider;
	std::string name;      /* of its probes, without __entry and the like */
	unsigned line;         /* of its declaration */
	std::string signature; /* a PPN_SIGNATURE's bytes */
	std::string home;      /* the assembler's name of the one function that keeps the sites; empty: all do */
	bool entry, returns;   /* which sites */
	bool shared;           /* other units may have the function too */
	bool declared;         /* by <sys/probe.h>: no function, a probe */
	std::vector<argument> arguments;
	argument result;
};

bool is_identifier(const std::string &text);
std::string identifier_of(const std::string &text);
/* The function as people write it: qualified, without parameters. */
std::string function_text(tree decl);
/* Its parameters' types, as in a declaration. */
std::string parameters_of(tree decl);
void signature_make(tree decl, struct probed *probed);
/* The arguments that a value of a type makes. */
void arguments_add(tree type, const argument &arg, std::vector<argument> *arguments);
std::string value_type_text(tree type);
/* The note's bytes, of what probed says; function: as people write it. */
void signature_write(tree decl, const std::string &function, struct probed *probed);

bool is_cxx(void);
bool is_operand_size(HOST_WIDE_INT size);
char class_of(tree type); /* PPN_CLASS_* */
/* To a note's bytes. */
void add_number(std::string *bytes, uint64_t value, int size);
void add_string(std::string *bytes, const std::string &text);

/* ---- types.cc --------------------------------------------------------------- */

/* The key of the note that describes a type, or what it points to; 0: none does. */
uint64_t type_key(tree type);
/* Puts the notes asked for so far into the unit. */
void types_write(void);

/* ---- site.cc -------------------------------------------------------------- */

enum site_kind { SITE_ENTRY, SITE_RETURN, SITE_DECLARED, SITE_UNWIND };

/* operands: as in the note, a template: "-4@%0 8@%1". */
std::string site_text(const struct probed *probed, enum site_kind kind, const std::string &operands);

/* The text as an asm statement bears it: itself or, shorter, what stands for it in this process. */
std::string site_template(const std::string &text);
/* What that was made of; NULL: it is no site's. */
const char *site_text_of(const char *asm_template);

bool site_is_return(const char *text);
bool site_is_unwind(const char *text);
/* The operands of a site, and the same site with others. */
std::string site_operands(const char *text);
std::string site_text_with_operands(const char *text, const std::string &operands);
/* The text of the same site on line, without a value, with flags (PPN_FLAG_*) of its own. */
std::string site_text_flagged(const char *text, unsigned line, unsigned flags);
/* A section of code that has sites, in that COMDAT group, or in none; its number. */
unsigned site_section_new(const std::string &group);
/*
 * What stands in the code at last, operands written out; first: of the section's sites. The notes are kept for the
 * end of the unit. In the order of the output.
 */
std::string site_text_last(const char *text, const std::string &operands, unsigned section, bool first);
/* All that was kept. */
std::string notes_text(void);
/* Does the site stay in a function of that assembler name (or a clone of it)? */
bool site_stays(const char *text, const char *function);
/* Adds a PPN_TYPE of these bytes, which follow its key, to the assembler text; the key. */
uint64_t type_note(const std::string &bytes, std::string *text);

/* ---- place.cc ------------------------------------------------------------- */

/* What a site hands over: integers. */
struct operands {
	gimple_seq before; /* computes the values */
	std::vector<tree> values, in_memory;
	std::string text; /* as in the note, a template: "-4@%0 8@%1" */
};

/* The one that an argument hands over, of a place (a parameter, a result) that holds it. */
void operand_add(struct operands *ops, const argument &arg, tree place);
gasm *site_build(struct operands *ops, const struct probed *probed, enum site_kind kind);

/* ---- unwind.cc ------------------------------------------------------------ */

void unwind_place(function *fn, const struct probed *probed);
void noreturn_place(function *fn, const struct probed *probed);
/* What goes this way passes unwinding sites, and leaves. */
bool unwind_only(edge e);
/* Takes such a way from a call; false: it has none. */
bool unwind_take_out(gimple *call);

/* ---- stmt.cc: a site as a statement ------------------------------------------ */

/* The text of a site, NULL: stmt is none. */
const char *site_stmt_text(gimple *stmt);
bool site_stmt_is_return(gimple *stmt);
bool site_stmt_is_unwind(gimple *stmt);
/* inputs: the operands' values. in_memory: what must be in memory besides, where an operand points to it. */
gasm *site_stmt_new(const std::string &text, const std::vector<tree> &inputs, const std::vector<tree> &in_memory);
/* Whether stmt computes something that only these sites, and what feeds them, use. */
bool site_stmt_feeds(gimple *stmt, const std::vector<gimple *> &sites);
/* Copies sites and what feeds them to an edge. known: what to write for SSA names of the blocks that they leave. */
void site_stmts_copy_to_edge(edge e, const std::vector<gimple *> &sites, std::map<tree, tree> known);
/* Removes sites and what feeds them, in the order of the code. */
void site_stmts_take_out(const std::vector<gimple *> &sites);

/* ---- passes --------------------------------------------------------------- */

opt_pass *pass_place(gcc::context *context);
opt_pass *pass_part(gcc::context *context);
opt_pass *pass_join(gcc::context *context);
enum tail_when { TAIL_RECURSION, TAIL_CALL, TAIL_LTO, TAIL_MUST };
opt_pass *pass_tail(gcc::context *context, enum tail_when when);
/* GCC's pass tailc, to which variables whose address only sites take are no obstacle. NULL: it is not found. */
opt_pass *pass_hiding(gcc::context *context);
opt_pass *pass_size(gcc::context *context);
/* The same for GCC's look at the whole unit. */
void size_of_unit(void);
opt_pass *pass_inlined(gcc::context *context);
opt_pass *pass_operands(gcc::context *context);
opt_pass *pass_text(gcc::context *context);

#endif
