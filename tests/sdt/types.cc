/* SPDX-License-Identifier: MIT */
/*
 * Arguments of every type, one probe per line, named after its type.
 * sdt/types.sh deletes the lines that a compiler refuses with one header,
 * and compares the notes of the others with each header.
 */
#include <sys/sdt.h>

#if __cplusplus >= 201103L
#define CXX11(...) __VA_ARGS__
#define NULLPTR nullptr
#else
#define CXX11(...)
#endif

template <class T> struct as { typedef T type; };
#define TYPE(name, ...) void f_##name(as<__VA_ARGS__>::type a); void f_##name(as<__VA_ARGS__>::type a) { STAP_PROBE1(t, name, a); }
#define VALUE(name, ...) void f_##name(); void f_##name() { STAP_PROBE1(t, name, (__VA_ARGS__)); }
#define BARE(name, x) void f_##name(); void f_##name() { STAP_PROBE1(t, name, x); }

struct s1 { char a; };
struct s2 { short a; };
struct s3 { char a[3]; };
struct s4 { int a; };
struct s8 { int a, b; };
struct s12 { int a, b, c; };
struct s16 { long a, b; };
struct s24 { long a, b, c; };
struct sf { float a; };
struct sd { double a; };
struct empty {};
union u4 { int i; float f; };
union u8 { long l; double d; };
union u16 { long l[2]; };
struct handle { void *p; operator bool() const { return p; } };
struct number { long n; operator int() const { return 1; } };
struct pointer { int n; operator const char *() const { return "x"; } };
struct any { char c; template <class T> operator T() const { return T(); } };
struct real { long n; operator double() const { return 1; } };
class copied { public: long l; copied() : l(1) {} copied(const copied &o) : l(o.l) {} ~copied() {} };
class made { public: long l; made(int n) : l(n) {} };
class unique { public: long l; unique() : l(1) {} private: unique(const unique &); };
class addressed { public: long l; addressed *operator&(); void operator,(int); };
struct abstract { virtual ~abstract() {} virtual void f() = 0; int x; };
struct derived : s4 { int y; };
struct __attribute__((packed)) packed { char c; long l; struct s4 in; };
struct bits { unsigned low : 3; int high : 5; bool one : 1; };
typedef int v16 __attribute__((vector_size(16)));
typedef int v8 __attribute__((vector_size(8)));
typedef char v4 __attribute__((vector_size(4)));
typedef float v16f __attribute__((vector_size(16)));
enum plain { RED, GREEN };
enum minus { LOW = -1, HIGH };
enum huge { HUGE = 1UL << 40 };
template <class T> struct box { T value; };
extern s4 extern_s4; extern u8 extern_u8; extern handle extern_handle; extern v16 extern_v16; extern packed extern_packed; extern bits extern_bits;
extern int numbers[]; extern const char text[]; extern volatile s8 volatile_s8;
void function(int); int &reference(); s8 make_s8(); handle make_handle(); copied make_copied(); v16 make_v16(); double make_double();

TYPE(bool_, bool)
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
TYPE(wchar, wchar_t)
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
TYPE(struct1, s1)
TYPE(struct2, s2)
TYPE(struct3, s3)
TYPE(struct4, s4)
TYPE(struct8, s8)
TYPE(struct12, s12)
TYPE(struct16, s16)
TYPE(struct24, s24)
TYPE(structf, sf)
TYPE(structd, sd)
TYPE(struct0, empty)
TYPE(union4, u4)
TYPE(union8, u8)
TYPE(union16, u16)
TYPE(to_bool, handle)
TYPE(to_int, number)
TYPE(to_pointer, pointer)
TYPE(to_any, any)
TYPE(to_real, real)
TYPE(class_copied, copied &)
TYPE(class_copied_const, const copied &)
TYPE(class_made, made &)
TYPE(class_unique, unique &)
TYPE(class_addressed, addressed &)
TYPE(class_abstract, abstract &)
TYPE(class_derived, derived)
TYPE(class_packed, packed)
TYPE(class_template, box<short>)
TYPE(vector4, v4)
TYPE(vector8, v8)
TYPE(vector16, v16)
TYPE(vector16f, v16f)
TYPE(enum_plain, plain)
TYPE(enum_minus, minus)
TYPE(enum_huge, huge)
TYPE(member, int s8::*)
TYPE(method, void (s8::*)())
TYPE(pointer_void, void *)
TYPE(pointer_cv, const volatile void *)
TYPE(pointer_function, void (*)(int))
TYPE(pointer_array, int (*)[3])
TYPE(pointer_struct, const volatile s8 *)
TYPE(pointer_any, struct never *)
TYPE(ref_function, void (&)(int))
TYPE(ref_int, int &)
TYPE(ref_cv, const volatile short &)
TYPE(ref_array, int (&)[3])
TYPE(ref_struct, const s8 &)
TYPE(ref_double, const double &)
TYPE(volatile_float, volatile float &)
TYPE(volatile_char, volatile signed char &)
TYPE(volatile_struct, volatile s8 &)
TYPE(volatile_union, const volatile u4 &)
TYPE(volatile_pointer, char *volatile &)
TYPE(volatile_enum, volatile plain &)
TYPE(atomic_like, volatile long &)
CXX11(TYPE(nullptr_, decltype(nullptr)))
CXX11(TYPE(char16, char16_t))
CXX11(TYPE(char32, char32_t))
CXX11(enum class scoped : signed char { A }; TYPE(enum_scoped, scoped))
CXX11(enum class scoped_ulong : unsigned long { A }; TYPE(enum_scoped_ulong, scoped_ulong))
CXX11(enum fixed : short { F }; TYPE(enum_fixed, fixed))
CXX11(enum truth : bool { NO }; TYPE(enum_bool, truth))
CXX11(TYPE(ref_rvalue, s8 &&))
CXX11(struct explicitly { long n; explicit operator bool() const { return n; } }; TYPE(to_bool_explicit, explicitly))
CXX11(struct deleted { long n; deleted(const deleted &) = delete; deleted(deleted &&) = default; }; TYPE(class_deleted, deleted &))
#ifdef __cpp_char8_t
TYPE(char8, char8_t)
#endif
#ifdef __BFLT16_MAX__
TYPE(bfloat, __bf16)
#endif
#ifdef __FLT16_MAX__
TYPE(float16, _Float16)
#endif
#ifdef __BITINT_MAXWIDTH__
TYPE(bitint, _BitInt(17))
#endif
BARE(constant_int, 5)
BARE(constant_long, -5L)
BARE(constant_float, 1.5F)
BARE(constant_double, 1.5)
BARE(constant_bool, true)
BARE(constant_char, 'x')
BARE(constant_null, __null)
BARE(string, "abc")
BARE(wide_string, L"abc")
BARE(bare_function, function)
BARE(bare_unbounded, numbers)
BARE(bare_text, text)
BARE(extern_struct4, extern_s4)
BARE(extern_union8, extern_u8)
BARE(extern_to_bool, extern_handle)
BARE(extern_vector16, extern_v16)
BARE(extern_volatile, volatile_s8)
BARE(packed_long, extern_packed.l)
BARE(packed_struct, extern_packed.in)
BARE(bit_field, extern_bits.low)
BARE(bit_field_signed, extern_bits.high)
BARE(result_reference, reference())
BARE(result_struct8, make_s8())
BARE(result_to_bool, make_handle())
BARE(result_copied, make_copied())
BARE(result_vector16, make_v16())
BARE(result_double, make_double())
BARE(temporary, (s4()))
BARE(sum, extern_u8.l + 1)
BARE(comparison, extern_u8.l == 1)
BARE(conditional, (extern_u8.l ? extern_s4 : s4()))
BARE(sizeof_, sizeof(s24))
BARE(address, &extern_s4)
BARE(assignment, extern_s4.a = 3)
BARE(increment, extern_u8.l++)
BARE(cast_char, static_cast<char>(extern_s4.a))
void f_static_array() { static s8 a[3]; STAP_PROBE1(t, static_array, a); }
void f_local_array() { volatile char a[3] = { 1, 2, 3 }; STAP_PROBE1(t, local_array, a); }
void f_vla(int n) { char a[n]; a[0] = 1; STAP_PROBE1(t, vla, a); }
void f_local_struct() { struct here { int a; } b = { 1 }; STAP_PROBE1(t, local_struct, b); }
void f_local_pointer() { struct here { int a; } b = { 1 }, *p = &b; STAP_PROBE1(t, local_pointer, p); }
void f_local_array_struct() { static struct here { int a; } b[2]; STAP_PROBE1(t, local_array_struct, b); }
void f_local_enum(int n) { enum here { ONE = 1, TWO } b = n ? ONE : TWO; STAP_PROBE1(t, local_enum, b); }
void f_unnamed_enum(int n) { enum { ONE = 1, TWO } b = n ? ONE : TWO; STAP_PROBE1(t, unnamed_enum, b); }
void f_unnamed_struct() { struct { short a; } b = { 1 }; STAP_PROBE1(t, unnamed_struct, b); }
CXX11(void f_lambda(int n) { auto l = [n]() { return n; }; STAP_PROBE1(t, lambda, l); })
CXX11(void f_lambda_bare() { auto l = [](int k) { return k; }; STAP_PROBE1(t, lambda_bare, l); })
template <class T> void in_template(T a) { STAP_PROBE1(t, in_template, a); }
template void in_template<s8>(s8);
struct s8 from_this { 1, 2 };
struct has_this { int x; void f() { STAP_PROBE2(t, this_, this, *this); } void g() const; };
void has_this::g() const { STAP_PROBE1(t, this_const, *this); }
