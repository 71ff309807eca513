// SPDX-License-Identifier: MIT
// Functions with many kinds of names. For each byte read, calls each function as often as the digit in its name says.
#include <cstdio>
#include <unistd.h>

#define PROBED __attribute__((noinline, noclone, noipa))

namespace shop {
struct order {
	long price;
	PROBED long total(int n) const { return price * n; } // 1
	PROBED long operator()(long a) { return a + price; } // 2
	PROBED long operator+(long a) { return a - price; } // 3
};
PROBED long over(int a) { return a; } // 4
PROBED long over(const char *a) { return *a; } // 5
template <typename T> PROBED long made(T a) { return (long)a; } // <int> 6
namespace { PROBED long hidden(int a) { return a * 2; } } // 7
}

extern "C" {
static PROBED long local_one(long a) { return a + 1; } // 8
long other_file(long a); // calls its own local_one, 9
PROBED long sum(const long *a, long n) // 1
{
	long s = 0;
	for (long i = 0; i < n; i++)
		s += a[i];
	return s;
}
}

int main()
{
	char c;
	volatile long s = 0;
	shop::order o = { 7 };
	long five[5] = { 1, 2, 3, 4, 5 };

	while (read(0, &c, 1) == 1) {
		s += o.total(3);
		for (int i = 0; i < 2; i++) s += o(i);
		for (int i = 0; i < 3; i++) s += o + i;
		for (int i = 0; i < 4; i++) s += shop::over(i);
		for (int i = 0; i < 5; i++) s += shop::over("x");
		for (int i = 0; i < 6; i++) s += shop::made(i);
		for (int i = 0; i < 7; i++) s += shop::hidden(i);
		for (int i = 0; i < 8; i++) s += local_one(i);
		for (int i = 0; i < 9; i++) s += other_file(i);
		s += sum(five, 5);
		puts("done");
		fflush(stdout);
	}
	return 0;
}
