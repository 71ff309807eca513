/* SPDX-License-Identifier: MIT */
/* Compiled twice, as PART 1 and 2, in C or C++. Each declared probe is one probe over both. */
#include "shop.h"

#ifdef __cplusplus
using namespace shop;
extern "C" {
#endif
int watched(void);
void other(int id);
#ifdef __cplusplus
} /* before main(), which C++ does not allow in here */
#endif

#if PART == 1
int watched(void)
{
	return PROBE_ENABLED(shop, order);
}

int main(void)
{
	static struct item item = { 5 };
	static char h[] = "h";
	volatile int hidden = 1;
	int n;

	open();
	for (n = 0; n < 3; n++)
		order(n, "part one", 8);
	other(7);
	kinds('a', true, -3, 200, -5, BOTTOM, &item, h, 2.5);
	some(hidden, 12345678901UL);
	twelve(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12);
#ifdef __cplusplus
	order_of(n);
	order_of(item, "of");
#endif
	return watched() ? 50 : 0;
}
#else
void other(int id)
{
	order(id, "part two", 8UL);
}
#endif
