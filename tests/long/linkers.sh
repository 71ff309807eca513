#!/bin/bash
# SPDX-License-Identifier: MIT
# limit: 3600 10800
# With each linker that is installed (bfd, gold, mold, each lld-N): each live site has one right note, a probe's semaphore is
# the program's, and dead code has no notes, as far as the linker collects them.
. tests/sdt/lib.sh
need jq gdb
cxx=$(compilers g++ clang++)
gc="-ffunction-sections -fdata-sections -Wl,--gc-sections"
can_kernel=
[ "$(id -u)" = 0 ] && [ -e /sys/kernel/btf/vmlinux ] && can_kernel=1

# sound WHAT BINARY: each note of a live site is the address of a site's bytes, and has the address of the base.
sound() {
	local base name at based bytes
	base=$(readelf -SW "$2" | sed 's/\[ *//' | awk '$2 == ".stapsdt.base" { print $4 }')
	: >"$T/live"
	# mold collects the base in a program that it links from its own -r. Only gdb needs it.
	if [ -z "$base" ]; then
		[[ $1 == mold* && $partial ]] && no_base=1 || wrong "$1: no .stapsdt.base"
	fi
	notes "$2" | grep -E '^(parts|linked) ' >"$T/notes" # a static program has those of its C library, too
	while read -r _ name at based _; do
		[ $((based)) -eq $((0x0$base)) ] || wrong "$1: base of $name is $based, section at $base"
		bytes=$(objdump -d --start-address="$at" --stop-address=$((at + 11)) "$2" 2>/dev/null |
			sed -n 's/^ *[0-9a-f]*:\t\([0-9a-f ]*\).*/\1/p' | tr -d ' \n')
		if [ "$bytes" = 90662e0f1f840000000000 ]; then
			echo "$name $((at))" >>"$T/live"
			continue
		fi
		# A note whose code the linker collected has an address near 0.
		[ $((at)) -lt 1024 ] || wrong "$1: no site of $name at $at: $bytes"
		echo "$name" >>"$T/stale"
	done <"$T/notes"
	# probe-list shows exactly the live sites.
	probe-list --json "$2" 2>"$T/log" | jq -r '.probes[] | select(.provider == "parts" or .provider == "linked") | .name as $n | .sites[] | "\($n) \(.address)"' | sort >"$T/listed"
	sort "$T/live" | diff - "$T/listed" >"$T/diff" || wrong "$1: probe-list: $(head -n 5 "$T/diff")"
}

# living: prints how many notes of live sites each probe has.
living() { awk '{ print $1 }' "$T/live" | sort | uniq -c | awk '{ print $2 "=" $1 }' | paste -sd' '; }

# semaphore WHAT BINARY BACKEND: PROBE_ENABLED is true while the probe is armed, and its hits are counted.
semaphore() {
	local what="$1, $3" line hits
	local preload=
	[ "$3" = kernel ] || preload=$B/lib/libprobepoint-agent.so
	[ -x "$2" ] || return
	coproc PROGRAM { LD_PRELOAD=$preload exec "$2"; }
	local in=${PROGRAM[1]} out=${PROGRAM[0]} pid=$PROGRAM_PID
	echo >&"$in"
	read -r -t 20 line <&"$out"
	[ "$line" = "1 0" ] || wrong "$what: says '$line' before"
	if probe-enable -q -b "$3" -s "$S" -p "$pid" 'linked:hit' >"$T/log" 2>&1; then
		echo >&"$in"
		read -r -t 20 line <&"$out"
		[ "$line" = "2 1" ] || wrong "$what: says '$line' while its probe is armed"
		hits=$(probe-stat --json -s "$S" | jq '[.probes[].hits] | add')
		[ "$hits" = 2 ] || wrong "$what: $hits hits of 2"
		probe-disable -q -s "$S" >"$T/log" 2>&1 || wrong "$what: $(cat "$T/log")"
		echo >&"$in"
		read -r -t 20 line <&"$out"
		[ "$line" = "3 0" ] || wrong "$what: says '$line' after"
	else
		wrong "$what: $(head -n 2 "$T/log")"
	fi
	exec {in}>&-
	wait "$pid"
	armed=$((armed + 1))
}

# build FLAGS SOURCE...: compiles both parts and links them with the linker of $T/ld.
build() {
	local what=$1 source=$2 out=$3 objects
	shift 3
	try "$what" $cc -O2 $order "$@" -Iinclude -DPART=1 -c $source -o "$T/1.o" &&
		try "$what" $cc -O2 $order "$@" -Iinclude -DPART=2 -c $source -o "$T/2.o" || return
	objects="$T/1.o $T/2.o"
	if [ "$partial" ]; then
		if ! "$T/ld/ld" -r $unique $objects -o "$T/r.o" >"$T/log" 2>&1; then
			# mold 1.10 ends with an assertion, also for programs without probes
			[[ $name == mold* ]] && { part_skipped "$name -r: $(head -n 1 "$T/log")"; r_fails=1; return 1; }
			wrong "$what: -r: $(head -n 2 "$T/log")"
			return 1
		fi
		objects=$T/r.o
	fi
	try "$what" $cc "$@" -B "$T/ld" $objects -o "$T/$out"
}

one() {
	local what="$name $cc $1" wanted=$2 got
	partial=
	[[ " $1 " == *" -r "* ]] && partial=-r
	set -- ${1/#-r/}
	build "$what" $D/parts.cc parts "$@" || return
	"$T/parts" || { wrong "$what: does not run"; return; }
	: >"$T/stale"
	sound "$what" "$T/parts"
	got=$(living)
	case $what in *icf=all*) [[ $got == "here=1 twice="[123] ]] ;; *) [ "$got" = "$wanted" ] ;; esac || wrong "$what: live notes $got, not $wanted"
	sort "$T/stale" | uniq -c | awk '{ print $2 "=" $1 }' | paste -sd' ' >"$T/stale.n"
	[ ! -s "$T/stale" ] || [ "$stale_known" ] || wrong "$what: notes of collected code: $(cat "$T/stale.n")"
	[ ! -s "$T/stale" ] || stale=$(cat "$T/stale.n")
	programs=$((programs + 1))
	cc=gcc
	[ $compiler = g++ ] || cc=clang
	build "$what" $D/linked.c linked "$@" && {
		: >"$T/stale"
		sound "$what" "$T/linked"
		case $what in
		*icf=all*) icf=$(living | grep -oE '(one|two)=[0-9]' | paste -sd' ') ;;
		*) [[ $(living) == "hit=2 "*"one=1 two=1" ]] || wrong "$what: live notes of linked: $(living)" ;;
		esac
		[ ! "$can_kernel" ] || semaphore "$what" "$T/linked" kernel
		case $what in *static*) ;; *) semaphore "$what" "$T/linked" agent ;; esac
		programs=$((programs + 1))
	}
	cc=$compiler
}

all="dead=2 here=1 twice=3"
live="here=1 twice=3"
rows=()
for path in $(compgen -c ld.lld- | grep -x 'ld.lld-[0-9]*' | sort -Vu) ld.lld ld.bfd ld.gold mold; do
	have $path || continue
	[ $path = ld.lld ] && compgen -c ld.lld- >/dev/null && continue
	[[ " ${ONLY-$path} " == *" $path "* ]] || continue
	name="$path $("$path" --version | grep -oE '[0-9]+\.[0-9.]*[0-9]' | head -n 1)"
	rm -rf "$T/ld"
	mkdir "$T/ld"
	# the linkers look at the name by which they are called
	printf '#!/bin/sh\nexec %s "$@"\n' "$(command -v $path)" >"$T/ld/ld"
	chmod 755 "$T/ld/ld"
	unique= r_fails= order= stale_known= no_base= icf= stale=  programs=0 armed=0
	# packed relocations, as far as the linker makes programs that this C library loads
	pack=
	for try in -Wl,-z,pack-relative-relocs -Wl,--pack-dyn-relocs=relr; do
		echo 'int x, *p = &x; int main(void) { return *p; }' | gcc -B "$T/ld" -x c - -fPIE -pie $try -o "$T/pack" 2>"$T/log" &&
			! grep -q 'unknown\|ignored' "$T/log" && "$T/pack" 2>/dev/null && pack=$try && break
	done
	[ "$pack" ] || part_skipped "$name: packed relocations"
	case $path in
	ld.bfd) unique="--unique=.note.stapsdt --unique=.note.probepoint" ;; # else it loses the link order of all but one
	ld.gold) order=-DSDT_NO_LINK_ORDER ;;
	mold) stale_known=1 ;;
	esac
	before=$failed
	failed=0
	for compiler in $cxx; do
		# The short form uses one compiler with each linker.
		case ${PROBEPOINT_LONG-}$path:$compiler in 1* | ld.lld*:clang++ | ld.bfd:g++ | ld.gold:g++ | mold:g++) ;; *) continue ;; esac
		cc=$compiler
		one "" "$all"
		one "-r" "$all"
		one "-fPIE -pie -Wl,-z,relro,-z,now" "$all"
		one "-static" "$all"
		one "-fPIC -Wl,-s" "$all"
		if [ $path = ld.gold ]; then
			part_skipped "$name: -static-pie, -z separate-code and --icf: gold cannot; --gc-sections: gold refuses notes in it"
			continue
		fi
		one "-fPIE -static-pie" "$all"
		one "-g -Wl,--build-id -Wl,-z,separate-code" "$all"
		[ -z "$pack" ] || one "-fPIE -pie $pack" "$all"
		one "$gc" "$live"
		one "-fno-pie -no-pie $gc" "$live"
		one "-static $gc" "$live"
		one "-r $gc" "$live"
		[ $path = ld.bfd ] || one "-Wl,--icf=all $gc" "$live"
	done
	row="$programs programs, $armed armed"
	[ -z "$stale" ] || row+=", keeps notes of collected code (${stale})"
	[ -z "$r_fails" ] || row+=", -r fails"
	[ -z "$no_base" ] || row+=", -r and --gc-sections drop .stapsdt.base"
	[ -z "$icf" ] || row+=", --icf=all leaves $icf of two alike"
	[ $failed = 0 ] || row+=", FAILED"
	echo "row: $name: $row"
	failed=$((before | failed))
done
exit $failed
