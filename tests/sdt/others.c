/* SPDX-License-Identifier: MIT */
/* Defines what kinds.c only declares. */
struct incomplete {
	int x;
} * opaque;
int numbers[4] = { 10, 11, 12, 13 };
volatile int flag = 9;
const char *const text = "text";
unsigned long counter = 77;
float a_float = 1.5F;
double a_double = 2.5;
long double a_long_double = 3.5L;
void callee(int x)
{
	(void)x;
}
