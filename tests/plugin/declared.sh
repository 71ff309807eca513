#!/bin/bash
# SPDX-License-Identifier: MIT
# Declared probes with the plugin: they have everything that they have without it, and types. No argument is computed
# while the probe is not enabled.
. tests/plugin/lib.sh
. tests/sdt/lib.sh
. tests/sdt/lib-declared.sh
need readelf
marked=(-fplugin="$PLUGIN" -fplugin-arg-probepoint-marked -Iinclude)

# ---- the same source as without the plugin ------------------------------------

# The long form has all option sets, the short one those that differ most.
all=(-O0 -O1 -O2 -O3 -Os "-O2 -fPIC" "-O2 -flto" "-O2 -static" "-O2 -g -fno-inline")
some=(-O0 -O2 "-O2 -flto" "-O2 -g -fno-inline")
[ -z "${PROBEPOINT_LONG-}" ] || some=("${all[@]}")
n=0
for flags in "${some[@]}"; do
	for cc in "$GCC" "$GXX"; do
		language=c
		[[ $cc = *++* ]] && language=c++
		for part in 1 2; do
			try "$cc $flags" $cc $flags ${WARN/-Werror/} "${marked[@]}" -x $language -DPART=$part -c $D/shop.c -o "$T/$part.o" || continue 2
			# one argument is volatile
			[ "$(grep -c ': warning: ' "$T/log")" = $((2 - part)) ] || { wrong "$cc $flags: warnings"; cat "$T/log"; }
		done
		try "$cc $flags" $cc $flags "$T/1.o" "$T/2.o" -o "$T/shop" && whole "$cc $flags" "$T/shop" && n=$((n + 1))
		objdump -d --no-show-raw-insn "$T/shop" | grep -E 'call.*(order|kinds|twelve|some)' && wrong "$cc $flags: a call remains"
		# Signatures have types. The functions that the header makes are not probed themselves.
		out=$(probe-list "$T/shop" -m shop:order -m shop:kinds --json | json '[.probes[].signature] | sort')
		want "$cc $flags: signatures" \
			"[\"(char a, bool b, signed char c, unsigned char d, short e, enum shelf f, const struct item *g, char *h, double i)\",\"(int id, const char *name, size_t len)\"]" \
			"$(sed "s/_Bool/bool/; s/ shelf f/ enum shelf f/; s/enum enum/enum/; s/const item/const struct item/" <<<"$out")"
	done
done
want "programs" $((2 * ${#some[@]})) $n
$GCC -O2 -Iinclude -fplugin="$PLUGIN" '-fplugin-arg-probepoint-functions=*' -DPART=1 -c $D/shop.c -o "$T/1.o" 2>/dev/null || fail "all functions"
[ "$(names "$T/1.o" | grep -c 'shop:.*__entry')" = 2 ] || fail "the functions that the header makes are probed: $(names "$T/1.o")"
# One unit is compiled with the plugin and one without: there is one signature and one semaphore.
try half $GCC -O2 "${marked[@]}" -DPART=1 -c $D/shop.c -o "$T/1.o"
try half $GXX -O2 -Iinclude -x c++ -DPART=2 -c $D/shop.c -o "$T/2.o"
try half $GXX "$T/1.o" "$T/2.o" -o "$T/shop" && whole "half of it" "$T/shop"
try half $GXX "$T/2.o" "$T/1.o" -o "$T/shop" && whole "the other half" "$T/shop"

# The source is preprocessed in a separate step, as ccache and -save-temps do.
$GCC -O2 "${marked[@]}" -DPART=1 -E $D/shop.c -o "$T/1.i" 2>/dev/null && $GCC -O2 "${marked[@]}" -c "$T/1.i" -o "$T/1.o" 2>/dev/null &&
	[ "$(sites "$T/1.o" | grep -c shop:)" = 5 ] || wrong "preprocessed: $(sites "$T/1.o")"

# ---- arguments are not computed while the probe is not enabled ------------------

cat >"$T/idle.h" <<'E'
#include <string.h>
#include <stdio.h>
#include <sys/probe.h>
struct node { int n; struct node *next; const char *name; };
PROBE_DECLARE(idle, two, (int a, const char *b), (a, b));
PROBE_DECLARE(idle, real, (double a, size_t b, short c), (a, b, c));
#ifdef __cplusplus
extern "C" {
#endif
/* Counts its calls; the compiler does not know. */
__attribute__((pure)) int dear(const void *p);
extern int calls;
#ifdef __cplusplus
}
#endif
E
echo 'int calls; int dear(const void *p) { return ++calls + (p == 0); }' >"$T/dear.c"
cat >"$T/idle.c" <<'E'
#include "idle.h"
static int sum(const struct node *n)
{
	int s = 0;
	for (; n; n = n->next)
		s += n->n * dear(n);
	return s;
}
static int depth(const struct node *n) { return n ? 1 + depth(n->next) + dear(n) : 0; }
static struct node three = { 3, 0, "three" }, second = { 2, &three, 0 }, one = { 1, &second, "one" };
/* each returns the same as without a probe */
__attribute__((noinline)) int plain(struct node *n) { two(dear(n), "a"); return n->n; }
__attribute__((noinline)) int choice(struct node *n) { two(n ? sum(n) : -1, n && n->name ? n->name : "none"); return n->n; }
__attribute__((noinline)) int nested(struct node *n)
{
	for (struct node *at = n; at; at = at->next) {
		if (at->n == 2)
			continue;
		real(dear(at) * 2.5 / sum(at), at->name ? strlen(at->name) : 0, (short)dear(at + 1));
		if (at->n == 3)
			return 7;
	}
	return 8;
}
__attribute__((noinline)) int both(struct node *n) { int d = n->n + 1; two(d + dear(n), n->name); return d; }
__attribute__((noinline)) int recursive(struct node *n) { return two(depth(n), n->name), n->n; }
__attribute__((noinline)) int block(struct node *n) { two(__extension__({ int i = dear(n + 5); i > 2 ? i * 2 : sum(n); }), "b"); return 1; }
__attribute__((noinline)) int chosen(struct node *n) { n->n > 1 ? (void)0 : two(dear(n), "c"); return 2; }
int main(int argc, char **argv)
{
	int (*const all[])(struct node *) = { plain, choice, nested, both, recursive, block, chosen };
	(void)argv;
	if (argc > 1)
		idle_two_semaphore = 1, idle_real_semaphore = 1;
	for (unsigned i = 0; i < sizeof all / sizeof *all; i++) {
		calls = 0;
		int r = all[i](&one);
		printf("%d:%d ", r, calls);
	}
	puts("");
}
E
$GCC -c "$T/dear.c" -o "$T/dear.o"
all=(-O0 -O1 -O2 -O3 "-O2 -g" "-Og -g" "-O2 -fno-inline" "-O2 -flto" "-O1 -fno-tree-sink -fno-early-inlining"
	"-O1 -fsanitize=address,undefined")
some=(-O0 "-O2 -g" "-Og -g" "-O2 -flto" "-O1 -fno-tree-sink -fno-early-inlining")
[ -z "${PROBEPOINT_LONG-}" ] || some=("${all[@]}")
for flags in "${some[@]}"; do
	for cc in $GCC $GXX; do
		language=c
		[[ $cc = *++* ]] && language=c++
		try "$cc $flags" $cc $flags -x $language -Wall -Wextra -Werror "${marked[@]}" -c "$T/idle.c" -o "$T/idle.o" &&
			try "$cc $flags" $cc $flags "$T/idle.o" "$T/dear.o" -o "$T/idle" || continue
		want "$cc $flags: not enabled" "1:0 1:0 7:0 2:0 1:0 1:0 2:0 " "$("$T/idle")"
		out=$("$T/idle" enabled | sed 's/[0-9]*:0 /not-enabled /g; s/:[0-9]*//g')
		want "$cc $flags: enabled" "1 1 7 2 1 1 2 " "$out"
	done
done

# The kernel raises the semaphore, and records the values that were passed.
if [ "$(id -u)" = 0 ]; then
	for flags in -O0 -O2; do
		$GCC $flags "${marked[@]}" "$T/idle.c" "$T/dear.o" -o "$T/idle" || fail idle
		out=$(probe-trace -q --json idle:two -- "$T/idle" 2>"$T/log" | grep '^{' | json 'select(.probe) | .args | [.a, .b]' | tr '\n' ' ')
		want "$flags: traced" '[1,"a"] [14,"one"] [3,"one"] [9,"one"] [20,"b"] [1,"c"] ' "$out"
	done
else
	part_skipped "nothing is armed: not root"
fi

# C++: overloads, namespaces, templates, lambdas, exceptions while arguments are computed.
cat >"$T/x.cc" <<'E'
#include <string>
#include <vector>
#include "idle.h"
namespace a { namespace b {
PROBE_DECLARE(cxx, req, (int fd, const char *path), (fd, path));
PROBE_DECLARE(cxx, req, (const std::string &s, long n), (s.c_str(), n));
PROBE_DECLARE(cxx, ref, (int &n, bool flag), (n, flag));
} }
struct box {
	std::string s;
	std::vector<int> v;
	int sum() const { int t = 0; for (int x : v) t += x + dear(&x); return t; }
	const char *name() const { return s.empty() ? "none" : s.c_str(); }
};
template <class T> void tmpl(T t) { a::b::req(int(t + 1) + dear(0), "tmpl"); }
struct counted { ~counted() { a::b::req(dear(this), "gone"); } };
int main()
{
	box r = { "box", { 1, 2, 3 } };
	a::b::req(dear(&r), r.s.c_str());
	a::b::req(r.s, long(r.v.size()));
	tmpl(3);
	tmpl(2.5);
	auto l = [&](int n) { a::b::req(n * dear(&n), "lambda"); };
	l(4);
	int n = 3;
	a::b::ref(n, n > dear(0));
	try {
		counted c;
		a::b::req(r.sum() / 2, r.name());
		throw 5;
	} catch (int e) {
		a::b::req(e + dear(&e), "caught");
	}
	printf("%d\n", calls);
	return n != 3;
}
E
all=(-O1 -O2 -O3 "-O2 -std=c++11" "-O2 -std=c++20 -g")
some=(-O1 "-O2 -std=c++11")
[ -z "${PROBEPOINT_LONG-}" ] || some=("${all[@]}")
for flags in "${some[@]}"; do
	try "x.cc $flags" $GXX $flags -Wall -Wextra -Werror "${marked[@]}" "$T/x.cc" "$T/dear.o" -o "$T/x" || continue
	want "x.cc $flags" 0 "$("$T/x")"
	want "x.cc $flags: sites by operands" "8 1 1" "$(sites "$T/x" | awk '
		/:req .*-4@/ { req++ } /:req .*-8@/ { over++ } /:ref / { ref++ } END { print req, over, ref }' | sed 's/^[789] /8 /')"
done

# ---- warnings and errors -------------------------------------------------------

# says 'LINE: TEXT' FLAGS [COMPILER] <<'E' SOURCE
says() {
	local text=$1 flags=$2 cc
	{ echo '#include "idle.h"'; cat; } >"$T/wrong.c"
	for cc in ${3-$GCC $GXX}; do
		language=c
		[[ $cc = *++* ]] && language=c++
		LC_ALL=C $cc $flags -x $language "${marked[@]}" -c "$T/wrong.c" -o "$T/wrong.o" 2>"$T/log"
		sed 's/\(wrong\.c:[0-9]*:\)[0-9]*:/\1/' "$T/log" | grep -qF -- "wrong.c:$text" || { cat "$T/log"; wrong "$cc $flags does not say \"$text\""; }
		grep -q 'internal compiler' "$T/log" && wrong "$cc breaks"
	done
}
not_idle="so it is computed even if the probe is not enabled"
some=-O2
[ -z "${PROBEPOINT_LONG-}" ] || some="-O0 -O2"
for flags in $some; do
	says "2: warning: argument 1 of probe 'idle:two' has a side effect, $not_idle" $flags "$GCC" <<'E'
static void f(int *p) { two(3 + (*p)++, ""); } void g(int *p); void g(int *p) { f(p); }
E
	says "2: warning: argument 2 of probe 'idle:two' has a side effect, $not_idle" $flags "$GCC" <<'E'
void f(const char *p); void f(const char *p) { two(3, p = "x"); puts(p); }
E
	says "3: warning: argument 1 of probe 'idle:two' has a side effect, $not_idle" $flags <<'E'
extern volatile int v;
void f(void) { two(v, ""); }
E
	says "3: warning: an argument of probe 'idle:two' may have a side effect, $not_idle" $flags <<'E'
int other(int); void f(void);
void f(void) { two(other(1), ""); }
E
	says "3: note: 'int other(int)' is called, and GCC does not know that it has no side effects" $flags "$GXX" <<'E'
int other(int); void f(void);
void f(void) { two(other(1), ""); }
E
	says "4: warning: an argument of probe 'idle:two' may have a side effect, $not_idle" $flags <<'E'
static int count; int number(void); int number(void) { return count; }
static int hidden(int n) { return count += n; }
void f(void) { two(hidden(1), ""); }
E
done
says "2: error: 'PROBE_DECLARE': invalid provider 'func'" -O0 <<'E'
PROBE_DECLARE(func, x, (int a), (a));
E
says "2: error: 'nope' undeclared" -O0 "$GCC" <<'E'
PROBE_DECLARE(p, x, (int a, const char *b), (nope));
E
says "2: error: 'probe_declared' attribute is reserved for 'PROBE_DECLARE' of 'sys/probe.h'" -O0 <<'E'
__attribute__((probe_declared("a", "b", "c"))) int x;
E
says "2: warning: passing argument 2 of 'two' makes pointer from integer" -O0 "$GCC" <<'E'
void f(void); void f(void) { two(1, 2); }
E
says "2: error: too few arguments to function" -O0 "$GCC" <<'E'
void f(void); void f(void) { two(1); }
E
exit $failed
