/* SPDX-License-Identifier: MIT */
/* What a configuration has armed: the labels of sessions. */
#ifndef CMD_CONFIG_ARMED_H
#define CMD_CONFIG_ARMED_H

#include "cmd/config.h"

/* What was armed for one target of an entry. */
struct config_armed {
	char *session, *since, *probes, *target, *text; /* from the label */
	char *file, *build_id;
	uint32_t attachment;
	enum pp_file_state file_state;
	enum pp_life life;
	pid_t pid;
	size_t sites;
	uint64_t hits;
	bool used; /* an entry asks for it */
};

struct config_armed_list {
	struct config_armed *list;
	size_t n;
};

/* Returns the label of an entry that is armed for a target now. The caller frees it. */
char *config_label(const struct config *config, const struct config_entry *entry, const struct config_target *target);
/* Returns what identifies a target in a label. The caller frees it. */
char *config_target_key(const struct config_target *target);
/* Returns the patterns of the entry, separated by blanks. The caller frees them. */
char *config_probes(const struct config_entry *entry);

/* Reads what the file has armed in all sessions. Reports errors. */
void config_armed_read(struct config *config, struct config_armed_list *armed);
void config_armed_free(struct config_armed_list *armed);

#endif
