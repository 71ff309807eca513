#!/bin/bash
# SPDX-License-Identifier: MIT
# limit: 1800 5400
# The ways in which programs are built, with the macros and with the plugin: LTO, ccache, preprocessed sources and distcc, CMake,
# Meson, and the default flags of Debian, Fedora and Ubuntu. Each program has the probes of a plain build, and its values.
. tests/sdt/lib.sh
. tests/interop/lib-logged.sh
need python3 gcc jq
logged_source
GCC=${PLUGIN_CC:-gcc} GXX=${PLUGIN_CXX:-g++}
cp "$B/lib/probepoint.so" "$T/probepoint.so" # where the user of distccd can read it
PLUGIN=$T/probepoint.so
PLUGGED=("-fplugin=$PLUGIN" "-fplugin-arg-probepoint-functions=handle_*")

# A project of two files, with a declared probe, a probe of the old macros, and functions for the plugin.
mkdir "$T/src"
cat >"$T/src/server.h" <<'E2'
#include <sys/probe.h>
PROBE_DECLARE(server, start, (int fd, const char *path), (fd, path));
int handle_get(int fd, const char *path);
int handle_put(int fd, unsigned long size);
E2
cat >"$T/src/server.c" <<'E2'
#include "server.h"
#include <string.h>
#define TWICE(x) ((x) * 2)
__attribute__((noinline)) int handle_get(int fd, const char *path)
{
	start(fd, path);
	return TWICE(fd) + (int)strlen(path);
}
__attribute__((noinline)) int handle_put(int fd, unsigned long size)
{
	STAP_PROBE2(server, sized, fd, size);
	return (int)size - fd;
}
E2
cat >"$T/src/main.c" <<'E2'
#include "server.h"
#include <stdio.h>
int main(void)
{
	int n;
	for (n = 1; n < 4; n++)
		fprintf(stderr, "%d %d\n", handle_get(n, "/index"), handle_put(n, 10UL * (unsigned long)n));
	return 0;
}
E2
cat >"$T/wanted" <<'E2'
server:start {"fd":1,"path":"/index"}
server:start {"fd":2,"path":"/index"}
server:start {"fd":3,"path":"/index"}
server:sized {"arg0":1,"arg1":10}
server:sized {"arg0":2,"arg1":20}
server:sized {"arg0":3,"arg1":30}
E2
cat >"$T/wanted.plugin" <<'E2'
server:handle_get__entry {"fd":1,"path":"/index"}
server:handle_get__entry {"fd":2,"path":"/index"}
server:handle_get__entry {"fd":3,"path":"/index"}
server:handle_get__return {"result":10}
server:handle_get__return {"result":12}
server:handle_get__return {"result":8}
server:handle_put__entry {"fd":1,"size":10}
server:handle_put__entry {"fd":2,"size":20}
server:handle_put__entry {"fd":3,"size":30}
server:handle_put__return {"result":18}
server:handle_put__return {"result":27}
server:handle_put__return {"result":9}
E2
cat "$T/wanted" >>"$T/wanted.plugin"

n=0
# right WHAT FILE [plugin]: the project's program has its probes, and they have the program's values.
right() {
	[ "$("$2" 2>&1 | paste -sd,)" = "8 9,10 18,12 27" ] || wrong "$1: the program prints other results"
	timeout 60 probe-trace -q --json -b agent 'server:*' -- "$2" 2>"$T/log" |
		jq -r 'select(.probe) | "\(.probe) \(.args | tojson)"' | sort >"$T/got"
	sort "$T/wanted${3:+.plugin}" | diff - "$T/got" >"$T/diff" ||
		{ wrong "$1: wanted < > got: $(head -n 6 "$T/diff")"; head -n 3 "$T/log"; return; }
	n=$((n + 1))
}
row() { echo "row: $1: $2"; }
# topic NAME: ends the last topic with a row, and begins the next.
topic=
topic() {
	[ -z "$topic" ] || row "$topic" "$n programs$([ $failed = 0 ] || echo ', FAILED')"
	all_failed=$((${all_failed-0} | failed))
	topic=$1 n=0 failed=0
}

# build WHAT OUT COMPILER FLAGS...: builds the project in two steps, in its directory.
build() {
	local what=$1 out=$2
	shift 2
	(cd "$T/src" && "$@" -I"$I" -c server.c -o server.o && "$@" -I"$I" -c main.c -o main.o && "$@" server.o main.o -o "$out") >"$T/log" 2>&1 &&
		return
	wrong "$what: $(head -n 5 "$T/log")"
	return 1
}
I=$PWD/include

topic "LTO"
for flags in "-O2 -flto" "-O2 -flto -ffat-lto-objects" "-O2 -flto -fno-fat-lto-objects -flto-partition=max" "-O0 -flto" "-Os -flto=auto -fwhole-program"; do
	build "$GCC $flags" "$T/a" $GCC $flags && right "$GCC $flags" "$T/a"
	build "plugin, $GCC $flags" "$T/a" $GCC $flags "${PLUGGED[@]}" && right "plugin, $GCC $flags" "$T/a" plugin
done
# fat objects that a linker without the plugin of LTO uses
build "fat" "$T/a" $GCC -O2 -flto -ffat-lto-objects && try fat $GCC -fno-lto "$T/src/server.o" "$T/src/main.o" -o "$T/a" && right "fat objects without LTO" "$T/a"
build "fat" "$T/a" $GCC -O2 -flto -ffat-lto-objects "${PLUGGED[@]}" && try fat $GCC -fno-lto "$T/src/server.o" "$T/src/main.o" -o "$T/a" &&
	right "plugin, fat objects without LTO" "$T/a" plugin
# the plugin at compile time only
build "compile time" "$T/a" $GCC -O2 -flto "${PLUGGED[@]}" && try "compile time" $GCC -O2 -flto "$T/src/server.o" "$T/src/main.o" -o "$T/a" &&
	right "plugin, not given to the link" "$T/a" plugin
for ld in mold gold; do
	have ld.$ld && build "$ld" "$T/a" $GCC -O2 -flto -fuse-ld=$ld $([ $ld = mold ] || echo -DSDT_NO_LINK_ORDER) && right "$GCC -flto, $ld" "$T/a"
done
have clang && have ld.lld && for flags in "-O2 -flto" "-O2 -flto=thin" "-O0 -flto"; do
	build "clang $flags" "$T/a" clang -fuse-ld=lld $flags && right "clang $flags" "$T/a"
done

topic "ccache"
if have ccache; then
	export CCACHE_DIR=$T/ccache CCACHE_EXTRAFILES=$PLUGIN CCACHE_NOHASHDIR=
	unset CCACHE_NOHASHDIR
	hits() { ccache -s | awk '/Hits:/ { print $2; exit } /cache hit/ { n += $NF } END { if (n) print n }'; }
	for round in 1 2; do
		build "ccache" "$T/a" ccache $GCC -O2 && right "ccache, $round" "$T/a"
		build "ccache" "$T/a" ccache $GCC -O2 "${PLUGGED[@]}" && right "ccache with the plugin, $round" "$T/a" plugin
		have clang && build "ccache" "$T/a" ccache clang -O2 && right "ccache clang, $round" "$T/a"
		count=$(hits)
		[ $round = 1 ] || [ "${count:-0}" -ge 4 ] || wrong "ccache: $count hits in the second round: $(ccache -s | head -n 12)"
	done
	build "ccache" "$T/a" ccache $GCC -O2 "-fplugin=$PLUGIN" "-fplugin-arg-probepoint-functions=handle_get"
	probe-list "$T/a" | grep -q handle_put && wrong "ccache: the object of other plugin arguments"
else
	part_skipped "ccache is not installed"
fi

topic "preprocessed here, compiled there"
mkdir "$T/there"
# remote WHAT PREPROCESS COMPILE [plugin]: the second command has no include directories.
remote() {
	local what=$1 f
	for f in server main; do
		(cd "$T/src" && $2 -I"$I" $f.c -o "$T/there/$f.i") >"$T/log" 2>&1 && (cd "$T/there" && $3 -c $f.i -o $f.o) >"$T/log" 2>&1 ||
			{ wrong "$what: $(head -n 5 "$T/log")"; return; }
	done
	try "$what" ${3%% *} "$T/there/server.o" "$T/there/main.o" -o "$T/a" && right "$what" "$T/a" "${4-}"
}
p="${PLUGGED[*]}"
remote "-E" "$GCC -O2 -E" "$GCC -O2 -fpreprocessed"
remote "plugin, -E" "$GCC -O2 -E" "$GCC -O2 -fpreprocessed $p" plugin
remote "plugin on both sides, -E" "$GCC -O2 $p -E" "$GCC -O2 -fpreprocessed $p" plugin
remote "-fdirectives-only" "$GCC -O2 -E -fdirectives-only" "$GCC -O2 -fpreprocessed -fdirectives-only"
remote "plugin, -fdirectives-only" "$GCC -O2 -E -fdirectives-only" "$GCC -O2 -fpreprocessed -fdirectives-only $p" plugin
remote "plugin on both sides, -fdirectives-only" "$GCC -O2 $p -E -fdirectives-only" "$GCC -O2 -fpreprocessed -fdirectives-only $p" plugin
remote "without line numbers" "$GCC -O2 -E -P" "$GCC -O2 -x cpp-output"
remote "-save-temps" "$GCC -O2 -E" "$GCC -O2 -save-temps -x cpp-output"
have clang && remote "clang -E" "clang -O2 -E" "clang -O2 -x cpp-output"
have clang && remote "clang -frewrite-includes" "clang -O2 -E -frewrite-includes" "clang -O2 -x c"
if have distcc && have distccd; then
	mkdir -m 777 "$T/distcc" "$T/distcc/tmp"
	port=$((20000 + RANDOM % 10000))
	command -v $GCC >"$T/commands"
	as=
	[ "$(id -u)" != 0 ] || as=nobody # distccd refuses to run as root
	DISTCC_CMDLIST=$T/commands DISTCC_DIR=$T/distcc TMPDIR=$T/distcc/tmp $as distccd --no-detach --daemon --allow 127.0.0.1 \
		--listen 127.0.0.1 --port $port --log-file "$T/distcc/log" --enable-tcp-insecure --log-level info 2>"$T/log" &
	listens() { (: <>/dev/tcp/127.0.0.1/$port) 2>/dev/null; }
	wait_for 20 listens
	export DISTCC_HOSTS=127.0.0.1:$port DISTCC_DIR=$T/distcc-client
	mkdir "$DISTCC_DIR"
	export DISTCC_FALLBACK=0
	build "distcc" "$T/a" distcc "$(command -v $GCC)" -O2 && right "distcc" "$T/a"
	# distccd 3.4 refuses -fplugin. The client then compiles itself.
	unset DISTCC_FALLBACK
	build "distcc, plugin" "$T/a" distcc "$(command -v $GCC)" -O2 "${PLUGGED[@]}" && right "distcc, plugin" "$T/a" plugin
	grep -c 'COMPILE_OK' "$T/distcc/log" | grep -qx '[2-9]' || wrong "distcc: $(tail -n 3 "$T/distcc/log")"
	unset DISTCC_HOSTS
else
	part_skipped "distcc is not installed"
fi

topic "CMake"
if have cmake && { have ninja || have make; }; then
	cat >"$T/src/CMakeLists.txt" <<-E2
		cmake_minimum_required(VERSION 3.13)
		project(server C)
		add_executable(server main.c server.c)
		target_include_directories(server PRIVATE $I)
		option(PLUGIN "probe functions" OFF)
		if(PLUGIN)
		  target_compile_options(server PRIVATE -fplugin=$PLUGIN "-fplugin-arg-probepoint-functions=handle_*")
		endif()
	E2
	for kind in Debug Release RelWithDebInfo MinSizeRel; do
		for plugin in OFF ON; do
			dir=$T/cmake-$kind-$plugin
			try cmake cmake -S "$T/src" -B "$dir" -DCMAKE_C_COMPILER=$GCC -DCMAKE_BUILD_TYPE=$kind -DPLUGIN=$plugin &&
				try cmake cmake --build "$dir" && right "cmake $kind, plugin $plugin" "$dir/server" ${plugin/OFF/}
		done
	done
	try "cmake, LTO" cmake -S "$T/src" -B "$T/cmake-lto" -DCMAKE_C_COMPILER=$GCC -DCMAKE_BUILD_TYPE=Release -DPLUGIN=ON \
		-DCMAKE_INTERPROCEDURAL_OPTIMIZATION=ON && try cmake cmake --build "$T/cmake-lto" && right "cmake, LTO" "$T/cmake-lto/server" plugin
else
	part_skipped "cmake is not installed"
fi

topic "Meson"
if have meson && have ninja; then
	cat >"$T/src/meson.build" <<-E2
		project('server', 'c')
		plugin = ['-fplugin=$PLUGIN', '-fplugin-arg-probepoint-functions=handle_*']
		executable('server', 'main.c', 'server.c', c_args: ['-I$I'] + (get_option('buildtype') == 'debug' ? [] : plugin))
	E2
	for kind in debug release minsize debugoptimized; do
		plugin=plugin
		[ $kind = debug ] && plugin=
		try meson env CC=$GCC meson setup --buildtype=$kind "$T/meson-$kind" "$T/src" && try meson ninja -C "$T/meson-$kind" &&
			right "meson $kind" "$T/meson-$kind/server" $plugin
	done
	try "meson, LTO" env CC=$GCC meson setup --buildtype=release -Db_lto=true "$T/meson-lto" "$T/src" && try meson ninja -C "$T/meson-lto" &&
		right "meson, LTO" "$T/meson-lto/server" plugin
else
	part_skipped "meson or ninja is not installed"
fi

topic "distributions' flags"
debian="-O2 -g"
have dpkg-buildflags && debian="$(DEB_BUILD_MAINT_OPTIONS=hardening=+all dpkg-buildflags --get CFLAGS | sed 's/-ffile-prefix-map=[^ ]*//') $(
	DEB_BUILD_MAINT_OPTIONS=hardening=+all dpkg-buildflags --get CPPFLAGS) $(DEB_BUILD_MAINT_OPTIONS=hardening=+all dpkg-buildflags --get LDFLAGS)"
fedora="-O2 -flto=auto -ffat-lto-objects -fexceptions -g -grecord-gcc-switches -pipe -Wall -Wno-complain-wrong-lang -Werror=format-security
	-Wp,-U_FORTIFY_SOURCE,-D_FORTIFY_SOURCE=3 -Wp,-D_GLIBCXX_ASSERTIONS -fstack-protector-strong -m64 -march=x86-64 -mtune=generic
	-fasynchronous-unwind-tables -fstack-clash-protection -fcf-protection -mtls-dialect=gnu2 -fno-omit-frame-pointer
	-mno-omit-leaf-frame-pointer -Wl,-z,relro -Wl,--as-needed -Wl,-z,pack-relative-relocs -Wl,-z,now -Wl,--build-id=sha1"
ubuntu="-g -O2 -fno-omit-frame-pointer -mno-omit-leaf-frame-pointer -flto=auto -ffat-lto-objects -fstack-protector-strong
	-fstack-clash-protection -Wformat -Werror=format-security -fcf-protection -D_FORTIFY_SOURCE=3 -Wdate-time
	-Wl,-Bsymbolic-functions -Wl,-z,relro -Wl,-z,now"
for name in debian fedora ubuntu; do
	flags=${!name}
	build "plugin, $name" "$T/a" $GCC $flags "${PLUGGED[@]}" && right "plugin, flags of $name" "$T/a" plugin
	for cc in $(compilers gcc g++ clang clang++); do
		language=c
		[[ $cc == *++ ]] && language=c++
		mine=$flags
		[[ $cc == clang* ]] && mine="$(sed -E 's/-flto=auto|-ffat-lto-objects|-mtls-dialect=gnu2|-Wno-complain-wrong-lang//g' <<<"$flags")
			-Wno-error=unused-command-line-argument"
		for source in logged declared; do
			what="$cc, flags of $name, $source"
			try "$what" "$cc" $mine -Werror -Iinclude -x $language "$T/$source.c" -o "$T/$source" &&
				agrees "$what" "${source/logged/probe-trace}" "$T/$source" -b agent && n=$((n + 1))
		done
	done
done
topic ""
exit $all_failed
