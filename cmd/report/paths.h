/* SPDX-License-Identifier: MIT */
/* The tree of call stacks. Node 0 is the root, an empty stack. */
#ifndef CMD_REPORT_PATHS_H
#define CMD_REPORT_PATHS_H

#include "cmd/report/model.h"

/* With more stacks than this, or deeper ones, calls share the node PATH_OTHER, whose function is REPORT_NONE. */
enum { PATHS_MAX = 1 << 19, PATH_DEPTH_MAX = 512, PATH_OTHER = 1 };

struct path_node {
	uint32_t parent, function, depth;
};

struct paths;

struct paths *paths_new(void);
void paths_free(struct paths *paths);
/* Returns the node of a call of the function from a stack. */
uint32_t paths_child(struct paths *paths, uint32_t parent, uint32_t function);
size_t paths_count(const struct paths *paths);
const struct path_node *paths_node(const struct paths *paths, uint32_t node);

#endif
