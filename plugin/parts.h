/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The plugin's files and their interfaces.
 *
 * The files form layers. A file calls only files of the layers above it in this list:
 *
 *   note-text.cc   notes as bytes and as assembler text
 *   site-code-CPU.cc   the code of a site
 *   record.cc      the record of a site, and the asm text that carries it
 *   names.cc       names of probes
 *
 *   site.cc        templates of asm statements, and the records that they stand for
 *   type-text.cc   functions and types as the source writes them
 *   stmt.cc        a site as a GIMPLE statement
 *
 *   operand-text-CPU.cc    places of operands, as the assembler writes them
 *   type-note.cc   notes about enumerations and structures
 *   output.cc      the notes of an object
 *   signature.cc   arguments of a function, and its signature
 *   operands.cc    values that a site hands over
 *
 *   declared.cc    probes of <sys/probe.h>: their sites
 *   choose.cc      which functions are probed
 *   unwind.cc      sites where exceptions leave, and before calls that do not return
 *
 * The passes and callbacks, in the order in which GCC runs them:
 *
 *   probepoint.cc  registers everything below
 *   arguments.cc   reads -fplugin-arg-probepoint-... and the file of rules
 *   attributes.cc  __attribute__((probe)), ((no_probe)), and the attribute of <sys/probe.h>
 *   place.cc       GIMPLE: places sites at entry and before each return
 *   size.cc        hides sites while GCC decides what to inline
 *   idle.cc        GIMPLE: computes arguments of declared probes only if the probe is enabled
 *   tail.cc        GIMPLE: keeps tail calls
 *   ways.cc        GIMPLE: moves sites onto the ways into a return while fnsplit runs
 *   inlined.cc     GIMPLE: removes sites from inlined copies, for inlined=no
 *   memory.cc      GIMPLE: lets sites read memory in RTL, too
 *   late.cc        RTL: makes operands readable, and writes the notes
 *
 * A later pass learns everything about a site from its record, which the asm
 * statement carries. See record.h for the reason.
 *
 * Of the files *-CPU.cc only those of one CPU are compiled: of the CPU for which GCC compiles.
 */
#ifndef PARTS_H
#define PARTS_H

#include "record.h"
#include "note-text.h"
#include "gcc-compat.h"
#include "probepoint-note.h"

#define PLUGIN_NAME "probepoint"

/* ---- names.cc ------------------------------------------------------------- */

bool is_identifier(const std::string &text);
/* Replaces each run of characters that an identifier cannot have with one underscore. */
std::string identifier_of(const std::string &text);
/* The name of a function's probes, without ending; function: as the source writes it. */
std::string probe_name(const std::string &function);
/* Removes template arguments and parameters: "a<b>::d(e)::f" -> "a::d::f". */
std::string without_arguments(const std::string &text);

/* ---- site.cc -------------------------------------------------------------- */

/* Returns the template of the site's asm statement. */
std::string site_template(const site_record &site);
/* Returns a template of the same meaning as one of the program, which no site's template equals. */
std::string program_template(const char *asm_template);
/* Returns the record that a template stands for, or NULL if it is not a site's. Equal records have one address. */
const site_record *site_of_template(const char *asm_template);

/* ---- type-text.cc --------------------------------------------------------- */

bool is_cxx(void);
/* A function's name as the source writes it: qualified, with template arguments. */
std::string function_text(tree decl);
/* The types of its parameters, as in a declaration. */
std::string parameters_text(tree decl);
/* A type in C or C++, without qualifiers of the object itself: a parameter's own const does not matter to readers. */
std::string value_type_text(tree type);
/* True for __bf16, whose 16 bits are the upper ones of a float. */
bool is_bfloat16(tree type);
/* PPN_CLASS_* of values of the type. */
char type_class(tree type);
/* True if values of this size (bytes) can be an operand. */
bool is_operand_size(HOST_WIDE_INT size);

/* ---- stmt.cc: a site as a statement --------------------------------------- */

/* Returns the record of a site, or NULL if stmt is another statement. */
const site_record *site_stmt_record(gimple *stmt);
/* True if stmt is a site of that kind. */
bool site_stmt_is(gimple *stmt, enum site_kind kind);
/* Returns a new statement, which is in no block yet. It may read any memory. inputs: values of the operands. */
gasm *site_stmt_new(const site_record &site, const std::vector<tree> &inputs = {});
/* True if stmt computes something that only these sites, and statements that feed them, use. */
bool site_stmt_feeds(gimple *stmt, const std::vector<gimple *> &sites);
/* Must be called for a copy in another place, where memory has another name. */
void site_stmt_moved(gimple *stmt);
/*
 * Copies sites and the statements that feed them to an edge. known maps SSA names of the blocks that they leave to what
 * these names are on the edge.
 */
void site_stmts_copy_to_edge(edge e, const std::vector<gimple *> &sites, std::map<tree, tree> known);
/* Removes sites and the statements that feed them, which are given in the order of the code. */
void site_stmts_remove(const std::vector<gimple *> &sites);

/* The return statements of a function. */
std::vector<greturn *> function_returns(function *fn);
/* Lets edges into bb meet in a block before it. Returns the edge from that block to the rest of bb. */
edge edges_join(basic_block bb, const std::vector<edge> &edges);

/* ---- type-note.cc --------------------------------------------------------- */

/* Returns the key of the PPN_TYPE note about a type or, for a pointer, about its target; 0 if there is none. */
uint64_t type_note_key(tree type);
/* Writes the notes whose keys have been asked for into the unit. */
void type_notes_write(void);

/* ---- output.cc ------------------------------------------------------------ */

/* Returns the number of a new section of code that has sites; group: its COMDAT group, or empty. */
unsigned output_section_new(const std::string &group);
/*
 * Adds the notes of a site, and returns its code. Must be called in the order of the output. operands: as in the
 * stapsdt note, or empty if they have no form that readers know; first: this is the section's first site.
 */
std::string output_site(const site_record &site, const std::vector<std::string> &operands, unsigned section,
                        bool first);
/* Returns all notes, for the end of the unit. */
std::string output_notes(void);

/* ---- signature.cc --------------------------------------------------------- */

/* The part of a parameter that an argument hands over. Most parameters are one argument each. */
enum argument_part {
	PART_WHOLE,
	PART_LOW, /* half of 128 bits */
	PART_HIGH,
	PART_MANTISSA, /* of 80 bits */
	PART_EXPONENT,
	PART_FLOAT, /* of __bf16: the float that has the same value */
	PART_REAL,
	PART_IMAGINARY,
	PART_ADDRESS, /* of a structure that is too large to take apart */
	PART_NONE,    /* of a value that no operand can hold */
};

struct argument {
	char cls; /* PPN_CLASS_* */
	std::string name, type;
	enum argument_part part;
	std::vector<tree> steps; /* to the member (FIELD_DECL) or element (INTEGER_CST) of which part is taken */
	unsigned parm;           /* index in DECL_ARGUMENTS */
	uint64_t type_key;       /* of the type's note; 0 if it has none */
};

/* A probed function, or a declared probe, as it is before LTO strips its types. */
struct probed {
	std::string provider;
	std::string name;      /* of its probes, without ending */
	unsigned line;         /* of its declaration */
	std::string signature; /* content of the PPN_SIGNATURE note */
	std::string home;      /* assembler name of the only function that keeps the sites; empty: all copies do */
	bool entry, returns;   /* which sites it has */
	bool shared;           /* other units may define the function too */
	bool declared;         /* a probe of <sys/probe.h>, not a function */
	std::vector<argument> arguments;
	argument result;
	std::vector<std::pair<unsigned, unsigned>> strings; /* parameters: a string, and its length; from 0 */
};

/* Appends the arguments that a value of this type makes; arg: name, index and steps of the value. */
void arguments_add(tree type, const argument &arg, std::vector<argument> *arguments);
/* Fills in the arguments, result and signature of a function. */
void signature_make(tree decl, struct probed *probed);
/* Fills in the signature from the other members; function: as the source writes it, empty if that is the name. */
void signature_write(tree decl, const std::string &function, struct probed *probed);

/* ---- operands.cc ---------------------------------------------------------- */

/* The values that a site hands over. All are integers. */
struct operands {
	gimple_seq before; /* computes the values */
	std::vector<tree> values;
	std::vector<int> sizes; /* as in struct site_record */
	bool full;              /* no operand can follow */
};

/* Appends the value that an argument takes from a place (a parameter, a result), unless no operand can hold it. */
void operand_add(struct operands *ops, const argument &arg, tree place);
/* Returns the record of a site of this function. */
site_record site_record_new(const struct probed *probed, enum site_kind kind, const std::vector<int> &operands = {});
/* Returns a site that hands over ops. It is in no block yet; ops->before must precede it. */
gasm *site_build(const struct operands &ops, const struct probed *probed, enum site_kind kind);

/* ---- declared.cc ---------------------------------------------------------- */

/* True for the function that PROBE_DECLARE of <sys/probe.h> makes of a probe. */
bool is_declared_probe(tree decl);
std::string declared_provider(tree decl);
std::string declared_name(tree decl);
/* Reads the types of a declared probe's arguments. Must run before LTO strips types. */
void declared_survey(tree decl);
/* Replaces the asm statements of <sys/probe.h> in a declared probe's function with a site. */
void declared_place(function *fn);

/* ---- choose.cc ------------------------------------------------------------ */

struct rule {
	/* conditions */
	std::vector<std::string> functions, exclude, files;
	unsigned min_size = 0; /* GIMPLE statements */
	/* effect */
	bool skip = false, entry = true, returns = true, inlined = true;
	std::string provider; /* empty: the unit's */
};

struct choice {
	std::vector<rule> rules;        /* the first whose conditions hold decides */
	std::vector<std::string> files; /* from which rules were read */
	std::string provider;           /* empty: the source file's base name */
};

extern struct choice choice;

/* Decides about every function of the unit. Must run once, before the first IPA pass. */
void functions_survey(void);
/* Returns NULL if the function is not probed. */
const struct probed *function_probed(tree decl);

/* ---- unwind.cc ------------------------------------------------------------ */

/* Places NAME__unwind where exceptions leave the function. */
void unwind_place(function *fn, const struct probed *probed);
/* Places NAME__return before calls that do not return. */
void noreturn_place(function *fn, const struct probed *probed);
/* True for a statement of a sanitizer that GCC skips on the ways out of a function that has calls marked as tail calls. */
bool sanitizer_exit(gimple *stmt);
/* True if an exception that takes this edge only passes unwinding sites, and leaves the function. */
bool unwind_only(edge e);
/* Removes such an edge from a call. Returns false if it has none. */
bool unwind_edge_remove(gimple *call);

/* ---- operand-text-CPU.cc --------------------------------------------------- */

/* Returns the largest number of integer registers that the operands of one site may occupy. */
int operand_registers(void);
/* Returns false for a constant that some reader cannot read. */
bool operand_number_is_readable(HOST_WIDE_INT number);
std::string operand_number_text(HOST_WIDE_INT number);
/* Returns a register that holds an operand of size bytes; "" if x is not an integer register. */
std::string operand_register_text(rtx x, HOST_WIDE_INT size);
/* Returns memory; base: a register. */
std::string operand_memory_text(const std::string &base, HOST_WIDE_INT offset);

/* ---- arguments.cc, attributes.cc, idle.cc --------------------------------- */

/* Reads the plugin's arguments into choice. Returns false after an error message. */
bool arguments_read(const struct plugin_name_args *args);
void attributes_register(void);
/* Returns the parameters that the function's probe_string attributes name: a string, and its length; from 0. */
std::vector<std::pair<unsigned, unsigned>> attribute_strings(tree decl);
/* Marks in a function's body where the arguments of declared probes begin. */
void idle_mark(tree decl);

/* ---- passes --------------------------------------------------------------- */

opt_pass *pass_place(gcc::context *context);
opt_pass *pass_idle(gcc::context *context);
opt_pass *pass_part(gcc::context *context);
opt_pass *pass_join(gcc::context *context);
enum tail_when { TAIL_RECURSION, TAIL_CALL, TAIL_LTO, TAIL_MUST };
opt_pass *pass_tail(gcc::context *context, enum tail_when when);
/*
 * Returns a pass that runs GCC's tailc while variables whose address only sites take do not count as addressable.
 * Returns NULL if GCC has no tailc.
 */
opt_pass *pass_tail_hiding(gcc::context *context);
opt_pass *pass_size(gcc::context *context);
/* Hides sites from GCC's analysis of the whole unit, too. */
void size_hook_unit(void);
opt_pass *pass_inlined(gcc::context *context);
opt_pass *pass_memory(gcc::context *context);
opt_pass *pass_operands(gcc::context *context);
opt_pass *pass_text(gcc::context *context);

#endif
