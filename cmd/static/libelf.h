/* SPDX-License-Identifier: MIT */
/* Internal functions of elfutils; see libelf.c. */
#ifndef CMD_STATIC_LIBELF_H
#define CMD_STATIC_LIBELF_H

struct eu_search_tree {
	void *root; /* the first member; the others are not used */
};

void eu_search_tree_init(struct eu_search_tree *tree);
void eu_search_tree_fini(struct eu_search_tree *tree, void (*free_node)(void *node));

#endif
