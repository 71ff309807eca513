/* SPDX-License-Identifier: MIT */
#include <check.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "runtime/manifest.h"
#include "runtime/fetch/program.h"
#include "sdt/image.h"

static struct pp_arg open_args[] = {
	{ .name = "path", .type = "const char *", .class = 's' },
	{ .name = "flags", .type = "int", .class = 'i' },
};
static struct pp_arg close_args[] = { { .name = "fd", .type = "int", .class = 'i' } };
static struct pp_probe open_probe = { .provider = "io", .name = "open", .args = open_args, .nargs = 2 };
static struct pp_probe close_probe = { .provider = "io", .name = "close", .args = close_args, .nargs = 1 };
static struct pp_image image = { .path = "/bin/it", .build_id = "c0ffee", .device = 41, .inode = 7000000001 };
static struct pp_image library = { .path = "/lib/it.so", .build_id = "", .device = 41, .inode = 7000000002 };

static const struct fetch_program path_flags = { .nargs = 2, .kind = { PP_STRING, PP_SIGNED }, .size = { 8, 4 } };
static const struct fetch_program one_int = { .nargs = 1, .kind = { PP_SIGNED }, .size = { 4 } };
static const struct fetch_program one_long = { .nargs = 1, .kind = { PP_SIGNED }, .size = { 8 } };

/* Three points of two probes in two files. */
static struct manifest *small(void)
{
	struct manifest_builder *b;
	struct manifest *d;
	int bin, lib, open, close, close_lib, l_open, l_int, l_long;

	ck_assert_int_eq(manifest_builder_new(&b), 0);
	bin = manifest_add_file(b, &image);
	lib = manifest_add_file(b, &library);
	open = manifest_add_probe(b, &open_probe, bin);
	close = manifest_add_probe(b, &close_probe, bin);
	close_lib = manifest_add_probe(b, &close_probe, lib);
	l_open = manifest_add_layout(b, &path_flags);
	l_int = manifest_add_layout(b, &one_int);
	l_long = manifest_add_layout(b, &one_long);
	ck_assert(bin >= 0 && lib >= 0 && bin != lib);
	ck_assert(open >= 0 && close >= 0 && close_lib >= 0 && open != close && close != close_lib);
	ck_assert(l_open != l_int && l_int != l_long);

	ck_assert_int_eq(manifest_add_file(b, &image), bin);
	ck_assert_int_eq(manifest_add_file(b, &library), lib);
	ck_assert_int_eq(manifest_add_probe(b, &close_probe, bin), close);
	ck_assert_int_eq(manifest_add_probe(b, &close_probe, lib), close_lib);
	ck_assert_int_eq(manifest_add_layout(b, &path_flags), l_open);
	ck_assert_int_eq(manifest_add_layout(b, &one_long), l_long);

	ck_assert_int_eq(
		manifest_add_point(
			b, &(struct manifest_point){ .offset = 0x1000, .probe = open, .layout = l_open, .link = 3 }),
		0);
	ck_assert_int_eq(manifest_add_point(b, &(struct manifest_point){ .offset = 0x1001,
	                                                                 .semaphore_offset = 0x44,
	                                                                 .probe = close,
	                                                                 .layout = l_int,
	                                                                 .pid = 123,
	                                                                 .link = 4 }),
	                 1);
	ck_assert_int_eq(manifest_add_point(b, &(struct manifest_point){ .offset = 0x1000,
	                                                                 .probe = close_lib,
	                                                                 .layout = l_long,
	                                                                 .pid = 123,
	                                                                 .link = 5 }),
	                 2);
	ck_assert_int_eq(manifest_build(b, 17, &d), 0);
	manifest_builder_free(b);
	return d;
}

START_TEST(contents)
{
	struct manifest *d = small();
	const struct manifest_point *p = manifest_points(d);
	const struct manifest_probe *probe;

	ck_assert_int_eq(manifest_check(d, d->size, "it"), 0);
	ck_assert_uint_eq(d->size % 8, 0);
	ck_assert_uint_eq(d->attachment, 17);
	ck_assert_uint_eq(d->npoints, 3);
	ck_assert_uint_eq(d->nfiles, 2);
	ck_assert_uint_eq(d->nprobes, 3);
	ck_assert_uint_eq(d->nlayouts, 3);
	ck_assert_uint_eq(d->nargs, 4);

	probe = &manifest_probes(d)[p[0].probe];
	ck_assert_str_eq(manifest_string(d, probe->name), "io:open");
	ck_assert_uint_eq(probe->nargs, 2);
	ck_assert_str_eq(manifest_string(d, manifest_args(d)[probe->args].name), "path");
	ck_assert_uint_eq(manifest_args(d)[probe->args].reserved, 0);
	ck_assert_str_eq(manifest_string(d, manifest_args(d)[probe->args + 1].name), "flags");
	ck_assert_uint_eq(manifest_args(d)[probe->args + 1].reserved, 0);
	ck_assert_str_eq(manifest_string(d, manifest_files(d)[probe->file].path), "/bin/it");
	ck_assert_str_eq(manifest_string(d, manifest_files(d)[probe->file].build_id), "c0ffee");
	ck_assert_uint_eq(manifest_files(d)[probe->file].device, 41);
	ck_assert_uint_eq(manifest_files(d)[probe->file].inode, 7000000001);
	ck_assert_uint_eq(manifest_layouts(d)[p[0].layout].nargs, 2);
	ck_assert_uint_eq(manifest_layouts(d)[p[0].layout].kind[0], PP_STRING);
	ck_assert_uint_eq(manifest_layouts(d)[p[0].layout].size[1], 4);

	probe = &manifest_probes(d)[p[1].probe];
	ck_assert_str_eq(manifest_string(d, probe->name), "io:close");
	ck_assert_uint_eq(p[1].offset, 0x1001);
	ck_assert_uint_eq(p[1].semaphore_offset, 0x44);
	ck_assert_uint_eq(p[1].pid, 123);
	ck_assert_uint_eq(p[1].link, 4);
	ck_assert_uint_eq(manifest_layouts(d)[p[1].layout].size[0], 4);

	probe = &manifest_probes(d)[p[2].probe];
	ck_assert_str_eq(manifest_string(d, probe->name), "io:close");
	ck_assert_str_eq(manifest_string(d, manifest_files(d)[probe->file].path), "/lib/it.so");
	ck_assert_str_eq(manifest_string(d, manifest_files(d)[probe->file].build_id), "");
	ck_assert_str_eq(manifest_string(d, manifest_args(d)[probe->args].name), "fd");
	ck_assert_uint_eq(manifest_layouts(d)[p[2].layout].size[0], 8);
	free(d);
}
END_TEST

START_TEST(empty_is_valid)
{
	struct manifest_builder *b;
	struct manifest *d;

	ck_assert_int_eq(manifest_builder_new(&b), 0);
	ck_assert_int_eq(manifest_build(b, 0, &d), 0);
	ck_assert_int_eq(manifest_check(d, d->size, "it"), 0);
	ck_assert_uint_eq(d->npoints, 0);
	free(d);
	manifest_builder_free(b);
	manifest_builder_free(NULL);
}
END_TEST

/* Building twice from one builder, more having been added meanwhile. */
START_TEST(build_leaves_the_builder)
{
	struct manifest_builder *b;
	struct manifest *d, *e;
	int file, probe, layout;

	ck_assert_int_eq(manifest_builder_new(&b), 0);
	file = manifest_add_file(b, &image);
	probe = manifest_add_probe(b, &close_probe, file);
	layout = manifest_add_layout(b, &one_int);
	manifest_add_point(b, &(struct manifest_point){ .offset = 1, .probe = probe, .layout = layout });
	ck_assert_int_eq(manifest_build(b, 1, &d), 0);
	manifest_add_point(b, &(struct manifest_point){ .offset = 2, .probe = probe, .layout = layout });
	ck_assert_int_eq(manifest_build(b, 2, &e), 0);
	ck_assert_uint_eq(d->npoints, 1);
	ck_assert_uint_eq(e->npoints, 2);
	ck_assert_int_eq(manifest_check(d, d->size, "d") | manifest_check(e, e->size, "e"), 0);
	free(d);
	free(e);
	manifest_builder_free(b);
}
END_TEST

/* Names that are prefixes or suffixes of each other are different names. */
START_TEST(similar_names_are_distinguished)
{
	static const char *const names[] = { "", "a", "aa", "b", "ab", "ba", "a:b", "open", "pen", "ope" };
	struct manifest_builder *b;
	struct manifest *d;
	size_t n = sizeof(names) / sizeof(*names);
	int at[10];

	ck_assert_int_eq(manifest_builder_new(&b), 0);
	for (size_t i = 0; i < n; i++) {
		struct pp_arg arg = { .name = (char *)names[n - 1 - i], .type = (char *)names[i] };
		struct pp_probe p = { .provider = "p", .name = (char *)names[i], .args = &arg, .nargs = 1 };

		at[i] = manifest_add_probe(b, &p, manifest_add_file(b, &image));
		ck_assert_int_eq(at[i], i);
	}
	ck_assert_int_eq(manifest_build(b, 0, &d), 0);
	ck_assert_int_eq(manifest_check(d, d->size, "d"), 0);
	for (size_t i = 0; i < n; i++) {
		const struct manifest_probe *p = &manifest_probes(d)[at[i]];

		ck_assert_int_eq(strncmp(manifest_string(d, p->name), "p:", 2), 0);
		ck_assert_str_eq(manifest_string(d, p->name) + 2, names[i]);
		ck_assert_str_eq(manifest_string(d, manifest_args(d)[p->args].name), names[n - 1 - i]);
		ck_assert_uint_eq(manifest_args(d)[p->args].reserved, 0);
	}
	free(d);
	manifest_builder_free(b);
}
END_TEST

static void refused(const struct manifest *d, size_t size, const char *how)
{
	ck_assert_msg(manifest_check(d, size, "the-block") == -EBADMSG, "%s: was accepted", how);
	ck_assert_msg(strstr(pp_error(), "the-block"), "%s: '%s' does not name it", how, pp_error());
}

#define SPOIL(what)                            \
	do {                                   \
		memcpy(d, good, good->size);   \
		what;                          \
		refused(d, good->size, #what); \
	} while (0)

/* Damages one field at a time. The offsets of the tables are written out, so that the layout on disk is tested, too. */
START_TEST(each_damage_is_refused)
{
	struct manifest *good = small(), *d = malloc(good->size + 64);
	unsigned char *at = (unsigned char *)(d + 1);
	struct manifest_point *points = (struct manifest_point *)at;
	struct manifest_file *files = (struct manifest_file *)(at + 3 * 48);
	struct manifest_layout *layouts = (struct manifest_layout *)(at + 3 * 48 + 2 * 40);
	struct manifest_probe *probes = (struct manifest_probe *)(at + 3 * 48 + 2 * 40 + 3 * 52);
	struct manifest_arg *args = (struct manifest_arg *)(at + 3 * 48 + 2 * 40 + 3 * 52 + 3 * 16);

	memcpy(d, good, good->size);
	ck_assert_int_eq(manifest_check(d, good->size, "copy"), 0);
	for (size_t size = 0; size < good->size; size++)
		refused(d, size, "cut");
	refused(d, good->size + 1, "longer");

	SPOIL(d->magic ^= 1);
	SPOIL(points[1].role = 3);
	SPOIL(d->version++);
	SPOIL(d->size--);
	SPOIL(d->nprocesses++);
	SPOIL(d->size += 8);
	SPOIL(d->npoints = UINT32_MAX);
	SPOIL(d->nfiles = UINT32_MAX);
	SPOIL(d->nlayouts = UINT32_MAX);
	SPOIL(d->nprobes = UINT32_MAX);
	SPOIL(d->nargs = UINT32_MAX);
	SPOIL(d->npool = UINT32_MAX);
	SPOIL(d->npool = 0);
	SPOIL(d->npool += d->nargs * 8; d->nargs = 0); /* the sum of the sizes is unchanged */
	SPOIL(((char *)d)[d->size - 1] = 'x');
	SPOIL(files[1].path = d->npool);
	SPOIL(files[1].build_id = UINT32_MAX);
	SPOIL(args[3].name = d->npool);
	SPOIL(layouts[2].nargs = RECORD_ARGS_MAX + 1);
	SPOIL(layouts[2].nargs = UINT16_MAX);
	SPOIL(layouts[2].string_max = RECORD_STRING_MAX + 1);
	SPOIL(layouts[0].kind[1] = PP_FAULT + 1);
	SPOIL(layouts[1].size[0] = 3);
	SPOIL(layouts[1].size[0] = 0);
	SPOIL(layouts[1].kind[0] = PP_FLOAT; layouts[1].size[0] = 1);
	SPOIL(layouts[1].nargs = 13; memset(layouts[1].kind, PP_STRING, 13));
	SPOIL(probes[2].name = d->npool);
	SPOIL(probes[2].file = 2);
	SPOIL(probes[1].nargs = 3);
	SPOIL(probes[1].args = 5; probes[1].nargs = 0);
	SPOIL(probes[1].args = UINT32_MAX; probes[1].nargs = 2); /* the sum wraps to a small number */
	SPOIL(probes[1].args = 1; probes[1].nargs = UINT32_MAX);
	SPOIL(points[0].probe = 3);
	SPOIL(points[2].layout = 3);
	SPOIL(points[2].layout = UINT32_MAX);
	SPOIL(points[1].group = 1);
	SPOIL(d->ngroups = UINT32_MAX);
	SPOIL(d->nnames = UINT32_MAX);
	SPOIL(d->naggregates = UINT32_MAX);
	free(good);
	free(d);
}
END_TEST

START_TEST(damage_of_aggregates_is_refused)
{
	static struct pp_enumerator values[] = { { "OFF", 0 }, { "ON", -1 } };
	static const struct pp_type state = { .name = "enum state", .values = values, .nvalues = 2 };
	static struct fetch_aggregate aggregate = {
		.text = "lhist(x, 0, 10, 5), max(y) by state",
		.ncolumns = 2,
		.nparts = 1,
		.ncalls = 2,
		.columns = { { .histogram = AGG_LINEAR, .high = 10, .step = 5 }, { .is_unsigned = 1 } },
		.parts = { { .kind = PP_UNSIGNED, .at = 30, .length = 5, .names = &state } },
		.calls = { { PP_LHIST, 0, 0, 18 }, { PP_MAX, 1, 20, 6 } },
	};
	static const struct fetch_program program = { .naggregate = 1, .aggregate = &aggregate };
	static struct pp_probe probe = { .image = &image, .provider = "p", .name = "q" };
	struct manifest_builder *b;
	struct manifest *good, *d;
	struct manifest_aggregate *a;
	int at;

	ck_assert_int_eq(manifest_builder_new(&b), 0);
	at = manifest_add_probe(b, &probe, manifest_add_file(b, &image));
	ck_assert_int_eq(manifest_add_layout(b, &program), 0);
	ck_assert_int_eq(manifest_add_group(b, &program, at), 0);
	ck_assert_int_eq(manifest_add_group(b, &program, at), 0);
	manifest_add_point(b, &(struct manifest_point){ .group = 1 });
	ck_assert_int_eq(manifest_build(b, 0, &good), 0);
	manifest_builder_free(b);
	ck_assert_int_eq(manifest_check(good, good->size, "good"), 0);
	ck_assert_uint_eq(manifest_key_size(good), sizeof(struct agg_key) + 8);
	ck_assert_uint_eq(good->nnames, 2);
	a = (struct manifest_aggregate *)manifest_aggregates(good);
	ck_assert_str_eq(manifest_string(good, a->calls[1].text), "max(y)");
	ck_assert_str_eq(manifest_string(good, a->parts[0].text), "state");
	ck_assert_str_eq(manifest_string(good, manifest_names(good)[1].name), "ON");

	d = malloc(good->size);
	a = (struct manifest_aggregate *)manifest_aggregates(memcpy(d, good, good->size));
	SPOIL(a->text = d->npool);
	SPOIL(a->ncolumns = 0);
	SPOIL(a->ncolumns = AGG_COLUMNS_MAX + 1);
	SPOIL(a->nparts = AGG_PARTS_MAX + 1);
	SPOIL(a->ncalls = 0);
	SPOIL(a->ncalls = UINT32_MAX);
	SPOIL(a->columns[0].histogram = AGG_LOGLINEAR + 1);
	SPOIL(a->columns[0].step = 0);
	SPOIL(a->columns[0].high = 0);
	SPOIL(a->columns[0].high = INT64_MAX);
	SPOIL(a->columns[1].is_unsigned = 2);
	SPOIL(a->parts[0].text = d->npool);
	SPOIL(a->parts[0].kind = PP_MISSING);
	SPOIL(a->parts[0].names = 1);
	SPOIL(a->parts[0].nnames = UINT32_MAX);
	SPOIL(a->calls[1].text = UINT32_MAX);
	SPOIL(a->calls[1].function = PP_PCT + 1);
	SPOIL(a->calls[1].column = 2);
	SPOIL(((struct manifest_name *)manifest_names(d))[1].name = d->npool);
	SPOIL(((struct manifest_group *)manifest_groups(d))[0].probe = 1);
	SPOIL(((struct manifest_group *)manifest_groups(d))[0].aggregate = 1);
	SPOIL(((struct manifest_point *)manifest_points(d))[0].group = 2);
	free(good);
	free(d);
}
END_TEST

/* Reads all that the manifest refers to; the sanitizers find reads outside of the block. */
static size_t visit(const struct manifest *d)
{
	size_t sum = 0;

	for (uint32_t i = 0; i < d->npoints; i++) {
		const struct manifest_point *point = &manifest_points(d)[i];
		const struct manifest_probe *probe = &manifest_probes(d)[point->probe];
		const struct manifest_layout *layout = &manifest_layouts(d)[point->layout];
		const struct manifest_file *file = &manifest_files(d)[probe->file];

		sum += strlen(manifest_string(d, probe->name)) + strlen(manifest_string(d, file->path)) +
		       strlen(manifest_string(d, file->build_id));
		for (uint32_t a = 0; a < probe->nargs; a++)
			sum += strlen(manifest_string(d, manifest_args(d)[probe->args + a].name));
		for (uint32_t a = 0; a < layout->nargs; a++)
			sum += layout->kind[a] + layout->size[a];
	}
	for (uint32_t i = 0; i < d->nargs; i++)
		sum += strlen(manifest_string(d, manifest_args(d)[i].name));
	return sum;
}

/*
 * After random damage a manifest is refused, or all that it refers to is in the block, which is allocated to the byte.
 * MANIFEST_SEED repeats a run.
 */
START_TEST(random_damage)
{
	unsigned seed =
		getenv("MANIFEST_SEED") ? strtoul(getenv("MANIFEST_SEED"), NULL, 0) : (unsigned)time(NULL) ^ getpid();
	struct manifest *good = small();
	size_t taken = 0, refusals = 0, sum = 0;

	fprintf(stderr, "random_damage: MANIFEST_SEED=%u\n", seed);
	srandom(seed);
	for (int round = 0; round < 200000; round++) {
		static const unsigned char odd[] = { 0, 1, 2, 3, 4, 5, 12, 25, 0x7f, 0x80, 0xff };
		size_t size = random() % 8 ? good->size : random() % (good->size + 1);
		unsigned char *d = malloc(size ? size : 1);

		memcpy(d, good, size);
		for (int n = random() % 4; n >= 0 && size; n--)
			d[random() % size] = random() % 2 ? odd[random() % sizeof(odd)] : random();
		if (size == good->size || size < sizeof(*good) || random() % 2 == 0) {
			/* as it is */
		} else {
			((struct manifest *)d)->size = size;
			((struct manifest *)d)->npool -= good->size - size;
		}
		if (manifest_check((struct manifest *)d, size, "fuzz")) {
			refusals++;
		} else {
			taken++;
			sum += visit((struct manifest *)d);
		}
		free(d);
	}
	ck_assert_uint_gt(taken, 1000);
	ck_assert_uint_gt(refusals, 1000);
	ck_assert_uint_gt(sum, 0);
	free(good);
}
END_TEST

/* The tables grow many times, and each item keeps its index. */
START_TEST(many)
{
	enum { PROBES = 10000, POINTS = 50000 };
	struct manifest_builder *b;
	struct manifest *d;
	struct timespec from, to;
	char name[32];
	int wrong = 0;

	clock_gettime(CLOCK_MONOTONIC, &from);
	ck_assert_int_eq(manifest_builder_new(&b), 0);
	for (int i = 0; i < POINTS; i++) {
		struct pp_probe p = { .provider = "many", .name = name, .args = open_args, .nargs = 2 };
		int probe;

		snprintf(name, sizeof(name), "f%d__entry", i % PROBES);
		probe = manifest_add_probe(b, &p, manifest_add_file(b, &image));
		wrong += probe != i % PROBES;
		struct manifest_point point = { .offset = i, .probe = probe };
		point.layout = manifest_add_layout(b, i & 1 ? &one_int : &path_flags);
		wrong += manifest_add_point(b, &point) != i;
	}
	ck_assert_int_eq(manifest_build(b, 0, &d), 0);
	ck_assert_int_eq(manifest_check(d, d->size, "many"), 0);
	clock_gettime(CLOCK_MONOTONIC, &to);
	fprintf(stderr, "many: %d points, %d probes: %ld us\n", POINTS, PROBES,
	        (to.tv_sec - from.tv_sec) * 1000000 + (to.tv_nsec - from.tv_nsec) / 1000);
	ck_assert_uint_eq(d->nprobes, PROBES);
	ck_assert_uint_eq(d->nfiles, 1);
	ck_assert_uint_eq(d->nlayouts, 2);
	for (int i = 0; i < POINTS; i++) {
		const struct manifest_point *p = &manifest_points(d)[i];

		snprintf(name, sizeof(name), "many:f%d__entry", i % PROBES);
		wrong += strcmp(manifest_string(d, manifest_probes(d)[p->probe].name), name) != 0;
		wrong += manifest_layouts(d)[p->layout].nargs != (i & 1 ? 1 : 2) || p->offset != (uint64_t)i;
	}
	ck_assert_int_eq(wrong, 0);
	free(d);
	manifest_builder_free(b);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("manifest");
	TCase *tc = tcase_create("manifest");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_set_timeout(tc, 300);
	tcase_add_test(tc, contents);
	tcase_add_test(tc, empty_is_valid);
	tcase_add_test(tc, build_leaves_the_builder);
	tcase_add_test(tc, similar_names_are_distinguished);
	tcase_add_test(tc, each_damage_is_refused);
	tcase_add_test(tc, damage_of_aggregates_is_refused);
	tcase_add_test(tc, random_damage);
	tcase_add_test(tc, many);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
