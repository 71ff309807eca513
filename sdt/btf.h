/* SPDX-License-Identifier: MIT */
/* Offsets of members of the running kernel's structures. */
#ifndef SDT_BTF_H
#define SDT_BTF_H

struct btf;

/* Returns the byte offset of a member, also of a member of an anonymous struct or union in it. -1: no such member. */
int btf_member_at(const struct btf *btf, const char *type, const char *name);

#endif
