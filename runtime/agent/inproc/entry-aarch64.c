/* SPDX-License-Identifier: MIT */
/*
 * The entries from trampolines into C.
 *
 * 1. x0 is the address, x1 to x3 are arguments; x3 to x5 are also what they are in the
 *    trampoline. The frame pointer is the last argument.
 * 2. All general registers but x0 and x1 are kept. x1 is not 0 if there was a fault.
 * 3. The C code uses no vector register (build.mk). But a system call destroys the
 *    predicates of SVE, and what its registers have beyond the first 128 bits.
 *    Therefore, if the CPU has SVE, all of it is kept around each function that may
 *    make a system call. Its size depends on the CPU, so it is below a frame pointer.
 * 4. entry_take() enters the C library, so it keeps all vector registers.
 */
#include <sys/auxv.h>

#include "runtime/agent/inproc/hit-aggregate.h"

#define HWCAP_VECTORS (1u << 22) /* SVE */

/* Whether the CPU has SVE. */
static __attribute__((used)) uint32_t entry_sve __asm__("entry_sve");

void entry_prepare(void)
{
	entry_sve = !!(getauxval(AT_HWCAP) & HWCAP_VECTORS);
}

/* clang-format off */
#define Z(F)                                                                      \
	F(0) F(1) F(2) F(3) F(4) F(5) F(6) F(7) F(8) F(9) F(10) F(11) F(12) F(13) \
	F(14) F(15) F(16) F(17) F(18) F(19) F(20) F(21) F(22) F(23) F(24) F(25)   \
	F(26) F(27) F(28) F(29) F(30) F(31)
#define P(F)                                                                      \
	F(0) F(1) F(2) F(3) F(4) F(5) F(6) F(7) F(8) F(9) F(10) F(11) F(12) F(13) \
	F(14) F(15)
#define Q(F)                                                                 \
	F(0, 1) F(2, 3) F(4, 5) F(6, 7) F(8, 9) F(10, 11) F(12, 13)          \
	F(14, 15) F(16, 17) F(18, 19) F(20, 21) F(22, 23) F(24, 25)          \
	F(26, 27) F(28, 29) F(30, 31)

#define STORE_Z(n) "str z" #n ", [sp, #" #n ", mul vl]\n"
#define LOAD_Z(n) "ldr z" #n ", [sp, #" #n ", mul vl]\n"
#define STORE_P(n) "str p" #n ", [sp, #" #n ", mul vl]\n"
#define LOAD_P(n) "ldr p" #n ", [sp, #" #n ", mul vl]\n"
#define STORE_Q(n, m) "stp q" #n ", q" #m ", [sp, #16 * " #n "]\n"
#define LOAD_Q(n, m) "ldp q" #n ", q" #m ", [sp, #16 * " #n "]\n"

#define LOAD_ENTRY_SVE "adrp x16, entry_sve\nldr w16, [x16, #:lo12:entry_sve]\n"

/*
 * entry_keep pushes the vector registers of SVE, entry_keep_all all vector registers.
 * entry_fetch and entry_fetch_all load them again; their caller restores the stack
 * pointer.
 */
__asm__(".pushsection .text\n"
        ".arch_extension sve\n"
        ".p2align 4\n"
        "entry_keep:\n"
        LOAD_ENTRY_SVE "cbz w16, 1f\n"
        "addvl sp, sp, #-32\n" Z(STORE_Z)
        "addvl sp, sp, #-3\n" P(STORE_P) "rdffr p0.b\nstr p0, [sp, #16, mul vl]\n"
        "1: ret\n"
        "entry_keep_all:\n"
        LOAD_ENTRY_SVE "cbnz w16, entry_keep\n"
        "sub sp, sp, #512\n" Q(STORE_Q)
        "ret\n"
        "entry_fetch:\n"
        LOAD_ENTRY_SVE "cbz w16, 1f\n"
        "ldr p0, [sp, #16, mul vl]\nwrffr p0.b\n" P(LOAD_P)
        "addvl sp, sp, #3\n" Z(LOAD_Z)
        "1: ret\n"
        "entry_fetch_all:\n"
        LOAD_ENTRY_SVE "cbnz w16, entry_fetch\n" Q(LOAD_Q)
        "ret\n"
        ".popsection");

#define ENTRY(name, function, before, arguments, after)                                            \
	__asm__(".pushsection .text\n"                                                             \
	        ".globl " #name "\n.hidden " #name "\n.type " #name ", %function\n.p2align 4\n"    \
	        #name ":\n"                                                                        \
	        "hint 34\n" /* bti c */                                                            \
	        "stp x29, x30, [sp, #-160]!\nmov x29, sp\n"                                        \
	        "stp x2, x3, [sp, #16]\nstp x4, x5, [sp, #32]\nstp x6, x7, [sp, #48]\n"            \
	        "stp x8, x9, [sp, #64]\nstp x10, x11, [sp, #80]\nstp x12, x13, [sp, #96]\n"        \
	        "stp x14, x15, [sp, #112]\nstp x16, x17, [sp, #128]\nstr x18, [sp, #144]\n"        \
	        before arguments "bl " #function "\n" after                                        \
	        "mov sp, x29\n"                                                                    \
	        "ldp x2, x3, [sp, #16]\nldp x4, x5, [sp, #32]\nldp x6, x7, [sp, #48]\n"            \
	        "ldp x8, x9, [sp, #64]\nldp x10, x11, [sp, #80]\nldp x12, x13, [sp, #96]\n"        \
	        "ldp x14, x15, [sp, #112]\nldp x16, x17, [sp, #128]\nldr x18, [sp, #144]\n"        \
	        "ldp x29, x30, [sp], #160\n"                                                       \
	        "ret\n"                                                                            \
	        ".size " #name ", . - " #name "\n"                                                 \
	        ".popsection")

#define KEEP "bl entry_keep\n"
#define FETCH "bl entry_fetch\n"

ENTRY(entry_load, trampoline_load, KEEP, "mov x4, x0\nmov x3, x1\nmov x5, x29\n", FETCH);
ENTRY(entry_string, trampoline_string, KEEP,
      "mov x4, x0\nmov x0, x1\nmov x1, x5\nmov x5, x2\nmov x2, x3\nmov x3, x5\nmov x5, x29\n", FETCH);
ENTRY(entry_match, trampoline_match, KEEP, "mov x4, x0\nmov x0, x1\nmov x1, x2\nmov x5, x29\n", FETCH);
ENTRY(entry_comm, trampoline_comm, KEEP, "mov x0, x1\n", FETCH);
ENTRY(entry_now, trampoline_now, KEEP, "", FETCH);
ENTRY(entry_late, trampoline_late, KEEP, "", FETCH);
ENTRY(entry_shrink, trampoline_shrink, "", "mov x0, x4\nmov x4, x1\nmov x1, x5\nmov x2, x3\nmov x3, x4\n", "");
#define CALL_ARGUMENTS "mov x6, x0\nmov x0, x1\nmov x1, x4\nmov x4, x6\nmov x5, x29\n"
ENTRY(entry_begin, trampoline_begin, KEEP, CALL_ARGUMENTS, FETCH);
ENTRY(entry_end, trampoline_end, KEEP, CALL_ARGUMENTS, FETCH);
ENTRY(entry_hash, trampoline_hash, KEEP, "mov x4, x0\nmov x0, x1\nmov x5, x29\n", FETCH);
ENTRY(entry_token, trampoline_token, "", "mov x0, x6\n", "");
ENTRY(entry_room, trampoline_room, "", "mov x0, x4\n", "");
ENTRY(entry_aggregate, trampoline_aggregate, "",
      "mov x4, x0\nmov x0, x1\nmov x1, x2\nmov x2, x3\nmov x3, x5\nmov x5, x29\n", "");
ENTRY(entry_unread, trampoline_unread, "", "mov x0, x1\nmov x4, x2\nmov x2, x3\nmov x3, x4\n", "");
ENTRY(entry_keystr, trampoline_keystr, KEEP, "mov x4, x0\nmov x0, x1\nmov x1, x2\nmov x5, x29\n", FETCH);
ENTRY(entry_keycomm, trampoline_keycomm, KEEP, "mov x1, x2\n", FETCH);
ENTRY(entry_keystack, trampoline_keystack, KEEP, "mov x1, x2\nmov x5, x29\n", FETCH);
ENTRY(entry_cpu, trampoline_cpu, KEEP, "", FETCH);
ENTRY(entry_take, trampoline_take, "bl entry_keep_all\n", "mov x0, x1\n", "bl entry_fetch_all\n");
