#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# The build fails when the header, the version script and the library disagree, and when a function changes its node.
. tests/lib.sh
lib=$B/lib/libprobepoint.so.1 map=runtime/libprobepoint.map header=include/probepoint.h

expect 0 scripts/symbol-map $map $header "$lib"

{ cat $header; echo 'int pp_new_function(int n);'; } >"$T/more.h"
expect 1 scripts/symbol-map $map "$T/more.h" "$lib"
want_like "declared, in no node" "*functions that only*< pp_new_function*" "$out"

grep -v 'pp_error;' $map >"$T/less.map"
expect 1 scripts/symbol-map "$T/less.map" $header "$lib"
want_like "removed from the map" "*< pp_error*" "$out"

awk '/pp_error;/ { next } /LIBPROBEPOINT_0.2.0/ { print; getline; print; print "\tpp_error;"; next } { print }' $map >"$T/moved.map"
expect 1 scripts/symbol-map "$T/moved.map" $header "$lib"
want_like "moved to another node than the library's" "*> pp_error LIBPROBEPOINT_0.1.0*" "$out"

# The same, with a library that was linked with the new map: the committed map has the last word.
git init -q "$T/repository" && cp -r scripts "$T/repository" && mkdir "$T/repository/runtime" && cp $map "$T/repository/runtime" &&
	git -C "$T/repository" add . && git -C "$T/repository" -c user.name=t -c user.email=t@t commit -qm map || fail "no repository"
cp "$T/moved.map" "$T/repository/$map"
"$CC" -shared -o "$T/libmoved.so" -Wl,--version-script="$T/moved.map" -Wl,--whole-archive "$B/lib/libprobepoint.a" \
	-Wl,--no-whole-archive ${SAN:+-fsanitize=$SAN} $(pkg-config --libs $(pkg-config --exists libdw && echo libdw) libelf libbpf) -lZydis -lstdc++ || fail "does not link"
(cd "$T/repository" && scripts/symbol-map $map "$OLDPWD/$header" "$T/libmoved.so") >"$T/out" 2>&1 && fail "a moved function passed"
want_like "moved since the last commit" "*< pp_error LIBPROBEPOINT_0.1.0*" "$(cat "$T/out")"
