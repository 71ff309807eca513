#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# A program that is built by pkg-config from the installed product, as C and C++, shared and static, arms, reads and counts.
. tests/lib.sh
[ -z "$SAN" ] || skip "programs without sanitizers cannot use a library with them"
make -s O="$B" install PREFIX="$T/own" >"$T/log" 2>&1 || { cat "$T/log"; fail "make install"; }
export PKG_CONFIG_PATH=$T/own/lib/pkgconfig
want "version of pkg-config" "$(probe-list --version | sed 's/.* //')" "$(pkg-config --modversion probepoint)"
rpath=-Wl,-rpath,$T/own/lib

"$CC" -Wall -Wextra -Werror -o "$T/c" tests/api/user.c $(pkg-config --cflags --libs probepoint) "$rpath" || fail "as C"
"$CXX" -Wall -Wextra -Werror -x c++ -o "$T/cxx" tests/api/user.c $(pkg-config --cflags --libs probepoint) "$rpath" || fail "as C++"
static=$(pkg-config --static --cflags --libs probepoint | sed 's/-lprobepoint/-l:libprobepoint.a/')
"$CC" -o "$T/static" tests/api/user.c $static || fail "with libprobepoint.a"
ldd "$T/static" | grep -q libprobepoint && fail "the static program needs the shared library"
ldd "$T/own/lib/libprobepoint.so" | grep -q json && fail "the library needs json-c"

wanted="$(pkg-config --modversion probepoint): 10 events"
for program in c cxx static; do
	want "$program, agent" "$wanted" "$(PROBEPOINT_LISTEN=1 LD_PRELOAD="$T/own/lib/libprobepoint-agent.so" "$T/$program" agent)"
	[ "$(id -u)" != 0 ] || want "$program, kernel" "$wanted" "$("$T/$program" kernel)"
done

# The commands find their library where they are installed, without LD_LIBRARY_PATH.
want "library of an installed command" "$T/own/lib/libprobepoint.so.1" \
	"$(ldd "$T/own/bin/probe-list" | awk '/libprobepoint/ { print $3 }' | xargs readlink -f)"
