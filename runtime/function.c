/* SPDX-License-Identifier: MIT */
#include "runtime/function.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "runtime/abi.h"
#include "runtime/disasm.h"
#include "runtime/function-name.h"
#include "runtime/function-parameters.h"
#include "runtime/process.h"
#include "sdt/image.h"

struct function {
	struct pp_probe probe; /* must be first: callers have a pointer to this */
	struct pp_arg args[ABI_SHAPE_ARGS_MAX];
	const struct abi *abi;            /* of the image */
	struct function_parameters known; /* operands NULL: DWARF does not describe the parameters */
	char *refused;
	uint64_t resolver; /* of an indirect function; 0 for others */
	bool uretprobe;    /* the request wants the ends of calls by a uretprobe */
};

/* Sets the file offset and the bytes of a site. fd is the image's file. */
static int site_read(const struct pp_image *image, int fd, struct pp_site *site)
{
	int err = image_offset(image, site->address, &site->offset);

	if (err)
		return err;
	if (pread(fd, site->code, sizeof(site->code), (off_t)site->offset) < 1)
		return error_set(EIO, "'%s': cannot read offset 0x%lx", image->path, (unsigned long)site->offset);
	return 0;
}

static int sites_read(const struct pp_image *image, struct pp_site *sites, size_t n)
{
	int fd = image_reopen(image), err = 0;

	if (fd < 0)
		return fd;
	for (size_t i = 0; i < n && !err; i++)
		err = site_read(image, fd, &sites[i]);
	close(fd);
	return err;
}

static void site_init(struct pp_site *site, const struct pp_probe *probe, uint64_t address, enum site_role role,
                      const char *operands)
{
	*site = (struct pp_site){
		.probe = probe, .address = address, .operands = (char *)operands, .function = probe->name, .role = role
	};
}

/* Adds the entry, then the exits. */
static int function_add_call_sites(struct function *f, uint64_t address)
{
	struct pp_probe *probe = &f->probe;
	const char *leave = f->known.operands ? f->known.operands : f->abi->leave.operands;
	const char *leave_by_jump = f->known.operands ? f->known.operands_by_jump : f->abi->leave_by_jump;
	struct code_exit *exits;
	size_t n;
	int err = code_exits(probe->image, address, &exits, &n);

	if (err)
		return err;
	probe->sites = calloc(n + 1, sizeof(*probe->sites));
	for (size_t i = 0; i < n && probe->sites; i++)
		site_init(&probe->sites[i + 1], probe, exits[i].address, SITE_LEAVE,
		          exits[i].tail ? leave_by_jump : leave);
	free(exits);
	if (!probe->sites)
		return error_nomem();
	site_init(&probe->sites[0], probe, code_entry(probe->image, address), SITE_CALL, "");
	probe->sites[0].skipped = (uint8_t)(probe->sites[0].address - address);
	probe->nsites = n + 1;
	return 0;
}

/* Adds the entry, for the begin and, by a uretprobe, for the end. */
static int function_add_uretprobe_sites(struct function *f, uint64_t address)
{
	const char *operands = f->known.operands ? f->known.operands : f->abi->leave.operands;
	struct pp_probe *probe = &f->probe;

	probe->sites = calloc(2, sizeof(*probe->sites));
	if (!probe->sites)
		return error_nomem();
	probe->nsites = 2;
	for (int i = 0; i < 2; i++) {
		site_init(&probe->sites[i], probe, code_entry(probe->image, address), i ? SITE_LEAVE : SITE_CALL,
		          i ? operands : "");
		probe->sites[i].skipped = (uint8_t)(probe->sites[i].address - address);
		probe->sites[i].by_return = i;
	}
	return 0;
}

static int function_add_hit_sites(struct function *f, const uint64_t *addresses, size_t n, const char *operands)
{
	f->probe.sites = calloc(n, sizeof(*f->probe.sites));
	if (!f->probe.sites)
		return error_nomem();
	f->probe.nsites = n;
	for (size_t i = 0; i < n; i++)
		site_init(&f->probe.sites[i], &f->probe, addresses[i], SITE_HIT, operands);
	return 0;
}

static int function_add_entry_site(struct function *f, uint64_t address)
{
	const uint64_t at = code_entry(f->probe.image, address);
	const char *operands = f->known.operands ? f->known.operands : f->abi->entry.operands;
	int err = function_add_hit_sites(f, &at, 1, operands);

	if (!err)
		f->probe.sites[0].skipped = (uint8_t)(at - address);
	return err;
}

static int function_add_middle_site(struct function *f, uint64_t address, uint64_t offset)
{
	uint64_t at = address + offset;
	int err = code_boundary(f->probe.image, address, offset);

	return err ? err : function_add_hit_sites(f, &at, 1, f->abi->middle.operands);
}

static int function_init(struct function *f, const struct pp_image *image, const char *name,
                         const struct abi_shape *shape)
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

/* Makes the probe of +0x1134, in whatever function that address is. */
static int function_make_instruction(struct function *f, const struct pp_image *image, const char *name,
                                     uint64_t address)
{
	uint64_t start, end;
	bool is_entry = image_code_range(image, address, &start, &end) && start == address;
	const struct abi_shape *shape = is_entry ? &f->abi->entry : &f->abi->middle;
	struct code_map *map = NULL;
	int err = function_init(f, image, name, shape);

	if (err)
		return err;
	err = code_map_new(image, &map);
	if (err)
		return err;
	err = code_map_begins(map, address);
	code_map_free(map);
	if (err)
		return err == -EINVAL ? -ENXIO : err;
	err = function_add_hit_sites(f, &address, 1, shape->operands);
	return err ? err : sites_read(image, f->probe.sites, 1);
}

/* Replaces the registers of the calling convention by the parameters, if DWARF describes them. */
static int function_name_parameters(struct function *f, uint64_t address, bool is_return)
{
	int err = function_parameters(f->probe.image, address, f->abi, is_return, &f->known);

	if (!err) {
		f->probe.args = f->known.args;
		f->probe.nargs = f->known.nargs;
		return 0;
	}
	function_parameters_free(&f->known);
	f->known = (struct function_parameters){ 0 };
	return err == -ENOENT ? 0 : err;
}

static int function_make_named(struct function *f, const struct pp_image *image, const char *name,
                               const struct function_parts *parts, uint64_t address)
{
	const struct abi_shape *shape = parts->is_return ? &f->abi->leave
	                                : parts->offset  ? &f->abi->middle
	                                                 : &f->abi->entry;
	int err = function_init(f, image, name, shape);

	if (err)
		return err;
	err = parts->offset ? 0 : function_name_parameters(f, address, parts->is_return);
	if (err)
		return err;
	if (parts->is_return && f->uretprobe)
		err = function_add_uretprobe_sites(f, address);
	else if (parts->is_return)
		err = function_add_call_sites(f, address);
	else if (parts->offset)
		err = function_add_middle_site(f, address, parts->offset);
	else
		err = function_add_entry_site(f, address);
	if (err == -EOPNOTSUPP || err == -EINVAL) {
		f->refused = strdup(pp_error());
		err = f->refused ? function_add_hit_sites(f, &address, 1, f->abi->entry.operands) : error_nomem();
	}
	return err ? err : sites_read(image, f->probe.sites, f->probe.nsites);
}

/* Makes a probe that is refused for the reason that *out has the text of. Closes out, and owns its text. */
static int function_make_refused(struct function *f, const struct pp_image *image, const char *name,
                                 const uint64_t *addresses, size_t n, FILE *out, char **text)
{
	int err = function_init(f, image, name, &f->abi->entry);

	if (fclose(out) && !err)
		err = error_nomem();
	f->refused = *text;
	if (err)
		return err;
	err = function_add_hit_sites(f, addresses, n, f->abi->entry.operands);
	return err ? err : sites_read(image, f->probe.sites, n);
}

static void print_function(FILE *out, const struct pp_image *image, uint64_t address)
{
	const char *name = image_function(image, address);

	if (name)
		fprintf(out, "%s:%s", FUNCTION_PROVIDER, name);
	else
		fprintf(out, "%s:0x%lx", FUNCTION_PROVIDER, (unsigned long)address);
}

/* An indirect function has no code but that of its resolver, which runs once, before main(). */
static int function_make_indirect(struct function *f, const struct pp_image *image, const char *name,
                                  const char *symbol, uint64_t resolver)
{
	uint64_t addresses[FUNCTION_ALIKE_MAX];
	size_t n = code_functions_named(image, resolver, addresses, FUNCTION_ALIKE_MAX), size;
	char *text = NULL;
	FILE *out = open_memstream(&text, &size);

	if (!out)
		return error_nomem();
	fprintf(out, "'%s' of '%s' is an indirect function: its code is a resolver that chooses the function to call",
	        symbol, image->path);
	/* The resolver chooses from the functions whose addresses it computes. */
	fputs(n ? "; name one of these:" : "; the functions that it chooses from are not known", out);
	for (size_t i = 0; i < n; i++) {
		fputs(i ? ", " : " ", out);
		print_function(out, image, addresses[i]);
	}
	f->resolver = resolver;
	return function_make_refused(f, image, name, &resolver, 1, out, &text);
}

/* Makes a probe for a name that several functions have. None is armed, because the request does not say which it means. */
static int function_make_ambiguous(struct function *f, const struct pp_image *image, const char *name,
                                   const uint64_t *addresses, size_t n)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	if (!out)
		return error_nomem();
	fprintf(out, "%s has several functions with this name; name one by its address:", image->path);
	for (size_t i = 0; i < n; i++) {
		char *written = image_function_written(image, addresses[i]);

		fprintf(out, "%s %s:0x%lx (%s)", i ? "," : "", FUNCTION_PROVIDER, (unsigned long)addresses[i],
		        written ? written : "?");
		free(written);
	}
	if (n == FUNCTION_ALIKE_MAX)
		fputs(", and more", out);
	return function_make_refused(f, image, name, addresses, n, out, &text);
}

static int function_no_abi(const struct pp_image *image)
{
	return error_set(EOPNOTSUPP,
	                 "'%s': functions without notes can only be probed in 64-bit programs of x86 and ARM",
	                 image->path);
}

static int function_make(struct function *f, const struct pp_image *image, const char *name,
                         const struct function_parts *parts)
{
	uint64_t addresses[FUNCTION_ALIKE_MAX], resolver;
	bool is_address = !*parts->symbol;
	size_t n = 0;
	int err = is_address ? 0 : function_find(image, parts->symbol, addresses, &n);

	if (err)
		return err;
	f->abi = image->is_64 ? abi_of(image->machine) : NULL;
	if (!f->abi)
		return function_no_abi(image);
	if (is_address)
		return function_make_instruction(f, image, name, parts->offset);
	if (image_is_ifunc(image, parts->symbol, &resolver))
		return function_make_indirect(f, image, name, parts->symbol, resolver);
	if (n > 1)
		return function_make_ambiguous(f, image, name, addresses, n);
	return function_make_named(f, image, name, parts, addresses[0]);
}

int function_probe(const struct pp_image *image, const char *name, bool uretprobe, struct pp_probe **probe)
{
	struct function *f = calloc(1, sizeof(*f));
	struct function_parts parts;
	int err;

	if (!f)
		return error_nomem();
	f->uretprobe = uretprobe;
	err = function_split(name, &parts);
	if (!err)
		err = function_make(f, image, name, &parts);
	free(parts.symbol);
	if (err)
		function_free(&f->probe);
	else
		*probe = &f->probe;
	return err;
}

int function_probe_at(const struct pp_image *image, const char *name, uint64_t address, bool is_return, bool uretprobe,
                      struct pp_probe **probe)
{
	struct function *f = calloc(1, sizeof(*f));
	const struct function_parts parts = { .is_return = is_return };
	int err;

	if (!f)
		return error_nomem();
	f->uretprobe = uretprobe;
	f->abi = image->is_64 ? abi_of(image->machine) : NULL;
	err = f->abi ? function_make_named(f, image, name, &parts, address) : function_no_abi(image);
	if (err)
		function_free(&f->probe);
	else
		*probe = &f->probe;
	return err;
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
	print_function(out, image, value - bias);
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
	function_parameters_free(&((struct function *)probe)->known);
	free(probe);
}
