/* SPDX-License-Identifier: MIT */
#include "runtime/uretprobe.h"

#include <errno.h>
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "runtime/process.h"
#include "sdt/image.h"

/* Names of libraries that unwind stacks, or whose programs are run by a runtime that does. */
static const char *const unwinders[] = {
	"libstdc++.so*", "libgcc_s.so*",   "libunwind*.so*", "libc++abi.so*",  "libc++.so*",
	"libobjc.so*",   "libgo.so*",      "libgnat-*.so*",  "libgphobos.so*", "libphobos2.so*",
	"libjvm.so*",    "libmono*.so*",   "libcoreclr.so*", "libnode.so*",    "libv8.so*",
	"libruby*.so*",  "libpython*.so*", "libluajit*.so*", "libstd-*.so*",   "libLLVM*.so*",
};

/* Functions of unwinders and runtimes that are linked into the program. */
static const char *const functions[] = { "_Unwind_RaiseException", "_Unwind_Backtrace", "runtime.goexit", "caml_main" };

struct unwinder_search {
	char *found;
};

static int search_library(const char *path, const char *name, void *arg)
{
	struct unwinder_search *search = arg;
	const char *base = strrchr(name, '/');

	(void)path;
	base = base ? base + 1 : name;
	for (size_t i = 0; i < sizeof(unwinders) / sizeof(*unwinders); i++)
		if (!fnmatch(unwinders[i], base, 0)) {
			search->found = strdup(base);
			return 1;
		}
	return 0;
}

static void search_program(struct unwinder_search *search, pid_t pid)
{
	const char *none = "none:none"; /* no probe is needed */
	struct pp_image *image;
	uint64_t address;
	char path[32];

	snprintf(path, sizeof(path), "/proc/%d/exe", pid);
	if (pp_image_open_matching(path, &none, 1, PP_IMAGE_COUNTS, &image))
		return;
	for (size_t i = 0; i < sizeof(functions) / sizeof(*functions) && !search->found; i++) {
		int err = image_symbol(image, functions[i], &address);

		if (!err || err == -EEXIST)
			search->found = error_format("%s() of the program", functions[i]);
	}
	pp_image_free(image);
}

char *uretprobe_refused(const struct process *process)
{
	struct unwinder_search search = { NULL };
	char *reason;

	if (!process)
		return strdup("--uretprobe needs the processes (-p), because it ends programs whose stack is unwound "
		              "meanwhile; leave it out");
	if (process->is_command)
		return strdup("--uretprobe needs a running process (-p), whose libraries are known; leave it out");
	pp_process_images(process->pid, search_library, &search);
	if (!search.found)
		search_program(&search, process->pid);
	if (!search.found)
		return NULL;
	reason = error_format("pid %d has %s, which unwinds stacks: an exception or a backtrace in a function with a "
	                      "uretprobe would end the program; leave out --uretprobe",
	                      process->pid, search.found);
	free(search.found);
	return reason;
}
