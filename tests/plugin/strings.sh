#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Strings that __attribute__((probe_string(POINTER, LENGTH))) gives a length are recorded whole, NUL bytes included, and never
# read beyond their end: each ends at an unmapped page. In C, in C++ methods and templates, with LTO, by both backends.
. tests/plugin/lib.sh
need jq
cat >"$T/q.c" <<'E'
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#ifdef __cplusplus
struct db {
	int calls;
	void run(const char *sql, size_t len) __attribute__((noinline, probe_string(2, 3)));
};
void db::run(const char *sql, size_t len) { calls += len ? sql[0] : 1; }
template <class T, class N> __attribute__((noinline, probe_string(1, 2))) void generic(T *sql, N len)
{
	__asm__ volatile("" : : "r"(sql), "r"(len));
}
#endif
__attribute__((noinline, probe_string(2, 1), probe_string(4, 3))) void query(unsigned len, const void *sql, short n, const unsigned char *key)
{
	__asm__ volatile("" : : "r"(sql), "r"(len), "r"(key), "r"((int)n));
}
int main(void)
{
	long page = sysconf(_SC_PAGESIZE);
	char *end = (char *)mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) + page;

	munmap(end, page);
	memset(end - page, 'x', page);
	memcpy(end - 7, "a\0b\"c\nd", 7);
	query(7, end - 7, 3, (const unsigned char *)"keys and more");
	query(0, end, 0, NULL);
	query(200, end - 200, -1, (const unsigned char *)"negative");
#ifdef __cplusplus
	db d = { 0 };
	d.run(end - 2, 2);
	generic(end - 2, 2L);
#endif
	return 0;
}
E
backends=agent
[ "$(id -u)" = 0 ] && backends="agent kernel"
# A string of more than 127 bytes is cut. A negative length is a fault.
want='["a\u0000b\"c\nd","key"]
["",""]'

# check WHAT COMMAND...
check() {
	local backend what=$1
	shift
	compile "$@" "${with[@]}" -w -o "$T/q" || fail "$what does not build"
	for backend in $backends; do
		out=$(probe-trace -q --json -b $backend 'q:query__entry' -- "$T/q") || fail "$what, $backend: probe-trace ended with $?"
		want "$what, $backend" "$want" "$(jq -c '[.args.sql, .args.key]' <<<"$out" | head -n 2)"
		want "$what, $backend: a long one" "$(head -c 127 /dev/zero | tr '\0' x)" "$(jq -r '.args.sql' <<<"$out" | tail -n 1)"
		[[ $what != *g++* ]] || want "$what, $backend: a method" '"\nd"' \
			"$(probe-trace -q --json -b $backend 'q:db__run__entry' -- "$T/q" | jq -c .args.sql)"
		[[ $what != *g++* ]] || want "$what, $backend: a template" '"\nd"' \
			"$(probe-trace -q --json -b $backend 'q:generic*__entry' -- "$T/q" | jq -c .args.sql)"
	done
}
probed 'query,db::run,generic*' provider=q
for flags in -O0 -O2 "-O2 -flto"; do
	check "$GCC $flags" "$GCC" $flags "$T/q.c"
	check "$GXX $flags" "$GXX" $flags -xc++ "$T/q.c"
done
# refused TEXT DECLARATION [COMPILER]
refused() {
	echo "$2" | "${3-$GCC}" "${with[@]}" -x"$([ $# = 2 ] && echo c || echo c++)" -c - -o "$T/x.o" 2>"$T/err" && fail "accepted: $2"
	grep -qF "$1" "$T/err" || fail "$2: $(cat "$T/err")"
}
refused 'not the number of a parameter' '__attribute__((probe_string(1, 3))) void f(char *s, int n);'
refused 'not the number of a parameter' '__attribute__((probe_string(0, 2))) void f(char *s, int n);'
refused 'not the number of a parameter' '__attribute__((probe_string("s", 2))) void f(char *s, int n);'
refused 'cannot be a string' '__attribute__((probe_string(2, 1))) void f(char *s, int n);'
refused 'cannot be a string' '__attribute__((probe_string(1, 2))) void f(int *s, int n);'
refused 'cannot be a length' '__attribute__((probe_string(1, 2))) void f(char *s, double n);'
refused 'applies to functions only' '__attribute__((probe_string(1, 2))) int x;'
refused 'wrong number of arguments' '__attribute__((probe_string(1))) void f(char *s, int n);'
with=("${with[@]}" -fplugin-arg-probepoint-marked)
template='template <class T> __attribute__((probe, probe_string(1, 2))) void f(T s, long n) { __asm__ volatile("" : : "r"(s), "r"(n)); }'
refused 'cannot be a string' "$template void g(double *s) { f(s, 1); }" "$GXX"
refused 'cannot be a string' "$template void g(long s) { f(s, 1); }" "$GXX"
