/* SPDX-License-Identifier: MIT */
/*
 * Probe points as macros: a replacement for SystemTap's <sys/sdt.h>.
 *
 *     STAP_PROBE2(server, request, fd, path);
 *
 * places a site in the code, and a note in the section .note.stapsdt. The note has the
 * address of the site, the probe's name (server:request), and the register, memory or
 * constant in which the compiler keeps each argument there (-4@%rdi 8@-16(%rbp)). The
 * code calls nothing, and computes nothing but the arguments. gdb, perf, bpftrace, bcc,
 * SystemTap and probepoint read the note and set a breakpoint or a jump on the site.
 *
 * Macros
 * ------
 *
 * The names and their meanings are SystemTap's.
 *
 *     STAP_PROBE(provider, name)
 *     STAP_PROBE1(provider, name, a1) ... STAP_PROBE12(provider, name, a1, ..., a12)
 *     DTRACE_PROBE, DTRACE_PROBE1 ... DTRACE_PROBE12
 *         A probe with up to 12 arguments. DTrace's names mean the same.
 *
 *     STAP_PROBEV(provider, name, ...)
 *         Counts its arguments. Only if SDT_USE_VARIADIC is defined.
 *
 *     STAP_PROBE_ASM(provider, name, 4@%%eax 8@8(%%rsp))
 *         A part of the template of an asm statement. In a plain asm("") registers
 *         have one %.
 *
 *     STAP_PROBE_ASM(provider, name, STAP_PROBE_ASM_TEMPLATE(2))
 *         The same with C values. The asm statement must have
 *         STAP_PROBE_ASM_OPERANDS(2, a1, a2) among its inputs.
 *
 * In assembler files, write STAP_PROBE2(server, request, 4@%edi, 8@%rsi).
 *
 * A provider cannot be called func, because tools use this name for code without a note.
 *
 * Define these before the header is included:
 *
 *     _SDT_HAS_SEMAPHORES
 *         Each probe has an unsigned short PROVIDER_NAME_semaphore, which is not zero
 *         while a tool has enabled the probe. The program defines it, usually in a file
 *         that dtrace -G makes.
 *
 *     STAP_SDT_ARG_CONSTRAINT
 *         The asm constraint of arguments, without quotes. m accepts only arguments
 *         that have an address.
 *
 *     SDT_NO_LINK_ORDER
 *         Write no section flag that gold and binutils before 2.36 do not know. See
 *         "Dead code".
 *
 * Limits of arguments
 * -------------------
 *
 * - A global variable may be in the note by its name, g(%rip), which gdb and libbpf
 *   cannot read. STAP_SDT_ARG_CONSTRAINT nr prevents this, at the cost of a load at each
 *   site.
 * - The compiler does not know that tools read what an argument points to. It may omit
 *   a store that only they would read, or move it beyond the site. If the pointed-to
 *   memory has just been written, put this before the probe:
 *
 *       __asm__ __volatile__("" : : : "memory");
 *
 *   SystemTap's header is the same in this. <sys/probe.h> and the GCC plugin need no
 *   such statement.
 * - C accepts no bit-field as it is.
 *
 * The site
 * --------
 *
 * One nop is enough for a breakpoint. On x86-64 a second nop of ten bytes follows, which
 * a jump to generated code can replace while the program runs. The first two bytes of
 * the jump are written at once, so they must share an aligned block of eight; hence the
 * .p2align. It fills with operand size prefixes, which belong to the nop that follows
 * them. So the processor decodes two instructions at all eight positions. At two of the
 * eight a disassembler shows `data16 nop` or `xchg %ax,%ax`, with the address of the site
 * inside. The breakpoint works there too, because a prefixed int3 is an int3.
 *
 * Dead code
 * ---------
 *
 * A linker that collects a function should collect its notes. A linker that keeps a
 * function must keep what the notes refer to: the semaphores, and the base by which
 * readers notice prelinking. So
 *
 * - a note is linked to the section of its site ("o"),
 * - a note is in the COMDAT group of that section ("?"), because lld does not link
 *   templates without --gc-sections otherwise,
 * - the base is retained ("R").
 *
 * SystemTap's header uses "?" alone. With it, lld leaves notes of dead functions, and bfd
 * keeps these functions. Objects made with either header link together in any order, but
 * not with ld -r.
 *
 * ld -r of binutils makes one section of all notes, which loses the link order: give it
 * --unique=.note.stapsdt --unique=.note.probepoint. mold keeps the notes of collected
 * functions; probepoint leaves them out.
 *
 * Types
 * -----
 *
 * The note has the size and sign of each argument's own type, as SystemTap's header has
 * them. This includes structures, unions, vectors and classes, which are not copied. C
 * derives the sign by arithmetic on the type, C++ by templates. In C++ enumerations and
 * __int128 have their sign too, as in C; SystemTap's C++ makes both unsigned. Readers can
 * read a value of 1, 2, 4 or 8 bytes of any type.
 *
 * A float or double is kept in memory or in an integer register. It has no mark `f`,
 * because gdb 13 drops all arguments of a probe that has one. A note of our own says
 * which arguments are floating: PPN_FLOATS of doc/note-format.md.
 *
 * Registers have their long names, and readers take as many bytes of them as the size
 * says. gdb does not know %r8b, and drops all arguments of a probe that has it.
 *
 * clang
 * -----
 *
 * With the constraint "nor" clang stores to memory at every site. So up to six arguments
 * must be in registers. On aarch64, which has many, all must. There, structures of more
 * than 8 bytes need STAP_SDT_ARG_CONSTRAINT nor.
 */
#ifndef __ASSEMBLER__
#pragma GCC system_header /* because -Weverything warns about __names outside of /usr/include */
#endif
#ifndef _SYS_SDT_H
#define _SYS_SDT_H 1

#if defined SDT_NO_LINK_ORDER || (defined __clang__ ? __clang_major__ < 12 : __GNUC__ < 11)
#define __SDT_LINK_ORDER 0
#else
#define __SDT_LINK_ORDER 1
#endif
#if __SDT_LINK_ORDER && !(defined __clang__ && __clang_major__ < 13)
#define __SDT_RETAIN 1
#else
#define __SDT_RETAIN 0
#endif

#define __SDT_STR(x) __SDT_STR_(x)
#define __SDT_STR_(x) #x
#define __SDT_PASTE(a, b) __SDT_PASTE_(a, b)
#define __SDT_PASTE_(a, b) a##b

#ifdef __ASSEMBLER__

#if defined __LP64__ || defined _LP64
#define __SDT_ADDRESS .8byte
#else
#define __SDT_ADDRESS .4byte
#endif

#if defined __x86_64__
#define __SDT_SITE .p2align 3, 0x66, 2; .Lsdt\@: .byte 0x90, 0x66, 0x2e, 0x0f, 0x1f, 0x84, 0, 0, 0, 0, 0;
#elif defined __ia64__ || defined __s390__
#define __SDT_SITE .Lsdt\@: nop 0;
#else
#define __SDT_SITE .Lsdt\@: nop;
#endif

#if __SDT_LINK_ORDER
#define __SDT_SECTION .pushsection .note.stapsdt, "o?", "note", .Lsdt\@;
#else
#define __SDT_SECTION .pushsection .note.stapsdt, "?", "note";
#endif

#if __SDT_RETAIN
#define __SDT_BASE_FLAGS "aGR"
#else
#define __SDT_BASE_FLAGS "aG"
#endif

#ifdef _SDT_HAS_SEMAPHORES
#define __SDT_SEMAPHORE(provider, name) provider##_##name##_semaphore
#else
#define __SDT_SEMAPHORE(provider, name) 0
#endif

#define __SDT_PROBE(provider, name, operands) \
	.macro __sdt_site; \
	.ifc provider, func; .error "sys/sdt.h: no provider can be called func"; .endif; \
	__SDT_SITE \
	__SDT_SECTION \
	.balign 4; \
	.4byte .Lsdt_owned\@ - .Lsdt_owner\@, .Lsdt_end\@ - .Lsdt_note\@, 3; \
	.Lsdt_owner\@: .asciz "stapsdt"; \
	.Lsdt_owned\@: .balign 4; \
	.Lsdt_note\@: __SDT_ADDRESS .Lsdt\@, _.stapsdt.base, __SDT_SEMAPHORE(provider, name); \
	.asciz __SDT_STR(provider); .asciz __SDT_STR(name); .asciz __SDT_STR(operands); \
	.Lsdt_end\@: .balign 4; \
	.popsection; \
	.endm; \
	__sdt_site; \
	.purgem __sdt_site; \
	.ifndef _.stapsdt.base; \
	.pushsection .stapsdt.base, __SDT_BASE_FLAGS, "progbits", .stapsdt.base, comdat; \
	.weak _.stapsdt.base; \
	.hidden _.stapsdt.base; \
	_.stapsdt.base: .space 1; \
	.size _.stapsdt.base, 1; \
	.popsection; \
	.endif

#define _SDT_PROBE(provider, name, n, arglist) __SDT_PROBE(provider, name, __SDT_LIST##n arglist)
#define __SDT_LIST0()
#define __SDT_LIST1(a1) a1
#define __SDT_LIST2(a1, a2) a1 a2
#define __SDT_LIST3(a1, a2, a3) a1 a2 a3
#define __SDT_LIST4(a1, a2, a3, a4) a1 a2 a3 a4
#define __SDT_LIST5(a1, a2, a3, a4, a5) a1 a2 a3 a4 a5
#define __SDT_LIST6(a1, a2, a3, a4, a5, a6) a1 a2 a3 a4 a5 a6
#define __SDT_LIST7(a1, a2, a3, a4, a5, a6, a7) a1 a2 a3 a4 a5 a6 a7
#define __SDT_LIST8(a1, a2, a3, a4, a5, a6, a7, a8) a1 a2 a3 a4 a5 a6 a7 a8
#define __SDT_LIST9(a1, a2, a3, a4, a5, a6, a7, a8, a9) a1 a2 a3 a4 a5 a6 a7 a8 a9
#define __SDT_LIST10(a1, a2, a3, a4, a5, a6, a7, a8, a9, a10) a1 a2 a3 a4 a5 a6 a7 a8 a9 a10
#define __SDT_LIST11(a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11) a1 a2 a3 a4 a5 a6 a7 a8 a9 a10 a11
#define __SDT_LIST12(a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12) a1 a2 a3 a4 a5 a6 a7 a8 a9 a10 a11 a12

#else /* C and C++ */

#if defined __LP64__ || defined _LP64
#define __SDT_ADDRESS ".8byte "
#else
#define __SDT_ADDRESS ".4byte "
#endif

#if defined __x86_64__
#define __SDT_ALIGN ".p2align 3,0x66,2\n"
#define __SDT_NOP ".byte 0x90,0x66,0x2e,0x0f,0x1f,0x84,0,0,0,0,0\n"
#elif defined __ia64__ || defined __s390__
#define __SDT_ALIGN
#define __SDT_NOP "nop 0\n"
#else
#define __SDT_ALIGN
#define __SDT_NOP "nop\n"
#endif

#define __SDT_GROUPED(site) ".pushsection .note.stapsdt,\"?\",\"note\"\n"
#if __SDT_RETAIN
#define __SDT_BASE_FLAGS "\"aGR\""
#else
#define __SDT_BASE_FLAGS "\"aG\""
#endif

#if __SDT_LINK_ORDER
#define __SDT_LINKED(site) ".pushsection .note.stapsdt,\"o?\",\"note\"," site "\n"
#else
#define __SDT_LINKED __SDT_GROUPED
#endif

#ifdef _SDT_HAS_SEMAPHORES
#define __SDT_SEMAPHORE(provider, name) __SDT_STR(provider) "_" __SDT_STR(name) "_semaphore"
#define __SDT_USE_SEMAPHORE(provider, name) __asm__ __volatile__("" : : "m"(provider##_##name##_semaphore));
#else
#define __SDT_SEMAPHORE(provider, name) "0"
#define __SDT_USE_SEMAPHORE(provider, name)
#endif

/*
 * The text of a site and its note.
 *
 * A label is defined as `l N d`. References are `l N b` if it is defined before them, and
 * `l N f` if it is defined after them. This makes .Lsdt_0_%=, or 990, 990b and 990f where
 * names cannot be made unique. section: __SDT_LINKED or __SDT_GROUPED. semaphore: a symbol
 * or 0.
 */
#define __SDT_BODY(provider, name, l, d, b, f, section, semaphore, operands) \
	".ifc " __SDT_STR(provider) ",func\n" \
	".error \"sys/sdt.h: no provider can be called func\"\n" \
	".endif\n" \
	__SDT_ALIGN \
	l "0" d ": " __SDT_NOP \
	section(l "0" b) \
	".balign 4\n" \
	".4byte " l "2" f "-" l "1" f "," l "4" f "-" l "3" f ",3\n" \
	l "1" d ": .asciz \"stapsdt\"\n" \
	l "2" d ": .balign 4\n" \
	l "3" d ": " __SDT_ADDRESS l "0" b ",_.stapsdt.base," semaphore "\n" \
	".asciz " __SDT_STR(__SDT_STR(provider)) "\n" \
	".asciz " __SDT_STR(__SDT_STR(name)) "\n" \
	".asciz \"" operands "\"\n" \
	l "4" d ": .balign 4\n" \
	".popsection\n"

#define __SDT_BASE \
	".ifndef _.stapsdt.base\n" \
	".pushsection .stapsdt.base," __SDT_BASE_FLAGS ",\"progbits\",.stapsdt.base,comdat\n" \
	".weak _.stapsdt.base\n" \
	".hidden _.stapsdt.base\n" \
	"_.stapsdt.base: .space 1\n" \
	".size _.stapsdt.base,1\n" \
	".popsection\n" \
	".endif\n"

/* The inliner counts `asm inline` as one instruction, however long its text is. */
#if defined __clang__ ? __clang_major__ >= 11 : __GNUC__ >= 9
#define __SDT_INLINE __inline__
#else
#define __SDT_INLINE
#endif

/* A site with n arguments. list: (macro that applies a constraint, a1, ...) */
#define __SDT_PLACE(provider, name, semaphore, n, list) \
	__extension__({ \
		__asm__ __volatile__ __SDT_INLINE( \
			__SDT_BODY(provider, name, ".Lsdt_", "_%=", "_%=", "_%=", __SDT_LINKED, semaphore, __SDT_FORM##n) \
				__SDT_BASE \
			: : __SDT_ARGS##n list); \
	})

#define __SDT_PROBE(provider, name, n, list) \
	do { \
		__SDT_USE_SEMAPHORE(provider, name) \
		__extension__({ \
			__asm__ __volatile__ __SDT_INLINE( \
				__SDT_BODY(provider, name, ".Lsdt_", "_%=", "_%=", "_%=", __SDT_LINKED, \
				           __SDT_SEMAPHORE(provider, name), __SDT_FORM##n) \
					__SDT_FLOATS##n __SDT_BASE \
				: : __SDT_ARGS##n list, [__sdt_f] __SDT_MASK##n list); \
		}); \
	} while (0)

/*
 * Writes a PPN_FLOATS note (doc/note-format.md) if any argument is floating. Bit 0 of
 * __sdt_f stands for the first. stapsdt notes cannot say it, because not all of their
 * readers know the mark `f`.
 */
#define __SDT_FLOATS \
	".if %c[__sdt_f]\n" \
	__SDT_FLOATS_SECTION \
	".balign 4\n" \
	".4byte 4,.Lsdt_5_%=-.Lsdt_6_%=,5\n" \
	".asciz \"ppn\"\n" \
	".Lsdt_6_%=: " __SDT_ADDRESS ".Lsdt_0_%=\n" \
	".4byte %c[__sdt_f]\n" \
	".Lsdt_5_%=: .popsection\n" \
	".endif\n"
#if __SDT_LINK_ORDER
#define __SDT_FLOATS_SECTION ".pushsection .note.probepoint,\"o?\",\"note\",.Lsdt_0_%=\n"
#else
#define __SDT_FLOATS_SECTION ".pushsection .note.probepoint,\"?\",\"note\"\n"
#endif

/* ---- arguments: %n prints the negative of a number, so 4 becomes -4@ ------ */

#if defined __powerpc__
#define __SDT_FORM(n) "%n[__sdt_s" #n "]@%I[__sdt_a" #n "]%[__sdt_a" #n "]"
#elif defined __i386__
#define __SDT_FORM(n) "%n[__sdt_s" #n "]@%k[__sdt_a" #n "]" /* there is no %sil */
#elif defined __x86_64__
#define __SDT_FORM(n) "%n[__sdt_s" #n "]@%q[__sdt_a" #n "]" /* gdb does not know %r8b; the note has the size */
#else
#define __SDT_FORM(n) "%n[__sdt_s" #n "]@%[__sdt_a" #n "]"
#endif

#if !defined STAP_SDT_ARG_CONSTRAINT && defined __clang__ && defined __x86_64__
#define __SDT_FEW(x) "nr,nor"(x)
#define __SDT_FEW_SIZE(x) "n,n"(x)
#else
#define __SDT_FEW __SDT_MANY
#define __SDT_FEW_SIZE __SDT_MANY_SIZE
#endif

/* A constraint that allows only memory takes the argument itself, which must have an address. */
#define __SDT_MEMORY_m 1
#define __SDT_MEMORY_o 1
#define __SDT_MEMORY_V 1
#if defined STAP_SDT_ARG_CONSTRAINT && __SDT_PASTE(__SDT_MEMORY_, STAP_SDT_ARG_CONSTRAINT)
#define __SDT_VALUE(x) x
#else
#define __SDT_VALUE __SDT_NEAT
#endif

#ifndef STAP_SDT_ARG_CONSTRAINT
#if defined __powerpc__
#define STAP_SDT_ARG_CONSTRAINT nZr
#elif defined __ia64__
#define STAP_SDT_ARG_CONSTRAINT nr
#elif (defined __riscv || defined __aarch64__) && defined __clang__
#define STAP_SDT_ARG_CONSTRAINT nr
#elif defined __arm__
#define STAP_SDT_ARG_CONSTRAINT g
#else
#define STAP_SDT_ARG_CONSTRAINT nor
#endif
#endif
#define __SDT_MANY(x) __SDT_STR(STAP_SDT_ARG_CONSTRAINT)(x)
#define __SDT_MANY_SIZE(x) "n"(x)

#define __SDT_ARG(n, c, x) [__sdt_s##n] c##_SIZE(__SDT_SIZE(x)), [__sdt_a##n] c(__SDT_VALUE(x))

#define __SDT_FORM0 ""
#define __SDT_FORM1 __SDT_FORM(1)
#define __SDT_FORM2 __SDT_FORM1 " " __SDT_FORM(2)
#define __SDT_FORM3 __SDT_FORM2 " " __SDT_FORM(3)
#define __SDT_FORM4 __SDT_FORM3 " " __SDT_FORM(4)
#define __SDT_FORM5 __SDT_FORM4 " " __SDT_FORM(5)
#define __SDT_FORM6 __SDT_FORM5 " " __SDT_FORM(6)
#define __SDT_FORM7 __SDT_FORM6 " " __SDT_FORM(7)
#define __SDT_FORM8 __SDT_FORM7 " " __SDT_FORM(8)
#define __SDT_FORM9 __SDT_FORM8 " " __SDT_FORM(9)
#define __SDT_FORM10 __SDT_FORM9 " " __SDT_FORM(10)
#define __SDT_FORM11 __SDT_FORM10 " " __SDT_FORM(11)
#define __SDT_FORM12 __SDT_FORM11 " " __SDT_FORM(12)

#define __SDT_ARGS0(c) "n"(0)
#define __SDT_ARGS1(c, a1) __SDT_ARG(1, c, a1)
#define __SDT_ARGS2(c, a1, a2) \
	__SDT_ARGS1(c, a1), __SDT_ARG(2, c, a2)
#define __SDT_ARGS3(c, a1, a2, a3) \
	__SDT_ARGS2(c, a1, a2), __SDT_ARG(3, c, a3)
#define __SDT_ARGS4(c, a1, a2, a3, a4) \
	__SDT_ARGS3(c, a1, a2, a3), __SDT_ARG(4, c, a4)
#define __SDT_ARGS5(c, a1, a2, a3, a4, a5) \
	__SDT_ARGS4(c, a1, a2, a3, a4), __SDT_ARG(5, c, a5)
#define __SDT_ARGS6(c, a1, a2, a3, a4, a5, a6) \
	__SDT_ARGS5(c, a1, a2, a3, a4, a5), __SDT_ARG(6, c, a6)
#define __SDT_ARGS7(c, a1, a2, a3, a4, a5, a6, a7) \
	__SDT_ARGS6(c, a1, a2, a3, a4, a5, a6), __SDT_ARG(7, c, a7)
#define __SDT_ARGS8(c, a1, a2, a3, a4, a5, a6, a7, a8) \
	__SDT_ARGS7(c, a1, a2, a3, a4, a5, a6, a7), __SDT_ARG(8, c, a8)
#define __SDT_ARGS9(c, a1, a2, a3, a4, a5, a6, a7, a8, a9) \
	__SDT_ARGS8(c, a1, a2, a3, a4, a5, a6, a7, a8), __SDT_ARG(9, c, a9)
#define __SDT_ARGS10(c, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10) \
	__SDT_ARGS9(c, a1, a2, a3, a4, a5, a6, a7, a8, a9), __SDT_ARG(10, c, a10)
#define __SDT_ARGS11(c, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11) \
	__SDT_ARGS10(c, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10), __SDT_ARG(11, c, a11)
#define __SDT_ARGS12(c, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12) \
	__SDT_ARGS11(c, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11), __SDT_ARG(12, c, a12)

#define __SDT_FLOATS0
#define __SDT_FLOATS1 __SDT_FLOATS
#define __SDT_FLOATS2 __SDT_FLOATS
#define __SDT_FLOATS3 __SDT_FLOATS
#define __SDT_FLOATS4 __SDT_FLOATS
#define __SDT_FLOATS5 __SDT_FLOATS
#define __SDT_FLOATS6 __SDT_FLOATS
#define __SDT_FLOATS7 __SDT_FLOATS
#define __SDT_FLOATS8 __SDT_FLOATS
#define __SDT_FLOATS9 __SDT_FLOATS
#define __SDT_FLOATS10 __SDT_FLOATS
#define __SDT_FLOATS11 __SDT_FLOATS
#define __SDT_FLOATS12 __SDT_FLOATS

#define __SDT_MASK0(c) "n"(0)
#define __SDT_MASK1(c, a1) c##_SIZE(__SDT_BIT1(a1))
#define __SDT_MASK2(c, a1, a2) c##_SIZE(__SDT_BIT2(a1, a2))
#define __SDT_MASK3(c, a1, a2, a3) c##_SIZE(__SDT_BIT3(a1, a2, a3))
#define __SDT_MASK4(c, a1, a2, a3, a4) c##_SIZE(__SDT_BIT4(a1, a2, a3, a4))
#define __SDT_MASK5(c, a1, a2, a3, a4, a5) c##_SIZE(__SDT_BIT5(a1, a2, a3, a4, a5))
#define __SDT_MASK6(c, a1, a2, a3, a4, a5, a6) c##_SIZE(__SDT_BIT6(a1, a2, a3, a4, a5, a6))
#define __SDT_MASK7(c, a1, a2, a3, a4, a5, a6, a7) c##_SIZE(__SDT_BIT7(a1, a2, a3, a4, a5, a6, a7))
#define __SDT_MASK8(c, a1, a2, a3, a4, a5, a6, a7, a8) c##_SIZE(__SDT_BIT8(a1, a2, a3, a4, a5, a6, a7, a8))
#define __SDT_MASK9(c, a1, a2, a3, a4, a5, a6, a7, a8, a9) c##_SIZE(__SDT_BIT9(a1, a2, a3, a4, a5, a6, a7, a8, a9))
#define __SDT_MASK10(c, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10) c##_SIZE(__SDT_BIT10(a1, a2, a3, a4, a5, a6, a7, a8, a9, a10))
#define __SDT_MASK11(c, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11) c##_SIZE(__SDT_BIT11(a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11))
#define __SDT_MASK12(c, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12) c##_SIZE(__SDT_BIT12(a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12))

#define __SDT_BIT1(a1) (__SDT_IS_FLOATING(a1) ? 1 : 0)
#define __SDT_BIT2(a1, a2) \
	__SDT_BIT1(a1) + (__SDT_IS_FLOATING(a2) ? 2 : 0)
#define __SDT_BIT3(a1, a2, a3) \
	__SDT_BIT2(a1, a2) + (__SDT_IS_FLOATING(a3) ? 4 : 0)
#define __SDT_BIT4(a1, a2, a3, a4) \
	__SDT_BIT3(a1, a2, a3) + (__SDT_IS_FLOATING(a4) ? 8 : 0)
#define __SDT_BIT5(a1, a2, a3, a4, a5) \
	__SDT_BIT4(a1, a2, a3, a4) + (__SDT_IS_FLOATING(a5) ? 16 : 0)
#define __SDT_BIT6(a1, a2, a3, a4, a5, a6) \
	__SDT_BIT5(a1, a2, a3, a4, a5) + (__SDT_IS_FLOATING(a6) ? 32 : 0)
#define __SDT_BIT7(a1, a2, a3, a4, a5, a6, a7) \
	__SDT_BIT6(a1, a2, a3, a4, a5, a6) + (__SDT_IS_FLOATING(a7) ? 64 : 0)
#define __SDT_BIT8(a1, a2, a3, a4, a5, a6, a7, a8) \
	__SDT_BIT7(a1, a2, a3, a4, a5, a6, a7) + (__SDT_IS_FLOATING(a8) ? 128 : 0)
#define __SDT_BIT9(a1, a2, a3, a4, a5, a6, a7, a8, a9) \
	__SDT_BIT8(a1, a2, a3, a4, a5, a6, a7, a8) + (__SDT_IS_FLOATING(a9) ? 256 : 0)
#define __SDT_BIT10(a1, a2, a3, a4, a5, a6, a7, a8, a9, a10) \
	__SDT_BIT9(a1, a2, a3, a4, a5, a6, a7, a8, a9) + (__SDT_IS_FLOATING(a10) ? 512 : 0)
#define __SDT_BIT11(a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11) \
	__SDT_BIT10(a1, a2, a3, a4, a5, a6, a7, a8, a9, a10) + (__SDT_IS_FLOATING(a11) ? 1024 : 0)
#define __SDT_BIT12(a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12) \
	__SDT_BIT11(a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11) + (__SDT_IS_FLOATING(a12) ? 2048 : 0)

#ifdef __cplusplus
/*
 * The argument's own type decides about size, sign and value, never a type that it
 * converts to. A null pointer to that type selects an overload; nothing is evaluated.
 *
 *     __sdt_size      length of an array: the size of the type plus 1
 *     __sdt_kind_of   length of an array: 2 for signed integers and enumerations, 3 for
 *                     float and double, 4 if the type cannot be examined, else 1
 *     __sdt_tag       a type that says how the operand gets its value
 *
 * Functions, arrays without bound and arrays of variable length cannot be template
 * arguments that have a sizeof. They decay to pointers, and so take the overloads with
 * an ellipsis. In C++98 local types cannot be template arguments either: pointers to
 * them and arrays of them work, values of them do not compile.
 */
extern "C++" {
typedef void __sdt_other; /* taken as it is: structures, vectors, ... */
#ifdef __clang__
enum __sdt_integer {}; /* taken by value, because clang accepts a bit-field only so */
#else
typedef void __sdt_integer;
#endif
enum __sdt_real {};       /* taken as its bits: see __SDT_NEAT in C below */
enum __sdt_address {};    /* taken as its number */
enum __sdt_method {};     /* taken inside a structure, because clang does not put it into registers */
template <class __sdt_T, bool = __is_enum(__sdt_T)> struct __sdt_type {
	enum { __sdt_kind = 0 };
	typedef __sdt_other __sdt_how;
};
template <class __sdt_T> struct __sdt_type<__sdt_T, true> : __sdt_type<__underlying_type(__sdt_T)> {};
template <class __sdt_T> struct __sdt_type<const __sdt_T, false> : __sdt_type<__sdt_T> {};
template <class __sdt_T> struct __sdt_type<volatile __sdt_T, false> : __sdt_type<__sdt_T> {};
template <class __sdt_T> struct __sdt_type<const volatile __sdt_T, false> : __sdt_type<__sdt_T> {};
template <class __sdt_T> struct __sdt_type<__sdt_T *, false> {
	enum { __sdt_kind = 0 };
	typedef __sdt_address __sdt_how;
};
#define __SDT_TYPE(T, kind, how) \
	template <> struct __sdt_type<T, false> { \
		enum { __sdt_kind = (kind) }; \
		typedef how __sdt_how; \
	};
#ifdef __CHAR_UNSIGNED__
__SDT_TYPE(char, 0, __sdt_integer)
#else
__SDT_TYPE(char, 1, __sdt_integer)
#endif
#ifdef __WCHAR_UNSIGNED__
__SDT_TYPE(wchar_t, 0, __sdt_integer)
#else
__SDT_TYPE(wchar_t, 1, __sdt_integer)
#endif
__SDT_TYPE(bool, 0, __sdt_integer)
__SDT_TYPE(signed char, 1, __sdt_integer)
__SDT_TYPE(unsigned char, 0, __sdt_integer)
__SDT_TYPE(short, 1, __sdt_integer)
__SDT_TYPE(unsigned short, 0, __sdt_integer)
__SDT_TYPE(int, 1, __sdt_integer)
__SDT_TYPE(unsigned int, 0, __sdt_integer)
__SDT_TYPE(long, 1, __sdt_integer)
__SDT_TYPE(unsigned long, 0, __sdt_integer)
__extension__ typedef long long __sdt_llong;
__extension__ typedef unsigned long long __sdt_ullong;
__SDT_TYPE(__sdt_llong, 1, __sdt_integer)
__SDT_TYPE(__sdt_ullong, 0, __sdt_integer)
#ifdef __SIZEOF_INT128__
__extension__ typedef __int128 __sdt_int128;
__extension__ typedef unsigned __int128 __sdt_uint128;
__SDT_TYPE(__sdt_int128, 1, __sdt_integer)
__SDT_TYPE(__sdt_uint128, 0, __sdt_integer)
#endif
#if __cplusplus >= 201103L
__SDT_TYPE(char16_t, 0, __sdt_integer)
__SDT_TYPE(char32_t, 0, __sdt_integer)
#endif
#ifdef __cpp_char8_t
__SDT_TYPE(char8_t, 0, __sdt_integer)
#endif
__SDT_TYPE(float, 2, __sdt_real)
#ifdef __LP64__
__SDT_TYPE(double, 2, __sdt_real)
#else
__SDT_TYPE(double, 2, __sdt_other)
#endif
#undef __SDT_TYPE
#ifdef __clang__
template <class __sdt_R, class __sdt_C> struct __sdt_type<__sdt_R __sdt_C::*, false> {
	enum { __sdt_kind = 0 };
	typedef __sdt_method __sdt_how;
};
#endif

#if __cplusplus >= 201103L
decltype(nullptr) __sdt_null(); /* in user code, nullptr causes -Wc++98-compat warnings, and 0 -Wzero-as-null-... */
#define __SDT_0 nullptr
#define __SDT_NULL(x) static_cast<__typeof__(x) *>(::__sdt_null())
#else
#define __SDT_0 0
#define __SDT_NULL(x) static_cast<__typeof__(x) *>(0)
#endif
template <class __sdt_T> char (&__sdt_size(__sdt_T *))[sizeof(__sdt_T) + 1];
template <class __sdt_T, unsigned long __sdt_N> char (&__sdt_size(__sdt_T (*)[__sdt_N]))[sizeof(void *) + 1];
char (&__sdt_size(...))[sizeof(void *) + 1];
template <class __sdt_T> char (&__sdt_kind_of(__sdt_T *))[__sdt_type<__sdt_T>::__sdt_kind + 1];
template <class __sdt_T, unsigned long __sdt_N> char (&__sdt_kind_of(__sdt_T (*)[__sdt_N]))[1];
char (&__sdt_kind_of(...))[4];
template <class __sdt_T>
typename __sdt_type<__sdt_T>::__sdt_how __sdt_tag(__sdt_T *, char (*)[sizeof(__sdt_T) + 1] = __SDT_0);
template <class __sdt_T, unsigned long __sdt_N> __sdt_address __sdt_tag(__sdt_T (*)[__sdt_N]);
__sdt_address __sdt_tag(...);

/*
 * The value of an operand is the expression (tag, x). If no operator below takes both,
 * the comma is the language's own. Its value is x itself: an lvalue stays an lvalue, and
 * nothing is copied or converted.
 */
#define __SDT_VALUE_OF(T) inline __attribute__((__always_inline__)) T operator,
#ifdef __clang__
template <class __sdt_T> __SDT_VALUE_OF(__sdt_T)(__sdt_integer, __sdt_T __sdt_x)
{
	return __sdt_x;
}
#endif
template <class __sdt_T> __SDT_VALUE_OF(__UINTPTR_TYPE__)(__sdt_address, __sdt_T *__sdt_x)
{
	return reinterpret_cast<__UINTPTR_TYPE__>(__sdt_x);
}
__SDT_VALUE_OF(unsigned)(__sdt_real, float __sdt_x)
{
	unsigned __sdt_bits;

	__builtin_memcpy(&__sdt_bits, &__sdt_x, sizeof(__sdt_bits));
	return __sdt_bits;
}
#ifdef __LP64__
__SDT_VALUE_OF(unsigned long)(__sdt_real, double __sdt_x)
{
	unsigned long __sdt_bits;

	__builtin_memcpy(&__sdt_bits, &__sdt_x, sizeof(__sdt_bits));
	return __sdt_bits;
}
#endif
template <class __sdt_T> struct __sdt_inside {
	__sdt_T __sdt_x;
};
template <class __sdt_T> __SDT_VALUE_OF(__sdt_inside<__sdt_T>)(__sdt_method, __sdt_T __sdt_x)
{
	__sdt_inside<__sdt_T> __sdt_y = { __sdt_x };

	return __sdt_y;
}
#undef __SDT_VALUE_OF
}
#if __cplusplus >= 201103L || defined __clang__
#define __SDT_SIZEOF(x) static_cast<int>(sizeof(::__sdt_size(__SDT_NULL(x))) - 1)
#else /* values of local types must not take the ellipsis */
#define __SDT_IS_LOCAL(T) (__is_enum(T) || __is_class(T) || __is_union(T))
#define __SDT_SIZEOF(x) \
	static_cast<int>(sizeof(::__sdt_size(__SDT_NULL(x))) - \
	                 sizeof(char[sizeof(::__sdt_kind_of(__SDT_NULL(x))) == 4 && __SDT_IS_LOCAL(__typeof__(x)) ? -1 : 1]))
#endif
#define __SDT_IS_SIGNED(x) (sizeof(::__sdt_kind_of(__SDT_NULL(x))) == 2)
#define __SDT_IS_FLOATING(x) (sizeof(::__sdt_kind_of(__SDT_NULL(x))) == 3)
#define __SDT_SIZE(x) (__SDT_IS_SIGNED(x) ? __SDT_SIZEOF(x) : -__SDT_SIZEOF(x))
#define __SDT_NEAT(x) (static_cast<__typeof__(::__sdt_tag(__SDT_NULL(x)))>(0), x)

#else
/* __builtin_classify_type: 1 to 4 are integers, 5 pointers. Functions (10) and arrays (14) decay to pointers. */
#define __SDT_IS_INTEGER(x) (__builtin_classify_type(x) >= 1 && __builtin_classify_type(x) <= 4)
#define __SDT_IS_POINTER(x) \
	(__builtin_classify_type(x) == 5 || __builtin_classify_type(x) == 10 || __builtin_classify_type(x) == 14)
#define __SDT_INTEGER(x) __typeof__(__builtin_choose_expr(__SDT_IS_INTEGER(x), (x), 0U))
#define __SDT_IS_SIGNED(x) ((__SDT_INTEGER(x))-1 < (__SDT_INTEGER(x))1)
#define __SDT_SIZEOF(x) ((int)sizeof(__builtin_choose_expr(__SDT_IS_POINTER(x), (void *)0, (x))))
#define __SDT_SIZE(x) (__SDT_IS_SIGNED(x) ? __SDT_SIZEOF(x) : -__SDT_SIZEOF(x))
/*
 * The value of an operand. A real number becomes its bits, because a constant then is an
 * immediate and not .LC0(%rip), which few readers resolve. A pointer becomes a number,
 * because clang puts only integers into registers.
 */
#define __SDT_IS_REAL(x) (__builtin_classify_type(x) == 8 && __SDT_SIZEOF(x) <= (int)sizeof(long))
#define __SDT_IS_FLOATING(x) \
	(__builtin_types_compatible_p(__typeof__(x), float) || __builtin_types_compatible_p(__typeof__(x), double))
#define __SDT_BITS(x) \
	({ \
		union { \
			__typeof__(__builtin_choose_expr(__SDT_IS_REAL(x), (x), 0.0F)) __sdt_real; \
			__typeof__(__builtin_choose_expr(__SDT_SIZEOF(x) == 4, 0U, 0UL)) __sdt_bits; \
		} __sdt_u = { __builtin_choose_expr(__SDT_IS_REAL(x), (x), 0.0F) }; \
		__sdt_u.__sdt_bits; \
	})
#define __SDT_NUMBER(x) ((__UINTPTR_TYPE__)__builtin_choose_expr(__SDT_IS_POINTER(x), (x), (void *)0))
#ifdef __clang__ /* by value, because a register variable would be named by its vector register */
#define __SDT_IS_AGGREGATE(x) \
	(__builtin_classify_type(x) == 9 || __builtin_classify_type(x) == 12 || __builtin_classify_type(x) == 13)
#define __SDT_OTHER(x) \
	__builtin_choose_expr(__SDT_IS_INTEGER(x) || __SDT_IS_AGGREGATE(x), (x), ((void)0, (x)))
#else
#define __SDT_OTHER(x) (x)
#endif
#define __SDT_NEAT(x) \
	__builtin_choose_expr(__SDT_IS_REAL(x), __SDT_BITS(x), \
	                      __builtin_choose_expr(__SDT_IS_POINTER(x), __SDT_NUMBER(x), __SDT_OTHER(x)))
#endif

#define _SDT_PROBE(provider, name, n, arglist) __SDT_PROBE(provider, name, n, __SDT_LIST##n arglist)
#define __SDT_LIST0() (__SDT_FEW)
#define __SDT_LIST1(a1) (__SDT_FEW, a1)
#define __SDT_LIST2(a1, a2) (__SDT_FEW, a1, a2)
#define __SDT_LIST3(a1, a2, a3) (__SDT_FEW, a1, a2, a3)
#define __SDT_LIST4(a1, a2, a3, a4) (__SDT_FEW, a1, a2, a3, a4)
#define __SDT_LIST5(a1, a2, a3, a4, a5) (__SDT_FEW, a1, a2, a3, a4, a5)
#define __SDT_LIST6(a1, a2, a3, a4, a5, a6) (__SDT_FEW, a1, a2, a3, a4, a5, a6)
#define __SDT_LIST7(a1, a2, a3, a4, a5, a6, a7) (__SDT_MANY, a1, a2, a3, a4, a5, a6, a7)
#define __SDT_LIST8(a1, a2, a3, a4, a5, a6, a7, a8) (__SDT_MANY, a1, a2, a3, a4, a5, a6, a7, a8)
#define __SDT_LIST9(a1, a2, a3, a4, a5, a6, a7, a8, a9) (__SDT_MANY, a1, a2, a3, a4, a5, a6, a7, a8, a9)
#define __SDT_LIST10(a1, a2, a3, a4, a5, a6, a7, a8, a9, a10) (__SDT_MANY, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10)
#define __SDT_LIST11(a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11) (__SDT_MANY, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11)
#define __SDT_LIST12(a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12) (__SDT_MANY, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12)

/* ---- parts of asm statements ---------------------------------------------- */

#if (defined __cplusplus ? __cplusplus >= 201103L : defined __STDC_VERSION__ && __STDC_VERSION__ >= 199901L) || \
	defined SDT_USE_VARIADIC
#define STAP_PROBE_ASM(...) __SDT_ASM(__VA_ARGS__, , 0, 0)
#define __SDT_ASM(provider, name, operands, is_string, ...) __SDT_PASTE(__SDT_ASM_, is_string)(provider, name, operands)
#define __SDT_ASM_(provider, name, operands) __SDT_ASM_1(provider, name, __SDT_STR(operands))
#define __SDT_ASM_0 __SDT_ASM_ /* no operands at all */
#ifdef __clang__ /* its count of macros restarts in each asm statement */
#define __SDT_ASM_1(provider, name, operands) \
	__SDT_BODY(provider, name, "99", "", "b", "f", __SDT_GROUPED, __SDT_SEMAPHORE(provider, name), operands) \
	__SDT_BASE
#else
#define __SDT_ASM_1(provider, name, operands) \
	".macro __sdt_site\n" \
	__SDT_BODY(provider, name, ".Lsdt_", "_\\@", "_\\@", "_\\@", __SDT_LINKED, __SDT_SEMAPHORE(provider, name), \
	           operands) \
	".endm\n__sdt_site\n.purgem __sdt_site\n" __SDT_BASE
#endif
#define STAP_PROBE_ASM_TEMPLATE(n) __SDT_FORM##n, 1
#undef __SDT_ARGS0
#define __SDT_ARGS0(...) "n"(0)
#define STAP_PROBE_ASM_OPERANDS(n, ...) __SDT_ARGS##n(__SDT_MANY, __VA_ARGS__)
#endif

#endif /* __ASSEMBLER__ */

/* ---- C, C++ and assembler ------------------------------------------------- */

#define _SDT_NOTE_NAME "stapsdt"
#define _SDT_NOTE_TYPE 3

#define STAP_PROBE(provider, name) _SDT_PROBE(provider, name, 0, ())
#define STAP_PROBE1(provider, name, a1) \
	_SDT_PROBE(provider, name, 1, (a1))
#define STAP_PROBE2(provider, name, a1, a2) \
	_SDT_PROBE(provider, name, 2, (a1, a2))
#define STAP_PROBE3(provider, name, a1, a2, a3) \
	_SDT_PROBE(provider, name, 3, (a1, a2, a3))
#define STAP_PROBE4(provider, name, a1, a2, a3, a4) \
	_SDT_PROBE(provider, name, 4, (a1, a2, a3, a4))
#define STAP_PROBE5(provider, name, a1, a2, a3, a4, a5) \
	_SDT_PROBE(provider, name, 5, (a1, a2, a3, a4, a5))
#define STAP_PROBE6(provider, name, a1, a2, a3, a4, a5, a6) \
	_SDT_PROBE(provider, name, 6, (a1, a2, a3, a4, a5, a6))
#define STAP_PROBE7(provider, name, a1, a2, a3, a4, a5, a6, a7) \
	_SDT_PROBE(provider, name, 7, (a1, a2, a3, a4, a5, a6, a7))
#define STAP_PROBE8(provider, name, a1, a2, a3, a4, a5, a6, a7, a8) \
	_SDT_PROBE(provider, name, 8, (a1, a2, a3, a4, a5, a6, a7, a8))
#define STAP_PROBE9(provider, name, a1, a2, a3, a4, a5, a6, a7, a8, a9) \
	_SDT_PROBE(provider, name, 9, (a1, a2, a3, a4, a5, a6, a7, a8, a9))
#define STAP_PROBE10(provider, name, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10) \
	_SDT_PROBE(provider, name, 10, (a1, a2, a3, a4, a5, a6, a7, a8, a9, a10))
#define STAP_PROBE11(provider, name, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11) \
	_SDT_PROBE(provider, name, 11, (a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11))
#define STAP_PROBE12(provider, name, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12) \
	_SDT_PROBE(provider, name, 12, (a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12))

/* ---- DTrace's names, and counting ----------------------------------------- */

#define DTRACE_PROBE(provider, name) STAP_PROBE(provider, name)
#define DTRACE_PROBE1(provider, name, a1) \
	STAP_PROBE1(provider, name, a1)
#define DTRACE_PROBE2(provider, name, a1, a2) \
	STAP_PROBE2(provider, name, a1, a2)
#define DTRACE_PROBE3(provider, name, a1, a2, a3) \
	STAP_PROBE3(provider, name, a1, a2, a3)
#define DTRACE_PROBE4(provider, name, a1, a2, a3, a4) \
	STAP_PROBE4(provider, name, a1, a2, a3, a4)
#define DTRACE_PROBE5(provider, name, a1, a2, a3, a4, a5) \
	STAP_PROBE5(provider, name, a1, a2, a3, a4, a5)
#define DTRACE_PROBE6(provider, name, a1, a2, a3, a4, a5, a6) \
	STAP_PROBE6(provider, name, a1, a2, a3, a4, a5, a6)
#define DTRACE_PROBE7(provider, name, a1, a2, a3, a4, a5, a6, a7) \
	STAP_PROBE7(provider, name, a1, a2, a3, a4, a5, a6, a7)
#define DTRACE_PROBE8(provider, name, a1, a2, a3, a4, a5, a6, a7, a8) \
	STAP_PROBE8(provider, name, a1, a2, a3, a4, a5, a6, a7, a8)
#define DTRACE_PROBE9(provider, name, a1, a2, a3, a4, a5, a6, a7, a8, a9) \
	STAP_PROBE9(provider, name, a1, a2, a3, a4, a5, a6, a7, a8, a9)
#define DTRACE_PROBE10(provider, name, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10) \
	STAP_PROBE10(provider, name, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10)
#define DTRACE_PROBE11(provider, name, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11) \
	STAP_PROBE11(provider, name, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11)
#define DTRACE_PROBE12(provider, name, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12) \
	STAP_PROBE12(provider, name, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12)

#ifdef SDT_USE_VARIADIC
#define STAP_PROBEV(...) \
	__SDT_PASTE(__SDT_PROBE, __SDT_COUNT(__VA_ARGS__, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0, 0))(__VA_ARGS__)
#define __SDT_COUNT(p, n, a, b, c, d, e, f, g, h, i, j, k, l, count, ...) count
#define __SDT_PROBE0 STAP_PROBE
#define __SDT_PROBE1 STAP_PROBE1
#define __SDT_PROBE2 STAP_PROBE2
#define __SDT_PROBE3 STAP_PROBE3
#define __SDT_PROBE4 STAP_PROBE4
#define __SDT_PROBE5 STAP_PROBE5
#define __SDT_PROBE6 STAP_PROBE6
#define __SDT_PROBE7 STAP_PROBE7
#define __SDT_PROBE8 STAP_PROBE8
#define __SDT_PROBE9 STAP_PROBE9
#define __SDT_PROBE10 STAP_PROBE10
#define __SDT_PROBE11 STAP_PROBE11
#define __SDT_PROBE12 STAP_PROBE12
#endif

#endif
