/* SPDX-License-Identifier: MIT */
/*
 * Declared probes: probes with a prototype.
 *
 * PROBE_DECLARE(provider, name, prototype, parameters)
 *
 *     PROBE_DECLARE(server, request_start, (int fd, const char *path, size_t len), (fd, path, len));
 *
 * Declares the probe server:request_start. Use it at file scope, in C++ also in a
 * namespace, usually in a header. The last argument lists the parameters that the
 * probe hands over, at most 12, or () for none. From then on
 *
 *     request_start(3, path, strlen(path));
 *
 * is a call that the compiler checks and converts like any other. The code is a test
 * of the probe's semaphore, a short integer that is zero while no tool has enabled the
 * probe, and a site after the test. The program computes arguments without side effects
 * after the test too, as far as the compiler can tell that they have none.
 *
 * PROBE_ENABLED(provider, name)
 *
 *     if (PROBE_ENABLED(server, request_start))
 *         request_start(3, describe(request), 0);
 *
 * True while a tool has enabled the probe. Use it if arguments are expensive and may have
 * side effects in the compiler's view.
 *
 * Tools. gdb, perf, bpftrace and probepoint raise the semaphore. A tool that sets a
 * breakpoint on the site and leaves the semaphore alone sees no hits.
 *
 * Linking. Each file that uses a probe defines its semaphore, and the linker merges the
 * definitions: a program or library has one, and none for a probe that it never calls.
 * The same holds for a note with the arguments' names and kinds (tools show strings as
 * strings). With the plugin, the note has their types and the place of the declaration
 * too.
 *
 * Limits. C++ overloads can share the name of one probe; readers then have the names of
 * one of them. C must be C99 or later, or SDT_USE_VARIADIC must be defined.
 */
#include <sys/sdt.h>
#pragma GCC system_header
#ifndef _SYS_PROBE_H
#define _SYS_PROBE_H 1

#define PROBE_DECLARE(provider, name, prototype, parameters) \
	__PROBE_DECLARE(provider, name, prototype, __PROBE_COUNT parameters, parameters)
#define PROBE_ENABLED(provider, name) __PROBE_ENABLED(provider, name)

#define __PROBE_ENABLED(provider, name) __PROBE_WATCHED(provider##_##name##_semaphore)
#define __PROBE_WATCHED(semaphore) \
	(__extension__({ \
		__asm__ __volatile__ __SDT_INLINE(__PROBE_SEMAPHORE(#semaphore) : : "n"(0)); \
		__builtin_expect(semaphore, 0) != 0; \
	}))
#define __PROBE_DECLARE(provider, name, prototype, n, parameters) \
	__PROBE_DEFINE(provider, name, provider##_##name##_semaphore, prototype, n, parameters)

#ifdef __cplusplus
#define __PROBE_EXTERN extern "C"
#else
#define __PROBE_EXTERN extern
#endif

/* The plugin has this attribute. It replaces the two statements of the function with a site of its own. */
#ifdef __has_attribute
#if __has_attribute(__probe_declared__)
#define __PROBE_DECLARED(provider, name, parameters) , __probe_declared__(provider, name, parameters)
#endif
#endif
#ifndef __PROBE_DECLARED
#define __PROBE_DECLARED(provider, name, parameters)
#endif

#define __PROBE_DEFINE(provider, name, semaphore, prototype, n, parameters) \
	__PROBE_EXTERN volatile unsigned short semaphore __attribute__((__visibility__("hidden"))); \
	static __inline__ __attribute__((__always_inline__, __unused__ __PROBE_DECLARED(#provider, #name, #parameters))) \
	void name prototype \
	{ \
		if (__PROBE_WATCHED(semaphore)) { \
			__PROBE_NOTE(provider, name, n, __PROBE_TEXT##n parameters, (__PROBE_CLASS##n parameters)); \
			__SDT_PLACE(provider, name, #semaphore, n, __SDT_LIST##n parameters); \
		} \
	} \
	struct __probe_##provider##_##name

#define __PROBE_SEMAPHORE(symbol) \
	".ifndef " symbol "\n" \
	".pushsection .probes,\"awG\",\"progbits\"," symbol ",comdat\n" \
	".weak " symbol "\n" \
	".hidden " symbol "\n" \
	".type " symbol ",STT_OBJECT\n" \
	".size " symbol ",2\n" \
	".balign 2\n" \
	symbol ": .2byte 0\n" \
	".popsection\n" \
	".endif\n"

/*
 * ---- the note: PPN_SIGNATURE of doc/note-format.md, with empty types -------
 *
 * The statement stands before the site and clobbers memory, so that the compiler has stored what arguments point to.
 */

#define __PROBE_NOTE(provider, name, n, text, classes) \
	__extension__({ \
		__asm__ __volatile__ __SDT_INLINE( \
			".ifndef .Lppn_" __SDT_STR(provider) "." __SDT_STR(name) "\n" \
			".pushsection .note.probepoint,\"G\",\"note\",ppn." __SDT_STR(provider) "." __SDT_STR(name) ",comdat\n" \
			".balign 4\n" \
			".Lppn_" __SDT_STR(provider) "." __SDT_STR(name) ":\n" \
			".4byte 4,992f-991f,1\n" \
			".asciz \"ppn\"\n" \
			"991:\n" __PROBE_KEY(__SDT_STR(provider), __SDT_STR(name)) \
			".4byte " __SDT_STR(__LINE__) "\n" \
			".byte 0," #n ",0,0\n" \
			".asciz \"" __FILE__ "\"\n" \
			".asciz \"\"\n" \
			text \
			"992: .balign 4\n" \
			".popsection\n" \
			".endif\n" \
			: : __PROBE_INPUTS classes : "memory"); \
	})
#define __PROBE_INPUTS(...) __VA_ARGS__

/*
 * The assembler computes FNV-1a of provider:name. A character constant must be built in
 * one step, because gas reads '\c' as c. The start value is negative, because gas does
 * not compute with a positive number of this size.
 */
#define __PROBE_KEY(provider, name) \
	".macro __sdt_hash c,q\n" \
	".set .Lsdt_key,(.Lsdt_key^\\q\\c\\q)*0x100000001b3\n" \
	".endm\n" \
	".set .Lsdt_key,-0x340d631b7bdddcdb\n" \
	".irpc c," provider "\n__sdt_hash \\c,\"'\"\n.endr\n" \
	".set .Lsdt_key,(.Lsdt_key^58)*0x100000001b3\n" \
	".irpc c," name "\n__sdt_hash \\c,\"'\"\n.endr\n" \
	".purgem __sdt_hash\n" \
	".8byte .Lsdt_key\n"

#ifdef __cplusplus
extern "C++" {
template <class __sdt_T> struct __probe_kind { static const int __class = 0; };
template <class __sdt_T> struct __probe_kind<const __sdt_T> : __probe_kind<__sdt_T> {};
template <class __sdt_T> struct __probe_kind<volatile __sdt_T> : __probe_kind<__sdt_T> {};
template <class __sdt_T> struct __probe_kind<const volatile __sdt_T> : __probe_kind<__sdt_T> {};
template <> struct __probe_kind<bool> { static const int __class = 'b'; };
template <> struct __probe_kind<char> { static const int __class = 'c'; };
template <> struct __probe_kind<char *> { static const int __class = 's'; };
template <> struct __probe_kind<const char *> { static const int __class = 's'; };
}
#define __PROBE_KIND(x) ::__probe_kind<__typeof__(x)>::__class
#define __PROBE_CLASS(n, x) \
	[__probe_c##n] "n"(__PROBE_KIND(x) ? __PROBE_KIND(x) \
	                   : __builtin_classify_type(x) == 8 ? 'f' \
	                   : __builtin_classify_type(x) == 5 ? 'p' \
	                   : __SDT_IS_SIGNED(x) ? 'i' : 'u')
#else
#define __PROBE_CLASS(n, x) \
	[__probe_c##n] "n"(__extension__ _Generic((x), \
		_Bool: 'b', char: 'c', char *: 's', const char *: 's', volatile char *: 's', const volatile char *: 's', \
		float: 'f', double: 'f', long double: 'f', \
		default: __builtin_classify_type(x) == 5 ? 'p' : __SDT_IS_SIGNED(x) ? 'i' : 'u'))
#endif

#define __PROBE_TEXT(n, x) ".byte %c[__probe_c" #n "]\n.asciz \"" #x ":\"\n"
#define __PROBE_TEXT0() ""
#define __PROBE_TEXT1(a1) __PROBE_TEXT(1, a1)
#define __PROBE_TEXT2(a1, a2) __PROBE_TEXT1(a1) __PROBE_TEXT(2, a2)
#define __PROBE_TEXT3(a1, a2, a3) __PROBE_TEXT2(a1, a2) __PROBE_TEXT(3, a3)
#define __PROBE_TEXT4(a1, a2, a3, a4) __PROBE_TEXT3(a1, a2, a3) __PROBE_TEXT(4, a4)
#define __PROBE_TEXT5(a1, a2, a3, a4, a5) __PROBE_TEXT4(a1, a2, a3, a4) __PROBE_TEXT(5, a5)
#define __PROBE_TEXT6(a1, a2, a3, a4, a5, a6) __PROBE_TEXT5(a1, a2, a3, a4, a5) __PROBE_TEXT(6, a6)
#define __PROBE_TEXT7(a1, a2, a3, a4, a5, a6, a7) \
	__PROBE_TEXT6(a1, a2, a3, a4, a5, a6) __PROBE_TEXT(7, a7)
#define __PROBE_TEXT8(a1, a2, a3, a4, a5, a6, a7, a8) \
	__PROBE_TEXT7(a1, a2, a3, a4, a5, a6, a7) __PROBE_TEXT(8, a8)
#define __PROBE_TEXT9(a1, a2, a3, a4, a5, a6, a7, a8, a9) \
	__PROBE_TEXT8(a1, a2, a3, a4, a5, a6, a7, a8) __PROBE_TEXT(9, a9)
#define __PROBE_TEXT10(a1, a2, a3, a4, a5, a6, a7, a8, a9, a10) \
	__PROBE_TEXT9(a1, a2, a3, a4, a5, a6, a7, a8, a9) __PROBE_TEXT(10, a10)
#define __PROBE_TEXT11(a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11) \
	__PROBE_TEXT10(a1, a2, a3, a4, a5, a6, a7, a8, a9, a10) __PROBE_TEXT(11, a11)
#define __PROBE_TEXT12(a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12) \
	__PROBE_TEXT11(a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11) __PROBE_TEXT(12, a12)

#define __PROBE_CLASS0() "n"(0)
#define __PROBE_CLASS1(a1) __PROBE_CLASS(1, a1)
#define __PROBE_CLASS2(a1, a2) __PROBE_CLASS1(a1), __PROBE_CLASS(2, a2)
#define __PROBE_CLASS3(a1, a2, a3) __PROBE_CLASS2(a1, a2), __PROBE_CLASS(3, a3)
#define __PROBE_CLASS4(a1, a2, a3, a4) __PROBE_CLASS3(a1, a2, a3), __PROBE_CLASS(4, a4)
#define __PROBE_CLASS5(a1, a2, a3, a4, a5) __PROBE_CLASS4(a1, a2, a3, a4), __PROBE_CLASS(5, a5)
#define __PROBE_CLASS6(a1, a2, a3, a4, a5, a6) \
	__PROBE_CLASS5(a1, a2, a3, a4, a5), __PROBE_CLASS(6, a6)
#define __PROBE_CLASS7(a1, a2, a3, a4, a5, a6, a7) \
	__PROBE_CLASS6(a1, a2, a3, a4, a5, a6), __PROBE_CLASS(7, a7)
#define __PROBE_CLASS8(a1, a2, a3, a4, a5, a6, a7, a8) \
	__PROBE_CLASS7(a1, a2, a3, a4, a5, a6, a7), __PROBE_CLASS(8, a8)
#define __PROBE_CLASS9(a1, a2, a3, a4, a5, a6, a7, a8, a9) \
	__PROBE_CLASS8(a1, a2, a3, a4, a5, a6, a7, a8), __PROBE_CLASS(9, a9)
#define __PROBE_CLASS10(a1, a2, a3, a4, a5, a6, a7, a8, a9, a10) \
	__PROBE_CLASS9(a1, a2, a3, a4, a5, a6, a7, a8, a9), __PROBE_CLASS(10, a10)
#define __PROBE_CLASS11(a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11) \
	__PROBE_CLASS10(a1, a2, a3, a4, a5, a6, a7, a8, a9, a10), __PROBE_CLASS(11, a11)
#define __PROBE_CLASS12(a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12) \
	__PROBE_CLASS11(a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11), __PROBE_CLASS(12, a12)

/* The number of parameters in the list. A list of one empty parameter has none. */
#define __PROBE_COUNT(...) \
	__SDT_PASTE(__PROBE_COUNT, __PROBE_PICK(__VA_ARGS__, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0))(__VA_ARGS__)
#define __PROBE_PICK(a, b, c, d, e, f, g, h, i, j, k, l, count, ...) count
#define __PROBE_COUNT1(x) __PROBE_ONE(__PROBE_COMMA x())
#define __PROBE_COMMA() ,
#define __PROBE_ONE(...) __PROBE_THIRD(__VA_ARGS__, 0, 1, 0)
#define __PROBE_THIRD(a, b, count, ...) count
#define __PROBE_COUNT2(...) 2
#define __PROBE_COUNT3(...) 3
#define __PROBE_COUNT4(...) 4
#define __PROBE_COUNT5(...) 5
#define __PROBE_COUNT6(...) 6
#define __PROBE_COUNT7(...) 7
#define __PROBE_COUNT8(...) 8
#define __PROBE_COUNT9(...) 9
#define __PROBE_COUNT10(...) 10
#define __PROBE_COUNT11(...) 11
#define __PROBE_COUNT12(...) 12

#endif
