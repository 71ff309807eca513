/* SPDX-License-Identifier: MIT */
/*
 * Floating-point numbers of 16 bits: _Float16, binary16 of IEEE 754. Not every compiler
 * has the type.
 */
#ifndef BASE_HALF_H
#define BASE_HALF_H

#include <stdint.h>

double half_to_double(uint16_t bits);
/* Rounds to the nearest number, and to the even one of two. */
uint16_t half_from_double(double number);

#endif
