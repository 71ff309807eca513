/* SPDX-License-Identifier: MIT */
/* The getters of probes, sites and arguments in <probepoint.h>. */
#include "sdt/cxx-name.h"
#include "sdt/image.h"
#include "sdt/notes.h"

#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>

const char *pp_probe_provider(const struct pp_probe *probe)
{
	return probe->provider;
}

const char *pp_probe_name(const struct pp_probe *probe)
{
	return probe->name;
}

const char *pp_probe_signature(const struct pp_probe *probe)
{
	return probe->signature;
}

size_t pp_probe_args(const struct pp_probe *probe)
{
	return probe->nargs;
}

const struct pp_arg *pp_probe_arg(const struct pp_probe *probe, size_t i)
{
	return i < probe->nargs ? &probe->args[i] : NULL;
}

const char *pp_arg_name(const struct pp_arg *arg)
{
	return arg->name;
}

const char *pp_arg_type(const struct pp_arg *arg)
{
	return arg->type;
}

size_t pp_probe_sites(const struct pp_probe *probe)
{
	return probe->nsites;
}

const struct pp_site *pp_probe_site(const struct pp_probe *probe, size_t i)
{
	return probe->sites && i < probe->nsites ? &probe->sites[i] : NULL;
}

uint64_t pp_site_address(const struct pp_site *site)
{
	return site->address;
}

uint64_t pp_site_offset(const struct pp_site *site)
{
	return site->offset;
}

const char *pp_site_operands(const struct pp_site *site)
{
	return site->operands;
}

bool pp_site_semaphore(const struct pp_site *site, uint64_t *offset)
{
	if (site->has_semaphore && offset)
		*offset = site->semaphore_offset;
	return site->has_semaphore;
}

const char *pp_site_function(const struct pp_site *site)
{
	return site->function;
}

const char *pp_site_source(const struct pp_site *site)
{
	return site->source;
}

/* Returns true if a site of the probe is in a function whose demangled name, with its parameters, matches. */
static bool probe_matches_parameters(const struct pp_probe *probe, const char *name)
{
	bool matches = false;

	for (size_t i = 0; i < probe->nsites && probe->sites && !matches; i++) {
		char *demangled = image_function_written(probe->image, probe->sites[i].address);

		matches = demangled && cxx_matches_demangled(name, demangled);
		free(demangled);
	}
	return matches;
}

static bool probe_matches_name(const struct pp_probe *probe, const char *name)
{
	if (!cxx_is_pattern(name))
		return fnmatch(name, probe->name, 0) == 0;
	if (!cxx_matches_probe(name, probe->name))
		return false;
	/* Without sites, the name decides: the notes of a probe are read if it may be meant. */
	return !cxx_has_parameters(name) || !probe->sites || probe_matches_parameters(probe, name);
}

bool pp_probe_matches(const struct pp_probe *probe, const char *pattern)
{
	const char *colon = pattern_colon(pattern);
	char provider[NOTE_NAME_MAX];

	if (!colon)
		return probe_matches_name(probe, pattern);
	if ((size_t)(colon - pattern) >= sizeof(provider))
		return false;
	memcpy(provider, pattern, (size_t)(colon - pattern));
	provider[colon - pattern] = '\0';
	return fnmatch(provider, probe->provider, 0) == 0 && probe_matches_name(probe, colon + 1);
}
