/* SPDX-License-Identifier: MIT */
#include "runtime/function.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sdt/error.h"
#include "sdt/image.h"

/* System V ABI, AMD64 supplement, 3.2.3 */
static const char operands_x86_64[] = "8@%rdi 8@%rsi 8@%rdx 8@%rcx 8@%r8 8@%r9";
#define NARGS 6

struct function {
	struct pp_probe probe; /* the first: function_free() gets this */
	struct pp_site site;
	struct pp_arg args[NARGS];
	char argument_names[NARGS][8];
};

const char *function_name(const char *pattern)
{
	size_t n = strlen(FUNCTION_PROVIDER);

	return !strncmp(pattern, FUNCTION_PROVIDER, n) && pattern[n] == ':' && pattern[n + 1] ? pattern + n + 1 : NULL;
}

static int read_code(const struct pp_image *image, struct pp_site *site)
{
	int fd = open(image->path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	int err = 0;

	if (fd < 0)
		return error_set(errno, "%s: %s", image->path, strerror(errno));
	if (fstat(fd, &st) || st.st_dev != image->device || st.st_ino != image->inode)
		err = error_set(ESTALE, "%s was replaced by another file meanwhile: look at it again", image->path);
	else if (pread(fd, site->code, sizeof(site->code), (off_t)site->offset) < 1)
		err = error_set(EIO, "%s: cannot read offset 0x%lx", image->path, (unsigned long)site->offset);
	close(fd);
	return err;
}

int function_probe(const struct pp_image *image, const char *name, struct pp_probe **probe)
{
	struct function *f;
	uint64_t address;
	int err;

	if (strpbrk(name, "+%"))
		return error_set(EINVAL, "'func:%s': offsets and returns cannot be armed by this version", name);
	err = image_symbol(image, name, &address);
	if (err)
		return err;
	if (image->machine != EM_X86_64 || !image->is_64)
		return error_set(EOPNOTSUPP, "%s: probes are armed in 64-bit x86 programs only", image->path);
	if (!image_function(image, address))
		return error_set(EINVAL, "'%s' is no function of %s", name, image->path);
	f = calloc(1, sizeof(*f));
	if (!f)
		return error_set(ENOMEM, "out of memory");
	f->probe = (struct pp_probe){ .image = image, .provider = strdup(FUNCTION_PROVIDER), .name = strdup(name),
	                              .args = f->args, .nargs = NARGS, .sites = &f->site, .nsites = 1 };
	f->site = (struct pp_site){ .probe = &f->probe, .address = address, .operands = (char *)operands_x86_64,
	                            .function = f->probe.name };
	for (int i = 0; i < NARGS; i++) {
		snprintf(f->argument_names[i], sizeof(f->argument_names[i]), "arg%d", i);
		f->args[i] = (struct pp_arg){ .name = f->argument_names[i], .type = "", .class = PPN_CLASS_NONE };
	}
	err = f->probe.provider && f->probe.name ? image_offset(image, address, &f->site.offset)
	                                         : error_set(ENOMEM, "out of memory");
	if (!err)
		err = read_code(image, &f->site);
	if (err) {
		function_free(&f->probe);
		return err;
	}
	*probe = &f->probe;
	return 0;
}

void function_free(struct pp_probe *probe)
{
	if (!probe)
		return;
	free(probe->provider);
	free(probe->name);
	free(probe);
}
