/* SPDX-License-Identifier: MIT */
/*
 * The libelf.a of Debian 13 (elfutils 0.192) calls two functions that it does not contain. They prepare and free a tree
 * of data that only elf_getdata_rawchunk() fills. probepoint does not call this function, so the tree stays empty. If the
 * archive has the functions, and the tree is used, its own replace these, because these are weak.
 */
#include <stddef.h>

#include "cmd/static/libelf.h"

__attribute__((weak)) void eu_search_tree_init(struct eu_search_tree *tree)
{
	tree->root = NULL;
}

__attribute__((weak)) void eu_search_tree_fini(struct eu_search_tree *tree, void (*free_node)(void *node))
{
	(void)tree;
	(void)free_node;
}
