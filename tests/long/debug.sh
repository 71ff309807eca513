#!/bin/bash
# SPDX-License-Identifier: MIT
# The ten largest C++ files of five Debian packages compile to the same code with and without -g, and pass GCC's checks.
. tests/plugin/lib.sh
need readelf
probed '*'

# Each file is compiled with one of these in turn, because fmtlib's test/format-test.cc takes ten minutes with all.
option_sets <<'E'
-O1 -g -fchecking
-O2 -g -fchecking
-O3 -fchecking
E
# compiles OPTION...: compiles the file. GCC alone may make different code with -g.
compiles() { timeout 900 "$GXX" -w -std=gnu++17 "${places[@]}" "$@" -c "$file" -o "$T/o.o" >"$T/log" 2>&1; }
total=0 sites=0
for package in ${PACKAGES:-fmtlib ninja-build re2 libjsoncpp-dev leveldb}; do
	(debian_source "$package" && echo "$source" >"$T/source") || { part_skipped "$package"; continue; }
	source=$(cat "$T/source") done=0
	places=()
	for dir in "$source" "$source"/{src,include,lib,port}; do [ -d "$dir" ] && places+=(-I"$dir"); done
	places+=(-DLEVELDB_PLATFORM_POSIX=1 -DHAVE_FDATASYNC=1)
	while read -r file; do
		[ $done -lt 10 ] || break
		compiles -O0 -fsyntax-only || continue # needs headers that are not installed
		flags=${sets[(total + done) % 3]}
		compiles $flags $COMPARE "${with[@]}" || {
			cp "$T/log" "$T/log.with"
			compiles $flags $COMPARE && {
				head -n 20 "$T/log.with"
				fail "$package, ${file#"$source"/}, $flags: does not compile"
			}
			echo "${file##*/}, $flags: differs without the plugin too"
			compiles $flags "${with[@]}" || fail "$package, ${file#"$source"/}, $flags: does not compile without -fcompare-debug either"
		}
		sites=$((sites + $(sites "$T/o.o" | wc -l)))
		done=$((done + 1))
		echo "$package: ${file#"$source"/}, $flags"
	done < <(find "$source" -name .pc -prune -o \( -name '*.cc' -o -name '*.cpp' -o -name '*.cxx' \) -printf '%s %p\n' | sort -rn | cut -d' ' -f2-)
	echo "$package: $done files"
	total=$((total + done))
done
echo "$total files, $sites sites"
[ "$total" -ge 10 ] || skip "only $total files could be compiled"
[ "$sites" -gt 1000 ] || fail "only $sites sites"
