/* SPDX-License-Identifier: MIT */
#ifndef TESTS_AGENT_STORM_H
#define TESTS_AGENT_STORM_H

#include <stdint.h>
#include <sys/sdt.h>

#define NOIPA __attribute__((noipa))

#define TEN(F, n) F(n##0) F(n##1) F(n##2) F(n##3) F(n##4) F(n##5) F(n##6) F(n##7) F(n##8) F(n##9)
#define HUNDRED(F, n) \
	TEN(F, n##0)  \
	TEN(F, n##1)  \
	TEN(F, n##2) TEN(F, n##3) TEN(F, n##4) TEN(F, n##5) TEN(F, n##6) TEN(F, n##7) TEN(F, n##8) TEN(F, n##9)
#define ALL(F) HUNDRED(F, 1) HUNDRED(F, 2) TEN(F, 30) TEN(F, 31) TEN(F, 32) TEN(F, 33) TEN(F, 34)

#define STORM_EACH 250
extern int (*const storm_asm[])(int);

#endif
