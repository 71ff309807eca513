/* SPDX-License-Identifier: MIT */
/*
 * A libFuzzer target (tests/fuzz/run.sh): opens the input as an image and reads all that
 * is in it. If the environment has SEEDS=DIR, it first writes valid files to DIR, with
 * which the corpus begins.
 */
#include "base/error.h"
#include "sdt/image.h"
#include "sdt/operand.h"
#include "tests/unit/elf.h"

#include <fcntl.h>

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void seed(const char *directory, int i)
{
	struct elf elf = { .is_32 = i & 1, .big = i & 2, .type = i & 8 ? ET_REL : i & 4 ? ET_EXEC : ET_DYN };
	char path[512];
	size_t start;
	int fd;

	elf_note(&elf, CODE, BASE, DATA, "p", "f__entry", "-4@%edi 8@-16(%rbp) 8@g+4(%rip)");
	elf_note(&elf, CODE + 2, BASE, 0, "p", "f__return", "8@$7");
	elf_signature(&elf, ppn_key("p", "f"), 10, PPN_KIND_FUNCTION, 0, "f.c", "", "i:int",
	              (const char *[]){ "ia:int", "sb:char *", "pc:int (*)(int)", NULL });
	start = elf_signature(&elf, ppn_key("q", "f"), 11, PPN_KIND_PROBE, 0, "h.c", "", NULL,
	                      (const char *[]){ "ia:int", NULL });
	elf_signatures(&elf, start, "h.c");
	elf_site(&elf, CODE + 2, 12, PPN_FLAG_TAIL);
	elf_symbol(&elf, "f", CODE, 3, ELF64_ST_INFO(STB_GLOBAL, STT_FUNC));
	elf_symbol(&elf, "g", DATA, 8, ELF64_ST_INFO(STB_GLOBAL, STT_OBJECT));
	elf_finish(&elf);
	snprintf(path, sizeof(path), "%s/seed-%d", directory, i);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0 || write(fd, elf.file.data, elf.file.n) != (ssize_t)elf.file.n)
		perror(path);
	if (fd >= 0)
		close(fd);
	elf_free(&elf);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	const char *directory = getenv("SEEDS");

	(void)argc;
	(void)argv;
	for (int i = 0; directory && i < 12; i++)
		seed(directory, i);
	return 0;
}

/* Counts the probes and sites of an image that one of the patterns matches. */
static size_t count(const struct pp_image *image, const char *const *patterns, size_t n, size_t *sites)
{
	size_t probes = 0;

	*sites = 0;
	for (size_t i = 0; i < pp_image_probes(image); i++) {
		const struct pp_probe *probe = pp_image_probe(image, i);
		bool matches = !n;

		for (size_t k = 0; k < n; k++)
			matches |= pp_probe_matches(probe, patterns[k]);
		probes += matches;
		*sites += matches ? pp_probe_sites(probe) : 0;
	}
	return probes;
}

/* Reads the file with patterns that its size and last bytes choose: they must find what the whole image has. */
static void read_matching(const char *path, const struct pp_image *all, const uint8_t *data, size_t size)
{
	static const char *const choice[] = { "*",        "p:*", "*:f*",   "p:f__entry", "[!p]*:*",
		                              "*:*[n-y]", "?:?", "p:f__[", "\\p:f__*",   "[p-]*:f*",
		                              "q:*",      "p",   "*:",     "p:f__entr?" };
	const char *patterns[3];
	size_t n = size ? 1 + data[size - 1] % 3 : 1, sites[2], probes[2];

	for (size_t k = 0; k < n; k++)
		patterns[k] = choice[(size + (size > k ? data[size - 1 - k] : 0)) % (sizeof(choice) / sizeof(*choice))];
	for (unsigned flags = 0; flags < 2; flags++) {
		struct pp_image *some;

		if (pp_image_open_matching(path, patterns, n, flags ? PP_IMAGE_COUNTS : 0, &some))
			abort();
		probes[0] = count(all, patterns, n, &sites[0]);
		probes[1] = count(some, patterns, n, &sites[1]);
		if (probes[0] != probes[1] || sites[0] != sites[1])
			abort();
		if (pp_image_probes(some) > pp_image_probes(all))
			abort();
		pp_image_free(some);
	}
}

static int finding_read(const struct pp_finding *finding, void *arg)
{
	*(size_t *)arg += strlen(finding->reason) + strlen(finding->advice) + strlen(finding->code);
	return 0;
}

static int member_open(const char *path, void *arg)
{
	struct pp_image *image;

	(void)arg;
	if (!pp_image_open(path, &image))
		pp_image_free(image);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct elf elf;
	const char *path;
	size_t findings = 0;
	struct operand operands[OPERANDS_MAX];
	struct pp_image *image;
	uint64_t value;
	int err;

	elf.file = (struct bytes){ (unsigned char *)data, size };
	path = elf_write(&elf, size);
	err = pp_image_open(path, &image);
	if (err) {
		pp_archive_members(path, member_open, NULL);
		return 0;
	}
	read_matching(path, image, data, size);
	if (pp_image_check(path, finding_read, &findings))
		abort();
	for (size_t i = 0; i < pp_image_probes(image); i++) {
		const struct pp_probe *probe = pp_image_probe(image, i);

		pp_probe_matches(probe, "p*:*[a-f]");
		for (size_t j = 0; j < pp_probe_args(probe); j++)
			if (!*pp_arg_name(pp_probe_arg(probe, j)))
				abort();
		for (size_t j = 0; j < pp_probe_sites(probe); j++) {
			const struct pp_site *site = pp_probe_site(probe, j);

			if (pp_site_offset(site) >= size || (pp_site_semaphore(site, &value) && value >= size))
				abort();
			operands_parse(image, pp_site_operands(site), operands);
		}
	}
	image_symbol(image, "g", &value);
	for (size_t i = 0; i < pp_image_functions(image); i++)
		pp_image_function(image, i);
	for (uint64_t at = 0; at < 0x2000; at += 0x3f) {
		uint64_t start, end;

		if (image_code_start(image, at, &start) && start > at)
			abort();
		if (image_code_range(image, at, &start, &end) && start > at)
			abort();
		image_ifunc_slot(image, at, &value);
	}
	pp_image_free(image);
	return 0;
}
