#!/bin/bash
# SPDX-License-Identifier: MIT
# The exits of all functions of aarch64's C library that %return would arm are those that objdump shows.
. tests/lib.sh
need python3 readelf pkg-config

library=
for library in /usr/aarch64-linux-gnu/lib/libc.so.6 /lib/aarch64-linux-gnu/libc.so.6 ''; do [ ! -e "$library" ] || break; done
[ "$library" ] || skip "needs libc6-arm64-cross"
objdump=
for objdump in aarch64-linux-gnu-objdump objdump llvm-objdump ''; do
	[ "$objdump" ] || skip "needs binutils-aarch64-linux-gnu"
	"$objdump" -d "$library" >"$T/disassembly" 2>"$T/said" && grep -q '[[:space:]]ret$' "$T/disassembly" && break
done
"$CC" -O1 -D_GNU_SOURCE -Iinclude -I. ${SAN:+-fsanitize=$SAN} -o "$T/exits" tests/kernel/exits.c "$B/lib/libprobepoint.a" \
	$(pkg-config --libs $(pkg-config --exists libdw && echo libdw) libelf libbpf) -lZydis -lstdc++ -pthread || fail "exits.c does not build"
readelf -WsD --dyn-syms "$library" | awk '$4 == "FUNC" && $7 != "UND" && $3 > 0 { print $2, $3 }' | sort -u >"$T/symbols"
cut -d' ' -f1 "$T/symbols" | uniq | "$T/exits" "$library" >"$T/exits.out" || fail "exits ended with $?"
out=$(python3 tests/kernel/exits.py "$T/disassembly" "$T/symbols" "$T/exits.out" 2>&1) || fail "$out"
echo "$out"
