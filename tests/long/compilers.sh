#!/bin/bash
# SPDX-License-Identifier: MIT
# limit: 10800 21600
# With each gcc-N and clang-N that is installed: sys/sdt.h and sys/probe.h compile in every language standard that the
# compiler knows without a warning, the notes have the values that the program logged, and tests/sdt passes.
# ONLY="gcc-13 clang-19" tests these only.
. tests/sdt/lib.sh
. tests/interop/lib-logged.sh
need python3 gdb jq
logged_source
backends=agent
[ "$(id -u)" = 0 ] && [ -e /sys/kernel/btf/vmlinux ] && backends="agent kernel"

# $1: the compiler. The other arguments: all standards of its language
standards() {
	local cc=$1 std
	shift
	for std; do "$cc" -std="$std" -x "$language" -fsyntax-only /dev/null 2>/dev/null && echo "$std"; done
}
C="c89 gnu89 iso9899:199409 c99 gnu99 c11 gnu11 c17 gnu17 c2x c23 gnu23 c2y gnu2y"
CXX_ALL="c++98 gnu++98 c++03 c++11 gnu++11 c++14 c++17 gnu++17 c++20 gnu++20 c++2b c++23 gnu++23 c++2c c++26 gnu++26"

# What -Weverything says about the test programs, or about all programs of their standard.
EVERYTHING="-Weverything -Wno-padded -Wno-c++98-compat -Wno-c++98-compat-pedantic -Wno-pre-c2x-compat -Wno-pre-c23-compat
	-Wno-unsafe-buffer-usage -Wno-declaration-after-statement -Wno-long-long -Wno-c++11-long-long -Wno-c99-compat
	-Wno-variadic-macros -Wno-unused-macros -Wno-missing-variable-declarations -Wno-float-equal -Wno-c++-compat
	-Wno-old-style-cast -Wno-zero-as-null-pointer-constant -Wno-reserved-macro-identifier -Wno-reserved-identifier
	-Wno-implicit-void-ptr-cast -Wno-unknown-warning-option -Wno-missing-noreturn -Wno-c11-extensions -Wno-nrvo
	-Wno-disabled-macro-expansion -Wno-unused-template -Wno-missing-prototypes -Wno-unused-variable -Wno-jump-misses-init
	-Wno-pre-c2y-compat -Wno-missing-include-dirs -Wno-date-time -Wno-used-but-marked-unused -Wno-switch-default -Wno-undef -Wno-pre-c11-compat"

# compiles COMPILER: compiles the macros with every standard, and sets $compiled to the number of compilations.
compiles() {
	local cc=$1 std o
	local -a warnings=($WARN -pedantic)
	[[ $cc != clang* ]] || warnings+=($EVERYTHING)
	compiled=0
	for std in $(standards "$cc" $all); do
		for o in -O0 -O2; do
			try "$cc $std" "$cc" $o -std="$std" -x $language "${warnings[@]}" -Iinclude -c $D/kinds.c -o "$T/o" && compiled=$((compiled + 1))
			case $std in c89 | gnu89 | iso9899:199409) continue ;; esac
			more=
			case $std in *++98 | c++03) more="-DSDT_USE_VARIADIC -Wno-variadic-macros -Wno-pedantic" ;; esac
			try "$cc $std" "$cc" $o -std="$std" -x $language "${warnings[@]}" $more -Iinclude -DPART=1 -c $D/shop.c -o "$T/o" &&
				compiled=$((compiled + 1))
		done
	done
}

# agreed COMPILER: compares readers with the program's log. Sets $programs, $values.
agreed() {
	local cc=$1 flags source backend what
	programs=0
	values=0
	for flags in -O0 -O1 "-O3 -fPIC" "-Os -static" "-O2 -fno-omit-frame-pointer -g" "-O2 -march=x86-64-v3 -fno-plt"; do
		for source in logged declared; do
			what="$cc $flags $source"
			try "$what" "$cc" $flags -x $language $WARN -Iinclude "$T/$source.c" -o "$T/$source" || continue
			for backend in $backends; do
				case $flags:$backend in *-static*:agent) continue ;; esac
				agrees "$what, $backend" "${source/logged/probe-trace}" "$T/$source" -b $backend || continue
				programs=$((programs + 1))
				said=${said#* hits, }
				values=$((values + ${said%% *}))
			done
			[ $source = logged ] && agrees "$what" gdb "$T/$source"
		done
	done
}

# area COMPILERS...: runs tests/sdt, with gcc, g++, clang and clang++ as these compilers.
area() {
	local name test
	rm -rf "${T:?}/bin"
	mkdir "$T/bin"
	for name; do ln -s "$(command -v "$name")" "$T/bin/${name%-*}"; done
	have "ld.lld-${1#*-}" && ln -s "$(command -v "ld.lld-${1#*-}")" "$T/bin/ld.lld"
	passed=0
	for test in asm floats link misuse probe-declare same types values; do
		PATH=$T/bin:$PATH COMPILERS="${*%-*}" PROBEPOINT_LONG= timeout 1200 bash tests/sdt/$test.sh >"$T/area.log" 2>&1
		case $? in
		0) passed=$((passed + 1)) ;;
		77) part_skipped "$1: sdt/$test: $(tail -n 1 "$T/area.log")" ;;
		*) wrong "$*: sdt/$test"; grep -A3 FAIL "$T/area.log" | head -n 20 ;;
		esac
	done
}

for family in "gcc g++" "clang clang++"; do
	for cc in $(versions "${family% *}"); do
		[[ " ${ONLY-$cc} " == *" $cc "* ]] || continue
		before=$failed
		failed=0
		row=
		language=c all=$C
		compiles "$cc"
		row+="$compiled compilations"
		agreed "$cc"
		row+=", $values C values"
		set -- "$cc"
		cxx=${family#* }-${cc#*-}
		if have "$cxx"; then
			set -- "$cc" "$cxx"
			language=c++ all=$CXX_ALL
			compiles "$cxx"
			row="$((${row%% *} + compiled)) ${row#* }"
			agreed "$cxx"
			row+=", $values C++ values"
		else
			part_skipped "$cxx is not installed"
		fi
		area "$@"
		row+=", $passed tests of tests/sdt"
		[ $failed = 0 ] || row+=", FAILED"
		echo "row: $cc: $row"
		failed=$((before | failed))
	done
done
exit $failed
