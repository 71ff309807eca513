#!/bin/bash
# SPDX-License-Identifier: MIT
# Tail calls stay tail calls: deep recursion does not overflow the stack if it does not without the plugin.
. tests/plugin/lib.sh
need readelf python3
probed '*'
# The least frame takes 16 bytes: DEPTH calls that are not tail calls overflow a stack of STACK KiB several times.
DEPTH=300000 STACK=800
[ -z "${PROBEPOINT_LONG-}" ] || DEPTH=3000000 STACK=8192
on_small_stack() { (ulimit -c 0 && ulimit -Ss $STACK && exec "$@"); }

check() {
	local what="$*"
	$GCC -DDEPTH=$DEPTH "$@" "$SOURCES/tail.c" -o "$T/plain" && on_small_stack "$T/plain" >"$T/plain.out" ||
		fail "$what: overflows without the plugin too; the test is wrong"
	$GCC -DDEPTH=$DEPTH "$@" "${with[@]}" "$SOURCES/tail.c" -o "$T/tail" || fail "$what: does not build"
	on_small_stack "$T/tail" >"$T/tail.out" || fail "$what: ended with $?"
	cmp "$T/plain.out" "$T/tail.out" || fail "$what: other results"
	names "$T/tail" >"$T/names"
	for name in walk even odd sum sum_after product up down visit visit_other halve count machine main; do
		printf 'tail:%s__entry\ntail:%s__return\n' $name $name
	done | grep -vxFf "$T/names" && fail "$what: these probes are missing"
}
$GCC -DDEPTH=$DEPTH -O0 "$SOURCES/tail.c" -o "$T/plain" || fail "tail.c does not build"
(on_small_stack "$T/plain" >"$T/plain.out") 2>/dev/null && fail "calls that are not tail calls do not overflow this stack"
option_sets <<E
-O2
-O1 -foptimize-sibling-calls
-O2 -fPIC -g $COMPARE
long -O3
long -Os
long -O2 -flto
long -O2 -fno-inline
long $DISTRIBUTION
long -O2 -fno-early-inlining -fno-ipa-sra
E
for flags in "${sets[@]}"; do check $flags; done

# The link of LTO may run without the plugin.
$GCC -DDEPTH=$DEPTH -O2 -flto -c "${with[@]}" "$SOURCES/tail.c" -o "$T/tail.o" && $GCC -O2 -flto "$T/tail.o" -o "$T/tail" ||
	fail "lto: does not build"
on_small_stack "$T/tail" >"$T/tail.out" || fail "lto, linked without the plugin: ended with $?"

# gdb counts a hit of entry and return for each call: 1001 calls, 1000 deep. Only the last return has a value.
cat >"$T/few.c" <<'E'
__attribute__((noipa)) long walk(long n, long acc) { return n ? walk(n - 1, acc + n) : acc; }
int main(void) { return walk(1000, 0) != 500500; }
E
$GCC -O2 "${with[@]}" "$T/few.c" -o "$T/few" || fail "few.c"
if have gdb; then
	gdb -q -nx -batch -ex 'set pagination off' -ex 'break -probe-stap few:walk__entry' \
		-ex 'break -probe-stap few:walk__return' -ex 'ignore 1 100000' -ex 'ignore 2 100000' -ex run \
		-ex 'info breakpoints' "$T/few" >"$T/out" 2>&1
	want "hits of entry and return" "1001 1001" \
		"$(sed -n 's/.*breakpoint already hit \([0-9]*\) times.*/\1/p' "$T/out" | tr '\n' ' ' | sed 's/ $//')"
else
	part_skipped "hits are not counted: gdb is not installed"
fi
# The site before the tail call has no value, and is flagged (type 2, flags 1).
want "sites with and without a value" "$(printf 'few:walk__return\nfew:walk__return -8@')" \
	"$(sites "$T/few" | grep walk__return | sed 's/@.*/@/' | sort)"
ppn "$T/few" 2 | grep -q '01000000$' || fail "no note of a site flagged tail"

# The site keeps its value if the call cannot be a tail call because its argument points to a variable of the caller.
cat >"$T/kept.c" <<'E'
__attribute__((noipa)) int get(int *p) { return *p; }
__attribute__((noipa)) int kept(int x) { int y = x; return get(&y); }
__attribute__((noipa)) int moved(int *x) { return get(x); }
int main(void) { int x = 1; return kept(1) - moved(&x); }
E
$GCC -O2 "${with[@]}" "$T/kept.c" -o "$T/kept" || fail "kept.c"
want "value kept" "kept:kept__return -4@%eax" "$(sites "$T/kept" | grep :kept__return)"
want "value given up" "kept:moved__return" "$(sites "$T/kept" | grep :moved__return)"

# Generated functions: every tail call that GCC makes without the plugin is one with it too.
seed=${SEED:-$RANDOM} n=0
echo "seed $seed"
tails() { # SEED OPTION...
	local what="tails.py make $1 ${TAILS:-100}, ${*:2}"
	python3 "$SOURCES/tails.py" make "$1" "${TAILS:-100}" >"$T/tails.c" || fail "$what"
	shift
	set -- "$@" -fno-ipa-icf # equal functions are one without the plugin
	$GCC -w "$@" -S "$T/tails.c" -o "$T/plain.s" || fail "$what: does not build"
	$GCC -w "$@" "${with[@]}" -S "$T/tails.c" -o "$T/probed.s" || fail "$what: does not build with the plugin"
	python3 "$SOURCES/tails.py" lost "$T/plain.s" "$T/probed.s" >"$T/out" ||
		{ head -n 20 "$T/out"; fail "$what: calls that were jumps"; }
	grep -q '^[1-9][0-9]* tail calls' "$T/out" || fail "$what: $(cat "$T/out")"
}
while read -r flags; do
	[ "${PROBEPOINT_LONG-}" ] || [ $((n++ % 3)) = $((seed % 3)) ] || continue
	tails "$seed" $flags
done <<E
-O2
${DISTRIBUTION% -flto*}
-Os
-O3
-O2 -fexceptions
-O2 -fPIC -g -fchecking
-O1 -foptimize-sibling-calls
-O2 -fno-partial-inlining
-O3 -fno-ipa-sra
-O2 -fno-tree-vrp -fno-tree-pre
E
if [ "${PROBEPOINT_LONG-}" ]; then
	for ((i = 1; i <= 30; i++)); do tails $((seed + i)) -O2 -fchecking; done
fi

# Functions that pass on a truth value recurse as deep: their ways must meet in one return.
for type in _Bool int; do
	cat >"$T/truth.c" <<E
volatile int count;
__attribute__((noinline)) $type odd(int n);
__attribute__((noinline)) $type even(int n) { count++; if (n == 0) return 1; if (odd(n - 1)) return 1; return 0; }
__attribute__((noinline)) $type odd(int n) { count--; if (n == 0) return 0; return even(n - 1); }
int main(int argc, char **argv) { (void)argv; return even($DEPTH + argc) == 99; }
E
	option_sets <<-'E'
	-O2
	-O2 -g -flto
	long -Os
	long -O2 -fno-partial-inlining
	E
	for flags in "${sets[@]}"; do
		$GCC -w $flags "$T/truth.c" -o "$T/truth" || fail "$type $flags"
		(on_small_stack "$T/truth") 2>/dev/null || continue # GCC before 14 does not know that int is 0 or 1
		$GCC -w $flags "${with[@]}" "$T/truth.c" -o "$T/truth" && on_small_stack "$T/truth" || fail "$type $flags: a tail call is lost"
	done
done

# GCC 15 has calls that must be tail calls, at -O0 too. It refuses the program if one is not.
cat >"$T/must.c" <<'E'
__attribute__((noinline)) int g(int n);
__attribute__((noinline)) int f(int n) { if (n <= 0) return 0; __attribute__((musttail)) return g(n - 1); }
__attribute__((noinline)) int g(int n) { if (n <= 0) return 0; __attribute__((musttail)) return f(n - 1); }
typedef int op(int, const unsigned char *);
static op add, end;
static op *const table[] = { end, add };
static int add(int acc, const unsigned char *pc) { acc += pc[1]; __attribute__((musttail)) return table[pc[2]](acc, pc + 2); }
static int end(int acc, const unsigned char *pc) { (void)pc; return acc; }
static void v2(int *p), v1(int *p);
static void v1(int *p) { if (--*p > 0) __attribute__((musttail)) return v2(p); }
static void v2(int *p) { if (--*p > 0) __attribute__((musttail)) return v1(p); }
/* They stay tail calls if the address of a parameter is taken, as in protobuf's parser. */
struct place { const unsigned char *at; };
__attribute__((noipa)) static void skip(const unsigned char **at, int *sum) { *sum += *(*at)++; }
static struct place p2(const unsigned char *at, int sum, int *out);
__attribute__((noinline)) static struct place p1(const unsigned char *at, int sum, int *out)
{
	skip(&at, &sum);
	if (*at) __attribute__((musttail)) return p2(at, sum, out);
	*out = sum;
	return (struct place){ at };
}
__attribute__((noinline)) static struct place p2(const unsigned char *at, int sum, int *out)
{
	int local = sum;
	skip(&at, &local);
	if (*at) __attribute__((musttail)) return p1(at, local, out);
	return p1(at - 1, sum, out);
}
static unsigned char ones[DEPTH + 1];
int main(void)
{
	static const unsigned char code[] = { 1, 5, 1, 6, 0 };
	int n = DEPTH, sum = 0;

	v1(&n);
	for (int i = 0; i < DEPTH; i++)
		ones[i] = 1;
	return f(DEPTH) + (add(0, code) != 11) + (n > 0) + (p1(ones, 0, &sum).at != ones + DEPTH) + (sum != DEPTH);
}
E
cat >"$T/leave.c" <<'E'
__attribute__((noreturn)) void leave(int n);
void left(int n) { if (n) __attribute__((musttail)) return leave(n); }
E
cat >"$T/cleaned.c" <<'E'
struct object { int n; void (*call)(int *); };
void use(int *p);
int get(int n);
int passed(int n) { int x[4]; use(x); n += x[2]; __attribute__((musttail)) return get(n); }
int both(int n) { struct object o = { n, use }; o.call(&o.n); if (o.n > 3) __attribute__((musttail)) return get(n); return n; }
E
cat >"$T/mixed.c" <<'E'
__attribute__((noipa)) void change(int *p) { ++*p; }
__attribute__((noipa)) int get(int x) { return x; }
__attribute__((noipa)) int mixed(int x, int must) { change(&x); if (must) __attribute__((musttail)) return get(x); return get(x + 1); }
int main(void) { return mixed(1, 0) - mixed(2, 1); }
E
if [ "$($GCC -dumpversion | cut -d. -f1)" -ge 15 ]; then
	for flags in -O0 -O1 -O2 "-O0 -fexceptions" "-O2 -fexceptions -g"; do
		$GCC -DDEPTH=$DEPTH $flags "${with[@]}" "$T/must.c" -o "$T/must" || fail "musttail $flags: does not build"
		on_small_stack "$T/must" || fail "musttail $flags: ended with $?"
	done
	# A call that must be a tail call has no landing pad, even if it does not return. Sanitizers put statements after the call.
	while read -r name flags; do
		$GCC $flags "${with[@]}" -c "$T/$name.c" -o "$T/out.o" || fail "$name.c $flags: does not compile"
		sites "$T/out.o" | grep -q '__return' || fail "$name.c $flags: no site of a return"
	done <<-'E'
	leave -x c -O1 -fexceptions
	leave -x c++ -O0
	leave -x c++ -O2
	cleaned -x c -O2 -fsanitize=thread
	cleaned -x c++ -O2 -fsanitize=thread
	cleaned -x c -O2 -fsanitize=address
	cleaned -x c++ -O0 -fsanitize=address
	cleaned -x c++ -O2 -fsanitize=address
	E
	# GCC makes no tail call of the call without the mark, because the address of a parameter is taken. So its value is kept.
	$GCC -O2 "${with[@]}" "$T/mixed.c" -o "$T/mixed" && "$T/mixed" || fail "mixed.c"
	want "values of mixed" "mixed:mixed__return mixed:mixed__return -4@%eax" "$(sites "$T/mixed" | grep :mixed__return | sort | paste -sd' ')"
else
	part_skipped "calls that must be tail calls: needs GCC 15"
fi
