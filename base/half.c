/* SPDX-License-Identifier: MIT */
#include "base/half.h"

#include <stdbool.h>
#include <string.h>

#define HALF_SIGN 0x8000
#define HALF_INFINITY 0x7c00
#define HALF_FRACTION 10 /* bits */
#define HALF_EXPONENT_MIN (-14)
#define DOUBLE_FRACTION 52
#define DOUBLE_BIAS 1023

double half_to_double(uint16_t bits)
{
	unsigned exponent = bits >> HALF_FRACTION & 0x1f, fraction = bits & ((1 << HALF_FRACTION) - 1);
	uint64_t sign = (uint64_t)(bits & HALF_SIGN) << 48, wide;
	double number;

	if (!exponent) {
		number = fraction * 0x1p-24;
		return sign ? -number : number;
	}
	wide = exponent == 0x1f ? 0x7ff : exponent + DOUBLE_BIAS + HALF_EXPONENT_MIN - 1;
	wide = sign | wide << DOUBLE_FRACTION | (uint64_t)fraction << (DOUBLE_FRACTION - HALF_FRACTION);
	memcpy(&number, &wide, sizeof(number));
	return number;
}

uint16_t half_from_double(double number)
{
	uint64_t wide, digits, half, rest;
	int exponent, drop;
	uint16_t sign, bits;

	memcpy(&wide, &number, sizeof(wide));
	sign = wide >> 48 & HALF_SIGN;
	digits = wide & ((UINT64_C(1) << DOUBLE_FRACTION) - 1);
	exponent = (int)(wide >> DOUBLE_FRACTION & 0x7ff) - DOUBLE_BIAS;
	if (exponent == DOUBLE_BIAS + 1 && digits)
		return sign | HALF_INFINITY | 1 << (HALF_FRACTION - 1); /* not a number */
	if (exponent > 15)
		return sign | HALF_INFINITY;
	drop = DOUBLE_FRACTION - HALF_FRACTION;
	if (exponent < HALF_EXPONENT_MIN)
		drop += HALF_EXPONENT_MIN - exponent;
	if (drop > DOUBLE_FRACTION + 1)
		return sign; /* less than half of the smallest number */
	digits |= UINT64_C(1) << DOUBLE_FRACTION;
	half = UINT64_C(1) << (drop - 1);
	rest = digits & (2 * half - 1);
	bits = digits >> drop;
	bits += rest > half || (rest == half && (bits & 1));
	/* The first digit of a normal number adds one to the exponent, as a carry of the rounding does. */
	if (exponent >= HALF_EXPONENT_MIN)
		bits += (exponent - HALF_EXPONENT_MIN) << HALF_FRACTION;
	return sign | bits;
}
