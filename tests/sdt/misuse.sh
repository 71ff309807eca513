#!/bin/bash
# SPDX-License-Identifier: MIT
# Wrong uses of sys/sdt.h cause compiler errors. Unusual correct uses do not.
. tests/sdt/lib.sh

# refused WORDS COMMAND...: the source on standard input does not compile, for this reason.
refused() {
	local words=$1
	shift
	cat >"$T/wrong.c"
	if "$@" -Iinclude -c -x "${language-c}" "$T/wrong.c" -o "$T/wrong.o" >"$T/log" 2>&1; then
		wrong "$*: compiles"
	else
		grep -q "$words" "$T/log" || { wrong "$*: does not say '$words'"; head -n 5 "$T/log"; }
	fi
}

accepted() {
	cat >"$T/right.c"
	try "accepted" "$@" $WARN -Iinclude -c -x "${language-c}" "$T/right.c" -o "$T/right.o"
}

for cc in $(compilers gcc gcc-11 clang); do
	refused "no provider can be called func" "$cc" <<-'E'
		#include <sys/sdt.h>
		void f(int a) { STAP_PROBE1(func, name, a); }
	E
	refused "no provider can be called func" "$cc" <<-'E'
		#include <sys/sdt.h>
		#define WHERE func
		void f(void) { DTRACE_PROBE(WHERE, name); }
	E
	refused "no provider can be called func" "$cc" <<-'E'
		#include <sys/sdt.h>
		__asm__(STAP_PROBE_ASM(func, name, 4@$1));
	E
	language=assembler-with-cpp refused "no provider can be called func" "$cc" <<-'E'
		#include <sys/sdt.h>
		STAP_PROBE(func, name)
	E
	refused "provider_name_semaphore" "$cc" <<-'E'
		#define _SDT_HAS_SEMAPHORES 1
		#include <sys/sdt.h>
		void f(void) { STAP_PROBE(provider, name); }
	E
	refused "STAP_PROBE2" "$cc" <<-'E'
		#include <sys/sdt.h>
		void f(int a) { STAP_PROBE2(provider, name, a); }
	E
	refused "STAP_PROBEV" "$cc" -Werror=implicit-function-declaration <<-'E'
		#include <sys/sdt.h>
		int a, provider, name;
		void f(void) { STAP_PROBEV(provider, name, a); }
	E
	refused "incomplete\|invalid use\|not allowed" "$cc" <<-'E'
		#include <sys/sdt.h>
		struct s *p;
		void f(void) { STAP_PROBE1(provider, name, *p); }
	E

	accepted "$cc" <<-'E'
		#define provider 7
		#include <sys/sdt.h>
		#include <sys/sdt.h>
		#define n 5
		#define a 6
		#define k 7
		#define id 8
		#define section 10
		void f(int x);
		void f(int x)
		{
			STAP_PROBE2(functional, func, x, n);
			STAP_PROBE1(func_, name, a);
			STAP_PROBE3(_func, id, k, id, x);
		}
	E
	notes "$T/right.o" | grep -q '^_func 8 ' || wrong "$cc: names are not expanded as SystemTap expands them"
	accepted "$cc" -std=gnu17 <<-'E'
		#include <sys/sdt.h>
		int f(int x);
		int f(int x)
		{
			for (int i = 0; i < x; i++)
				switch (i) {
				case 0:
					STAP_PROBE1(p, zero, i);
					break;
				default:
					if (x)
						STAP_PROBE1(p, one, x);
					else
						STAP_PROBE1(p, two, i++);
				}
			STAP_PROBE1(p, three, ({ int y = x; y + 1; }));
			STAP_PROBE2(p, four, x ? 1 : 2, (x + 3));
			return x;
		}
	E
done
exit $failed
