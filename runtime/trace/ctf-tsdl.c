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
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
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
	"typealias integer { size = 64; align = 8; signed = false; map = clock.monotonic.value; } := clock_ns;\n"
	"typealias integer { size = 32; align = 8; signed = false; map = clock.monotonic.value; } := clock_low;\n\n";

#define PACKET_CONTEXT                    \
	"\t\tclock_ns timestamp_begin;\n" \
	"\t\tclock_ns timestamp_end;\n"   \
	"\t\tu64 content_size;\n"         \
	"\t\tu64 packet_size;\n"          \
	"\t\tu64 events_discarded;\n"

static const char tsdl_streams[] = "stream {\n"
				   "\tid = 0;\n"
				   "\tpacket.context := struct {\n" PACKET_CONTEXT "\t};\n"
				   "\tevent.header := struct {\n"
				   "\t\tu32 id;\n"
				   "\t\tclock_ns timestamp;\n"
				   "\t};\n"
				   "\tevent.context := struct {\n"
				   "\t\ts32 _pid;\n"
				   "\t\ts32 _tid;\n"
				   "\t\tstring _comm;\n"
				   "\t};\n"
				   "};\n\n"
				   "stream {\n"
				   "\tid = 1;\n"
				   "\tpacket.context := struct {\n" PACKET_CONTEXT "\t\ts32 _pid;\n"
				   "\t\ts32 _tid;\n"
				   "\t\tletter _comm[16];\n"
				   "\t};\n"
				   "\tevent.header := struct {\n"
				   "\t\tu16 id;\n"
				   "\t\tclock_low timestamp;\n"
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

/* Reads the kernel's boot id, "" if it cannot be read. It identifies a machine and its CLOCK_MONOTONIC. */
static void boot_id_read(char id[37])
{
	FILE *from = fopen("/proc/sys/kernel/random/boot_id", "re");
	size_t n = from ? fread(id, 1, 36, from) : 0;

	id[n] = 0;
	if (n < 36 || strspn(id, "0123456789abcdef-") < 36)
		n = 0;
	id[n] = 0;
	if (from)
		fclose(from);
}

void ctf_tsdl_image(FILE *to, uint32_t i, const char *path, const char *build_id)
{
	fprintf(to, "\timage_%u = ", i);
	tsdl_put_string(to, path);
	fprintf(to, ";\n\tbuild_id_%u = ", i);
	tsdl_put_string(to, build_id);
	fprintf(to, ";\n");
}

static void tsdl_put_environment(FILE *to, const struct ctf_head *head, const char *boot_id, const char *images)
{
	unsigned major = 0, minor = 0, patch = 0;
	char host[256] = "";
	struct utsname system;

	gethostname(host, sizeof(host) - 1);
	sscanf(pp_version(), "%u.%u.%u", &major, &minor, &patch);
	fprintf(to, "env {\n\thostname = ");
	tsdl_put_string(to, host);
	fprintf(to, ";\n\thost_id = ");
	tsdl_put_string(to, boot_id);
	if (!uname(&system)) {
		fprintf(to, ";\n\tsysname = ");
		tsdl_put_string(to, system.sysname);
		fprintf(to, ";\n\tkernel_release = ");
		tsdl_put_string(to, system.release);
		fprintf(to, ";\n\tarchitecture = ");
		tsdl_put_string(to, system.machine);
	}
	fprintf(to,
	        ";\n\ttracer_name = \"probepoint\";\n\ttracer_major = %u;\n\ttracer_minor = %u;\n"
	        "\ttracer_patchlevel = %u;\n\tsession = ",
	        major, minor, patch);
	tsdl_put_string(to, head->session);
	fprintf(to, ";\n");
	if (head->part)
		fprintf(to, "\tpart = %u;\n", head->part);
	fprintf(to, "%s};\n\n", images);
}

/* Lists the steps that the time of day has made since the trace began. */
static void tsdl_put_steps(FILE *to, const struct ctf_head *head)
{
	const struct wall *wall = head->wall;

	for (size_t i = 1; i < wall->nsteps; i++) {
		const struct wall_step *step = &wall->steps[i];
		int64_t change = step->offset - step[-1].offset;

		if (step->from > head->began.from)
			fprintf(to, "; the time of day steps by %s%lld.%09lld s after %llu.%09llu",
			        change < 0 ? "-" : "+", llabs(change) / 1000000000, llabs(change) % 1000000000,
			        (unsigned long long)step->from / 1000000000,
			        (unsigned long long)step->from % 1000000000);
	}
}

static void tsdl_put_clock(FILE *to, const struct ctf_head *head, const char *boot_id)
{
	int64_t offset = head->began.offset, seconds = offset / 1000000000 - (offset % 1000000000 < 0);

	fprintf(to, "clock {\n\tname = monotonic;\n");
	if (*boot_id)
		fprintf(to, "\tuuid = \"%s\";\n", boot_id);
	fprintf(to, "\tdescription = \"" CTF_CLOCK_DESCRIPTION);
	tsdl_put_steps(to, head);
	fprintf(to,
	        "\";\n\tfreq = 1000000000;\n\tabsolute = true;\n\toffset_s = %" PRId64 ";\n\toffset = %" PRId64
	        ";\n};\n\n",
	        seconds, offset - seconds * 1000000000);
}

void ctf_tsdl_begin(FILE *to, const struct ctf_head *head, const char *images)
{
	char uuid[37], boot_id[37];

	boot_id_read(boot_id);
	for (int i = 0, n = 0; i < 16; i++)
		n += snprintf(uuid + n, sizeof(uuid) - (size_t)n, "%s%02x",
		              i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "", head->uuid[i]);
	fprintf(to, "/* CTF 1.8 */\n\n%s", tsdl_types);
	fprintf(to,
	        "trace {\n\tmajor = 1;\n\tminor = 8;\n\tuuid = \"%s\";\n\tbyte_order = " BYTE_ORDER_NAME ";\n"
	        "\tpacket.header := struct {\n\t\tx32 magic;\n\t\tu8 uuid[16];\n\t\tu32 stream_id;\n\t};\n};\n\n",
	        uuid);
	tsdl_put_environment(to, head, boot_id, images);
	tsdl_put_clock(to, head, boot_id);
	fputs(tsdl_streams, to);
}

/*
 * Returns whether a field cannot have this identifier after another one. babeltrace2 compares an identifier also with those
 * before it without their first '_', so that _x cannot follow __x.
 */
static bool name_is_same(const char *before, const char *name)
{
	return !strcmp(before, name) || !strcmp(before + 1, name);
}

static bool name_is_taken(char names[][NAME_MAX_BYTES + 16], uint32_t n, const char *name)
{
	if (name_is_same(name, FAULTS) || name_is_same(name, CUT))
		return true;
	while (n--)
		if (name_is_same(names[n], name))
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

/* Writes the type of an integer whose values have names, up to the name of the field. */
static void tsdl_put_enum(FILE *to, const struct manifest *manifest, const struct manifest_arg *arg,
                          enum ctf_field field, unsigned bits)
{
	const struct manifest_name *names = &manifest_names(manifest)[arg->names];
	const uint64_t mask = bits < 64 ? (UINT64_C(1) << bits) - 1 : UINT64_MAX;
	bool first = true;

	fprintf(to, "\t\tenum : %c%u {", field == CTF_SIGNED ? 's' : 'u', bits);
	for (uint32_t i = 0; i < arg->nnames; i++) {
		bool taken = false;

		for (uint32_t k = 0; k < i && !taken; k++)
			taken = names[k].value == names[i].value;
		if (taken)
			continue;
		fputs(first ? " " : ", ", to);
		tsdl_put_string(to, manifest_string(manifest, names[i].name));
		if (field == CTF_SIGNED)
			fprintf(to, " = %" PRId64, names[i].value);
		else
			fprintf(to, " = %" PRIu64, (uint64_t)names[i].value & mask);
		first = false;
	}
	fputs(" }", to);
}

static void tsdl_put_field(FILE *to, enum ctf_field field, unsigned bits, const char *name)
{
	static const char *const prefix[] = {
		[CTF_SIGNED] = "s",
		[CTF_UNSIGNED] = "u",
		[CTF_HEX] = "x",
	};

	switch (field) {
	case CTF_NONE: fprintf(to, "\t\tstruct { } %s;\n", name); break;
	case CTF_SIGNED:
	case CTF_UNSIGNED:
	case CTF_HEX: fprintf(to, "\t\t%s%u %s;\n", prefix[field], bits, name); break;
	case CTF_FLOAT: fprintf(to, "\t\tf%u %s;\n", bits == 16 ? 32 : bits, name); break;
	case CTF_STRING: fprintf(to, "\t\tstring %s;\n", name); break;
	case CTF_BOOL: fprintf(to, "\t\ttruth %s;\n", name); break;
	case CTF_LETTER: fprintf(to, "\t\tletter %s[1];\n", name); break;
	}
}

/* Returns whether the values of an argument have names that the trace can contain. */
static bool field_is_enum(const struct manifest *manifest, const struct manifest_arg *arg, enum ctf_field field,
                          unsigned bits)
{
	const struct manifest_name *names = &manifest_names(manifest)[arg->names];

	if (!arg->nnames || (field != CTF_SIGNED && field != CTF_UNSIGNED))
		return false;
	for (uint32_t i = 0; i < arg->nnames && field == CTF_SIGNED && bits < 64; i++)
		if (names[i].value >> (bits - 1) != 0 && names[i].value >> (bits - 1) != -1)
			return false;
	return true;
}

static void tsdl_put_argument(FILE *to, const struct manifest *manifest, const struct manifest_probe *probe,
                              const struct manifest_layout *layout, uint32_t i, char names[][NAME_MAX_BYTES + 16])
{
	const struct manifest_arg *arg = i < probe->nargs ? &manifest_args(manifest)[probe->args + i] : NULL;
	enum ctf_field field = ctf_field(layout, i);
	unsigned bits = 8u * layout->size[i];

	field_make_name(names, i, arg ? manifest_string(manifest, arg->name) : "");
	if (!arg || !field_is_enum(manifest, arg, field, bits)) {
		tsdl_put_field(to, field, bits, names[i]);
		return;
	}
	tsdl_put_enum(to, manifest, arg, field, bits);
	fprintf(to, " %s;\n", names[i]);
}

void ctf_tsdl_event(FILE *to, uint32_t id, enum ctf_stream_class stream, const struct manifest *manifest,
                    const struct manifest_probe *probe, const struct manifest_layout *layout)
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
	fprintf(to, ";\n\tid = %u;\n\tstream_id = %u;\n\tfields := struct {\n", id, stream);
	for (uint32_t i = 0; i < layout->nargs; i++) {
		tsdl_put_argument(to, manifest, probe, layout, i, names);
		strings |= ctf_field(layout, i) == CTF_STRING;
	}
	if (layout->nargs && stream == CTF_MIXED)
		fprintf(to, "\t\tx32 " FAULTS ";\n");
	if (strings && stream == CTF_MIXED)
		fprintf(to, "\t\tx32 " CUT ";\n");
	fprintf(to, "\t};\n};\n\n");
}
