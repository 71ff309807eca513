/* SPDX-License-Identifier: MIT */
/*
 * Declared probes: a probe with a prototype.
 *
 *     PROBE_DECLARE(server, request_start, (int fd, const char *path, size_t len), (fd, path, len));
 *
 * at file scope (C++: or in a namespace), usually in a header, declares the probe
 * server:request_start. Its second list says what the probe shows: the parameters,
 * or expressions of them (req->path); at most 12, () for none. From then on
 *
 *     request_start(3, path, strlen(path));
 *
 * is a call by type, checked and converted like any other, and by code a site that
 * is passed over. Each such probe has a semaphore: a short integer that is zero
 * while nobody is interested. The call tests it first and does the rest behind
 * that test, out of the way; arguments without side effects are computed there
 * too, as far as the compiler can tell that they have none. Where they are dear,
 * test it yourself:
 *
 *     if (PROBE_ENABLED(server, request_start))
 *         request_start(3, describe(request), 0);
 *
 * A tool that sets a breakpoint on the site and leaves the semaphore alone sees
 * nothing; gdb, perf, bpftrace and probepoint raise it.
 *
 * The semaphore is defined wherever it is used, and merged by the linker: one for
 * each program or library, none for a probe that is never called. So is a note
 * that tells the arguments' names and kinds (strings are shown as strings), and
 * where the probe is declared.
 *
 * C++ overloads may share one probe's name; readers have the names of one of them.
 * C needs C99 or later, or SDT_USE_VARIADIC defined.
 */
#ifndef _SYS_PROBE_H
#define _SYS_PROBE_H 1

#include <sys/sdt.h>

#define PROBE_DECLARE(provider, name, prototype, arguments) \
	__PROBE_DECLARE(provider, name, prototype, __PROBE_COUNT arguments, arguments)
#define PROBE_ENABLED(provider, name) __SDT_PASTE(__probe_enabled_, __SDT_PASTE(provider, __SDT_PASTE(_, name)))()

#ifdef __cplusplus
#define __PROBE_EXTERN extern "C"
#define __PROBE_NOTHING
#else
#define __PROBE_EXTERN extern
#define __PROBE_NOTHING void
#endif
#define __PROBE_FUNCTION static __inline__ __attribute__((__always_inline__, __unused__))

#define __PROBE_DECLARE(provider, name, prototype, n, arguments) \
	__PROBE_DECLARE_N(provider, name, provider##_##name##_semaphore, prototype, n, arguments)
#define __PROBE_DECLARE_N(provider, name, semaphore, prototype, n, arguments) \
	__PROBE_EXTERN volatile unsigned short semaphore __attribute__((__visibility__("hidden"))); \
	__PROBE_FUNCTION int __probe_enabled_##provider##_##name(__PROBE_NOTHING) \
	{ \
		__extension__({ __asm__ __volatile__ __SDT_INLINE(__PROBE_SEMAPHORE(#semaphore) : : "n"(0)); }); \
		return __builtin_expect(semaphore, 0) != 0; \
	} \
	__PROBE_FUNCTION void name prototype \
	{ \
		if (__probe_enabled_##provider##_##name()) { \
			__extension__({ \
				__asm__ __volatile__ __SDT_INLINE( \
					__PROBE_NOTE(provider, name, n, __PROBE_TEXT##n arguments) : : __PROBE_CLASS##n arguments); \
			}); \
			__SDT_PLACE(provider, name, #semaphore, n, __PROBE_LIST##n arguments); \
		} \
	} \
	struct __probe_##provider##_##name
