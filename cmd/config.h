/* SPDX-License-Identifier: MIT */
/*
 * Files that describe sessions, for probe-enable --config. probepoint-config(5) describes their language.
 *
 *   config-tree.c    bytes -> a tree of nodes, each with its place (libyaml)
 *   config-keys.c    the keys; a key and its value -> the option of the same name
 *   config-parse.c   the tree -> struct config
 *   config-file.c    reads the file, and checks its owner
 *   config-target.c  an entry -> the files and processes that it means now
 *   config-apply.c   compares them with what is armed; arms and disarms the difference
 *   config-report.c  prints the result
 *   config-follow.c  applies the file again when something has changed
 */
#ifndef CMD_CONFIG_H
#define CMD_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "cmd/arming.h"
#include "cmd/options.h"

struct config_place {
	unsigned line, column; /* from 1; 0: the file as a whole */
};

/* ---- the tree ---- */

enum config_type { CONFIG_SCALAR, CONFIG_LIST, CONFIG_MAP };

struct config_node {
	enum config_type type;
	struct config_place place;
	char *text;                    /* of a scalar */
	bool plain;                    /* a scalar without quotes */
	struct config_node **children; /* of a map: key, value, key, value ... */
	size_t n;
};

/* Parses YAML. Returns NULL if it is not valid: *error is the message, which the caller frees. *tree NULL: an empty file. */
bool config_tree_parse(const char *bytes, size_t size, struct config_node **tree, struct config_place *place,
                       char **error);
void config_tree_free(struct config_node *node);

/* ---- the configuration ---- */

struct config_entry {
	struct config_place place;
	struct options options; /* without processes; its files can be globs */
	struct arming arming;
	const char *process;    /* a glob of their names or programs; NULL: not given */
	const char *service;    /* of systemd; NULL: not given */
	const char **build_ids; /* hex; nbuild_ids 0: any */
	size_t nbuild_ids;
	char *text; /* the keys and values in a canonical order: entries that mean the same have the same text */
};

struct config_session {
	struct config_place place;
	char *name;
	struct config_entry *entries;
	size_t n;
};

/* Messages about the sessions that could not be read when they were last read. --follow reads them often. */
struct config_unread {
	char **messages;
	size_t n;
};

struct config {
	const char *path; /* for messages */
	char *real_path;  /* identifies the file in labels */
	struct config_session *sessions;
	size_t n;
	char **strings; /* what options point to */
	size_t nstrings;
	struct options *options; /* of the command, which errors are reported with */
	struct config_unread unread;
	size_t errors;
	bool muted; /* the errors of the part that is being parsed were reported before */
};

/* Reports an error at a place: "FILE:LINE:COLUMN: message". */
__attribute__((format(printf, 3, 4))) void config_error(struct config *config, struct config_place place,
                                                        const char *format, ...);

/* Parses the text of a configuration, and reports all errors. Returns false if there are any. */
bool config_parse(struct config *config, const char *bytes, size_t size);
/* Reads and parses the file. Returns the status that the command exits with if that fails, else STATUS_DONE. */
enum status config_read(struct config *config, const char *path, struct options *options);
void config_free(struct config *config);
void config_unread_free(struct config_unread *unread);

/* ---- keys ---- */

enum { CONFIG_IN_SESSION = 1, CONFIG_IN_ENTRY = 2 };

struct config_key;

/* Returns the key of this name, or reports an error and returns NULL. where: CONFIG_IN_. */
const struct config_key *config_key_find(struct config *config, const struct config_node *name, unsigned where);
/* Sets what the key means in the entry. */
void config_key_apply(struct config *config, struct config_entry *entry, const struct config_key *key,
                      const struct config_node *value);
/* Appends the key and its value to the canonical text. Keys are compared by their address. */
void config_key_print(FILE *out, const struct config_key *key, const struct config_node *value);

/* ---- targets ---- */

/* What an entry means now: a file, a process, or what keeps it from being armed. */
struct config_target {
	char *file;        /* NULL: all files of the process */
	char *build_id;    /* of the file; "": not known */
	pid_t pid;         /* 0: all processes */
	uint64_t start;    /* of the process */
	char *cgroup;      /* directory; NULL: none */
	uint64_t inode;    /* of the directory */
	char *missing;     /* why nothing can be armed; NULL: it can */
	bool is_ambiguous; /* several control groups have the name of the service; missing is set, too */
};

struct config_targets {
	struct config_target *list;
	size_t n;
};

void config_targets_find(const struct config_entry *entry, struct config_targets *targets);
void config_targets_free(struct config_targets *targets);
/* Returns a number that changes when one of the entries means other files or processes. Cheap: it opens no file. */
uint64_t config_targets_hash(const struct config *config);

/* ---- applying ---- */

enum config_state {
	CONFIG_SAME,
	CONFIG_ARMED,
	CONFIG_TO_ARM,
	CONFIG_DISARMED,
	CONFIG_TO_DISARM,
	CONFIG_OLD, /* a file that was replaced, or a process that has ended */
	CONFIG_WAITING,
	CONFIG_REFUSED
};

struct config_row {
	enum config_state state;
	char *session, *probes, *file, *build_id, *since, *reason; /* NULL: not known */
	unsigned line;                                             /* 0: not in the file any more */
	pid_t pid;
	size_t sites;
	uint64_t hits;
};

struct config_result {
	struct config_row *rows;
	size_t n;
	size_t changes; /* rows that are or would be armed or disarmed */
	bool partly;    /* something is waiting or refused */
	bool failed;
};

/* Starts the process that enforces the budget of the session of these options. */
typedef void config_watch_fn(struct options *options);

/* check: reports what would change, and changes nothing. */
void config_apply(struct config *config, bool check, config_watch_fn *watch, struct config_result *result);
/* Disarms what the file has armed, in all sessions. */
void config_disarm(struct config *config, struct config_result *result);
void config_result_free(struct config_result *result);

/* only_changes: leaves out rows that are as they were. */
void config_report(struct config *config, const struct config_result *result, bool check, bool only_changes);
enum status config_status(const struct config_result *result);

/* ---- the command ---- */

enum config_mode { CONFIG_APPLY, CONFIG_CHECK, CONFIG_FOLLOW };

/* Does what probe-enable --config FILE does. Returns the exit status. */
enum status config_run(struct options *options, const char *path, enum config_mode mode, config_watch_fn *watch);
enum status config_follow(struct config *config, config_watch_fn *watch);

#endif
