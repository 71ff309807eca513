/* SPDX-License-Identifier: MIT */
#ifndef RUNTIME_NOTICE_H
#define RUNTIME_NOTICE_H

/* Adds a sentence for pp_notice(). One that is waiting already is not added again. */
__attribute__((format(printf, 1, 2))) void notice_add(const char *format, ...);

#endif
