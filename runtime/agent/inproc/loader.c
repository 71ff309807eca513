/* SPDX-License-Identifier: MIT */
/*
 * The images that the C library's loader has. The agent reads the loader's lists
 * without its lock, as debuggers do. An entry may be freed meanwhile, so each is
 * copied by the kernel, and all are compared with the mappings.
 */
#include <elf.h>
#include <errno.h>
#include <link.h>
#include <string.h>

#include "runtime/agent/inproc/loader.h"
#include "runtime/agent/inproc/mem.h"

#define LOADED_MAX 65536 /* entries of a list; a longer list is a loop */
#define NAMESPACES_MAX 64
#define HEADERS_MAX 64

struct loaded {
	uintptr_t bias;
	uintptr_t dynamic; /* address of the dynamic section */
};

static struct vector loaded; /* struct loaded */
static bool loading;         /* the loader is changing its lists */

static int loader_read_list(const struct link_map *at)
{
	struct link_map entry;

	for (unsigned n = 0; at && n < LOADED_MAX; n++, at = entry.l_next) {
		struct loaded *added;

		/* The struct is larger, but only these members are public. */
		if (!memory_copy(&entry, (uintptr_t)at, sizeof(entry)))
			return 0;
		added = vector_add(&loaded, sizeof(*added));
		if (!added)
			return -ENOMEM;
		*added = (struct loaded){ entry.l_addr, (uintptr_t)entry.l_ld };
	}
	return 0;
}

/* Since version 2 of struct r_debug, each namespace of dlmopen(3) has its own list. */
int loader_read(void)
{
	struct {
		struct r_debug base;
		uintptr_t next;
	} debug;
	uintptr_t at = (uintptr_t)&_r_debug;
	int err = 0;

	vector_clear(&loaded);
	loading = false;
	for (unsigned n = 0; at && n < NAMESPACES_MAX && !err; n++) {
		if (!memory_copy(&debug.base, at, sizeof(debug.base)))
			return 0;
		loading |= debug.base.r_state != RT_CONSISTENT;
		err = loader_read_list(debug.base.r_map);
		if (debug.base.r_version < 2 || !memory_copy(&debug, at, sizeof(debug)))
			break;
		at = debug.next;
	}
	return err;
}

/* Reads the program headers of the mapping's file, from where its beginning is mapped. Returns their number. */
static unsigned headers_read(const struct map_entry *text, ElfW(Phdr) headers[HEADERS_MAX])
{
	ElfW(Ehdr) header;

	for (size_t i = 0; i < maps_count(); i++) {
		const struct map_entry *m = maps_get(i);

		if (!m->offset && mappings_same_file(m, text) && memory_copy(&header, m->start, sizeof(header)) &&
		    !memcmp(header.e_ident, ELFMAG, SELFMAG) && header.e_phentsize == sizeof(*headers) &&
		    header.e_phnum <= HEADERS_MAX && header.e_phoff <= m->end - m->start &&
		    memory_copy(headers, m->start + header.e_phoff, header.e_phnum * sizeof(*headers)))
			return header.e_phnum;
	}
	return 0;
}

/* Returns whether the headers, moved by the image's bias, place this text and the dynamic section where they are. */
static bool loaded_is_at(const struct map_entry *m, const struct loaded *image, const ElfW(Phdr) * headers, unsigned n)
{
	bool text = false, dynamic = false;

	for (unsigned i = 0; i < n; i++) {
		const ElfW(Phdr) *h = &headers[i];

		text |= h->p_type == PT_LOAD && h->p_flags & PF_X && m->end - m->start > 0 &&
		        m->offset + (m->end - m->start) > h->p_offset && m->offset < h->p_offset + h->p_filesz &&
		        image->bias + h->p_vaddr - h->p_offset == m->start - m->offset;
		dynamic |= h->p_type == PT_DYNAMIC && image->bias + h->p_vaddr == image->dynamic;
	}
	return text && dynamic;
}

enum loader_state loader_has(const struct map_entry *m)
{
	static ElfW(Phdr) headers[HEADERS_MAX];
	const struct loaded *image = loaded.at;
	unsigned n = headers_read(m, headers);

	for (size_t i = 0; i < loaded.n / sizeof(*image); i++) {
		const struct map_entry *at = maps_at(image[i].dynamic);

		if (at && mappings_same_file(at, m) && loaded_is_at(m, &image[i], headers, n))
			return LOADER_LOADED;
	}
	return loading ? LOADER_CHANGING : LOADER_NOT_LOADED;
}
