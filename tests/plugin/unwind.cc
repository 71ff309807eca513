/* SPDX-License-Identifier: MIT */
/* Ways out of functions: returns, exceptions, and calls that do not return. */
#include <cstdio>
#include <cstdlib>
#include <stdexcept>
#include <vector>
#define NOINLINE __attribute__((noinline))
struct guard { int &n; ~guard() { n++; } };
static int dtors;
NOINLINE int thrower(int n) { if (n % 3 == 0) throw n; return n; }
NOINLINE int passes(int n) { int r = thrower(n); return r * 2; }
NOINLINE int tail(int n) { return thrower(n); }
NOINLINE int guarded(int n) { guard g{dtors}; return thrower(n) + 1; }
NOINLINE int catches(int n) { try { return passes(n) + guarded(n + 1); } catch (int e) { return -e; } }
NOINLINE int rethrows(int n) { try { return passes(n); } catch (int e) { if (e > 5) throw; return 1; } }
NOINLINE int other(int n) { try { return passes(n); } catch (long) { return 3; } }
static inline int inl(int n) { int k = thrower(n); return k + 1; }
NOINLINE int inliner(int n) { int r = inl(n) ; r += inl(n + 1); return r; }
NOINLINE long deep(long n, long acc) { if (!n) thrower(3); return n ? deep(n - 1, acc + n) : acc; }
NOINLINE int nothrow_(int n) noexcept { try { return thrower(n); } catch (...) { return 0; } }
NOINLINE int vec(unsigned n) { std::vector<int> v(3); return v.at(n); }
[[noreturn]] NOINLINE void die(int n) { printf("%d\n", n); throw std::runtime_error("x"); }
NOINLINE int maydie(int n) { if (n == 4) die(n); return n; }
NOINLINE int quits(int n) { if (n == 12) exit(dtors == 0); return n; }
template <class F> static int call(F f, int n) { try { return f(n); } catch (...) { return 1; } }
int main()
{
	int s = 0;
	for (int i = 0; i < 12; i++) {
		s += call(passes, i) + call(tail, i) + call(guarded, i) + call(catches, i) + call(rethrows, i) + call(other, i) +
		     call(inliner, i) + call(nothrow_, i) + call(vec, i) + call(maydie, i);
	}
	try { deep(DEPTH, 0); } catch (int e) { s += e; }
	printf("%d %d\n", s, dtors);
	return quits(12);
}
