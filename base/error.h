/* SPDX-License-Identifier: MIT */
#ifndef BASE_ERROR_H
#define BASE_ERROR_H

/* Sets pp_error() to the sentence and returns -code, so that a failing function ends in one line. */
__attribute__((format(printf, 2, 3))) int error_set(int code, const char *format, ...);

/* A sentence that is not pp_error()'s, for the caller to free. NULL: no memory. */
__attribute__((format(printf, 1, 2))) char *error_sentence(const char *format, ...);

#endif
