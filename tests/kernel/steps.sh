#!/bin/bash
# SPDX-License-Identifier: MIT
# Instructions that Linux's uprobes do not accept are refused before a process maps the file, because a program that starts
# later would have no hits. Those that it accepts and then executes wrongly are refused, too. All others are armed.
#
# 1. tests/kernel/steps.c asks the kernel about instructions of all opcodes and prefixes (PROBEPOINT_LONG=1: all of them), of
#    64-bit and 32-bit programs, and probe-enable about a file that has the same ones. No instruction is executed.
# 2. A program calls functions that begin with critical instructions. Its output must be the same with and without probes.
. tests/lib.sh
. tests/kernel/lib.sh
need_kernel
[ "$(uname -m)" = x86_64 ] || skip "the instructions are of x86-64"
need python3
seed=${PROBEPOINT_SEED:-$RANDOM$RANDOM}
echo "PROBEPOINT_SEED=$seed"
[ "${PROBEPOINT_LONG-}" ] && count=0 || count=$((slow > 1 ? 2000 : 8000))
multi_links || count=100 # a uprobe each, which take 100 ms
at_end "probe-disable -q -s $S 2>/dev/null"

build_once "$T/ask" "$CC" -O1 tests/kernel/steps.c || fail "tests/kernel/steps.c does not build"
# answers BITS [MAPPER]
answers() {
	local bits=$1 dir=$T/$1 n patterns
	shift
	mkdir "$dir"
	read -r n patterns < <(python3 tests/kernel/steps.py make "$seed" $count "$bits" "$dir")
	"$CC" -m"$bits" -shared -nostdlib -x assembler "$dir/code.s" -o "$dir/code.so" || fail "the instructions cannot be assembled"
	timeout $patience "$T/ask" "$dir/code" 17 "$n" "$@" >"$dir/map" || fail "the kernel cannot be asked"
	# shellcheck disable=SC2086 # words, which match no file
	probe-enable -q --json -s $S -b kernel -f "$dir/code.so" $patterns >"$dir/refused"
	want "status of probe-enable, $bits bits" 3 $?
	probe-disable -q -s $S
	python3 tests/kernel/steps.py compare "$bits" "$dir" "$T/ask" || fail "seed $seed: probe-enable and the kernel differ"
}
answers 64
if "$CC" -m32 -nostdlib -static tests/kernel/steps32.S -o "$T/map32" 2>/dev/null && "$T/map32" 3<"$T/ask" >"$T/out" && cmp -s "$T/ask" "$T/out"; then
	answers 32 "$T/map32"
else
	part_skipped "$CC does not build 32-bit programs, or the kernel does not run them"
fi

build_once "$T/stepped" "$CC" -O1 tests/kernel/stepped.c || fail "tests/kernel/stepped.c does not build"
echo | "$T/stepped" >"$T/plain" || fail "the program ends with $? without probes"
mkfifo "$T/in"
"$T/stepped" <"$T/in" >"$T/armed" &
pid=$!
exec {in}>"$T/in"
wait_for 20 grep -q ready "$T/armed"
probe-enable -q --json -s $S -b kernel -p $pid 'func:f_*' >"$T/report"
want "status of probe-enable -p" 3 $?
echo >&$in
wait $pid
want "status of the armed program" 0 $?
want "output of the armed program" "" "$(diff "$T/plain" "$T/armed")"
probe-stat -a --json -s $S >"$T/stat"
# Functions with instructions that this CPU does not have are not called. All others are called twice.
called=$(sed -n 's/^\([a-z0-9_]*\): .*/"func:f_\1"/p' "$T/plain" | sort -u | jq -sc .)
armed() { jq -r --argjson called "$called" "$1" "$2" | sort; }
want "functions with two hits" "$(armed '.armed[].probe | select(. as $p | $called | index($p))' "$T/report")" \
	"$(armed '.probes[] | select(.hits == 2).probe' "$T/stat")"
# is_in ROWS NAME...
is_in() {
	local rows=$1 name
	shift
	for name; do want "f_$name is $rows" true "$(json "any(.${rows}[]; .probe == \"func:f_$name\")" "$T/report")"; done
}
is_in armed movdqu por popf leaq call nop4 nop8 lodsb pause_ vmovups vaddps vxorps vpaddd vshufps relative vfmadd132ss
is_in refused xchg_r8 pushf_popf stosb vmovd store load vpor vpxor vpshufd vcmpltps vfnmadd132ss nopcs syscall_
