#!/bin/bash
# SPDX-License-Identifier: MIT
# Newer features of the languages and of GCC: the values at the sites are those that the program prints itself. Values
# that no operand can hold are left out. PROBEPOINT_LONG takes more options.
. tests/plugin/lib.sh
need readelf jq
probed '*' provider=p exclude=main
cd "$T" || exit 1
major=$($GCC -dumpversion | cut -d. -f1)
armed=
[ "$(id -u)" = 0 ] && armed=yes || part_skipped "values are not compared: not root"

# feature NAME GCC FILE OPTION...: the program in FILE has the feature, which GCC has since that version. It prints a line
# for each hit, "PROBE {ARGUMENTS}" as probe-trace --json does; a probe that it never prints is not
# compared. $has: its probes.
feature() {
	local name=$1 since=$2 file=$3 cc=$GCC
	shift 3
	if [ "$major" -lt "$since" ]; then
		[ "${missing[$name]-}" ] || part_skipped "$name: needs GCC $since"
		missing[$name]=1
		return
	fi
	[[ $file != *.cc ]] || cc=$GXX
	compile $cc -w "$@" "${with[@]}" $file -o program >log 2>&1 || { head -n 20 log; fail "$name, $*: does not compile"; }
	./program >wanted || fail "$name, $*: ended with $?"
	unknown_operands program && fail "$name, $*: operands that some reader cannot read"
	names program >names
	for probe in ${has-}; do grep -qx "p:$probe" names || fail "$name, $*: no probe $probe"; done
	if [ "$armed" ] && [ -s wanted ]; then
		probe-trace -q --json -f ./program 'p:*' -- sh -c 'exec ./program >/dev/null' >traced 2>log || { cat log traced; fail "$name, $*: cannot be traced"; }
		jq -rc 'select(.probe) | "\(.probe | ltrimstr("p:")) \(.args | map_values(if type == "number" then . + 0 else . end))"' traced 2>log >all || { cat log; fail "$name, $*: no JSON"; }
		awk 'NR == FNR { own[$1] = 1; next } $1 in own' wanted all >got
		diff wanted got || fail "$name, $*: other values"
		lines=$((lines + $(wc -l <got)))
	fi
	done+=("$name")
}
declare -A missing=()
done=() lines=0

# ---- types ----

cat >bits.c <<'E'
#include <stdio.h>
__attribute__((noipa)) _BitInt(13) small(_BitInt(13) a, unsigned _BitInt(3) b, _BitInt(64) c) { return (_BitInt(13))(a + b); }
__attribute__((noipa)) int large(_BitInt(65) a, int n, unsigned _BitInt(256) b) { return (int)a + n + (int)b; }
int main(void)
{
	static const int values[] = { 0, 1, -1, 4095, -4096, 77 };
	for (int i = 0; i < 6; i++) {
		int v = values[i], r = (_BitInt(13))(v + i % 8);
		printf("small__entry {\"a\":%d,\"b\":%d,\"c\":%lld}\n", v, i % 8, v * 1000000000000ll);
		printf("small__return {\"result\":%d}\n", r);
		if ((int)small((_BitInt(13))v, (unsigned _BitInt(3))i, v * 1000000000000ll) != r)
			return 1;
		printf("large__entry {\"n\":%d}\n", i);
		printf("large__return {\"result\":%d}\n", v + i + 3);
		if (large(v, i, 3) != v + i + 3)
			return 2;
	}
	return 0;
}
E
cat >half.c <<'E'
#include <stdio.h>
typedef HALF half;
struct pair { half a, b; };
__attribute__((noipa)) half one(half x, int n) { return x + (half)n; }
__attribute__((noipa)) int two(struct pair p, float f) { return p.a > p.b; }
int main(void)
{
	static const float values[] = { 1.5, -0.25, 1024, -3, 0.0078125 };
	for (int i = 0; i < 5; i++) {
		float v = values[i], r = (half)(v + i);
		printf("one__entry {\"x\":%.10g,\"n\":%d}\n", v, i);
		printf("one__return {\"result\":%.10g}\n", r);
		one((half)v, i);
		printf("two__entry {\"p.a\":%.10g,\"p.b\":2,\"f\":0.5}\n", v);
		printf("two__return {\"result\":%d}\n", v > 2);
		two((struct pair){ (half)v, 2 }, 0.5f);
	}
	return 0;
}
E
sed 's/HALF/std::float16_t/; s/stdio.h/stdfloat>\n#include <stdio.h/; s/(struct pair){ (half)v, 2 }/pair{ (half)v, 2 }/' half.c >half.cc
sed 's/float16_t/bfloat16_t/' half.cc >bhalf.cc
cat >hardbool.c <<'E'
#include <stdio.h>
typedef char __attribute__((hardbool(0x5a, 0xa5))) hard;
__attribute__((noipa)) hard turned(hard h, int n) { return n ? !h : h; }
int main(void)
{
	for (int i = 0; i < 4; i++) {
		hard h = i & 1, r = turned(h, i >> 1);
		unsigned char bits = *(volatile char *)&r;
		if (bits != (r ? 0xa5 : 0x5a))
			return 1;
		printf("turned__entry {\"h\":%d,\"n\":%d}\n", (signed char)(i & 1 ? 0xa5 : 0x5a), i >> 1);
		printf("turned__return {\"result\":%d}\n", (signed char)bits);
	}
	return 0;
}
E

# ---- control flow ----

cat >coroutine.cc <<'E'
#include <coroutine>
#include <cstdio>
struct task {
	struct promise_type {
		int value;
		task get_return_object() { return { std::coroutine_handle<promise_type>::from_promise(*this) }; }
		std::suspend_always initial_suspend() { return {}; }
		std::suspend_always final_suspend() noexcept { return {}; }
		std::suspend_always yield_value(int v) { value = v; return {}; }
		void return_void() {}
		void unhandled_exception() {}
	};
	std::coroutine_handle<promise_type> handle;
};
__attribute__((noipa)) int doubled(int n) { return 2 * n; }
task count(int from, int to) { for (int i = from; i < to; i++) co_yield doubled(i); }
int main()
{
	task t = count(3, 6);
	for (int i = 3; ; i++) {
		if (i < 6)
			printf("doubled__entry {\"n\":%d}\ndoubled__return {\"result\":%d}\n", i, 2 * i);
		t.handle.resume();
		if (t.handle.done())
			break;
		if (t.handle.promise().value != 2 * i)
			return 1;
	}
	t.handle.destroy();
	return 0;
}
E
cat >must.cc <<'E'
/* The tail calls of CPython 3.14's interpreter, and of protobuf's parser in C++. */
#include <cstdio>
#include <cstdlib>
#include <cstdint>
#define TAIL [[gnu::musttail]]
#ifdef NONE
#define CALLS __attribute__((preserve_none))
#else
#define CALLS
#endif
struct message { uint64_t sum; unsigned count; };
using parser = CALLS const char *(message *, const char *, unsigned long, const void *);
static parser varint, text, stop;
static const struct { parser *parse; } table[] = { { varint }, { text }, { stop } };
static inline __attribute__((always_inline)) const char *dispatch(message *m, const char *at, unsigned long bits, const void *t)
{
	TAIL return table[(unsigned char)*at % 3].parse(m, at + 1, bits, t);
}
CALLS static const char *varint(message *m, const char *at, unsigned long bits, const void *t) { m->sum += *at; m->count++; TAIL return dispatch(m, at + 1, bits, t); }
CALLS static const char *text(message *m, const char *at, unsigned long bits, const void *t) { m->sum ^= *at; m->count++; TAIL return dispatch(m, at + 1, bits + 1, t); }
CALLS static const char *stop(message *, const char *at, unsigned long bits, const void *) { return at + bits; }
int main()
{
	enum { N = 300000 };
	char *code = (char *)calloc(2, N + 1);
	message m = {};
	for (int i = 0; i < N; i++)
		code[2 * i] = i % 2;
	code[2 * N] = 2;
	const char *end = dispatch(&m, code, 0, nullptr);
	return m.count != N || end != code + 2 * N + 1 + N / 2;
}
E

# ---- checks and extensions of GCC ----

cat >strub.c <<'E'
#include <stdio.h>
__attribute__((noinline, strub)) int secret(int a, int b) { int x[4] = { a, b, a, b }; __asm__ volatile("" : : "r"(x) : "memory"); return x[1] + a; }
__attribute__((noinline, strub("internal"))) int inside(int a, int *p) { return a + *p; }
int main(void)
{
	int n = 4;
	printf("secret__entry {\"a\":1,\"b\":2}\nsecret__return {\"result\":3}\n");
	return secret(1, 2) + inside(3, &n) != 10;
}
E
cat >plain.c <<'E'
#include <stdio.h>
#include <string.h>
__attribute__((noipa)) int length(const char *text, int n) { char copy[32]; strncpy(copy, text, sizeof copy - 1); copy[31] = 0; return (int)strlen(copy) + n; }
__attribute__((noipa)) long eight(long a, long b, long c, long d, long e, long f, long g, long h) { return a + b + c + d + e + f + g + h; }
int main(void)
{
	printf("length__entry {\"text\":\"some text\",\"n\":-3}\nlength__return {\"result\":6}\n");
	length("some text", -3);
	printf("eight__entry {\"a\":1,\"b\":-2,\"c\":3,\"d\":-4,\"e\":5,\"f\":-6,\"g\":7,\"h\":-8}\neight__return {\"result\":-4}\n");
	return eight(1, -2, 3, -4, 5, -6, 7, -8) != -4;
}
E
cat >contract.cc <<'E'
#include <cstdio>
__attribute__((noinline)) int half(const int n) pre(n >= 0) post(r: r <= n) { contract_assert(n < 1000); return n / 2; }
int main() { printf("half__entry {\"n\":10}\nhalf__return {\"result\":5}\n"); return half(10) != 5; }
E
cat >reflection.cc <<'E'
#include <meta>
#include <cstdio>
struct point { int x; long y; };
template <class T> consteval unsigned members() { return std::meta::nonstatic_data_members_of(^^T, std::meta::access_context::unchecked()).size(); }
__attribute__((noipa)) int scaled(int n) { return n * members<point>(); }
template <std::meta::info I> __attribute__((noipa)) int named(int n) { return n + 1; }
int main() { printf("scaled__entry {\"n\":3}\nscaled__return {\"result\":6}\n"); return scaled(3) != 6 || named<^^point>(1) != 2 || named<^^int>(2) != 3; }
E

printf 'export module shapes;\nexport __attribute__((noipa)) int area(int w, int h) { return w * h; }\nint hidden(int n) { return n; }\nexport template <class T> __attribute__((noipa)) T twice(T v) { return v + v; }\n' >shapes.cc
cat >module.cc <<'E'
#include <stdio.h>
import shapes;
int main()
{
	printf("area__entry {\"w\":3,\"h\":-4}\narea__return {\"result\":-12}\n");
	printf("twice__entry {\"v\":21}\ntwice__return {\"result\":42}\n");
	return area(3, -4) != -12 || twice(21) != 42;
}
E

# ---- the cases ----

levels="-O0 -O2"
[ -z "${PROBEPOINT_LONG-}" ] || levels="-O0 -O1 -O2 -O3 -Os -Og"
for level in $levels; do
	feature "_BitInt" 14 bits.c -std=gnu2x $level
	[ "$major" -lt 14 ] || feature "_BitInt with LTO" 14 bits.c -std=gnu2x $level -flto
	feature "_Float16" 12 half.c -DHALF=_Float16 $level
	feature "__bf16" 13 half.c -DHALF=__bf16 $level
	feature "std::float16_t" 13 half.cc -std=gnu++23 $level
	feature "std::bfloat16_t" 13 bhalf.cc -std=gnu++23 $level
	feature "hardbool" 14 hardbool.c $level
	feature "coroutines" 11 coroutine.cc -std=gnu++20 $level
	feature "-fhardened" 14 plain.c $level -fhardened
	has="secret__entry secret__return" feature "-fstrub" 14 strub.c $level
	feature "-fstrub=all" 14 strub.c $level -fstrub=all
	has="half__entry half__return" feature "contracts of C++26" 16 contract.cc -std=gnu++26 -fcontracts $level
	has="scaled__entry scaled__return named__entry named_2__return" feature "-freflection" 16 reflection.cc -std=gnu++26 -freflection $level
done
# GCC 13 and 14 call a function that checks the result, as a tail call, which has no value.
sed 's/pre(n >= 0) post(r: r <= n)/[[pre: n >= 0]] [[post r: r <= n]]/; s/contract_assert(n < 1000);/[[assert: n < 1000]];/' contract.cc >contracts.cc
[ "$major" -ge 15 ] || sed -i 's/\\nhalf__return {[^}]*}//' contracts.cc
[ "$major" -ge 16 ] || has="half__entry half__return" feature "contracts" 13 contracts.cc -std=gnu++20 -fcontracts -O2

# Calls that must be tail calls. GCC refuses the program if one is not.
for level in -O0 -O1 -Og -O2; do
	has="varint__entry varint__return text__return stop__return" feature "musttail" 15 must.cc $level
	feature "musttail with preserve_none" 16 must.cc -DNONE $level
done

# Modules: the interface is compiled first.
modules="-std=gnu++20 -fmodules-ts"
compile $GXX -w $modules "${with[@]}" -c shapes.cc -o shapes.o >log 2>&1 || { cat log; fail "modules: the interface does not compile"; }
has="twice__entry twice__return hidden__entry" feature "modules" 11 module.cc $modules shapes.o

feature "options of distributions" 11 plain.c $DISTRIBUTION -Wl,-z,relro,-z,now

# APX has 32 registers, of which readers know 16. Few CPUs have it, so generated functions are only compiled.
if [ "$major" -ge 14 ] && $GCC -O2 -mapxf -c plain.c -o out.o >log 2>&1; then
	seed=${SEED:-$RANDOM}
	$GCC -w -O1 "$SOURCES/gen.c" -o gen && ./gen "$seed" 60 gen || fail "gen.c"
	for level in -O1 "-O3 -funroll-all-loops"; do
		compile $GCC -w $level "${with[@]}" -c gen.c -o usual.o >log 2>&1 && compile $GCC -w $level -mapxf "${with[@]}" -c gen.c -o apx.o >log 2>&1 ||
			{ cat log; fail "seed $seed, $level -mapxf: does not compile"; }
		unknown_operands apx.o && fail "seed $seed, $level -mapxf: operands that some reader cannot read"
		want "seed $seed, $level -mapxf: operands" "$(sites usual.o | cut -s -d' ' -f2- | wc -w)" "$(sites apx.o | cut -s -d' ' -f2- | wc -w)"
	done
	done+=(-mapxf)
else
	part_skipped "-mapxf: needs GCC 14 and an assembler that knows APX"
fi
printf '%s\n' "${done[@]}" | sort -u | tr '\n' ',' | sed 's/,/, /g'
echo "$lines hits compared"
