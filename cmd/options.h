/* SPDX-License-Identifier: MIT */
/*
 * The command line that the commands share. Each takes the groups of options that mean something to it
 * as children of its own argp, and sets their input by options_children() on ARGP_KEY_INIT.
 */
#ifndef CMD_OPTIONS_H
#define CMD_OPTIONS_H

#include <argp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "cmd/status.h"

struct options {
	pid_t *pids;
	size_t npids;
	const char **files;
	size_t nfiles;
	const char *session;         /* NULL: not given */
	const char *backend;         /* NULL: not given */
	const char *filter, *cgroup; /* NULL: not given */
	unsigned maxactive;          /* 0: not given */
	const char **strings;        /* names of arguments */
	size_t nstrings;
	const char **addresses; /* likewise, of --no-string */
	size_t naddresses;
	bool children, pgrp;
	bool yes; /* arm any number of sites */
	bool json, quiet, verbose;
	bool has_counts; /* the next two are for the JSON of an error */
	uint64_t recorded, lost;
	char *usage;     /* what is wrong with the command line, where argp is not to say it */
	char *complaint; /* what complain() keeps for JSON */
};

extern const struct argp options_pid;            /* -p */
extern const struct argp options_file;           /* -f */
extern const struct argp options_filter;         /* --if --string --no-string --children --pgrp --cgroup --maxactive */
extern const struct argp options_session;        /* -s */
extern const struct argp options_backend;        /* -b */
extern const struct argp options_yes;            /* --yes */
extern const struct argp options_output;         /* --json -q -v */
extern const struct argp_child options_arming[]; /* all of them, for what arms */

/* Parses argv; ends the process after --help, --version, or a mistake (STATUS_USAGE). */
void options_parse(const struct argp *argp, int argc, char **argv, struct options *options, void *input);
void options_children(struct argp_state *state, const struct argp_child *children, struct options *options);

/* For parsers: says what is wrong and ends, or returns EINVAL for options_parse() to do so. */
__attribute__((format(printf, 3, 4))) error_t options_wrong(struct argp_state *state, struct options *options,
                                                            const char *format, ...);
/* A process id. */
error_t options_take_pid(struct argp_state *state, struct options *options, const char *text, pid_t *pid);
/* Whether an argument looks like one more pid, as from -p $(pidof NAME). The hint takes the last pid and the argument. */
bool options_stray_pid(const struct options *options, const char *argument);
#define OPTIONS_PIDS_HINT "separate several pids by commas, as in -p %d,%s or -p $(pgrep -d, NAME)"
/* A pattern that can be, at the end of a list. */
error_t options_pattern(struct argp_state *state, struct options *options, const char ***list, size_t *n,
                        const char *pattern);
/* The same for the argument met now, where "-- COMMAND..." may stand behind the patterns. */
error_t options_pattern_or_command(struct argp_state *state, struct options *options, const char ***list, size_t *n,
                                   char ***command);
/* As options_wrong(), after parsing. */
__attribute__((format(printf, 2, 3), noreturn)) void options_reject(struct options *options, const char *format, ...);

/*
 * Refuses options that the rest of the command line gives no meaning, for commands that arm. patterns: those to be
 * armed, none if an existing session is read. To be called at ARGP_KEY_END.
 */
error_t options_check_arming(struct argp_state *state, struct options *options, const char *const *patterns,
                             size_t npatterns, bool command);

/* One more argument in a list of them. */
void options_append(const char ***list, size_t *n, const char *argument);

/* The session asked for: "default" where none was named. */
const char *options_session_name(const struct options *options);

#endif
