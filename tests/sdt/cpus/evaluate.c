/* SPDX-License-Identifier: MIT */
/*
 * evaluate FILE RECORDING EXPECTED: the reference interpreter runs the fetch program of each site that the recording of
 * record.py hits, with the recorded registers and memory. Each probe of EXPECTED must be hit, with its values. FILE may be of
 * any CPU that sdt/operand.h knows.
 */
#include <elf.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "runtime/fetch/program.h"
#include "sdt/image.h"
#include "sdt/operand.h"
#include "tests/unit/interpreter.h"

#define RANGES 4096

struct range {
	uint64_t start;
	size_t size;
	unsigned char *bytes;
};

struct recording {
	bool big, is_64;
	struct range fixed[RANGES], now[RANGES];
	size_t nfixed, nnow;
	uint64_t registers[64];
};

static const unsigned char *recording_byte(const struct recording *rec, uint64_t address)
{
	const struct range *lists[] = { rec->now, rec->fixed };
	size_t n[] = { rec->nnow, rec->nfixed };

	if (!rec->is_64)
		address = (uint32_t)address;
	for (int k = 0; k < 2; k++)
		for (size_t i = 0; i < n[k]; i++)
			if (address - lists[k][i].start < lists[k][i].size)
				return &lists[k][i].bytes[address - lists[k][i].start];
	return NULL;
}

/* The interpreter expects numbers as this machine stores them. */
static int recording_read(void *arg, uint64_t address, void *to, size_t size)
{
	const struct recording *rec = arg;
	unsigned char *bytes = to;

	memset(bytes, 0, size);
	for (size_t i = 0; i < size; i++) {
		const unsigned char *byte = recording_byte(rec, address + i);

		if (!byte)
			return -EFAULT;
		bytes[rec->big ? size - 1 - i : i] = *byte;
	}
	return 0;
}

static void ranges_add(struct range *list, size_t *n, char *text)
{
	char *hex;
	struct range *range = &list[*n];

	if (*n == RANGES)
		exit(2);
	range->start = strtoull(text, &hex, 16);
	hex += strspn(hex, " ");
	range->size = strcspn(hex, "\n") / 2;
	range->bytes = malloc(range->size + 1);
	for (size_t i = 0; i < range->size; i++)
		sscanf(hex + 2 * i, "%2hhx", &range->bytes[i]);
	++*n;
}

static void ranges_clear(struct recording *rec)
{
	while (rec->nnow)
		free(rec->now[--rec->nnow].bytes);
}

static const struct pp_site *site_at(const struct pp_image *image, uint64_t address)
{
	for (size_t i = 0; i < image->nprobes; i++)
		for (size_t k = 0; k < image->probes[i].nsites; k++)
			if (image->probes[i].sites[k].address == address)
				return &image->probes[i].sites[k];
	return NULL;
}

/* Compares a value with a word of EXPECTED. */
static bool value_is(const struct recording *rec, uint64_t value, bool is_signed, const char *want)
{
	char text[64];

	if (*want == '"') {
		char byte = 0;

		while (!recording_read((void *)rec, value++, &byte, 1) && byte && byte == want[1])
			want++;
		return !byte && !strcmp(want + 1, "\"");
	}
	snprintf(text, sizeof(text), is_signed ? "%" PRId64 : "%" PRIu64, value);
	return !strcmp(text, want);
}

static int unresolved; /* arguments at a local label */

/* Evaluates a hit. Returns the number of arguments that are wrong. */
static int hit_check(struct recording *rec, const struct pp_site *site, char *want)
{
	static union {
		struct record record;
		char room[RECORD_SIZE_MAX];
	} out;
	struct fetch_machine machine = { .registers = rec->registers, .read = recording_read, .arg = rec, .comm = "" };
	struct fetch_program program;
	int wrong = 0;

	if (fetch_compile(site, &program) || fetch_run(&program, &machine, &out.record) != 1) {
		printf("%s: \"%s\" cannot be evaluated: %s\n", site->probe->name, site->operands, pp_error());
		return 1;
	}
	for (size_t i = 0; i < program.nargs; i++) {
		static const char local[] = "a local label, which no symbol table has";
		char *word = strtok(i ? NULL : want, " \n");
		bool fault = out.record.faults >> i & 1;

		/* GCC's section anchors have local labels, which no reader can find. They must be refused as such. */
		if (word && program.kind[i] == PP_FAULT && strstr(pp_error(), local)) {
			unresolved++;
			continue;
		}
		if (word && !fault && value_is(rec, out.record.value[i], program.kind[i] == PP_SIGNED, word))
			continue;
		printf("%s: argument %zu of \"%s\": %s%#" PRIx64 ", not %s\n", site->probe->name, i, site->operands,
		       fault ? "fault, " : "", out.record.value[i], word ? word : "expected");
		wrong++;
	}
	if (strtok(NULL, " \n")) {
		printf("%s: \"%s\" has too few operands\n", site->probe->name, site->operands);
		wrong++;
	}
	fetch_release(&program);
	return wrong;
}

static void register_set(struct recording *rec, const struct cpu *cpu, const char *name, uint64_t value)
{
	if (!strcmp(name, "pc"))
		rec->registers[cpu->pc] = value;
	for (size_t i = 0; i < cpu->nregisters; i++)
		if (!strcmp(cpu->registers[i].name, name) && !cpu->registers[i].shift &&
		    cpu->registers[i].number != cpu->pc)
			rec->registers[cpu->registers[i].number] = value;
}

/* Finds the line of the probe in EXPECTED and copies its values. */
static bool expected_find(FILE *expected, const char *name, char *want, size_t room)
{
	char line[4096];
	size_t n = strlen(name);

	rewind(expected);
	while (fgets(line, sizeof(line), expected))
		if (!strncmp(line, name, n) && line[n] == ' ') {
			snprintf(want, room, "%s", line + n + 1);
			return true;
		}
	return false;
}

int main(int argc, char **argv)
{
	static struct recording rec;
	static char line[1 << 16], want[4096];
	const struct pp_site *site = NULL;
	struct pp_image *image;
	const struct cpu *cpu;
	FILE *in, *expected;
	int hits = 0, wrong = 0, lines = 0;
	unsigned char ident[EI_NIDENT];

	if (argc != 4 || pp_image_open(argv[1], &image)) {
		fprintf(stderr, "%s\n", pp_error());
		return 2;
	}
	cpu = cpu_of(image->machine, image->is_64);
	in = fopen(argv[1], "r");
	if (!in || !cpu || fread(ident, sizeof(ident), 1, in) != 1)
		return 2;
	fclose(in);
	rec.big = ident[EI_DATA] == ELFDATA2MSB;
	rec.is_64 = image->is_64;
	in = fopen(argv[2], "r");
	expected = fopen(argv[3], "r");
	if (!in || !expected)
		return 2;
	for (bool more = true; more;) {
		char name[32];
		uint64_t value;

		more = fgets(line, sizeof(line), in);
		if (!more || !strncmp(line, "hit ", 4)) {
			if (site && (!expected_find(expected, site->probe->name, want, sizeof(want)) ||
			             hit_check(&rec, site, want)))
				wrong++;
			ranges_clear(&rec);
			memset(rec.registers, 0, sizeof(rec.registers));
			site = NULL;
			if (more) {
				site = site_at(image, strtoull(line + 4, NULL, 16));
				hits++;
				wrong += !site;
			}
		} else if (!strncmp(line, "mem ", 4)) {
			ranges_add(hits ? rec.now : rec.fixed, hits ? &rec.nnow : &rec.nfixed, line + 4);
		} else if (sscanf(line, "reg %31s %" SCNx64, name, &value) == 2) {
			register_set(&rec, cpu, name, value);
		}
	}
	rewind(expected);
	while (fgets(line, sizeof(line), expected))
		lines++;
	printf("%d hits of %d probes, %d wrong, %d arguments at local labels\n", hits, lines, wrong, unresolved);
	return wrong || hits != lines;
}
