#!/bin/bash
# SPDX-License-Identifier: MIT
# Our sys/sdt.h compiles arguments of every type that SystemTap's compiles, and its notes have the same sizes and signs.
# The long form tries every compiler, language, optimization level and constraint.
. tests/sdt/lib.sh

# Intended differences in C++: PROBE THEIRS OURS. Their C++ header has the sign of the standard integers only. Ours also has
# the sign of an enumeration's underlying type and of __int128, as both headers have in C.
cat >"$T/meant" <<'E2'
enum_fixed 2 -2
enum_minus 4 -4
enum_scoped 1 -1
int128 16 -16
E2

# compile SOURCE OUT COMMAND...: deletes lines of OUT.src that the compiler refuses until it accepts the rest. OUT.refused
# gets the deleted probes, and OUT.sizes the others, with the size of each argument.
compile() {
	local source=$1 out=$2 lines pass
	shift 2
	cp "$source" "$out.src"
	: >"$out.refused"
	for pass in {1..40}; do
		"$@" -w -c "$out.src" -o "$out.o" >"$out.log" 2>&1 && break
		lines=$(sed -n "s,^$out.src:\([0-9]*\):[0-9: ]*\(error\|note: in expansion of macro .\(TYPE\|BARE\)\|  *required from here\).*,\1,p" "$out.log")
		# an internal error of clang names the function
		lines+=" $(sed -n "s/.*on function '@_Z[0-9]*f_\([a-z0-9_]*[a-z0-9]\)[^a-z].*/\1/p" "$out.log" | head -n 1 |
			while read -r name; do sed -n "/[(]$name, /=" "$out.src"; done)"
		lines=$(for line in $lines; do [ "$line" -ge "$first" ] && echo "$line"; done | sort -un)
		[ -n "$lines" ] || { wrong "$*: not even without what it refuses"; head -n 3 "$out.log"; return 1; }
		for line in $lines; do
			sed -n "$line"'s/.*\(TYPE\|BARE\|STAP_PROBE[12]\)([t, ]*\([a-z0-9_]*\),.*/\2/p' "$out.src" >>"$out.refused"
		done
		sed -i "$(sed 's/$/s,.*,,/' <<<"$lines")" "$out.src"
	done
	sort -u "$out.refused" -o "$out.refused"
	sizes "$out.o" | sed 's/^t //' | sort -u >"$out.sizes"
}

n=0
compare() {
	local source=$1 what="${*:2}" log
	shift
	first=$(grep -n '^TYPE' "$source" | head -n 1 | cut -d: -f1)
	case $source in *.cc) set -- "$@" -x c++ ;; *) set -- "$@" -x c ;; esac
	compile "$source" "$T/theirs" "$@" || return
	compile "$source" "$T/ours" "$@" -Iinclude || return
	log=$(comm -13 "$T/theirs.refused" "$T/ours.refused")
	[ -z "$log" ] || wrong "$what: SystemTap's header compiles, ours does not:" $log
	[ "$(wc -l <"$T/ours.sizes")" -ge 60 ] || wrong "$what: probes are missing"
	join "$T/theirs.sizes" "$T/ours.sizes" -o 0,1.2,2.2 | awk '$2 != $3' >"$T/differ"
	case $source in
	*.cc) log=$(comm -23 "$T/differ" "$T/meant") ;;
	*) log=$(<"$T/differ") ;;
	esac
	[ -z "$log" ] || wrong "$what: probe, theirs, ours:" $log
	n=$((n + $(wc -l <"$T/ours.sizes")))
}

echo '#include <sys/sdt.h>' >"$T/there.c"
if ! gcc -E "$T/there.c" 2>/dev/null | grep -q 'sys/sdt.h'; then
	part_skipped "SystemTap's sys/sdt.h is not installed: nothing to compare with"
elif [ "${PROBEPOINT_LONG-}" ]; then
	for o in -O0 -O2 "-O2 -fPIC" "-Os -DSTAP_SDT_ARG_CONSTRAINT=m" "-O2 -DSTAP_SDT_ARG_CONSTRAINT=g" \
		"-O2 -DSTAP_SDT_ARG_CONSTRAINT=nr" "-O1 -DSTAP_SDT_ARG_CONSTRAINT=rm"; do
		for cc in $(compilers g++ g++-11 clang++); do
			for std in gnu++98 c++98 gnu++11 c++14 gnu++17 gnu++20 c++2b; do compare $D/types.cc $cc $o -std=$std; done
		done
		for cc in $(compilers gcc gcc-11 clang); do
			for std in gnu89 c99 gnu11 gnu17 c2x; do compare $D/types.c $cc $o -std=$std; done
		done
	done
else
	for cc in $(compilers g++ clang++); do compare $D/types.cc $cc -O2 -std=gnu++20; done
	have g++ && compare $D/types.cc g++ -O0 -std=gnu++98
	for cc in $(compilers gcc clang); do compare $D/types.c $cc -O2 -std=gnu17; done
	for cc in $(compilers g++ clang++); do compare $D/types.cc $cc -O2 -std=gnu++11 -DSTAP_SDT_ARG_CONSTRAINT=m; done
fi
echo "$n types alike"

# What SystemTap's header refuses and ours has to compile, with the sizes it has to say.
cat >"$T/more.cc" <<'E2'
#include <sys/sdt.h>
typedef float vector __attribute__((vector_size(16)));
struct bits { unsigned low : 3; int high : 5; };
extern int numbers[];
extern struct incomplete *opaque;
void f(bits b, int n, vector v);
void f(bits b, int n, vector v)
{
	register vector r __asm__("xmm5") = v;
	struct here { int x; } *p = 0;
	static here array[2];
	char vla[n];

	STAP_PROBE2(t, bits, b.low, b.high);
	STAP_PROBE4(t, pointers, numbers, f, opaque, vla);
	STAP_PROBE2(t, locals, p, array);
	STAP_PROBE1(t, registers, r);
}
E2
sed 's/bits b, //; /here\|vla\|bits/d; /pointers\|locals/d' "$T/more.cc" >"$T/more.c"
printf 'bits 4 -4\nlocals 8 8\npointers 8 8 8 8\nregisters 16\n' >"$T/more.wanted"
for cc in $(compilers g++ clang++); do
	for std in gnu++98 c++14; do
		try "more types" $cc -O2 -w -std=$std -Iinclude -c "$T/more.cc" -o "$T/more.o" || continue
		sizes "$T/more.o" | sed 's/^t //' >"$T/more.got"
		diff "$T/more.wanted" "$T/more.got" >"$T/diff" || { wrong "$cc -std=$std"; cat "$T/diff"; }
	done
done
for cc in $(compilers gcc clang); do
	for o in -O0 -O2; do
		try "a vector's register" $cc $o -w -Iinclude -c "$T/more.c" -o "$T/more.o" &&
			{ sizes "$T/more.o" | grep -q 'registers 16' || wrong "$cc $o: a vector's register"; }
	done
done

# In C++98 a local type cannot be a template argument. Its values are refused, so that no note has a wrong size.
cat >"$T/local.cc" <<'E2'
#include <sys/sdt.h>
void f() { struct here { char c[3]; } h = { { 1, 2, 3 } }; STAP_PROBE1(t, local, h); }
E2
g++ -std=gnu++98 -Iinclude -c "$T/local.cc" -o "$T/local.o" 2>/dev/null && ! sizes "$T/local.o" | grep -q ' 3$' &&
	wrong "C++98: a local structure has a wrong size"

# ---- names -------------------------------------------------------------------

cat >"$T/names.c" <<'E2'
#include <sys/sdt.h>
int f(int a);
int f(int a)
{
	const char *owner = _SDT_NOTE_NAME;

	STAP_PROBE1(test, "probe1", a);
	DTRACE_PROBE("other", two);
	_SDT_PROBE(test, three, 2, (a, 3));
	_SDT_PROBE(test, four, 0, ());
	__asm__(STAP_PROBE_ASM(test, "five", 4@$1));
	__asm__(STAP_PROBE_ASM(test, six));
	__asm__(STAP_PROBE_ASM(test, seven, STAP_PROBE_ASM_TEMPLATE(0)) : : STAP_PROBE_ASM_OPERANDS(0));
	return _SDT_NOTE_TYPE + *owner;
}
E2
cat >"$T/names.S" <<'E2'
#include <sys/sdt.h>
STAP_PROBE1(test, "probe1", 4@%edi)
_SDT_PROBE(test, three, 2, (4@%edi, 8@%rsi))
_SDT_PROBE(test, four, 0, ())
E2
for cc in $(compilers gcc clang g++ clang++); do
	for source in names.c names.S; do
		set -- $cc -O2
		if [ $source = names.c ]; then
			case $cc in *++) set -- "$@" -x c++ -std=gnu++17 ;; esac
		fi
		try "names" "$@" -Iinclude -c "$T/$source" -o "$T/ours.o" || continue
		readelf -nW "$T/ours.o" | sed -n 's/@[^ ]*//g; s/.*Provider/Provider/; /Provider\|Name:\|Arguments/p' >"$T/ours"
		want "$cc $source: a name in quotes" 1 "$(grep -c '^ *Name: "probe1"$' "$T/ours")"
		grep -A1 '^ *Name: three' "$T/ours" | grep -q 'Arguments: -\?4 -\?[48]$' || wrong "$cc $source: _SDT_PROBE"
		# SystemTap's STAP_PROBE_ASM is not for C++
		case $cc in *++) sed '/STAP_PROBE_ASM/d' ;; *) cat ;; esac <"$T/$source" >"$T/theirs-$source"
		"$@" -c "$T/theirs-$source" -o "$T/theirs.o" 2>/dev/null || continue
		readelf -nW "$T/theirs.o" | sed -n 's/@[^ ]*//g; s/.*Provider/Provider/; /Provider\|Name:\|Arguments/p' >"$T/theirs"
		try "names without asm" "$@" -Iinclude -c "$T/theirs-$source" -o "$T/ours.o" &&
			readelf -nW "$T/ours.o" | sed -n 's/@[^ ]*//g; s/.*Provider/Provider/; /Provider\|Name:\|Arguments/p' >"$T/ours"
		diff "$T/theirs" "$T/ours" >"$T/diff" || { wrong "$cc $source: theirs < > ours"; cat "$T/diff"; }
	done
done

# ---- every warning of clang --------------------------------------------------

# -Weverything, as the header is; and with what its #pragma hides, but for names that are the implementation's.
mkdir -p "$T/bare/sys"
sed '/^#pragma GCC system_header/d' include/sys/sdt.h >"$T/bare/sys/sdt.h"
cat >"$T/warn.c" <<'E2'
#include <sys/sdt.h>
struct s { int a, b; };
int f(int a, const char *p, double d, float g, struct s s, int *ip);
int f(int a, const char *p, double d, float g, struct s s, int *ip)
{
	char text[4] = "abc";

	STAP_PROBE(p, none);
	STAP_PROBE5(p, some, a, p, d, g, s);
	STAP_PROBE4(p, more, 1, 2.5, "text", ip);
	STAP_PROBE3(p, other, text, 1.5F, a + 1);
	STAP_PROBE12(p, all, a, p, d, g, ip, a, 1, 2, 3U, 4L, 5UL, -6);
	return a;
}
E2
for cc in $(compilers clang clang++); do
	stds="c89 c99 gnu17 c2x"
	[ $cc = clang ] || stds="c++98 c++11 gnu++17 c++2b"
	language=c
	[ $cc = clang ] || language=c++
	for std in $stds; do
		try "-Weverything" $cc -x $language -std=$std -Weverything -Werror -Iinclude -fsyntax-only "$T/warn.c"
		try "-Weverything without the pragma" $cc -x $language -std=$std -Weverything -Werror \
			-Wno-reserved-macro-identifier -Wno-reserved-identifier -Wno-c++98-compat -Wno-c++98-compat-pedantic \
			-Wno-unknown-warning-option -Wno-unsafe-buffer-usage -I"$T/bare" -fsyntax-only "$T/warn.c"
	done
done
exit $failed
