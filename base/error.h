/* SPDX-License-Identifier: MIT */
/* Error messages of the library: pp_error() returns the last one of the calling thread. */
#ifndef BASE_ERROR_H
#define BASE_ERROR_H

/* Sets the message that pp_error() returns. Returns -code, so that a failing function can end with this call. */
__attribute__((format(printf, 2, 3))) int error_set(int code, const char *format, ...);

/* Reports that memory allocation failed. Returns -ENOMEM. */
int error_nomem(void);

/* Formats a message that pp_error() does not return. Returns NULL if memory allocation fails. The caller frees it. */
__attribute__((format(printf, 1, 2))) char *error_format(const char *format, ...);

#endif
