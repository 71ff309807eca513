#!/bin/bash
# SPDX-License-Identifier: MIT
# Arguments, rules and attributes select functions and sites. Invalid ones cause error messages.
. tests/plugin/lib.sh
need readelf
export LC_ALL=C # plain quotes
arg=-fplugin-arg-probepoint
cd "$T" || exit 1
cat >a.h <<'E'
static inline int in_header(int a) { return a + 4; }
E
cat >a.c <<'E'
#include "a.h"
int tiny(int a) { return a; }
static inline int often(int a) { return a * 3 + in_header(a); }
int large(int a)
{
	for (int i = 0; i < a; i++) {
		a ^= often(i);
		if (a % 3 == 2)
			a += often(a) + i;
	}
	return a;
}
int main(void) { return large(tiny(3)) == 0; }
E
# found: sets $out to the probes of the object
found() { out=$(names out.o | sed 's/^a://' | tr '\n' ' ' | sed 's/ $//'); }
chosen() {
	local wanted=$1
	shift
	$GCC -Wall -Wextra -O2 -c -fplugin="$PLUGIN" "$@" a.c -o out.o >log 2>&1 || { cat log; fail "$*: does not compile"; }
	[ -s log ] && { cat log; fail "$*: says something"; }
	found
	want "$*" "$wanted" "$out"
}
rules() {
	local wanted=$1
	cat >rules
	chosen "$wanted" "${@:2}" $arg-rules=rules
}
both() { for f; do printf '%s__entry %s__return ' "$f" "$f"; done | sed 's/ $//'; }

all=$(both in_header large main often tiny)
chosen "$all" $arg-functions='*'
chosen "$(both large main often tiny)" $arg-functions='*' $arg-files='*.c'
chosen "$(both in_header)" $arg-functions='*' $arg-files=a.h
chosen "$(both large)" $arg-functions='*' $arg-min-size=6
chosen "large__entry main__entry" $arg-functions='large,main' $arg-sites=entry
chosen "large__return main__return" $arg-functions='large,main' $arg-sites=return
chosen "$(both large main tiny)" $arg-functions='*' $arg-inlined=no
chosen "" $arg-functions='*' $arg-exclude='*'

rules "$(both large main)" <<'E'
# functions without a rule are not probed
skip tiny            # comment
skip o*
probe * file=a.c
E
rules "$(both large) main__entry" <<'E'

probe main sites=entry
probe l* min-size=4
skip *
probe *
E
rules "$(both large main) other:tiny__entry other:tiny__return" <<'E'
probe "tiny" provider=other
probe	large	inlined=no
probe main provider=a
E
rules "$(both in_header) large__entry $(both often) tiny__entry" $arg-functions='in_header,often,large' <<'E'
probe large sites=entry
probe tiny sites=entry
E

# With inlined=no, inlined copies lose their sites and the function itself keeps them.
$GCC -O2 -c -fplugin="$PLUGIN" $arg-functions=often $arg-inlined=no a.c -o out.o
want "sites of a function that is inlined everywhere" "" "$(sites out.o)"
sed 's/static inline int often/int often/' a.c >b.c
$GCC -O2 -c -fplugin="$PLUGIN" $arg-functions=often $arg-inlined=no $arg-provider=a b.c -o out.o
want "sites of a function that is not inlined everywhere" "2" "$(sites out.o | wc -l)"
$GCC -O2 -flto -fplugin="$PLUGIN" $arg-functions='often,main' $arg-inlined=no $arg-provider=a b.c -o out.o
want "... with LTO" "0" "$(sites out.o | grep -c often)"
printf 'int named(int a) __asm__("other");\nint named(int a) { return a; }\n' >d.c
$GCC -O2 -c -fplugin="$PLUGIN" $arg-functions=named $arg-inlined=no d.c -o out.o
want "sites of a function whose assembler name the source gives" "2" "$(sites out.o | wc -l)"

# ---- C++: overloads, templates, members ----
cat >c.cc <<'E'
namespace ns {
struct shape {
	int w;
	int area() const { return w * w; }
	int area(int scale) const { return w * w * scale; }
	shape &operator+=(const shape &o) { w += o.w; return *this; }
};
template <class A, class B> int sum(A a, B b) { return a + b; }
}
int main() { ns::shape s{ 2 }; s += s; auto l = [&](int x) { return x + s.w; }; return ns::sum(1, 2L) + s.area() + s.area(2) + l(1); }
E
cxx() {
	$GXX -O1 -c -fplugin="$PLUGIN" "$arg-functions=$1" c.cc -o out.o >log 2>&1 || { cat log; fail "$1: does not compile"; }
	want "$1" "$2" "$(names out.o | sed -n 's/^c:\(.*\)__entry$/\1/p' | sort | tr '\n' ' ' | sed 's/ $//')"
}
cxx 'ns::shape::area' "ns__shape__area ns__shape__area_2"
cxx 'ns::shape::area()' "ns__shape__area"
cxx 'ns::shape::area(int)' "ns__shape__area_2"
cxx 'ns::*' "ns__shape__area ns__shape__area_2 ns__shape__operator_plus_assign ns__sum"
cxx 'area' "ns__shape__area ns__shape__area_2"
cxx 'ns::sum' "ns__sum"
cxx 'ns::sum<int, long>' ""
cxx 'ns::sum(int, long),main' "main ns__sum"
cxx '*lambda*' "main__lambda__operator_call"

# ---- attributes ----
cat >a.c <<'E'
__attribute__((probe)) int marked(int a) { return a; }
__attribute__((probe("shop", "sale"))) int named(int price) { return price; }
__attribute__((no_probe)) int never(int a) { return a; }
__attribute__((probe)) int declared(int a);
int declared(int a) { return a; }
int plain(int a) { return a; }
E
chosen "$(both declared marked) shop:sale__entry shop:sale__return" $arg-marked
chosen "$(both declared marked plain) shop:sale__entry shop:sale__return" $arg-functions='*'
chosen "$(both declared marked plain) shop:sale__entry shop:sale__return" $arg-functions='*' $arg-min-size=1
rules "$(both declared marked) shop:sale__entry shop:sale__return" <<'E'
skip *
E

# ---- misuse ----
# wrong TEXT SOURCE ARGUMENT...: the compilation fails with this text in its messages.
wrong() {
	local text=$1
	echo "$2" >w.c
	shift 2
	$GCC -c -fplugin="$PLUGIN" "$@" w.c -o w.o >log 2>&1 && fail "no message \"$text\""
	grep -qF -- "$text" log || { cat log; fail "no message \"$text\""; }
	grep -q 'internal compiler error' log && { cat log; fail "breaks the compiler"; }
	return 0
}
f='int f(int a) { return a; }'
wrong "w.c:1:29: error: 'probe' attribute applies to functions only, not to 'v'" '__attribute__((probe))  int v;' $arg-marked
wrong "w.c:1:32: error: 'no_probe' attribute applies to functions only, not to 'v'" '__attribute__((no_probe))  int v;' $arg-marked
wrong "'probe' attribute takes either no arguments or a provider and a name" '__attribute__((probe("x"))) int f(void);' $arg-marked
wrong "wrong number of arguments specified for 'probe' attribute" '__attribute__((probe("x","y","z"))) int f(void);' $arg-marked
wrong "wrong number of arguments specified for 'no_probe' attribute" '__attribute__((no_probe(1))) int f(void);' $arg-marked
wrong "'probe' attribute: provider and name must be strings" '__attribute__((probe(1, 2))) int f(void);' $arg-marked
wrong "'probe' attribute: provider and name must be strings" '__attribute__((probe(L"a", "b"))) int f(void);' $arg-marked
wrong "'probe' attribute: invalid provider 'a-b': not an identifier; try 'a_b'" '__attribute__((probe("a-b", "c"))) int f(void);' $arg-marked
wrong "'probe' attribute: invalid name 'new sale': not an identifier; try 'new_sale'" '__attribute__((probe("a", "new sale"))) int f(void);' $arg-marked
wrong "'probe' attribute: invalid name '': not an identifier" '__attribute__((probe("a", ""))) int f(void);' $arg-marked
wrong "'probe' attribute: invalid provider 'func'" '__attribute__((probe("func", "x"))) int f(void);' $arg-marked
wrong "'f' has both attributes 'probe' and 'no_probe'" '__attribute__((probe, no_probe)) int f(void);' $arg-marked
wrong "argument 'min-size': invalid value 'x': expected a number of statements" "$f" $arg-functions='*' $arg-min-size=x
wrong "argument 'min-size': invalid value '-1': expected a number of statements" "$f" $arg-functions='*' $arg-min-size=-1
wrong "argument 'sites': invalid value 'exit': expected 'entry', 'return' or 'both'" "$f" $arg-functions='*' $arg-sites=exit
wrong "argument 'inlined': invalid value '': expected 'yes' or 'no'" "$f" $arg-functions='*' $arg-inlined
wrong "probepoint: cannot read rules 'nowhere': No such file or directory" "$f" $arg-rules=nowhere
wrong "probepoint: cannot read rules '.'" "$f" $arg-rules=.
bad_rule() {
	echo "$2" >rules
	wrong "$1" "$f" $arg-rules=rules
}
bad_rule "rules:1: invalid rule 'prob': expected 'probe' or 'skip'" 'prob *'
bad_rule "rules:1: rule 'probe': missing function pattern" 'probe # *'
bad_rule "rules:2: unterminated quote" $'probe x\nprobe "a b'
bad_rule "rules:1: unknown setting 'min=3'" 'probe * min=3'
bad_rule "rules:1: argument 'file': empty pattern in ''" 'probe * file='
bad_rule "rules:1: argument 'sites': invalid value 'all': expected 'entry', 'return' or 'both'" 'probe * sites=all'
bad_rule "rules:1: invalid provider '1a': not an identifier" 'probe * provider=1a'
bad_rule "rules:1: invalid provider 'func'" 'probe * provider=func'
bad_rule "rules:1: line too long" "probe $(printf 'x%.0s' {1..5000})"
