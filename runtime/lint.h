/* SPDX-License-Identifier: MIT */
/*
 * Finds faults of the probes in a file that keep tools from arming them or from reading their arguments. doc/linting.md
 * explains each code. lint.c reads the file and calls the checks in the other files, which call lint-report.c.
 */
#ifndef RUNTIME_LINT_H
#define RUNTIME_LINT_H

#include "sdt/elf-file.h"
#include "sdt/image.h"
#include "sdt/notes.h"

struct lint {
	const struct elf_file *file;
	const struct pp_image *image;
	const struct note *notes; /* sorted by probe, then by location */
	size_t n;
	uint64_t base; /* address of .stapsdt.base; 0: none */
	int (*fn)(const struct pp_finding *finding, void *arg);
	void *arg;
	int stopped; /* what fn returned */
};

/* Reports a fault of a note. The reason is formatted. */
__attribute__((format(printf, 5, 6))) void lint_report(struct lint *lint, const struct note *note, const char *code,
                                                       const char *advice, const char *reason, ...);

/* Returns the address that the location, or semaphore, of a note has in the file. */
uint64_t lint_address(const struct lint *lint, const struct note *note, uint64_t address);

/* Report the faults of one note: its place and base, its semaphore, its name and operands, the code at its location. */
void lint_place(struct lint *lint, const struct note *note);
void lint_semaphore(struct lint *lint, const struct note *note);
void lint_operands(struct lint *lint, const struct note *note);
void lint_code(struct lint *lint, const struct note *note);

/* Report the faults that several notes have together. */
void lint_probes(struct lint *lint);
void lint_semaphores(struct lint *lint);
void lint_locations(struct lint *lint);

#endif
