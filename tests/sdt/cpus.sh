#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Operands of seven CPUs give the values that a program passed. A cross compiler builds a generated program; an emulator runs
# it under gdb, which records the registers and the memory at each hit; the fetch program of each site, run by the reference
# interpreter on what was recorded, must give the program's values.
. tests/sdt/lib.sh
need python3 gdb gdb-multiarch readelf jq
seed=${SEED:-$RANDOM}
count=40
levels=(-O2)
[ -z "${PROBEPOINT_LONG-}" ] || { count=300; levels=(-O0 -O1 -O2 -O3 -Os); }

"$CC" -std=gnu17 -D_GNU_SOURCE -DPP_VERSION='""' -w -O1 -Iinclude -I. $D/cpus/evaluate.c base/*.c sdt/*.c runtime/fetch/*.c \
	runtime/aggregate.c runtime/abi*.c $(pkg-config --libs libelf libbpf) -lstdc++ -o "$T/evaluate" >"$T/log" 2>&1 ||
	{ tail -n 20 "$T/log"; fail "evaluate.c does not build"; }

# ranges FILE: sets FIXED and CHANGING to the file's constant data, and to its writable data.
ranges() {
	FIXED=$(readelf -SW "$1" | sed -n 's/^ *\[ *[0-9]*\] //p' |
		awk '$1 ~ /^\.(rodata|data\.rel\.ro)/ { print $3 " " $5 }' | while read -r at size; do
		printf '%x-%x ' $((16#$at)) $((16#$at + 16#$size)); done)
	CHANGING=$(readelf -SW "$1" | sed -n 's/^ *\[ *[0-9]*\] //p' |
		awk '$1 ~ /^\.s?(data|bss)$/ { print $3 " " $5 }' | while read -r at size; do
		printf '%x-%x ' $((16#$at)) $((16#$at + 16#$size)); done)
	export FIXED CHANGING
}

# check CPU COMPILER BITS LEVEL
check() {
	local cpu=$1 cc=$2 bits=$3 level=$4 emulator tried
	python3 $D/cpus/generate.py "$seed" $count "$bits" "$T/p.c" "$T/expected" || fail "generate.py failed"
	try "$cc $level" "$cc" $level -w -static -Iinclude "$T/p.c" -o "$T/p" || return
	ranges "$T/p"
	SITES=$(probe-list --json "$T/p" | jq -r '.probes[] | select(.provider == "v") | .sites[] | .address |
		if type == "string" then . else tostring end' | while read -r at; do printf '%x-0 ' "$at"; done)
	RECORDING=$T/recording
	export SITES RECORDING
	rm -f "$T/socket" "$RECORDING"
	if [ "$cpu" = "$(uname -m)" ]; then
		gdb -q -nx -batch -ex "file $T/p" -ex starti -x $D/cpus/record.py >"$T/gdb" 2>&1 </dev/null
	else
		qemu-"$cpu" -g "$T/socket" "$T/p" >"$T/out" 2>&1 & emulator=$!
		wait_for 20 test -S "$T/socket"
		gdb-multiarch -q -nx -batch -ex "file $T/p" -ex "target remote $T/socket" -x $D/cpus/record.py >"$T/gdb" 2>&1 </dev/null
		kill $emulator 2>/dev/null
		wait $emulator 2>/dev/null
	fi
	out=$("$T/evaluate" "$T/p" "$RECORDING" "$T/expected") || { wrong "$cc $level: $(head -n 12 <<<"$out")"; grep -v "^Breakpoint|^warning" "$T/gdb" | head -n 8; }
	echo "$cpu $level: $(tail -n 1 <<<"$out")"
}

echo "seed $seed"
while read -r cpu cc bits; do
	if ! have "$cc"; then part_skipped "$cpu: needs $cc"; continue; fi
	if [ "$cpu" != "$(uname -m)" ] && ! have qemu-"$cpu"; then part_skipped "$cpu: needs qemu-user"; continue; fi
	for level in "${levels[@]}"; do check "$cpu" "$cc" "$bits" "$level"; done
done <<X
x86_64 x86_64-linux-gnu-gcc 64
i386 i686-linux-gnu-gcc 32
aarch64 aarch64-linux-gnu-gcc 64
arm arm-linux-gnueabihf-gcc 32
ppc64le powerpc64le-linux-gnu-gcc 64
s390x s390x-linux-gnu-gcc 64
riscv64 riscv64-linux-gnu-gcc 64
X
exit $failed
