/* SPDX-License-Identifier: MIT */
/* libcodec.so packs text by run-length encoding. The GCC plugin adds its probes, such as codec:codec_pack__entry. */
#ifndef CODEC_H
#define CODEC_H

#include <stddef.h>
#include <stdint.h>

/*
 * Pack and unpack a text. They return the number of bytes written to out, or -1 if out, which has `size` bytes, is too
 * small. A run of 4 or more equal bytes becomes '~', its length, and the byte.
 */
long codec_pack(const char *text, size_t length, char *out, size_t size);
long codec_unpack(const char *packed, size_t length, char *out, size_t size);

uint32_t codec_sum(const char *name, const char *data, size_t length);

#endif
