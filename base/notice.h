/* SPDX-License-Identifier: MIT */
#ifndef BASE_NOTICE_H
#define BASE_NOTICE_H

/* Adds a message for pp_notice() of the calling thread, unless the same message is already waiting. */
__attribute__((format(printf, 1, 2))) void notice_add(const char *format, ...);

#endif
