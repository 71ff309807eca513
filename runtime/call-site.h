/* SPDX-License-Identifier: MIT */
/* The code around a return address. */
#ifndef RUNTIME_CALL_SITE_H
#define RUNTIME_CALL_SITE_H

#include <stdbool.h>
#include <stdint.h>

#define CALL_SITE_BEFORE 8 /* bytes of code before the return address that these functions get, and from it on */
#define CALL_SITE_AFTER 16

/* Returns whether a call instruction ends where the return address is. True for an unknown CPU (EM_*). */
bool call_site_is_before(int machine, const uint8_t code[CALL_SITE_BEFORE + CALL_SITE_AFTER]);
/* Returns whether the instructions from the return address on make the system call that ends a signal handler. */
bool call_site_is_signal(int machine, const uint8_t code[CALL_SITE_BEFORE + CALL_SITE_AFTER]);

#endif
