#!/bin/bash
# SPDX-License-Identifier: MIT
# An ordinary user installs below their own directory, moves it, and builds programs from it by pkg-config and CMake. uninstall
# removes every file.
. tests/lib.sh
[ -z "${SAN-}" ] || skip "programs without sanitizers cannot use a library with them"
need make cc pkg-config
user() { "$@"; }
if [ "$(id -u)" = 0 ]; then
	nobody test -r "$B/lib/libprobepoint.a" -a -r Makefile || skip "user nobody cannot read the build directory"
	user() { nobody env HOME="$home" "$@"; }
fi
home=$T/home own=$T/home/.local
mkdir "$home"
[ "$(id -u)" != 0 ] || chown 65534:65534 "$home"

# ---- installation ----

# ccache and others write to files of the user who built.
expect 0 user make -s O="$B" CC="$CC" install PREFIX="$own"
want "installed outside of PREFIX" ".local" "$(ls -A "$home")"
[ "$(id -u)" != 0 ] || want "files of another user" "" "$(find "$own" ! -user 65534)"
(cd "$own" && find . -type f -o -type l | sort) >"$T/installed"
for file in bin/probe-list lib/pkgconfig/probepoint.pc lib/cmake/probepoint/probepoint-config.cmake \
	share/bash-completion/completions/probe-trace share/zsh/site-functions/_probepoint share/man/man3/pp_session_open.3; do
	grep -qx "./$file" "$T/installed" || fail "not installed: $file"
done
want "links to nowhere" "" "$(find "$own" -xtype l)"
expect 0 user "$own/bin/probe-list" -q "$B/examples/weblog"
want_like "probes listed by the installed command" "*weblog:find_route__entry*" "$out"

expect 2 user make -s O="$B" uninstall PREFIX="$home/.local /bin"
want_like "a PREFIX that make would split" "*PREFIX='$home/.local /bin': the name of a directory cannot contain spaces*" "$out"

# ---- pkg-config, also after the directory has been moved ----

cat >"$T/home/user.c" <<'E'
#include <probepoint.h>
#include <stdio.h>
#include <sys/probe.h>
#include <sys/sdt.h>

int main(void)
{
	STAP_PROBE1(user, version, 1);
	return puts(pp_version()) < 0;
}
E
moved=$home/moved
for prefix in "$own" "$moved"; do
	define=
	[ "$prefix" = "$own" ] || { mv "$own" "$moved"; define=--define-variable=prefix=$moved; }
	export PKG_CONFIG_PATH=$prefix/lib/pkgconfig
	expect 0 pkg-config --exists --print-errors 'probepoint >= 0.2'
	flags=$(pkg-config $define --cflags --libs probepoint)
	want "flags of pkg-config" "-I$prefix/include -L$prefix/lib -lprobepoint" "$(echo $flags)"
	expect 0 user "$CC" -Wall -Werror -o "$home/user" "$home/user.c" $flags "-Wl,-rpath,$prefix/lib"
	want "version that the program prints" "$(pkg-config --modversion probepoint)" "$("$home/user")"
	want_like "probe of the program" "*user:version *1 *" "$("$prefix/bin/probe-list" -q "$home/user")"
done

# ---- CMake, from the moved directory ----

cmake_checked() {
	mkdir "$home/project"
	cat >"$home/project/CMakeLists.txt" <<'E'
cmake_minimum_required(VERSION 3.16)
project(server C)
find_package(probepoint 0.2 REQUIRED)
add_executable(server server.c)
add_executable(other server.c)
if(CASE STREQUAL "nothing")
  probepoint_target(server PROVIDER x)
elseif(CASE STREQUAL "target")
  probepoint_target(missing MARKED)
elseif(CASE STREQUAL "argument")
  probepoint_target(server SITE both MARKED)
elseif(CASE STREQUAL "version")
  find_package(probepoint 7.0 REQUIRED)
elseif(CASE STREQUAL "clang")
  set(CMAKE_C_COMPILER_ID Clang)
  probepoint_target(server MARKED)
endif()
probepoint_target(server FUNCTIONS 'handle_*' main EXCLUDE handle_debug SITES both MIN_SIZE 1 PROVIDER web)
target_link_libraries(server probepoint::probepoint)
target_link_libraries(other probepoint::probepoint)
E
	cat >"$home/project/server.c" <<'E'
#include <probepoint.h>
#include <stdio.h>
#include <sys/sdt.h>

int handle_get(const char *path) { return *path != 0; }
int handle_debug(int level) { return level; }
int unhandled(int level) { return level + 1; }

int main(int argc, char **argv)
{
	STAP_PROBE(web, begin);
	return puts(pp_version()) < 0 || !handle_get(argv[0]) || handle_debug(0) || unhandled(argc) != argc + 1;
}
E
	[ "$(id -u)" != 0 ] || chown -R 65534:65534 "$home/project"
	local configure=(cmake -S "$home/project" -B "$home/project/build" -DCMAKE_PREFIX_PATH="$moved" -DCMAKE_C_COMPILER="${PLUGIN_CC:-gcc}")
	# The headers come from the package, and the library is found at run time.
	sed -i 's/^target_link_libraries(other.*/&\ntarget_include_directories(other PRIVATE ${_probepoint_sdtdir})/' "$home/project/CMakeLists.txt"
	expect 0 user "${configure[@]}"
	expect 0 user cmake --build "$home/project/build"
	expect 0 "$home/project/build/server"
	want "output of the server" "$("$moved/bin/probe-list" --version | sed 's/.* //')" "$out"
	want "probes of the server" "web:begin web:handle_get__entry web:handle_get__return web:main__entry web:main__return" \
		"$("$moved/bin/probe-list" -q "$home/project/build/server" | awk '{ print $1 }' | xargs)"
	want "probes of a target without probepoint_target()" "web:begin" "$("$moved/bin/probe-list" -q "$home/project/build/other" | awk '{ print $1 }')"
	while IFS=: read -r name message; do
		expect 1 user "${configure[@]}" -DCASE="$name"
		want_like "error for $name" "*$message*" "$(tr -s ' \n' ' ' <<<"$out")"
	done <<-'E'
		nothing:give FUNCTIONS, RULES or MARKED
		target:'missing' is not a target
		argument:invalid arguments: SITE;both
		version:requested version "7.0"
		clang:the C compiler is Clang, and the plugin needs GCC
	E
	mv "$moved/lib/probepoint.so" "$moved/lib/elsewhere.so"
	[ -e "$("${PLUGIN_CC:-gcc}" -print-file-name=plugin)/probepoint.so" ] ||
		{ expect 1 user "${configure[@]}" -DCASE=; want_like "error without plugin" "*the plugin is not installed for*" "$(tr -s ' \n' ' ' <<<"$out")"; }
	mv "$moved/lib/elsewhere.so" "$moved/lib/probepoint.so"
}
if have cmake; then cmake_checked; else part_skipped "CMake: cmake is not installed"; fi

# ---- removal ----

mv "$moved" "$own"
expect 0 user make -s O="$B" CC="$CC" uninstall PREFIX="$own"
want "files left by uninstall" "" "$(find "$own" ! -type d)"
[ ! -e "$own/lib/cmake/probepoint" ] || fail "uninstall leaves the directory of the CMake package"

# Each directory can be set, below DESTDIR.
directories=(DESTDIR="$T/dest" PREFIX=/usr libdir=/usr/lib/cpu sdtdir=/usr/include/probes includedir=/usr/h plugindir=/p zshdir=/z bashdir=/b mandir=/m)
expect 0 make -s O="$B" CC="$CC" install "${directories[@]}"
for file in usr/lib/cpu/libprobepoint.so.1 usr/lib/cpu/libprobepoint-agent.so usr/lib/cpu/cmake/probepoint/probepoint-config.cmake \
	usr/include/probes/sys/sdt.h usr/h/probepoint.h p/probepoint.so z/_probepoint b/probe-stat m/man1/probe-list.1; do
	[ -e "$T/dest/$file" ] || fail "not installed: $file"
done
want "flags of pkg-config" "-I/usr/h -I/usr/include/probes" "$(PKG_CONFIG_PATH=$T/dest/usr/lib/cpu/pkgconfig pkg-config --cflags probepoint | xargs)"
expect 0 make -s O="$B" CC="$CC" uninstall "${directories[@]}"
want "files left below DESTDIR" "" "$(find "$T/dest" ! -type d)"
