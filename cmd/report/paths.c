/* SPDX-License-Identifier: MIT */
#include "cmd/report/paths.h"

#include <stdlib.h>

#include "cmd/alloc.h"
#include "cmd/report/grow.h"
#include "cmd/report/table.h"

struct paths {
	struct path_node *nodes;
	size_t n, room;
	struct index_table children;
};

static void paths_add(struct paths *paths, struct path_node node)
{
	GROW(paths->nodes, paths->n + 1, paths->room);
	paths->nodes[paths->n++] = node;
}

struct paths *paths_new(void)
{
	struct paths *paths = xcalloc(1, sizeof(*paths));

	paths_add(paths, (struct path_node){ 0, REPORT_NONE, 0 });
	paths_add(paths, (struct path_node){ 0, REPORT_NONE, 1 });
	return paths;
}

void paths_free(struct paths *paths)
{
	if (!paths)
		return;
	free(paths->nodes);
	table_release(&paths->children);
	free(paths);
}

static bool path_is(const void *nodes, uint32_t i, const void *key)
{
	const struct path_node *node = (const struct path_node *)nodes + i, *k = key;

	return node->parent == k->parent && node->function == k->function;
}

uint32_t paths_child(struct paths *paths, uint32_t parent, uint32_t function)
{
	struct path_node node = { parent, function, paths->nodes[parent].depth + 1 };
	uint64_t hash = table_hash(&node, 2 * sizeof(uint32_t));
	uint32_t i;

	if (parent == PATH_OTHER)
		return PATH_OTHER;
	i = table_find(&paths->children, hash, path_is, paths->nodes, &node);
	if (i != REPORT_NONE)
		return i;
	if (paths->n >= PATHS_MAX || node.depth > PATH_DEPTH_MAX)
		return PATH_OTHER;
	table_add(&paths->children, hash, (uint32_t)paths->n);
	paths_add(paths, node);
	return (uint32_t)paths->n - 1;
}

size_t paths_count(const struct paths *paths)
{
	return paths->n;
}

const struct path_node *paths_node(const struct paths *paths, uint32_t node)
{
	return &paths->nodes[node];
}
