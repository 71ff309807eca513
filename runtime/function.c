/* SPDX-License-Identifier: MIT */
#include "runtime/function.h"

#include <elf.h>
#include <errno.h>
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "runtime/disasm.h"
#include "runtime/process.h"
#include "base/error.h"
#include "sdt/image.h"

#define NARGS_MAX 16
#define ALIKE_MAX 16 /* functions of one name that are told of */
#define SHOWN_MAX 5  /* ... and others that are */

/* Of a kind of site: what its arguments are called, and their operands. */
struct shape {
	const char *names[NARGS_MAX + 1];
	const char *operands;
};

/* System V ABI, AMD64 supplement, 3.2.3 */
static const struct shape entry = {
	{ "arg0", "arg1", "arg2", "arg3", "arg4", "arg5" },
	"8@%rdi 8@%rsi 8@%rdx 8@%rcx 8@%r8 8@%r9",
};
static const struct shape leave = {
	{ "arg0", "arg1", "arg2", "arg3", "arg4", "arg5", "ret", "duration" },
	"8@%rdi 8@%rsi 8@%rdx 8@%rcx 8@%r8 8@%r9 -8@%rax 8@%r11",
};
/* As leave; what the other function will return is not known (and nothing is ever at address 0). */
static const char leave_by_jump[] = "8@%rdi 8@%rsi 8@%rdx 8@%rcx 8@%r8 8@%r9 -8@(%rbx) 8@%r11";
static const struct shape middle = {
	{ "rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "rsp", "r8", "r9", "r10", "r11", "r12", "r13", "r14",
	  "r15" },
	"8@%rax 8@%rbx 8@%rcx 8@%rdx 8@%rsi 8@%rdi 8@%rbp 8@%rsp "
	"8@%r8 8@%r9 8@%r10 8@%r11 8@%r12 8@%r13 8@%r14 8@%r15",
};

static const char returns[] = "%return";

struct function {
	struct pp_probe probe; /* the first: function_free() gets this */
	struct pp_arg args[NARGS_MAX];
	char *refused;
	uint64_t resolver; /* of an indirect function; 0: it is none */
};

const char *function_name(const char *pattern)
{
	size_t n = strlen(FUNCTION_PROVIDER);

	return !strncmp(pattern, FUNCTION_PROVIDER, n) && pattern[n] == ':' && pattern[n + 1] ? pattern + n + 1 : NULL;
}

static int read_code(const struct pp_image *image, struct pp_site *sites, size_t n)
{
	int fd = image_reopen(image), err = 0;

	if (fd < 0)
		return fd;
	for (size_t i = 0; i < n && !err; i++) {
		err = image_offset(image, sites[i].address, &sites[i].offset);
		if (!err && pread(fd, sites[i].code, sizeof(sites[i].code), (off_t)sites[i].offset) < 1)
			err = error_set(EIO, "%s: cannot read offset 0x%lx", image->path,
			                (unsigned long)sites[i].offset);
	}
	close(fd);
	return err;
}

/* SYMBOL, with its OFFSET or %return taken off; the caller frees it. */
struct parts {
	char *symbol;
	uint64_t offset;
	bool is_return;
};

static int take_apart(const char *name, struct parts *parts)
{
	size_t length = strlen(name), tail = sizeof(returns) - 1;
	char *plus, *percent, *end;

	*parts = (struct parts){ .symbol = strdup(name) };
	if (!parts->symbol)
		return error_nomem();
	if (length > tail && !strcmp(name + length - tail, returns)) {
		parts->is_return = true;
		parts->symbol[length - tail] = 0;
	}
	/* A demangled name may hold either in its middle: operator+(a, b). */
	percent = strrchr(parts->symbol, '%');
	if (percent && !strchr(percent, ')'))
		return error_set(EINVAL, "'%s:%s': only %s can stand behind a symbol and a %%", FUNCTION_PROVIDER, name,
		                 returns);
	plus = strrchr(parts->symbol, '+');
	if (!plus || plus[1] < '0' || plus[1] > '9')
		return 0;
	errno = 0;
	parts->offset = strtoull(plus + 1, &end, 0);
	if (errno || *end)
		return error_set(EINVAL, "'%s:%s': '%s' is no offset", FUNCTION_PROVIDER, name, plus + 1);
	if (parts->is_return && parts->offset)
		return error_set(EINVAL, "'%s:%s': a function is left where it is left, at no offset",
		                 FUNCTION_PROVIDER, name);
	*plus = 0;
	return 0;
}

int function_check(const char *name)
{
	struct parts parts;
	int err = take_apart(name, &parts);

	free(parts.symbol);
	return err;
}

bool function_is_address(const char *name)
{
	return name[0] == '+' || (name[0] == '0' && (name[1] == 'x' || name[1] == 'X'));
}

static void site_set(struct pp_site *site, const struct pp_probe *probe, uint64_t address, enum site_role role,
                     const char *operands)
{
	*site = (struct pp_site){
		.probe = probe, .address = address, .operands = (char *)operands, .function = probe->name, .role = role
	};
}

/* The entry first, then the places where it is left. */
static int add_returns(struct pp_probe *probe, uint64_t address)
{
	struct code_exit *exits;
	size_t n;
	int err = code_exits(probe->image, address, &exits, &n);

	if (err)
		return err;
	probe->sites = calloc(n + 1, sizeof(*probe->sites));
	for (size_t i = 0; i < n && probe->sites; i++)
		site_set(&probe->sites[i + 1], probe, exits[i].address, SITE_LEAVE,
		         exits[i].tail ? leave_by_jump : leave.operands);
	free(exits);
	if (!probe->sites)
		return error_nomem();
	site_set(&probe->sites[0], probe, address, SITE_CALL, "");
	probe->nsites = n + 1;
	return 0;
}

static int add_hit(struct pp_probe *probe, uint64_t address, uint64_t offset)
{
	int err = offset ? code_boundary(probe->image, address, offset) : 0;

	if (err)
		return err;
	probe->sites = calloc(1, sizeof(*probe->sites));
	if (!probe->sites)
		return error_nomem();
	site_set(&probe->sites[0], probe, address + offset, SITE_HIT, offset ? middle.operands : entry.operands);
	probe->nsites = 1;
	return 0;
}

static int begin(const struct pp_image *image, const char *name, const struct shape *shape, struct function *f)
{
	f->probe = (struct pp_probe){
		.image = image, .provider = strdup(FUNCTION_PROVIDER), .name = strdup(name), .args = f->args
	};
	if (!f->probe.provider || !f->probe.name)
		return error_nomem();
	for (size_t i = 0; shape->names[i]; i++)
		f->args[f->probe.nargs++] =
			(struct pp_arg){ .name = (char *)shape->names[i], .type = "", .class = PPN_CLASS_NONE };
	return 0;
}

/* The instruction at an address, +0x1234, whatever function it is in. */
static int make_at(const struct pp_image *image, const char *name, uint64_t address, struct function *f)
{
	uint64_t start, end;
	bool is_entry = image_code_range(image, address, &start, &end) && start == address;
	struct code_map *map = NULL;
	int err = begin(image, name, is_entry ? &entry : &middle, f);

	if (!err)
		err = code_map_new(image, &map);
	if (!err)
		err = code_map_begins(map, address);
	code_map_free(map);
	if (err)
		return err == -EINVAL ? -ENXIO : err;
	err = add_hit(&f->probe, address, 0);
	if (err)
		return err;
	if (!is_entry)
		f->probe.sites[0].operands = (char *)middle.operands;
	return read_code(image, f->probe.sites, 1);
}

static void put_name(FILE *out, const struct pp_image *image, uint64_t address)
{
	const char *name = image_function(image, address);

	if (name)
		fprintf(out, "%s:%s", FUNCTION_PROVIDER, name);
	else
		fprintf(out, "%s:0x%lx", FUNCTION_PROVIDER, (unsigned long)address);
}

/* The functions that a resolver may choose are those whose addresses it computes. */
static void put_implementations(FILE *out, const struct pp_image *image, uint64_t resolver)
{
	uint64_t addresses[ALIKE_MAX];
	size_t n = code_functions_named(image, resolver, addresses, ALIKE_MAX);

	fputs(n ? "; ask for what it chooses from:" : "; which functions it chooses from is not known", out);
	for (size_t i = 0; i < n; i++) {
		fputs(i ? ", " : " ", out);
		put_name(out, image, addresses[i]);
	}
}

/* An indirect function has no code but its resolver's, which runs once, before main(). */
static int make_ifunc(const struct pp_image *image, const char *name, const struct parts *parts, uint64_t resolver,
                      struct function *f)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);
	int err = begin(image, name, &entry, f);

	if (err || !out) {
		if (out)
			fclose(out);
		free(text);
		return err ? err : error_nomem();
	}
	fprintf(out, "'%s' of %s is an indirect function: its code is a resolver that chooses the function for calls",
	        parts->symbol, image->path);
	put_implementations(out, image, resolver);
	if (fclose(out)) {
		free(text);
		return error_nomem();
	}
	f->refused = text;
	f->resolver = resolver;
	err = add_hit(&f->probe, resolver, 0);
	return err ? err : read_code(image, f->probe.sites, 1);
}

static int make(const struct pp_image *image, const char *name, const struct parts *parts, uint64_t address,
                struct function *f)
{
	int err = begin(image, name, parts->is_return ? &leave : parts->offset ? &middle : &entry, f);

	if (err)
		return err;
	err = parts->is_return ? add_returns(&f->probe, address) : add_hit(&f->probe, address, parts->offset);
	if (err == -EOPNOTSUPP || err == -EINVAL) {
		f->refused = strdup(pp_error());
		err = f->refused ? add_hit(&f->probe, address, 0) : error_nomem();
	}
	return err ? err : read_code(image, f->probe.sites, f->probe.nsites);
}

/* Nothing is armed where it is not said which of several is meant: each is a site that is refused. */
static int make_ambiguous(const struct pp_image *image, const char *name, const uint64_t *addresses, size_t n,
                          struct function *f)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);
	int err = begin(image, name, &entry, f);

	if (err || !out) {
		if (out)
			fclose(out);
		free(text);
		return err ? err : error_nomem();
	}
	fprintf(out, "%s has several functions of this name; say which by its address:", image->path);
	for (size_t i = 0; i < n; i++) {
		char *written = image_function_written(image, addresses[i]);

		fprintf(out, "%s %s:0x%lx (%s)", i ? "," : "", FUNCTION_PROVIDER, (unsigned long)addresses[i],
		        written ? written : "?");
		free(written);
	}
	if (n == ALIKE_MAX)
		fputs(", and more", out);
	if (fclose(out) || !(f->probe.sites = calloc(n, sizeof(*f->probe.sites)))) {
		free(text);
		return error_nomem();
	}
	f->refused = text;
	f->probe.nsites = n;
	for (size_t i = 0; i < n; i++)
		site_set(&f->probe.sites[i], &f->probe, addresses[i], SITE_HIT, entry.operands);
	return read_code(image, f->probe.sites, n);
}

/* -ENXIO, and pp_error() says how many functions the glob matches; -ENOENT if none. */
static int find_glob(const struct pp_image *image, const char *glob)
{
	size_t total = pp_image_functions(image), n = 0, shown = 0, size;
	const char *last = "";
	char *text = NULL;
	FILE *out;

	if (!strpbrk(glob, "*?["))
		return -ENOENT;
	out = open_memstream(&text, &size);
	if (!out)
		return error_nomem();
	for (size_t i = 0; i < total; i++) {
		const char *name = pp_image_function(image, i);

		if (!name || fnmatch(glob, name, 0) || !strcmp(name, last))
			continue;
		last = name;
		n++;
		if (shown < SHOWN_MAX)
			fprintf(out, "%s %s:%s", shown++ ? "," : "", FUNCTION_PROVIDER, name);
	}
	if (fclose(out)) {
		free(text);
		return error_nomem();
	}
	if (n)
		error_set(ENXIO, "%s: takes the name of one function, not a glob; %zu of %s match:%s%s",
		          FUNCTION_PROVIDER, n, image->path, text, n > shown ? ", ..." : "");
	free(text);
	return n ? -ENXIO : -ENOENT;
}

/* 0x1130 is the function that begins at this address, as linked. */
static int find_address(const struct pp_image *image, const char *symbol, uint64_t *address)
{
	uint64_t start, end;
	const char *name;
	char *stop;

	*address = strtoull(symbol, &stop, 16);
	if (*stop)
		return error_set(ENOENT, "'%s' is not an address", symbol);
	name = image_code_range(image, *address, &start, &end);
	if (name && start == *address)
		return 0;
	if (name)
		return error_set(
			ENXIO, "no function of %s begins at %s: '%s' begins at 0x%lx; %s:+%s is the instruction there",
			image->path, symbol, name, (unsigned long)start, FUNCTION_PROVIDER, symbol);
	return error_set(ENXIO, "no function of %s is known at %s: neither its symbols nor its unwind tables have one",
	                 image->path, symbol);
}

static int find(const struct pp_image *image, const char *symbol, uint64_t *addresses, size_t *n)
{
	uint64_t address;
	int found;

	*n = 1;
	if (function_is_address(symbol))
		return find_address(image, symbol, addresses);
	found = image_functions_named(image, symbol, addresses, ALIKE_MAX);
	if (found > 0) {
		*n = (size_t)found;
		return 0;
	}
	if (!found && !image_symbol(image, symbol, &address))
		return error_set(ENXIO, "'%s' of %s is not a function", symbol, image->path);
	if (!found)
		found = find_glob(image, symbol);
	return found == -ENOENT ? error_set(ENOENT, "%s has no function '%s'", image->path, symbol) : found;
}

int function_probe(const struct pp_image *image, const char *name, struct pp_probe **probe)
{
	struct function *f;
	struct parts parts;
	uint64_t addresses[ALIKE_MAX], resolver;
	size_t n = 0;
	int err = take_apart(name, &parts);
	bool is_at = !err && !*parts.symbol;

	if (!err && !is_at)
		err = find(image, parts.symbol, addresses, &n);
	if (!err && (image->machine != EM_X86_64 || !image->is_64))
		err = error_set(EOPNOTSUPP, "%s: functions without notes are probed in 64-bit x86 programs only",
		                image->path);
	f = err ? NULL : calloc(1, sizeof(*f));
	if (!err && !f)
		err = error_nomem();
	if (!err && is_at)
		err = make_at(image, name, parts.offset, f);
	else if (!err && image_is_ifunc(image, parts.symbol, &resolver))
		err = make_ifunc(image, name, &parts, resolver, f);
	else if (!err)
		err = n > 1 ? make_ambiguous(image, name, addresses, n, f) : make(image, name, &parts, addresses[0], f);
	free(parts.symbol);
	if (err) {
		if (f)
			function_free(&f->probe);
		return err;
	}
	*probe = &f->probe;
	return 0;
}

char *function_chosen(const struct pp_probe *probe, const struct process *process)
{
	const struct pp_image *image = probe->image;
	uint64_t resolver = ((const struct function *)probe)->resolver, slot, value, bias, start, end;
	const struct mapping *m;
	char *text = NULL;
	size_t size;
	FILE *out;

	if (!resolver || !image_ifunc_slot(image, resolver, &slot))
		return NULL;
	m = process_mapping(process, image->device, image->inode, probe->sites[0].offset, NULL);
	if (!m)
		return NULL;
	bias = m->start + (probe->sites[0].offset - m->offset) - probe->sites[0].address;
	if (process_read(process, bias + slot, &value, sizeof(value)) ||
	    !image_code_range(image, value - bias, &start, &end) || start != value - bias)
		return NULL;
	out = open_memstream(&text, &size);
	if (!out)
		return NULL;
	put_name(out, image, value - bias);
	fclose(out);
	return text;
}

const char *function_refused(const struct pp_probe *probe)
{
	return ((const struct function *)probe)->refused;
}

void function_free(struct pp_probe *probe)
{
	if (!probe)
		return;
	free(probe->provider);
	free(probe->name);
	free(probe->sites);
	free(((struct function *)probe)->refused);
	free(probe);
}
