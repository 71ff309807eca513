/* SPDX-License-Identifier: MIT */
/* As values.c, for types that C does not have. C++11 and later. */
#include <cstddef>
#define SDT_USE_VARIADIC
extern "C" { /* a header may be included in here */
#include <sys/sdt.h>
}

#ifdef __clang__
#define NOIPA __attribute__((noinline))
#else
#define NOIPA __attribute__((noipa))
#endif

enum plain { RED, GREEN = 7 };
enum negative { LOW = -3, HIGH = 5 };
enum byte : unsigned char { SMALL = 1, BIG = 255 };
enum class scoped : short { MINUS = -2 };
enum class flags : unsigned long long { ALL = ~0ULL };

struct bits {
	unsigned low : 3;
	int high : 5;
	bool one : 1;
};

namespace names {
struct type {};
int __sdt_type(type *); /* found by its argument's namespace, if the macros let it */
NOIPA void enums(plain a, negative b, byte c, scoped d, flags e, bool f, type *value)
{
	/* = enums 4@7 -4@-3 1@255 -2@-2 8@18446744073709551615 1@1 */
	STAP_PROBE6(v, enums, a, b, c, d, e, f);
	/* = others 8@0 8@0 */
	STAP_PROBE2(v, others, value, nullptr);
}
}

class counter {
	int count_ = 0;
	const char *name_;

public:
	explicit counter(const char *name) : name_(name) {}
	virtual ~counter() {}
	NOIPA virtual int add(int n)
	{
		count_ += n;
		/* = member -4@5 -4@5 8@"name" */
		STAP_PROBEV(v, member, n, this->count_, name_);
		return count_;
	}
	NOIPA int bits(const bits &b) const
	{
		/* = bits 4@5 -4@-9 1@1 */
		STAP_PROBEV(v, bits, b.low, b.high, b.one);
		return b.high;
	}
};

NOIPA void references(const int &a, unsigned char &b, char (&c)[4], long &&d, const volatile short &e)
{
	/* = references -4@6 1@7 8@"abc" -8@8 -2@-9 */
	STAP_PROBEV(v, references, a, b, c, d, e);
}

template <class T, int N> struct box {
	T value;
	NOIPA void show(T other)
	{
		STAP_PROBEV(v, box, value, other, N);
	}
};
/* = box -8@1 -8@2 -4@3 */
/* = box 1@4 1@5 -4@6 */
template struct box<long, 3>;
template struct box<unsigned char, 6>;

NOIPA void characters(char16_t a, char32_t b, wchar_t c)
{
	/* = characters 2@65535 4@66 -4@67 */
	STAP_PROBEV(v, characters, a, b, c);
}

NOIPA void reals(float a, double b, const double &c)
{
	/* = reals 4@1069547520 8@4612811918334230528 8@13821547256400052224 8@4615063718147915776 4@1069547520 */
	STAP_PROBEV(v, reals, a, b, c, 3.5, 1.5F);
}

NOIPA void locals(int n)
{
	struct here {
		int x;
	} h = { n }, *p = &h;
	enum { ONE = 1, TWO } unnamed = n ? TWO : ONE;
	auto lambda = [&](int k) {
		/* = lambda -4@30 -4@31 */
		STAP_PROBEV(v, lambda, n, k);
		return p->x + k;
	};

	/* = locals -4@30 4@2 -4@61 */
	STAP_PROBEV(v, locals, p->x, unnamed, lambda(31));
	/* = null -8@0 8@0 */
	STAP_PROBEV(v, null, NULL, p == &h ? nullptr : p);
}

NOIPA int thrown(int n)
{
	try {
		if (n)
			throw n;
	} catch (int &caught) {
		/* = caught -4@17 */
		STAP_PROBEV(v, caught, caught);
	}
	return 0;
}

struct couple {
	int first, second;
};
union number {
	long integer;
	double real;
};
struct handle {
	long id;
	operator bool() const { return true; }
	operator const char *() const { return "not this"; }
};
struct narrow {
	short value;
};
class counted {
	long value_;

public:
	static int copies;
	explicit counted(long value) : value_(value) {}
	counted(const counted &other) : value_(other.value_) { copies++; }
	~counted() {}
};
int counted::copies;
__extension__ typedef _Complex float complex;
typedef int vector __attribute__((vector_size(8)));
template <class T> void operator,(T, couple); /* not for the macros */

NOIPA void aggregates(couple a, number b, handle c, narrow d, vector e, const volatile couple &f)
{
	/* = aggregates 8@30064771078 8@77 8@4711 2@65534 8@8589934593 8@30064771078 */
	STAP_PROBEV(v, aggregates, a, b, c, d, e, f);
}

NOIPA void objects(counted &a, const counted &b, int couple::*c, complex d)
{
	/* = objects 8@5 8@5 8@4 8@1069547520 */
	STAP_PROBEV(v, objects, a, b, c, d);
}

extern "C" void wanted(int) {}

int main()
{
	unsigned char b = 7;
	char c[4] = "abc";
	const volatile short e = -9;
	counter count("name");
	box<long, 3> one = { 1 };
	box<unsigned char, 6> two = { 4 };

	names::enums(GREEN, LOW, BIG, scoped::MINUS, flags::ALL, true, nullptr);
	count.add(5);
	count.bits({ 5, -9, true });
	references(6, b, c, 8, e);
	one.show(2);
	two.show(5);
	characters(65535, 66, 67);
	reals(1.5F, 2.5, -0.25);
	locals(30);
	couple pair = { 6, 7 };
	number n = { 77 };
	counted object(5);
	aggregates(pair, n, handle{ 4711 }, narrow{ -2 }, vector{ 1, 2 }, pair);
	objects(object, object, &couple::second, 1.5F);
	return thrown(17) + counted::copies;
}
