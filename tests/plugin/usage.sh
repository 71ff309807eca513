#!/bin/bash
# SPDX-License-Identifier: MIT
# Each misuse of the plugin causes its own error message, and correct use causes none.
. tests/plugin/lib.sh
need readelf
export LC_ALL=C # plain quotes
echo 'int f(int a) { return a; }' >"$T/a.c"
cp "$T/a.c" "$T/func.c"
cp "$T/a.c" "$T/9-x.y.c"
arg=-fplugin-arg-probepoint

# says TEXT OPTION...: the compilation fails with this text in its messages.
says() {
	local text=$1
	shift
	(cd "$T" && $GCC -c "$@" -o out.o) >"$T/log" 2>&1 && fail "$*: compiles"
	grep -qF -- "$text" "$T/log" || { cat "$T/log"; fail "$*: does not say \"$text\""; }
	[ -e "$T/out.o" ] && fail "$*: leaves an object"
	grep -q 'internal compiler error' "$T/log" && { cat "$T/log"; fail "$*: breaks the compiler"; }
	return 0
}
says 'probepoint: no functions to probe given' -fplugin="$PLUGIN" a.c
says "'$arg-functions=GLOB[,GLOB]...': probe functions of these names" -fplugin="$PLUGIN" a.c
says "probepoint: unknown argument 'function'" -fplugin="$PLUGIN" $arg-function='*' a.c
says "probepoint: argument 'functions': empty pattern in ''" -fplugin="$PLUGIN" $arg-functions a.c
says "probepoint: argument 'functions': empty pattern in 'a,,b'" -fplugin="$PLUGIN" $arg-functions=a,,b a.c
says "probepoint: argument 'exclude': empty pattern in 'a,'" -fplugin="$PLUGIN" $arg-functions=a $arg-exclude=a, a.c
says "probepoint: invalid provider 'a-b': not an identifier" -fplugin="$PLUGIN" $arg-functions='*' $arg-provider=a-b a.c
says "probepoint: invalid provider '': not an identifier" -fplugin="$PLUGIN" $arg-functions='*' $arg-provider a.c
says "probepoint: conflicting providers 'a' and 'b'" -fplugin="$PLUGIN" $arg-functions='*' $arg-provider=a $arg-provider=b a.c
says "probepoint: invalid provider 'func'" -fplugin="$PLUGIN" $arg-functions='*' $arg-provider=func a.c
says "probepoint: invalid provider 'func'" -fplugin="$PLUGIN" $arg-functions='*' func.c
cp "$PLUGIN" "$T/second.so"
says 'probepoint: loaded twice' -fplugin="$PLUGIN" $arg-functions='*' -fplugin="$T/second.so" \
	-fplugin-arg-second-functions='*' a.c
# probes SOURCE ARGUMENT... WANTED: the object has these probes.
probes() {
	local source=$1 wanted=${*: -1} out
	out=$(cd "$T" && $GCC -Wall -Wextra -c -fplugin="$PLUGIN" "${@:2:$#-2}" "$source" -o out.o 2>&1) || fail "$*: $out"
	[ -z "$out" ] || fail "$*: says \"$out\""
	want "$*" "$wanted" "$(names "$T/out.o" | tr '\n' ' ' | sed 's/ $//')"
	rm -f "$T/out.o"
}
probes a.c $arg-functions='*' "a:f__entry a:f__return"
probes a.c $arg-functions='g,f' "a:f__entry a:f__return"
probes a.c $arg-functions='g' $arg-functions=f "a:f__entry a:f__return"
probes a.c $arg-functions='*' $arg-exclude='f' ""
probes a.c $arg-functions='*' $arg-provider=my_prov "my_prov:f__entry my_prov:f__return"
probes a.c $arg-functions='*' $arg-provider=x $arg-provider=x "x:f__entry x:f__return"
probes func.c $arg-functions='*' $arg-provider=x "x:f__entry x:f__return"
probes 9-x.y.c $arg-functions='*' "_9_x:f__entry _9_x:f__return"
probes a.c $arg-functions='nothing*' ""
probes a.c -fsyntax-only $arg-functions='*' ""

# Not probed: functions with no_instrument_function or naked, ifunc resolvers, functions of system headers.
cat >"$T/not.c" <<'E'
#include <stdio.h>
__attribute__((no_instrument_function)) int quiet(int a) { return a; }
__attribute__((naked)) void bare(void) { __asm__("ret"); }
static int chosen(int a) { return a + 1; }
static int (*resolve(void))(int) { return chosen; }
int picked(int) __attribute__((ifunc("resolve")));
extern inline __attribute__((gnu_inline, always_inline)) int body(int a) { return a + 1; }
int user(int a) { printf("%d\n", a); return picked(a) + body(a); }
__attribute__((noreturn)) void never(void) { for (;;) puts(""); }
E
for flags in -O0 "-O2 -D_FORTIFY_SOURCE=2"; do
	probes not.c $flags $arg-functions='*' \
		"not:body__entry not:body__return not:chosen__entry not:chosen__return not:never__entry not:user__entry not:user__return"
done
