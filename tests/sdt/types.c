/* SPDX-License-Identifier: MIT */
/* The same as types.cc, in C. */
#include <sys/sdt.h>

#define TYPE(name, ...)                           \
	void f_##name(__typeof__(__VA_ARGS__) a); \
	void f_##name(__typeof__(__VA_ARGS__) a)  \
	{                                         \
		STAP_PROBE1(t, name, a);          \
	}
#define BARE(name, x)                    \
	void f_##name(void);             \
	void f_##name(void)              \
	{                                \
		STAP_PROBE1(t, name, x); \
	}

struct s1 {
	char a;
};
struct s2 {
	short a;
};
struct s3 {
	char a[3];
};
struct s4 {
	int a;
};
struct s8 {
	int a, b;
};
struct s12 {
	int a, b, c;
};
struct s16 {
	long a, b;
};
struct s24 {
	long a, b, c;
};
struct sf {
	float a;
};
struct sd {
	double a;
};
struct __attribute__((packed)) packed {
	char c;
	long l;
	struct s4 in;
};
struct bits {
	unsigned low : 3;
	int high : 5;
	_Bool one : 1;
};
union u4 {
	int i;
	float f;
};
union u8 {
	long l;
	double d;
};
union u16 {
	long l[2];
};
typedef int v16 __attribute__((vector_size(16)));
typedef int v8 __attribute__((vector_size(8)));
typedef char v4 __attribute__((vector_size(4)));
typedef float v16f __attribute__((vector_size(16)));
enum plain { RED, GREEN };
enum minus { LOW = -1, HIGH };
enum huge { HUGE = 1UL << 40 };
enum __attribute__((packed)) narrow { NARROW };
extern struct s4 extern_s4;
extern struct s24 extern_s24;
extern union u8 extern_u8;
extern v16 extern_v16;
extern struct packed extern_packed;
extern struct bits extern_bits;
extern int numbers[];
extern const char text[];
extern volatile struct s8 volatile_s8;
void function(int);
struct s8 make_s8(void);
v16 make_v16(void);
double make_double(void);

TYPE(bool_, _Bool)
TYPE(char_, char)
TYPE(schar, signed char)
TYPE(uchar, unsigned char)
TYPE(short_, short)
TYPE(ushort, unsigned short)
TYPE(int_, int)
TYPE(uint, unsigned)
TYPE(long_, long)
TYPE(ulong, unsigned long)
TYPE(llong, long long)
TYPE(ullong, unsigned long long)
TYPE(wchar, __WCHAR_TYPE__)
TYPE(char16, __CHAR16_TYPE__)
TYPE(int128, __int128)
TYPE(uint128, unsigned __int128)
TYPE(float_, float)
TYPE(double_, double)
TYPE(ldouble, long double)
TYPE(float128, __float128)
TYPE(cfloat, _Complex float)
TYPE(cdouble, _Complex double)
TYPE(cldouble, _Complex long double)
TYPE(cint, _Complex int)
TYPE(struct1, struct s1)
TYPE(struct2, struct s2)
TYPE(struct3, struct s3)
TYPE(struct4, struct s4)
TYPE(struct8, struct s8)
TYPE(struct12, struct s12)
TYPE(struct16, struct s16)
TYPE(struct24, struct s24)
TYPE(structf, struct sf)
TYPE(structd, struct sd)
TYPE(packed_, struct packed)
TYPE(union4, union u4)
TYPE(union8, union u8)
TYPE(union16, union u16)
TYPE(vector4, v4)
TYPE(vector8, v8)
TYPE(vector16, v16)
TYPE(vector16f, v16f)
TYPE(enum_plain, enum plain)
TYPE(enum_minus, enum minus)
TYPE(enum_huge, enum huge)
TYPE(enum_narrow, enum narrow)
TYPE(pointer_void, void *)
TYPE(pointer_cv, const volatile void *)
TYPE(pointer_function, void (*)(int))
TYPE(pointer_array, int (*)[3])
TYPE(pointer_any, struct never *)
TYPE(volatile_float, volatile float)
TYPE(volatile_char, volatile signed char)
TYPE(volatile_struct, volatile struct s8)
TYPE(volatile_pointer, char *volatile)
TYPE(const_int, const int)
TYPE(atomic_int, _Atomic int)
TYPE(atomic_char, _Atomic signed char)
TYPE(atomic_pointer, _Atomic(char *))
TYPE(decimal64, _Decimal64)
TYPE(decimal32, _Decimal32)
#ifdef __BFLT16_MAX__
TYPE(bfloat, __bf16)
#endif
#ifdef __FLT16_MAX__
TYPE(float16, _Float16)
#endif
TYPE(float32, _Float32)
TYPE(float64, _Float64)
TYPE(float64x, _Float64x)
TYPE(bitint17, _BitInt(17))
TYPE(bitint64, unsigned _BitInt(64))
BARE(constant_int, 5)
BARE(constant_long, -5L)
BARE(constant_float, 1.5F)
BARE(constant_double, 1.5)
BARE(constant_char, 'x')
BARE(constant_null, (void *)0)
BARE(string, "abc")
BARE(wide_string, L"abc")
BARE(bare_function, function)
BARE(bare_unbounded, numbers)
BARE(bare_text, text)
BARE(extern_struct4, extern_s4)
BARE(extern_struct24, extern_s24)
BARE(extern_union8, extern_u8)
BARE(extern_vector16, extern_v16)
BARE(extern_volatile, volatile_s8)
BARE(packed_long, extern_packed.l)
BARE(packed_struct, extern_packed.in)
BARE(bit_field, extern_bits.low)
BARE(bit_field_signed, extern_bits.high)
BARE(bit_field_sum, extern_bits.high + 0)
BARE(result_struct8, make_s8())
BARE(result_vector16, make_v16())
BARE(result_double, make_double())
BARE(compound, ((struct s4){ 1 }))
BARE(sum, extern_u8.l + 1)
BARE(comparison, extern_u8.l == 1)
BARE(conditional, (extern_u8.l ? extern_s4 : (struct s4){ 2 }))
BARE(sizeof_, sizeof(struct s24))
BARE(address, &extern_s4)
BARE(assignment, extern_s4.a = 3)
BARE(increment, extern_u8.l++)
BARE(cast_char, (signed char)extern_s4.a)
void f_static_array(void)
{
	static struct s8 a[3];
	STAP_PROBE1(t, static_array, a);
}
void f_local_array(void)
{
	volatile char a[3] = { 1, 2, 3 };
	STAP_PROBE1(t, local_array, a);
}
void f_vla(int n)
{
	char a[n];
	a[0] = 1;
	STAP_PROBE1(t, vla, a);
}
void f_parameter(int a[3])
{
	STAP_PROBE1(t, parameter, a);
}
void f_local_struct(void)
{
	struct here {
		int a;
	} b = { 1 };
	STAP_PROBE1(t, local_struct, b);
}
void f_register(void)
{
	register long r __asm__("rbx") = 1;
	STAP_PROBE1(t, register_, r);
}
