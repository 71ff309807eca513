/* SPDX-License-Identifier: MIT */
#include "runtime/function.h"

#include <elf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "runtime/code.h"
#include "sdt/error.h"
#include "sdt/image.h"

#define NARGS_MAX 16
#define ALIKE_MAX 16 /* functions of one name that are told of */

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
	{ "rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "rsp", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15" },
	"8@%rax 8@%rbx 8@%rcx 8@%rdx 8@%rsi 8@%rdi 8@%rbp 8@%rsp "
	"8@%r8 8@%r9 8@%r10 8@%r11 8@%r12 8@%r13 8@%r14 8@%r15",
};

static const char returns[] = "%return";

struct function {
	struct pp_probe probe; /* the first: function_free() gets this */
	struct pp_arg args[NARGS_MAX];
	char *refused;
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
			err = error_set(EIO, "%s: cannot read offset 0x%lx", image->path, (unsigned long)sites[i].offset);
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
		return error_set(ENOMEM, "out of memory");
	if (length > tail && !strcmp(name + length - tail, returns)) {
		parts->is_return = true;
		parts->symbol[length - tail] = 0;
	}
	/* A demangled name may hold either in its middle: operator+(a, b). */
	percent = strrchr(parts->symbol, '%');
	if (percent && !strchr(percent, ')'))
		return error_set(EINVAL, "'%s:%s': only %s can stand behind a symbol and a %%", FUNCTION_PROVIDER, name, returns);
	plus = strrchr(parts->symbol, '+');
	if (!plus || plus[1] < '0' || plus[1] > '9')
		return 0;
	errno = 0;
	parts->offset = strtoull(plus + 1, &end, 0);
	if (errno || *end)
		return error_set(EINVAL, "'%s:%s': '%s' is no offset", FUNCTION_PROVIDER, name, plus + 1);
	if (parts->is_return && parts->offset)
		return error_set(EINVAL, "'%s:%s': a function is left where it is left, at no offset", FUNCTION_PROVIDER, name);
	*plus = 0;
	return 0;
}

static void site_set(struct pp_site *site, const struct pp_probe *probe, uint64_t address, enum site_role role,
                     const char *operands)
{
	*site = (struct pp_site){ .probe = probe, .address = address, .operands = (char *)operands,
	                          .function = probe->name, .role = role };
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
		return error_set(ENOMEM, "out of memory");
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
		return error_set(ENOMEM, "out of memory");
	site_set(&probe->sites[0], probe, address + offset, SITE_HIT, offset ? middle.operands : entry.operands);
	probe->nsites = 1;
	return 0;
}

static int begin(const struct pp_image *image, const char *name, const struct shape *shape, struct function *f)
{
	f->probe = (struct pp_probe){ .image = image, .provider = strdup(FUNCTION_PROVIDER), .name = strdup(name),
	                              .args = f->args };
	if (!f->probe.provider || !f->probe.name)
		return error_set(ENOMEM, "out of memory");
	for (size_t i = 0; shape->names[i]; i++)
		f->args[f->probe.nargs++] = (struct pp_arg){ .name = (char *)shape->names[i], .type = "",
		                                             .class = PPN_CLASS_NONE };
	return 0;
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
		err = f->refused ? add_hit(&f->probe, address, 0) : error_set(ENOMEM, "out of memory");
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

	if (err || !out)
		return err ? err : error_set(ENOMEM, "out of memory");
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
		return error_set(ENOMEM, "out of memory");
	}
	f->refused = text;
	f->probe.nsites = n;
	for (size_t i = 0; i < n; i++)
		site_set(&f->probe.sites[i], &f->probe, addresses[i], SITE_HIT, entry.operands);
	return read_code(image, f->probe.sites, n);
}

/* 0x1130 is the function that begins at this address, as linked. */
static int find(const struct pp_image *image, const char *symbol, uint64_t *addresses, size_t *n)
{
	uint64_t start, end, address;
	char *stop;
	int found;

	if (symbol[0] == '0' && (symbol[1] == 'x' || symbol[1] == 'X')) {
		address = strtoull(symbol, &stop, 16);
		if (*stop || !image_function_range(image, address, &start, &end) || start != address)
			return error_set(ENOENT, "no function of %s begins at %s", image->path, symbol);
		addresses[0] = address;
		*n = 1;
		return 0;
	}
	found = image_functions_named(image, symbol, addresses, ALIKE_MAX);
	if (found > 0) {
		*n = (size_t)found;
		return 0;
	}
	if (!found && !image_symbol(image, symbol, &address))
		return error_set(EINVAL, "'%s' is no function of %s", symbol, image->path);
	return found ? found : error_set(ENOENT, "%s has no function '%s'", image->path, symbol);
}

int function_probe(const struct pp_image *image, const char *name, struct pp_probe **probe)
{
	struct function *f;
	struct parts parts;
	uint64_t addresses[ALIKE_MAX];
	size_t n = 0;
	int err = take_apart(name, &parts);

	if (!err)
		err = find(image, parts.symbol, addresses, &n);
	if (!err && (image->machine != EM_X86_64 || !image->is_64))
		err = error_set(EOPNOTSUPP, "%s: functions without notes are probed in 64-bit x86 programs only", image->path);
	f = err ? NULL : calloc(1, sizeof(*f));
	if (!err && !f)
		err = error_set(ENOMEM, "out of memory");
	if (!err)
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
