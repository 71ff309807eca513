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
	struct elf elf = { .is_32 = i & 1, .big = i & 2, .type = i & 4 ? ET_EXEC : ET_DYN };
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
	for (int i = 0; directory && i < 8; i++)
		seed(directory, i);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct elf elf;
	struct operand operands[OPERANDS_MAX];
	struct pp_image *image;
	uint64_t value;
	int err;

	elf.file = (struct bytes){ (unsigned char *)data, size };
	err = pp_image_open(elf_write(&elf, size), &image);
	if (err)
		return 0;
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
