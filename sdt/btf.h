/* SPDX-License-Identifier: MIT */
/* Where members of the running kernel's structures are. */
#ifndef SDT_BTF_H
#define SDT_BTF_H

struct btf;

/* The byte offset of a member of the struct, also of one in an anonymous part of it. -1: there is no such member. */
int btf_member_at(const struct btf *btf, const char *type, const char *name);

#endif
