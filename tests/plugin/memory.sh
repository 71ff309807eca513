#!/bin/bash
# SPDX-License-Identifier: MIT
# Memory that only sites read, through the pointers that they hand over, has what the program stored before the hit. GCC
# removes no call that a probe counts. At all levels of optimization, with LTO, in C and C++, by the agent.
. tests/plugin/lib.sh
need jq
probed 'p_*,derived::p_*' provider=memory

entries=$(sed -n 's/.*NOTE("\([a-z_]*__\(entry\|return\)\)".*/\1/p; s/.*note("\([a-z_]*__return\)".*/\1/p' "$SOURCES/memory.c" | sort -u)
runs=0
# read_back LANGUAGE OPTION...
read_back() {
	local language=$1 cc=$GCC name probes=()
	shift
	[ "$language" = c ] || { cc=$GXX; set -- -g "$@"; } # DWARF describes std::string
	compile "$cc" -x "$language" "$SOURCES/memory.c" -x none -Wall -Wextra "$@" "${with[@]}" -o "$T/m" || fail "$language $*: does not build"
	grep 'warning' "$T/compile.log" && fail "$language $*: builds with warnings"
	for name in $entries; do
		[ "$language" = c ] && [[ $name =~ throw|method ]] || probes+=("memory:$name")
	done
	probe-trace -q --json -b agent --print 'r->id, r->path, r->in->n, r->in->name' "${probes[@]}" -- "$T/m" "$T/log" >"$T/trace" 2>"$T/err" ||
		{ cat "$T/err"; fail "$language $*: probe-trace ended with $?"; }
	jq -r '[.probe[7:], .args[]] | map(tostring) | join(" ")' "$T/trace" >"$T/read" || fail "$language $*: not JSON"
	diff "$T/log" "$T/read" >"$T/diff" || {
		head -n 20 "$T/diff"
		fail "$language $*: of $(wc -l <"$T/log") hits $(grep -c '^<' "$T/diff") read something else than the program stored"
	}
	hits=$((hits + $(wc -l <"$T/read")))
	probe-trace -q --json -b agent memory:p_square__entry memory:p_init__entry -- "$T/m" "$T/log" >"$T/trace" ||
		fail "$language $*: probe-trace ended with $?"
	want "$language $*: calls" '{"p_init__entry":6,"p_square__entry":6}' \
		"$(jq -sc 'map(.probe[7:]) | group_by(.) | map({ (.[0]): length }) | add' "$T/trace")"
	[ "$language" = c ] || want "$language $*: std::string" "text0 text1 text2" \
		"$(probe-trace -q --json -b agent --print 's->_M_dataplus._M_p' memory:p_text__entry -- "$T/m" "$T/log" | jq -r '.args[]' | paste -sd' ')"
	runs=$((runs + 1))
}

hits=0 n=0
seed=${SEED:-$RANDOM}
echo "seed $seed"
# The short form has every seventh set of options, the first one by the seed, once in C and once in C++.
while read -r flags; do
	if [ "${PROBEPOINT_LONG-}" ]; then
		read_back c $flags
		read_back c++ $flags
	elif [ $((n++ % 7)) = $((seed % 7)) ]; then
		[ $runs = 0 ] && read_back c $flags || read_back c++ $flags
	fi
done <<E
-O2
-O1
-O3
-Os
-Og
-O0
-O2 -flto
-O3 -flto -fno-fat-lto-objects
-O2 -fPIC -fipa-pta
-O3 -funroll-all-loops -ftracer
-O2 -fwhole-program -fno-strict-aliasing
-O2 -fgcse-sm -fgcse-las -fno-tree-ter
-Os -flto -ffat-lto-objects
$DISTRIBUTION
E
echo "$hits hits of $runs programs"

# Declared probes, with the plugin and without it, and the probe of a macro after the statement that <sys/sdt.h> names.
cat >"$T/macros.c" <<'E'
#include <stdio.h>
#include <sys/probe.h>

PROBE_DECLARE(memory, declared, (const char *s), (s));
static void declared_once(int i)
{
	char text[] = { 't', 'e', 'x', 't', 0, 0 };

	text[4] = (char)('0' + i);
	declared(text);
}
static void declared_often(char *text, int n)
{
	for (int i = 0; i < n; i++) {
		text[4]++;
		declared(text);
	}
}
static void macro(int i)
{
	char text[] = { 't', 'e', 'x', 't', 0, 0 };

	text[4] = (char)('0' + i);
	__asm__ __volatile__("" : : : "memory");
	STAP_PROBE1(memory, macro, text);
}
int main(int argc, char **argv)
{
	char text[] = "text2";

	(void)argv;
	for (int i = 0; i < 3; i++) {
		declared_once(i);
		macro(i);
	}
	declared_often(text, 2 + argc);
	return 0;
}
E
# macros COMPILER OPTION...
macros() {
	"$@" -Iinclude "$T/macros.c" -o "$T/macros" 2>"$T/err" || { cat "$T/err"; fail "$*: does not build"; }
	probe-trace -q --json -b agent --print 'str(s)' memory:declared -- "$T/macros" >"$T/trace" || fail "$*: probe-trace ended with $?"
	want "$*: declared probe" "text0 text1 text2 text3 text4 text5" "$(jq -r '.args[]' "$T/trace" | paste -sd' ')"
	probe-trace -q --json -b agent --print 'str(arg0)' memory:macro -- "$T/macros" >"$T/trace" || fail "$*: probe-trace ended with $?"
	want "$*: macro" "text0 text1 text2" "$(jq -r '.args[]' "$T/trace" | paste -sd' ')"
}
macros "$GCC" -O2
macros "$GCC" -O2 "-fplugin=$PLUGIN" -fplugin-arg-probepoint-marked
if [ "${PROBEPOINT_LONG-}" ]; then
	for flags in -O0 -O1 -O3 -Os "-O2 -flto" "-O2 -fPIC"; do
		for with in "" "-fplugin=$PLUGIN -fplugin-arg-probepoint-marked"; do
			macros "$GCC" $flags $with
			macros "$GXX" -xc++ $flags $with -fpermissive
		done
		have clang && macros clang $flags -Wno-unused-command-line-argument
	done
fi
