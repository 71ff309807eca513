#!/bin/bash
# SPDX-License-Identifier: MIT
# The cost of an unarmed probe of two arguments, in instructions per iteration of a loop: two nops at every alignment, one
# nop with SystemTap's header. The last column aligns the site with separate nops. The short form has three of eight alignments.
. tests/sdt/lib.sh

have valgrind || skip "valgrind is not installed"
TURNS=100000
seed=${SEED:-$RANDOM} skips="0 1 2 3 4 5 6 7" positions=6
echo "SEED=$seed"
[ "${PROBEPOINT_LONG-}" ] || { skips="$((seed % 8)) $(((seed + 3) % 8)) $(((seed + 6) % 8))" positions=2; }

# build NAME FLAGS...: builds the loop.
build() {
	local name=$1
	shift
	try "build" "$cc" -O2 $align -DSKIP=$skip "$@" $D/loop.c -o "$T/$name"
}

count() {
	valgrind --tool=callgrind --toggle-collect=loop --callgrind-out-file=/dev/null "$1" 2>&1 |
		awk '/Collected/ { print $4 }'
}

# prints the cost of an iteration, less that of the loop without a probe, in hundredths of an instruction
beyond() {
	local with
	with=$(count "$T/$1")
	[ -n "$with" ] || { wrong "$cc: no count of $1"; echo 0; return; }
	echo $(((with - without) * 100 / TURNS))
}

decimal() {
	[ "$1" = - ] && echo - || awk -v n="$1" 'BEGIN { printf "%.2f", n / 100 }'
}

theirs=no
echo '#include <sys/sdt.h>' >"$T/there.c"
gcc -fsyntax-only "$T/there.c" 2>/dev/null && theirs=yes || echo "not compared: SystemTap's sys/sdt.h is not installed"

echo "compiler  site mod 8   probepoint  SystemTap  .p2align 3,,2   (instructions a turn)"
for cc in $(compilers gcc clang); do
	align=-fno-align-loops
	[ "$cc" = clang ] && align=-falign-loops=1
	seen=
	for skip in $skips; do
		build none -DPROBE=0 || continue
		build ours -DPROBE=1 -Iinclude || continue
		"$cc" -O2 $align -DSKIP=$skip -DPROBE=1 -Iinclude -S $D/loop.c -o "$T/plain.s"
		sed -i 's/\.p2align 3,0x66,2/.p2align 3,,2/' "$T/plain.s"
		"$cc" "$T/plain.s" -o "$T/plain" || wrong "plain"
		without=$(count "$T/none")
		ours=$(beyond ours)
		plain=$(beyond plain)
		other=-
		if [ $theirs = yes ]; then
			build theirs -DPROBE=1
			other=$(beyond theirs)
			[ "$ours" -le $((other + 100)) ] || wrong "$cc, $skip: more than a nop beyond SystemTap's"
		fi
		at=$(notes "$T/ours" | awk '{ print $3 }')
		printf '%-8s  %d            %10s  %9s  %13s\n' "$cc" $((at % 8)) "$(decimal $ours)" "$(decimal $other)" "$(decimal $plain)"
		seen+="$((at % 8)) "
		[ "$ours" -le 200 ] || wrong "$cc, $skip: $ours hundredths of an instruction per iteration"
		[ $((at % 8)) -ne 6 ] || wrong "$cc, $skip: the jump's first bytes would cross an aligned block"
	done
	[ "$cc" = clang ] || [ "$(tr ' ' '\n' <<<"$seen" | sort -u | grep -c .)" -ge $positions ] || wrong "$cc: positions $seen only"
done
exit $failed
