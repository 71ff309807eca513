#!/bin/bash
# SPDX-License-Identifier: MIT
# After linking with any linker, each live site has one correct note, and dead code has none.
. tests/sdt/lib.sh

n=0
# sound WHAT BINARY MIXED: checks that each note points to the bytes of a site and has the address of the base section.
sound() {
	local base at bytes
	base=$(readelf -SW "$2" | sed 's/\[ *//' | awk '$2 == ".stapsdt.base" { print $4 }')
	[ -n "$base" ] || wrong "$1: no .stapsdt.base"
	notes "$2" | grep '^parts ' >"$T/notes" # a static program can have those of its C library, too
	while read -r _ name at based _; do
		[ $((based)) -eq $((0x0$base)) ] || wrong "$1: base of $name is $based, section at $base"
		bytes=$(objdump -d --start-address="$at" --stop-address=$((at + 11)) "$2" 2>/dev/null |
			sed -n 's/^ *[0-9a-f]*:\t\([0-9a-f ]*\).*/\1/p' | tr -d ' \n')
		case $bytes in
		90662e0f1f840000000000) ;;
		90*) [ -n "${3-}" ] || wrong "$1: $name at $at: $bytes" ;;
		*) wrong "$1: no site of $name at $at: $bytes" ;;
		esac
	done <"$T/notes"
	# Exactly the live sites with floating arguments have a note of floating arguments.
	[ -n "${3-}" ] && return
	readelf -nW "$2" 2>/dev/null | sed -n 's/.*(0x00000005).*data: \(.. .. .. .. .. .. .. ..\) .*/\1/p' |
		awk '{ print "0x" $8 $7 $6 $5 $4 $3 $2 $1 }' | sort >"$T/floats"
	awk '$2 == "here" || $2 == "dead" || ($2 == "twice" && $6 ~ /^8@/) { print $3 }' "$T/notes" | sort >"$T/floats.wanted"
	cmp -s "$T/floats.wanted" "$T/floats" || wrong "$1: notes of floats at" $(<"$T/floats"), not at $(<"$T/floats.wanted")
}

# check WHAT BINARY LIVING [MIXED]: LIVING is the number of notes of the probes twice and here.
check() {
	local what=$1 binary=$2 living=$3
	"$binary" || wrong "$what: does not run"
	sound "$what" "$binary" "${4-}"
	awk '{ print $2 }' "$T/notes" | sort | uniq -c | awk '{ print $2 "=" $1 }' | paste -sd' ' >"$T/living"
	[ "$(cat "$T/living")" = "$living" ] || wrong "$what: has $(cat "$T/living"), should have $living"
	n=$((n + 1))
}

linkers=$(for ld in bfd lld; do have ld.$ld && echo $ld; done)
sections="-ffunction-sections -fdata-sections -Wl,--gc-sections"
for cc in $(compilers g++ g++-11 clang++); do
	for ld in $linkers; do
		for o in -O0 -O2; do
			[[ $cc$o != g++-11-O0 ]] || continue
			for kind in "" "-fPIE -pie" "-fno-pie -no-pie" "-static" "-fPIC" "-g -Wl,--build-id"; do
				for semaphores in "" -DSEMAPHORES; do
					# The short form leaves out g++-11, and has each kind with one compiler and one linker at least.
					case ${PROBEPOINT_LONG-}$cc$ld$o:$kind:$semaphores in
					1* | g++bfd-O0::-D* | g++bfd-O2:-fPIE*:-D* | g++bfd-O2:-static: | g++lld-O2:-fPIC:-D* | g++lld-O2:-g*:) ;;
					clang++lld-O0::-D* | clang++lld-O2:-fPIE*:-D* | clang++lld-O2:-static: | clang++bfd-O2:-fPIC:-D* | clang++bfd-O2:-fno-pie*:) ;;
					*) continue ;;
					esac
					flags="$o $kind -fuse-ld=$ld $semaphores -Iinclude"
					what="$cc $flags"
					try "$what" $cc $flags $sections -DPART=1 -c $D/parts.cc -o "$T/1.o" &&
						try "$what" $cc $flags $sections -DPART=2 -c $D/parts.cc -o "$T/2.o" &&
						try "$what" $cc $flags $sections "$T/1.o" "$T/2.o" -o "$T/parts" || continue
					check "$what" "$T/parts" "here=1 twice=3"
					[ -n "$semaphores" ] || continue
					# the notes refer to the two live semaphores, and the dead one is gone
					awk '$5 !~ /0x0+$/ { print $5 }' "$T/notes" | sort -u >"$T/semaphores"
					[ "$(wc -l <"$T/semaphores")" -eq 2 ] || wrong "$what: semaphores $(paste -sd' ' "$T/semaphores")"
					nm "$T/parts" | grep -q 'parts_here_semaphore' || wrong "$what: a living semaphore is gone"
					nm "$T/parts" | grep -q 'parts_dead_semaphore' && wrong "$what: a dead semaphore is there"
				done
			done
			[ "${PROBEPOINT_LONG-}" ] || [ "$o" = -O2 ] || continue
			flags="$o -fuse-ld=$ld -Iinclude"
			try "no gc" $cc $flags -c -DPART=1 $D/parts.cc -o "$T/1.o" &&
				try "no gc" $cc $flags -c -DPART=2 $D/parts.cc -o "$T/2.o" &&
				try "no gc" $cc $flags "$T/1.o" "$T/2.o" -o "$T/parts" && check "$cc $flags" "$T/parts" "dead=2 here=1 twice=3"
		done
	done
done

# LTO: each compiler with its own linker. Functions that are used once may be inlined; none is lost.
for lto in "g++ -flto -fuse-ld=bfd" "g++ -flto -fno-fat-lto-objects -flto-partition=max" "clang++ -flto -fuse-ld=lld" "clang++ -flto=thin -fuse-ld=lld"; do
	have ${lto%% *} || continue
	case $lto in *lld*) have ld.lld || continue ;; esac
	for semaphores in ${PROBEPOINT_LONG:+""} -DSEMAPHORES; do
		try "$lto" $lto -O2 $semaphores -Iinclude -DPART=1 -c $D/parts.cc -o "$T/1.o" &&
			try "$lto" $lto -O2 $semaphores -Iinclude -DPART=2 -c $D/parts.cc -o "$T/2.o" &&
			try "$lto" $lto -O2 $sections "$T/1.o" "$T/2.o" -o "$T/parts" && check "$lto $semaphores" "$T/parts" "here=1 twice=3"
	done
done

# A program of objects made with either header.
echo '#include <sys/sdt.h>' >"$T/there.c"
if gcc -fsyntax-only "$T/there.c" 2>/dev/null; then
	for cc in $(compilers g++ clang++); do
		for ld in $linkers; do
			for gc in "" "$sections"; do
				case ${PROBEPOINT_LONG-}$cc$ld in 1* | "${gc:+g++bfd}" | "${gc:+clang++lld}" | "${gc:-g++lld}" | "${gc:-clang++bfd}") ;; *) continue ;; esac
				try mixed $cc -O2 $gc -Iinclude -DPART=1 -c $D/parts.cc -o "$T/1.o"
				try mixed $cc -O2 $gc -Iinclude -DPART=2 -c $D/parts.cc -o "$T/2.o"
				try mixed $cc -O2 $gc -DPART=1 -c $D/parts.cc -o "$T/their1.o"
				try mixed $cc -O2 $gc -DPART=2 -c $D/parts.cc -o "$T/their2.o"
				for order in "1.o their2.o" "their2.o 1.o" "their1.o 2.o" "2.o their1.o"; do
					[[ -n ${PROBEPOINT_LONG-} || $order = *their2* ]] || continue
					what="$cc $ld $order $gc"
					(cd "$T" && $cc -fuse-ld=$ld $gc $order -o mixed) >"$T/log" 2>&1 ||
						{ wrong "$what: does not link"; head -n 5 "$T/log"; continue; }
					"$T/mixed" || wrong "$what: does not run"
					notes "$T/mixed" | awk '$3 !~ /^0x0+$/' >"$T/mixed.notes"
					grep -q 'parts here' "$T/mixed.notes" || wrong "$what: a probe is gone"
					[ "$(grep -c 'parts twice' "$T/mixed.notes")" -ge 3 ] || wrong "$what: $(grep -c twice "$T/mixed.notes") notes"
					gdb -nx -batch -ex 'info probes stap parts' "$T/mixed" 2>/dev/null | grep -q ' here ' ||
						! have gdb || wrong "$what: gdb does not see the probes"
					n=$((n + 1))
				done
			done
		done
	done
else
	echo "not tested: objects of both headers in one program (SystemTap's is not installed)"
fi

# A program whose only probe is in an asm statement.
for cc in $(compilers gcc clang); do
	for ld in $linkers; do
		cat >"$T/alone.c" <<-'E'
			#include <sys/sdt.h>
			int main(void) { __asm__ volatile(STAP_PROBE_ASM(parts, alone, 4@$1)); return 0; }
		E
		try alone $cc -fuse-ld=$ld $sections -Iinclude "$T/alone.c" -o "$T/alone" && sound "$cc $ld alone" "$T/alone"
	done
done

# SDT_NO_LINK_ORDER is for linkers and assemblers that know neither link order nor retention.
for ld in gold bfd lld; do
	have ld.$ld || continue
	try "old $ld" g++ -O2 -DSDT_NO_LINK_ORDER -Iinclude -fuse-ld=$ld -DPART=1 -c $D/parts.cc -o "$T/1.o"
	try "old $ld" g++ -O2 -DSDT_NO_LINK_ORDER -Iinclude -fuse-ld=$ld -DPART=2 -c $D/parts.cc -o "$T/2.o"
	try "old $ld" g++ -O2 -fuse-ld=$ld "$T/1.o" "$T/2.o" -o "$T/old" && check "old $ld" "$T/old" "dead=2 here=1 twice=3"
	readelf -SW "$T/1.o" | grep -q 'note.stapsdt.* L ' && wrong "SDT_NO_LINK_ORDER: link order is there"
	readelf -SW "$T/1.o" | grep -q 'stapsdt.base.* AGR ' && wrong "SDT_NO_LINK_ORDER: retain is there"
done

have ld.lld || echo "not tested: lld"
echo "$n programs linked"
exit $failed
