/* SPDX-License-Identifier: MIT */
#ifndef BASE_NOTICE_H
#define BASE_NOTICE_H

/* Adds a sentence for pp_notice(). One that is waiting already is not added again. */
__attribute__((format(printf, 1, 2))) void notice_add(const char *format, ...);

#endif
