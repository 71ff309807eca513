/* SPDX-License-Identifier: MIT */
/* libcodec.so: packs text by run lengths. Probed by the compiler's plugin, as codec:codec_pack__entry and so on. */
#ifndef CODEC_H
#define CODEC_H

#include <stddef.h>
#include <stdint.h>

/* Bytes written to out, which holds size; -1 where they do not fit. A run of 4 or more becomes `~`, its length, the byte. */
long codec_pack(const char *text, size_t length, char *out, size_t size);
long codec_unpack(const char *packed, size_t length, char *out, size_t size);

uint32_t codec_sum(const char *name, const char *data, size_t length);

#endif
