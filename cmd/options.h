/* SPDX-License-Identifier: MIT */
/*
 * The command line options that the commands share. A command lists the groups of options that it takes as children of
 * its own argp, and calls options_children() on ARGP_KEY_INIT.
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
	const char *aggregate;       /* NULL: not given */
	bool stack;
	char *print;            /* NULL: not given */
	unsigned string_max;    /* 0: not given */
	unsigned cells;         /* 0: not given */
	unsigned maxactive;     /* 0: not given */
	unsigned every, rate;   /* 0: not given */
	uint64_t min_duration;  /* ns; 0: not given */
	const char *latency[2]; /* BEGIN and END; NULL: not given */
	const char *key;        /* --on; NULL: not given */
	const char **strings;   /* argument names of --string */
	size_t nstrings;
	const char **addresses; /* argument names of --no-string */
	size_t naddresses;
	bool children, pgrp;
	size_t buffer; /* 0: not given */
	bool fast, uretprobe;
	bool yes; /* arm any number of sites */
	bool json, quiet, verbose;
	/* For ui.c: */
	bool has_counts; /* the JSON of an error has the next three */
	uint64_t recorded, lost, missed;
	char *errors; /* messages that ui_error() keeps for JSON */
	/* For options.c: */
	char *usage_error; /* the message, if argp must not print it */
};

extern const struct argp options_pid;            /* -p */
extern const struct argp options_file;           /* -f */
extern const struct argp options_filter;         /* --if --latency --maxactive and others */
extern const struct argp options_session;        /* -s */
extern const struct argp options_backend;        /* -b */
extern const struct argp options_yes;            /* --yes */
extern const struct argp options_output;         /* --json -q -v */
extern const struct argp_child options_arming[]; /* all of them, for commands that arm */

/*
 * Parses argv, and prepares the process: standard streams that are closed are replaced, and the locale is set. Names of
 * files are replaced by paths, as find_file() finds them. Exits after --help and --version, and if the command line is
 * invalid (STATUS_USAGE).
 */
void options_parse(const struct argp *argp, int argc, char **argv, struct options *options, void *input);
void options_children(struct argp_state *state, const struct argp_child *children, struct options *options);

/* Reports an invalid command line. For argp parsers, which return the result: it exits, or options_parse() does. */
__attribute__((format(printf, 3, 4))) error_t options_usage_error(struct argp_state *state, struct options *options,
                                                                  const char *format, ...);
/* Reports an invalid command line after options_parse(), and exits. */
__attribute__((format(printf, 2, 3), noreturn)) void options_usage_exit(struct options *options, const char *format,
                                                                        ...);

/* Parses the argument of an option: a pid, or a number from 1 to max. */
error_t options_parse_pid(struct argp_state *state, struct options *options, const char *text, pid_t *pid);
error_t options_parse_number(struct argp_state *state, struct options *options, const char *option, const char *text,
                             uint64_t max, uint64_t *number);

/* Parses a size such as 16M, of at least min bytes. */
error_t options_parse_size(struct argp_state *state, struct options *options, const char *option, const char *text,
                           uint64_t min, uint64_t *size);

/* Parses a time such as 500ms, 30s, 5m or 1h, into seconds. */
error_t options_parse_time(struct argp_state *state, struct options *options, const char *option, const char *text,
                           double *seconds);

/* Appends a pattern to a list, if it is valid. */
error_t options_add_pattern(struct argp_state *state, struct options *options, const char ***list, size_t *n,
                            const char *pattern);
/* Returns whether an argument is a number that follows -p PID, as from -p $(pidof NAME). */
bool options_is_stray_pid(const struct options *options, const char *argument);
error_t options_stray_pid_error(struct argp_state *state, struct options *options, const char *argument,
                                const char *expected);

/* Appends to a list of strings. */
void options_append(const char ***list, size_t *n, const char *argument);

/* Returns the first given option that is about arming, such as "--if". NULL: none is given. */
const char *options_first_arming(const struct options *options);

/* Returns the session's name: "default" unless -s is given. */
const char *options_session_name(const struct options *options);

/* Returns how many of n warnings to show: all with -v, else some. */
size_t options_warnings_shown(const struct options *options, size_t n);

#endif
