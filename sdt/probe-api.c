/* SPDX-License-Identifier: MIT */
/* The getters of probes, sites and arguments in <probepoint.h>. */
#include "sdt/image.h"
#include "sdt/notes.h"

#include <fnmatch.h>
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

bool pp_probe_matches(const struct pp_probe *probe, const char *pattern)
{
	const char *colon = strchr(pattern, ':');
	char provider[NOTE_NAME_MAX];

	if (!colon)
		return fnmatch(pattern, probe->name, 0) == 0;
	if ((size_t)(colon - pattern) >= sizeof(provider))
		return false;
	memcpy(provider, pattern, (size_t)(colon - pattern));
	provider[colon - pattern] = '\0';
	return fnmatch(provider, probe->provider, 0) == 0 && fnmatch(colon + 1, probe->name, 0) == 0;
}
