/* SPDX-License-Identifier: MIT */
#include "sdt/btf.h"

#include <bpf/btf.h>
#include <string.h>

static int btf_member_in_type(const struct btf *btf, int type, const char *name)
{
	const struct btf_type *t = type < 0 ? NULL : btf__type_by_id(btf, type);

	while (t && (btf_is_mod(t) || btf_is_typedef(t)))
		t = btf__type_by_id(btf, t->type);
	if (!t || !btf_is_composite(t))
		return -1;
	for (int i = 0; i < btf_vlen(t); i++) {
		const struct btf_member *m = &btf_members(t)[i];
		const char *here = btf__name_by_offset(btf, m->name_off);
		int at = btf_member_bit_offset(t, i) / 8, inner;

		if (!strcmp(here, name))
			return at;
		if (!*here && (inner = btf_member_in_type(btf, (int)m->type, name)) >= 0)
			return at + inner;
	}
	return -1;
}

int btf_member_at(const struct btf *btf, const char *type, const char *name)
{
	return btf_member_in_type(btf, btf__find_by_name_kind(btf, type, BTF_KIND_STRUCT), name);
}
