#!/bin/bash
# SPDX-License-Identifier: MIT
# Floating arguments of the macros are numbers in text, JSON and filters. Other readers see all arguments of such probes.
. tests/sdt/lib.sh

cat >"$T/f.c" <<'E2'
#ifdef DECLARED
#include <sys/probe.h>
PROBE_DECLARE(f, declared, (double d, int i), (d, i));
#else
#include <sys/sdt.h>
#define declared(d, i) (void)0
#endif
#ifdef __cplusplus
template <class T> __attribute__((noinline)) void any(T x) { STAP_PROBE1(f, any, x); }
#endif
void f(int i, float f, double d, const char *text);
__attribute__((noinline)) void f(int i, float f, double d, const char *text)
{
	declared(d, i);
	STAP_PROBE2(f, integers, i, text);
	STAP_PROBE4(f, mixed, i, f, text, d);
	STAP_PROBE12(f, twelve, f, i, i, i, i, i, i, i, i, i, i, d);
	STAP_PROBE3(f, constants, 1.5, -2.25F, 3);
#ifdef __cplusplus
	any(d);
	any(i);
#endif
}
int main(void)
{
	int i;

	for (i = 0; i < 4; i++)
		f(i, (float)i + 0.5F, -1.25 * i, "text");
	return 0;
}
E2
cat >"$T/values" <<'E2'
f:any {"arg0":-1.25}
f:any {"arg0":1}
f:constants {"arg0":1.5,"arg1":-2.25,"arg2":3}
f:mixed {"arg0":1,"arg1":1.5,"arg3":-1.25}
f:twelve {"arg0":1.5,"arg1":1,"arg10":1,"arg11":-1.25,"arg2":1,"arg3":1,"arg4":1,"arg5":1,"arg6":1,"arg7":1,"arg8":1,"arg9":1}
E2
need jq

backends=agent
[ "$(id -u)" = 0 ] && [ -e /sys/kernel/btf/vmlinux ] && backends="agent kernel"

# traced BINARY BACKEND ARGUMENT...: prints the records of the second round, without addresses.
traced() {
	timeout 60 probe-trace -b "$2" --json "${@:3}" -- "$1" 2>"$T/log" |
		jq -cS 'select(.probe) | [.probe, (.args | if has("arg2") and .arg2 > 1000 then del(.arg2) else . end)]'
}

# numbers WHAT BINARY BACKEND: checks all values of the second round.
numbers() {
	traced "$2" "$3" 'f:*' | jq -r '"\(.[0]) \(.[1] | tojson)"' | grep -v integers >"$T/all"
	# each round has the constants
	while read -r line; do
		grep -qxF -- "$line" "$T/all" || wrong "$1, $3: lacks $line"
	done < <(if grep -q 'f:any' "$T/all"; then cat "$T/values"; else grep -v any "$T/values"; fi)
	[ "$(wc -l <"$T/all")" -ge 12 ] || wrong "$1, $3: $(wc -l <"$T/all") hits"
}

# kept WHAT BINARY BACKEND FILTER I...: checks which rounds pass the filter.
kept() {
	local got
	got=$(timeout 60 probe-trace -b "$3" --json f:mixed --if "$4" -- "$2" 2>"$T/log" | jq -r 'select(.probe).args.arg0' | paste -sd' ')
	[ "$got" = "${*:5}" ] || wrong "$1, $3: --if '$4' keeps '$got', not '${*:5}': $(head -n 1 "$T/log")"
}

for cc in $(compilers gcc clang g++ clang++); do
	language=c
	[[ $cc == *++ ]] && language=c++
	for flags in -O2 "-O0 -DSDT_NO_LINK_ORDER" "-O2 -DSTAP_SDT_ARG_CONSTRAINT=g"; do
		what="$cc $flags"
		try "$what" $cc $flags -x $language -Iinclude "$T/f.c" -o "$T/f" || continue
		# The stapsdt note has only the size, because readers that find an f drop all arguments.
		notes "$T/f" >"$T/notes"
		grep -q '[0-9]f@' "$T/notes" && wrong "$what: an f in a stapsdt note"
		grep -q '^f mixed .* -4@[^ ]* 4@[^ ]* 8@[^ ]* 8@[^ ]*$' "$T/notes" || wrong "$what: mixed's operands"
		wanted=$((3 + $(grep -c '^f any .* 8@' "$T/notes")))
		[ "$(readelf -nW "$T/f" | grep -c 'ppn .*0x0000000c.*(0x00000005)')" = $wanted ] || wrong "$what: not $wanted notes of 12 bytes"
		numbers "$what" "$T/f" agent
		[[ $flags == -O2 ]] || continue
		for backend in $backends; do
			[ $backend = agent ] || numbers "$what" "$T/f" $backend
			[ $cc = gcc ] || [ "${PROBEPOINT_LONG-}" ] || continue
			kept "$what" "$T/f" $backend 'arg1 > 1.2' 1 2 3
			kept "$what" "$T/f" $backend 'arg3 <= -2.5' 2 3
			kept "$what" "$T/f" $backend 'arg3 == 0 || 3.5 == arg1' 0 3
			kept "$what" "$T/f" $backend '1 <= arg1 && arg1 < 3.4' 1 2
		done
	done
	# Without floating arguments there is no note.
	sed '/mixed\|twelve\|constants\|any/d' "$T/f.c" >"$T/none.c"
	try none $cc -x $language -Iinclude -c "$T/none.c" -o "$T/none.o" &&
		readelf -SW "$T/none.o" | grep -q 'note.probepoint' && wrong "$cc: a note without floats"
done

# In one unit with declared probes, which have signatures instead of these notes.
for cc in $(compilers gcc clang); do
	try declared $cc -O2 -DDECLARED -Iinclude "$T/f.c" -o "$T/f" || continue
	numbers "$cc declared" "$T/f" agent
	grep -q '^f:declared {"d":-1.25,"i":1}' "$T/all" || wrong "$cc: the declared probe"
done

if have gdb; then
	try gdb gcc -O2 -Iinclude "$T/f.c" -o "$T/f"
	gdb -nx -batch -ex 'set breakpoint pending off' -ex 'break -probe-stap f:twelve' -ex run -ex c \
		-ex 'printf "%d arguments, %#x %#lx\n", $_probe_argc, (unsigned)$_probe_arg0, (long)$_probe_arg11' "$T/f" >"$T/out" 2>&1 </dev/null
	grep -q '^12 arguments, 0x3fc00000 0xbff4000000000000$' "$T/out" || wrong "gdb: $(tail -n 2 "$T/out")"
fi

# Notes of SystemTap's header, which have the f.
echo '#include <sys/sdt.h>' >"$T/there.c"
if gcc -E "$T/there.c" >/dev/null 2>&1 && try theirs gcc -O2 "$T/f.c" -o "$T/f"; then
	if [[ $backends == *kernel ]] && notes "$T/f" | grep -q '4f@'; then # the agent has no room there
		traced "$T/f" kernel f:mixed | grep -qxF '["f:mixed",{"arg0":1,"arg1":1.5,"arg3":-1.25}]' || wrong "SystemTap's 4f@"
		kept theirs "$T/f" kernel 'arg1 > 1.2' 1 2 3
	fi
fi
exit $failed
