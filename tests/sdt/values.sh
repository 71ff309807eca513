#!/bin/bash
# SPDX-License-Identifier: MIT
# first
# gdb finds at each probe the values that the program passed, and the notes have their sizes and signs.
. tests/sdt/lib.sh

have gdb || skip "gdb is not installed"

# check WHAT BINARY SOURCE MARK: checks that the lines "= NAME SIZE@VALUE ..." of the source hold in the binary.
check() {
	local what=$1 binary=$2 name args arg format values i address
	sed -n "s/.*\/\* =$4 \(.*\) \*\/.*/\1/p" "$3" >"$T/expected"
	[ -s "$T/expected" ] || { wrong "$what: nothing expected"; return; }
	sizes "$binary" | sed -n 's/^v //p' | sort -u >"$T/sizes"
	sed 's/"[^"]*"/x/g; s/@[^ ]*//g' "$T/expected" | sort -u >"$T/sizes.expected"
	diff "$T/sizes.expected" "$T/sizes" >"$T/diff" || { wrong "$what: sizes differ"; cat "$T/diff"; }

	{
		echo "set pagination off"
		echo "set confirm off"
		echo "set breakpoint pending off"
		echo "set print address off"
		while read -r name args; do
			format= values= i=0
			args=$(sed 's/@"[^"]*"/@string/g' <<<"$args")
			for arg in $args; do
				case $arg in
				*@string) format+=' "%s"'; values+=", (char *)\$_probe_arg$i" ;;
				8@*) format+=' %lu'; values+=", (unsigned long)\$_probe_arg$i" ;;
				*) format+=' %ld'; values+=", (long)\$_probe_arg$i" ;;
				esac
				i=$((i + 1))
			done
			echo "break -probe-stap v:$name"
			echo "commands"
			echo "silent"
			echo "printf \"= $name${format//\"/\\\"}\\n\"$values"
			echo "continue"
			echo "end"
		done <"$T/expected"
		echo "run"
		echo 'printf "exit %d\n", $_exitcode'
		echo 'printf "address %lu\n", (unsigned long)wanted'
	} >"$T/gdb"
	gdb -nx -batch -x "$T/gdb" "$binary" >"$T/out" 2>&1 </dev/null
	grep -q '^exit 0$' "$T/out" || { wrong "$what: the program did not exit with 0"; tail -n 5 "$T/out"; return; }
	address=$(sed -n 's/^address //p' "$T/out")
	sed "s/-\?[0-9]*@//g; s/&wanted/$address/g" "$T/expected" | sort -u >"$T/values.expected"
	sed -n 's/^= //p' "$T/out" | sort -u >"$T/values"
	same_in_gdb "$T/values.expected" "$T/values" ||
		{ wrong "$what: values differ"; diff "$T/values.expected" "$T/values"; }
	count=$((count + $(wc -l <"$T/values.expected")))
}

count=0 turn=${SEED:-$RANDOM}
echo "SEED=$turn"
# The short form has every second set of options.
# run SOURCE MARK STANDARD COMPILER...
run() {
	local source=$1 mark=$2 std=$3 flags
	shift 3
	for cc in $(compilers "$@"); do
		for flags in -O0 -O2 "-O3 -fPIC -fPIE" "-Os -static" "-O1 -fomit-frame-pointer"; do
			[ $((turn++ % 2)) = 0 ] || [ "${PROBEPOINT_LONG-}" ] || continue
			try "$cc $std $flags" $cc $flags $WARN $std -Iinclude $source -o "$T/values" && \
				check "$cc $std $flags $source" "$T/values" $source "$mark"
		done
	done
}

run $D/values.c 'c\?' "" gcc gcc-11 clang
run $D/values.c '' "-x c++ -std=gnu++98 -Wno-long-long -Wno-c++11-long-long" g++ clang++
run $D/values.cc '' -std=c++11 g++ g++-11 clang++
run $D/values.cc '' -std=c++20 g++ clang++
echo "$count probes with their values"

# A narrow operand may name a wider register. Only its low bits count, because clang at -O0 leaves the others.
if [ "$(uname -m)" = x86_64 ]; then
	cat >"$T/narrow.c" <<-'E'
		#include <sys/sdt.h>
		int main(void)
		{
			register long a __asm__("rdi") = (long)0xfffffffed5fa0e41, b __asm__("r8") = 0xbf, c __asm__("r9") = (long)0xffffffff00008001;
			__asm__ volatile(STAP_PROBE_ASM(v, narrow, -1@%%rdi 1@%%rdi -2@%%rdi -4@%%rdi -1@%%r8d -2@%%r9 2@%%r9 4@%%r9)
				: : "r"(a), "r"(b), "r"(c));
			return 0;
		}
	E
	narrow="arg0=65 arg1=65 arg2=3649 arg3=-705032639 arg4=-65 arg5=-32767 arg6=32769 arg7=32769"
	backends=agent
	[ "$(id -u)" = 0 ] && backends="agent kernel"
	try narrow gcc -O1 -Iinclude "$T/narrow.c" -o "$T/narrow" && for backend in $backends; do
		out=$(probe-trace -q -b $backend --if 'arg0 == 65 && arg4 == -65 && arg5 < 0' v:narrow -- "$T/narrow" 2>&1)
		[ "${out#*v:narrow }" = "$narrow" ] || wrong "$backend: narrow operands: $out"
	done
fi
exit $failed
