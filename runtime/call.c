/* SPDX-License-Identifier: MIT */
#include "runtime/call.h"

#include <errno.h>
#include <probepoint-note.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "runtime/fetch/filter.h"
#include "sdt/operand.h"

#define NAME_SIZE 80

/* Returns the most operands that a site of the probe has, or a negative errno. */
static int probe_operands(const struct pp_probe *probe)
{
	int most = (int)probe->nargs;

	for (size_t i = 0; i < probe->nsites; i++) {
		struct operand operands[OPERANDS_MAX];
		size_t nbad;
		int n = probe->sites[i].operands
		                ? operands_read(probe->image, probe->sites[i].operands, operands, &nbad)
		                : 0;

		most = n > most ? n : most;
	}
	return most > RECORD_ARGS_MAX ? RECORD_ARGS_MAX : most;
}

/* Finds out what kind of value each argument of the begin has: that of the first site that has its operand. */
static int call_learn_kinds(struct call *call)
{
	memset(call->kind, PP_FAULT, sizeof(call->kind));
	for (size_t i = 0; i < call->begin->nsites; i++) {
		struct fetch_program program;
		int err = fetch_compile(&call->begin->sites[i], &program);

		if (err)
			return err;
		for (size_t k = 0; k < call->nsaved && k < program.nargs; k++)
			if (call->kind[k] == PP_FAULT) {
				call->kind[k] = program.kind[k];
				call->size[k] = program.size[k];
			}
		fetch_release(&program);
	}
	return 0;
}

/* Return the index of the end's first argument, and of the begin's, among the call's. */
static size_t call_own(const struct call *call)
{
	return call->of_function ? call->nsaved : 0;
}

static size_t call_saved(const struct call *call)
{
	return call->of_function ? 0 : call->nresults;
}

static bool args_have(const struct pp_arg *args, size_t n, const char *name)
{
	for (size_t i = 0; i < n; i++)
		if (!strcmp(args[i].name, name))
			return true;
	return false;
}

/* Sets argument i to a copy of from, or to an argument without a type if from is NULL. */
static int arg_set(struct call *call, size_t i, const struct pp_arg *from, const char *name)
{
	struct pp_arg *arg = &call->probe.args[i];

	*arg = from ? *from : (struct pp_arg){ .type = (char *)"", .class = PPN_CLASS_NONE };
	arg->name = strdup(name);
	return arg->name ? 0 : error_nomem();
}

static int call_set_own_args(struct call *call, const struct pp_probe *end, size_t first)
{
	char name[NAME_SIZE];
	int err = 0;

	for (size_t i = 0; i < call->nresults && !err; i++) {
		const struct pp_arg *arg = i < end->nargs ? &end->args[i] : NULL;
		bool is_result = call->of_function && call->nresults == 1;

		snprintf(name, sizeof(name), "arg%zu", i);
		err = arg_set(call, first + i, arg, is_result ? "ret" : arg ? arg->name : name);
	}
	return err;
}

static int call_set_saved_args(struct call *call, const struct pp_probe *end, size_t first)
{
	char name[NAME_SIZE], number[24];
	int err = 0;

	for (size_t i = 0; i < call->nsaved && !err; i++) {
		const struct pp_arg *arg = i < call->begin->nargs ? &call->begin->args[i] : NULL;
		const char *own = arg ? arg->name : number;
		bool both = !call->of_function && args_have(end->args, end->nargs, own);

		snprintf(number, sizeof(number), "arg%zu", i);
		both |= !arg && i < call->nresults && end->nargs < call->nresults;
		snprintf(name, sizeof(name), "%s%.60s", both ? "begin_" : "", own);
		err = arg_set(call, first + i, arg, name);
	}
	return err;
}

static int call_set_args(struct call *call, const struct pp_probe *end)
{
	size_t n = call->nresults + call->nsaved;
	int err;

	call->probe.args = calloc(n + 1, sizeof(*call->probe.args));
	if (!call->probe.args)
		return error_nomem();
	call->probe.nargs = n + 1;
	err = call_set_own_args(call, end, call_own(call));
	if (!err)
		err = call_set_saved_args(call, end, call_saved(call));
	return err ? err : arg_set(call, n, NULL, "duration");
}

static int call_set_sites(struct call *call, const struct pp_probe *end)
{
	struct pp_site *site = calloc(call->begin->nsites + end->nsites + 1, sizeof(*site));
	size_t n = call->begin->nsites;

	call->probe.sites = site;
	if (!site)
		return error_nomem();
	memcpy(site, call->begin->sites, n * sizeof(*site));
	/* A site before a call that does not return is none of the function's return instructions. */
	for (size_t i = 0; i < end->nsites; i++)
		if (!call->of_function || !(end->sites[i].flags & PPN_FLAG_NORETURN))
			site[n++] = end->sites[i];
	call->probe.nsites = n;
	for (size_t i = 0; i < call->probe.nsites; i++) {
		site[i].probe = &call->probe;
		site[i].call = call;
		site[i].role = i < call->begin->nsites ? SITE_CALL : SITE_LEAVE;
	}
	return 0;
}

static int call_describe(struct call *call, const struct pp_probe *end)
{
	int own = probe_operands(end), begin = probe_operands(call->begin), err;

	if (own < 0 || begin < 0)
		return own < 0 ? own : begin;
	call->nresults = call->of_function && !own ? 1 : (size_t)own;
	call->nsaved = begin < FETCH_ENTRY_MAX ? (size_t)begin : FETCH_ENTRY_MAX;
	if (call->nresults + call->nsaved + 1 > RECORD_ARGS_MAX)
		return error_set(EINVAL, "%s:%s has too many arguments to be the end of a call", end->provider,
		                 end->name);
	err = call_learn_kinds(call);
	if (!err)
		err = call_set_args(call, end);
	return err ? err : call_set_sites(call, end);
}

int call_new(const struct pp_probe *begin, const struct pp_probe *end, const char *provider, const char *name,
             enum site_match match, struct call **made)
{
	struct call *call = calloc(1, sizeof(*call));
	int err;

	if (!call)
		return error_nomem();
	call->probe = (struct pp_probe){ .image = end->image, .provider = strdup(provider), .name = strdup(name) };
	call->begin = begin;
	call->match = match;
	call->of_function = !strcmp(provider, FUNCTION_PROVIDER) && strcmp(end->provider, FUNCTION_PROVIDER) != 0;
	err = call->probe.provider && call->probe.name ? call_describe(call, end) : error_nomem();
	if (err)
		call_free(call);
	else
		*made = call;
	return err;
}

void call_free(struct call *call)
{
	if (!call)
		return;
	for (size_t i = 0; i < call->probe.nargs; i++)
		free(call->probe.args[i].name);
	free(call->probe.args);
	free(call->probe.sites);
	free(call->probe.provider);
	free(call->probe.name);
	free(call);
}

/* ---- programs ---- */

/* Compiles the site of a begin: the arguments that the end can use, as plain values. */
static int begin_compile(const struct pp_site *site, const struct pp_probe *probe, const char *key,
                         struct fetch_steps *keys, struct fetch_program *program)
{
	const struct call *call = site->call;
	struct pp_site begin = *site;
	size_t n = 0, nargs = 0;
	int err;

	begin.probe = probe;
	err = fetch_compile(&begin, program);
	if (err)
		return err;
	err = key ? key_compile(key, &begin, program, keys) : 0;
	if (err)
		return err;
	for (; n < program->nsteps && nargs < call->nsaved; n++) {
		struct fetch_step *step = &program->steps[n];

		nargs += step->op == FETCH_ARG || step->op == FETCH_STRING;
		if (step->op == FETCH_STRING)
			step->op = FETCH_ARG;
	}
	program->nsteps = n;
	program->nargs = nargs;
	program->nmissing = 0;
	for (size_t i = 0; i < nargs; i++)
		if (program->kind[i] != PP_FAULT)
			program->kind[i] = PP_UNSIGNED;
	return 0;
}

/* Adds an argument whose value is that of the n steps. */
static void program_add_argument(struct fetch_program *program, const struct fetch_step *steps, size_t n,
                                 enum pp_kind kind, uint8_t size)
{
	size_t nstrings = 0, i = program->nargs++;

	for (size_t k = 0; k < i; k++)
		nstrings += program->kind[k] == PP_STRING;
	if (kind == PP_STRING && nstrings >= RECORD_STRINGS_MAX)
		kind = PP_POINTER;
	memcpy(program->steps + program->nsteps, steps, n * sizeof(*steps));
	program->nsteps += n;
	program->steps[program->nsteps++] =
		(struct fetch_step){ .op = kind == PP_STRING ? FETCH_STRING : FETCH_ARG, .a = (uint8_t)i };
	program->kind[i] = kind;
	program->size[i] = size;
}

/* Returns the kind of argument k of the begin at the end. A request may have given it another type. */
static enum pp_kind saved_kind(const struct pp_site *site, size_t k)
{
	const struct call *call = site->call;
	const struct pp_arg *arg = &site->probe->args[call_saved(call) + k];
	bool is_own = arg->class == call->probe.args[call_saved(call) + k].class;

	if (call->kind[k] == PP_FAULT || call->size[k] < 4)
		return call->kind[k];
	if (!is_own)
		return arg->class == PPN_CLASS_STRING ? PP_STRING : PP_POINTER;
	/* Strings of a function's parameters are still there when it returns. Those of another probe may not be. */
	return call->kind[k] == PP_STRING && call->match != MATCH_FRAME ? PP_POINTER : call->kind[k];
}

static const struct fetch_step zero = { .op = FETCH_IMM };

static void program_add_own(struct fetch_program *program, const struct fetch_program *own, size_t nresults)
{
	const struct fetch_step *step = own->steps;

	for (size_t i = 0, n; i < nresults; i++) {
		if (i >= own->nargs) {
			program_add_argument(program, &zero, 1, PP_FAULT, 8);
			continue;
		}
		for (n = 0; step[n].op != FETCH_ARG && step[n].op != FETCH_STRING; n++)
			;
		program_add_argument(program, step, n, own->kind[i], own->size[i]);
		step += n + 1;
	}
}

static void program_add_saved(struct fetch_program *program, const struct pp_site *site)
{
	const struct call *call = site->call;

	for (size_t k = 0; k < call->nsaved; k++) {
		const struct fetch_step entry = { .op = FETCH_ENTRY, .a = (uint8_t)k };
		enum pp_kind kind = saved_kind(site, k);

		program_add_argument(program, kind == PP_FAULT ? &zero : &entry, 1, kind, call->size[k]);
	}
}

static bool key_is_string(const struct fetch_steps *key)
{
	return key->n && key->list[key->n - 1].op == FETCH_HASH;
}

/* Checks that the key has the same type at both ends of the call. Returns 0 or a negative errno with an error message. */
static int key_check(const struct call *call, const struct pp_probe *begin, const char *text,
                     const struct fetch_steps *end)
{
	struct fetch_program program = { 0 };
	struct fetch_steps key = { 0 };
	struct pp_site site;
	int err;

	if (!call->begin->nsites)
		return 0;
	site = call->begin->sites[0];
	site.call = call;
	err = begin_compile(&site, begin, text, &key, &program);
	if (err)
		goto out;
	if (key_is_string(&key) != key_is_string(end))
		err = error_set(EINVAL, "the key '%s' is a string at %s only; use --string or --no-string", text,
		                key_is_string(end) ? "the end of the call" : "its begin");
out:
	fetch_release(&program);
	free(key.list);
	return err;
}

/* Compiles the end's own operands. Its probe has the end's arguments as the first ones. */
static int own_compile(const struct pp_site *site, const char *key, struct fetch_steps *keys, struct fetch_program *own)
{
	struct pp_probe probe = *site->probe;
	struct pp_site end = *site;
	int err;

	end.probe = &probe;
	probe.args += call_own(site->call);
	probe.nargs = site->call->nresults;
	err = fetch_compile(&end, own);
	return err || !key ? err : key_compile(key, &end, own, keys);
}

/* Compiles the site of an end: its own operands, what the begin has saved, and the duration. */
static int end_compile(const struct pp_site *site, const struct pp_probe *begin, const char *key,
                       struct fetch_steps *keys, struct fetch_program *program)
{
	const struct fetch_step duration = { .op = FETCH_DURATION };
	const struct call *call = site->call;
	struct fetch_program own = { 0 };
	int err;

	memset(program, 0, sizeof(*program));
	err = own_compile(site, key, keys, &own);
	if (err)
		goto out;
	err = key ? key_check(call, begin, key, keys) : 0;
	if (err)
		goto out;
	program->steps = calloc(own.nsteps + (size_t)2 * RECORD_ARGS_MAX, sizeof(*program->steps));
	if (!program->steps) {
		err = error_nomem();
		goto out;
	}
	program->nmissing = own.nmissing;
	program->of_site = own.of_site;
	if (call->of_function)
		program_add_saved(program, site);
	program_add_own(program, &own, call->nresults);
	if (!call->of_function)
		program_add_saved(program, site);
	program_add_argument(program, &duration, 1, PP_UNSIGNED, 8);
out:
	fetch_release(&own);
	return err;
}

static int program_append(struct fetch_program *program, const struct fetch_steps *key)
{
	struct fetch_step *steps;

	if (!key->n)
		return 0;
	steps = realloc(program->steps, (program->nsteps + key->n) * sizeof(*steps));
	if (!steps)
		return error_nomem();
	memcpy(steps + program->nsteps, key->list, key->n * sizeof(*steps));
	program->steps = steps;
	program->nsteps += key->n;
	program->nkey = key->n;
	return 0;
}

int call_compile(const struct pp_site *site, const struct pp_probe *begin, const char *key,
                 struct fetch_program *program)
{
	struct fetch_steps keys = { 0 };
	int err = site->role == SITE_CALL ? begin_compile(site, begin, key, &keys, program)
	                                  : end_compile(site, begin, key, &keys, program);

	if (!err)
		err = program_append(program, &keys);
	free(keys.list);
	if (err)
		fetch_release(program);
	program->match = site->call->match;
	return err;
}

/* ---- returns of functions ---- */

static const struct pp_probe *image_probe_named(const struct pp_image *image, const char *symbol, const char *ending)
{
	const struct pp_probe *found = NULL;
	size_t length = strlen(symbol);

	for (size_t i = 0; i < image->nprobes; i++) {
		const struct pp_probe *probe = &image->probes[i];

		if (strncmp(probe->name, symbol, length) || strcmp(probe->name + length, ending))
			continue;
		if (found)
			return NULL;
		found = probe;
	}
	return found;
}

static bool site_is_within(const struct pp_site *site, uint64_t start, uint64_t end)
{
	return site->address >= start && site->address < end;
}

bool call_of_function(const struct pp_image *image, const char *symbol, uint64_t address, const struct pp_probe **entry,
                      const struct pp_probe **end)
{
	uint64_t start, limit;

	*entry = image_probe_named(image, symbol, "__entry");
	*end = image_probe_named(image, symbol, "__return");
	if (!*entry || !*end || (*entry)->nsites != 1 || !(*end)->nsites ||
	    !image_function_range(image, address, &start, &limit) || start != address ||
	    !site_is_within(&(*entry)->sites[0], start, limit))
		return false;
	for (size_t i = 0; i < (*end)->nsites; i++)
		if (!site_is_within(&(*end)->sites[i], start, limit))
			return false;
	return true;
}
