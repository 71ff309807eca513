/* SPDX-License-Identifier: MIT */
/*
 * The metadata of a trace, in TSDL, the language of CTF 1.8 (efficios.com/ctf, "Common Trace Format specification").
 *
 * Names come from the notes of programs and may contain any character, and TSDL is strict. The name of an event is a
 * string, so it is escaped. The name of a field is an identifier that must not be a keyword: it gets a '_' as its first
 * character, which readers remove. Characters that identifiers cannot contain become '_'. A name that is taken gets a
 * number.
 */
#include "runtime/trace/ctf.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#include <probepoint.h>

#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
#define BYTE_ORDER_NAME "be"
#else
#define BYTE_ORDER_NAME "le"
#endif

#define FAULTS "__faults"
#define CUT "__cut"
#define NAME_MAX_BYTES 200

static const char tsdl_types[] =
	"typealias integer { size = 8; align = 8; signed = true; base = 10; } := s8;\n"
	"typealias integer { size = 16; align = 8; signed = true; base = 10; } := s16;\n"
	"typealias integer { size = 32; align = 8; signed = true; base = 10; } := s32;\n"
	"typealias integer { size = 64; align = 8; signed = true; base = 10; } := s64;\n"
	"typealias integer { size = 8; align = 8; signed = false; base = 10; } := u8;\n"
	"typealias integer { size = 16; align = 8; signed = false; base = 10; } := u16;\n"
	"typealias integer { size = 32; align = 8; signed = false; base = 10; } := u32;\n"
	"typealias integer { size = 64; align = 8; signed = false; base = 10; } := u64;\n"
	"typealias integer { size = 8; align = 8; signed = false; base = 16; } := x8;\n"
	"typealias integer { size = 16; align = 8; signed = false; base = 16; } := x16;\n"
	"typealias integer { size = 32; align = 8; signed = false; base = 16; } := x32;\n"
	"typealias integer { size = 64; align = 8; signed = false; base = 16; } := x64;\n"
	"typealias floating_point { exp_dig = 8; mant_dig = 24; align = 8; } := f32;\n"
	"typealias floating_point { exp_dig = 11; mant_dig = 53; align = 8; } := f64;\n"
	"typealias integer { size = 8; align = 8; signed = false; encoding = UTF8; } := letter;\n"
	"typealias enum : u8 { \"false\" = 0, \"true\" = 1 } := truth;\n"
	"typealias integer { size = 64; align = 8; signed = false; map = clock.monotonic.value; } := clock_ns;\n\n";

static const char tsdl_stream[] = "stream {\n"
				  "\tid = 0;\n"
				  "\tpacket.context := struct {\n"
				  "\t\tclock_ns timestamp_begin;\n"
				  "\t\tclock_ns timestamp_end;\n"
				  "\t\tu64 content_size;\n"
				  "\t\tu64 packet_size;\n"
				  "\t\tu64 events_discarded;\n"
				  "\t};\n"
				  "\tevent.header := struct {\n"
				  "\t\tu32 id;\n"
				  "\t\tclock_ns timestamp;\n"
				  "\t};\n"
				  "\tevent.context := struct {\n"
				  "\t\ts32 _pid;\n"
				  "\t\ts32 _tid;\n"
				  "\t\tstring _comm;\n"
				  "\t};\n"
				  "};\n\n";

enum ctf_field ctf_field(const struct manifest_layout *layout, uint32_t i)
{
	switch ((enum pp_kind)layout->kind[i]) {
	case PP_SIGNED: return CTF_SIGNED;
	case PP_UNSIGNED: return CTF_UNSIGNED;
	case PP_POINTER: return CTF_HEX;
	case PP_STRING: return CTF_STRING;
	case PP_BOOL: return CTF_BOOL;
	case PP_CHAR: return layout->size[i] == 1 ? CTF_LETTER : CTF_SIGNED;
	case PP_FLOAT: return CTF_FLOAT;
	case PP_FAULT:
	case PP_STACK:
	case PP_MISSING: break;
	}
	return CTF_NONE;
}

/* Writes a string literal, with C's escapes. */
static void tsdl_put_string(FILE *to, const char *string)
{
	fputc('"', to);
	for (const unsigned char *c = (const unsigned char *)string; *c; c++) {
		if (*c == '"' || *c == '\\')
			fprintf(to, "\\%c", *c);
		else if (*c < ' ' || *c > '~')
			fprintf(to, "\\%03o", *c);
		else
			fputc(*c, to);
	}
	fputc('"', to);
}

/* Writes text of a comment, so that it cannot end the comment. */
static void tsdl_put_comment(FILE *to, const char *string)
{
	for (const unsigned char *c = (const unsigned char *)string; *c; c++)
		fputc(*c < ' ' || *c > '~' || (*c == '/' && c != (const unsigned char *)string && c[-1] == '*') ? '?'
		                                                                                                : *c,
		      to);
}

static void tsdl_put_environment(FILE *to, const char *session)
{
	unsigned major = 0, minor = 0, patch = 0;
	char host[256] = "";

	gethostname(host, sizeof(host) - 1);
	sscanf(pp_version(), "%u.%u.%u", &major, &minor, &patch);
	fprintf(to, "env {\n\thostname = ");
	tsdl_put_string(to, host);
	fprintf(to,
	        ";\n\ttracer_name = \"probepoint\";\n\ttracer_major = %u;\n\ttracer_minor = %u;\n"
	        "\ttracer_patchlevel = %u;\n\tsession = ",
	        major, minor, patch);
	tsdl_put_string(to, session);
	fprintf(to, ";\n};\n\n");
}

void ctf_tsdl_begin(FILE *to, const uint8_t uuid[16], const char *session, int64_t offset)
{
	int64_t offset_s = offset / 1000000000 - (offset % 1000000000 < 0);
	char id[37];

	for (int i = 0, n = 0; i < 16; i++)
		n += snprintf(id + n, sizeof(id) - n, "%s%02x", i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "",
		              uuid[i]);

	fprintf(to, "/* CTF 1.8 */\n\n%s", tsdl_types);
	fprintf(to,
	        "trace {\n\tmajor = 1;\n\tminor = 8;\n\tuuid = \"%s\";\n\tbyte_order = " BYTE_ORDER_NAME ";\n"
	        "\tpacket.header := struct {\n\t\tx32 magic;\n\t\tu8 uuid[16];\n\t\tu32 stream_id;\n\t};\n};\n\n",
	        id);
	tsdl_put_environment(to, session);
	fprintf(to,
	        "clock {\n\tname = monotonic;\n\tdescription = \"" CTF_CLOCK_DESCRIPTION "\";\n\tfreq = 1000000000;\n"
	        "\tabsolute = true;\n\toffset_s = %" PRId64 ";\n\toffset = %" PRId64 ";\n};\n\n%s",
	        offset_s, offset - offset_s * 1000000000, tsdl_stream);
}

static bool name_is_taken(char names[][NAME_MAX_BYTES + 16], uint32_t n, const char *name)
{
	if (!strcmp(name, FAULTS) || !strcmp(name, CUT))
		return true;
	while (n--)
		if (!strcmp(names[n], name))
			return true;
	return false;
}

/* Writes to names[i] the identifier of a field, which differs from those of the fields before it. */
static void field_make_name(char names[][NAME_MAX_BYTES + 16], uint32_t i, const char *given)
{
	char plain[NAME_MAX_BYTES + 2] = "_";
	size_t n = 1;

	for (const unsigned char *c = (const unsigned char *)given; *c && n < NAME_MAX_BYTES; c++)
		plain[n++] = *c < 0x80 && isalnum(*c) ? *c : '_';
	if (n == 1)
		snprintf(plain, sizeof(plain), "_arg%u", i);
	strcpy(names[i], plain);
	for (unsigned number = 2; name_is_taken(names, i, names[i]); number++)
		snprintf(names[i], NAME_MAX_BYTES + 16, "%s_%u", plain, number);
}

static void tsdl_put_field(FILE *to, enum ctf_field field, unsigned bits, const char *name)
{
	static const char *const prefix[] = {
		[CTF_SIGNED] = "s",
		[CTF_UNSIGNED] = "u",
		[CTF_HEX] = "x",
	};

	switch (field) {
	case CTF_NONE: break;
	case CTF_SIGNED:
	case CTF_UNSIGNED:
	case CTF_HEX: fprintf(to, "\t\t%s%u %s;\n", prefix[field], bits, name); break;
	case CTF_FLOAT: fprintf(to, "\t\tf%u %s;\n", bits == 16 ? 32 : bits, name); break;
	case CTF_STRING: fprintf(to, "\t\tstring %s;\n", name); break;
	case CTF_BOOL: fprintf(to, "\t\ttruth %s;\n", name); break;
	case CTF_LETTER: fprintf(to, "\t\tletter %s[1];\n", name); break;
	}
}

void ctf_tsdl_event(FILE *to, uint32_t id, const struct manifest *manifest, const struct manifest_probe *probe,
                    const struct manifest_layout *layout)
{
	const struct manifest_file *file = &manifest_files(manifest)[probe->file];
	char names[RECORD_ARGS_MAX][NAME_MAX_BYTES + 16];
	bool strings = false;

	fprintf(to, "/* ");
	tsdl_put_comment(to, manifest_string(manifest, file->path));
	fprintf(to, ", build id ");
	tsdl_put_comment(to, manifest_string(manifest, file->build_id));
	fprintf(to, " */\nevent {\n\tname = ");
	tsdl_put_string(to, manifest_string(manifest, probe->name));
	fprintf(to, ";\n\tid = %u;\n\tstream_id = 0;\n\tfields := struct {\n", id);
	for (uint32_t i = 0; i < layout->nargs; i++) {
		enum ctf_field field = ctf_field(layout, i);

		field_make_name(names, i,
		                i < probe->nargs
		                        ? manifest_string(manifest, manifest_args(manifest)[probe->args + i].name)
		                        : "");
		tsdl_put_field(to, field, 8 * layout->size[i], names[i]);
		strings |= field == CTF_STRING;
	}
	if (layout->nargs)
		fprintf(to, "\t\tx32 " FAULTS ";\n");
	if (strings)
		fprintf(to, "\t\tx32 " CUT ";\n");
	fprintf(to, "\t};\n};\n\n");
}
